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
from weighbridge.report.base import GAP_ID, GAP_TITLE, UNKNOWN_ID, Style, describe, fingerprint, numbered
from weighbridge.rules import Severity

_LEVELS: Final = {
    Severity.CRITICAL: "blocker",
    Severity.HIGH: "critical",
    Severity.MEDIUM: "major",
    Severity.LOW: "minor",
}

Document = dict[str, Any]


def render(verdict: Verdict, style: Style) -> Iterator[str]:
    """Yield the lines of the document."""
    del style
    yield from json.dumps(document(verdict), indent=2, sort_keys=True).splitlines()


def document(verdict: Verdict) -> list[Document]:
    """Return the verdict as a list of violations."""
    seen = list(_violations(verdict))
    prints = numbered(fingerprint(rule, fact) for rule, _, _, fact in seen)
    return [
        {
            "check_name": rule,
            "description": f"{text} ({fact.location})",
            "fingerprint": print_,
            "severity": level,
            "location": {"path": printable(fact.location.path[0]).removeprefix("./"), "lines": {"begin": 1}},
        }
        for (rule, level, text, fact), print_ in zip(seen, prints, strict=True)
    ]


def _violations(verdict: Verdict) -> Iterator[tuple[str, str, str, Fact]]:
    """Yield the rule, the severity, the text and the fact of everything that GitLab is told."""
    for finding in verdict.findings:
        rule = finding.rule
        yield rule.id, _LEVELS[rule.severity], f"{rule.title}: {describe(finding.fact)}", finding.fact
    for unknown in verdict.unknowns:
        text = f"Not reviewed: {describe(unknown.fact)}: {printable(unknown.reason)}"
        yield UNKNOWN_ID, "major", text, unknown.fact
    for gap in verdict.gaps:
        yield GAP_ID, "major", f"{GAP_TITLE}: {printable(gap.reason)}", gap
