"""Compressed streams: gzip, zlib, bzip2, xz, lzma, lz4 and zstd, each with one member inside.

Streams of one kind that follow each other are one member, as multi-member readers take them. A stream
that breaks still hands on what came out before: a reader that unpacks as it goes would have used it.

Specifications: RFC 1952 (gzip), RFC 1950 (zlib), https://tukaani.org/xz/xz-file-format.txt,
https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md, RFC 8878 (zstd); joblib's old `ZF` files are
described only by joblib/numpy_pickle_compat.py.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from weighbridge.errors import ArtifactError, MissingExtraError
from weighbridge.facts import Anomaly, Fact, Gap, Member, Metadata
from weighbridge.formats.base import Context, Format
from weighbridge.location import Location
from weighbridge.reader import HEAD, Reader, Sample

FEED: Final = 1 << 16  # compressed bytes given to a decoder at once
CHUNK: Final = 1 << 20  # decompressed bytes taken from a decoder at once
# A decoder without an output limit: the worst zstd block turns 4 bytes into 128 KiB, so this yields 32 MiB.
FEED_UNBOUNDED: Final = 1 << 10
PROBE: Final = 1 << 16  # decompressed bytes that show a stream without a magic number to be one
MEMORY: Final = 1 << 27  # of a decoder; `xz -9` needs 65 MiB, zstd's own limit is this
NAME_LIMIT: Final = 1 << 12  # a file name inside a gzip header

_ZF_PREFIX: Final = b"ZF0x"
_ZF_HEADER: Final = 2 + len(hex(1 << 64))
_GZIP_EXTRA, _GZIP_NAME, _GZIP_COMMENT, _GZIP_RESERVED = 4, 8, 16, 0xE0


class Decoder(Protocol):
    """The interface that bz2, lzma and lz4 share."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing more to come without input."""

    @property
    def unused_data(self) -> bytes | None:
        """What was fed beyond the end of the stream."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take `data` and return up to `max_length` bytes."""


class Zlib:
    """zlib's decoder behind the interface of the others."""

    def __init__(self, wbits: int) -> None:
        self._decoder = zlib.decompressobj(wbits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        """What was fed beyond the end of the stream."""
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take `data` and return up to `max_length` bytes."""
        chunk = self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)
        self.needs_input = len(chunk) < max_length
        return chunk


class _Zstd:
    """zstandard's decoder behind the interface of the others; it ignores `max_length`."""

    needs_input = True

    def __init__(self) -> None:
        import zstandard

        self._decoder = zstandard.ZstdDecompressor(max_window_size=MEMORY).decompressobj()

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._decoder.decompress(data)


Library = tuple[Callable[[], Decoder], tuple[type[Exception], ...]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of stream: how it begins, and what decodes it."""

    name: str
    title: str
    begins: Callable[[bytes], bool]
    library: Callable[[Location], Library]
    feed: int = FEED
    skippable: bool = False


@dataclass(slots=True)
class _Stream:
    """Streams of one kind behind each other; `end` is the first byte that belongs to none."""

    kind: Kind
    reader: Reader
    library: Library
    end: int
    broken: str = ""
    skipped: list[tuple[int, int]] = field(default_factory=list)

    def chunks(self) -> Iterator[bytes]:
        """Yield what comes out; an empty chunk per stream lets the caller look at the clock."""
        while True:
            yield b""
            if self._skip():
                continue
            if self.broken or not self.kind.begins(bytes(self.reader.view[self.end : self.end + HEAD])):
                return
            yield from self._one(self.library[0]())

    def _skip(self) -> bool:
        """Step over one frame that holds no data of the stream (lz4 and zstd share its layout)."""
        view, start = self.reader.view, self.end
        if not self.kind.skippable or not _is_skippable(bytes(view[start : start + 4])):
            return False
        size = int.from_bytes(view[start + 4 : start + 8], "little")
        if start + 8 + size > len(view):
            self.broken = "a skippable frame ends early"
            return False
        if size:
            self.skipped.append((start + 8, size))
        self.end = start + 8 + size
        return True

    def _one(self, decoder: Decoder) -> Iterator[bytes]:
        view = self.reader.view
        while not decoder.eof:
            data = bytes(view[self.end : self.end + self.kind.feed]) if decoder.needs_input else b""
            if decoder.needs_input and not data:
                self.broken = "the stream ends early"
                return
            try:
                chunk = decoder.decompress(data, CHUNK)
            except self.library[1] as error:
                self.broken = str(error)
                return
            self.end += len(data)
            yield chunk
        self.end -= len(decoder.unused_data or b"")


def _parse(kind: Kind, start: int, reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the member inside, then whatever follows the stream.

    Raises MissingExtraError when the library that decodes it is not installed, LimitError when
    it unpacks to too much.
    """
    place = reader.at(start)
    stream = _Stream(kind, reader, kind.library(place), start)
    context.budget.spend_members(place)
    name = kind.name
    if kind is GZIP:
        name = yield from _gzip_header(reader)
    content = context.spool(stream.chunks(), reader.origin.inside(name), reader.size - start)
    stored = stream.end - start
    yield Member(location=place, name=name, size=content.size, stored=stored)
    yield from context.examine(content, stored)
    for offset, size in stream.skipped:
        yield from _extra(kind, reader, context, "skippable", offset, size)
    if stream.broken:
        reason = f"{kind.name}: {stream.broken}"
        yield Gap(location=reader.at(stream.end), reason=reason, size=reader.size - stream.end)
    elif stream.end < reader.size:
        yield from _extra(kind, reader, context, "trailing", stream.end, reader.size - stream.end)


def _extra(kind: Kind, reader: Reader, context: Context, what: str, offset: int, size: int) -> Iterator[Fact]:
    """Report and examine bytes beside the stream."""
    place = reader.at(offset)
    yield Anomaly(location=place, code=f"{kind.name}-{what}", detail=f"{size} bytes that are not compressed data")
    context.budget.spend_members(place)
    name = what if what == "trailing" else f"{what} at {offset:#x}"
    yield Member(location=place, name=name, size=size, stored=size, type="trailing")
    yield from context.examine(reader.window(offset, size, name), size)


def _parse_zf(reader: Reader, context: Context) -> Iterator[Fact]:
    """Read joblib's format from before 0.9.3: `ZF`, the size in hexadecimal, a zlib stream."""
    header = reader.take(_ZF_HEADER)
    try:
        size = int(header[2:].rstrip(b" "), 16)
    except ValueError as error:
        raise ArtifactError(reader.at(2), "the size is not hexadecimal") from error
    # Python 2's writer added an `L` and with it one more space.
    start = _ZF_HEADER + (reader.peek(1) == b" ")
    for fact in _parse(ZLIB, start, reader, context):
        yield fact
        if isinstance(fact, Member) and fact.type == "file" and fact.size != size:
            yield Anomaly(location=reader.at(2), code="zfile-size", detail=f"{size} bytes declared, {fact.size} found")


def _gzip_header(reader: Reader) -> Generator[Fact, None, str]:
    """Yield what a gzip header carries besides the data, and return the name of the member."""
    flags, name = reader.read(3, 1)[0], GZIP.name
    reader.seek(10)
    if flags & (_GZIP_EXTRA | _GZIP_RESERVED):
        detail = f"flags {flags:#x}: fields that no model writer sets"
        yield Anomaly(location=reader.at(3), code="gzip-header", detail=detail)
    if flags & _GZIP_EXTRA:
        reader.skip(reader.u16())
    if flags & _GZIP_NAME:
        name = _text(reader).rpartition("/")[2] or name
    if flags & _GZIP_COMMENT:
        yield Metadata(location=reader.location, key="comment", value=_text(reader))
    return name


def _text(reader: Reader) -> str:
    """Take a text that ends with NUL."""
    text, end, _ = reader.peek(NAME_LIMIT).partition(b"\0")
    if not end:
        raise ArtifactError(reader.location, "a text of the gzip header does not end")
    reader.skip(len(text) + 1)
    return text.decode("latin-1")


def _is_skippable(magic: bytes) -> bool:
    return magic[1:] == b"\x2a\x4d\x18" and magic[0] & 0xF0 == 0x50


def _begins_with(magic: bytes, head: bytes) -> bool:
    return head.startswith(magic)


def _begins_frame(magic: bytes, head: bytes) -> bool:
    """Look for the first frame behind skippable ones, as far as the head reaches."""
    while _is_skippable(head[:4]):
        head = head[8 + int.from_bytes(head[4:8], "little") :]
    return head.startswith(magic)


def _begins_bz2(head: bytes) -> bool:
    """`BZh`, the block size, then the magic of a block (pi) or of the end (the root of pi)."""
    return head[:3] == b"BZh" and head[3:4].isdigit() and head[4:10] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")


def _begins_zlib(head: bytes) -> bool:
    """Check the two bytes of RFC 1950, which say little, and then that deflate understands the rest."""
    if head[:1] not in _ZLIB_FIRST or len(head) < 2 or (head[0] << 8 | head[1]) % 31 or head[1] & 0x20:
        return False
    decoder = zlib.decompressobj()
    try:
        return bool(decoder.decompress(head, PROBE)) or decoder.eof
    except zlib.error:
        return False


_ZLIB_FIRST: Final = frozenset(bytes([window << 4 | 8]) for window in range(8))


def _begins_lzma(head: bytes) -> bool:
    """Check the properties and sizes of the header that has no magic, and then that LZMA understands the rest.

    The rules are liblzma's own for telling these files from others: the dictionary has a size of
    2^n or 2^n + 2^(n-1), the content less than 256 GiB. The range coder's first byte is always 0.
    """
    if len(head) < 18 or head[0] >= 225 or head[13]:
        return False
    dictionary, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    if not _is_dictionary(dictionary) or not (size < 1 << 38 or size == (1 << 64) - 1):
        return False
    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=MEMORY)
    try:
        return bool(decoder.decompress(head, PROBE)) or decoder.eof
    except lzma.LZMAError:
        return False


def _is_dictionary(size: int) -> bool:
    low = size & -size
    return size == 0xFFFFFFFF or (size >= 4096 and size in (low, low * 3))


def _standard(decoder: Callable[[], Decoder], error: type[Exception], place: Location) -> Library:
    return decoder, (error,)


def _lz4(place: Location) -> Library:
    try:
        from lz4.frame import LZ4FrameDecompressor
    except ImportError as error:
        raise MissingExtraError(place, "reading lz4 needs the extra: pip install 'weighbridge[lz4]'") from error
    return LZ4FrameDecompressor, (RuntimeError,)


def _zstd(place: Location) -> Library:
    try:
        from zstandard import ZstdError
    except ImportError as error:
        raise MissingExtraError(place, "reading zstd needs the extra: pip install 'weighbridge[zstd]'") from error
    return _Zstd, (ZstdError,)


GZIP: Final = Kind(
    "gzip",
    "gzip stream",
    partial(_begins_with, b"\x1f\x8b\x08"),
    partial(_standard, partial(Zlib, 31), zlib.error),
)
ZLIB: Final = Kind("zlib", "zlib stream", _begins_zlib, partial(_standard, partial(Zlib, 15), zlib.error))
BZ2: Final = Kind("bz2", "bzip2 stream", _begins_bz2, partial(_standard, bz2.BZ2Decompressor, OSError))
XZ: Final = Kind(
    "xz",
    "xz stream",
    partial(_begins_with, b"\xfd7zXZ\0"),
    partial(_standard, partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, MEMORY), lzma.LZMAError),
)
LZMA: Final = Kind(
    "lzma",
    "lzma stream",
    _begins_lzma,
    partial(_standard, partial(lzma.LZMADecompressor, lzma.FORMAT_ALONE, MEMORY), lzma.LZMAError),
)
LZ4: Final = Kind("lz4", "lz4 frame", partial(_begins_frame, b"\x04\x22\x4d\x18"), _lz4, skippable=True)
ZSTD: Final = Kind(
    "zstd", "zstd frame", partial(_begins_frame, b"\x28\xb5\x2f\xfd"), _zstd, feed=FEED_UNBOUNDED, skippable=True
)


def _format(kind: Kind) -> Format:
    begins = kind.begins

    def sniff(sample: Sample) -> bool:
        """Tell whether a stream of this kind begins here."""
        return begins(sample.head)

    return Format(kind.name, kind.title, sniff, partial(_parse, kind, 0))


def sniff_zf(sample: Sample) -> bool:
    """Tell whether joblib before 0.9.3 wrote the bytes."""
    return sample.head.startswith(_ZF_PREFIX)


FORMATS: Final = (
    *map(_format, (GZIP, ZLIB, BZ2, XZ, LZMA, LZ4, ZSTD)),
    Format("joblib-zfile", "joblib file of before 0.9.3", sniff_zf, _parse_zf),
)
