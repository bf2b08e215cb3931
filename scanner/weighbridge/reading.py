"""Files that somebody names, read whole: no pipe is waited for, and no more is held than the caller allows."""

from __future__ import annotations

import os
import stat
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
