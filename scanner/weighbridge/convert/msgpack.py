"""The part of MessagePack that flax writes, read without a library: values with the places of their bytes.

Specification: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import struct
from typing import Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.reader import Reader
from weighbridge.records import dataclass

DEPTH_LIMIT: Final = 64  # containers inside containers; models have a dozen
VALUES_LIMIT: Final = 2_000_000
TEXT_LIMIT: Final = 1 << 16  # bytes of a text; flax writes names, and the names of types

_NUMBERS: Final = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_CONSTANTS: Final = {0xC0: None, 0xC2: False, 0xC3: True}
# The opcodes of what has a length, by the bytes of that length.
_TEXTS: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BINARIES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_LISTS: Final = {0xDC: 2, 0xDD: 4}
_MAPS: Final = {0xDE: 2, 0xDF: 4}
_EXTENSIONS: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """Bytes that stay where they are; `code` is that of an extension, None for plain bytes."""

    begin: int
    size: int
    code: int | None = None


Value = None | bool | int | float | str | Binary | list["Value"] | dict["Value", "Value"]


class Decoder:
    """Takes values off a reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._count = 0

    def take(self, depth: int = 0) -> Value:
        """Return the value at the cursor.

        Raises ArtifactError when there is none, a map has a key twice or a key that is a container, LimitError when
        there are too many values or they are nested too deep.
        """
        reader = self._reader
        self._count += 1
        if self._count > VALUES_LIMIT or depth > DEPTH_LIMIT:
            reason = f"more than {VALUES_LIMIT} values, or nested deeper than {DEPTH_LIMIT}"
            raise LimitError(reader.location, reason)
        code = reader.u8()
        if code <= 0x7F or code >= 0xE0:
            return code if code <= 0x7F else code - 0x100
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code in _NUMBERS:
            return self._number(_NUMBERS[code])
        if code <= 0x8F or code in _MAPS:
            return self._map(code & 0x0F if code <= 0x8F else self._length(_MAPS[code]), depth)
        if code <= 0x9F or code in _LISTS:
            count = code & 0x0F if code <= 0x9F else self._length(_LISTS[code])
            return [self.take(depth + 1) for _ in range(count)]
        return self._sized(code)

    def _sized(self, code: int) -> Value:
        """Return a text, bytes or an extension."""
        reader = self._reader
        if code <= 0xBF or code in _TEXTS:
            size = code & 0x1F if code <= 0xBF else self._length(_TEXTS[code])
            try:
                return reader.take(size, limit=TEXT_LIMIT).decode("utf-8")
            except UnicodeDecodeError as error:
                raise ArtifactError(reader.location, "a text that is not UTF-8") from error
        if code in _BINARIES:
            return self._binary(self._length(_BINARIES[code]), None)
        if code in _EXTENSIONS or code in _FIXED:
            size = self._length(_EXTENSIONS[code]) if code in _EXTENSIONS else _FIXED[code]
            return self._binary(size, reader.u8())
        raise ArtifactError(reader.location, f"{code:#x} begins no value of MessagePack")

    def _number(self, form: str) -> Value:
        (value,) = struct.unpack(form, self._reader.take(struct.calcsize(form)))
        return value if isinstance(value, int | float) else None

    def _length(self, size: int) -> int:
        return int.from_bytes(self._reader.take(size), "big")

    def _binary(self, size: int, code: int | None) -> Binary:
        begin = self._reader.position
        self._reader.skip(size)
        return Binary(begin=begin, size=size, code=code)

    def _map(self, count: int, depth: int) -> dict[Value, Value]:
        found: dict[Value, Value] = {}
        for _ in range(count):
            place = self._reader.location
            key = self.take(depth + 1)
            if isinstance(key, list | dict | Binary):
                raise ArtifactError(place, "a key that is neither a text nor a number")
            if key in found:
                raise ArtifactError(place, f"the key {str(key)[:80]!r} comes twice, of which readers take either")
            found[key] = self.take(depth + 1)
        return found
