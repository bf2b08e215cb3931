"""The parse of one file: recursion into its members, and the account of every byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Final

from weighbridge import formats
from weighbridge.errors import ArtifactError
from weighbridge.facts import Anomaly, Fact, Gap, Inert, Recognised
from weighbridge.formats.base import Context, Format, gap
from weighbridge.limits import Budget
from weighbridge.reader import Reader
from weighbridge.records import dataclass
from weighbridge.remote import TRIAGE, NotFetchedError, RangeReader

_UNREAD: Final = (Inert, Gap)


@dataclass(slots=True)
class Tally:
    """How the bytes of one reader were accounted for."""

    size: int
    inert: int = 0
    unexamined: int = 0

    def add(self, fact: Fact) -> None:
        """Count what a fact says of its bytes."""
        if isinstance(fact, Inert):
            self.inert += fact.size
        elif isinstance(fact, Gap):
            self.unexamined += self.size if fact.size is None else fact.size

    def add_member(self, member: Tally, stored: int) -> None:
        """Count a member that takes `stored` bytes of this container, in proportion to its own tally."""
        if member.size:
            self.inert += member.inert * stored // member.size
            self.unexamined += -(-member.unexamined * stored // member.size)

    def settle(self) -> None:
        """Bring overlapping counts (a gap behind a gap, a polyglot) back to the size."""
        self.unexamined = min(self.unexamined, self.size)
        self.inert = min(self.inert, self.size - self.unexamined)

    @property
    def parsed(self) -> int:
        """Bytes that a format understood."""
        return self.size - self.inert - self.unexamined


@dataclass(slots=True)
class Examination:
    """The parse of one file: a stack of tallies, one per container around the bytes being read."""

    budget: Budget
    tallies: list[Tally] = field(default_factory=list)

    def run(self, reader: Reader) -> tuple[list[Fact], Tally]:
        """Return every fact of a file and the account of its bytes."""
        root = Tally(reader.size)
        self.tallies = [root]
        facts = self.examine(reader, reader.size)
        if reader.size == 0:
            facts.append(Gap(location=reader.origin, reason="the file is empty", size=0))
        root.settle()
        return facts, root

    def examine(self, reader: Reader, stored: int) -> list[Fact]:
        """Return the facts of a member (or of the file itself) under every format that recognises it."""
        if reader.size == 0:
            return []
        tally = Tally(reader.size)
        self.tallies.append(tally)
        try:
            facts = self._facts(reader)
        finally:
            self.tallies.pop()
        path = reader.origin.path
        for fact in facts:
            if isinstance(fact, _UNREAD) and fact.location.path == path:
                tally.add(fact)
        tally.settle()
        self.tallies[-1].add_member(tally, stored)
        return facts

    def _facts(self, reader: Reader) -> list[Fact]:
        if len(self.tallies) - 2 > self.budget.limits.max_depth:
            reason = f"nested deeper than {self.budget.limits.max_depth} containers"
            return [Gap(location=reader.origin, reason=reason, size=reader.size, limit="max_depth")]
        try:
            recognised = formats.sniff(reader.sample)
        except NotFetchedError as error:
            return [gap(error, "sniff")]
        facts: list[Fact] = []
        if not recognised:
            facts.append(Gap(location=reader.origin, reason="no known format", size=reader.size))
        if len(recognised) > 1:
            names = " and ".join(f.name for f in recognised)
            facts.append(Anomaly(location=reader.origin, code="polyglot", detail=f"the same bytes are {names}"))
        for format_ in recognised:
            facts.append(Recognised(location=reader.origin, format=format_.name, size=reader.size))
            self._parse(format_, reader, facts)
        return facts

    def _parse(self, format_: Format, reader: Reader, facts: list[Fact]) -> None:
        """Add what a format says of the bytes; what it said before an error stays."""
        context = Context(self.budget, self.examine)
        reader.seek(0)
        try:
            found = format_.parse(reader, context)
            for fact in _fetched(found, reader) if isinstance(reader, RangeReader) else found:
                facts.append(fact)  # noqa: PERF402 - `extend` does not promise to keep what came before an error
        except ArtifactError as error:
            facts.append(gap(error, format_.name))


def _fetched(facts: Iterator[Fact], reader: RangeReader) -> Iterator[Fact]:
    """Yield the facts of a remote file; data that nobody fetched are a gap, whatever a header says they are."""
    for fact in facts:
        if isinstance(fact, Inert) and fact.location.path == reader.origin.path and fact.size:
            begin = fact.location.offset - reader.origin.offset
            if not reader.holds(begin, begin + fact.size):
                yield Gap(location=fact.location, reason=f"not fetched: {fact.reason}", size=fact.size, limit=TRIAGE)
                continue
        yield fact
