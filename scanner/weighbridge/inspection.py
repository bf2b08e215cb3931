"""What is in a file, for a person who wants to look: formats, members, tensors, imports and pickles as Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from weighbridge.detail import DANGEROUS, LISTED, TRUSTED, UNKNOWN, Detail, Import, Listing, Share, Weights
from weighbridge.errors import ArtifactError
from weighbridge.examination import Examination
from weighbridge.facts import Fact, Gap, Member, Metadata, NotKeptError, Program, Recognised, Tensor, named, observe
from weighbridge.formats.pickle.tensors import tensors
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location
from weighbridge.reader import Reader, from_path
from weighbridge.records import dataclass, field, replace
from weighbridge.rules import RuleSet
from weighbridge.second_opinion import LISTING_LIMIT, decompile
from weighbridge.symbols import Event
from weighbridge.trust import Trust

T = TypeVar("T", bound=Fact)

_WORSE: Final = (TRUSTED, UNKNOWN, DANGEROUS)

# Lines of a pickle that is too large for the decompiler: enough to see what it is.
STEPS: Final = 40
# Of one file, beside a verdict: what a person reads.
LISTINGS: Final = 8
LARGEST: Final = 100
# That the decompiler may take of one pickle there.
SECONDS: Final = 5


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
class Remembering(Examination):
    """An examination that keeps the reader of every part, so that a pickle's bytes can be shown."""

    readers: dict[tuple[str, ...], Reader] = field(default_factory=dict)

    def examine(self, reader: Reader, stored: int) -> list[Fact]:
        """Return the facts of a part."""
        self.readers.setdefault(reader.origin.path, reader)
        return Examination.examine(self, reader, stored)


class Unread(dict[tuple[str, ...], Reader]):
    """The readers of a file whose facts were kept and whose bytes nobody opened."""

    def __missing__(self, path: tuple[str, ...]) -> Reader:
        raise NotKeptError


def inspect(path: Path, *, rules: RuleSet, trust: Trust, limits: Limits, listings: bool = True) -> Inspection:
    """Return what is in the file at `path`; raise SourceError when it cannot be read."""
    reader = from_path(path, Location((path.as_posix(),)))
    examination = Remembering(Budget(limits))
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
        imports=_imports([(program, _refused(program, trust)) for program in programs], rules),
        listings=tuple(_listing(program, examination.readers) for program in programs) if listings else (),
        gaps=_of(facts, Gap),
        others=tuple(fact for fact in facts if not isinstance(fact, known) and fact.kind != "inert"),
    )


def _exact(program: Program) -> Program:
    """Return a program value by value: a listing tells each."""
    return (program.exactly() or program) if program.exactly is not None else program


def _of(facts: list[Fact], kind: type[T]) -> tuple[T, ...]:
    return tuple(fact for fact in facts if isinstance(fact, kind))


def _refused(program: Program, trust: Trust) -> dict[int, str]:
    """Return why no entry covers the events of a program, by the identity of the event."""
    return {id(event): reason for event, reason in trust.untrusted(program)}


def _imports(judged: list[tuple[Program, dict[int, str]]], rules: RuleSet) -> tuple[Import, ...]:
    """Return every name that the programs use, the worst first; a name is as bad as its worst use."""
    found: dict[str, Import] = {}
    for program, refused in judged:
        for event in program.events:
            source = named(event)
            if source is not None:
                status, because = _status(event, refused.get(id(event)), rules)
                _count(found, source.dotted, status, because)
    return tuple(sorted(found.values(), key=lambda one: (-_WORSE.index(one.status), one.name)))


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
    stream = _stream(program, readers)
    text = decompile(stream) if stream else None
    lines = [observe(event).expression for event in program.events[:STEPS]] if text is None else text.splitlines()
    return _listed(program, lines, decompiled=text is not None)


def _stream(program: Program, readers: dict[tuple[str, ...], Reader]) -> bytes:
    """Return the bytes of a program that the decompiler can make something of, none of any other."""
    if not program.complete or program.size > LISTING_LIMIT:
        return b""
    reader = readers[program.location.path]
    try:
        return reader.read(program.location.offset - reader.origin.offset, program.size)
    except ArtifactError:  # of a remote file, from whose parts this one is missing
        return b""


def _listed(program: Program, lines: list[str], *, decompiled: bool) -> Listing:
    return Listing(
        location=program.location,
        protocol=program.protocol,
        size=program.size,
        complete=program.complete,
        decompiled=decompiled,
        lines=tuple(lines),
    )


def detailed(facts: list[Fact], readers: dict[tuple[str, ...], Reader], rules: RuleSet, trust: Trust) -> Detail:
    """Return what a report can show beside the verdict that rests on the facts.

    Programs are taken as they are: a run of values has neither names nor tensors in it, and value by value three
    million numbers take 900 MB.
    """
    judged = [(program, _refused(program, trust)) for program in facts if isinstance(program, Program)]
    doubtful = [(program, refused) for program, refused in judged if refused]
    found = [*_of(facts, Tensor)]
    for program, _ in judged:
        found += tensors(program)
    return Detail(
        imports=_imports(judged, rules),
        listings=tuple(_doubtful(program, refused, readers) for program, refused in doubtful[:LISTINGS]),
        weights=_weights(found) if found else None,
    )


def _doubtful(program: Program, refused: dict[int, str], readers: dict[tuple[str, ...], Reader]) -> Listing:
    """Return a program as the first of its events that nothing covers, and its bytes if they can be decompiled."""
    events = [event for event in program.events if id(event) in refused]
    listing = _listed(program, [observe(event).expression for event in events[:STEPS]], decompiled=False)
    return replace(listing, pickle=_stream(program, readers))


def decompiled(details: Iterable[Detail | None]) -> Iterator[Detail | None]:
    """Yield what is shown of files, one after the other; of their listings the first `LISTED` as the whole program."""
    left = LISTED
    for detail in details:
        listings = []
        for listing in detail.listings if detail is not None else ():
            text = decompile(listing.pickle, seconds=SECONDS) if listing.pickle and left > 0 else None
            left -= bool(listing.pickle)
            lines = listing.lines if text is None else tuple(text.splitlines())
            listings.append(replace(listing, lines=lines, decompiled=text is not None, pickle=b""))
        yield detail if detail is None else replace(detail, listings=tuple(listings))


def _weights(found: list[Tensor]) -> Weights:
    """Return the tensors of a file in short, the greatest first."""
    sizes: dict[str, tuple[int, int]] = {}
    for tensor in found:
        count, size = sizes.get(tensor.dtype, (0, 0))
        sizes[tensor.dtype] = count + 1, size + tensor.size
    shares = [Share(dtype=dtype, count=count, size=size) for dtype, (count, size) in sizes.items()]
    return Weights(
        count=len(found),
        size=sum(tensor.size for tensor in found),
        shares=tuple(sorted(shares, key=lambda share: (-share.size, share.dtype))),
        largest=tuple(sorted(found, key=lambda tensor: (-tensor.size, tensor.name))[:LARGEST]),
    )
