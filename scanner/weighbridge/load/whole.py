"""A file as a whole, read once into private memory and verified there, so that nobody can change it afterwards."""

from __future__ import annotations

import hashlib
import os

from weighbridge.errors import SourceError
from weighbridge.load.folder import Folder
from weighbridge.load.memory import private
from weighbridge.reading import fill
from weighbridge.refusals import ChangedDuringLoad, DigestMismatch


def verified(folder: Folder, path: str) -> memoryview:
    """Return the bytes of an approved file.

    Raises what `Folder.open` does, DigestMismatch when they are not the approved ones, ChangedDuringLoad when the file
    became shorter meanwhile, SourceError when the system refuses.
    """
    file, where, descriptor = folder.file(path), folder.where(path), folder.open(path)
    try:
        memory = taken(descriptor, file.size, where)
    finally:
        os.close(descriptor)
    if hashlib.sha256(memory).hexdigest() != file.sha256:
        raise DigestMismatch(where)
    return memory


def taken(descriptor: int, size: int, where: str) -> memoryview:
    """Return the first bytes of an open file, not verified; raise as `verified` does."""
    memory = private(size)
    try:
        if fill(descriptor, memory, 0) != size:
            raise ChangedDuringLoad(where, "the file became shorter while it was loaded")
    except OSError as error:
        raise SourceError(f"{where}: {error.strerror or error}") from error
    return memory
