"""The report for whatever shows test results: JUnit XML, as Jenkins' xUnit plugin describes it (junit-10.xsd).

A file is a test suite, and what was asked of it are its tests: one for each rule that has findings, one for names that
nobody has reviewed, one for bytes that were not understood. A blocking finding is a failure; what was not reviewed or
not understood is an error, because nobody can say whether it is a failure; what a waiver accepts is skipped. A file
that passes has a test that says so: no suite is green because it is empty. What is required of the model as a whole has
a suite of its own: a failure for each requirement that is not met, and a test that passes for each signature.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from weighbridge.facts import Gap
from weighbridge.judgement import Finding, Unknown
from weighbridge.location import printable
from weighbridge.policy import FileVerdict, Outcome, Verdict, Waived, blocks
from weighbridge.records import dataclass
from weighbridge.report.base import (
    GAP_ID,
    GAP_TITLE,
    UNKNOWN_ID,
    UNKNOWN_TITLE,
    Style,
    accepted,
    by_file,
    counted,
    describe,
    headline,
    repeated,
    rule_id,
    unmet_title,
    waived_by_file,
    worst_first,
)
from weighbridge.requirements import Unmet
from weighbridge.rules import Severity

PLACES: Final = 100  # of one test: its text is read in a browser
REQUIRED: Final = "requirements"  # the suite about the model as a whole
PASSING: Final = "loading does nothing that the policy refuses"


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """A test of a file; `result` is failure, error or skipped, or for one that passes system-out or nothing."""

    name: str
    result: str = ""
    type: str = ""
    message: str = ""
    lines: tuple[str, ...] = ()


def render(verdict: Verdict, style: Style) -> Iterator[str]:
    """Yield the lines of the document."""
    suites = list(_suites(verdict))
    failures, errors, _ = _counts([test for _, _, tests in suites for test in tests])
    count = sum(len(tests) for _, _, tests in suites)
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<testsuites name="Weighbridge" tests="{count}" failures="{failures}" errors="{errors}">'
    for name, file, tests in suites:
        yield from _suite(name, tests, style, file)
    yield "</testsuites>"


def _suites(verdict: Verdict) -> Iterator[tuple[str, FileVerdict | None, list[Test]]]:
    """Yield the name, the file and the tests of every suite; no file to scan is an error, too."""
    if required := [*map(_unmet, verdict.unmet), *_signed(verdict)]:
        yield REQUIRED, None, required
    findings, unknowns, gaps = by_file(verdict.findings), by_file(verdict.unknowns), by_file(verdict.gaps)
    waived = waived_by_file(verdict)
    for file in verdict.files:
        tests = [
            *_findings(findings.get(file.path, []), verdict.fail_at),
            *_doubts(unknowns.get(file.path, []), gaps.get(file.path, [])),
            *_waived(waived.get(file.path, [])),
        ]
        if file.outcome is Outcome.PASS:
            tests.append(Test(name=PASSING))
        elif not any(test.result in ("failure", "error") for test in tests):
            tests.append(_error_of(PASSING, file.outcome, f"the verdict is {file.outcome.value}"))
        yield printable(file.path), file, tests
    if not verdict.files and not verdict.unmet:
        yield "Weighbridge", None, [_error_of(PASSING, verdict.outcome, headline(verdict))]


def _suite(name: str, tests: list[Test], style: Style, file: FileVerdict | None = None) -> Iterator[str]:
    failures, errors, skipped = _counts(tests)
    moment = style.ended.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    yield (
        f'  <testsuite name={quoteattr(name)} tests="{len(tests)}" failures="{failures}" errors="{errors}"'
        f' skipped="{skipped}" timestamp="{moment}">'
    )
    if file is not None:
        yield "    <properties>"
        yield f'      <property name="outcome" value="{file.outcome.value}"/>'
        yield f'      <property name="digest" value="{file.digest or "not digested"}"/>'
        yield f'      <property name="formats" value={quoteattr(" ".join(file.formats))}/>'
        yield "    </properties>"
    for test in tests:
        yield from _case(name, test)
    yield "  </testsuite>"


def _case(suite: str, test: Test) -> Iterator[str]:
    start = f"    <testcase classname={quoteattr(suite)} name={quoteattr(test.name)}"
    if not test.result:
        yield f"{start}/>"
        return
    yield f"{start}>"
    kind = "" if test.result == "system-out" else f" type={quoteattr(test.type)} message={quoteattr(test.message)}"
    first, *rest = (escape(line) for line in (test.lines or ("",)))
    yield f"      <{test.result}{kind}>{first}" + ("" if rest else f"</{test.result}>")
    yield from rest[:-1]
    if rest:
        yield f"{rest[-1]}</{test.result}>"
    yield "    </testcase>"


def _unmet(one: Unmet) -> Test:
    fix = (f"Fix: {printable(one.fix)}",) if one.fix else ()
    return Test(
        name=f"{one.code}: {unmet_title(one)}",
        result="failure",
        type=one.code,
        message=printable(one.reason),
        lines=(f"{printable(one.where)}: {printable(one.reason)}", *fix),
    )


def _signed(verdict: Verdict) -> Iterator[Test]:
    for one in verdict.evidence:
        if one.signature is not None:
            yield Test(name=f"signed by {printable(one.signature.who)}: {counted(len(one.covered), 'file')}")


def _findings(findings: list[Finding], fail_at: Severity) -> Iterator[Test]:
    for group in worst_first(findings):
        rule = group[0].rule
        lines = [f"{finding.location}: {describe(finding.fact)}{repeated(finding)}" for finding in group]
        blocking = blocks(group[0], fail_at)
        fix = (f"Fix: {' '.join(rule.remediation.split())}",) if blocking else ()
        yield Test(
            name=f"{rule.id}: {rule.title}",
            result="failure" if blocking else "system-out",
            type=rule.severity.value,
            message=f"{rule.title}: {describe(group[0].fact)}",
            lines=(*_bounded(lines), *fix),
        )


def _doubts(unknowns: list[Unknown], gaps: list[Gap]) -> Iterator[Test]:
    """Yield tests of which nobody knows whether they fail: what was not reviewed and what was not understood."""
    if unknowns:
        lines = [f"{one.location}: {describe(one.fact)}: {printable(one.reason)}{repeated(one)}" for one in unknowns]
        yield _error(UNKNOWN_ID, UNKNOWN_TITLE, lines)
    if gaps:
        yield _error(GAP_ID, GAP_TITLE, [f"{gap.location}: {printable(gap.reason)}" for gap in gaps])


def _error(rule: str, title: str, lines: list[str]) -> Test:
    message = lines[0] if len(lines) == 1 else f"{lines[0]} … and {counted(len(lines) - 1, 'more place')}"
    return Test(name=f"{rule}: {title}", result="error", type=rule, message=message, lines=_bounded(lines))


def _error_of(name: str, outcome: Outcome, message: str) -> Test:
    return Test(name=name, result="error", type=outcome.value, message=message)


def _waived(waived: list[Waived]) -> Iterator[Test]:
    for one in waived:
        item = one.item
        title = item.rule.title if isinstance(item, Finding) else UNKNOWN_TITLE
        yield Test(
            name=f"{rule_id(item)}: {title} (waived)",
            result="skipped",
            type="waived",
            message=accepted(one.waiver),
            lines=(f"{item.location}: {describe(item.fact)}",),
        )


def _bounded(lines: list[str]) -> tuple[str, ...]:
    if len(lines) <= PLACES:
        return tuple(lines)
    return (*lines[:PLACES], f"… and {counted(len(lines) - PLACES, 'more place')}")


def _counts(tests: list[Test]) -> tuple[int, int, int]:
    """Return how many tests are failures, errors and skipped."""
    results = [test.result for test in tests]
    return results.count("failure"), results.count("error"), results.count("skipped")
