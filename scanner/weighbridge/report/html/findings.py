"""The parts of the page that say what is wrong: findings with the code behind them, and what nobody can say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.detail import LISTED, TRUSTED, Import, Listing
from weighbridge.facts import Observed
from weighbridge.judgement import Finding, Unknown
from weighbridge.policy import Verdict, blocks
from weighbridge.remote import TRIAGE
from weighbridge.report.base import (
    GAP_ABOUT,
    UNKNOWN_ABOUT,
    UNKNOWN_HELP,
    UNMET_ABOUT,
    accepted,
    advisory,
    counted,
    describe,
    repeated,
    rule_id,
    sized,
    total,
    unmet_title,
    worst_first,
)
from weighbridge.report.html.markup import Markup, code, element, joined, section, table, text
from weighbridge.requirements import Unmet
from weighbridge.rules import Rule

# What a person reads of one rule, of names, of gaps and of a listing; the JSON report has all.
PLACES: Final = 20
NAMES: Final = 100
GAPS: Final = 100
LINES: Final = 300

_ATLAS: Final = "https://atlas.mitre.org/techniques/"


def unmet(verdict: Verdict) -> Iterator[Markup]:
    """Yield the part with a card for each requirement that is not met."""
    if verdict.unmet:
        cards = joined(_required(one) for one in verdict.unmet)
        yield section("unmet", "Required, and not met", element("p", UNMET_ABOUT), cards)


def _required(one: Unmet) -> Markup:
    head = element(
        "header",
        element("span", "required", class_="chip critical"),
        element("h3", unmet_title(one)),
        element("span", one.code, class_="rule"),
    )
    fix = element("p", element("b", "Fix. "), one.fix, class_="fix") if one.fix else ""
    where = element("p", code(one.where), class_="where")
    return element("article", head, element("p", one.reason), where, fix, class_="card critical")


def findings(verdict: Verdict) -> Iterator[Markup]:
    """Yield the part with a card for each rule that found something, the worst first."""
    groups = worst_first(verdict.findings)
    if groups:
        cards = (_card(group, blocking=blocks(group[0], verdict.fail_at)) for group in groups)
        yield section("findings", "Findings", joined(cards))


def _card(group: list[Finding], *, blocking: bool) -> Markup:
    rule = group[0].rule
    head = element(
        "header",
        element("span", rule.severity.value, class_=f"chip {rule.severity.value}"),
        element("h3", rule.title),
        element("a", rule.id, href=f"#{rule.id}", class_="rule"),
    )
    below = element("p", "Below the severity at which this policy fails.", class_="note")
    fix = element("p", element("b", "Fix. "), _words(rule.remediation), class_="fix")
    return element(
        "article",
        head,
        element("p", _words(rule.description)),
        _places(group),
        fix,
        "" if blocking else below,
        _references(rule),
        class_=f"card {rule.severity.value}",
        id=rule.id,
    )


def _places(group: list[Finding]) -> Markup:
    rest = total(group) - len(group[:PLACES])
    more = [element("li", f"… and {counted(rest, 'more place')}", class_="note")] if rest else []
    return element("ul", joined([*(_place(one) for one in group[:PLACES]), *more]), class_="places")


def _place(item: Finding | Unknown, reason: str = "") -> Markup:
    fact = item.fact
    written = f" written {fact.spelled!r}" if isinstance(fact, Observed) and fact.spelled else ""
    return element(
        "li",
        element("pre", element("code", describe(fact))),
        element("p", code(str(item.location)), f"{written}{repeated(item)}", class_="where"),
        element("p", reason, class_="reason") if reason else "",
    )


def _references(rule: Rule) -> Markup:
    of = rule.references
    kinds = [_link(f"CWE-{cwe}", f"https://cwe.mitre.org/data/definitions/{cwe}.html") for cwe in of.cwe]
    kinds += [_link(f"ATLAS {name}", f"{_ATLAS}{name}") for name in of.atlas]
    kinds += [text(f"OWASP {name}") for name in of.owasp]
    more = [_link(name, advisory(name)) for name in of.advisories]
    more += [_link(url, url) for url in of.urls]
    parts = []
    if kinds:
        parts.append(element("p", joined(kinds, " · "), class_="references"))
    if more:
        summary = element("summary", f"{counted(len(more), 'source')} about attacks of this kind")
        parts.append(element("details", summary, element("p", joined(more, " · ")), class_="references"))
    return joined(parts)


def _link(name: str, address: str) -> Markup:
    """Return a link, which only a click follows; what is no web address is text."""
    if not address.startswith(("https://", "http://")):
        return text(name)
    return element("a", name, href=address, rel="noopener noreferrer external")


def _words(sentence: str) -> Markup:
    """Return what a rule says, with what stands between backticks as code."""
    parts = " ".join(sentence.split()).split("`")
    return joined((code(part) if number % 2 else text(part) for number, part in enumerate(parts)), "")


def unknowns(verdict: Verdict) -> Iterator[Markup]:
    """Yield the part with the names that nobody has reviewed."""
    if not verdict.unknowns:
        return
    groups: dict[tuple[str, str], list[Unknown]] = {}
    for unknown in verdict.unknowns:
        groups.setdefault((unknown.fact.kind, unknown.fact.subject), []).append(unknown)
    cards = [_unknown(kind, subject, group) for (kind, subject), group in list(groups.items())[:NAMES]]
    if len(groups) > NAMES:
        cards.append(element("p", f"… and {counted(len(groups) - NAMES, 'more name')}", class_="note"))
    yield section("unknowns", "Not reviewed", element("p", f"{UNKNOWN_ABOUT} {UNKNOWN_HELP}"), joined(cards))


def _unknown(kind: str, subject: str, group: list[Unknown]) -> Markup:
    times = counted(total(group), "time")
    head = element(
        "header",
        element("span", kind, class_="chip unknown"),
        element("h3", code(subject)),
        element("span", times, class_="rule"),
    )
    places = element("ul", _place(group[0], group[0].reason), class_="places")
    return element("article", head, places, class_="card unknown")


def gaps(verdict: Verdict) -> Iterator[Markup]:
    """Yield the part with what was not understood."""
    if not verdict.gaps:
        return
    rows = [
        (
            code(str(gap.location)),
            text(gap.reason),
            text(sized(gap.size) if gap.size else ""),
            code(f"--{gap.limit.replace('_', '-')}") if gap.limit and gap.limit != TRIAGE else text(""),
        )
        for gap in verdict.gaps[:GAPS]
    ]
    more = len(verdict.gaps) - len(rows)
    yield section(
        "gaps",
        "Not understood",
        element("p", GAP_ABOUT),
        table("Parts that were not understood", ("place", "reason", "size", "limit to raise"), rows),
        element("p", f"… and {more} more", class_="note") if more else "",
    )


def waivers(verdict: Verdict) -> Iterator[Markup]:
    """Yield the part with what waivers accept, and the waivers that accept nothing."""
    if not verdict.waived and not verdict.stale:
        return
    rows = [
        (
            text(rule_id(one.item)),
            code(str(one.item.location)),
            code(describe(one.item.fact)),
            text(accepted(one.waiver)),
        )
        for one in verdict.waived
    ]
    stale = [
        (
            text(one.waiver.rule),
            code(one.waiver.digest),
            text(f"{one.reason}, until {one.waiver.expires.isoformat()}"),
            text(one.waiver.reason),
        )
        for one in verdict.stale
    ]
    yield section(
        "waivers",
        "Waivers",
        table("Accepted", ("rule", "place", "seen", "decision"), rows) if rows else "",
        table("Waivers that accepted nothing", ("rule", "file", "state", "reason"), stale) if stale else "",
    )


def listings(verdict: Verdict) -> Iterator[Markup]:
    """Yield the part with the pickles in which something is not trusted, as Python."""
    found = [
        (listing, _alarming(file.detail.imports))
        for file in verdict.files
        if file.detail is not None
        for listing in file.detail.listings
    ]
    if not found:
        return
    found.sort(key=lambda pair: not pair[0].decompiled)
    yield section(
        "code",
        "What the loader would run",
        element(
            "p", "Pickles are programs. These are the ones with a name that is dangerous or not reviewed, as Python."
        ),
        joined(_listing(listing, names) for listing, names in found[:LISTED]),
        element("p", f"… and {counted(len(found) - LISTED, 'more pickle')}; `weighbridge inspect` shows them.")
        if len(found) > LISTED
        else "",
    )


def _alarming(imports: tuple[Import, ...]) -> re.Pattern[str] | None:
    """Return what finds, in a line of Python, the last part of a name that is not trusted."""
    names = sorted({re.escape(one.name.rpartition(".")[2]) for one in imports if one.status != TRUSTED and one.name})
    return re.compile(rf"(?<!\w)(?:{'|'.join(names[:NAMES])})(?!\w)") if names else None


def _listing(listing: Listing, names: re.Pattern[str] | None) -> Markup:
    how = "as Python" if listing.decompiled else "the steps that nobody trusts"
    state = "" if listing.complete else ", broken off"
    title = f" · {how} · protocol {listing.protocol}, {sized(listing.size)}{state}"
    shown = [_line(line, names) for line in listing.lines[:LINES]]
    rest = len(listing.lines) - len(shown)
    more = element("p", f"… and {counted(rest, 'more line')}", class_="note") if rest else ""
    body = element("pre", element("code", joined(shown)), class_="listing")
    return element("details", element("summary", code(str(listing.location)), title), body, more, open=True)


def _line(line: str, names: re.Pattern[str] | None) -> Markup:
    return element("span", line, class_="line hot" if names is not None and names.search(line) else "line")
