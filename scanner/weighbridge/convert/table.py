"""Sorted tables of keys and values, as LevelDB writes them and TensorFlow the index of a checkpoint.

Every block is checked against its CRC-32C; keys have to be in order, and nothing may be compressed.

Specification: https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

from weighbridge.errors import ArtifactError, LimitError, UnconvertibleError
from weighbridge.formats.onnx.wire import varint
from weighbridge.reader import Reader

MAGIC: Final = (0xDB4775248B80FB57).to_bytes(8, "little")
FOOTER: Final = 48
TRAILER: Final = 5  # behind each block: its compression and its CRC
SIZE_LIMIT: Final = 64 << 20  # bytes of a table; the index of 100 000 variables has 10 MB
ENTRIES_LIMIT: Final = 1_000_000
_POLYNOMIAL: Final = 0x82F63B78  # Castagnoli's, reflected
_MASK: Final = 0xA282EAD8  # what LevelDB adds to a rotated CRC, so that one of data with CRCs in it stays useful


def entries(reader: Reader) -> Iterator[tuple[bytes, Reader]]:
    """Yield the keys of a table in order, and readers over their values; raise ArtifactError when it is broken."""
    if not FOOTER <= reader.size <= SIZE_LIMIT:
        raise LimitError(reader.origin, f"a table of {reader.size} bytes, limit is {SIZE_LIMIT}")
    end = reader.size - len(MAGIC)
    if reader.read(end, len(MAGIC)) != MAGIC:
        raise ArtifactError(reader.at(end), "not the end of a table")
    _, _, position = _handle(reader, reader.size - FOOTER, end)  # of filters and statistics
    begin, size, _ = _handle(reader, position, end)
    last, count = b"", 0
    for _, told in _block(reader, begin, size):
        place, length, behind = _handle(told, 0, told.size)
        if behind != told.size:
            raise ArtifactError(told.at(behind), "more than the place of a block")
        for key, value in _block(reader, place, length):
            count += 1
            if count > ENTRIES_LIMIT:
                raise LimitError(reader.origin, f"more than {ENTRIES_LIMIT} entries")
            if count > 1 and key <= last:
                raise ArtifactError(value.origin, "keys that are not in order")
            last = key
            yield key, value


def _handle(reader: Reader, position: int, end: int) -> tuple[int, int, int]:
    """Return offset and size of the block that is told at `position`, and the offset behind both."""
    begin, position = varint(reader, position, end)
    size, position = varint(reader, position, end)
    return begin, size, position


def _block(reader: Reader, begin: int, size: int) -> Iterator[tuple[bytes, Reader]]:
    """Yield the entries of a block, each of which leaves out what its key shares with the one before."""
    data = reader.read(begin, size + TRAILER)
    place = reader.at(begin)
    if data[size]:
        raise UnconvertibleError(place, f"a block that is compressed (type {data[size]}), which TensorFlow never does")
    if int.from_bytes(data[size + 1 :], "little") != masked(crc32c(data[: size + 1])):
        raise ArtifactError(place, "the CRC of a block is wrong")
    restarts = 4 * (int.from_bytes(data[size - 4 : size], "little") + 1) if size >= 4 else 0
    if not 4 <= restarts <= size:
        raise ArtifactError(place, "a block without its restarts")
    body, position, key = reader.window(begin, size - restarts), 0, b""
    while position < body.size:
        shared, position = varint(body, position, body.size)
        more, position = varint(body, position, body.size)
        length, position = varint(body, position, body.size)
        if shared > len(key) or position + more + length > body.size:
            raise ArtifactError(body.at(position), "an entry that reaches beyond its block")
        key = key[:shared] + body.read(position, more)
        position += more + length
        yield key, body.window(position - length, length)


@cache
def _crcs() -> tuple[int, ...]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        found.append(value)
    return tuple(found)


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of data; some megabytes a second, which is enough for an index.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc, table = 0xFFFFFFFF, _crcs()
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """Return a CRC as LevelDB stores it."""
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF
