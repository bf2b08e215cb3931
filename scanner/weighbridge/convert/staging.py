"""A folder that appears whole or not at all.

It is filled beside its place, under a name that begins with a dot, and renamed when everything in it is on disk. What
a killed run left under that name is removed by the next one, and a run that is still at work is noticed by its lock.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from weighbridge.errors import SourceError, UsageError
from weighbridge.location import printable


@contextmanager
def staged(destination: Path) -> Iterator[Path]:
    """Give an empty folder that is at `destination` after the block, unless the block raises; then it is gone.

    Raises UsageError when something is at the destination or another run is about to put it there, SourceError when the
    system refuses.
    """
    shown = printable(destination.as_posix())
    if destination.exists() or destination.is_symlink():
        raise UsageError(f"{shown} exists; name a folder that is still to be made")
    place = destination.parent / f".{destination.name}.part"
    try:
        lock = _claimed(place, shown)
        try:
            yield place
            _settle(place)
            _publish(place, destination, shown)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        finally:
            os.close(lock)
    except OSError as error:
        raise SourceError(f"{shown}: {error.strerror or error}") from error


def _claimed(place: Path, shown: str) -> int:
    """Return the descriptor of a new folder, locked; remove what a run that is over has left there."""
    if place.is_dir() and not place.is_symlink():
        _lock(place, shown, close=True)
        shutil.rmtree(place)
    place.mkdir()
    return _lock(place, shown)


def _lock(place: Path, shown: str, *, close: bool = False) -> int:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        import fcntl
    except ImportError:  # Windows, where nobody else can remove what is open
        return descriptor
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UsageError(f"{shown} is being written by another run") from error
    if close:
        os.close(descriptor)
    return descriptor


def _settle(place: Path) -> None:
    """Wait until every folder is on disk; the files are already."""
    for folder, _, _ in os.walk(place):
        _sync(Path(folder))


def _publish(place: Path, destination: Path, shown: str) -> None:
    if destination.exists() or destination.is_symlink():
        raise UsageError(f"{shown} has appeared meanwhile")
    place.rename(destination)
    _sync(destination.parent)


def _sync(folder: Path) -> None:
    with suppress(PermissionError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
