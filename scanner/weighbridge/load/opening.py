"""Opening what was approved: beneath a folder that is held open, no links, regular files only.

On Linux the kernel walks the path (`openat2` with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS), elsewhere and where that
call is filtered the parts of the path are opened one by one and no link is followed. A pipe is not waited for. Whoever
renames a folder in the meantime gains nothing: what counts is the descriptor that is returned.

Source: https://man7.org/linux/man-pages/man2/openat2.2.html
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.refusals import ContentMismatch, UnsafeEntry

_FILE: Final = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)  # never wait for the writer of a pipe
    | getattr(os, "O_NOCTTY", 0)
)
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
_FOLDER: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_DIRECTORY", 0)
_ANCHORED: Final = os.open in os.supports_dir_fd  # not on Windows
# linux/openat2.h; the number of the call is the same on every architecture but alpha.
_OPENAT2: Final = 437
_NO_MAGICLINKS: Final = 0x02
_NO_SYMLINKS: Final = 0x04
_BENEATH: Final = 0x08
# What a kernel before 5.6 answers, and what filters do that do not know the call.
_NO_CALL: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG})
_LINKS: Final = frozenset({errno.ELOOP, errno.EXDEV, errno.ENXIO, errno.EMLINK})
_AGAIN: Final = 8  # times that a walk which somebody's rename disturbed is begun anew


class Anchor:
    """A folder that is opened once, for what lies beneath it; `path` is where it was and what messages name."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the folder; raise SourceError when there is none."""
        self.path = Path(path)
        try:
            self._descriptor = os.open(self.path, _FOLDER) if _ANCHORED else -1
        except OSError as error:
            raise SourceError(f"{printable(str(path))}: {error.strerror or error}") from error

    def __enter__(self) -> Anchor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the folder; what was opened beneath it stays open."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def fileno(self) -> int:
        """Return the descriptor of the folder, -1 where the system has none."""
        return self._descriptor

    def where(self, name: str) -> str:
        """Return how messages name a file of the folder."""
        return printable(str(self.path / name))

    def open(self, name: str) -> int:
        """Return a descriptor of the regular file `name`, a relative path with `/`, for reading.

        Raises UnsafeEntry at a link, a pipe, a device or a name that leads out, ContentMismatch when there is no such
        file, SourceError when the system refuses.
        """
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\0" in part or (os.sep != "/" and os.sep in part) for part in parts):
            raise UnsafeEntry(self.where(name), "not the path of a file in the folder")
        try:
            descriptor = self._open(name, parts)
        except FileNotFoundError as error:
            raise ContentMismatch(printable(str(self.path)), missing=(name,)) from error
        except OSError as error:
            if error.errno in _LINKS or isinstance(error, NotADirectoryError):
                raise UnsafeEntry(self.where(name), "a link, or not a file; links are not followed") from error
            raise SourceError(f"{self.where(name)}: {error.strerror or error}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise UnsafeEntry(self.where(name), "a pipe, device or folder, not a file")
        return descriptor

    def _open(self, name: str, parts: list[str]) -> int:
        if not _ANCHORED:
            return self._open_by_path(parts)
        call = _openat2()
        if call is not None:
            try:
                return call(self._descriptor, name)
            except OSError as error:
                if error.errno not in _NO_CALL:
                    raise
        return walk(self._descriptor, parts)

    def _open_by_path(self, parts: list[str]) -> int:
        """Open where folders have no descriptors: look at each part, and again at what was opened."""
        place = self.path
        for part in parts:
            place /= part
            if place.is_symlink() or (hasattr(place, "is_junction") and place.is_junction()):
                raise OSError(errno.ELOOP, "a link")
        descriptor = os.open(place, _FILE)
        if not os.path.samestat(os.fstat(descriptor), os.lstat(place)):
            os.close(descriptor)
            raise OSError(errno.ELOOP, "replaced while it was opened")
        return descriptor


def walk(folder: int, parts: list[str]) -> int:
    """Open a file beneath a folder part by part, following no link; raise OSError."""
    held = -1
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER | _NO_LINK, dir_fd=folder if held < 0 else held)
            if held >= 0:
                os.close(held)
            held = inner
        return os.open(parts[-1], _FILE | _NO_LINK, dir_fd=folder if held < 0 else held)
    finally:
        if held >= 0:
            os.close(held)


@cache
def _openat2() -> Callable[[int, str], int] | None:
    """Return what opens a file beneath a folder by the system call, None where there is none."""
    if sys.platform != "linux":
        return None
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    how = struct.pack("=QQQ", _FILE, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)

    def call(folder: int, name: str) -> int:
        for _ in range(_AGAIN):
            found: int = library.syscall(
                ctypes.c_long(_OPENAT2), ctypes.c_int(folder), os.fsencode(name), how, ctypes.c_size_t(len(how))
            )
            if found >= 0:
                return found
            number = ctypes.get_errno()
            if number != errno.EAGAIN:
                break
        raise OSError(number, os.strerror(number))

    return call
