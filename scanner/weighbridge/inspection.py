"""What is in a file, for a person who wants to look: formats, members, tensors, imports and pickles as Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

from weighbridge.examination import Examination
from weighbridge.facts import Fact, Gap, Member, Metadata, Program, Recognised, Tensor, named, observe
from weighbridge.formats.pickle.tensors import tensors
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location
from weighbridge.reader import Reader, from_path
from weighbridge.records import dataclass, field
from weighbridge.rules import RuleSet
from weighbridge.second_opinion import LISTING_LIMIT, decompile
from weighbridge.symbols import Event
from weighbridge.trust import Trust

T = TypeVar("T", bound=Fact)

TRUSTED: Final = "trusted"
UNKNOWN: Final = "unknown"
DANGEROUS: Final = "dangerous"
_WORSE: Final = (TRUSTED, UNKNOWN, DANGEROUS)

# Lines of a pickle that is too large for the decompiler: enough to see what it is.
STEPS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """A name that a file uses: how often, what is known of it, and the rule or the reason behind that."""

    name: str
    status: str
    uses: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A pickle stream as readable Python; `decompiled` says whether it is all of it or the first steps only."""

    location: Location
    protocol: int
    size: int
    complete: bool
    decompiled: bool
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Everything that was found in a file, each part in the order of its place."""

    path: str
    size: int
    formats: tuple[Recognised, ...]
    members: tuple[Member, ...]
    tensors: tuple[Tensor, ...]
    metadata: tuple[Metadata, ...]
    imports: tuple[Import, ...]
    listings: tuple[Listing, ...]
    gaps: tuple[Gap, ...]
    others: tuple[Fact, ...]


@dataclass(slots=True)
class _Remembering(Examination):
    """An examination that keeps the reader of every part, so that a pickle's bytes can be shown."""

    readers: dict[tuple[str, ...], Reader] = field(default_factory=dict)

    def examine(self, reader: Reader, stored: int) -> list[Fact]:
        """Return the facts of a part."""
        self.readers.setdefault(reader.origin.path, reader)
        return Examination.examine(self, reader, stored)


def inspect(path: Path, *, rules: RuleSet, trust: Trust, limits: Limits, listings: bool = True) -> Inspection:
    """Return what is in the file at `path`; raise SourceError when it cannot be read."""
    reader = from_path(path, Location((path.as_posix(),)))
    examination = _Remembering(Budget(limits))
    facts, _ = examination.run(reader)
    programs = [_exact(fact) for fact in facts if isinstance(fact, Program)]
    known = (Recognised, Member, Tensor, Metadata, Gap, Program)
    return Inspection(
        path=path.as_posix(),
        size=reader.size,
        formats=_of(facts, Recognised),
        members=_of(facts, Member),
        tensors=(*_of(facts, Tensor), *(tensor for program in programs for tensor in tensors(program))),
        metadata=_of(facts, Metadata),
        imports=tuple(_imports(programs, rules, trust)),
        listings=tuple(_listing(program, examination.readers) for program in programs) if listings else (),
        gaps=_of(facts, Gap),
        others=tuple(fact for fact in facts if not isinstance(fact, known) and fact.kind != "inert"),
    )


def _exact(program: Program) -> Program:
    """Return a program value by value: a listing tells each."""
    return (program.exactly() or program) if program.exactly is not None else program


def _of(facts: list[Fact], kind: type[T]) -> tuple[T, ...]:
    return tuple(fact for fact in facts if isinstance(fact, kind))


def _imports(programs: list[Program], rules: RuleSet, trust: Trust) -> Iterator[Import]:
    """Yield every name that the programs use, the worst first; a name is as bad as its worst use."""
    found: dict[str, Import] = {}
    for program in programs:
        refused = {id(event): reason for event, reason in trust.untrusted(program)}
        for event in program.events:
            source = named(event)
            if source is not None:
                status, because = _status(event, refused.get(id(event)), rules)
                _count(found, source.dotted, status, because)
    yield from sorted(found.values(), key=lambda one: (-_WORSE.index(one.status), one.name))


def _status(event: Event, reason: str | None, rules: RuleSet) -> tuple[str, str]:
    if reason is None:
        return TRUSTED, ""
    rule = rules.about_event(event)
    return (UNKNOWN, reason) if rule is None else (DANGEROUS, f"{rule.title} [{rule.id}]")


def _count(found: dict[str, Import], name: str, status: str, because: str) -> None:
    before = found.get(name)
    uses = before.uses + 1 if before else 1
    if before and _WORSE.index(before.status) >= _WORSE.index(status):
        status, because = before.status, before.because
    found[name] = Import(name=name, status=status, uses=uses, because=because)


def _listing(program: Program, readers: dict[tuple[str, ...], Reader]) -> Listing:
    """Return a program as Python: decompiled by fickling when it is small, else its first events."""
    reader = readers[program.location.path]
    start = program.location.offset - reader.origin.offset
    small = program.complete and program.size <= LISTING_LIMIT
    text = decompile(reader.read(start, program.size)) if small else None
    steps = [observe(event).expression for event in program.events[:STEPS]]
    return Listing(
        location=program.location,
        protocol=program.protocol,
        size=program.size,
        complete=program.complete,
        decompiled=text is not None,
        lines=tuple(steps if text is None else text.splitlines()),
    )
