"""A `Reader` over a file that is somewhere else: only the blocks that a parser looks at are fetched.

What has not been fetched is a gap and stays one: whoever asks for too many bytes gets `NotFetchedError`, which a scan
turns into a `Gap`, and nobody who asks for a large part as a buffer gets zeros instead of it.
"""

from __future__ import annotations

import mmap
from typing import Final, Protocol

from weighbridge.errors import LimitError, TruncatedError
from weighbridge.location import Location
from weighbridge.reader import HEAD, TAIL, Reader, Sample
from weighbridge.records import dataclass

# The `limit` of a gap that only the whole download closes.
TRIAGE: Final = "triage"
# Requests cost more than bytes: in blocks of this size the directory of an archive, its pickle and both ends of a file
# take one request each, and together 0.02 % of a gigabyte.
BLOCK: Final = 1 << 15
# Blocks of the first request: the pickle of a checkpoint and the header of safetensors stand at the beginning.
FIRST: Final = 3
# Blocks of a request at most, when one follows where the one before ended; each is twice as long as the one before.
LONGEST: Final = 128
# A part up to this size is fetched in one request when a parser wants it as a buffer, such as a pickle in an archive.
WHOLE: Final = 8 << 20


class NotFetchedError(LimitError):
    """The bytes are there, but not here: only the whole download shows them."""


class Remote(Protocol):
    """Bytes by range."""

    @property
    def size(self) -> int:
        """How many there are."""

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes at `offset`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How much of one file may be fetched, in bytes and in requests."""

    fetched: int = 64 << 20
    requests: int = 512


class Blocks:
    """What was fetched of a remote file; `fetched` and `requests` count what it took.

    `image` has the size of the file and holds its blocks at their places; all others take no space.
    """

    def __init__(self, remote: Remote, allowance: Allowance) -> None:
        self.remote = remote
        self.allowance = allowance
        self.fetched = 0
        self.requests = 0
        self._loaded: set[int] = set()
        self._next = 0  # the block behind the last request
        self._ahead = FIRST
        self.image = memoryview(_reserve(remote.size) if remote.size else b"")

    def load(self, begin: int, end: int, place: Location) -> None:
        """Fetch the blocks of the bytes from `begin` up to `end` that are missing.

        Raises NotFetchedError when that would take more than is allowed.
        """
        wanted = range(begin // BLOCK, (end - 1) // BLOCK + 1) if begin < end else range(0)
        missing = [index for index in wanted if index not in self._loaded]
        if not missing:
            return
        first, behind = missing[0], missing[-1] + 1
        start, stop = first * BLOCK, min(behind * BLOCK, self.remote.size)
        if self.fetched + stop - start > self.allowance.fetched or self.requests >= self.allowance.requests:
            raise NotFetchedError(place, "more than may be fetched of one file")
        behind = max(behind, self._read_ahead(first))
        stop = min(behind * BLOCK, self.remote.size)
        self.fetched += stop - start
        self.requests += 1
        self.image[start:stop] = self.remote.read(start, stop - start)
        self._loaded.update(range(first, behind))
        self._next = behind

    def _read_ahead(self, first: int) -> int:
        """Return the block up to which a request that begins at the block `first` should go."""
        follows = first == self._next
        self._ahead = (min(2 * self._ahead, LONGEST) if self._loaded else FIRST) if follows else 1
        left = (self.allowance.fetched - self.fetched) // BLOCK
        ahead = range(first, first + min(self._ahead, left))
        return next((index for index in ahead if index in self._loaded), ahead.stop)

    def holds(self, begin: int, end: int) -> bool:
        """Tell whether all bytes from `begin` up to `end` were fetched."""
        return all(index in self._loaded for index in range(begin // BLOCK, (end - 1) // BLOCK + 1))


def _reserve(size: int) -> mmap.mmap:
    """Return a map of an unnamed file that takes space only where it is written."""
    import tempfile  # 3 ms that a scan of local files need not pay

    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        return mmap.mmap(file.fileno(), size)


class RangeReader(Reader):
    """A window on a remote file: `begin` is where it begins there; `blocks` are shared by all windows of the file."""

    def __init__(self, blocks: Blocks, origin: Location, begin: int = 0, size: int | None = None) -> None:
        self.blocks = blocks
        self.begin = begin
        self.origin = origin
        self.size = blocks.remote.size if size is None else size
        self.position = 0

    @property
    def view(self) -> memoryview:  # type: ignore[override]  # an attribute of readers whose bytes are here
        """All bytes of the window. Raises NotFetchedError when they are more than `WHOLE`."""
        if self.size > WHOLE:
            raise NotFetchedError(self.origin, "not all of it was fetched")
        self.load(0, self.size)
        return self.image

    @property
    def image(self) -> memoryview:
        """The bytes of the window as far as they were fetched, and zeros where they were not."""
        return self.blocks.image[self.begin : self.begin + self.size]

    @property
    def sample(self) -> Sample:
        """Both ends of the window."""
        tail = max(0, self.size - TAIL)
        return Sample(self.read(0, min(HEAD, self.size)), self.read(tail, self.size - tail), self.size)

    def load(self, begin: int, end: int) -> None:
        """Fetch a part of the window, whatever of it lies within; raise NotFetchedError when that is too much."""
        begin, end = max(0, begin), min(end, self.size)
        self.blocks.load(self.begin + begin, self.begin + end, self.at(begin))

    def holds(self, begin: int, end: int) -> bool:
        """Tell whether a part of the window was fetched."""
        return self.blocks.holds(self.begin + begin, self.begin + end)

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes at `offset`, leaving the cursor alone."""
        self._check(offset, count)
        self.load(offset, offset + count)
        return bytes(self.image[offset : offset + count])

    def peek(self, count: int) -> bytes:
        """Return up to `count` bytes at the cursor without moving it."""
        return self.read(self.position, min(count, self.remaining))

    def window(self, offset: int, count: int, member: str | None = None) -> Reader:
        """Return a reader over a part of this one; nothing is fetched for it yet."""
        self._check(offset, count)
        origin = self.at(offset) if member is None else self.origin.inside(member)
        return RangeReader(self.blocks, origin, self.begin + offset, count)

    def _check(self, offset: int, count: int) -> None:
        if offset < 0 or count < 0 or offset + count > self.size:
            left = max(0, self.size - max(0, offset))
            raise TruncatedError(self.at(max(0, offset)), f"want {count} bytes, {left} left")
