"""The report for GitLab's merge requests: Code Quality, as `artifacts:reports:codequality` takes it.

https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format: a list of violations, each with a
fingerprint of its own. It has no place for a verdict: the exit status is the gate. What a waiver accepts is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from weighbridge.facts import Fact
from weighbridge.location import printable
from weighbridge.policy import Verdict
from weighbridge.records import dataclass
from weighbridge.report.base import (
    GAP_ID,
    GAP_TITLE,
    UNKNOWN_ID,
    Style,
    describe,
    fingerprint,
    fingerprint_of_unmet,
    numbered,
    unmet_title,
)
from weighbridge.rules import Severity

_LEVELS: Final = {
    Severity.CRITICAL: "blocker",
    Severity.HIGH: "critical",
    Severity.MEDIUM: "major",
    Severity.LOW: "minor",
}

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """What GitLab is told: the rule and its severity there, the text, the file, and what tells it from others."""

    rule: str
    level: str
    text: str
    path: str
    print: str


def render(verdict: Verdict, style: Style) -> Iterator[str]:
    """Yield the lines of the document."""
    del style
    yield from json.dumps(document(verdict), indent=2, sort_keys=True).splitlines()


def document(verdict: Verdict) -> list[Document]:
    """Return the verdict as a list of violations."""
    seen = list(_violations(verdict))
    prints = numbered(one.print for one in seen)
    return [
        {
            "check_name": one.rule,
            "description": one.text,
            "fingerprint": print_,
            "severity": one.level,
            "location": {"path": printable(one.path).removeprefix("./"), "lines": {"begin": 1}},
        }
        for one, print_ in zip(seen, prints, strict=True)
    ]


def _violations(verdict: Verdict) -> Iterator[Violation]:
    """Yield everything that GitLab is told."""
    for one in verdict.unmet:
        text = f"{unmet_title(one)}: {printable(one.reason)}"
        print_ = fingerprint_of_unmet(one)
        yield Violation(rule=one.code, level="critical", text=text, path=one.where, print=print_)
    for finding in verdict.findings:
        rule = finding.rule
        text = f"{rule.title}: {describe(finding.fact)}"
        yield _violation(rule.id, _LEVELS[rule.severity], text, finding.fact)
    for unknown in verdict.unknowns:
        text = f"Not reviewed: {describe(unknown.fact)}: {printable(unknown.reason)}"
        yield _violation(UNKNOWN_ID, "major", text, unknown.fact)
    for gap in verdict.gaps:
        yield _violation(GAP_ID, "major", f"{GAP_TITLE}: {printable(gap.reason)}", gap)


def _violation(rule: str, level: str, text: str, fact: Fact) -> Violation:
    place = fact.location
    print_ = fingerprint(rule, fact)
    return Violation(rule=rule, level=level, text=f"{text} ({place})", path=place.path[0], print=print_)
