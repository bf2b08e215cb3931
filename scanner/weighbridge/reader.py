"""Bounded random-access reads over bytes, whatever holds them.

A `Reader` is a window on a buffer: a file mapped into memory, bytes, a part of another
reader (a stored zip member is a window, never a copy) or a spool of decompressed data.
Every read is checked against the window and every error carries `file!member@offset`.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from weighbridge.errors import LimitError, SourceError, TruncatedError
from weighbridge.location import Location

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

HEAD: Final = 4096  # enough for every magic number, tar's at 257 included
TAIL: Final = 22 + 65535  # a zip end record and the longest comment behind it
SPOOL_IN_MEMORY: Final = 8 << 20  # decompressed data beyond this goes to an unnamed file
# Bytes that Linux maps besides, where they are in memory, when one page is asked for: 64 KiB, and from 6.18 on all of
# the folio that the page is in, which a file that was written in large pieces has up to 2 MiB of.
AROUND: Final = 2 << 20

_LARGE: Final = 64 << 20
_OFTEN: Final = 32  # places

_new: Final = tuple.__new__  # what making a named tuple calls, at twice the time

_U16: Final = Struct("<H").unpack_from
_U32: Final = Struct("<I").unpack_from
_U64: Final = Struct("<Q").unpack_from
_I64: Final = Struct("<q").unpack_from


class Sample(NamedTuple):
    """What a format may look at to recognise itself: both ends of the bytes, and all of them where they are here."""

    head: bytes
    tail: bytes
    size: int
    view: memoryview | None = None


class Reader:
    """A bounded window on bytes with a cursor; offsets are relative to the window."""

    def __init__(self, view: memoryview, origin: Location) -> None:
        self.view = view
        self.origin = origin
        self.size = len(view)
        self.position = 0
        self._sample: Sample | None = None

    @property
    def location(self) -> Location:
        """Where the cursor stands."""
        return self.origin.at(self.origin.offset + self.position)

    @property
    def remaining(self) -> int:
        """How many bytes are left behind the cursor."""
        return self.size - self.position

    @property
    def sample(self) -> Sample:
        """Both ends of the window, read once and shared by every `sniff`, and the window."""
        if self._sample is None:
            if self.size <= TAIL:
                tail = bytes(self.view)
                head = tail[:HEAD]
            else:
                head, tail = bytes(self.view[:HEAD]), bytes(self.view[-TAIL:])
            self._sample = Sample(head, tail, self.size, self.view)
        return self._sample

    def at(self, offset: int) -> Location:
        """Return the location of a byte of this window."""
        path, begin = self.origin
        return _new(Location, (path, begin + offset))

    def seek(self, offset: int) -> None:
        """Move the cursor; raise TruncatedError when it would leave the window."""
        if not 0 <= offset <= self.size:
            raise TruncatedError(self.origin, f"offset {offset} is outside {self.size} bytes")
        self.position = offset

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes at `offset`, leaving the cursor alone."""
        if offset < 0 or count < 0 or offset + count > self.size:
            left = max(0, self.size - max(0, offset))
            raise TruncatedError(self.at(max(0, offset)), f"want {count} bytes, {left} left")
        return bytes(self.view[offset : offset + count])

    def peek(self, count: int) -> bytes:
        """Return up to `count` bytes at the cursor without moving it."""
        return bytes(self.view[self.position : self.position + count])

    def take(self, count: int, *, limit: int | None = None) -> bytes:
        """Return exactly `count` bytes and step over them.

        Raises LimitError when `count` is over `limit`, TruncatedError when they are not there.
        """
        if limit is not None and count > limit:
            raise LimitError(self.location, f"{count} bytes, limit is {limit}")
        data = self.read(self.position, count)
        self.position += count
        return data

    def skip(self, count: int) -> None:
        """Step over `count` bytes, which must be there."""
        if count < 0 or count > self.remaining:
            raise TruncatedError(self.location, f"want {count} bytes, {self.remaining} left")
        self.position += count

    def u8(self) -> int:
        """Take one unsigned byte."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Take a little-endian unsigned 16-bit integer."""
        return int(_U16(self.take(2))[0])

    def u32(self) -> int:
        """Take a little-endian unsigned 32-bit integer."""
        return int(_U32(self.take(4))[0])

    def u64(self) -> int:
        """Take a little-endian unsigned 64-bit integer."""
        return int(_U64(self.take(8))[0])

    def i64(self) -> int:
        """Take a little-endian signed 64-bit integer."""
        return int(_I64(self.take(8))[0])

    def window(self, offset: int, count: int, member: str | None = None) -> Reader:
        """Return a reader over a part of this one, without copying.

        With `member` the part is a member of its own, whose offsets begin at 0; without it the
        part keeps the offsets that its bytes have in the file.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            left = max(0, self.size - max(0, offset))
            raise TruncatedError(self.at(max(0, offset)), f"want {count} bytes, {left} left")
        origin = self.at(offset) if member is None else self.origin.inside(member)
        return Reader(self.view[offset : offset + count], origin)


def from_bytes(data: bytes, origin: Location) -> Reader:
    """Return a reader over bytes in memory."""
    return Reader(memoryview(data), origin)


def from_descriptor(descriptor: int, origin: Location, size: int | None = None) -> Reader:
    """Return a reader over an open file, mapped read-only; `size` is that of the file, if it is known.

    Small files are read instead of mapped: a map costs two system calls and a page fault more.
    """
    if size is None:
        size = os.fstat(descriptor).st_size
    if size <= HEAD * 16:
        os.lseek(descriptor, 0, os.SEEK_SET)
        return from_bytes(os.read(descriptor, size), origin)
    return Reader(memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)), origin)


def from_path(path: Path, origin: Location) -> Reader:
    """Return a reader over a file on disk; raise SourceError when it cannot be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise SourceError(f"{origin.name}: {error.strerror}") from error
    try:
        return from_descriptor(descriptor, origin)
    except OSError as error:
        raise SourceError(f"{origin.name}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def spool(chunks: Iterable[bytes], origin: Location) -> Reader:
    """Return a reader over data that arrives in pieces, such as a decompressed member.

    The pieces stay in memory up to SPOOL_IN_MEMORY and go to an unnamed temporary file beyond,
    which is then mapped. The caller's iterator enforces size and ratio limits as it yields.
    """
    import tempfile  # 3 ms that a scan without compressed members need not pay

    with tempfile.SpooledTemporaryFile(max_size=SPOOL_IN_MEMORY) as file:
        size = 0
        for chunk in chunks:
            file.write(chunk)
            size += len(chunk)
        if size <= SPOOL_IN_MEMORY:
            file.seek(0)
            return from_bytes(file.read(), origin)
        file.flush()
        return from_descriptor(file.fileno(), origin)


def forget(view: memoryview, begin: int, end: int, *, ahead: bool = True) -> None:
    """Let go of the pages of a mapped file between two offsets and just around; they are read again when needed.

    Whoever reads on behind `end` asks for nothing `ahead` of it to be let go: it would be mapped a second time.
    """
    if isinstance(view.obj, mmap.mmap) and hasattr(view.obj, "madvise"):
        first = max(0, begin - AROUND) // mmap.PAGESIZE * mmap.PAGESIZE
        view.obj.madvise(mmap.MADV_DONTNEED, first, min(end + AROUND * ahead, len(view)) - first)


def sparing(view: bytes | memoryview, items: Iterable[T]) -> Iterable[T]:
    """Return items for each of which a few bytes of a mapped file are looked at, and let go of them now and then.

    With each place that is looked at, up to AROUND bytes are mapped, which only matters where the file is large.
    """
    return _sparing(view, items) if len(view) > _LARGE and isinstance(view, memoryview) else items


def _sparing(view: memoryview, items: Iterable[T]) -> Iterator[T]:
    for number, item in enumerate(items, 1):
        yield item
        if number % _OFTEN == 0:
            forget(view, 0, len(view))
