"""The report for programs: one JSON document, the same bytes for the same verdict.

`docs/schema/verdict-1.schema.json` describes it. The number grows when a field changes its meaning or goes; a new field
does not change it. Text that comes from a file is escaped for display here as everywhere, so a path with control
characters in it is not the path on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from weighbridge.facts import Fact, Gap, Observed
from weighbridge.formats.json.verdict import SCHEMA
from weighbridge.judgement import Finding, Unknown
from weighbridge.location import Location, printable
from weighbridge.policy import Coverage, FileVerdict, Stale, Verdict, Waived, Waiver, blocks
from weighbridge.report.base import Style, describe
from weighbridge.rules import Rule

if TYPE_CHECKING:
    from weighbridge.detail import Decision
    from weighbridge.evidence.base import Evidence

Document = dict[str, Any]


def render(verdict: Verdict, style: Style) -> Iterator[str]:
    """Yield the lines of the document."""
    del style
    yield from json.dumps(document(verdict), indent=2, sort_keys=True).splitlines()


def document(verdict: Verdict) -> Document:
    """Return the verdict as plain dicts, lists and text."""
    rules = {finding.rule.id: finding.rule for finding in verdict.findings}
    rules |= {one.item.rule.id: one.item.rule for one in verdict.waived if isinstance(one.item, Finding)}
    return {
        "schema": SCHEMA,
        "weighbridge": verdict.version,
        "outcome": verdict.outcome.value,
        "source": printable(verdict.source),
        "triage": _triage(verdict),
        "policy": {
            "name": printable(verdict.policy),
            "fail_at": verdict.fail_at.value,
            "digest": verdict.policy_digest,
        },
        "rules_digest": verdict.rules_digest,
        "rules": {key: _rule(rule) for key, rule in rules.items()},
        "coverage": _coverage(verdict.coverage),
        "files": [_file(file) for file in verdict.files],
        "findings": [
            _finding(finding) | {"blocking": blocks(finding, verdict.fail_at)} for finding in verdict.findings
        ],
        "unknowns": [_unknown(unknown) for unknown in verdict.unknowns],
        "gaps": [_gap(gap) for gap in verdict.gaps],
        "unmet": [
            {
                "code": one.code,
                "where": printable(one.where),
                "reason": printable(one.reason),
                "fix": printable(one.fix),
            }
            for one in verdict.unmet
        ],
        "evidence": [_evidence(one) for one in verdict.evidence],
        "history": [_decision(one) for one in verdict.history],
        "waived": [_waived(waived) for waived in verdict.waived],
        "stale_waivers": [_stale(stale) for stale in verdict.stale],
        "excluded": [printable(path) for path in verdict.excluded],
        "opinions": [
            {
                "path": printable(opinion.path),
                "by": printable(opinion.by),
                "says": printable(opinion.says),
                "details": [printable(detail) for detail in opinion.details],
            }
            for opinion in verdict.opinions
        ],
    }


def _triage(verdict: Verdict) -> Document | None:
    if verdict.triage is None:
        return None
    return {
        "fetched": verdict.triage.fetched,
        "size": verdict.triage.size,
        "requests": verdict.triage.requests,
        "nothing_found": verdict.nothing_found,
    }


def location(place: Location) -> Document:
    """Return a place: the file, the members that lead to it, the offset in the last, and all of it as text."""
    return {
        "path": printable(place.path[0]),
        "members": [printable(member) for member in place.path[1:]],
        "offset": place.offset,
        "text": str(place),
    }


def fact(seen: Fact) -> Document:
    """Return a fact: its kind, its subject and what it says."""
    result = {"kind": seen.kind, "subject": printable(seen.subject), "text": describe(seen)}
    if isinstance(seen, Observed):
        result |= {"form": str(seen.form), "spelled": printable(seen.spelled)}
    return result


def _rule(rule: Rule) -> Document:
    references = rule.references
    return {
        "title": rule.title,
        "severity": rule.severity.value,
        "description": " ".join(rule.description.split()),
        "remediation": " ".join(rule.remediation.split()),
        "references": {
            "cwe": list(references.cwe),
            "atlas": list(references.atlas),
            "owasp": list(references.owasp),
            "advisories": list(references.advisories),
            "urls": list(references.urls),
        },
    }


def _coverage(coverage: Coverage) -> Document:
    return {"parsed": coverage.parsed, "inert": coverage.inert, "unexamined": coverage.unexamined}


def _file(file: FileVerdict) -> Document:
    return {
        "path": printable(file.path),
        "size": file.size,
        "digest": str(file.digest) if file.digest else None,
        "formats": list(file.formats),
        "coverage": _coverage(file.coverage),
        "outcome": file.outcome.value,
        "quarantine": printable(file.quarantine) or None,
    }


def _finding(finding: Finding) -> Document:
    return {
        "rule": finding.rule.id,
        "severity": finding.rule.severity.value,
        "location": location(finding.location),
        "fact": fact(finding.fact),
        "repeated": finding.repeated,
    }


def _unknown(unknown: Unknown) -> Document:
    return {
        "location": location(unknown.location),
        "fact": fact(unknown.fact),
        "reason": printable(unknown.reason),
        "repeated": unknown.repeated,
    }


def _gap(gap: Gap) -> Document:
    return {
        "location": location(gap.location),
        "reason": printable(gap.reason),
        "size": gap.size,
        "limit": gap.limit or None,
    }


def _waived(waived: Waived) -> Document:
    item = _finding(waived.item) if isinstance(waived.item, Finding) else _unknown(waived.item)
    return {"item": item, "waiver": _waiver(waived.waiver)}


def _evidence(one: Evidence) -> Document:
    signature = one.signature
    return {
        "kind": one.kind,
        "format": one.format,
        "subject": str(one.subject),
        "signer": signature.signer if signature else None,
        "method": signature.method.value if signature else None,
        "identity": printable(signature.identity) if signature else None,
        "issuer": printable(signature.issuer) if signature else None,
        "signed_at": signature.signed_at.isoformat() if signature and signature.signed_at else None,
        "covered": len(one.covered),
        "uncovered": [printable(path) for path in one.uncovered],
    }


def _decision(one: Decision) -> Document:
    return {
        "what": printable(one.what),
        "who": printable(one.who) or None,
        "when": one.when.isoformat() if one.when else None,
        "note": printable(one.note),
    }


def _stale(stale: Stale) -> Document:
    return {"why": stale.reason, "waiver": _waiver(stale.waiver)}


def _waiver(waiver: Waiver) -> Document:
    return {
        "rule": waiver.rule,
        "digest": waiver.digest,
        "subject": waiver.subject,
        "reason": printable(waiver.reason),
        "approver": printable(waiver.approver),
        "expires": waiver.expires.isoformat(),
    }
