"""The walk over a model: a small copy of its structure, and a table of what was left out of it.

Messages of a few kilobytes are copied as they are. Larger ones are walked field by field; tensor data, long runs of
numbers and long texts are left out, and the lengths around them written anew. Nodes that differ in nothing but their
name, inputs and outputs are copied once and counted. What the copy says is the business of protobuf's library, which
never sees the weights. The walk needs a page of memory for each large tensor, whatever the tensors hold.

What lies in a message that was copied whole is not looked at here: whoever parses the copy compares it with what the
library writes, and asks for a thorough walk, which looks at every field, when the two differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from weighbridge.errors import ArtifactError, LimitError, TruncatedError
from weighbridge.facts import Anomaly
from weighbridge.formats.onnx.closely import look
from weighbridge.formats.onnx.messages import FIXED32, FIXED64, LENGTH, VARINT, Field, tags
from weighbridge.formats.onnx.wire import GROUP, MAX_DEPTH, Place, Seen, Span, encoded, run, skip, varint
from weighbridge.limits import Budget
from weighbridge.reader import Reader

SMALL: Final = 4096  # a message up to this size is copied whole: it is its own best summary
LEFT_OUT: Final = 1024  # numbers of a tensor or an attribute from this size on are left out
TEXT_LEFT_OUT: Final = 1 << 16  # text from this size on; names and descriptions are shorter
MAX_FIELDS: Final = 10_000_000  # of all messages; the largest graphs known have a hundredth of it
MAX_KINDS: Final = 2_000_000  # nodes of a graph, counting those that differ in names only once
MAX_COPY: Final = 1 << 28  # bytes of structure; 60 bytes a node make this four million nodes
OFTEN: Final = 1 << 16  # nodes between two looks at the clock
FORGET: Final = 64  # tensors after which mapped pages are given back: 64 KiB each come with one touch
_LISTED: Final = 1000  # anomalies of one code that are worth listing

# How large a message has to be to be walked, if not as large as a long text. Graphs and functions always are: there are
# few of them, and most of what a model has lies right in them. Keys and values never are: they are read as they stand.
_LEAST: Final = (
    dict.fromkeys(("Graph", "Function", "Training"), 0)
    | dict.fromkeys(("Node", "Attribute", "Tensor", "Sparse"), SMALL)
    | dict.fromkeys(("Entry", "OperatorSetId"), MAX_COPY + 1)
)
_NODE_LIST: Final = {"Graph": 0x0A, "Function": 0x3A}  # the tag of their nodes
_BULK: Final = frozenset({("Tensor", name) for name in ("raw_data", "float_data", "int32_data", "int64_data")}) | {
    ("Tensor", "double_data"),
    ("Tensor", "uint64_data"),
    ("Attribute", "floats"),
    ("Attribute", "ints"),
}
_MEMBERS: Final = frozenset({"Attribute", "Tensor"})
_INPUT: Final = 0x0A
_OUTPUT: Final = 0x12
_NAME: Final = 0x1A


class Walk:
    """One walk over a model: `copy` has its structure, `root` its places, `anomalies` what no writer produces.

    `unknowns` are fields that the format does not have, in all `unknown_size` bytes; from `trailing` on there are no
    fields any more.
    """

    def __init__(self, reader: Reader, budget: Budget, *, thorough: bool) -> None:
        self.reader = reader
        self.view = reader.view
        self.budget = budget
        self.thorough = thorough
        self.anomalies: list[Anomaly] = []
        self.texts: list[tuple[str, Span]] = []  # fields that were left out and hold no numbers, wherever they are
        self.unknowns: list[Span] = []
        self.unknown_size = 0
        self.trailing: int | None = None
        self.fields = 0
        self._left_out = 0
        self._size = 0
        self._counts: dict[str, int] = {}
        self._forget = _forgetter(reader)
        self.root = Place("Model", 0, reader.size, fresh=True)
        self.copy = bytes(self._message(self.root, 0))

    def _message(self, place: Place, depth: int) -> bytearray:
        """Return the copy of a message.

        Raises ArtifactError on what cannot be read, LimitError when a limit is hit.
        """
        if depth > MAX_DEPTH:
            raise LimitError(self.reader.at(place.begin), f"messages nested deeper than {MAX_DEPTH}")
        copy = _Copy(self, place.begin)
        known, nodes = tags(place.kind), _NODE_LIST.get(place.kind)
        starts = place.fields(self.reader)
        position, end, view = place.begin, place.end, self.view
        while position < end:
            start, tag = position, view[position]
            if tag == nodes:
                position = self._nodes(place, copy, start, depth)
                continue
            position += 1
            if tag > 127:
                tag, position = self._tag(place, start)
            field = known.get(tag)
            if field is None:
                position = self._undefined(place, copy, tag, start, position)
                continue
            starts[field.number].append(start)
            self.count(1, start)
            if not field.repeated and len(starts[field.number]) > 1:
                self.repeated(place.kind, field, start)
            position = self._field(place, copy, field, tag, start, position, depth)
        return copy.finish(end)

    def _field(self, place: Place, copy: _Copy, field: Field, tag: int, start: int, position: int, depth: int) -> int:
        """Step over a field whose tag lies at `start` and ends at `position`; return where it ends."""
        wire = tag & 7
        if wire == LENGTH:
            size, position = self._length(position, place.end)
            stop = position + size
            if field.message:
                self._inner(place, copy, field, start, position, stop, depth)
            elif size >= TEXT_LEFT_OUT or (size >= LEFT_OUT and (place.kind, field.name) in _BULK):
                copy.leave_out(start, stop)
                self._leave_out(place, field, Span(position, size))
                if (place.kind, field.name) not in _BULK:
                    self.texts.append((field.name, Span(position, size)))
            return stop
        if field.repeated and place.kind in _MEMBERS and tag < 128:
            stop = run(self.view, tag, start, place.end)
            if stop > start:
                return self._run(place, copy, field, tag, start, stop)
        if wire == VARINT:
            return self.number(position, place.end)[1]
        stop = position + (4 if wire == FIXED32 else 8)
        if stop > place.end:
            raise TruncatedError(self.reader.at(start), "a number goes on behind the end of its message")
        return stop

    def _inner(self, place: Place, copy: _Copy, field: Field, start: int, position: int, stop: int, depth: int) -> None:
        """Walk a message inside, if it is worth it: a copy of it takes the place of its bytes."""
        least = _LEAST.get(field.message, TEXT_LEFT_OUT)
        if stop - position < least:
            if self.thorough:
                look(self, field.message, position, stop, depth + 1)
            return
        inner = Place(field.message, position, stop, fresh=True)
        copy.replace(start, stop, field, self._message(inner, depth + 1))
        earlier = None if field.repeated else place.inside.get((field.number, 0))
        if earlier is not None:
            earlier.merge(inner, self.reader)
        else:
            place.inside[field.number, len(place.fields(self.reader)[field.number]) - 1] = inner

    def _nodes(self, place: Place, copy: _Copy, start: int, depth: int) -> int:
        """Step over the nodes from `start` on, one behind the other; return where the last one ends.

        A small node is looked up by what comes behind its inputs, outputs and name. Names and all are checked
        here, so that one of each kind has to be copied. The loop keeps to locals and to bytes: 0.9 µs a node.
        """
        view, end, reader, tag = self.view, place.end, self.reader, _NODE_LIST[place.kind]
        field, kinds, seen, order = tags(place.kind)[tag], copy.kinds, place.nodes, place.order
        starts = place.fields(reader)[field.number]
        position, count = start, 0
        while position < end and view[position] == tag:
            begin, count = position, count + 1
            if count == OFTEN:
                self.count(count, begin)
                count = 0
            starts.append(begin)
            size = view[position + 1] if position + 1 < end else 128
            position += 2
            if size > 127:
                size, position = self._length(begin + 1, end)
            stop = position + size
            if stop > end:
                raise TruncatedError(reader.at(begin), f"want {size} bytes, {end - position} left")
            if size >= SMALL:
                self._large_node(place, copy, field, begin, position, stop, depth)
            else:
                data = bytes(view[position:stop])
                key = data[signature(data) :]
                known = kinds.get(key)
                if known is not None:
                    order.append(known)
                    seen[known].count += 1
                    copy.leave_out(begin, stop)
                else:
                    kinds[key] = len(seen)
                    order.append(len(seen))
                    seen.append(Seen(position, stop))
                    if len(kinds) > MAX_KINDS:
                        raise LimitError(reader.at(begin), f"over {MAX_KINDS} nodes that differ")
                    if self.thorough:
                        look(self, "Node", position, stop, depth + 1)
            position = stop
        self.count(count, start)
        return position

    def _large_node(
        self, place: Place, copy: _Copy, field: Field, begin: int, position: int, stop: int, depth: int
    ) -> None:
        inner = Place("Node", position, stop, fresh=True)
        place.order.append(len(place.nodes))
        place.nodes.append(Seen(position, stop, inner))
        copy.replace(begin, stop, field, self._message(inner, depth + 1))

    def _run(self, place: Place, copy: _Copy, field: Field, tag: int, start: int, stop: int) -> int:
        """Step over numbers of one field that were written one by one."""
        self.count(1, start)
        if stop - start >= LEFT_OUT:
            copy.leave_out(start, stop)
            step = {FIXED32: 5, FIXED64: 9}.get(tag & 7)
            count = None if step is None else (stop - start) // step
            self._leave_out(place, field, Span(start, stop - start, count, 1))
        return stop

    def _undefined(self, place: Place, copy: _Copy, tag: int, start: int, position: int) -> int:
        """Step over a field that the message does not have, or not like this, and leave it out of the copy.

        What is no field at all, behind the graph of a model, is no part of it.
        """
        try:
            stop = self.unknown(place.kind, tag, start, position, place.end)
        except ArtifactError:
            if place is not self.root or not place.inside:
                raise
            self.trailing, stop = start, place.end
        copy.leave_out(start, stop)
        return stop

    def unknown(self, kind: str, tag: int, start: int, position: int, end: int) -> int:
        """Take down a field that a message does not have; return where it ends."""
        stop = skip(self.reader, tag, position, end)
        self.count(1, start)
        if tag & 7 == GROUP:
            self._anomaly("onnx-wire", start, "a group, which the format does not use")
        detail = f"field {tag >> 3} of wire type {tag & 7} in a {kind}, {stop - start} bytes"
        self._anomaly("onnx-unknown-field", start, detail)
        if tag & 7 == LENGTH:
            _, position = varint(self.reader, position, end)
        self.unknown_size += stop - start
        if len(self.unknowns) < _LISTED:
            self.unknowns.append(Span(position, stop - position))
        return stop

    def _tag(self, place: Place, start: int) -> tuple[int, int]:
        """Return a tag of more than one byte; 0, which is none, for what is no number behind a model."""
        try:
            return self.number(start, place.end)
        except ArtifactError:
            if place is not self.root:
                raise
            return 0, start + 1

    def repeated(self, kind: str, field: Field, start: int) -> None:
        """Take down a field that comes twice."""
        detail = f"{field.name} of a {kind} comes twice; readers merge the two or take the last"
        self._anomaly("onnx-duplicate-field", start, detail)

    def _leave_out(self, place: Place, field: Field, span: Span) -> None:
        place.left_out.setdefault(field.number, []).append(span)
        self._left_out += 1
        if self._left_out % FORGET == 0:
            self._forget()

    def _length(self, position: int, end: int) -> tuple[int, int]:
        size, position = self.number(position, end)
        if size > end - position:
            raise TruncatedError(self.reader.at(position), f"want {size} bytes, {end - position} left")
        return size, position

    def number(self, start: int, end: int) -> tuple[int, int]:
        """Return the number at `start` and where it ends."""
        value, position = varint(self.reader, start, end)
        if position - start > 1 and self.view[position - 1] == 0:
            self._anomaly("onnx-wire", start, f"the number {value} takes more bytes than it needs")
        return value, position

    def _anomaly(self, code: str, offset: int, detail: str) -> None:
        self._counts[code] = self._counts.get(code, 0) + 1
        if self._counts[code] <= _LISTED:
            self.anomalies.append(Anomaly(location=self.reader.at(offset), code=code, detail=detail))

    def count(self, fields: int, offset: int) -> None:
        """Count fields; raise LimitError when they are too many, and look at the clock."""
        before = self.fields
        self.fields += fields
        if self.fields > MAX_FIELDS:
            raise LimitError(self.reader.at(offset), f"over {MAX_FIELDS} fields")
        if self.fields >> 16 != before >> 16:
            self.budget.check_time(self.reader.at(offset))

    def grow(self, size: int, offset: int) -> None:
        """Count bytes of the copy; raise LimitError when they are too many."""
        self._size += size
        if self._size > MAX_COPY:
            raise LimitError(self.reader.at(offset), f"over {MAX_COPY} bytes besides tensor data")


class _Copy:
    """The copy of one message: parts of the file, and what takes the place of the parts in between."""

    __slots__ = ("_begin", "_out", "_walk", "kinds")

    def __init__(self, walk: Walk, begin: int) -> None:
        self._walk = walk
        self._begin = begin
        self._out = bytearray()
        self.kinds: dict[bytes, int] = {}

    def leave_out(self, start: int, stop: int) -> None:
        """Copy up to `start`, and go on at `stop`."""
        if self._begin < start:
            self._walk.grow(start - self._begin, start)
            self._out += self._walk.view[self._begin : start]
        self._begin = stop

    def replace(self, start: int, stop: int, field: Field, copy: bytearray) -> None:
        """Put a copy where a message lies."""
        self.leave_out(start, stop)
        self._out += encoded(field.number << 3 | LENGTH) + encoded(len(copy))
        self._out += copy

    def finish(self, end: int) -> bytearray:
        """Return the copy of the whole message."""
        self.leave_out(end, end)
        return self._out


def signature(data: bytes) -> int:
    """Return where inputs, outputs and the name of a node end, 0 when they are not written in this order.

    What lies behind is what makes two nodes the same kind. Everything is written as every writer does it: a longer
    text or another order makes the node one of its kind, which costs time and changes nothing else.
    """
    position, size = 0, len(data)
    for tag in (_INPUT, _OUTPUT):
        while position + 1 < size and data[position] == tag:
            length = data[position + 1]
            if length > 127:
                return 0
            position += 2 + length
    if position + 1 < size and data[position] == _NAME:
        if data[position + 1] > 127:
            return 0
        position += 2 + data[position + 1]
    return position if position <= size else 0


def _forgetter(reader: Reader) -> Callable[[], None]:
    """Return what gives the pages of a mapped file back, which counts them as memory of this process."""
    import mmap

    mapped = reader.view.obj
    if not isinstance(mapped, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return lambda: None
    return lambda: mapped.madvise(mmap.MADV_DONTNEED)
