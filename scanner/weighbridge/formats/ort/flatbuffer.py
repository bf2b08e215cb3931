"""FlatBuffers, bounded: tables by a schema, every offset checked, and a record of which bytes mean something.

An offset points forward and is never 0, so tables cannot form a circle; the same one can still be reached twice. The
limits are those of the reference verifier, which ONNX Runtime applies to a model before it reads it.

Specification: https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct, unpack_from
from typing import Any, Final, NamedTuple, TypeAlias

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.formats.ort.schema import Field, fields
from weighbridge.reader import Reader

MAX_TABLES: Final = 1_000_000  # the reference verifier's own limit
MAX_DEPTH: Final = 64  # likewise
MAX_SIZE: Final = (1 << 31) - 1  # likewise: offsets are 32 bits wide
MAX_ELEMENTS: Final = 20_000_000  # of all vectors of text and tables; a node has about ten
MAX_PLANS: Final = 10_000  # tables that are laid out differently; a writer makes one or a few for each kind
ALIGNMENT: Final = 64  # zeros between two values up to here are padding; ONNX Runtime aligns weights

_U16: Final = Struct("<H").unpack_from
_U32: Final = Struct("<I").unpack_from
_I32: Final = Struct("<i").unpack_from
_SCALARS: Final[dict[int, Callable[..., tuple[Any, ...]]]] = {
    1: Struct("<B").unpack_from,
    4: _I32,
    8: Struct("<q").unpack_from,
}
_REFERENCE: Final = 4  # bytes of an offset
_VTABLE: Final = 4  # bytes of a vtable before its slots
_LARGEST: Final = 8  # bytes of a scalar: what a value's place is a multiple of
_SIZE: Final = 32  # bits of a size in the record of what is covered; the place stands above them


class Span(NamedTuple):
    """Bytes of a text or of a vector of scalars."""

    offset: int
    size: int


class Child(NamedTuple):
    """A table that another one refers to, not read yet."""

    table: str
    offset: int


Value: TypeAlias = "Span | Child | list[Span] | list[Child] | int"


class Stranger(NamedTuple):
    """A field in a slot that the schema does not have."""

    table: str
    slot: int
    offset: int


class _Plan(NamedTuple):
    """How the tables of one vtable are laid out: places from the start of a table."""

    size: int
    covered: tuple[tuple[int, int], ...]  # place and size of bytes that mean something
    scalars: tuple[tuple[str, int, Callable[..., tuple[Any, ...]]], ...]
    references: tuple[tuple[int, Field], ...]
    strangers: tuple[tuple[int, int], ...]


class Buffer:
    """The tables of a FlatBuffer."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.strangers: list[Stranger] = []
        self._view = reader.view
        self._size = reader.size
        self._covered = [8]  # the place and size of what was read, as one integer each: half the time of pairs
        self._texts: dict[int, Span] = {}
        self._plans: dict[tuple[str, bytes], _Plan] = {}
        self._tables = 0
        self._elements = 0
        if reader.size > MAX_SIZE:
            raise LimitError(reader.origin, f"{reader.size} bytes, limit is {MAX_SIZE}")

    def root(self, table: str) -> Child:
        """Return the table that the file begins with."""
        return Child(table, self._follow(0))

    def read(self, child: Child) -> tuple[dict[str, Value], list[Child]]:
        """Return the fields that are set in a table, and the tables among them.

        A field that the schema does not have is added to `strangers`. Raises ArtifactError when the table breaks the
        format, LimitError when there are too many.
        """
        self._tables += 1
        if self._tables > MAX_TABLES:
            raise LimitError(self.reader.at(child.offset), f"over {MAX_TABLES} tables")
        start, view = child.offset, self._view
        plan = self._plan(child)
        self._check(start, plan.size)
        self._covered += [start + place << _SIZE | size for place, size in plan.covered]
        found: dict[str, Value] = {name: unpack(view, start + place)[0] for name, place, unpack in plan.scalars}
        children: list[Child] = []
        kind = found.get("value_type", 0)
        for place, field in plan.references:
            target = self._follow(start + place)
            if field.vector:
                found[field.name] = self._vector(target, field, children)
            elif field.tables:
                inner = Child(self._choose(field, kind, start), target)
                found[field.name] = inner
                children.append(inner)
            else:
                found[field.name] = self._text(target)
        self.strangers += [Stranger(child.table, slot, start + place) for slot, place in plan.strangers]
        return found, children

    def _choose(self, field: Field, kind: Value, start: int) -> str:
        """Return the table that a union is by its type."""
        if len(field.tables) == 1:
            return field.tables[0]
        if not isinstance(kind, int) or not 0 < kind <= len(field.tables):
            raise ArtifactError(self.reader.at(start), f"type {kind} of the union {field.name}")
        return field.tables[kind - 1]

    def _plan(self, child: Child) -> _Plan:
        start = child.offset
        vtable = start - _I32(self._view, self._check(start, 4))[0]
        size = _U16(self._view, self._check(vtable, _VTABLE))[0]
        if size < _VTABLE or size % 2 or vtable % 2:
            raise ArtifactError(self.reader.at(vtable), f"a vtable of {size} bytes")
        self._check(vtable, size)
        self._covered.append(vtable << _SIZE | size)
        data = bytes(self._view[vtable : vtable + size])
        plan = self._plans.get((child.table, data))
        if plan is None:
            if len(self._plans) >= MAX_PLANS:
                raise LimitError(self.reader.at(vtable), f"over {MAX_PLANS} vtables that differ")
            plan = self._plans[child.table, data] = self._lay_out(child, data)
        return plan

    def _lay_out(self, child: Child, vtable: bytes) -> _Plan:
        size, *slots = unpack_from(f"<{len(vtable) // 2 - 1}H", vtable, 2)
        known = fields(child.table)
        covered, scalars, references, strangers = [(0, 4)], [], [], []
        for index, place in enumerate(slots):
            if place and index >= len(known):
                strangers.append((index, place))
            elif place:
                field = known[index]
                width = field.size if field.scalar else _REFERENCE
                if place < 4 or place + width > size:
                    reason = f"field {field.name} lies outside of its table"
                    raise ArtifactError(self.reader.at(child.offset), reason)
                covered.append((place, width))
                if field.scalar:
                    scalars.append((field.name, place, _SCALARS[field.size]))
                else:
                    references.append((place, field))
        return _Plan(size, tuple(covered), tuple(scalars), tuple(references), tuple(strangers))

    def _vector(self, start: int, field: Field, children: list[Child]) -> Value:
        count = _U32(self._view, self._check(start, 4))[0]
        width = field.size or _REFERENCE
        self._check(start + 4, count * width)
        self._covered.append(start << _SIZE | 4 + count * width)
        if field.size:
            return Span(start + 4, count * width)
        self._elements += count
        if self._elements > MAX_ELEMENTS:
            raise LimitError(self.reader.at(start), f"over {MAX_ELEMENTS} elements of vectors")
        places = map(self._follow, range(start + 4, start + 4 + 4 * count, 4))
        if field.tables:
            found = [Child(field.tables[0], place) for place in places]
            children += found
            return found
        return [self._text(place) for place in places]

    def _text(self, start: int) -> Span:
        known = self._texts.get(start)
        if known is not None:
            return known
        size = _U32(self._view, self._check(start, 4))[0]
        self._check(start + 4, size + 1)
        if self._view[start + 4 + size]:
            raise ArtifactError(self.reader.at(start), "a text without the zero behind it")
        self._covered.append(start << _SIZE | 5 + size)
        found = self._texts[start] = Span(start + 4, size)
        return found

    def _follow(self, place: int) -> int:
        """Return where the offset at `place`, which lies in the file, leads."""
        offset = _U32(self._view, place)[0]
        target: int = place + offset
        if not offset or target % 4 or target + 4 > self._size:
            raise ArtifactError(self.reader.at(place), f"an offset of {offset}")
        return target

    def _check(self, start: int, size: int) -> int:
        if start < 0 or start + size > self._size:
            raise ArtifactError(self.reader.at(max(0, min(start, self._size))), "a value lies outside of the file")
        return start

    def account(self) -> tuple[list[Span], list[Span]]:
        """Return where two values share bytes, and the bytes that nothing refers to, from where a value could begin.

        The same value under two names is one, and padding belongs to what is behind it.
        """
        overlaps, holes, reach = [], [], 0
        for begin, size in self._values():
            if begin < reach:
                overlaps.append(Span(begin, min(begin + size, reach) - begin))
            elif begin > reach and not self._is_padding(reach, begin):
                aligned = min(-(-reach // _LARGEST) * _LARGEST, begin)
                start = reach if any(self._view[reach:aligned]) else aligned
                holes.append(Span(start, begin - start))
            reach = max(reach, begin + size)
        return overlaps, holes

    def _values(self) -> Iterator[tuple[int, int]]:
        mask = (1 << _SIZE) - 1
        for value in sorted(set(self._covered)):
            yield value >> _SIZE, value & mask
        yield self._size, 0

    def _is_padding(self, begin: int, end: int) -> bool:
        return end - begin < ALIGNMENT and not any(self._view[begin:end])
