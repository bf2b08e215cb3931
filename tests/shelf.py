"""A registry in memory: files at a revision, and what goes wrong with them on request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle

from weighbridge.artifact import Artifact, File
from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UnavailableError, WholeOnlyError
from weighbridge.registries.base import LENT

REFERENCE = "shelf://acme/model"
PIECE = 1 << 16


@dataclass
class Shelf:
    """A registry of one model.

    `claims` says which digests it declares of a file; `swapped` are bytes that it sends instead of what it listed;
    `breaks` is called with the path and the offset before every piece and may raise; `whole` gives no ranges;
    `lends` has it send pieces in memory that it uses again.
    """

    files: dict[str, bytes]
    revision: str = "1" * 40
    claims: Callable[[bytes], tuple[Digest, ...]] = lambda data: (Digest.of(data),)
    swapped: dict[str, bytes] = field(default_factory=dict)
    breaks: Callable[[str, int], None] = lambda path, offset: None
    whole: bool = False
    lends: bool = False
    packed: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    sent: int = 0

    def resolve(self, reference: str) -> Artifact:
        """Return the model."""
        requested = reference.removeprefix(REFERENCE).removeprefix("@")
        if requested not in ("", "main", self.revision):
            raise SourceError(f"{reference}: no such revision")
        return self.artifact(requested)

    def artifact(self, requested: str = "main") -> Artifact:
        """Return the model as an artifact."""
        files = tuple(
            File(path=path, size=len(data), claims=self.claims(data), packing=self.packed.get(path, ""))
            for path, data in self.files.items()
        )
        return Artifact(reference=REFERENCE, requested=requested, revision=self.revision, files=files)

    def open(self, artifact: Artifact, file: File) -> _Bytes:
        """Return the bytes of a file."""
        kind = _Lent if self.lends else _Bytes
        return kind(self, file.path, self.swapped.get(file.path, self.files[file.path]))


@dataclass
class _Bytes:
    shelf: Shelf
    path: str
    data: bytes

    @property
    def size(self) -> int:
        return len(self.shelf.files[self.path])

    def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]

    def stream(self, begin: int, end: int) -> Iterator[bytes]:
        self.shelf.asked.append((self.path, begin, end))
        if self.shelf.whole and (begin, end) != (0, self.size):
            raise WholeOnlyError(f"{self.path}: the server ignores Range")
        for offset in range(begin, end, PIECE):
            self.shelf.breaks(self.path, offset)
            piece = self.data[offset : min(offset + PIECE, end)]
            self.shelf.sent += len(piece)
            if piece:
                yield piece
        if len(self.data) < end:
            raise UnavailableError(f"{self.path}: the answer ends early")


class _Lent(_Bytes):
    @property
    def whole_only(self) -> bool:
        return self.shelf.whole

    def lend(self, begin: int, end: int) -> Iterator[memoryview]:
        buffers = cycle([bytearray(PIECE) for _ in range(LENT)])
        for piece, buffer in zip(self.stream(begin, end), buffers, strict=False):
            buffer[: len(piece)] = piece
            yield memoryview(buffer)[: len(piece)]


def git_sha1(data: bytes) -> Digest:
    """Return the digest of a git blob."""
    return Digest("git-sha1", hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())
