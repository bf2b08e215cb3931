"""The report for code scanning: SARIF 2.1.0 as GitHub reads it.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/ and GitHub's "SARIF support for code scanning". A finding is a result, a
waiver a suppression, an unknown a result of the rule UNK001, a requirement that is not met a result under its code, and
a gap a notification of level error: with one of those "the results cannot be assumed to be complete" (appendix I).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

from weighbridge.facts import Gap
from weighbridge.judgement import Finding, Unknown
from weighbridge.location import Location, printable
from weighbridge.policy import Stale, Verdict, Waiver
from weighbridge.report.base import (
    EXIT_STATUS,
    UNKNOWN_ABOUT,
    UNKNOWN_HELP,
    UNKNOWN_ID,
    UNKNOWN_TITLE,
    UNMET_ABOUT,
    Style,
    describe,
    fingerprint,
    fingerprint_of_unmet,
    numbered,
    repeated,
    unmet_title,
)
from weighbridge.requirements import Unmet
from weighbridge.rules import Rule, Severity

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT: Final = "%SRCROOT%"

# GitHub turns security-severity into critical (over 9.0), high (7.0), medium (4.0) and low.
_SCORES: Final = {Severity.CRITICAL: "9.5", Severity.HIGH: "8.0", Severity.MEDIUM: "5.5", Severity.LOW: "2.0"}
_LEVELS: Final = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
}

Document = dict[str, Any]


def render(verdict: Verdict, style: Style) -> Iterator[str]:
    """Yield the lines of the document."""
    del style
    yield from json.dumps(document(verdict), indent=2, sort_keys=True).splitlines()


def document(verdict: Verdict) -> Document:
    """Return the verdict as a SARIF log with one run."""
    items: list[tuple[Finding | Unknown, Waiver | None]] = [(finding, None) for finding in verdict.findings]
    items += [(unknown, None) for unknown in verdict.unknowns]
    items += [(waived.item, waived.waiver) for waived in verdict.waived]
    rules = {item.rule.id: item.rule for item, _ in items if isinstance(item, Finding)}
    descriptors = [_descriptor(rules[key]) for key in sorted(rules)]
    if any(isinstance(item, Unknown) for item, _ in items):
        descriptors.append(_unknown_descriptor())
    descriptors += [_unmet_descriptor(one) for one in {one.code: one for one in verdict.unmet}.values()]
    numbers = {descriptor["id"]: number for number, descriptor in enumerate(descriptors)}
    weaknesses = sorted({cwe for rule in rules.values() for cwe in rule.references.cwe})
    run: Document = {
        "tool": {
            "driver": {
                "name": "Weighbridge",
                "semanticVersion": verdict.version,
                "rules": descriptors,
                "supportedTaxonomies": [{"name": "CWE"}],
                "properties": {"rulesDigest": verdict.rules_digest, "policyDigest": verdict.policy_digest},
            }
        },
        "taxonomies": [_cwe(weaknesses)],
        "invocations": [_invocation(verdict)],
        "originalUriBaseIds": {ROOT: {"description": {"text": "The folder in which the scan was started."}}},
        "artifacts": [
            _artifact(file.path, file.size, file.digest.value if file.digest else None) for file in verdict.files
        ],
        "results": [*_unmet(verdict.unmet, numbers), *_results(items, numbers)],
        "properties": {
            "outcome": verdict.outcome.value,
            "excluded": [printable(path) for path in verdict.excluded],
            "signers": [printable(one.signature.who) for one in verdict.evidence if one.signature is not None],
        },
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _results(items: Iterable[tuple[Finding | Unknown, Waiver | None]], numbers: dict[str, int]) -> list[Document]:
    """Return the results; what is otherwise alike is told apart by its number in the fingerprint."""
    found = list(items)
    results = [_result(item) for item, _ in found]
    prints = numbered(
        fingerprint(result["ruleId"], item.fact) for result, (item, _) in zip(results, found, strict=True)
    )
    for result, (_, waiver), print_ in zip(results, found, prints, strict=True):
        result["partialFingerprints"] = {"primaryLocationLineHash": print_}
        result["ruleIndex"] = numbers[result["ruleId"]]
        if waiver is not None:
            result["suppressions"] = [_suppression(waiver)]
    return results


def _unmet(unmet: Iterable[Unmet], numbers: dict[str, int]) -> Iterator[Document]:
    """Yield the results for what is required and not met."""
    found = list(unmet)
    for one, print_ in zip(found, numbered(map(fingerprint_of_unmet, found)), strict=True):
        fix = f" Fix: {printable(one.fix)}" if one.fix else ""
        yield {
            "ruleId": one.code,
            "ruleIndex": numbers[one.code],
            "level": "error",
            "message": {"text": f"{printable(one.where)}: {printable(one.reason)}.{fix}"},
            "locations": [_required_of(printable(one.where))],
            "partialFingerprints": {"primaryLocationLineHash": print_},
        }


def _required_of(where: str) -> Document:
    """Return the place of what is not met, a file or a reference; GitHub takes no address but of a file."""
    uri = {"uri": quote(where, safe="/:%")} if where.startswith("file:///") else _uri(where)
    return {
        "physicalLocation": {"artifactLocation": uri, "region": {"startLine": 1}},
        "logicalLocations": [{"name": where, "fullyQualifiedName": where}],
    }


def _result(item: Finding | Unknown) -> Document:
    if isinstance(item, Finding):
        rule, level, text = item.rule.id, _LEVELS[item.rule.severity], f"{item.rule.title}: {describe(item.fact)}"
    else:
        rule, level, text = UNKNOWN_ID, "warning", f"{describe(item.fact)}: {printable(item.reason)}"
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": f"{text}{repeated(item)}"},
        "locations": [_location(item.location)],
        "occurrenceCount": 1 + item.repeated,
    }


def _location(place: Location) -> Document:
    """Return a place; GitHub wants a line even of a file that has none.

    Offsets inside a member count from the start of the member, so they are no region of the file.
    """
    region: Document = {"startLine": 1}
    result: Document = {"physicalLocation": {"artifactLocation": _uri(place.path[0]), "region": region}}
    if len(place.path) == 1:
        region |= {"byteOffset": place.offset, "byteLength": 1}
    result["logicalLocations"] = [
        {"name": printable(place.path[-1]), "fullyQualifiedName": str(place), "kind": "member"}
    ]
    return result


def _uri(path: str) -> Document:
    encoded = quote(os.fsencode(path))
    if path.startswith("/"):
        return {"uri": f"file://{encoded}"}
    return {"uri": encoded, "uriBaseId": ROOT}


def _artifact(path: str, size: int, sha256: str | None) -> Document:
    result: Document = {"location": _uri(path), "length": size, "roles": ["analysisTarget"]}
    if sha256:
        result["hashes"] = {"sha-256": sha256}
    return result


def _descriptor(rule: Rule) -> Document:
    description, remediation = (" ".join(text.split()) for text in (rule.description, rule.remediation))
    advisories = ", ".join((*rule.references.advisories, *rule.references.urls))
    more = f"\n\nSee {advisories}." if advisories else ""
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.title.replace("-", " ").split()),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": description},
        "help": {
            "text": f"{description}\n\nFix: {remediation}{more}",
            "markdown": f"{description}\n\n**Fix:** {remediation}{more}",
        },
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {
            "tags": ["security", *(f"external/cwe/cwe-{cwe}" for cwe in rule.references.cwe)],
            "precision": "high",
            "security-severity": _SCORES[rule.severity],
        },
        "relationships": [
            {"target": {"id": str(cwe), "toolComponent": {"name": "CWE"}}, "kinds": ["superset"]}
            for cwe in rule.references.cwe
        ],
    }


def _unknown_descriptor() -> Document:
    return {
        "id": UNKNOWN_ID,
        "name": "NotReviewed",
        "shortDescription": {"text": UNKNOWN_TITLE},
        "fullDescription": {"text": UNKNOWN_ABOUT},
        "help": {"text": UNKNOWN_HELP, "markdown": UNKNOWN_HELP},
        "defaultConfiguration": {"level": "warning"},
        "properties": {"tags": ["security"], "precision": "medium", "security-severity": "6.0"},
    }


def _unmet_descriptor(one: Unmet) -> Document:
    title = unmet_title(one)
    return {
        "id": one.code,
        "name": "".join(word.capitalize() for word in one.code.split("_")),
        "shortDescription": {"text": title},
        "fullDescription": {"text": f"{title}. {UNMET_ABOUT}"},
        "help": {"text": UNMET_ABOUT, "markdown": UNMET_ABOUT},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["security"], "precision": "very-high", "security-severity": _SCORES[Severity.HIGH]},
    }


def _cwe(weaknesses: list[int]) -> Document:
    return {
        "name": "CWE",
        "organization": "MITRE",
        "shortDescription": {"text": "The MITRE Common Weakness Enumeration"},
        "informationUri": "https://cwe.mitre.org/",
        "taxa": [
            {"id": str(cwe), "helpUri": f"https://cwe.mitre.org/data/definitions/{cwe}.html"} for cwe in weaknesses
        ],
    }


def _invocation(verdict: Verdict) -> Document:
    """Return how the scan went: it ended well even when parts were not understood, and these say so."""
    return {
        "executionSuccessful": True,
        "exitCode": EXIT_STATUS[verdict.outcome],
        "exitCodeDescription": verdict.outcome.value,
        "toolExecutionNotifications": [_notification(gap) for gap in verdict.gaps],
        "toolConfigurationNotifications": [_stale(stale) for stale in verdict.stale],
    }


def _notification(gap: Gap) -> Document:
    return {
        "level": "error",
        "descriptor": {"id": "gap"},
        "message": {"text": f"not understood: {printable(gap.reason)}"},
        "locations": [_location(gap.location)],
    }


def _stale(stale: Stale) -> Document:
    waiver = stale.waiver
    text = f"{stale.reason} waiver: {waiver.rule} for {waiver.digest}, until {waiver.expires.isoformat()}"
    return {"level": "warning", "descriptor": {"id": "stale-waiver"}, "message": {"text": text}}


def _suppression(waiver: Waiver) -> Document:
    justification = f"{waiver.reason} ({waiver.approver}, until {waiver.expires.isoformat()})"
    return {
        "kind": "external",
        "status": "accepted",
        "justification": printable(justification),
        "properties": {
            "approver": printable(waiver.approver),
            "digest": waiver.digest,
            "expires": waiver.expires.isoformat(),
        },
    }
