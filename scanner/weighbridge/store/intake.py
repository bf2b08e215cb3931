"""Files of this machine into the store while they are digested: every byte is read once.

A folder has no revision but the digest of its bytes. Whoever wants them in the store takes them in while they are read
for it; what the store then has is what was digested, whoever writes to the folder meanwhile.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Final

from weighbridge.artifact import Artifact, File
from weighbridge.digest import Digest
from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.reading import fill
from weighbridge.registries.base import LENT
from weighbridge.store.layout import Store, wait
from weighbridge.store.sums import Behind, Sums
from weighbridge.store.transfer import Progress
from weighbridge.writing import Writeback, write_at

# Bytes of the smallest file that is taken in. A smaller one costs little to read twice, and waits for the disk beside
# others when it is fetched.
WORTH: Final = 8 << 20
_PIECE: Final = 2 << 20


def _everything(_: object) -> bool:
    return True


class Intake:
    """Takes large files into the store while they are digested, as far as they are wanted and not there yet.

    `wanted` says which paths are, `admits` whether anything of an artifact is, which has no revision yet; `progress` is
    told of every piece. `fresh` are the sha256 of files of the store of which every byte was digested just now, and
    `received` counts the bytes that came into it.

    Raises SourceError when the store cannot take it.
    """

    def __init__(
        self,
        store: Store,
        *,
        wanted: Callable[[str], bool] = _everything,
        admits: Callable[[Artifact], bool] = _everything,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.fresh: set[str] = set()
        self.received = 0
        self._store = store
        self._wanted = wanted
        self._admits = admits
        self._progress = progress
        self._account = threading.Lock()
        self._total = 0
        self._closed = True

    def begin(self, artifact: Artifact) -> None:
        """Learn what is there; raise SourceError when the disk cannot take what is missing."""
        self._closed = not self._admits(artifact)
        self._total = sum(file.size for file in artifact.files)
        needed = sum(file.size for file in artifact.files if self._takes(file) and self._held(file) is None)
        if needed:
            self._store.check_space(needed, printable(artifact.reference))

    def digest(self, file: File, descriptor: int) -> Digest:
        """Return the sha256 of an open file, which is in the store then if it is wanted and large."""
        if not self._takes(file):
            return Digest.of_descriptor(descriptor)
        with self._store.trouble(), self._store.downloading(_key(file), wait):
            held = self._held(file)
            found = self._compared(file, descriptor, held) if held is not None else None
            if found is None:
                with self._store.incoming() as new:
                    found = self._copied(file, descriptor, new)
                    self._store.add(new, found.value)
                self._store.remember(_key(file), found.value)
        self.fresh.add(found.value)
        return found

    def _takes(self, file: File) -> bool:
        return not self._closed and file.size >= WORTH and self._wanted(file.path)

    def _held(self, file: File) -> str | None:
        """Return the sha256 that a file had when it was taken in, if the store still has that; it is not believed."""
        sha256 = self._store.known(_key(file))
        return sha256 if sha256 is not None and self._store.has(sha256, file.size) else None

    def _compared(self, file: File, source: int, held: str) -> Digest | None:
        """Return the sha256 of an open file when what the store has is the same, byte for byte, and what its name says.

        Both are read for what one digest costs.
        """
        sums, done = Sums(file.size, (), printable(file.path)), 0
        other = bytearray(_PIECE)
        with self._store.path(held).open("rb", buffering=0) as kept, Behind(sums) as behind:
            for buffer in cycle([bytearray(_PIECE) for _ in range(LENT)]):
                count = _read(file, source, memoryview(buffer), done)
                if not count or fill(kept.fileno(), memoryview(other)[:count], done) != count:
                    break
                # Bytearrays are compared by `memcmp`, views item by item.
                if buffer != other if count == _PIECE else buffer[:count] != other[:count]:
                    break
                behind.add(memoryview(buffer)[:count])
                done += count
            behind.wait()
        return Digest("sha256", held) if (done, sums.sha256) == (file.size, held) else None

    def _copied(self, file: File, source: int, new: Path) -> Digest:
        """Copy an open file; return the sha256 of what was written."""
        sums, done = Sums(file.size, (), printable(file.path)), 0
        buffers = cycle([memoryview(bytearray(_PIECE)) for _ in range(LENT)])
        with new.open("xb", buffering=0) as target, Behind(sums) as behind:
            writeback = Writeback(target.fileno())
            for buffer in buffers:
                count = _read(file, source, buffer, done)
                if not count:
                    break
                if done + count > file.size:
                    raise SourceError(f"{printable(file.path)}: the file grows while it is read")
                behind.add(buffer[:count])
                done = write_at(target.fileno(), buffer[:count], done)
                writeback.advance(done)
                self._count(count)
            behind.wait()
        return Digest("sha256", sums.sha256)

    def _count(self, received: int) -> None:
        with self._account:
            self.received += received
            if self._progress is not None:
                self._progress(Progress(total=self._total, present=0, received=self.received))


def _read(file: File, descriptor: int, buffer: memoryview, position: int) -> int:
    """Fill a buffer from an open file; what goes wrong there is no trouble of the store's."""
    try:
        return fill(descriptor, buffer, position)
    except OSError as error:
        raise SourceError(f"{printable(file.path)}: {error.strerror or error}") from error


def _key(file: File) -> str:
    """Return what names a file on this machine as long as nobody writes to it."""
    return hashlib.sha256(f"file {file.key}".encode()).hexdigest()
