"""The bytes of one member: a window when it is stored, a spool when it is packed.

Methods: APPNOTE.TXT §4.4.5. A stream that breaks keeps what came out before it broke, because a loader
that reads as it unpacks has acted on that much.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final, Protocol

from weighbridge.errors import ArtifactError, MissingExtraError
from weighbridge.formats.base import Context
from weighbridge.formats.zip.records import Entry
from weighbridge.location import Location
from weighbridge.reader import Reader
from weighbridge.records import dataclass

DEFLATED: Final = 8
CHUNK: Final = 1 << 16  # packed bytes fed at once
PIECE: Final = 1 << 20  # unpacked bytes taken at once
# The dictionary of an LZMA stream is allocated at once and may be declared as 4 GiB; `xz -9` uses 64 MiB.
LZMA_MEMORY: Final = 256 << 20
# zstandard's own ceiling for a window is 2 GiB; `zstd -19` uses 8 MiB, `--ultra` 128 MiB.
ZSTD_WINDOW: Final = 128 << 20

_LZMA_HEADER: Final = Struct("<2xH").unpack_from
_MARKED_END: Final = 0x0002  # flag: the LZMA stream ends with a marker


class Decoder(Protocol):
    """What the decompressors of the standard library share."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""

    @property
    def unused_data(self) -> bytes:
        """What was fed behind the end of the stream."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Take packed bytes and return at most `max_length` unpacked ones."""


@dataclass(slots=True)
class Outcome:
    """How unpacking went: size and CRC of what came out, how many packed bytes were used, what broke it."""

    size: int = 0
    crc: int = 0
    used: int = 0
    error: str = ""


def unpack(reader: Reader, context: Context, entry: Entry, outcome: Outcome) -> Reader:
    """Return a reader over the unpacked member and fill `outcome`.

    Raises LimitError when it grows too large, MissingExtraError without the optional zstandard library and
    ArtifactError when the method is not known.
    """
    origin = reader.origin.inside(entry.name)
    packed = reader.view[entry.data : min(entry.stop, reader.size)]
    decode = _METHODS.get(entry.method)
    if decode is None:
        raise ArtifactError(origin, f"compression method {entry.method} is not known")
    return context.spool(_summed(decode(packed, entry, outcome, origin), outcome), origin, len(packed))


def _summed(pieces: Iterator[bytes], outcome: Outcome) -> Iterator[bytes]:
    try:
        for piece in pieces:
            outcome.size += len(piece)
            outcome.crc = zlib.crc32(piece, outcome.crc)
            yield piece
    except (zlib.error, lzma.LZMAError, OSError, EOFError, MemoryError) as error:
        outcome.error = str(error) or type(error).__name__


def _inflate(packed: memoryview, _entry: Entry, outcome: Outcome, _origin: Location) -> Iterator[bytes]:
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    position = 0
    while not decoder.eof:
        chunk = decoder.unconsumed_tail
        if not chunk:
            chunk = bytes(packed[position : position + CHUNK])
            position += len(chunk)
        piece = decoder.decompress(chunk, PIECE)
        if piece:
            yield piece
        elif not chunk:
            outcome.error = "the packed data end before the stream does"
            break
    outcome.used = position - len(decoder.unused_data) - len(decoder.unconsumed_tail)


def _stream(packed: memoryview, decoder: Decoder, outcome: Outcome, begin: int = 0) -> Iterator[bytes]:
    """Feed a decompressor that keeps its own unconsumed input, as those of bz2 and lzma do."""
    position = begin
    while not decoder.eof:
        piece = decoder.decompress(b"", PIECE)
        if not piece:
            chunk = bytes(packed[position : position + CHUNK])
            if not chunk:
                outcome.error = "the packed data end before the stream does"
                break
            position += len(chunk)
            piece = decoder.decompress(chunk, PIECE)
        if piece:
            yield piece
    outcome.used = position - len(decoder.unused_data)


def _bunzip(packed: memoryview, _entry: Entry, outcome: Outcome, _origin: Location) -> Iterator[bytes]:
    return _stream(packed, bz2.BZ2Decompressor(), outcome)


def _unxz(packed: memoryview, _entry: Entry, outcome: Outcome, _origin: Location) -> Iterator[bytes]:
    return _stream(packed, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LZMA_MEMORY), outcome)


def _unlzma(packed: memoryview, entry: Entry, outcome: Outcome, _origin: Location) -> Iterator[bytes]:
    """Unpack LZMA, whose properties stand behind a version and their length (§5.8.8), as an .lzma file."""
    if len(packed) < 9 or _LZMA_HEADER(packed)[0] != 5:
        raise lzma.LZMAError("the LZMA properties do not have five bytes")
    size = b"\xff" * 8 if entry.flags & _MARKED_END else entry.size.to_bytes(8, "little")
    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=LZMA_MEMORY)
    first = decoder.decompress(bytes(packed[4:9]) + size, PIECE)
    if first:
        yield first
    yield from _stream(packed, decoder, outcome, 9)


def _unzstd(packed: memoryview, _entry: Entry, outcome: Outcome, origin: Location) -> Iterator[bytes]:
    try:
        import zstandard  # optional, and slow to import
    except ImportError as error:
        raise MissingExtraError(origin, "reading zstd needs the extra: pip install 'weighbridge[zstd]'") from error
    decoder = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    try:
        with decoder.stream_reader(packed, read_across_frames=True) as stream:
            while piece := stream.read(PIECE):
                yield piece
        outcome.used = len(packed)
    except zstandard.ZstdError as error:
        outcome.error = str(error)


_METHODS: Final[dict[int, Callable[[memoryview, Entry, Outcome, Location], Iterator[bytes]]]] = {
    DEFLATED: _inflate,
    12: _bunzip,
    14: _unlzma,
    93: _unzstd,
    95: _unxz,
}
