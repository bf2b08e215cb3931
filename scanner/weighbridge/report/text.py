"""The report for people: one screen, the verdict first, then findings the way a compiler prints errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Gap, Observed
from weighbridge.judgement import Finding, Unknown
from weighbridge.location import printable
from weighbridge.policy import FileVerdict, Outcome, Triage, Verdict, Waived, blocks
from weighbridge.remote import TRIAGE
from weighbridge.report.base import (
    GAP_ABOUT,
    GAP_HELP,
    Style,
    accepted,
    counted,
    describe,
    headline,
    sized,
    total,
    worst_first,
)
from weighbridge.rules import Rule, Severity

WIDTH: Final = 100
# How many places of one rule, of one unknown name, and of gaps are worth a line on a screen.
PLACES: Final = 4
NAMES: Final = 6
GAPS: Final = 10
# How many files in quarantine.
KEPT: Final = 6
DIGEST_DIGITS: Final = 12

_CODES: Final = {"red": "31", "yellow": "33", "green": "32", "bold": "1", "dim": "2"}
_OUTCOMES: Final = {Outcome.PASS: "green", Outcome.INCONCLUSIVE: "yellow", Outcome.FAIL: "red"}
_SEVERITIES: Final = {Severity.CRITICAL: "red", Severity.HIGH: "red", Severity.MEDIUM: "yellow", Severity.LOW: "dim"}
_UNKNOWN: Final = (
    "No reviewed entry covers these, so nobody knows what they do when the file is loaded. Read the code that "
    "they name, and accept this exact file with a waiver (docs/policy.md); or ask the publisher for a model without "
    "them, its weights as safetensors."
)


def render(verdict: Verdict, style: Style) -> Iterator[str]:
    """Yield the lines of the report; with `quiet` the first alone, with `verbose` every place and every file."""
    yield _headline(verdict, style)
    if style.quiet:
        return
    yield from _unmet(verdict, style)
    yield from _findings(verdict, style)
    yield from _unknowns(verdict.unknowns, style)
    yield from _gaps(tuple(gap for gap in verdict.gaps if gap.limit != TRIAGE), style)
    yield from _waivers(verdict)
    yield from _beside(verdict)
    yield from _quarantine(verdict, style)
    if style.verbose:
        yield from _files(verdict, style)
    yield ""
    if verdict.triage is not None:
        yield _triaged(verdict.triage)
    elif verdict.source:
        yield f"of {printable(verdict.source)}"
    yield from _signed(verdict)
    yield _paint(_summary(verdict), "dim", style)


def _headline(verdict: Verdict, style: Style) -> str:
    if verdict.nothing_found:
        word = _paint("nothing found (triage)", "green", style)
        return f"{word}: {printable(verdict.source)}: nothing is approved before all of it is fetched and scanned"
    word = _paint(verdict.outcome.value, _OUTCOMES[verdict.outcome], style)
    names = [file for file in verdict.files if file.outcome is verdict.outcome]
    return f"{word}: {_subject(verdict, names)}{headline(verdict)}"


def _subject(verdict: Verdict, names: list[FileVerdict]) -> str:
    """Return which files have the outcome of all: none of them when only a requirement is not met."""
    if not names:
        return ""
    if len(names) == 1:
        return f"{printable(names[0].path)}: "
    count = counted(len(verdict.files), "file")
    return f"{count}: " if len(names) == len(verdict.files) else f"{len(names)} of {count}: "


def _unmet(verdict: Verdict, style: Style) -> Iterator[str]:
    """Say what the policy asks besides and the model does not meet."""
    for one in verdict.unmet:
        yield ""
        yield f"{_paint(printable(one.where), 'bold', style)}: {printable(one.reason)} [{one.code}]"
        yield from _paragraph(f"fix: {printable(one.fix)}", "  = ") if one.fix else ()


def _signed(verdict: Verdict) -> Iterator[str]:
    """Say who signed what."""
    for one in verdict.evidence:
        if one.signature is not None:
            covered = counted(len(one.covered), "file")
            yield f"signed by {printable(one.signature.who)}: {covered}, {printable(one.format)}"


def _findings(verdict: Verdict, style: Style) -> Iterator[str]:
    for group in worst_first(verdict.findings):
        yield ""
        yield from _places(group, style)
        yield from _advice(group[0].rule, blocking=blocks(group[0], verdict.fail_at))


def _places(group: list[Finding], style: Style) -> Iterator[str]:
    rule = group[0].rule
    severity = _paint(rule.severity.value, _SEVERITIES[rule.severity], style)
    shown = group if style.verbose else group[:PLACES]
    for finding in shown:
        yield f"{_paint(str(finding.location), 'bold', style)}: {severity}: {rule.title} [{rule.id}]"
        yield f"    {describe(finding.fact)}{_spelled(finding)}"
    rest = total(group) - len(shown)
    if rest:
        yield f"    … and {counted(rest, 'more place')}"


def _spelled(finding: Finding) -> str:
    """Say how the stream writes a name that has a better known spelling."""
    fact = finding.fact
    return f"   (written {printable(fact.spelled)!r})" if isinstance(fact, Observed) and fact.spelled else ""


def _advice(rule: Rule, *, blocking: bool) -> Iterator[str]:
    yield from _paragraph(rule.description, "  = ")
    yield from _paragraph(f"fix: {rule.remediation}", "  = ")
    if not blocking:
        yield "  = below the severity at which this policy fails"


def _unknowns(unknowns: tuple[Unknown, ...], style: Style) -> Iterator[str]:
    groups: dict[tuple[str, str], list[Unknown]] = {}
    for unknown in unknowns:
        groups.setdefault((unknown.fact.subject, unknown.fact.kind), []).append(unknown)
    if not groups:
        return
    yield ""
    yield _paint("Not reviewed:", "bold", style)
    shown = len(groups) if style.verbose else NAMES
    for (subject, kind), group in list(groups.items())[:shown]:
        what = kind if subject == kind else f"{kind} {printable(subject)}"
        times = f" ({counted(total(group), 'time')})" if total(group) > 1 else ""
        yield f"  {what}{times}: {printable(group[0].reason)}"
        for unknown in group if style.verbose else group[:1]:
            yield f"      {unknown.location}: {describe(unknown.fact)}"
    if len(groups) > shown:
        yield f"  … and {counted(len(groups) - shown, 'more name')}"
    yield from _paragraph(_UNKNOWN, "  = ")


def _gaps(gaps: tuple[Gap, ...], style: Style) -> Iterator[str]:
    if not gaps:
        return
    yield ""
    yield _paint("Not understood:", "bold", style)
    for gap in gaps if style.verbose else gaps[:GAPS]:
        size = f" ({sized(gap.size)})" if gap.size else ""
        option = f"; raise it with --{gap.limit.replace('_', '-')}" if gap.limit else ""
        yield f"  {gap.location}: {printable(gap.reason)}{size}{option}"
    if len(gaps) > GAPS and not style.verbose:
        yield f"  … and {counted(len(gaps) - GAPS, 'more')}".rstrip("s")
    yield from _paragraph(GAP_ABOUT, "  = ")
    yield from _paragraph(f"fix: {GAP_HELP}", "  = ")


def _waivers(verdict: Verdict) -> Iterator[str]:
    if verdict.waived or verdict.stale:
        yield ""
    for waived in verdict.waived:
        yield f"waived: {waived.item.location}: {_waived(waived)}"
    for stale in verdict.stale:
        waiver = stale.waiver
        yield f"{stale.reason} waiver: {waiver.rule} for {waiver.digest}, until {waiver.expires.isoformat()}"


def _waived(waived: Waived) -> str:
    item, waiver = waived.item, waived.waiver
    what = f"{item.rule.title} [{item.rule.id}]" if isinstance(item, Finding) else f"unknown {describe(item.fact)}"
    return f"{what}, {accepted(waiver)}"


def _beside(verdict: Verdict) -> Iterator[str]:
    """Yield what stands beside the verdict: other programs' opinions, and files it does not cover."""
    if verdict.opinions or verdict.excluded:
        yield ""
    for opinion in verdict.opinions:
        yield f"second opinion: {printable(opinion.path)}: {printable(opinion.by)} says {printable(opinion.says)}"
        for detail in opinion.details[:PLACES]:
            yield f"    {printable(detail)}"
    if verdict.excluded:
        yield f"excluded, and not covered by this verdict: {counted(len(verdict.excluded), 'file')}"


def _quarantine(verdict: Verdict, style: Style) -> Iterator[str]:
    """Yield where the bytes are of fetched files that do not pass."""
    kept = [file for file in verdict.files if file.quarantine]
    if not kept:
        return
    yield ""
    for file in kept if style.verbose else kept[:KEPT]:
        yield f"in quarantine: {printable(file.path)} as {printable(file.quarantine)}"
    if len(kept) > KEPT and not style.verbose:
        yield f"in quarantine: {counted(len(kept) - KEPT, 'more file')}; --verbose names them"


def _files(verdict: Verdict, style: Style) -> Iterator[str]:
    yield ""
    for file in verdict.files:
        word = _paint(file.outcome.value, _OUTCOMES[file.outcome], style)
        formats = " + ".join(file.formats) or "no known format"
        yield f"{word}: {printable(file.path)}: {formats}, {sized(file.size)}, {file.digest or 'not digested'}"
    for path in verdict.excluded:
        yield f"excluded: {printable(path)}"


def _triaged(triage: Triage) -> str:
    share = 100 * triage.fetched / triage.size if triage.size else 0
    return (
        f"triage: {sized(triage.fetched)} of {sized(triage.size)} read ({share:.3g} %) in "
        f"{counted(triage.requests, 'request')}; the rest, and every digest, are unverified"
    )


def _summary(verdict: Verdict) -> str:
    coverage = verdict.coverage
    rules = verdict.rules_digest.partition(":")[2][:DIGEST_DIGITS]
    return (
        f"{counted(len(verdict.files), 'file')}, {sized(coverage.total)}: {sized(coverage.parsed)} parsed, "
        f"{sized(coverage.inert)} inert data, {sized(coverage.unexamined)} unexamined · "
        f"policy {printable(verdict.policy)} · rules {rules} · weighbridge {verdict.version}"
    )


def _paragraph(text: str, lead: str) -> list[str]:
    from textwrap import wrap

    return wrap(" ".join(text.split()), WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead))


def _paint(text: str, color: str, style: Style) -> str:
    return f"\x1b[{_CODES[color]}m{text}\x1b[0m" if style.color else text
