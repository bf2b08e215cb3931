"""The report for a page of a pipeline, such as `$GITHUB_STEP_SUMMARY`: Markdown as GitHub and GitLab read it.

Text from a file stands in `<code>` with every mark of punctuation as a character reference. A reference is never taken
for markup (CommonMark 0.31, 6.2), so no name can make a link, a table, HTML or a mention. GitHub takes 1 MiB of a step,
so the page is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from weighbridge.judgement import Finding, Unknown
from weighbridge.location import printable
from weighbridge.policy import Coverage, Outcome, Verdict, blocks
from weighbridge.report.base import (
    GAP_ABOUT,
    UNMET_ABOUT,
    Style,
    accepted,
    counted,
    describe,
    headline,
    repeated,
    rule_id,
    sized,
    total,
    unmet_title,
    worst_first,
)
from weighbridge.requirements import Unmet
from weighbridge.rules import Severity

# Rows of a table, and places of one rule; `--verbose` does not change them, because GitHub's limit does not change.
ROWS: Final = 50
PLACES: Final = 10
# Characters of one piece of text from a file.
TEXT_LIMIT: Final = 400
DIGEST_DIGITS: Final = 12

_HARMLESS: Final = " .,;:()'/-…"  # in sentences of ours

_MARKS: Final = {Outcome.PASS: "✅", Outcome.INCONCLUSIVE: "⚠️", Outcome.FAIL: "❌"}
_SEVERITIES: Final = {Severity.CRITICAL: "🔴", Severity.HIGH: "🟠", Severity.MEDIUM: "🟡", Severity.LOW: "⚪"}


def render(verdict: Verdict, style: Style) -> Iterator[str]:
    """Yield the lines of the page; with `quiet` the verdict alone."""
    mark = "🔎" if verdict.nothing_found else _MARKS[verdict.outcome]
    yield f"## {mark} Weighbridge: {verdict.outcome.value}"
    yield ""
    yield f"**{_capital(_words(headline(verdict)))}.**" + (f" {_code(verdict.source)}" if verdict.source else "")
    if style.quiet:
        return
    yield ""
    yield _coverage(verdict.coverage)
    yield from _unmet(verdict)
    yield from _findings(verdict)
    yield from _unknowns(verdict)
    yield from _gaps(verdict)
    yield from _waivers(verdict)
    yield from _signed(verdict)
    yield from _files(verdict)
    yield ""
    rules, policy = (
        digest.partition(":")[2][:DIGEST_DIGITS] for digest in (verdict.rules_digest, verdict.policy_digest)
    )
    yield (
        f"<sub>policy {_code(verdict.policy)} ({policy}), fails at {verdict.fail_at.value} · rules {rules} · "
        f"weighbridge {verdict.version}</sub>"
    )


def _coverage(coverage: Coverage) -> str:
    parts = (("parsed", coverage.parsed), ("inert data", coverage.inert), ("not examined", coverage.unexamined))
    return " · ".join(f"{sized(size)} {what}" for what, size in parts if size or what == "parsed")


def _unmet(verdict: Verdict) -> Iterator[str]:
    if not verdict.unmet:
        return
    yield ""
    yield f"### 🔴 Required, and not met ({len(verdict.unmet)})"
    yield ""
    yield UNMET_ABOUT
    yield ""
    yield from _list((_required(one) for one in verdict.unmet[:ROWS]), len(verdict.unmet[ROWS:]))


def _required(one: Unmet) -> str:
    fix = f" **Fix:** {_code(one.fix)}" if one.fix else ""
    title = f"{_words(unmet_title(one))} ({_escaped(one.code, '')})"
    return f"**{title}:** {_code(one.where)}: {_code(one.reason)}.{fix}"


def _signed(verdict: Verdict) -> Iterator[str]:
    signatures = [(one.signature, len(one.covered)) for one in verdict.evidence if one.signature is not None]
    if not signatures:
        return
    yield ""
    yield "### Signatures"
    yield ""
    lines = [f"{_code(one.who)}: {counted(count, 'file')}" for one, count in signatures]
    yield from _list(lines[:ROWS], len(lines[ROWS:]))


def _findings(verdict: Verdict) -> Iterator[str]:
    for group in worst_first(verdict.findings):
        rule = group[0].rule
        below = "" if blocks(group[0], verdict.fail_at) else ", below the severity at which this policy fails"
        yield ""
        yield f"### {_SEVERITIES[rule.severity]} {_words(rule.title)} ({rule.id}, {rule.severity.value}{below})"
        yield ""
        yield _words(rule.description)
        yield ""
        yield from _list((_place(finding) for finding in group[:PLACES]), total(group) - len(group[:PLACES]))
        yield ""
        yield f"**Fix:** {_words(rule.remediation)}"


def _unknowns(verdict: Verdict) -> Iterator[str]:
    if not verdict.unknowns:
        return
    yield ""
    yield f"### 🟡 Not reviewed ({total(verdict.unknowns)})"
    yield ""
    shown = verdict.unknowns[:PLACES]
    yield from _list((_place(one, one.reason) for one in shown), total(verdict.unknowns) - len(shown))


def _place(item: Finding | Unknown, reason: str = "") -> str:
    return (
        f"{_code(describe(item.fact))} at {_code(str(item.location))}{f': {_code(reason)}' if reason else ''}"
        + repeated(item)
    )


def _gaps(verdict: Verdict) -> Iterator[str]:
    if not verdict.gaps:
        return
    yield ""
    yield f"### 🟡 Not understood ({len(verdict.gaps)})"
    yield ""
    yield GAP_ABOUT
    yield ""
    shown = verdict.gaps[:PLACES]
    yield from _list(
        (f"{_code(str(gap.location))}: {_code(gap.reason)}" for gap in shown), len(verdict.gaps) - len(shown)
    )


def _waivers(verdict: Verdict) -> Iterator[str]:
    if not verdict.waived and not verdict.stale:
        return
    yield ""
    yield "### Waivers"
    yield ""
    lines = [
        f"{rule_id(one.item)} at {_code(str(one.item.location))}: {_code(accepted(one.waiver))}"
        for one in verdict.waived
    ]
    lines += [
        f"{stale.reason}: {stale.waiver.rule} for <code>{stale.waiver.digest}</code>, until "
        f"{stale.waiver.expires.isoformat()}"
        for stale in verdict.stale
    ]
    yield from _list(lines[:ROWS], len(lines[ROWS:]))


def _files(verdict: Verdict) -> Iterator[str]:
    if not verdict.files:
        return
    yield ""
    yield f"<details><summary>{counted(len(verdict.files), 'file')} and their digests</summary>"
    yield ""
    yield "| | file | formats | size | sha256 |"
    yield "| --- | --- | --- | ---: | --- |"
    worst = sorted(verdict.files, key=lambda file: (-file.outcome.rank, file.path))
    for file in worst[:ROWS]:
        digest = f"<code>{file.digest.value}</code>" if file.digest else "not digested"
        formats = ", ".join(file.formats) or "no known format"
        yield f"| {file.outcome.value} | {_code(file.path)} | {formats} | {sized(file.size)} | {digest} |"
    yield ""
    if len(worst) > ROWS:
        yield f"… and {counted(len(worst) - ROWS, 'more file')}."
    if verdict.excluded:
        yield f"Excluded, and not covered by this verdict: {counted(len(verdict.excluded), 'file')}."
    yield "</details>"


def _list(lines: Iterable[str], rest: int) -> Iterator[str]:
    yield from (f"- {line}" for line in lines)
    if rest:
        yield f"- … and {rest} more"


def _words(text: str) -> str:
    """Return what a rule says: its names of code as code, and nothing else as markup."""
    parts = " ".join(text.split()).split("`")
    return "".join(_code(part) if number % 2 else _escaped(part, _HARMLESS) for number, part in enumerate(parts))


def _code(text: str) -> str:
    """Return text from a file or a person, in which nothing is markup, and no more of it than anybody reads."""
    shown = printable(text)
    shown = shown if len(shown) <= TEXT_LIMIT else f"{shown[:TEXT_LIMIT]}…"
    return f"<code>{_escaped(shown, ' ,;…')}</code>"


def _escaped(text: str, harmless: str) -> str:
    return "".join(c if c.isalnum() or c in harmless or ord(c) > 127 else f"&#{ord(c)};" for c in text)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
