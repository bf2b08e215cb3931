"""A safetensors file that was approved: its header verified and checked, and its bytes verified as they are read.

Bytes are read into memory of this process and hashed there, so what was verified is what is used, whatever happens to
the file meanwhile.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from weighbridge import header
from weighbridge.header import Header, Tensor
from weighbridge.leaves import CHUNK, TENSORS, Span, spans, state
from weighbridge.load.folder import Folder
from weighbridge.load.threads import share
from weighbridge.reading import fill, pread
from weighbridge.refusals import ApprovalMalformed, ChangedDuringLoad, DigestMismatch, UnsupportedFormat

# Chunks lie end to end in a run, which is read in one call: up to so many bytes, which stay in a processor's cache
# until they are hashed, and so many chunks.
_RUN: Final = CHUNK
_RUN_CHUNKS: Final = 512


class Chunk(NamedTuple):
    """A chunk of a file: its span, its number in it, and where it begins and ends in the file."""

    span: Span
    number: int
    begin: int
    end: int


class Source(Protocol):
    """Where a mode keeps the tensors of one file."""

    @property
    def header(self) -> Header:
        """The verified header."""

    def view(self, tensor: Tensor) -> Any:
        """Return the verified bytes of a tensor: memory, or what a framework has of them on a device."""

    def part(self, tensor: Tensor, needed: Iterable[int]) -> Any:
        """Return as many bytes as a tensor has, of which at least the chunks with the `needed` numbers are verified."""

    def close(self) -> None:
        """Release what is held open; tensors that were given out stay as they are."""


class Verified:
    """An approved safetensors file that is open.

    Opening it verifies the header: its bytes against their leaves first, then what it says.
    """

    def __init__(self, folder: Folder, path: str) -> None:
        """Open a file; raise what `Folder.open` does, UnsupportedFormat, DigestMismatch and MalformedHeader."""
        self.file = folder.file(path)
        self.where = folder.where(path)
        if self.file.format != TENSORS:
            fix = "`weighbridge convert` makes safetensors of weights"
            raise UnsupportedFormat(self.where, f"{self.file.format}, and only safetensors is loaded", fix)
        self.leaves = folder.leaves(self.file)
        self.descriptor = folder.open(path)
        try:
            self._state = state(os.fstat(self.descriptor))
            self.header = self._read_header()
            self.all_spans = spans(self.file.size, self.header)
        except BaseException:
            self.close()
            raise
        self.spans: Mapping[str, Span] = {span.name: span for span in self.all_spans[1:]}
        if self.all_spans[-1].first + self.all_spans[-1].leaves != len(self.leaves):
            self.close()
            raise ApprovalMalformed(self.where, "approved with another number of leaves than it has chunks")

    def close(self) -> None:
        """Close the file."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _read_header(self) -> Header:
        """Read the header once, verify those bytes, and only then look at what they say."""
        size = self.file.size
        prefix = pread(self.descriptor, 0, min(size, header.PREFIX))
        span = Span("", 0, header.length(prefix, size, self.where), 0)
        text = memoryview(pread(self.descriptor, 0, span.end))
        if text[: header.PREFIX] != prefix:
            raise ChangedDuringLoad(self.where, "the file was written to while it was loaded")
        for chunk in chunks(span):
            self.check(chunk, text[chunk.begin : chunk.end])
        return header.parse(bytes(text[header.PREFIX :]), size, self.where)

    def check(self, chunk: Chunk, view: memoryview) -> None:
        """Raise DigestMismatch when memory does not hold a chunk, ChangedDuringLoad when the file was written to."""
        index = chunk.span.first + chunk.number
        if len(view) == chunk.end - chunk.begin and hashlib.sha256(view).digest() == self.leaves[index]:
            return
        self.check_unchanged()
        raise DigestMismatch(self.where, chunk.span.name, chunk.number)

    def check_unchanged(self) -> None:
        """Raise ChangedDuringLoad when the file was written to, or has another size, since it was opened."""
        if state(os.fstat(self.descriptor)) != self._state:
            raise ChangedDuringLoad(self.where, "the file was written to while it was loaded")

    def read(self, wanted: Iterable[tuple[Chunk, memoryview]]) -> None:
        """Read chunks into memory and verify each; raise as `check` does when any is not the approved one."""
        share(self._read_run, list(_runs(wanted)))

    def _read_run(self, run: list[tuple[Chunk, memoryview]]) -> None:
        views = [view for _, view in run]
        done = os.preadv(self.descriptor, views, run[0][0].begin) if len(run) > 1 and hasattr(os, "preadv") else -1
        if done != sum(map(len, views)):
            for chunk, view in run:
                if fill(self.descriptor, view, chunk.begin) != len(view):
                    raise ChangedDuringLoad(self.where, "the file became shorter while it was loaded")
        for chunk, view in run:
            self.check(chunk, view)


def chunks(span: Span) -> Iterator[Chunk]:
    """Yield the chunks of a span."""
    for number, (begin, end) in enumerate(span.chunks()):
        yield Chunk(span, number, begin, end)


def _runs(wanted: Iterable[tuple[Chunk, memoryview]]) -> Iterator[list[tuple[Chunk, memoryview]]]:
    run: list[tuple[Chunk, memoryview]] = []
    for chunk, view in wanted:
        last = run[-1][0].end if run else chunk.begin
        if last != chunk.begin or len(run) == _RUN_CHUNKS or (run and chunk.end - run[0][0].begin > _RUN):
            yield run
            run = []
        run.append((chunk, view))
    if run:
        yield run


def whole(span: Span, view: memoryview) -> Iterator[tuple[Chunk, memoryview]]:
    """Yield the chunks of a span with their parts of the memory for all of it."""
    for chunk in chunks(span):
        yield chunk, view[chunk.begin - span.begin : chunk.end - span.begin]
