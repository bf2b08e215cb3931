"""Moving bytes: files in parallel, and a large file over one connection or, where that is slow, over several.

One connection brings a file in order, and its pieces are digested in another thread while the next arrive. When it
turns out to be slower than what a machine can take, others bring segments of the rest. These arrive out of order and a
digest needs order, so whoever is responsible for the file follows the front of what has arrived without a hole, and
digests it from the page cache right behind the writers. Memory is a few pieces for each file, whatever its size.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Final

from weighbridge.digest import CHUNK, Digest
from weighbridge.errors import SourceError, UnavailableError, WholeOnlyError
from weighbridge.records import dataclass
from weighbridge.registries.base import Lender, Remote
from weighbridge.store.partial import Partial, Span
from weighbridge.store.sums import Behind, Sums

# A connection that breaks is taken up again where it broke; one that keeps breaking without bringing enough is not.
# A registry repeats by itself what is not answered at all, so an answer that brings nothing gets one more chance.
RESTARTS: Final = 5
IDLE: Final = 1
_WORTH: Final = 1 << 20
# Bytes a second of waiting that one connection must bring to be left alone: two gigabits a second are near what several
# connections could be digested and written at, and each of them costs. It is judged after so many seconds of waiting.
FAST: Final = 200e6
PROBE: Final = 0.1
# Seconds between two looks at a front that nobody reports from: a report may have come before anybody waited for it.
_PATIENCE: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a fetch is, in bytes: of `total` there were `present` before, and `received` have arrived."""

    total: int
    present: int
    received: int


class StoppedError(Exception):
    """Another part of the same fetch has failed, so this one gives up."""


class Crew:
    """Those who fetch the files of one artifact: they share the connections, the account and the word to stop."""

    def __init__(self, connections: int, total: int, progress: Callable[[Progress], None] | None) -> None:
        self._free = threading.BoundedSemaphore(connections)
        self._ranges = ThreadPoolExecutor(connections, "range")
        self._stop = threading.Event()
        self._progress = progress
        self._account = threading.Lock()
        self._total = total
        self._present = 0
        self.received = 0

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._ranges.shutdown(cancel_futures=True)

    def stop(self) -> None:
        """Have everybody give up at the next piece."""
        self._stop.set()

    def pause(self, seconds: float) -> bool:
        """Wait, and tell whether to give up."""
        return self._stop.wait(seconds)

    def count(self, *, present: int = 0, received: int = 0) -> None:
        """Count bytes that were there before, and bytes that arrived."""
        with self._account:
            self._present += present
            self.received += received
            if self._progress is not None:
                self._progress(Progress(total=self._total, present=self._present, received=self.received))

    def check(self) -> None:
        """Raise StoppedError when it is time to give up."""
        if self._stop.is_set():
            raise StoppedError

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Take one of the connections, waiting for it."""
        while not self._free.acquire(timeout=0.1):
            self.check()
        try:
            yield
        finally:
            self._free.release()

    def submit(self, work: Callable[[Span], None], span: Span) -> Future[None]:
        """Have a span worked on beside the others."""
        return self._ranges.submit(work, span)


class Reception:
    """One file on its way from a remote into a partial download."""

    def __init__(self, crew: Crew, remote: Remote, partial: Partial, claims: tuple[Digest, ...], name: str) -> None:
        self._crew = crew
        self._remote = remote
        self._partial = partial
        self._claims = claims
        self._name = name
        self._front = threading.Condition()
        self._failed: BaseException | None = None
        self._halted = False
        self._helpers: list[Future[None]] = []
        self._sums = Sums(partial.size, claims, name)
        self._buffer = memoryview(bytearray(min(CHUNK, partial.size)))

    def run(self) -> Sums:
        """Bring what is missing of the file, and return the digests of all of it.

        A server that gives no parts is asked for the whole, which then cannot be resumed.

        Raises SourceError when a server sends anything but the bytes that were asked for; what has arrived until then
        stays in the partial download.
        """
        size = self._partial.size
        if self._remote.size != size:
            raise SourceError(f"{self._name}: it was listed with {size} bytes and has {self._remote.size}")
        arrived = self._partial.arrived
        self._crew.count(present=arrived)
        try:
            self._bring()
        except WholeOnlyError:
            self._crew.count(present=-arrived)
            self._partial.restart()
            self._failed, self._halted, self._helpers = None, False, []
            self._sums = Sums(size, self._claims, self._name)
            self._bring()
        return self._sums

    def _bring(self) -> None:
        with Behind(self._sums) as behind:
            try:
                for span in self._partial.spans:  # it is cut up behind the one that is being filled
                    if self._helpers:
                        self._follow(span)
                        continue
                    self._digest(span.begin, span.position)
                    self._fill(span, behind.add)
                    behind.wait()
                wait(self._helpers)
            except StoppedError:
                if self._failed is None:
                    raise
            finally:
                self._halted = True
                for future in self._helpers:
                    future.cancel()
                wait(self._helpers)  # nobody may write to the file any more when it is closed
        if self._failed is not None:
            raise self._failed

    def _follow(self, span: Span) -> None:
        """Digest a span behind those who write it."""
        offset = span.begin
        while offset < span.end:
            position = span.position
            if position - offset >= CHUNK or position == span.end:
                self._digest(offset, position)
                offset = position
                continue
            with self._front:
                if self._failed is not None:
                    raise self._failed
                self._front.wait(_PATIENCE)
            self._crew.check()

    def _digest(self, begin: int, end: int) -> None:
        """Digest bytes that were written."""
        buffer = self._buffer
        while begin < end:
            count = self._partial.read_into(begin, buffer[: end - begin])
            if not count:
                raise SourceError(f"{self._name}: somebody else has cut the partial download off")
            self._sums.update(buffer[:count])
            begin += count

    def _fail(self, error: BaseException) -> None:
        with self._front:
            self._failed = self._failed or error  # the first, of which others are consequences
            self._halted = True
            self._front.notify()

    def _fill_range(self, span: Span) -> None:
        if self._halted:
            return
        try:
            self._fill(span, self._tell)
        except BaseException as error:
            self._fail(error)
            raise

    def _tell(self, _: bytes | memoryview) -> None:
        with self._front:
            self._front.notify()

    def _fill(self, span: Span, arrived: Callable[[bytes | memoryview], None]) -> None:
        """Bring a span to its end, taking it up again where a connection breaks."""
        failures = 0
        while span.position < span.end:
            begin = span.position
            try:
                with self._crew.connection():
                    self._stream(span, arrived)
            except UnavailableError:
                moved = span.position - begin
                failures = 0 if moved >= _WORTH else failures + 1
                if failures > (RESTARTS if moved else IDLE) or span.position == span.end:
                    raise
            finally:
                self._partial.settle(span)

    def _stream(self, span: Span, arrived: Callable[[bytes | memoryview], None]) -> None:
        """Write the pieces of one answer, until the end that a span has by then."""
        asked, stream = span.end, self._ask(span)
        try:
            for piece in stream:
                self._crew.check()
                if self._halted:
                    raise StoppedError
                if len(piece) > asked - span.position:
                    raise SourceError(f"{self._name}: the answer is longer than what was asked for")
                taken = piece[: span.end - span.position]
                self._partial.write(span, taken)
                arrived(taken)
                self._crew.count(received=len(taken))
                if span.position == span.end < asked:
                    break
        finally:
            _close(stream)
        if span.position < span.end:
            raise UnavailableError(f"{self._name}: the answer ends {span.end - span.position} bytes early")

    def _ask(self, span: Span) -> Iterator[bytes | memoryview]:
        """Return what is missing of a span as it arrives."""
        if not self._partial.is_long(span):
            return self._remote.stream(span.position, span.end)
        ask = self._remote.lend if isinstance(self._remote, Lender) else self._remote.stream
        return self._watched(ask(span.position, span.end), span)

    def _watched(self, stream: Iterator[bytes | memoryview], span: Span) -> Iterator[bytes | memoryview]:
        """Pass an answer on, and call for helpers when there is a long wait for little of it."""
        waited, count, begun = 0.0, 0, 0.0
        try:
            for piece in stream:
                if begun:  # the first piece says how far away a server is, not how fast
                    waited, count = waited + time.monotonic() - begun, count + len(piece)
                if waited > PROBE and not self._helpers:
                    if count < FAST * waited and not (isinstance(self._remote, Lender) and self._remote.whole_only):
                        self._helpers = [self._crew.submit(self._fill_range, one) for one in self._partial.divide(span)]
                    waited, count = 0.0, 0
                yield piece
                begun = time.monotonic()
        finally:
            _close(stream)


def _close(stream: Iterator[bytes | memoryview]) -> None:
    """Have a generator give its connection back."""
    if close := getattr(stream, "close", None):
        close()
