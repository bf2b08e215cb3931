"""Files read whole or at offsets: no pipe is waited for, and no more is held than the caller allows."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Final

from weighbridge.errors import SourceError, WeighbridgeError
from weighbridge.location import printable

_OPEN: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def read_file(path: Path, limit: int, *, error: type[WeighbridgeError] = SourceError) -> bytes:
    """Return the bytes of a regular file; raise `error` when they cannot be had or are more than `limit`."""
    name = printable(str(path))
    try:
        descriptor = os.open(path, _OPEN)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise error(f"{name}: not a file")
            with open(descriptor, "rb", closefd=False) as file:
                raw = file.read(limit + 1)
        finally:
            os.close(descriptor)
    except OSError as problem:
        raise error(f"{name}: {problem.strerror or problem}") from problem
    if len(raw) > limit:
        raise error(f"{name}: longer than {limit} bytes")
    return raw


def pread(descriptor: int, begin: int, end: int) -> bytearray:
    """Return the bytes of an open file from `begin` to `end`, fewer where it ends before."""
    data = bytearray(end - begin)
    return data[: fill(descriptor, memoryview(data), begin)]


def fill(descriptor: int, view: memoryview, begin: int) -> int:
    """Read from an open file at `begin` into memory until it is full or the file ends; return how many bytes."""
    done = 0
    while done < len(view) and (count := _preadv(descriptor, [view[done:]], begin + done)):
        done += count
    return done


def _seek_and_read(descriptor: int, views: list[memoryview], begin: int) -> int:
    """Do what `os.preadv` does where there is none, one thread at a time."""
    with _SEEKING, open(descriptor, "rb", buffering=0, closefd=False) as raw:
        raw.seek(begin)
        return raw.readinto(views[0])


_SEEKING: Final = threading.Lock()
_preadv: Final = getattr(os, "preadv", _seek_and_read)
