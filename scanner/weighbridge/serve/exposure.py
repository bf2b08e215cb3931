"""A private copy of an approved folder, for a program that opens files by their names.

Every byte is hashed on its way into the copy, so what the program opens is what was approved, whatever happens to the
folder meanwhile. The copy lies in a folder that this user alone can enter, and nothing in it can be written; processes
of the same user could change that, and are not kept out.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from weighbridge.approval import LEAVES, NAME, ApprovedFile
from weighbridge.errors import SourceError
from weighbridge.evidence import bundle
from weighbridge.leaves import CHUNK, longest
from weighbridge.load.folder import Folder
from weighbridge.load.threads import share
from weighbridge.location import printable
from weighbridge.reading import fill
from weighbridge.refusals import ApprovalMalformed, ChangedDuringLoad, DigestMismatch

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_SPARE: Final = 16 << 20  # bytes that a disk should have left


@contextmanager
def private_folder(parent: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Make a folder that this user alone can enter; it is removed when the context ends in an error."""
    try:
        # Its whole path, which is what the command is told and what arguments are compared with.
        root = Path(tempfile.mkdtemp(prefix="weighbridge-", dir=parent and Path(parent).absolute()))
    except OSError as error:
        raise SourceError(f"{printable(str(parent or tempfile.gettempdir()))}: {error.strerror}") from error
    try:
        yield root
    except BaseException:
        remove(root)
        raise


def expose(folder: Folder, place: Path) -> None:
    """Copy the approved files, and the approval, to a new folder `place`, and let nobody write to them.

    Raises what `Folder.open` does, DigestMismatch when bytes are not the approved ones, ApprovalMalformed when what is
    beside them is too long to be that, SourceError when there is no room or the system refuses.
    """
    size, free = sum(file.size for file in folder.approval.files), shutil.disk_usage(place.parent).free
    if size + _SPARE > free:
        text = f"{printable(str(place.parent))}: {size} bytes are needed, and {free} are free; name another place"
        raise SourceError(text)
    try:
        place.mkdir(mode=0o700)
        for file in folder.approval.files:
            (place / file.path).parent.mkdir(parents=True, exist_ok=True)
        share(partial(_copy, folder, place), folder.approval.files)
        leaves = longest((file.size, file.format) for file in folder.approval.files)
        for name, limit in ((NAME, bundle.LIMIT), (LEAVES, leaves)):  # for programs that verify once more
            _take(folder, name, place, limit)
        for path in (place, *place.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
    except OSError as error:
        raise SourceError(f"{printable(str(place))}: {error.strerror or error}") from error


def _copy(folder: Folder, place: Path, file: ApprovedFile) -> None:
    """Copy one file; raise unless every byte is approved."""
    where, source = folder.where(file.path), folder.open(file.path)
    try:
        target = os.open(place / file.path, _NEW, 0o600)
        try:
            if _transfer(source, target, file.size, where) != file.sha256:
                raise DigestMismatch(where)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _transfer(source: int, target: int, size: int, where: str) -> str:
    """Copy `size` bytes through memory and return the sha256 of what was written."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(min(CHUNK, size)))
    for begin in range(0, size, CHUNK):
        block = buffer[: min(CHUNK, size - begin)]
        if fill(source, block, begin) != len(block):
            raise ChangedDuringLoad(where, "the file became shorter while it was copied")
        digest.update(block)
        while block:
            block = block[os.write(target, block) :]
    return digest.hexdigest()


def _take(folder: Folder, name: str, place: Path, limit: int) -> None:
    """Copy what lies beside the approved files and is evidence of its own; raise when it is longer than it can be."""
    source = folder.anchor.open(name)
    try:
        size = os.fstat(source).st_size
        if size > limit:
            raise ApprovalMalformed(folder.where(name), f"{size} bytes, it has at most {limit}")
        target = os.open(place / name, _NEW, 0o600)
        try:
            _transfer(source, target, size, folder.where(name))
        finally:
            os.close(target)
    finally:
        os.close(source)


def remove(root: Path) -> None:
    """Remove a private folder and the copy in it, as far as the system lets us."""
    for path in (root, *root.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(root, ignore_errors=True)
