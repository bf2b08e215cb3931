"""Locks between processes: advisory locks on files, which the system drops when their holder dies in whatever way.

On Windows there are exclusive locks only: a shared lock is not taken there, so `weighbridge store gc` should not run
beside a pull; files that are open cannot be removed under Windows anyway.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# How long to wait between two attempts, in seconds. A blocking call could not be told to stop.
PAUSE: Final = 0.05


@contextmanager
def holding(path: Path, *, shared: bool = False, pause: Callable[[float], bool]) -> Iterator[None]:
    """Hold the lock on the file at `path`, which is made when it is not there.

    `pause` is called between two attempts with the seconds to wait; it returns True, or raises, to give up.

    Raises BlockingIOError when `pause` gave up, OSError when the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        while not _take(descriptor, shared=shared):
            if pause(PAUSE):
                raise BlockingIOError(0, "held by another process")
        yield
    finally:
        os.close(descriptor)  # which drops the lock


if sys.platform == "win32":

    def _take(descriptor: int, *, shared: bool) -> bool:
        import msvcrt

        if shared:
            return True
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:

    def _take(descriptor: int, *, shared: bool) -> bool:
        import fcntl

        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
