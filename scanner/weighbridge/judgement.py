"""What the facts of a file amount to: findings of rules, facts that nobody speaks for, gaps.

`check` passes over the facts once. What a trust entry covers is silent, what a rule names is a `Finding`, and what is
left and has to be spoken for is `Unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol, TypeVar

from weighbridge import vocabulary
from weighbridge.facts import REVIEWED, UNREVIEWED_PART, Fact, Gap, Operator, Program, named, observe
from weighbridge.location import Location
from weighbridge.operators import Standing
from weighbridge.records import dataclass, replace
from weighbridge.rules import Rule, RuleSet
from weighbridge.symbols import Call, Event, Global, Run

# A stream can do the same thing a million times; a reader needs to see it a few times and its count.
OCCURRENCES: Final = 20


class Trust(Protocol):
    """What the rules need of the trust entries."""

    def untrusted(self, program: Program) -> Iterator[tuple[Event, str]]:
        """Yield, in order, every event that no entry covers, and why; a `Run` of one event for as many as it counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A rule matched a fact; `repeated` counts the further occurrences that are not listed one by one."""

    rule: Rule
    fact: Fact
    repeated: int = 0

    @property
    def location(self) -> Location:
        """Where."""
        return self.fact.location

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts findings by place; total, so that two scans give the same bytes."""
        return (*_order(self.fact), self.rule.id, self.repeated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A fact that has to be spoken for and is not, and why; it keeps a verdict from pass."""

    fact: Fact
    reason: str
    repeated: int = 0

    @property
    def location(self) -> Location:
        """Where."""
        return self.fact.location

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts unknowns by place, totally."""
        return (*_order(self.fact), self.reason, self.repeated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the facts of a file amount to, each part sorted by place."""

    findings: tuple[Finding, ...] = ()
    unknowns: tuple[Unknown, ...] = ()
    gaps: tuple[Gap, ...] = ()

    def merged(self, other: Judgement) -> Judgement:
        """Return what both say."""
        return Judgement(
            findings=tuple(sorted(self.findings + other.findings, key=lambda one: one.order)),
            unknowns=tuple(sorted(self.unknowns + other.unknowns, key=lambda one: one.order)),
            gaps=tuple(sorted({*self.gaps, *other.gaps}, key=_order)),
        )


def _order(fact: Fact) -> tuple[object, ...]:
    return (fact.location.path, fact.location.offset, fact.kind, fact.subject, repr(fact))


_Item = TypeVar("_Item", Finding, Unknown)


class _Ledger:
    """Findings and unknowns as they come in; what repeats is listed a few times and then counted."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], list[Finding | Unknown]] = {}
        self._count: dict[tuple[object, ...], int] = {}

    def __bool__(self) -> bool:
        return bool(self._kept)

    def add(self, group: tuple[object, ...], make: Callable[[], Finding | Unknown]) -> bool:
        """Count an occurrence of `group`; keep what `make` returns, and say so, if it is one of the first."""
        self._count[group] = self._count.get(group, 0) + 1
        if self._count[group] <= OCCURRENCES:
            self._kept.setdefault(group, []).append(make())
            return True
        return False

    def add_more(self, group: tuple[object, ...], count: int) -> None:
        """Count further occurrences of a group of which enough were kept."""
        self._count[group] += count

    def sorted(self, kind: type[_Item]) -> tuple[_Item, ...]:
        """Return what was kept, once each, the first of a group with the count of those that were not."""
        result: set[_Item] = set()
        for group, kept in self._kept.items():
            wanted = [one for one in kept if isinstance(one, kind)]
            rest = self._count[group] - len(kept)
            if wanted and rest:
                wanted[0] = replace(wanted[0], repeated=rest)
            result.update(wanted)
        return tuple(sorted(result, key=lambda one: one.order))


def check(facts: Iterable[Fact], rules: RuleSet, trust: Trust) -> Judgement:
    """Return what the rules say of `facts`, and which facts neither trust nor a rule speaks for."""
    ledger, gaps = _Ledger(), list[Gap]()
    told = rules.told
    for fact in facts:
        if fact.kind not in told:
            continue
        if isinstance(fact, Gap):
            gaps.append(fact)
        elif isinstance(fact, Program):
            _check_program(fact, rules, trust, ledger)
        elif isinstance(fact, Operator):
            _check_operator(fact, rules, ledger)
        else:
            rule = rules.about(fact.kind, fact.subject)
            if rule is not None:
                _add_finding(ledger, rule, fact)
            elif fact.kind in REVIEWED and not _is_ordinary(fact, rules):
                _add_unknown(ledger, fact, f"no rule speaks for this {fact.kind}")
    if not gaps and not ledger:
        return _NOTHING
    return Judgement(
        findings=ledger.sorted(Finding),
        unknowns=ledger.sorted(Unknown),
        gaps=tuple(sorted(set(gaps), key=_order)),
    )


_NOTHING: Final = Judgement()


def _is_ordinary(fact: Fact, rules: RuleSet) -> bool:
    """Tell whether the vocabulary has what a configuration or a template names."""
    return fact.kind in vocabulary.SEPARATORS and rules.vocabulary.knows(fact.kind, fact.subject)


def _add_finding(ledger: _Ledger, rule: Rule, fact: Fact) -> None:
    group = (rule.id, fact.kind, fact.subject, fact.location.path)
    ledger.add(group, lambda: Finding(rule=rule, fact=fact))


def _add_unknown(ledger: _Ledger, fact: Fact, reason: str) -> None:
    group = ("unknown", fact.kind, fact.subject, fact.location.path)
    ledger.add(group, lambda: Unknown(fact=fact, reason=reason))


def _check_operator(operator: Operator, rules: RuleSet, ledger: _Ledger) -> None:
    """Match an operator by its name and by what the table says of it, unless the model defines it itself.

    One that nobody knows stays unknown whatever a rule says of all such: no severity makes unseen code acceptable.
    """
    known = Standing.KNOWN if operator.defined else None
    standing = known or rules.operators.standing(operator.domain, operator.name, operator.version)
    rule = rules.about_operator(operator, standing)
    if rule is not None:
        _add_finding(ledger, rule, operator)
    if standing.reason and not (rule is not None and standing is Standing.WITHHELD):
        _add_unknown(ledger, operator, standing.reason)


def _check_program(program: Program, rules: RuleSet, trust: Trust, ledger: _Ledger) -> None:
    """Match every event that trust leaves over; an import is told only if nothing else is told of its name."""
    imports: list[tuple[Global, str]] = []
    used: set[int] = set()
    # A class that makes a million objects is matched a few times and then only counted, by the name it goes back to.
    enough: dict[tuple[type[Event], int, str], tuple[object, ...]] = {}
    more: dict[tuple[type[Event], int, str], int] = {}
    for told, reason in trust.untrusted(program):
        event, count = (told.events[0], told.count) if isinstance(told, Run) else (told, 1)
        if isinstance(event, Global):
            imports.append((event, reason))
            continue
        called = event.callable if type(event) is Call else None
        source = called if type(called) is Global else named(event)
        if source is None:
            _check_event(event, reason, rules, ledger)
            continue
        used.add(id(source))
        key = (type(event), id(source), reason)
        if key in enough:
            more[key] = more.get(key, 0) + count
            continue
        group = _check_event(event, reason, rules, ledger)
        if group is not None:
            enough[key] = group
            more[key] = count - 1
    for key, count in more.items():
        ledger.add_more(enough[key], count)
    for event, reason in imports:
        if id(event) not in used:
            _check_event(event, reason, rules, ledger)


def _check_event(event: Event, reason: str, rules: RuleSet, ledger: _Ledger) -> tuple[object, ...] | None:
    """Add what is to be said of an event; return its group once enough of that were kept."""
    # What a rule says of the name that it is given is told of that.
    rule = rules.about_event(event) if reason != UNREVIEWED_PART else None
    if rule is not None:
        group: tuple[object, ...] = (rule.id, event.kind, event.subject, event.origin.path)
        kept = ledger.add(group, lambda: Finding(rule=rule, fact=observe(event)))
    elif event.kind in REVIEWED:
        group = ("unknown", event.kind, event.subject, event.origin.path)
        kept = ledger.add(group, lambda: Unknown(fact=observe(event), reason=reason))
    else:
        return None
    return None if kept else group


def prove(rule: Rule, examine: Callable[[str], Judgement]) -> Iterator[str]:
    """Yield a sentence for every example of `rule` that does not hold; `examine` judges a fixture by its path."""
    for fixture in rule.examples.match:
        if all(finding.rule.id != rule.id for finding in examine(fixture).findings):
            yield f"{rule.id} does not report {fixture}"
    for fixture in rule.examples.no_match:
        if any(finding.rule.id == rule.id for finding in examine(fixture).findings):
            yield f"{rule.id} reports {fixture}"
