"""The extra fields of zip headers: places in which an archive can carry bytes that no member has.

Source: APPNOTE.TXT §4.5 and §4.6, Info-ZIP's proginfo/extrafld.txt; torch/csrc/jit/serialization (`FB`, padding).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from struct import Struct
from typing import Final

from weighbridge.formats.zip.records import CENTRAL_SIZE, LOCAL_SIZE, Bytes, Entry
from weighbridge.reader import sparing

_SIZE: Final = Struct("<H").unpack_from
_FIELD: Final = Struct("<HH").unpack_from
_PADDED: Final = Struct("<HH").pack
_TORCH: Final = 0x4246  # torch pads with a field of the letter Z before nearly every member
_PADDING: Final = frozenset({_TORCH, 0xD935, 0xA220})  # torch, Android and Office align data with these

_PADDED_LIMIT: Final = 1 << 12  # a page; what pads more is looked at field by field
# What each of these holds is fixed and small: sizes, times, owners, a name or comment again, an alignment.
LONGEST: Final = {
    0x0001: 32,  # zip64
    0x000A: 64,  # NTFS times
    0x000D: 64,  # Unix times and owner
    0x5455: 32,  # extended timestamp
    0x5855: 32,  # Unix times, first form
    0x7855: 32,  # Unix owner, first form
    0x7875: 64,  # Unix owner
    0x9901: 16,  # AES encryption
    0xCAFE: 0,  # marks a Java archive
}


def unknown(view: Bytes, entries: Iterable[Entry]) -> Iterator[tuple[int, int, str]]:
    """Yield (offset, size, what) of every extra field that is not known for what it holds."""
    seen: set[int] = set()
    for entry in sparing(view, entries):
        if entry.data >= 0:
            name_size = len(entry.raw) if entry.agreed else int(_SIZE(view, entry.start + 26)[0])
            begin = entry.start + LOCAL_SIZE + name_size
            if begin < entry.data and begin not in seen:
                seen.add(begin)
                if view[begin : entry.data] != _padding(entry.data - begin):
                    yield from _fields(view, begin, min(entry.data, len(view)))
        if entry.extra and entry.record != entry.start:
            begin = entry.record + CENTRAL_SIZE + len(entry.raw)
            if begin not in seen:
                seen.add(begin)
                yield from _fields(view, begin, min(begin + entry.extra, len(view)))


@lru_cache(maxsize=128)  # torch pads up to 63 bytes
def _padding(size: int) -> bytes:
    """Return extra fields of that size that are one field of torch's padding, as in front of nearly every member."""
    return _PADDED(_TORCH, size - 4) + b"Z" * (size - 4) if 4 <= size < _PADDED_LIMIT else b""


def _fields(view: Bytes, at: int, end: int) -> Iterator[tuple[int, int, str]]:
    while at + 4 <= end:
        kind, size = _FIELD(view, at)
        if at + 4 + size > end:
            break
        content = bytes(view[at + 4 : at + 4 + size])
        if not _known(kind, content):
            yield at, 4 + size, f"an extra field {kind:#06x} of {size} bytes, which is not known for what it holds"
        at += 4 + size
    if any(view[at:end]):
        yield at, end - at, f"{end - at} bytes that are no extra field"


def _known(kind: int, content: bytes) -> bool:
    if kind in (0x7075, 0x6375):  # the name or comment in Unicode; a second name is an anomaly of its own
        return content[5:].decode("utf-8", "replace").isprintable()
    if kind in _PADDING or kind == 0:
        return len(set(content[2:] if kind == 0xD935 else content)) <= 1
    return len(content) <= LONGEST.get(kind, -1)
