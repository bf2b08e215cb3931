"""What has arrived of a remote file: its bytes at their offsets, and a journal of the parts that are on disk.

The journal says `<begin> <end>` a line, and a line is written only after the bytes are on disk; so after any
interruption all that it names can be kept, and a line that was cut off is ignored.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Final

from weighbridge.records import dataclass, field
from weighbridge.store.layout import PRIVATE
from weighbridge.writing import PIECE

# How many bytes one request asks for when several connections share the work.
SEGMENT: Final = 64 << 20
# How much arrives before it is put on disk and into the journal. A process that is killed loses little more.
STEP: Final = 16 << 20
_sync_data: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have the second
_LINE: Final = re.compile(rb"(?m)^(\d{1,19}) (\d{1,19})$")
JOURNAL_LIMIT: Final = 64 << 20  # bytes; beyond any journal that STEP and the size of disks allow


@dataclass(slots=True)
class Span:
    """A part of a file, brought by itself: the bytes from `begin` to `end`, of which those to `position` are here.

    `settled` is how far they are in the journal.
    """

    begin: int
    end: int
    position: int
    settled: int


@dataclass(slots=True)
class Partial:
    """A download on disk; `spans` cover the file from its first byte to its last, in order."""

    folder: Path
    size: int
    spans: list[Span] = field(default_factory=list)
    descriptor: int = -1
    _lasting: bool = True
    _aside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "settle"))
    _settling: Future[None] | None = None
    _journal: int = -1
    _journaling: threading.Lock = field(default_factory=threading.Lock)
    _moving: threading.Lock = field(default_factory=threading.Lock)  # where there is but one position in a file

    def __enter__(self) -> Partial:
        self.folder.mkdir(mode=PRIVATE, exist_ok=True)
        arrived = self._read_journal() if self._data_is_there() else []
        if not arrived:
            self._start_afresh()
        self.descriptor = os.open(self.data, os.O_RDWR | getattr(os, "O_BINARY", 0))
        self._journal = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(self._journal, b"\n")  # ends a line that was cut off
        self.spans = list(_spans(arrived, self.size))
        return self

    def __exit__(self, *_: object) -> None:
        self._aside.shutdown()
        os.close(self._journal)
        os.close(self.descriptor)

    @property
    def data(self) -> Path:
        """Where the bytes lie."""
        return self.folder / "data"

    @property
    def journal(self) -> Path:
        """Where the parts that are on disk are named."""
        return self.folder / "journal"

    @property
    def arrived(self) -> int:
        """How many bytes are here."""
        return sum(span.position - span.begin for span in self.spans)

    @property
    def taken(self) -> int:
        """How much of its size the disk holds already; the download need not be open."""
        try:
            return min(self.size, getattr(self.data.stat(), "st_blocks", 0) * 512)
        except OSError:
            return 0

    def restart(self) -> None:
        """Begin with nothing, to bring the file in one span that no journal speaks of."""
        if self._settling is not None:
            self._settling.result()
        os.ftruncate(self._journal, 0)
        self._lasting = False
        self.spans = [Span(0, self.size, 0, 0)]

    def is_long(self, span: Span) -> bool:
        """Tell whether more is missing of a span than one of several connections would ask for."""
        return span.end - span.position > SEGMENT

    def divide(self, busy: Span) -> list[Span]:
        """Cut what is missing behind a span that somebody brings into segments, and return them for others to bring.

        The span itself ends after another segment. All of the spans before it must be here.
        """
        if not self._lasting:
            return []
        at, end = self.spans.index(busy), min(busy.position + SEGMENT, busy.end)
        rest = list(_segments(end, busy.end))
        for span in self.spans[at + 1 :]:
            rest += [span] if span.position == span.end else _segments(span.begin, span.end)
        busy.end = end
        self.spans[at + 1 :] = rest
        return [span for span in rest if span.position < span.end]

    def write(self, span: Span, piece: bytes | memoryview) -> None:
        """Put the next bytes of a span to their place; what has grown by a STEP is settled, in another thread."""
        view = memoryview(piece)
        while view:
            count = self._write_at(view, span.position)
            view = view[count:]
            span.position += count
        if span.position - span.settled >= STEP:
            self._settle_aside(span)

    def settle(self, span: Span) -> None:
        """Have the bytes of a span on disk, and say so in the journal."""
        if self._settling is not None:
            self._settling.result()  # the system tells of a failed write once, which may have been there
        self._settle_now(span)

    def _settle_aside(self, span: Span) -> None:
        """Have another thread settle a span, unless it still settles what came before."""
        with self._journaling:
            if self._settling is None or self._settling.done():
                if self._settling is not None:
                    self._settling.result()
                self._settling = self._aside.submit(self._settle_now, span)

    def _settle_now(self, span: Span) -> None:
        settled, position = span.settled, span.position  # of which others may change both meanwhile
        if position > settled and self._lasting:
            _sync_data(self.descriptor)
            with self._journaling:
                os.write(self._journal, b"%d %d\n" % (settled, position))
                span.settled = max(span.settled, position)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill a buffer with bytes that were written at an offset, and return how many they are."""
        if hasattr(os, "preadv"):
            return os.preadv(self.descriptor, [buffer], offset)
        with self._moving:
            os.lseek(self.descriptor, offset, os.SEEK_SET)
            data = os.read(self.descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _write_at(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self.descriptor, view[:PIECE], offset)
        with self._moving:
            os.lseek(self.descriptor, offset, os.SEEK_SET)
            return os.write(self.descriptor, view[:PIECE])

    def discard(self) -> None:
        """Remove what is left of the download when its bytes have become a file of the store or are of no use."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _data_is_there(self) -> bool:
        try:
            return os.lstat(self.data).st_size == self.size
        except FileNotFoundError:
            return False

    def _start_afresh(self) -> None:
        """Begin with nothing; the journal goes first, because it must never speak of bytes that are not there."""
        self.journal.unlink(missing_ok=True)
        with self.data.open("wb") as file:
            file.truncate(self.size)

    def _read_journal(self) -> list[tuple[int, int]]:
        """Return the parts that are on disk, in order and joined."""
        try:
            if self.journal.stat().st_size > JOURNAL_LIMIT:
                return []
            lines = self.journal.read_bytes()
        except FileNotFoundError:
            return []
        joined: list[tuple[int, int]] = []
        for begin, end in sorted((int(a), int(b)) for a, b in _LINE.findall(lines)):
            if not begin < end <= self.size:
                return []  # the journal of another file
            if joined and begin <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((begin, end))
        return joined


def _spans(arrived: list[tuple[int, int]], size: int) -> Iterator[Span]:
    """Yield what has arrived and what has not."""
    edges = [(0, 0), *arrived, (size, size)]
    for (before, missing), (begin, _) in pairwise(edges):
        if missing > before:
            yield Span(before, missing, missing, missing)
        if begin > missing:
            yield Span(missing, begin, missing, missing)


def _segments(begin: int, end: int) -> Iterator[Span]:
    """Yield spans of which nothing is here."""
    for offset in range(begin, end, SEGMENT):
        yield Span(offset, min(offset + SEGMENT, end), offset, offset)
