"""A file that appears whole or not at all.

It is written without a name where the system can (`O_TMPFILE`), so that not even a killed process leaves anything
behind, and gets its name when its bytes are on disk. Elsewhere it is written beside under a name of its own.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from weighbridge.errors import SourceError, UsageError
from weighbridge.location import printable


class NewFile:
    """A file on its way: `descriptor` to write to, `publish` to give it its name."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path = path
        self._overwrite = overwrite
        self._beside: Path | None = None
        self._folder = os.open(path.parent, os.O_RDONLY) if os.name == "posix" else None
        try:
            self.descriptor = self._open()
        except OSError:
            self._close_folder()
            raise

    def _open(self) -> int:
        if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir():
            with suppress(OSError):  # a file system without it says so in several ways
                return os.open(self.path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
        self._beside = self._name()
        binary = getattr(os, "O_BINARY", 0)
        return os.open(self._beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | binary, 0o666)

    def _name(self) -> Path:
        return self.path.parent / f".{self.path.name[:200]}.{secrets.token_hex(8)}.part"

    def sync(self) -> None:
        """Wait until the bytes are on disk."""
        os.fsync(self.descriptor)

    def publish(self) -> None:
        """Give the file its name; raise UsageError when there is one of that name that is not to be replaced."""
        if self._beside is None:
            self._link(self._name() if self._overwrite else self.path)
        if self._beside is not None:
            if self._overwrite:
                self._beside.replace(self.path)
            else:
                _claim(self._beside, self.path)
            self._beside = None
        if self._folder is not None:
            os.fsync(self._folder)

    def _link(self, path: Path) -> None:
        """Give a file without a name its first one."""
        try:
            os.link(f"/proc/self/fd/{self.descriptor}", path, src_dir_fd=self._folder, follow_symlinks=True)
        except FileExistsError as error:
            raise exists(path) from error
        self._beside = path if path != self.path else None

    def close(self) -> None:
        """Close it; what has not been published is gone."""
        os.close(self.descriptor)
        self._close_folder()
        if self._beside is not None:
            self._beside.unlink(missing_ok=True)

    def _close_folder(self) -> None:
        if self._folder is not None:
            os.close(self._folder)


def _claim(beside: Path, path: Path) -> None:
    """Rename a file to a name that nobody has."""
    try:
        os.link(beside, path)
    except FileExistsError as error:
        raise exists(path) from error
    beside.unlink()


def exists(path: Path) -> UsageError:
    """Return the error for a name that is taken."""
    return UsageError(f"{printable(path.as_posix())} exists; --overwrite replaces it")


@contextmanager
def new_file(path: Path, *, overwrite: bool = False) -> Iterator[NewFile]:
    """Give a file that will be at `path` once it is published.

    Raises UsageError when something is there already, SourceError when the system refuses to write.
    """
    if not overwrite and (path.exists() or path.is_symlink()):
        raise exists(path)
    try:
        file = NewFile(path, overwrite=overwrite)
        try:
            yield file
        finally:
            file.close()
    except OSError as error:
        raise SourceError(f"{printable(path.as_posix())}: {error.strerror}") from error
