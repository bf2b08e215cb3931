"""The report for the log of a GitHub Actions step: workflow commands, which GitHub shows as annotations.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions. GitHub shows ten errors, ten warnings
and ten notices of a step, so there is one annotation for each requirement that is not met and for each rule and file,
the worst first, and the tenth says how many more there are. Escaping is that of @actions/core: `%`, CR and LF in a
message, `:` and `,` too in a property. A message cannot start a line, so nothing from a file can be a command.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.judgement import Finding
from weighbridge.location import printable
from weighbridge.policy import Outcome, Verdict, blocks
from weighbridge.records import dataclass
from weighbridge.remote import TRIAGE
from weighbridge.report.base import (
    GAP_HELP,
    GAP_ID,
    GAP_TITLE,
    UNKNOWN_HELP,
    UNKNOWN_ID,
    UNKNOWN_TITLE,
    Style,
    accepted,
    by_file,
    counted,
    describe,
    headline,
    rule_id,
    total,
    unmet_title,
    worst_first,
)

SHOWN: Final = 10  # annotations of one kind in one step
PLACES: Final = 5  # of one annotation


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """A workflow command: error, warning or notice; `file` is empty when it is about all of them."""

    level: str
    title: str
    message: str
    file: str = ""

    def __str__(self) -> str:
        place = f"file={_property(self.file)},line=1," if self.file else ""
        return f"::{self.level} {place}title={_property(self.title)}::{_data(self.message)}"


def render(verdict: Verdict, style: Style) -> Iterator[str]:
    """Yield one workflow command a line; with `quiet` the verdict alone, with `verbose` all of them."""
    level = "notice" if verdict.outcome is Outcome.PASS or verdict.nothing_found else "error"
    yield str(Annotation(level=level, title=f"Weighbridge: {verdict.outcome.value}", message=headline(verdict)))
    if style.quiet:
        return
    found = list(_annotations(verdict))
    for kind in ("error", "warning", "notice"):
        of_kind = [one for one in found if one.level == kind]
        room = SHOWN - (kind == level)
        shown = of_kind if style.verbose or len(of_kind) <= room else of_kind[: room - 1]
        yield from map(str, shown)
        if len(shown) < len(of_kind):
            rest = counted(len(of_kind) - len(shown), f"more {kind}")
            yield str(Annotation(level=kind, title="Weighbridge", message=f"… and {rest}; other reports have all"))


def _annotations(verdict: Verdict) -> Iterator[Annotation]:
    """Yield an annotation for each rule and file, the worst first, after those about what is required."""
    for one in verdict.unmet:
        fix = f"\nFix: {printable(one.fix)}" if one.fix else ""
        message = f"{printable(one.where)}: {printable(one.reason)}{fix}"
        yield Annotation(level="error", title=f"{one.code}: {unmet_title(one)}", message=message)
    for group in worst_first(verdict.findings):
        for file, findings in by_file(group).items():
            yield _of_findings(_shown(file), findings, blocking=blocks(group[0], verdict.fail_at))
    for file, unknowns in by_file(verdict.unknowns).items():
        lines = [f"{unknown.location}: {describe(unknown.fact)}: {printable(unknown.reason)}" for unknown in unknowns]
        message = _message(lines, total(unknowns), UNKNOWN_HELP)
        yield Annotation(level="error", title=f"{UNKNOWN_ID}: {UNKNOWN_TITLE}", message=message, file=_shown(file))
    for file, gaps in by_file(verdict.gaps).items():
        level = "notice" if all(gap.limit == TRIAGE for gap in gaps) else "error"
        message = _message([f"{gap.location}: {printable(gap.reason)}" for gap in gaps], len(gaps), GAP_HELP)
        yield Annotation(level=level, title=f"{GAP_ID}: {GAP_TITLE}", message=message, file=_shown(file))
    for waived in verdict.waived:
        item = waived.item
        message = f"{item.location}: {describe(item.fact)}\n{accepted(waived.waiver)}"
        file = _shown(item.location.path[0])
        yield Annotation(level="notice", title=f"{rule_id(item)}: waived", message=message, file=file)


def _of_findings(file: str, findings: list[Finding], *, blocking: bool) -> Annotation:
    rule = findings[0].rule
    lines = [f"{finding.location}: {describe(finding.fact)}" for finding in findings]
    return Annotation(
        level="error" if blocking else "warning",
        title=f"{rule.id}: {rule.title} ({rule.severity.value})",
        message=_message(lines, total(findings), " ".join(rule.remediation.split())),
        file=file,
    )


def _shown(path: str) -> str:
    return printable(path).removeprefix("./")


def _message(lines: list[str], count: int, help_: str) -> str:
    shown = lines[:PLACES]
    rest = [f"… and {counted(count - len(shown), 'more place')}"] if count > len(shown) else []
    return "\n".join((*shown, *rest, f"Fix: {help_}"))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
