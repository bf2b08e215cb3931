"""The files inside a packed layer of an artifact: tar, alone or compressed, read in one pass and never laid out here.

A layer is unpacked after its digest has been verified. What is unpacked is what gets examined, so this reader takes
only what every other one takes alike: it decodes headers as the tar format does, and refuses what that reports as an
oddity. Links, devices and sparse files are refused, for a model has none, and so is anything behind the end.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from weighbridge.artifact import admit
from weighbridge.errors import ArtifactError, LimitError, SourceError
from weighbridge.formats.tar import BLOCK, checksum_fits
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location, printable
from weighbridge.reader import Reader, from_bytes, from_descriptor
from weighbridge.records import dataclass

if TYPE_CHECKING:
    from weighbridge.formats.tar.parse import Header

PACKINGS: Final = ("tar", "tar+gzip", "tar+zstd")
PIECE: Final = 1 << 20  # bytes handed on at once
RELEASE: Final = 32 << 20  # bytes after which the pages of the layer that were read are given back


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """A file out of a layer; `pieces` are its bytes, to be taken before the next file is."""

    path: str
    size: int
    pieces: Iterator[bytes]


def unpack(descriptor: int, packing: str, limits: Limits, *, source: str) -> Iterator[Unpacked]:
    """Yield the files in a layer, which is an open file with one of PACKINGS; `source` names it in errors.

    Pieces that are not taken are skipped. Nothing that was yielded counts unless the iterator ends without an error: a
    layer is refused for what comes last in it, too.

    Raises SourceError when a layer is not what its packing says, breaks off, has a path that `admit` refuses or a
    member that is no file, unpacks to more than the limits allow, or needs a library that is not installed.
    """
    if packing not in PACKINGS:
        raise SourceError(f"{printable(source)}: packed as {packing!a}, which is not known")
    origin = Location((source,))
    try:
        reader = from_descriptor(descriptor, origin)
    except OSError as error:
        raise SourceError(f"{printable(source)}: {error.strerror}") from error
    budget = Budget(limits)
    stream = _Stream(_released(_content(reader, packing.partition("+")[2], budget), reader), origin)
    paths = []
    for member in _members(stream, budget):
        admit([member.path], source)
        paths.append(member.path)
        yield member
        for _ in member.pieces:
            pass
    admit(paths, source)


def _content(reader: Reader, compression: str, budget: Budget) -> Iterator[bytes]:
    """Yield the bytes of the archive; raise SourceError where they cannot be had or become too many."""
    if not compression:
        for begin in range(0, reader.size, PIECE):
            yield bytes(reader.view[begin : begin + PIECE])
        return
    from weighbridge.formats.compressed.parse import unpack as decompress

    limit, count = max(budget.limits.ratio_floor, reader.size * budget.limits.max_ratio), 0
    try:
        for piece in decompress(compression, reader):
            count += len(piece)
            budget.spend_unpacked(reader.origin, len(piece))
            if count > limit:
                reason = f"max_ratio: over {budget.limits.max_ratio} bytes per packed byte"
                raise LimitError(reader.origin, reason)
            yield piece
    except ArtifactError as error:
        raise SourceError(str(error)) from error


def _released(pieces: Iterator[bytes], reader: Reader) -> Iterator[bytes]:
    """Yield the pieces as they are, and give back the pages of a mapped file on the way, which nobody reads again."""
    held, count = reader.view.obj, 0
    for piece in pieces:
        yield piece
        count += len(piece)
        if count >= RELEASE and isinstance(held, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            held.madvise(mmap.MADV_DONTNEED)
            count = 0


class _Stream:
    """Bytes that arrive in pieces of any size, taken in other pieces."""

    def __init__(self, pieces: Iterator[bytes], origin: Location) -> None:
        self._pieces = pieces
        self._origin = origin
        self._piece = memoryview(b"")
        self._offset = 0

    @property
    def location(self) -> Location:
        """Where the next byte stands in the archive."""
        return self._origin.at(self._offset)

    def refuse(self, reason: str) -> SourceError:
        """Return the error for what stands before this place."""
        return SourceError(f"{self.location}: {printable(reason)}")

    def rest(self) -> Iterator[bytes]:
        """Yield everything that is left."""
        while piece := self._some(PIECE):
            yield piece

    def take(self, count: int) -> Iterator[bytes]:
        """Yield exactly `count` bytes in pieces."""
        while count:
            piece = self._some(min(count, PIECE))
            if not piece:
                raise self.refuse(f"the archive ends {count} bytes early")
            count -= len(piece)
            yield piece

    def _some(self, count: int) -> bytes:
        """Return between one and `count` bytes, none at the end."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._piece = memoryview(piece)
        taken, self._piece = bytes(self._piece[:count]), self._piece[count:]
        self._offset += len(taken)
        return taken


def _members(stream: _Stream, budget: Budget) -> Iterator[Unpacked]:
    """Yield the files of an archive up to its end, which must be there and have nothing behind it."""
    from weighbridge.formats.tar.parse import EXTENSION_LIMIT, EXTENSIONS, decode_extension, decode_header

    shared: dict[str, str] = {}
    own: dict[str, str] = {}
    while True:
        block = b"".join(stream.take(BLOCK))
        if not block.strip(b"\0"):
            break
        if not checksum_fits(block):
            raise stream.refuse("a header with a wrong check sum")
        try:
            budget.spend_members(stream.location)
            # No bytes behind the block are shown: only a sparse member would ask for them.
            header = decode_header(from_bytes(b"", stream.location), 0, block, {**shared, **own})
            if header.type in EXTENSIONS:
                if header.size > EXTENSION_LIMIT:
                    raise stream.refuse(f"an extended header of {header.size} bytes, limit is {EXTENSION_LIMIT}")
                content = b"".join(_padded(stream, header.size))
                (shared if header.type == "g" else own).update(decode_extension(header.type, content))
                continue
        except ValueError as error:
            raise stream.refuse(str(error)) from error
        except ArtifactError as error:
            raise stream.refuse(error.reason) from error
        own = {}
        if _is_file(header, stream):
            pieces = _padded(stream, header.size)
            yield Unpacked(path=_path(header.name), size=header.size, pieces=pieces)
    if any(piece.strip(b"\0") for piece in stream.rest()):
        raise stream.refuse("there is something behind the end of the archive")


def _padded(stream: _Stream, size: int) -> Iterator[bytes]:
    """Yield the content of a member and step over what fills its last block, which must be zeros."""
    yield from stream.take(size)
    if any(piece.strip(b"\0") for piece in stream.take(-size % BLOCK)):
        raise stream.refuse("the bytes behind a member are not zero")


def _is_file(header: Header, stream: _Stream) -> bool:
    """Tell a file from a folder; raise SourceError for anything else and whatever readers take differently."""
    for _, detail in header.oddities:
        raise stream.refuse(detail)
    if header.sparse:
        raise stream.refuse(f"member {header.name!r} is a sparse file")
    if header.kind not in ("file", "directory"):
        aim = f" to {header.target!r}" if header.target else ""
        raise stream.refuse(f"member {header.name!r} is a {header.kind}{aim}, and no file")
    return header.kind == "file"


def _path(name: str) -> str:
    """Return the path of a member below the artifact's folder; `tar -C folder .` begins every name with `./`."""
    while name.startswith("./"):
        name = name[2:]
    return name
