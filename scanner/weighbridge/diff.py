"""What changed between two models: files, what loading them does, and tensors.

Files are the same when their sha256 is; only the others are parsed. What a parser says of them becomes traits (an
import, a call, an operator, an anomaly …) without their places, so that bytes that merely moved are no difference; and
tensors by name, dtype, shape and the sha256 of their bytes, where the bytes are known to stand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from weighbridge.digest import CHUNK
from weighbridge.errors import ArtifactError
from weighbridge.examination import Examination
from weighbridge.facts import (
    ExternalData,
    Fact,
    Gap,
    Inert,
    Member,
    Operator,
    Program,
    Recognised,
    Tensor,
    named,
)
from weighbridge.formats.pickle.tensors import StoredTensor, tensors
from weighbridge.judgement import check
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location
from weighbridge.reader import Reader, from_path
from weighbridge.records import dataclass, field
from weighbridge.report.base import describe
from weighbridge.rules import RuleSet
from weighbridge.trust import Trust

ADDED: Final = "added"
REMOVED: Final = "removed"
CHANGED: Final = "changed"
RESHAPED: Final = "reshaped"

# Kinds of traits from what matters most on; the rest stands before the last.
_ORDER: Final = ("finding", "unknown", "gap", "anomaly", "call", "import", "operator", "", "member")
# Facts that say how a file is built and not what it does; what a rule or nobody speaks for is told with its reason.
_STRUCTURE: Final = (Inert, Tensor, Program)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A file of one side: its size, its sha256, and where its bytes lie."""

    size: int
    sha256: str
    place: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two models: what it is called, and its files by path."""

    name: str
    files: Mapping[str, Copy]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """A file that was added, removed or changed; a side that does not have it is None."""

    kind: str
    path: str
    before: Copy | None
    after: Copy | None


@dataclass(frozen=True, slots=True)
class Trait:
    """Something that a file does or has: the kind and the subject of a fact, and what it says."""

    kind: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitChange:
    """A trait that the changed files of one side have and those of the other have not, and one file that has it."""

    kind: str
    trait: Trait
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorChange:
    """A tensor that was added, removed, reshaped (another shape or dtype) or changed (other bytes)."""

    kind: str
    name: str
    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How two models differ; `uncompared` tensors have the same shape, and bytes that nobody could find."""

    before: str
    after: str
    files: tuple[FileChange, ...]
    traits: tuple[TraitChange, ...] = ()
    tensors: tuple[TensorChange, ...] = ()
    uncompared: int = 0

    @property
    def same(self) -> bool:
        """Whether they are the same bytes under the same paths."""
        return not self.files


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of a tensor: `sha256` is empty when its bytes were not found."""

    path: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def form(self) -> str:
        return f"{self.dtype} {'x'.join(map(str, self.shape)) or 'scalar'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What the files of a side that are not on the other amount to: traits with a file that has them, and tensors."""

    traits: dict[Trait, str]
    tensors: dict[tuple[str, str], _Known]


@dataclass(slots=True)
class _Keeping(Examination):
    """An examination that keeps the reader of every part, so that the bytes of tensors can be digested."""

    readers: dict[tuple[str, ...], Reader] = field(default_factory=dict)

    def examine(self, reader: Reader, stored: int) -> list[Fact]:
        """Return the facts of a part."""
        self.readers.setdefault(reader.origin.path, reader)
        return Examination.examine(self, reader, stored)


def compare(before: Side, after: Side, *, rules: RuleSet, trust: Trust, limits: Limits) -> Comparison:
    """Return how two models differ; raise SourceError when a file cannot be read."""
    files = tuple(_file_changes(before.files, after.files))
    contents = [
        _contents(((change.path, copy) for change in files if (copy := pick(change))), rules, trust, limits)
        for pick in _SIDES
    ]
    changes, uncompared = _tensor_changes(contents[0].tensors, contents[1].tensors)
    return Comparison(
        before=before.name,
        after=after.name,
        files=files,
        traits=tuple(_trait_changes(contents[0].traits, contents[1].traits)),
        tensors=tuple(changes),
        uncompared=uncompared,
    )


_SIDES: Final[tuple[Callable[[FileChange], Copy | None], ...]] = (
    lambda change: change.before,
    lambda change: change.after,
)


def _file_changes(before: Mapping[str, Copy], after: Mapping[str, Copy]) -> Iterator[FileChange]:
    for path in sorted(before.keys() | after.keys()):
        one, other = before.get(path), after.get(path)
        if one is None or other is None:
            yield FileChange(kind=ADDED if one is None else REMOVED, path=path, before=one, after=other)
        elif one.sha256 != other.sha256:
            yield FileChange(kind=CHANGED, path=path, before=one, after=other)


def _trait_changes(before: dict[Trait, str], after: dict[Trait, str]) -> list[TraitChange]:
    """Return the changes, what somebody has to look at before what merely is there."""
    changes = [TraitChange(kind=REMOVED, trait=trait, path=before[trait]) for trait in before.keys() - after.keys()]
    changes += [TraitChange(kind=ADDED, trait=trait, path=after[trait]) for trait in after.keys() - before.keys()]
    return sorted(changes, key=_weight)


def _weight(change: TraitChange) -> tuple[int, str, str, bool, str]:
    trait = change.trait
    rank = _ORDER.index(trait.kind if trait.kind in _ORDER else "")
    return (rank, trait.kind, trait.subject, change.kind == ADDED, trait.text)


def _contents(copies: Iterable[tuple[str, Copy]], rules: RuleSet, trust: Trust, limits: Limits) -> _Content:
    content = _Content(traits={}, tensors={})
    for path, copy in copies:
        reader = from_path(copy.place, Location((path,)))
        examination = _Keeping(Budget(limits))
        facts, _ = examination.run(reader)
        for trait in _traits(facts, rules, trust):
            content.traits.setdefault(trait, path)
        for tensor in _tensors(path, facts, examination.readers):
            name = tensor.name
            while (path, name) in content.tensors:  # a graph may have two of one name
                name += "'"
            content.tensors[path, name] = tensor
    return content


def _traits(facts: list[Fact], rules: RuleSet, trust: Trust) -> Iterator[Trait]:
    """Yield what the facts of a file say: names as such, and with its arguments whatever is not trusted."""
    for fact in facts:
        if isinstance(fact, Program):
            for event in _exact(fact).events:
                if named(event) is not None and event.kind in ("import", "call"):
                    yield Trait(event.kind, event.subject, "")
        elif not isinstance(fact, _STRUCTURE):
            yield _trait(fact)
    judgement = check(facts, rules, trust)
    for finding in judgement.findings:
        yield Trait("finding", finding.rule.id, f"{finding.rule.title}: {describe(finding.fact)}")
    for unknown in judgement.unknowns:
        yield Trait("unknown", unknown.fact.subject, describe(unknown.fact))


def _exact(program: Program) -> Program:
    """Return a program value by value, as far as limits allow."""
    return (program.exactly() or program) if program.exactly is not None else program


def _trait(fact: Fact) -> Trait:
    """Return a fact without what changes when bytes move or a graph grows."""
    match fact:
        case Recognised() | Gap():
            return Trait(fact.kind, fact.subject, fact.reason if isinstance(fact, Gap) else "")
        case Member():
            return Trait(fact.kind, fact.name, fact.type if not fact.target else f"{fact.type} to {fact.target}")
        case Operator():
            return Trait(fact.kind, fact.subject, f"operator set {fact.version}" if fact.version else "")
        case ExternalData():
            return Trait(fact.kind, fact.target, "")
    return Trait(fact.kind, fact.subject, describe(fact))


def _tensors(path: str, facts: list[Fact], readers: dict[tuple[str, ...], Reader]) -> Iterator[_Known]:
    """Yield the tensors of a file, each with the digest of its bytes if they can be found."""
    members = {
        (*fact.location.path, fact.name): fact
        for fact in facts
        if isinstance(fact, Member) and fact.stored == fact.size
    }
    for fact in facts:
        if isinstance(fact, Tensor):
            yield _known(path, fact, readers.get(fact.location.path), fact.location.offset)
        elif isinstance(fact, Program):
            for tensor in tensors(_exact(fact)):
                place = _storage(tensor, members)
                reader = readers.get(place.path) if place is not None else None
                yield _known(path, tensor, reader, place.offset if place is not None else 0)


def _storage(tensor: Tensor, members: dict[tuple[str, ...], Member]) -> Location | None:
    """Return where the bytes of a tensor of torch begin: in the member `<root>/data/<key>` beside its pickle."""
    if not isinstance(tensor, StoredTensor) or len(tensor.location.path) < 2:
        return None
    *container, pickle = tensor.location.path
    folder = pickle.removesuffix(".pkl")
    member = members.get((*container, f"{folder}/{tensor.storage}"))
    if member is None or tensor.begin + tensor.size > member.size:
        return None
    return member.location.at(member.location.offset + tensor.begin)


def _known(path: str, tensor: Tensor, reader: Reader | None, offset: int) -> _Known:
    sha256 = _digest(reader, offset - reader.origin.offset, tensor.size) if reader is not None else ""
    return _Known(path=path, name=tensor.name, dtype=tensor.dtype, shape=tensor.shape, sha256=sha256)


def _digest(reader: Reader, offset: int, size: int) -> str:
    """Return the sha256 of a part of a file, nothing when it is not all there."""
    digest = hashlib.sha256()
    try:
        for begin in range(offset, offset + size, CHUNK):
            digest.update(reader.read(begin, min(CHUNK, offset + size - begin)))
    except ArtifactError:
        return ""
    return digest.hexdigest()


def _tensor_changes(
    before: dict[tuple[str, str], _Known], after: dict[tuple[str, str], _Known]
) -> tuple[list[TensorChange], int]:
    """Return the changes, and how many tensors of the same form could not be compared.

    Tensors are the same by file and name; of the rest those are that have a name that no other has, because a
    checkpoint may be cut into files in another way.
    """
    pairs = [(before[key], after[key]) for key in before.keys() & after.keys()]
    left = _by_name(before[key] for key in before.keys() - after.keys())
    right = _by_name(after[key] for key in after.keys() - before.keys())
    pairs += [(left.pop(name)[0], right.pop(name)[0]) for name in _single(left) & _single(right)]
    changes, uncompared = [], 0
    for one, other in pairs:
        if one.form != other.form:
            changes.append(_change(RESHAPED, one, other))
        elif not one.sha256 or not other.sha256:
            uncompared += 1
        elif one.sha256 != other.sha256:
            changes.append(_change(CHANGED, one, other))
    changes += [_change(REMOVED, one, None) for several in left.values() for one in several]
    changes += [_change(ADDED, None, one) for several in right.values() for one in several]
    return sorted(changes, key=lambda change: (change.path, change.name, change.kind)), uncompared


def _change(kind: str, before: _Known | None, after: _Known | None) -> TensorChange:
    shown = after or before
    if shown is None:
        raise ValueError("a change has a side")
    return TensorChange(
        kind=kind,
        name=shown.name,
        path=shown.path,
        before=before.form if before else "",
        after=after.form if after else "",
    )


def _by_name(found: Iterable[_Known]) -> dict[str, list[_Known]]:
    names: dict[str, list[_Known]] = {}
    for tensor in found:
        names.setdefault(tensor.name, []).append(tensor)
    return names


def _single(names: dict[str, list[_Known]]) -> set[str]:
    return {name for name, found in names.items() if len(found) == 1}
