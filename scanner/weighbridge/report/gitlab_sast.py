"""The report for GitLab's security pages: a SAST report, as `artifacts:reports:sast` takes it.

https://docs.gitlab.com/development/integrations/secure/ and GitLab's security report schemas, version 15.1.4: the
first of them that every GitLab since 16.0 knows. A gap is a vulnerability of severity Unknown, because approval rules
read vulnerabilities and not messages, and so is a requirement that is not met; what a waiver accepts is a message.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from weighbridge.facts import Gap
from weighbridge.judgement import Finding, Unknown
from weighbridge.location import Location, printable
from weighbridge.policy import Verdict, Waived
from weighbridge.report.base import (
    GAP_ABOUT,
    GAP_HELP,
    GAP_ID,
    GAP_TITLE,
    UNKNOWN_ABOUT,
    UNKNOWN_HELP,
    UNKNOWN_ID,
    UNKNOWN_TITLE,
    UNMET_ABOUT,
    Style,
    accepted,
    advisory,
    describe,
    fingerprint,
    fingerprint_of_unmet,
    numbered,
    repeated,
    rule_id,
    unmet_title,
)
from weighbridge.requirements import Unmet
from weighbridge.rules import Rule

if TYPE_CHECKING:
    from weighbridge.evidence.base import Signature

VERSION: Final = "15.1.4"
# Characters that the schema allows.
NAME_LIMIT: Final = 255
SOLUTION_LIMIT: Final = 7000

Document = dict[str, Any]


def render(verdict: Verdict, style: Style) -> Iterator[str]:
    """Yield the lines of the document."""
    yield from json.dumps(document(verdict, style), indent=2, sort_keys=True).splitlines()


def document(verdict: Verdict, style: Style) -> Document:
    """Return the verdict as a SAST report."""
    found = [(_unmet(one), fingerprint_of_unmet(one)) for one in verdict.unmet]
    found += [(_finding(finding), fingerprint(finding.rule.id, finding.fact)) for finding in verdict.findings]
    found += [(_unknown(unknown), fingerprint(UNKNOWN_ID, unknown.fact)) for unknown in verdict.unknowns]
    found += [(_gap(gap), fingerprint(GAP_ID, gap)) for gap in verdict.gaps]
    prints = numbered(print_ for _, print_ in found)
    vulnerabilities = [one | {"id": _identity(print_)} for (one, _), print_ in zip(found, prints, strict=True)]
    tool = {
        "id": "weighbridge",
        "name": "Weighbridge",
        "version": verdict.version,
        "vendor": {"name": "Weighbridge"},
    }
    return {
        "version": VERSION,
        "scan": {
            "analyzer": tool,
            "scanner": tool,
            "type": "sast",
            "start_time": _time(style.began),
            "end_time": _time(style.ended),
            "status": "success",
            "messages": [
                {"level": "info", "value": f"verdict: {verdict.outcome.value}"},
                *({"level": "info", "value": _signed(one.signature)} for one in verdict.evidence if one.signature),
                *({"level": "info", "value": _waived(waived)} for waived in verdict.waived),
                *({"level": "warn", "value": f"not covered: {printable(path)}"} for path in verdict.excluded),
            ],
        },
        "vulnerabilities": vulnerabilities,
    }


def _unmet(one: Unmet) -> Document:
    title, where, reason = unmet_title(one), printable(one.where), printable(one.reason)
    solution = {"solution": _short(printable(one.fix), SOLUTION_LIMIT)} if one.fix else {}
    return solution | {
        "name": title,
        "description": f"{where}: {reason}\n\n{UNMET_ABOUT}",
        "severity": "High",
        "identifiers": [_identifier(one.code, title)],
        "location": {"file": where.removeprefix("./"), "start_line": 1},
    }


def _finding(finding: Finding) -> Document:
    rule = finding.rule
    identifiers = [_identifier(rule.id, rule.title)]
    identifiers += [_weakness(cwe) for cwe in rule.references.cwe]
    return {
        "name": _short(rule.title, NAME_LIMIT),
        "description": f"{' '.join(rule.description.split())}\n\n{describe(finding.fact)}{repeated(finding)}",
        "severity": rule.severity.value.capitalize(),
        "solution": _short(" ".join(rule.remediation.split()), SOLUTION_LIMIT),
        "identifiers": identifiers,
        "location": _location(finding.location),
        "details": _details(finding.location, describe(finding.fact)),
        "links": _links(rule),
    }


def _unknown(unknown: Unknown) -> Document:
    text = f"{UNKNOWN_ABOUT}\n\n{describe(unknown.fact)}: {printable(unknown.reason)}{repeated(unknown)}"
    return {
        "name": UNKNOWN_TITLE,
        "description": text,
        "severity": "Medium",
        "solution": UNKNOWN_HELP,
        "identifiers": [_identifier(UNKNOWN_ID, UNKNOWN_TITLE)],
        "location": _location(unknown.location),
        "details": _details(unknown.location, describe(unknown.fact)),
    }


def _gap(gap: Gap) -> Document:
    return {
        "name": GAP_TITLE,
        "description": f"{GAP_ABOUT}\n\n{printable(gap.reason)}",
        "severity": "Unknown",
        "solution": GAP_HELP,
        "identifiers": [_identifier(GAP_ID, GAP_TITLE)],
        "location": _location(gap.location),
        "details": _details(gap.location, printable(gap.reason)),
    }


def _identifier(rule: str, title: str) -> Document:
    return {"type": "weighbridge_rule", "name": f"Weighbridge {rule}: {title}", "value": rule}


def _weakness(cwe: int) -> Document:
    address = f"https://cwe.mitre.org/data/definitions/{cwe}.html"
    return {"type": "cwe", "name": f"CWE-{cwe}", "value": str(cwe), "url": address}


def _links(rule: Rule) -> list[Document]:
    """Return where to read more; an advisory about an attack of this kind is no name of this finding."""
    links = [{"name": name, "url": address} for name in rule.references.advisories if (address := advisory(name))]
    return links + [{"url": url} for url in rule.references.urls if url.startswith(("https://", "http://"))]


def _location(place: Location) -> Document:
    """Return the file; it has no lines, and GitLab wants one."""
    return {"file": printable(place.path[0]).removeprefix("./"), "start_line": 1}


def _details(place: Location, code: str) -> Document:
    """Return what GitLab shows of a finding beside its text: the exact place, and what would run or was seen."""
    return {
        "place": {"type": "text", "name": "Place", "value": str(place)},
        "seen": {"type": "code", "name": "Seen", "value": code, "lang": "python"},
    }


def _signed(signature: Signature) -> str:
    return f"signed by {printable(signature.who)}"


def _waived(waived: Waived) -> str:
    return f"waived: {rule_id(waived.item)} at {waived.item.location}, {accepted(waived.waiver)}"


def _identity(print_: str) -> str:
    """Return a fingerprint in the form of a UUID, which the schema recommends."""
    digits = hashlib.sha256(print_.encode()).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
