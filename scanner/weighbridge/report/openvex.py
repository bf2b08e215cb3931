"""The report for consumers of VEX: an OpenVEX 0.2.0 document, in which a waiver is a statement.

https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md. A product is a file, known by its sha256; a vulnerability is
a rule. What a waiver accepts is `not_affected` with an impact statement in its approver's words: OpenVEX has no status
for an accepted risk, and this is the one that consumers act on. What no waiver accepts is `affected`, what was not
reviewed or not understood `under_investigation`. A requirement that is not met makes the whole model `affected`, under
its code: the product is the reference then. A verdict without any of these gives a document without statements, which
readers take and the schema does not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from weighbridge.judgement import Finding, Unknown
from weighbridge.location import printable
from weighbridge.policy import FileVerdict, Verdict, Waived
from weighbridge.report.base import (
    GAP_ABOUT,
    GAP_ID,
    UNKNOWN_ABOUT,
    UNKNOWN_ID,
    UNMET_ABOUT,
    Style,
    accepted,
    by_file,
    counted,
    describe,
    rule_id,
    total,
    unmet_title,
)
from weighbridge.rules import Rule

CONTEXT: Final = "https://openvex.dev/ns/v0.2.0"

Document = dict[str, Any]


def render(verdict: Verdict, style: Style) -> Iterator[str]:
    """Yield the lines of the document."""
    yield from json.dumps(document(verdict, style), indent=2, sort_keys=True).splitlines()


def document(verdict: Verdict, style: Style) -> Document:
    """Return the verdict as an OpenVEX document, whose name is the digest of what it states."""
    products = {file.path: _product(file) for file in verdict.files}
    statements = [
        *_waived(verdict.waived, products),
        *_required(verdict, products),
        *_affected(verdict, products),
        *_open(verdict, products),
    ]
    stated = json.dumps(statements, sort_keys=True).encode()
    return {
        "@context": CONTEXT,
        "@id": f"urn:weighbridge:vex:sha256:{hashlib.sha256(stated).hexdigest()}",
        "author": "Weighbridge",
        "role": "Model scanner",
        "timestamp": _time(style.ended),
        "version": 1,
        "tooling": f"weighbridge {verdict.version}, policy {verdict.policy_digest}, rules {verdict.rules_digest}",
        "statements": statements,
    }


def _product(file: FileVerdict) -> Document:
    """Return a file as a product: by its digest where it has one, else by its name alone."""
    name = quote(printable(file.path).rpartition("/")[2] or "file", safe="")
    if file.digest is None:
        return {"@id": f"pkg:generic/{name}"}
    purl = f"pkg:generic/{name}?checksum=sha256:{file.digest.value}"
    return {"@id": purl, "identifiers": {"purl": purl}, "hashes": {"sha-256": file.digest.value}}


def _waived(waived: tuple[Waived, ...], products: dict[str, Document]) -> Iterator[Document]:
    groups: dict[tuple[str, str, str], list[Waived]] = {}
    for one in waived:
        groups.setdefault((one.item.location.path[0], rule_id(one.item), accepted(one.waiver)), []).append(one)
    for (path, _, words), group in groups.items():
        item = group[0].item
        yield {
            "vulnerability": _vulnerability(item.rule) if isinstance(item, Finding) else _of_unknown(),
            "products": [products[path]],
            "status": "not_affected",
            "impact_statement": words,
            "status_notes": f"Waived, not refuted: {_seen([one.item for one in group])}",
        }


def _required(verdict: Verdict, products: dict[str, Document]) -> Iterator[Document]:
    """Yield a statement for each requirement that is not met, about the model, or all files when it has no name."""
    model = [{"@id": _model(verdict.source)}] if verdict.source else list(products.values())
    for one in verdict.unmet:
        yield {
            "vulnerability": {"name": one.code, "description": f"{unmet_title(one)}. {UNMET_ABOUT}"},
            "products": model or [{"@id": "pkg:generic/model"}],
            "status": "affected",
            "action_statement": printable(one.fix) or "Do not use the model.",
            "status_notes": f"{printable(one.where)}: {printable(one.reason)}",
        }


def _model(source: str) -> str:
    """Return the reference of a model as an IRI."""
    scheme, separator, rest = printable(source).partition("://")
    if separator and scheme.isascii() and scheme.isalpha():
        return f"{scheme}://{quote(rest, safe='/:@%')}"
    return f"urn:weighbridge:model:{quote(printable(source), safe='')}"


def _affected(verdict: Verdict, products: dict[str, Document]) -> Iterator[Document]:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in verdict.findings:
        groups.setdefault((finding.location.path[0], finding.rule.id), []).append(finding)
    for (path, _), group in groups.items():
        rule = group[0].rule
        yield {
            "vulnerability": _vulnerability(rule),
            "products": [products[path]],
            "status": "affected",
            "action_statement": " ".join(rule.remediation.split()),
            "status_notes": _seen(group),
        }


def _open(verdict: Verdict, products: dict[str, Document]) -> Iterator[Document]:
    """Yield a statement for each file of which something is not known."""
    for path, group in by_file(verdict.unknowns).items():
        yield _investigated(_of_unknown(), products[path], _seen(group))
    for path, some in by_file(verdict.gaps).items():
        more = f", and {counted(len(some) - 1, 'more gap')}" if len(some) > 1 else ""
        notes = f"{some[0].location}: {printable(some[0].reason)}{more}"
        yield _investigated({"name": GAP_ID, "description": GAP_ABOUT}, products[path], notes)


def _investigated(vulnerability: Document, product: Document, notes: str) -> Document:
    return {
        "vulnerability": vulnerability,
        "products": [product],
        "status": "under_investigation",
        "status_notes": notes,
    }


def _vulnerability(rule: Rule) -> Document:
    return {"name": rule.id, "description": f"{rule.title}. {' '.join(rule.description.split())}"}


def _of_unknown() -> Document:
    return {"name": UNKNOWN_ID, "description": UNKNOWN_ABOUT}


def _seen(items: list[Finding] | list[Unknown] | list[Finding | Unknown]) -> str:
    times = total(items)
    more = f", and {counted(times - 1, 'more place')}" if times > 1 else ""
    return f"{items[0].location}: {describe(items[0].fact)}{more}"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
