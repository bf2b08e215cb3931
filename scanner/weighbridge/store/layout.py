"""Where things lie in the store, and the steps that put them there so that none can be seen half done."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from weighbridge.errors import SourceError
from weighbridge.evidence.home import expanded
from weighbridge.records import dataclass
from weighbridge.store.locks import holding

VARIABLE: Final = "WEIGHBRIDGE_HOME"
FORMAT: Final = "weighbridge store 1\n"
FOLDERS: Final = ("files", "admitted", "known", "partial", "incoming", "locks")
# Everybody may read a file that is linked into their folder, and nobody may write it.
READ_ONLY: Final = 0o444
PRIVATE: Final = 0o700
# What a file system needs for itself while it takes the last bytes of a download.
_MARGIN: Final = 64 << 20
_HEX: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The verdict that let bytes in: digests of the policy and of the rules, and the version that gave it."""

    policy: str
    rules: str
    weighbridge: str


def default_home() -> Path:
    """Return the folder of the store: WEIGHBRIDGE_HOME, else `weighbridge` in the user's cache.

    Raises UsageError when the user has no home.
    """
    if named := os.environ.get(VARIABLE):
        return expanded(named, VARIABLE).absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expanded(base, VARIABLE).absolute() / "weighbridge"


class Store:
    """The store in a folder, open: while it is, nobody removes anything from it.

    Every method raises SourceError when the system refuses (no space, no permission).
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._open = ExitStack()

    def __enter__(self) -> Store:
        with self.trouble():
            _make_home(self.home)
            self._clear_incoming()
            self._open.enter_context(self._holding(shared=True))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process out of the store; the store itself must not be open.

        Raises SourceError at once when another process has it open.
        """
        with self.trouble():
            _make_home(self.home)
            try:
                with self._holding(shared=False):
                    yield
            except BlockingIOError as error:
                raise SourceError(
                    f"{self.home}: the store is in use by another process; try again when it is done"
                ) from error

    def _clear_incoming(self) -> None:
        """Remove what killed processes left half written, unless another process has the store open: it may write."""
        left = list((self.home / "incoming").iterdir())
        if not left or sys.platform == "win32":  # where nobody can tell whether the store is open
            return
        with suppress(BlockingIOError), self._holding(shared=False):
            for path in left:
                path.unlink(missing_ok=True)

    def _holding(self, *, shared: bool) -> AbstractContextManager[None]:
        # Someone cleaning up holds the lock for moments; someone who wants to clean up need not wait at all.
        return holding(self.home / "lock", shared=shared, pause=wait if shared else lambda _: True)

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """Turn the system's errors into one that says what to do."""
        try:
            yield
        except BlockingIOError:
            raise
        except OSError as error:
            raise SourceError(
                f"the store {self.home}: {error.strerror or error}; WEIGHBRIDGE_HOME names another folder for it"
            ) from error

    def check_space(self, size: int, name: str) -> None:
        """Raise SourceError, which begins with a name, when the disk cannot take so many more bytes."""
        needed = size + _MARGIN
        with self.trouble():
            free = shutil.disk_usage(self.home).free
        if needed > free:
            raise SourceError(f"{name}: {needed} bytes are needed in {self.home}, and {free} are free")

    def path(self, sha256: str) -> Path:
        """Return where the bytes with a digest lie, if they are there."""
        return self._place("files", sha256)

    def has(self, sha256: str, size: int) -> bool:
        """Tell whether the bytes with a digest are there in that size.

        The size may be a lie of a registry's, so nothing is done about a file that has another one. If the file is
        what is wrong, it is replaced when the bytes arrive again.
        """
        path = self.path(sha256)
        with self.trouble():
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                return False
        return stat.S_ISREG(status.st_mode) and status.st_size == size

    def add(self, path: Path, sha256: str) -> None:
        """Make a finished file on the same file system, whose bytes have this digest, a file of the store."""
        target = self.path(sha256)
        with self.trouble():
            path.chmod(READ_ONLY)
            sync(path)
            target.parent.mkdir(mode=PRIVATE, exist_ok=True)
            os.replace(path, target)  # noqa: PTH105 - the system's own word for it
            sync(target.parent)

    def remove(self, sha256: str) -> None:
        """Remove the bytes with a digest, and that they were admitted."""
        with self.trouble():
            self._place("admitted", sha256).unlink(missing_ok=True)
            self.path(sha256).unlink(missing_ok=True)

    def admit(self, digests: Iterable[str], admission: Admission) -> None:
        """Take bytes out of quarantine."""
        text = json.dumps(
            {"policy": admission.policy, "rules": admission.rules, "weighbridge": admission.weighbridge}, sort_keys=True
        )
        for sha256 in digests:
            self._write(self._place("admitted", sha256), f"{text}\n")

    def quarantine(self, digests: Iterable[str]) -> None:
        """Put bytes into quarantine, where those are that nothing admitted."""
        with self.trouble():
            for sha256 in digests:
                self._place("admitted", sha256).unlink(missing_ok=True)

    def admission(self, sha256: str) -> Admission | None:
        """Return what let the bytes with a digest in, None while they are in quarantine."""
        try:
            text = self._place("admitted", sha256).read_text(encoding="utf-8")
            return Admission(**json.loads(text))
        except (OSError, ValueError, TypeError):  # not there, or not written by `admit`
            return None

    def known(self, key: str) -> str | None:
        """Return the digest that the bytes of a remote file had when they were last received."""
        try:
            text = self._place("known", key).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
        return text if _HEX.fullmatch(text) else None

    def remember(self, key: str, sha256: str) -> None:
        """Note the digest that the bytes of a remote file have."""
        self._write(self._place("known", key), f"{sha256}\n")

    def forget(self, key: str) -> None:
        """Remove the note about a remote file."""
        self._place("known", key).unlink(missing_ok=True)

    def known_time(self, key: str) -> float:
        """Return when a remote file was last received or found here, 0 when it was not."""
        return _written(self._place("known", key))

    def admission_time(self, sha256: str) -> float:
        """Return when bytes were last admitted, 0 when they are in quarantine."""
        return _written(self._place("admitted", sha256))

    def partial(self, key: str) -> Path:
        """Return the folder of a download."""
        return self.home / "partial" / _checked(key)

    @contextmanager
    def downloading(self, key: str, pause: Callable[[float], bool]) -> Iterator[None]:
        """Hold the lock of a download; see `locks.holding`."""
        with holding(self.home / "locks" / _checked(key), pause=pause):
            yield

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Give a path for a file that is being written; what is left there at the end is removed."""
        path = self.home / "incoming" / secrets.token_hex(16)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def names(self, folder: str) -> Iterator[str]:
        """Yield the digests or keys in `files`, `admitted` or `known`, in order."""
        with self.trouble():
            for part in sorted(os.listdir(self.home / folder)):  # noqa: PTH208 - names, not paths
                inner = self.home / folder / part
                yield from sorted(name for name in os.listdir(inner) if _HEX.fullmatch(name))  # noqa: PTH208

    def _place(self, folder: str, name: str) -> Path:
        return self.home / folder / _checked(name)[:2] / name

    def _write(self, path: Path, text: str) -> None:
        """Write a small file in one step."""
        with self.trouble(), self.incoming() as new:
            new.write_text(text, encoding="ascii")
            path.parent.mkdir(mode=PRIVATE, exist_ok=True)
            os.replace(new, path)  # noqa: PTH105


def is_sha256(text: str) -> bool:
    """Tell whether a text is a sha256 in the one spelling that names files here."""
    return _HEX.fullmatch(text) is not None


def _checked(name: str) -> str:
    """Return a name if it may be one in the store; what is not hexadecimal digits is an error in this package."""
    if not _HEX.fullmatch(name):
        raise ValueError(f"{name!r} is no sha256")
    return name


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def sync(path: Path) -> None:
    """Have a file or a folder on disk before going on; Windows cannot do so for folders."""
    if sys.platform == "win32" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_home(home: Path) -> None:
    home.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    _refuse_shared(home)
    for folder in FOLDERS:
        (home / folder).mkdir(mode=PRIVATE, exist_ok=True)
    if not (home / "format").exists():
        # Two processes that make it at once write the same.
        (home / "format").write_text(FORMAT, encoding="ascii")
        return
    _refuse_strange(home)


def check(home: Path) -> None:
    """Raise SourceError when a folder that exists cannot be the store; nothing is written."""
    _refuse_shared(home)
    if (home / "format").exists():
        _refuse_strange(home)


def _refuse_strange(home: Path) -> None:
    """Raise SourceError unless the store is of this version; an empty file is one that is just being written."""
    found = (home / "format").read_text(encoding="utf-8", errors="replace")
    if found not in (FORMAT, ""):
        raise SourceError(f"{home}: a store of another version, or no store; WEIGHBRIDGE_HOME names another folder")


def _refuse_shared(home: Path) -> None:
    """Raise SourceError when others could put files into the store or take them out."""
    if sys.platform == "win32":
        return
    status = home.stat()
    if status.st_uid not in (os.geteuid(), 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SourceError(f"{home}: others may write to this folder, so it cannot be the store; chmod go-w mends it")


def wait(seconds: float) -> bool:
    """Wait, and never give up."""
    time.sleep(seconds)
    return False
