"""FlatBuffers, bounded: tables by a schema, every offset checked, and a record of which bytes mean something.

An offset points forward and is never 0, so tables cannot form a circle; the same one can still be reached twice. The
limits are those of the reference verifier, which ONNX Runtime applies to a model before it reads it.

Specification: https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, unpack_from
from typing import Final, NamedTuple, TypeAlias

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.formats.ort.schema import Field, fields
from weighbridge.reader import Reader

MAX_TABLES: Final = 1_000_000  # the reference verifier's own limit
MAX_DEPTH: Final = 64  # likewise
MAX_ELEMENTS: Final = 20_000_000  # of all vectors of text and tables; a node has about ten
ALIGNMENT: Final = 64  # zeros between two values up to here are padding; ONNX Runtime aligns weights

_U16: Final = Struct("<H").unpack_from
_U32: Final = Struct("<I").unpack_from
_I32: Final = Struct("<i").unpack_from
_REFERENCE: Final = 4  # bytes of an offset
_VTABLE: Final = 4  # bytes of a vtable before its slots
_LARGEST: Final = 8  # bytes of a scalar: what a value's place is a multiple of


class Span(NamedTuple):
    """Bytes of a text or of a vector of scalars."""

    offset: int
    size: int


class Child(NamedTuple):
    """A table that another one refers to, not read yet."""

    table: str
    offset: int


Value: TypeAlias = "Span | Child | list[Span] | list[Child] | int"


class Buffer:
    """The tables of a FlatBuffer."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._view = reader.view
        self._size = reader.size
        self._covered: set[tuple[int, int]] = {(0, 8)}
        self._tables = 0
        self._elements = 0

    def root(self, table: str) -> Child:
        """Return the table that the file begins with."""
        return Child(table, self._follow(0))

    def read(self, child: Child) -> dict[str, Value]:
        """Return the fields that are set in a table; raise ArtifactError when it breaks the format.

        A slot that the schema does not have is given as `#slot`, with its place as a Span of no size.
        """
        self._tables += 1
        if self._tables > MAX_TABLES:
            raise LimitError(self.reader.at(child.offset), f"over {MAX_TABLES} tables")
        start = child.offset
        vtable = start - _I32(self._view, self._check(start, 4))[0]
        size = _U16(self._view, self._check(vtable, _VTABLE))[0]
        if size < _VTABLE or size % 2 or vtable % 2:
            raise ArtifactError(self.reader.at(vtable), f"a vtable of {size} bytes")
        self._check(vtable, size)
        self._cover(vtable, size)
        self._cover(start, 4)
        slots = unpack_from(f"<{size // 2}H", self._view, vtable)
        return dict(self._fields(child, slots[1], slots[2:]))

    def _fields(self, child: Child, size: int, slots: tuple[int, ...]) -> Iterator[tuple[str, Value]]:
        known, kind = fields(child.table), 0
        self._check(child.offset, size)
        for index, slot in enumerate(slots):
            if not slot:
                continue
            if index >= len(known):
                yield f"#{index}", Span(child.offset + slot, 0)
                continue
            field = known[index]
            width = field.size if field.scalar else _REFERENCE
            if slot < 4 or slot + width > size:
                raise ArtifactError(self.reader.at(child.offset), f"field {field.name} lies outside of its table")
            self._cover(child.offset + slot, width)
            value = self._value(child.offset + slot, field, kind)
            kind = value if isinstance(value, int) else 0
            yield field.name, value

    def _value(self, place: int, field: Field, kind: int) -> Value:
        if field.scalar:
            return int.from_bytes(self._view[place : place + field.size], "little", signed=field.size > 1)
        target = self._follow(place)
        if field.vector:
            return self._vector(target, field)
        if not field.tables:
            return self._text(target)
        if len(field.tables) > 1 and not 0 < kind <= len(field.tables):
            raise ArtifactError(self.reader.at(place), f"type {kind} of the union {field.name}")
        return Child(field.tables[kind - 1 if len(field.tables) > 1 else 0], target)

    def _vector(self, start: int, field: Field) -> Value:
        count = _U32(self._view, self._check(start, 4))[0]
        width = field.size or _REFERENCE
        self._check(start + 4, count * width)
        self._cover(start, 4 + count * width)
        if field.size:
            return Span(start + 4, count * width)
        self._elements += count
        if self._elements > MAX_ELEMENTS:
            raise LimitError(self.reader.at(start), f"over {MAX_ELEMENTS} elements of vectors")
        places = [self._follow(place) for place in range(start + 4, start + 4 + 4 * count, 4)]
        if field.tables:
            return [Child(field.tables[0], place) for place in places]
        return [self._text(place) for place in places]

    def _text(self, start: int) -> Span:
        size = _U32(self._view, self._check(start, 4))[0]
        self._check(start + 4, size + 1)
        if self._view[start + 4 + size]:
            raise ArtifactError(self.reader.at(start), "a text without the zero behind it")
        self._cover(start, 5 + size)
        return Span(start + 4, size)

    def _follow(self, place: int) -> int:
        """Return where the offset at `place` leads."""
        offset = _U32(self._view, self._check(place, 4))[0]
        target: int = place + offset
        if not offset or target % 4:
            raise ArtifactError(self.reader.at(place), f"an offset of {offset}")
        return self._check(target, 4)

    def _check(self, start: int, size: int) -> int:
        if start < 0 or start + size > self._size:
            raise ArtifactError(self.reader.at(max(0, min(start, self._size))), "a value lies outside of the file")
        return start

    def _cover(self, start: int, size: int) -> None:
        self._covered.add((start, start + size))

    def overlaps(self) -> Iterator[Span]:
        """Yield the values that begin inside another one; the same value under two names is one."""
        reach = 0
        for begin, end in sorted(self._covered):
            if begin < reach:
                yield Span(begin, min(end, reach) - begin)
            reach = max(reach, end)

    def holes(self) -> Iterator[Span]:
        """Yield the bytes that nothing refers to and that are no padding, from where a value could begin."""
        reach = 0
        for begin, end in [*sorted(self._covered), (self._size, self._size)]:
            if begin > reach and not self._is_padding(reach, begin):
                aligned = min(-(-reach // _LARGEST) * _LARGEST, begin)
                start = reach if any(self._view[reach:aligned]) else aligned
                yield Span(start, begin - start)
            reach = max(reach, end)

    def _is_padding(self, begin: int, end: int) -> bool:
        return end - begin < ALIGNMENT and not any(self._view[begin:end])
