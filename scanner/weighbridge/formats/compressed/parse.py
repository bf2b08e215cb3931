"""The member inside a compressed stream, and what stands beside it."""

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
from weighbridge.formats.base import Context
from weighbridge.formats.compressed import KINDS, MEMORY, is_skippable
from weighbridge.location import Location
from weighbridge.reader import HEAD, Reader

FEED: Final = 1 << 16  # compressed bytes given to a decoder at once
CHUNK: Final = 1 << 20  # decompressed bytes taken from a decoder at once
# A decoder without an output limit: the worst zstd block turns 4 bytes into 128 KiB, so this yields 32 MiB.
FEED_UNBOUNDED: Final = 1 << 10
NAME_LIMIT: Final = 1 << 12  # a file name inside a gzip header

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
    """A kind of stream, and what decodes it."""

    name: str
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
            if self.broken or not KINDS[self.kind.name][1](bytes(self.reader.view[self.end : self.end + HEAD])):
                return
            yield from self._one(self.library[0]())

    def _skip(self) -> bool:
        """Step over one frame that holds no data of the stream (lz4 and zstd share its layout)."""
        view, start = self.reader.view, self.end
        if not self.kind.skippable or not is_skippable(bytes(view[start : start + 4])):
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
    """Yield the member that begins at `start`, then whatever follows the stream."""
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


GZIP: Final = Kind("gzip", partial(_standard, partial(Zlib, 31), zlib.error))
ZLIB: Final = Kind("zlib", partial(_standard, partial(Zlib, 15), zlib.error))
_DECODED: Final = {
    kind.name: kind
    for kind in (
        GZIP,
        ZLIB,
        Kind("bz2", partial(_standard, bz2.BZ2Decompressor, OSError)),
        Kind("xz", partial(_standard, partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, MEMORY), lzma.LZMAError)),
        Kind("lzma", partial(_standard, partial(lzma.LZMADecompressor, lzma.FORMAT_ALONE, MEMORY), lzma.LZMAError)),
        Kind("lz4", _lz4, skippable=True),
        Kind("zstd", _zstd, feed=FEED_UNBOUNDED, skippable=True),
    )
}


def unpack(name: str, reader: Reader) -> Iterator[bytes]:
    """Yield what the streams of a kind hold, which must be everything there is; some pieces may be empty.

    Raises ArtifactError where they break or something else stands beside them, MissingExtraError when the library that
    decodes them is not installed. The caller counts what comes out.
    """
    kind = _DECODED[name]
    stream = _Stream(kind, reader, kind.library(reader.origin), 0)
    yield from stream.chunks()
    if stream.broken:
        raise ArtifactError(reader.at(stream.end), f"{name}: {stream.broken}")
    if stream.end < reader.size or stream.skipped:
        raise ArtifactError(reader.at(stream.end), f"{name}: there is more than compressed data")


def parse_kind(name: str, reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the member inside, then whatever follows the stream.

    Raises MissingExtraError when the library that decodes it is not installed, LimitError when
    it unpacks to too much.
    """
    kind = _DECODED.get(name)
    yield from _parse_zf(reader, context) if kind is None else _parse(kind, 0, reader, context)
