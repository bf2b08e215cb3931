"""From files of the store to a folder, which appears whole or not at all.

The folder is built beside its place and put there in one step; an old one is exchanged for it in the same step where
the system can (Linux), and is renamed away just before it where it cannot. What a killed process leaves beside the
place begins with `.weighbridge-`, and the next one removes it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from weighbridge.artifact import Manifest
from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.store.layout import PRIVATE, READ_ONLY, Store, sync, wait

_BESIDE: Final = ".weighbridge-"
_NAMES: Final = 2  # of a file, while a folder is being built: in the store and there
_FICLONE: Final = 0x40049409  # linux/fs.h: share the blocks of a file until either is written to
_AT_FDCWD: Final = -100  # linux/fcntl.h
_RENAME_EXCHANGE: Final = 2  # linux/fs.h


def materialise(
    store: Store,
    manifest: Manifest,
    destination: Path,
    *,
    texts: dict[str, str],
    copy: bool = False,
) -> None:
    """Put the files of a manifest, read-only, and some texts into a folder that did not exist or is replaced.

    A file shares its blocks with the store, is another name of the same file, or is a copy, whatever can be had first;
    with `copy` it is never another name. The caller has made sure that an existing folder may be replaced.

    Raises SourceError when the system refuses; the destination is untouched then.
    """
    with building(store, destination) as folder:
        new = folder / "new"
        new.mkdir()
        for name, text in texts.items():
            (new / name).write_text(text, encoding="utf-8", newline="\n")
            sync(new / name)
        fill(new, manifest, store, copy=copy)
        put(new, destination)


@contextmanager
def building(store: Store, destination: Path) -> Iterator[Path]:
    """Give an empty folder on the file system of the destination to build in, which is gone afterwards.

    Raises SourceError when the system refuses something while it is there.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _beside(store, destination) as folder:
            yield folder
    except OSError as error:
        at = f" ({error.filename})" if error.filename not in (None, str(destination)) else ""
        raise SourceError(printable(f"{destination}: {error.strerror or error}{at}")) from error


@contextmanager
def _beside(store: Store, destination: Path) -> Iterator[Path]:
    """Give a folder on the file system of the destination, and remove what dead processes left there.

    Whoever holds the store's lock for the place is the only one who builds there out of this store.
    """
    place = destination.parent.resolve()
    mine = f"{_BESIDE}{hashlib.sha256(os.fsencode(store.home)).hexdigest()[:12]}"
    with store.downloading(hashlib.sha256(os.fsencode(place)).hexdigest(), wait):
        for left in place.glob(f"{mine}-*"):
            shutil.rmtree(left, ignore_errors=True)  # in a shared folder it may be another user's, who keeps it
        folder = place / f"{mine}-{secrets.token_hex(8)}"
        folder.mkdir(mode=PRIVATE)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def fill(folder: Path, manifest: Manifest, store: Store, *, copy: bool = False) -> None:
    """Make the files of a manifest, read-only, in a folder that is being built; see `materialise`."""
    made = {folder}
    for entry in manifest.entries:
        target = folder / entry.path
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.update(folder / parent for parent in PurePosixPath(entry.path).parents)
        _provide(store.path(entry.sha256), target, copy=copy)
    for one in made:
        sync(one)


def _provide(source: Path, target: Path, *, copy: bool) -> None:
    """Make a read-only file of the same bytes."""
    if not _clone(source, target):
        if not copy and _link(source, target):
            return
        shutil.copyfile(source, target)
        sync(target)
    target.chmod(READ_ONLY)


def _clone(source: Path, target: Path) -> bool:
    """Share the blocks of a file, and tell whether the file system can."""
    if sys.platform != "linux":
        return False
    import fcntl

    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            cloned = False
        else:
            cloned = True
    if not cloned:
        target.unlink()
    return cloned


def _link(source: Path, target: Path) -> bool:
    """Give a file a second name, and tell whether the file system lets us."""
    try:
        os.link(source, target)
    except OSError:  # another file system, one without links, or too many links
        return False
    return True


def make_own(place: Path) -> bool:
    """Copy a file of a folder that is being built if it has names elsewhere; tell whether it had.

    Whoever can write to a folder in which a file of the store has another name can write to all of its names.
    """
    if place.stat().st_nlink <= _NAMES:
        return False
    copy = place.with_name(f"{_BESIDE}{secrets.token_hex(8)}")
    shutil.copyfile(place, copy)
    copy.replace(place)
    return True


def put(new: Path, destination: Path) -> None:
    """Put a folder that was built (see `building`) to its place; what was there goes with the place of building."""
    if not os.path.lexists(destination):
        new.rename(destination)
    elif not _exchange(new, destination):
        destination.rename(new.with_name(f"{new.name}.old"))
        new.rename(destination)
    sync(destination.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step, and tell whether the system can."""
    if sys.platform != "linux":
        return False
    import ctypes

    rename = getattr(ctypes.CDLL(None), "renameat2", None)  # not in every C library
    if rename is None:
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)
