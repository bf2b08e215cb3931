"""The mode `shared`: one sealed copy in memory that any number of processes of a user map.

The first process copies the file into a memfd, seals it (no write, no change of size, by anybody, for ever), and only
then verifies what is in it. Where it is found is noted in a private folder of the user; the next processes open it
through `/proc`, look at its seals and verify the same bytes again: a note is no evidence. The copy is gone with the
last process that uses it. Pages that a process writes to become its own.

Source: https://man7.org/linux/man-pages/man2/memfd_create.2.html
"""

from __future__ import annotations

import mmap
import os
import stat
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

from weighbridge.leaves import CHUNK
from weighbridge.load.folder import Folder
from weighbridge.load.mapped import Mapped
from weighbridge.load.threads import share
from weighbridge.load.verified import Verified, whole
from weighbridge.reading import fill
from weighbridge.refusals import ChangedDuringLoad, ModeMissing

_NAME: Final = "weighbridge"
_LINK: Final = f"/memfd:{_NAME}"
# linux/fcntl.h: F_ADD_SEALS, F_GET_SEALS; F_SEAL_SEAL, SHRINK, GROW and WRITE.
_ADD_SEALS: Final = 1033
_GET_SEALS: Final = 1034
_SEALS: Final = 0x1 | 0x2 | 0x4 | 0x8
_NOTES_LIMIT: Final = 64 << 10  # bytes of notes on one copy: thousands of processes


class Shared(Mapped):
    """A file in sealed memory, mapped into this process."""

    def __init__(self, folder: Folder, path: str) -> None:
        """Map the copy that there is, or make it; raise ModeMissing where that cannot be, and what `Verified` does."""
        if not hasattr(os, "memfd_create"):
            raise ModeMissing(folder.where(path), "sealed memory is a thing of Linux", "use another mode")
        file = Verified(folder, path)
        try:
            self.header = file.header
            self._memory = memoryview(_mapped(file))
        except OSError as error:
            raise ModeMissing(file.where, f"sealed memory: {error.strerror or error}", "use another mode") from error
        finally:
            file.close()


def _mapped(file: Verified) -> mmap.mmap:
    """Return a mapping of the verified copy of a file; the copy can be found as long as the mapping lives."""
    with _notes(file.file.leaves) as notes:
        descriptor, noted = _find(notes, file.file.size)
        if descriptor < 0:
            descriptor = _copied(file)
        try:
            memory = mmap.mmap(descriptor, file.file.size, access=mmap.ACCESS_COPY)
            if not noted:
                _verify(file, memory)
            _note(notes, [*noted, (os.getpid(), descriptor)])
        except BaseException:
            os.close(descriptor)
            raise
    # A mapping keeps a duplicate of its descriptor and does not tell which.
    weakref.finalize(memory, os.close, descriptor)
    if noted:
        _verify(file, memory)
    return memory


def _copied(file: Verified) -> int:
    """Return a sealed copy of a file, not yet verified."""
    import fcntl

    descriptor = os.memfd_create(_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, file.file.size)

        share(partial(_copy, file, descriptor), range(0, file.file.size, CHUNK))
        fcntl.fcntl(descriptor, _ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _copy(file: Verified, descriptor: int, begin: int) -> None:
    """Copy the chunk of a file at an offset."""
    view = memoryview(bytearray(min(CHUNK, file.file.size - begin)))
    if fill(file.descriptor, view, begin) != len(view):
        raise ChangedDuringLoad(file.where, "the file became shorter while it was loaded")
    while view:
        written = os.pwrite(descriptor, view, begin)
        view, begin = view[written:], begin + written


def _verify(file: Verified, memory: mmap.mmap) -> None:
    """Verify every chunk of a sealed copy, the header's too: a copy that was found is another's work."""
    view = memoryview(memory)
    pieces = chain.from_iterable(whole(span, view[span.begin : span.end]) for span in file.all_spans)
    share(lambda piece: file.check(*piece), list(pieces))


@contextmanager
def _notes(root: str) -> Iterator[int]:
    """Open and hold the notes on the copies of a file, of this user alone; others wait."""
    import fcntl

    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"weighbridge-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ModeMissing(str(folder), "not a private folder of this user", "remove it")
    notes = os.open(folder / root, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(notes, fcntl.LOCK_EX)
        yield notes
    finally:
        os.close(notes)


def _find(notes: int, size: int) -> tuple[int, list[tuple[int, int]]]:
    """Return a descriptor of a sealed copy of `size` bytes, -1 when there is none, and the notes that still hold."""
    holding: list[tuple[int, int]] = []
    found = -1
    for line in os.pread(notes, _NOTES_LIMIT, 0).split(b"\n"):
        process, _, number = line.partition(b" ")
        if not (process.isdigit() and number.isdigit()):
            continue
        descriptor = _sealed(f"/proc/{int(process)}/fd/{int(number)}", size)
        if descriptor < 0:
            continue
        holding.append((int(process), int(number)))
        if found >= 0:
            os.close(descriptor)
        else:
            found = descriptor
    return found, holding


def _sealed(place: str, size: int) -> int:
    """Return a descriptor of our own of sealed memory that another process has open, -1 when it has not."""
    import fcntl

    try:
        if not str(Path(place).readlink()).startswith(_LINK):
            return -1
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:  # the process is gone, or it has put something else there
        return -1
    try:
        if fcntl.fcntl(descriptor, _GET_SEALS) & _SEALS == _SEALS and os.fstat(descriptor).st_size == size:
            return descriptor
    except OSError:  # not memory that can be sealed
        pass
    os.close(descriptor)
    return -1


def _note(notes: int, copies: list[tuple[int, int]]) -> None:
    text = b"".join(b"%d %d\n" % copy for copy in copies)
    os.ftruncate(notes, 0)
    os.pwrite(notes, text[-_NOTES_LIMIT:], 0)
