"""The wire format of protobuf: numbers, tags, runs of numbers, and places in a message.

Specification: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from functools import cache
from typing import Final, NamedTuple

from weighbridge.errors import ArtifactError, TruncatedError
from weighbridge.formats.onnx.messages import FIXED32, FIXED64, LENGTH, VARINT, tags
from weighbridge.reader import Reader

GROUP: Final = 3
GROUP_END: Final = 4
MAX_DEPTH: Final = 100  # messages inside messages; the limit of protobuf's own parsers
RUN: Final = 1 << 16  # numbers of a run that are looked at together
_FEW: Final = 16  # those that are looked at first: most runs are short

_STRIDE: Final = {FIXED32: 5, FIXED64: 9}  # a tag and the number behind it
_SHORT: Final = 1 << 7


def varint(reader: Reader, position: int, end: int) -> tuple[int, int]:
    """Return the number at `position` and where it ends.

    Raises TruncatedError when it does not end before `end`, ArtifactError when it has more than 64 bits.
    """
    view, value, shift, start = reader.view, 0, 0, position
    while position < end:
        byte = view[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < _SHORT:
            if value >> 64:
                break
            return value, position
        shift += 7
        if shift > 63:
            break
    else:
        raise TruncatedError(reader.at(start), "a number goes on behind the end of its message")
    raise ArtifactError(reader.at(start), "a number has more than 64 bits")


def encoded(value: int) -> bytes:
    """Return a number as protobuf writes it."""
    out = bytearray()
    while value >= _SHORT:
        out.append(value & 127 | _SHORT)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> int:
    """Return a number of 64 bits as the signed one that it stands for."""
    return value - (1 << 64) if value >> 63 else value


def skip(reader: Reader, tag: int, position: int, end: int) -> int:
    """Return where the content of a field ends that begins at `position`, groups included.

    Raises TruncatedError when it does not end before `end`, ArtifactError when it cannot be read.
    """
    open_groups: list[int] = []
    while True:
        wire = tag & 7
        if tag >> 3 == 0:
            raise ArtifactError(reader.at(position), "field 0, which there is not")
        if wire == GROUP:
            open_groups.append(tag >> 3)
            if len(open_groups) > MAX_DEPTH:
                raise ArtifactError(reader.at(position), f"groups nested deeper than {MAX_DEPTH}")
        elif wire == GROUP_END:
            if not open_groups or open_groups.pop() != tag >> 3:
                raise ArtifactError(reader.at(position), "the end of a group that was not begun")
        else:
            position = _skip_plain(reader, wire, position, end)
        if not open_groups:
            return position
        tag, position = varint(reader, position, end)


def _skip_plain(reader: Reader, wire: int, position: int, end: int) -> int:
    start, size = position, 0
    if wire == VARINT:
        _, position = varint(reader, position, end)
    elif wire == LENGTH:
        size, position = varint(reader, position, end)
    elif wire in (FIXED32, FIXED64):
        size = _STRIDE[wire] - 1
    else:
        raise ArtifactError(reader.at(start), f"wire type {wire}, which there is not")
    if size > end - position:
        raise TruncatedError(reader.at(start), f"want {size} bytes, {end - position} left")
    return position + size


def run(view: memoryview, tag: int, start: int, end: int) -> int:
    """Return where a run of fields with the same tag ends, each a number as protobuf writes it; `start` if none.

    At most RUN numbers are looked at. The tag has to be one byte.
    """
    stride = _STRIDE.get(tag & 7)
    if stride is None:
        match = _numbers(tag).match(view, start, end)
        return start if match is None else match.end()
    for most in (_FEW, RUN):
        count = min((end - start) // stride, most)
        column = bytes(view[start : start + count * stride : stride])
        found = len(column) - len(column.lstrip(bytes([tag])))
        if found < most:
            break
    return start + stride * found


@cache
def _numbers(tag: int) -> re.Pattern[bytes]:
    one = rb"%s(?:[\0-\x7f]|[\x80-\xff]{1,8}[\x01-\x7f]|[\x80-\xff]{9}\x01)" % re.escape(bytes([tag]))
    return re.compile(rb"(?:%s){1,%d}" % (one, RUN // 8), re.DOTALL)


def count_numbers(data: bytes) -> int:
    """Return how many numbers of variable length end in `data`."""
    return len(data.translate(None, _GOES_ON))


_GOES_ON: Final = bytes(range(_SHORT, 256))


class Place:
    """Where a message lies: its bytes, and the offset of the tag of every field once that was asked for.

    `inside` has the messages that were walked on their own and `left_out` the spans of the contents that were left
    out of the copy, both by the number of the field; `nodes` are the nodes of the copy in its order, and `order` says
    for each node of the message which of them it is like.

    Most places are never asked for, so one inside of another is looked up when it is.
    """

    __slots__ = ("_begin", "_end", "_fields", "_outer", "inside", "kind", "left_out", "nodes", "order")

    def __init__(self, kind: str, begin: int = 0, end: int = 0, *, outer: Outer | None = None, fresh: bool = False):
        self.kind = kind
        self._begin = begin
        self._end = end
        self._outer = outer
        self._fields: dict[int, array[int]] | None = None
        self.inside: dict[tuple[int, int], Place] = _NO_PLACES
        self.left_out: dict[int, list[Span]] = _NO_SPANS
        self.nodes: list[Seen] = _NO_NODES
        self.order = _NO_ORDER
        if fresh:
            self._fields, self.inside, self.left_out, self.nodes, self.order = _offsets(), {}, {}, [], array("I")

    @property
    def begin(self) -> int:
        """The offset of the first byte."""
        if self._outer is not None:
            self._find(*self._outer)
        return self._begin

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        if self._outer is not None:
            self._find(*self._outer)
        return self._end

    def _find(self, reader: Reader, outer: Place, number: int, index: int) -> None:
        self._outer = None
        span = outer.content(reader, number, index)
        # A message in parts, only some of which were walked: where it is told to be is then only about right.
        self._begin = outer.begin if span is None else span.offset
        self._end = outer.end if span is None else span.offset + span.size

    def fields(self, reader: Reader) -> dict[int, array[int]]:
        """Return the offsets of the tags of all fields, by number: a table to be filled when the place is fresh."""
        if self._fields is None:
            self._fields = found = _offsets()
            position = self.begin
            while position < self.end:
                tag, content = varint(reader, position, self.end)
                found[tag >> 3].append(position)
                position = skip(reader, tag, content, self.end)
        return self._fields

    def child(self, reader: Reader, number: int, index: int = 0) -> Place:
        """Return the place of a message inside."""
        known = self.inside.get((number, index))
        if known is not None:
            return known
        field = tags(self.kind).get(number << 3 | LENGTH)
        return self if field is None else Place(field.message, outer=(reader, self, number, index))

    def node(self, reader: Reader, number: int, index: int) -> Place:
        """Return the place of a node of the copy, which has each kind of small node once."""
        if not self.nodes:
            return self.child(reader, number, index)
        seen = self.nodes[index] if index < len(self.nodes) else None
        if seen is None:
            return self
        if seen.place is None:
            return Place("Node", seen.begin, seen.end)
        return seen.place

    def merge(self, other: Place, reader: Reader) -> None:
        """Take in what another part of the same message holds, as readers of protobuf do."""
        own = self.fields(reader)
        for (number, index), inner in other.inside.items():
            self.inside[number, index + len(own[number])] = inner
        for number, starts in other.fields(reader).items():
            own[number].extend(starts)
        for number, spans in other.left_out.items():
            self.left_out.setdefault(number, []).extend(spans)
        self.order.extend(len(self.nodes) + index for index in other.order)
        self.nodes += other.nodes
        self._end = max(self.end, other.end)

    def content(self, reader: Reader, number: int, index: int = 0) -> Span | None:
        """Return where the content of a field of bytes, text or message lies; None when it cannot be told."""
        starts = self.fields(reader).get(number, ())
        if index >= len(starts):
            return None
        _, position = varint(reader, starts[index], self.end)
        size, position = varint(reader, position, self.end)
        return Span(position, min(size, self.end - position))


def _offsets() -> dict[int, array[int]]:
    return defaultdict(lambda: array("Q"))


class Span(NamedTuple):
    """Content of a field; numbers that were left out have a `step` of 1 when each of them has a tag of its own.

    `numbers` is how many there are when their size tells.
    """

    offset: int
    size: int
    numbers: int | None = None
    step: int = 0


class Seen:
    """A node of the copy: where its content lies, how many nodes are like it, and its place if it was walked."""

    __slots__ = ("begin", "count", "end", "place")

    def __init__(self, begin: int, end: int, place: Place | None = None) -> None:
        self.begin = begin
        self.end = end
        self.count = 1
        self.place = place


Outer = tuple[Reader, Place, int, int]
# Of places that were not walked; nobody adds to them.
_NO_PLACES: Final[dict[tuple[int, int], Place]] = {}
_NO_SPANS: Final[dict[int, list[Span]]] = {}
_NO_NODES: Final[list[Seen]] = []
_NO_ORDER: Final = array("I")
