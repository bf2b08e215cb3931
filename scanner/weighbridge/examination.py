"""The parse of one file: recursion into its members, and the account of every byte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge import formats
from weighbridge.errors import ArtifactError
from weighbridge.facts import Anomaly, Fact, Gap, Inert, Member, Recognised
from weighbridge.formats.base import Context, Format, gap
from weighbridge.limits import Budget
from weighbridge.reader import Reader, Sample
from weighbridge.records import dataclass, field
from weighbridge.remote import TRIAGE, NotFetchedError, RangeReader

_UNREAD: Final = (Inert, Gap)
# Templates: any text can have a block of one in it, such as a pickle of protocol 0 that holds prompts. What such a
# block does is told, but that it is there makes no polyglot.
_WITHIN: Final = frozenset({"jinja"})
# A program that names what runs it is Python as well, and both are told: that is one thing and not two.
_PROGRAMS: Final = frozenset({"script", "python"})


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
        if self.inert + self.unexamined > self.size:
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

    def __init__(self, budget: Budget, tallies: list[Tally] | None = None) -> None:  # a third of the time
        self.budget = budget
        self.tallies = [] if tallies is None else tallies

    def run(self, reader: Reader) -> tuple[list[Fact], Tally]:
        """Return every fact of a file and the account of its bytes."""
        root = Tally(reader.size)
        self.tallies = [root]
        facts = self.examine(reader, reader.size) if reader.size else self._nothing(reader)
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

    def _nothing(self, reader: Reader) -> list[Fact]:
        """Return the facts of an empty file; a registry that calls it empty is not believed before the download."""
        if isinstance(reader, RangeReader):
            reason = "not fetched: the registry says that it is empty"
            return [Gap(location=reader.origin, reason=reason, size=0, limit=TRIAGE)]
        return self._facts(reader)

    def _facts(self, reader: Reader) -> list[Fact]:
        if len(self.tallies) - 2 > self.budget.limits.max_depth:
            reason = f"nested deeper than {self.budget.limits.max_depth} containers"
            return [Gap(location=reader.origin, reason=reason, size=reader.size, limit="max_depth")]
        try:
            recognised = formats.sniff(reader.sample)
        except NotFetchedError as error:
            return [gap(error, "sniff")]
        if not recognised:
            return [Gap(location=reader.origin, reason="no known format", size=reader.size)]
        facts: list[Fact] = []
        if len(recognised) == 1:
            self._parse(recognised[0], reader, facts)
        else:
            self._parse_all(recognised, reader, facts)
        return facts

    def _parse_all(self, recognised: tuple[Format, ...], reader: Reader, facts: list[Fact]) -> None:
        """Add what several formats say of the same bytes, and that these are a polyglot if they are."""
        ending = _by_end(recognised, reader.sample)
        for format_ in (one for one in recognised if one not in ending):
            self._parse(format_, reader, facts)
        skipped = [one for one in ending if _is_of_member(one, reader, facts)]
        for format_ in (one for one in ending if one not in skipped):
            self._parse(format_, reader, facts)
        parsed = [one.name for one in recognised if one not in skipped and one.name not in _WITHIN]
        if len(parsed) > 1 and not _PROGRAMS.issuperset(parsed):
            detail = f"the same bytes are {' and '.join(parsed)}"
            facts.append(Anomaly(location=reader.origin, code="polyglot", detail=detail))

    def _parse(self, format_: Format, reader: Reader, facts: list[Fact]) -> None:
        """Add what a format says of the bytes; what it said before an error stays."""
        facts.append(Recognised(location=reader.origin, format=format_.name, size=reader.size))
        context = Context(self.budget, self.examine)
        reader.seek(0)
        try:
            found = format_.parse(reader, context)
            for fact in _fetched(found, reader) if isinstance(reader, RangeReader) else found:
                facts.append(fact)  # noqa: PERF402 - `extend` does not promise to keep what came before an error
        except ArtifactError as error:
            facts.append(gap(error, format_.name))


def _by_end(recognised: tuple[Format, ...], sample: Sample) -> tuple[Format, ...]:
    """Return the formats that only the end of the bytes speaks for, if their beginning speaks for another."""
    beginning = sample._replace(tail=b"")
    ending = tuple(one for one in recognised if not one.sniff(beginning))
    return ending if len(ending) < len(recognised) else ()


def _is_of_member(format_: Format, reader: Reader, facts: list[Fact]) -> bool:
    """Tell whether what speaks for a format at the end of the bytes is a member, examined as that format.

    The last member of a tar file is often a zip file: the end of one is the end of both. Whoever opened the tar file as
    a zip would find that member's members.
    """
    sample, path = reader.sample, reader.origin.path
    same = {fact.location.path for fact in facts if isinstance(fact, Recognised) and fact.format == format_.name}
    tail = bytearray(sample.tail)
    shift = reader.origin.offset + sample.size - len(tail)
    for fact in facts:
        if not isinstance(fact, Member) or fact.type != "file" or not fact.stored:
            continue
        if fact.location.path == path and (*path, fact.name) in same:
            begin = max(0, fact.location.offset - shift)
            end = max(begin, fact.location.offset + fact.stored - shift)
            tail[begin:end] = bytes(len(tail[begin:end]))
    return not format_.sniff(Sample(sample.head, bytes(tail), sample.size))


def _fetched(facts: Iterator[Fact], reader: RangeReader) -> Iterator[Fact]:
    """Yield the facts of a remote file; data that nobody fetched are a gap, whatever a header says they are."""
    for fact in facts:
        if isinstance(fact, Inert) and fact.location.path == reader.origin.path and fact.size:
            begin = fact.location.offset - reader.origin.offset
            if not reader.holds(begin, begin + fact.size):
                yield Gap(location=fact.location, reason=f"not fetched: {fact.reason}", size=fact.size, limit=TRIAGE)
                continue
        yield fact
