"""Leaves: the digests by which a loader verifies a part of a file without reading the rest.

A file is cut into spans, and each span into chunks of 1 MiB; a leaf is the sha256 of a chunk. The spans of a
safetensors file are its header (with the eight bytes before it) and each tensor in the order of the file, so that a
tensor is verified without its neighbours; any other file is one span. The root of a file is the sha256 of one line of
ASCII and the leaves behind it:

    weighbridge leaves 1 <tensors or bytes> <size of the file> <leaves> <fs-verity digest in hex, or ->

The root says nothing of the file's path: it stands in the signed approval beside the path. The leaves themselves stand
in `approval.leaves`, which need not be trusted: a line `weighbridge leaves 1`, then for each file its root, its
fs-verity digest (32 bytes each; zeros where the file had none), the number of its leaves (eight bytes, little-endian)
and the leaves.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from typing import Final, NamedTuple

from weighbridge import header
from weighbridge.artifact import MAX_FILES
from weighbridge.location import printable
from weighbridge.reading import fill, pread
from weighbridge.records import dataclass
from weighbridge.refusals import ApprovalMalformed, ChangedDuringRead

CHUNK: Final = 1 << 20  # bytes to a leaf: 4.3 MB of leaves for 140 GB; from 64 KiB to 8 MiB the rate is the same
DIGEST: Final = 32  # bytes of a sha256
MAGIC: Final = b"weighbridge leaves 1\n"
TENSORS: Final = "safetensors"  # the format whose spans are tensors
_NONE: Final = bytes(DIGEST)
_FIX: Final = "approve the model again, or fetch the file that belongs to its approval"
_RECORD: Final = 2 * DIGEST + 8  # bytes before the leaves of a file
_BLOCK: Final = 4 << 20  # bytes that are read while the blocks before are hashed
_BLOCKS: Final = 4  # with two, whoever hashes one faster waits for who hashes the other


class Span(NamedTuple):
    """A part of a file whose leaves are its own: bytes from `begin` to `end`, leaves from `first` on.

    `name` is that of the tensor, or empty: the header, or a file without tensors.
    """

    name: str
    begin: int
    end: int
    first: int

    @property
    def leaves(self) -> int:
        """How many leaves it has."""
        return -(-(self.end - self.begin) // CHUNK)

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Yield where each chunk begins and ends in the file."""
        for begin in range(self.begin, self.end, CHUNK):
            yield begin, min(begin + CHUNK, self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaves:
    """The leaves of a file, one behind another, and its fs-verity digest where it had one when it was measured."""

    digests: bytes
    verity: bytes = b""

    def __len__(self) -> int:
        return len(self.digests) // DIGEST

    def __getitem__(self, index: int) -> bytes:
        return self.digests[DIGEST * index : DIGEST * (index + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a file is approved by: its sha256 in hexadecimal, its size in bytes, its leaves and their root in hex."""

    sha256: str
    size: int
    leaves: Leaves
    root: str


def spans(size: int, head: header.Header | None) -> tuple[Span, ...]:
    """Return the spans of a file of `size` bytes in order; `head` is that of a safetensors file."""
    if head is None:
        return (Span("", 0, size, 0),) if size else ()
    found = [Span("", 0, head.data, 0)]
    for tensor in head.tensors:
        found.append(Span(tensor.name, tensor.begin, tensor.end, found[-1].first + found[-1].leaves))
    return tuple(found)


def most(size: int, format: str) -> int:
    """Return how many leaves a file of a size and format can have."""
    return -(-size // CHUNK) + (header.MAX_TENSORS + 1 if format == TENSORS else 0)


def longest(files: Iterable[tuple[int, str]]) -> int:
    """Return how many bytes the sidecar of files of these sizes and formats can have."""
    return len(MAGIC) + sum(_RECORD + DIGEST * most(size, format) for size, format in files)


def root(size: int, format: str, leaves: Leaves) -> str:
    """Return the root of a file's leaves in hexadecimal."""
    kind, verity = "tensors" if format == TENSORS else "bytes", leaves.verity.hex() or "-"
    line = f"weighbridge leaves 1 {kind} {size} {len(leaves)} {verity}\n"
    return hashlib.sha256(line.encode("ascii") + leaves.digests).hexdigest()


def measure(descriptor: int, format: str, where: str = "", *, written: Callable[[int], None] | None = None) -> Measured:
    """Return what an open file is approved by, read once from its first byte to its last.

    `format` is the name of the format that it was examined as. A file that is still being written has its size and its
    header, and `written` waits until everything before a place is there.

    Raises MalformedHeader when a safetensors file is none that the loader would take, ChangedDuringRead when somebody
    else writes to the file meanwhile.
    """
    before = os.fstat(descriptor)
    head = read_header(descriptor, before.st_size, where) if format == TENSORS else None
    whole, digests = hashlib.sha256(), bytearray()
    buffers = cycle([memoryview(bytearray(min(_BLOCK, before.st_size))) for _ in range(_BLOCKS)])
    with ThreadPoolExecutor(1, "whole") as one, ThreadPoolExecutor(1, "leaves") as other:
        waiting: deque[Future[None]] = deque()
        for chunks, buffer in zip(_runs(spans(before.st_size, head)), buffers, strict=False):
            begin, end = chunks[0][0], chunks[-1][1]
            if written is not None:
                written(end)
            block = buffer[: end - begin]
            count = fill(descriptor, block, begin)
            if count != len(block):
                raise ChangedDuringRead(where, "the file became shorter while it was measured")
            waiting += one.submit(whole.update, block), other.submit(_extend, digests, block, chunks)
            while len(waiting) > 2 * (_BLOCKS - 1):
                waiting.popleft().result()
        for future in waiting:
            future.result()
    if written is None and state(os.fstat(descriptor)) != state(before):
        raise ChangedDuringRead(where, "the file was written to while it was measured")
    leaves = Leaves(digests=bytes(digests), verity=verity(descriptor))
    found = root(before.st_size, format, leaves)
    return Measured(sha256=whole.hexdigest(), size=before.st_size, leaves=leaves, root=found)


def read_header(descriptor: int, size: int, where: str) -> header.Header:
    """Return the header of an open safetensors file of `size` bytes, unverified; raise MalformedHeader."""
    end = header.length(pread(descriptor, 0, min(size, header.PREFIX)), size, where)
    return header.parse(pread(descriptor, header.PREFIX, end), size, where)


def state(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes when somebody writes to a file."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _runs(parts: Iterable[Span]) -> Iterator[list[tuple[int, int]]]:
    """Yield the chunks of spans in runs of at most _BLOCK bytes; they lie end to end."""
    run: list[tuple[int, int]] = []
    for span in parts:
        for begin, end in span.chunks():
            if run and end - run[0][0] > _BLOCK:
                yield run
                run = []
            run.append((begin, end))
    if run:
        yield run


def _extend(digests: bytearray, block: memoryview, chunks: list[tuple[int, int]]) -> None:
    start = chunks[0][0]
    for begin, end in chunks:
        digests += hashlib.sha256(block[begin - start : end - start]).digest()


def sidecar(files: Iterable[Measured]) -> Iterator[bytes]:
    """Yield the bytes of `approval.leaves` for files that were measured; of two with the same root one is enough."""
    yield MAGIC
    seen: set[str] = set()
    for file in files:
        if file.root not in seen:
            seen.add(file.root)
            verity = file.leaves.verity or _NONE
            yield bytes.fromhex(file.root) + verity + len(file.leaves).to_bytes(8, "little") + file.leaves.digests


class Sidecar:
    """An open `approval.leaves`, of which nothing is believed: leaves count when their root is the approved one."""

    def __init__(self, descriptor: int, where: str) -> None:
        """Find the roots in it; raise ApprovalMalformed when it is none."""
        self._descriptor = descriptor
        self._where = where
        self._places: dict[str, tuple[int, int]] = {}
        size, position = os.fstat(descriptor).st_size, len(MAGIC)
        if pread(descriptor, 0, position) != MAGIC:
            raise ApprovalMalformed(where, "no leaves of this version", _FIX)
        while position < size:
            record = pread(descriptor, position, position + _RECORD)
            position += _RECORD
            count = int.from_bytes(record[2 * DIGEST :], "little")
            found = record[:DIGEST].hex()
            if position + count * DIGEST > size or found in self._places or len(self._places) >= MAX_FILES:
                raise ApprovalMalformed(where, f"broken at {position - _RECORD:#x}", _FIX)
            self._places[found] = (position - _RECORD, count)
            position += count * DIGEST

    def leaves(self, wanted: str, size: int, format: str) -> Leaves:
        """Return the leaves whose root is `wanted`, of a file of a size and format.

        Raises ApprovalMalformed when they are not there or are others.
        """
        place, count = self._places.get(wanted, (0, -1))
        if not 0 <= count <= most(size, format):
            raise ApprovalMalformed(self._where, f"no leaves for the root {printable(wanted)}", _FIX)
        record = pread(self._descriptor, place, place + _RECORD + count * DIGEST)
        verity = bytes(record[DIGEST : 2 * DIGEST])
        found = Leaves(digests=bytes(record[_RECORD:]), verity=b"" if verity == _NONE else verity)
        if root(size, format, found) != wanted:
            raise ApprovalMalformed(self._where, f"other leaves than the root {printable(wanted)} stands for", _FIX)
        return found


# linux/fsverity.h: FS_IOC_MEASURE_VERITY is _IOWR('f', 134, struct fsverity_digest), which begins with an algorithm and
# the size of the buffer behind it.
_MEASURE_VERITY: Final = 0xC0046686
_VERITY_SHA256: Final = 1


def verity(descriptor: int) -> bytes:
    """Return the fs-verity digest (sha256) by which the kernel holds an open file, empty where it does not.

    Such a file can be neither written to nor truncated, and what is read of it is what the digest stands for.

    Source: https://docs.kernel.org/filesystems/fsverity.html
    """
    try:
        from fcntl import ioctl
    except ImportError:  # Windows
        return b""
    answer = bytearray(struct.pack("<HH", 0, DIGEST) + bytes(DIGEST))
    try:
        ioctl(descriptor, _MEASURE_VERITY, answer)
    except OSError:  # no such file system, no such call, or not this file
        return b""
    algorithm, size = struct.unpack_from("<HH", answer)
    return bytes(answer[4:]) if (algorithm, size) == (_VERITY_SHA256, DIGEST) else b""
