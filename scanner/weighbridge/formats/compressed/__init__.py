"""Compressed streams: gzip, zlib, bzip2, xz, lzma, lz4 and zstd, each with one member inside.

Streams of one kind that follow each other are one member, as multi-member readers take them. A stream
that breaks still hands on what came out before: a reader that unpacks as it goes would have used it.

Specifications: RFC 1952 (gzip), RFC 1950 (zlib), https://tukaani.org/xz/xz-file-format.txt,
https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md, RFC 8878 (zstd); joblib's old `ZF` files are
described only by joblib/numpy_pickle_compat.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

PROBE: Final = 1 << 16  # decompressed bytes that show a stream without a magic number to be one
MEMORY: Final = 1 << 27  # of a decoder; `xz -9` needs 65 MiB, zstd's own limit is this

_ZLIB_FIRST: Final = bytes(window << 4 | 8 for window in range(8))
_SKIPPABLE: Final = bytes(range(0x50, 0x60))


def is_skippable(magic: bytes) -> bool:
    """Tell whether a frame of lz4 or zstd that holds no data begins with these four bytes."""
    return magic[1:] == b"\x2a\x4d\x18" and magic[0] in _SKIPPABLE


def _begins_with(magic: bytes, head: bytes) -> bool:
    return head.startswith(magic)


def _begins_frame(magic: bytes, head: bytes) -> bool:
    """Look for the first frame behind skippable ones, as far as the head reaches."""
    while is_skippable(head[:4]):
        head = head[8 + int.from_bytes(head[4:8], "little") :]
    return head.startswith(magic)


def _begins_bz2(head: bytes) -> bool:
    """`BZh`, the block size, then the magic of a block (pi) or of the end (the root of pi)."""
    return head[:3] == b"BZh" and head[3:4].isdigit() and head[4:10] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")


def _begins_zlib(head: bytes) -> bool:
    """Check the two bytes of RFC 1950, which say little, and then that deflate understands the rest."""
    if len(head) < 2 or head[0] not in _ZLIB_FIRST or (head[0] << 8 | head[1]) % 31 or head[1] & 0x20:
        return False
    import zlib

    decoder = zlib.decompressobj()
    try:
        return bool(decoder.decompress(head, PROBE)) or decoder.eof
    except zlib.error:
        return False


def _begins_lzma(head: bytes) -> bool:
    """Check the properties and sizes of the header that has no magic, and then that LZMA understands the rest.

    The rules are liblzma's own for telling these files from others: the dictionary has a size of
    2^n or 2^n + 2^(n-1), the content less than 256 GiB. The range coder's first byte is always 0.
    """
    if len(head) < 18 or head[13] or not _may_begin_lzma(head):
        return False
    size = int.from_bytes(head[5:13], "little")
    if not (size < 1 << 38 or size == (1 << 64) - 1):
        return False
    import lzma

    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=MEMORY)
    try:
        return bool(decoder.decompress(head, PROBE)) or decoder.eof
    except lzma.LZMAError:
        return False


def _may_begin_lzma(prefix: bytes) -> bool:
    return prefix[:1] < b"\xe1" and _is_dictionary(int.from_bytes(prefix[1:5], "little"))


def _may_begin_frame(magic: bytes, prefix: bytes) -> bool:
    return prefix.startswith(magic) or is_skippable(prefix[:4])


def _is_dictionary(size: int) -> bool:
    low = size & -size
    return size == 0xFFFFFFFF or (size >= 4096 and size in (low, low * 3))


Begins = Callable[[bytes], bool]

_LZ4: Final = b"\x04\x22\x4d\x18"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"

# By name: the title, how a stream of the kind begins, and the first bytes of such streams if not any.
KINDS: Final[dict[str, tuple[str, Begins, bytes | None]]] = {
    "gzip": ("gzip stream", partial(_begins_with, b"\x1f\x8b\x08"), b"\x1f"),
    "zlib": ("zlib stream", _begins_zlib, _ZLIB_FIRST),
    "bz2": ("bzip2 stream", _begins_bz2, b"B"),
    "xz": ("xz stream", partial(_begins_with, b"\xfd7zXZ\0"), b"\xfd"),
    "lzma": ("lzma stream", _begins_lzma, None),
    "lz4": ("lz4 frame", partial(_begins_frame, _LZ4), b"\x04" + _SKIPPABLE),
    "zstd": ("zstd frame", partial(_begins_frame, _ZSTD), b"\x28" + _SKIPPABLE),
    "joblib-zfile": ("joblib file of before 0.9.3", partial(_begins_with, b"ZF0x"), b"Z"),
}
_MAY_BEGIN: Final[dict[str, Begins]] = {
    "lzma": _may_begin_lzma,
    "lz4": partial(_may_begin_frame, _LZ4),
    "zstd": partial(_may_begin_frame, _ZSTD),
}


def _format(name: str, title: str, begins: Begins, starts: bytes | None) -> Format:
    def sniff(sample: Sample) -> bool:
        """Tell whether a stream of this kind begins here."""
        return begins(sample.head)

    def parse(reader: Reader, context: Context) -> Iterator[Fact]:
        """Yield the member inside, then whatever follows the stream."""
        from weighbridge.formats.compressed.parse import parse_kind

        return parse_kind(name, reader, context)

    return Format(name, title, sniff, parse, starts, may_begin=_MAY_BEGIN.get(name))


FORMATS: Final = tuple(_format(name, *kind) for name, kind in KINDS.items())
