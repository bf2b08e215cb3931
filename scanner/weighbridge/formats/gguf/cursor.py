"""Numbers and strings of a GGUF file, one after the other, out of pieces that are read ahead.

A vocabulary has 150 000 strings: taking each from the reader would cost more than everything else.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from weighbridge.errors import ArtifactError, LimitError, TruncatedError
from weighbridge.reader import Reader

_PIECE: Final = 1 << 16


class Cursor:
    """Takes values from `position` of a reader on; `order` is `<` or `>` as in the module struct."""

    def __init__(self, reader: Reader, position: int, order: str) -> None:
        self.reader = reader
        self.order = order
        self._piece = b""
        self._begin = position  # of the piece in the reader
        self._at = 0  # in the piece
        self._u32 = Struct(f"{order}I")
        self._u64 = Struct(f"{order}Q")

    @property
    def position(self) -> int:
        """Where the next value begins."""
        return self._begin + self._at

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes; raise TruncatedError when they are not there."""
        end = self._at + count
        if end > len(self._piece):
            self._refill(count)
            end = count
        data = self._piece[self._at : end]
        self._at = end
        return data

    def _refill(self, count: int) -> None:
        self._begin, self._at = self.position, 0
        left = self.reader.size - self._begin
        if count > left:
            raise TruncatedError(self.reader.at(self._begin), f"want {count} bytes, {left} left")
        self._piece = self.reader.read(self._begin, min(left, max(count, _PIECE)))

    def skip(self, count: int) -> None:
        """Step over `count` bytes without reading them."""
        if self._at + count <= len(self._piece):
            self._at += count
            return
        begin = self.position + count
        if begin > self.reader.size:
            raise TruncatedError(self.reader.at(self.position), f"want {count} bytes, {self.reader.size} in all")
        self._begin, self._at, self._piece = begin, 0, b""

    def u32(self) -> int:
        """Take an unsigned 32-bit integer."""
        return int(self._u32.unpack(self.take(4))[0])

    def u64(self) -> int:
        """Take an unsigned 64-bit integer."""
        return int(self._u64.unpack(self.take(8))[0])

    def text(self, size: int, limit: int) -> str:
        """Take a string of `size` bytes.

        Raises LimitError when it is longer than `limit`, ArtifactError when it is not UTF-8.
        """
        place = self.reader.at(self.position)
        if size > limit:
            raise LimitError(place, f"a string of {size} bytes, limit is {limit}")
        try:
            return self.take(size).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ArtifactError(place, "a string is not UTF-8") from error
