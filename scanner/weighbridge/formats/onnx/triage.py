"""What has to be fetched of a large model that is in a registry: everything but the data of its large tensors.

The fields are walked as far as it takes to find where large data begin and end. What is fetched is then parsed like a
local file; the data are left out of every parse anyway.
"""

from __future__ import annotations

from typing import Final

from weighbridge.errors import ArtifactError, LimitError, TruncatedError
from weighbridge.formats.onnx.messages import FIXED32, FIXED64, LENGTH, VARINT, tags
from weighbridge.formats.onnx.wire import MAX_DEPTH
from weighbridge.reader import Reader
from weighbridge.remote import RangeReader

# Data from this size on are stepped over. A request for less costs more than the bytes.
LARGE: Final = 1 << 18
_TAG: Final = 20  # bytes: the longest tag and the longest length behind it
_WALKED: Final = frozenset({"Graph", "Function", "Training", "Node", "Attribute", "Tensor", "Sparse"})


class _Fetch:
    """Walks the fields of large messages."""

    def __init__(self, reader: RangeReader) -> None:
        self.reader = reader

    def message(self, kind: str, begin: int, end: int, depth: int) -> None:
        """Fetch a message but for large data in it; stops where the fields do."""
        if depth > MAX_DEPTH:
            raise LimitError(self.reader.at(begin), f"messages nested deeper than {MAX_DEPTH}")
        known, position = tags(kind), begin
        while position < end:
            self.reader.load(position, min(position + _TAG, end))
            tag, position = self._number(position, end)
            wire = tag & 7
            if wire != LENGTH:
                position = self._skip(wire, position, end)
                continue
            size, position = self._number(position, end)
            stop = position + size
            if stop > end:
                raise TruncatedError(self.reader.at(position), f"want {size} bytes, {end - position} left")
            field = known.get(tag)
            if size < LARGE:
                self.reader.load(position, stop)
            elif field is not None and field.message in _WALKED:
                self.message(field.message, position, stop, depth + 1)
            position = stop

    def _number(self, position: int, end: int) -> tuple[int, int]:
        value, shift, image = 0, 0, self.reader.image
        for at in range(position, min(position + 10, end)):
            byte = image[at]
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at + 1
            shift += 7
        raise ArtifactError(self.reader.at(position), "a number that does not end")

    def _skip(self, wire: int, position: int, end: int) -> int:
        if wire == VARINT:
            return self._number(position, end)[1]
        if wire in (FIXED32, FIXED64):
            return min(position + (4 if wire == FIXED32 else 8), end)
        raise ArtifactError(self.reader.at(position), f"wire type {wire}")


def fetched(reader: RangeReader) -> Reader:
    """Return a reader over the model with zeros in place of large data.

    Raises NotFetchedError when the structure is more than may be fetched, ArtifactError when there is none.
    """
    _Fetch(reader).message("Model", 0, reader.size, 0)
    return Reader(reader.image, reader.origin)
