"""Recognition of a model: protobuf has no magic number, so the fields of the message themselves are looked at.

A reader of protobuf takes fields in any order, fields that it does not know, and groups; so does this, for a file that
is something else as well must not hide from one by how it begins, nor by what it skips: a pickle or safetensors can
have a model in the middle of its data. What makes the bytes a model is a graph, functions or training information
that begins as those do, with fields around it. That tells models from other messages: a TensorFlow SavedModel, whose
version is field 1 too, has no such field, nor have tables of tokens, network descriptions of Caffe and files with one
tensor.

Imports nothing, for every file that is scanned comes by.
"""

from __future__ import annotations

from typing import Final

from weighbridge.reader import Sample

# Of each message that shows what the bytes are: its number in the model and those of its fields, which all have a
# length.
_HOLDS: Final = {
    7: frozenset({1, 2, 5, *range(10, 17)}),
    20: frozenset({1, 2, 3, 4}),
    25: frozenset({1, *range(4, 15)}),
}
# The wire types of the fields of a model, as far as others must not be taken for it.
_VARINTS: Final = frozenset({1, 5})
_KNOWN: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_NAMES: Final = frozenset({2, 3, 4})
_LONGEST: Final = 1 << 12  # of a name; where a SavedModel has graphs
_VARINT, _FIXED64, _LENGTH, _GROUP, _GROUP_END, _FIXED32 = range(6)
_LOOKED_AT: Final = 4  # fields of a message inside that have to make sense
# Fields that are looked at, 1 µs each. So many in order are no accident; the largest tables of tokens have 300 000.
_MOST: Final = 1 << 19
_ENDLESS: Final = 1 << 64
_NOTHING: Final = (-1, 0)


def is_model(sample: Sample) -> bool:
    """Tell whether the bytes are fields of a model, one of which has a graph, functions or training information."""
    return _Look(sample).finds_graph()


def may_begin(prefix: bytes) -> bool:
    """Tell whether a model may begin with these bytes: whether the fields that end among them could be those of one."""
    try:
        return _Beginning(Sample(prefix, b"", _ENDLESS)).finds_graph()
    except _CutError:
        return True


class _CutError(Exception):
    """What follows decides."""


class _Look:
    """A look at both ends of the bytes, and at what lies between if it is here."""

    def __init__(self, sample: Sample) -> None:
        self.size = sample.size
        self._view = sample.view
        self._head = sample.head
        self._tail = sample.tail
        self._tail_start = sample.size - len(sample.tail)
        self._here = self._tail_start if sample.view is None else 0  # from where on bytes can be seen
        self._left = _MOST

    def visible(self, offset: int) -> bool:
        """Tell whether a byte can be seen."""
        return offset < len(self._head) or (self._here <= offset < self.size)

    def number(self, offset: int) -> tuple[int, int]:
        """Return a number and where it ends; -1 when there is none to be seen."""
        if offset < len(self._head) and self._head[offset] < 128:
            return self._head[offset], offset + 1
        value = 0
        for index in range(10):
            if offset < len(self._head):
                byte = self._head[offset]
            elif not self.visible(offset):
                return _NOTHING
            elif self._view is not None:
                byte = self._view[offset]
            else:
                byte = self._tail[offset - self._tail_start]
            offset += 1
            value |= (byte & 127) << 7 * index
            if byte < 128:
                return value, offset
        return _NOTHING

    def finds_graph(self) -> bool:
        """Step over the fields of a model to the end of what can be seen.

        What follows a graph may be no field at all: not every reader looks that far.
        """
        position, found, versioned, strange = 0, False, False, False
        groups: list[int] = []
        while position < self.size and not self.tires():
            if not self.visible(position):
                # The graph lies behind a long field, such as functions' text or a description.
                return found or (versioned and not strange)
            tag, position = self.number(position)
            number, wire = tag >> 3, tag & 7
            if tag < 8:
                return found and versioned
            if wire == _GROUP:
                strange = True
                groups.append(number)
            elif wire == _GROUP_END:
                if not groups or groups.pop() != number:
                    return found and versioned
            else:
                content, position = self.content(wire, position)
                if position < 0:
                    return found and versioned
                if position > self.size:
                    cut_short = not groups and not strange and self.holds(number, wire, content, self.size)
                    return cut_short or (found and versioned)
                if not groups and not found and self.holds(number, wire, content, position):
                    found = True
                strange = strange or not self.usual(number, wire, position - content)
                versioned = versioned or (number == 1 and wire == _VARINT)
        return self._left < 0 or (found and not groups)

    def tires(self) -> bool:
        """Count a field; tell whether there were enough of them."""
        self._left -= 1
        return self._left < 0

    def content(self, wire: int, position: int) -> tuple[int, int]:
        """Return where the content of a field begins and ends; it ends at -1 when that cannot be told."""
        if wire == _VARINT:
            value, end = self.number(position)
            return position, end if value >= 0 else -1
        if wire == _LENGTH:
            size, start = self.number(position)
            return start, start + size if size >= 0 else -1
        if wire in (_FIXED64, _FIXED32):
            return position, position + (8 if wire == _FIXED64 else 4)
        return position, -1

    def usual(self, number: int, wire: int, size: int) -> bool:
        """Tell whether a model has a field of this number and wire type, and names of this size."""
        if number in _NAMES and size > _LONGEST:
            return False
        return number in _KNOWN and wire == (_VARINT if number in _VARINTS else _LENGTH)

    def holds(self, number: int, wire: int, position: int, end: int) -> bool:
        """Tell whether a field is one that only a model has, and begins as that does.

        What comes before the first fields that such a message has is stepped over, as readers do.
        """
        fields = _HOLDS.get(number)
        if fields is None or wire != _LENGTH or position >= end:
            return False
        known, groups = 0, 0
        while position < end and known < _LOOKED_AT:
            if not self.visible(position) or self.tires():
                return True
            tag, position = self.number(position)
            kind = tag & 7
            if tag < 8:
                return False
            if kind in (_GROUP, _GROUP_END):
                groups += 1 if kind == _GROUP else -1
                continue
            content, position = self.content(kind, position)
            if position < 0 or position > end:
                return position > end and end == self.size
            if not groups and kind == _LENGTH and tag >> 3 in fields:
                known += 1
                if number == 7 and tag >> 3 == 1 and not self.begins(content, position):
                    return False
        return known > 0

    def begins(self, position: int, end: int) -> bool:
        """Tell whether a message can begin here, or has nothing in it."""
        if position >= end or not self.visible(position):
            return True
        tag = self.number(position)[0]
        return tag >= 8 and tag & 7 <= _FIXED32 and tag & 7 != _GROUP_END


class _Beginning(_Look):
    """A look at the first bytes of something longer."""

    def visible(self, offset: int) -> bool:
        """Tell that a byte can be seen; raise _CutError when it cannot."""
        if offset >= len(self._head):
            raise _CutError
        return True
