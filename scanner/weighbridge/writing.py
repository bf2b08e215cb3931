"""Files that appear whole or not at all: written beside their place, put on disk, and renamed.

Large ones are written at offsets, and the disk begins with what is there while the rest is written.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from weighbridge.errors import SourceError, WeighbridgeError
from weighbridge.location import printable

# Bytes of one write. Linux takes memory in pieces as large as what it is given, and a virtual machine may have to have
# large pieces back from its host first: 2 GiB then take between 1.5 and 4 s, and 1.5 s in pieces of up to this.
PIECE: Final = 256 << 10
# Bytes after which the disk is told to begin; to be told every 2 MiB costs 0.15 s a GiB.
_BEHIND: Final = 8 << 20

_KEPT: Final = 40  # characters of a name, in that of the file until it has its place; systems take 255 bytes


def write(
    path: Path, pieces: Iterable[bytes], *, error: type[WeighbridgeError] = SourceError, mode: int = 0o644
) -> None:
    """Write the bytes of a file, in place of an older one if there is one.

    Raises `error` when the system refuses, or something else than a file is there: a device is not to be replaced.
    """
    new = path.with_name(f".{path.name[:_KEPT]}.{secrets.token_hex(8)}")
    try:
        try:
            if path.exists() and not path.is_file():
                raise error(f"{printable(str(path))}: something is there that is no file; name another place")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as problem:
        raise error(f"{printable(str(path))}: {problem.strerror or problem}") from problem


def write_at(descriptor: int, data: bytes | bytearray | memoryview, position: int) -> int:
    """Write all of the bytes at `position` of an open file; return the position behind them."""
    view = memoryview(data)
    if not hasattr(os, "pwrite"):
        os.lseek(descriptor, position, os.SEEK_SET)
    while view.nbytes:
        piece = view[:PIECE]
        count = os.pwrite(descriptor, piece, position) if hasattr(os, "pwrite") else os.write(descriptor, piece)
        view, position = view[count:], position + count
    return position


class Writeback:
    """Has the disk begin with what was written to an open file, while the rest is: there is little to wait for then."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = 0

    def advance(self, position: int) -> None:
        """Say that everything before `position` is written."""
        if position - self._begun >= _BEHIND and hasattr(os, "posix_fadvise"):
            # Linux begins to write dirty pages that are not needed any more, and only forgets clean ones.
            os.posix_fadvise(self._descriptor, self._begun, position - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = position
