"""What the store holds, whether it is what its names say, and what of it nobody has used for long."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from weighbridge.digest import Digest
from weighbridge.records import dataclass
from weighbridge.store.layout import Admission, Store

_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A file of the store: `used` is when it was last fetched or admitted, in seconds since 1970.

    `admission` is None while it is in quarantine; `links` are the names that it has outside of the store.
    """

    sha256: str
    size: int
    used: float
    admission: Admission | None
    links: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was removed (or would be): how many files, downloads that were not finished, and bytes of both."""

    files: int
    downloads: int
    size: int


def held(store: Store) -> Iterator[Held]:
    """Yield every file of the store, in the order of the digests."""
    fetched = _last_fetched(store)
    for sha256 in store.names("files"):
        try:
            status = store.path(sha256).stat()
        except FileNotFoundError:
            continue
        admitted = store.admission_time(sha256)
        yield Held(
            sha256=sha256,
            size=status.st_size,
            used=max(status.st_mtime, fetched.get(sha256, 0.0), admitted),
            admission=store.admission(sha256),
            links=status.st_nlink - 1,
        )


def verify(store: Store, *, remove: bool = False) -> Iterator[tuple[str, str]]:
    """Digest every file, and yield the digest in its name with what its bytes have instead when they differ.

    `remove` removes what is damaged, so that the next fetch brings it anew.
    """
    for sha256 in store.names("files"):
        with store.trouble():
            try:
                descriptor = os.open(store.path(sha256), os.O_RDONLY | getattr(os, "O_BINARY", 0))
            except FileNotFoundError:
                continue
            try:
                found = Digest.of_descriptor(descriptor).value
            finally:
                os.close(descriptor)
        if found != sha256:
            if remove:
                store.remove(sha256)
            yield sha256, found


def collect(store: Store, *, now: float, days: float, pretend: bool = False) -> Swept:
    """Remove what nobody has used for some days, downloads that were not finished included.

    The store must be held alone. Folders that were made from it keep their files.
    """
    until = now - days * _DAY
    files = [one for one in held(store) if one.used <= until]
    downloads = [path for path in (store.home / "partial").iterdir() if _touched(path) <= until]
    size = sum(one.size for one in files if not one.links) + sum(_blocks(path) for path in downloads)
    if not pretend:
        for one in files:
            store.remove(one.sha256)
        for path in downloads:
            shutil.rmtree(path, ignore_errors=True)
        _tidy(store)
    return Swept(files=len(files), downloads=len(downloads), size=size)


def _tidy(store: Store) -> None:
    """Remove notes about files that are gone, and what only a running process needs: none is."""
    with store.trouble():
        for key in list(store.names("known")):
            sha256 = store.known(key)
            if sha256 is None or not store.path(sha256).exists():
                store.forget(key)
        for folder in ("incoming", "locks"):
            for path in (store.home / folder).iterdir():
                path.unlink(missing_ok=True)


def _last_fetched(store: Store) -> dict[str, float]:
    """Return when the files of the store were last fetched, by digest."""
    found: dict[str, float] = {}
    for key in store.names("known"):
        sha256 = store.known(key)
        if sha256 is not None:
            found[sha256] = max(found.get(sha256, 0.0), store.known_time(key))
    return found


def _touched(folder: Path) -> float:
    """Return when something was last written in a folder."""
    return max((path.stat().st_mtime for path in [folder, *folder.iterdir()]), default=0.0)


def _blocks(folder: Path) -> int:
    """Return what the files in a folder take on disk."""
    return sum(min(path.stat().st_size, getattr(path.stat(), "st_blocks", 0) * 512) for path in folder.iterdir())
