"""The report for people who decide, and for the record: one HTML page that needs nothing but itself.

It has no script, and its security policy allows none: nothing is fetched, and of styles only the one in the page, by
its digest. It reads the same with JavaScript off, prints, and follows the reader's choice of light or dark. Text from a
file becomes HTML in `markup.text` alone.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Final

from weighbridge.policy import Outcome, Verdict
from weighbridge.report.base import NO_TIME, Style, counted, headline, total
from weighbridge.report.html import files, findings
from weighbridge.report.html.charts import bar, covered, icon, legend
from weighbridge.report.html.markup import Markup, code, element, joined, section, text
from weighbridge.rules import Severity

_SQUARE: Final = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='4' fill='%23{}'/%3E%3C/svg%3E"
)
_COLORS: Final = {Outcome.PASS: "15803d", Outcome.INCONCLUSIVE: "b45309", Outcome.FAIL: "b91c1c"}


def render(verdict: Verdict, style: Style) -> Iterator[str]:
    """Yield the lines of the page."""
    yield from _page(verdict, style).split("\n")


def _page(verdict: Verdict, style: Style) -> Markup:
    body = joined(
        (
            element("a", "Skip to the verdict", href="#main", class_="skip"),
            _banner(verdict, style),
            _contents(verdict),
            Markup(f'<main id="main">\n{joined(_parts(verdict, style))}\n</main>'),
            _footer(verdict),
        )
    )
    return Markup(f'<!doctype html>\n<html lang="en">\n{_head(verdict)}\n<body>\n{body}\n</body>\n</html>')


def _parts(verdict: Verdict, style: Style) -> Iterator[Markup]:
    yield from findings.unmet(verdict)
    yield _coverage(verdict)
    yield from findings.findings(verdict)
    yield from findings.unknowns(verdict)
    yield from findings.gaps(verdict)
    yield from findings.listings(verdict)
    yield from findings.waivers(verdict)
    yield from files.imports(verdict)
    yield from files.files(verdict)
    yield from files.evidence(verdict)
    yield from files.weights(verdict)
    yield from files.opinions(verdict)
    yield from files.history(verdict, style)


def _head(verdict: Verdict) -> Markup:
    css = Path(__file__).with_name("style.css").read_text(encoding="utf-8").strip()
    digest = b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    head = joined(
        (
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=policy),
            element("meta", name="referrer", content="no-referrer"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("title", f"{verdict.outcome.value}: {_subject(verdict)} · Weighbridge"),
            element("link", rel="icon", href=_SQUARE.format(_COLORS[verdict.outcome])),
            Markup(f"<style>{css}</style>"),
        )
    )
    return Markup(f"<head>\n{head}\n</head>")


def _subject(verdict: Verdict) -> str:
    """Return what the verdict is on, in a few words."""
    if verdict.source:
        return verdict.source
    return verdict.files[0].path if len(verdict.files) == 1 else counted(len(verdict.files), "file")


def _banner(verdict: Verdict, style: Style) -> Markup:
    because = headline(verdict)
    word = "nothing found" if verdict.nothing_found else verdict.outcome.value
    if verdict.nothing_found:
        because = "this was a triage: nothing is approved before all of it is fetched and scanned"
    scanned = style.ended.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    when = [element("dt", "scanned"), element("dd", scanned)] if style.ended != NO_TIME else []
    facts = element(
        "dl",
        *when,
        element("dt", "policy"),
        element("dd", f"{verdict.policy}, fails at {verdict.fail_at.value}"),
        element("dt", "weighbridge"),
        element("dd", verdict.version),
    )
    said = element(
        "div",
        element("p", "Weighbridge verdict", class_="eyebrow"),
        element("h1", word),
        element("p", f"{because[:1].upper()}{because[1:]}.", class_="because"),
        element("p", code(_subject(verdict)), class_="subject"),
    )
    return element("header", icon(verdict.outcome.value), said, facts, class_=f"banner {verdict.outcome.value}")


def _contents(verdict: Verdict) -> Markup:
    """Return the counts, each of which leads to what it counts."""
    found = dict.fromkeys(Severity, 0)
    for finding in verdict.findings:
        found[finding.rule.severity] += 1 + finding.repeated
    worst = sorted(found, key=lambda severity: -severity.rank)
    tiles = [_tile(found[severity], severity.value, "findings", severity.value) for severity in worst]
    if verdict.unmet:
        tiles.insert(0, _tile(len(verdict.unmet), "not met", "unmet", "critical"))
    tiles += [
        _tile(total(verdict.unknowns), "not reviewed", "unknowns", "unknown"),
        _tile(len(verdict.gaps), "not understood", "gaps", "unknown"),
        _tile(len(verdict.waived), "waived", "waivers", "waived"),
        _tile(len(verdict.files), "files" if len(verdict.files) != 1 else "file", "files", "plain"),
    ]
    return element("nav", element("ul", joined(tiles)), aria_label="What was found")


def _tile(count: int, name: str, target: str, kind: str) -> Markup:
    inner = joined((element("b", f"{count:,}".replace(",", " ")), element("span", name)), "")
    if not count:
        return element("li", inner, class_="none")
    return element("li", element("a", inner, href=f"#{target}"), class_=kind)


def _coverage(verdict: Verdict) -> Markup:
    coverage = verdict.coverage
    parts = covered(coverage)
    said = "Every byte is accounted for." if not coverage.unexamined else "Not every byte could be examined."
    return section("coverage", "Coverage", element("p", said), bar(parts, said, height=20), legend(parts))


def _footer(verdict: Verdict) -> Markup:
    return element(
        "footer",
        element(
            "dl",
            element("dt", "rules"),
            element("dd", code(verdict.rules_digest)),
            element("dt", "policy"),
            element("dd", code(verdict.policy_digest)),
        ),
        element("p", text("This page has no script and fetches nothing. It is a record, not a proof: the files are.")),
    )
