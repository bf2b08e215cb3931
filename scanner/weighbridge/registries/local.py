"""Files on this machine as an artifact: `file:///path` and plain paths, to be locked, compared and copied.

A folder has no revisions. What stands for one is the tree digest of its files (`Manifest.digest`), for which all of
them are read; their digests become claims, so that a byte that changes before it is read again is refused.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from weighbridge.artifact import MAX_FILES, Artifact, Entry, File, Manifest
from weighbridge.digest import CHUNK, Digest
from weighbridge.errors import SourceError, UsageError
from weighbridge.location import anchor, printable
from weighbridge.records import dataclass, replace
from weighbridge.registries.base import Reading, Remote, Settings

_PREFIX: Final = "file://"
_ANY: Final = "surrogateescape"  # names of folders need not be UTF-8
_PIN: Final = "@sha256:"
# Not the target of a link that took the file's place since the listing, and never waiting for a writer of a pipe.
_OPEN: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


class Local:
    """Files and folders of this machine."""

    def __init__(self, settings: Settings) -> None:
        pass  # nothing here connects to anything

    def resolve(self, reference: str) -> Artifact:
        """Return the file or the folder as an artifact whose revision is its tree digest.

        Links inside a folder are followed to files inside it. Raises UsageError when the reference names another
        machine, SourceError when a file cannot be read, a folder holds something that is neither file nor folder or a
        link that leaves it, or the bytes are not the pinned ones.
        """
        return self.resolve_reading(reference, _Only())

    def resolve_reading(self, reference: str, reading: Reading) -> Artifact:
        """Return what `resolve` does, and have `reading` digest every file."""
        path, pin = _parts(reference)
        shown = printable(str(path))
        try:
            top = Path(os.path.realpath(path, strict=True))
            found = list(files(top))
            listed = tuple(_listed(path, place.stat()) for path, place in found)
            artifact = Artifact(
                reference=_PREFIX + quote(top.as_posix(), errors=_ANY), requested=pin, revision=pin, files=listed
            )
            reading.begin(artifact)
            listed = tuple(_pinned(place, file, reading) for file, (_, place) in zip(listed, found, strict=True))
        except FileNotFoundError as error:
            raise SourceError(f"{shown}: {error.strerror}{_advice(path)}") from error
        except OSError as error:
            raise SourceError(f"{shown}: {error.strerror or error}") from error
        if not found:
            raise SourceError(f"{shown}: the folder holds no files")
        entries = tuple(Entry(file.path, file.size, file.claims[0].value) for file in listed)
        revision = str(Manifest(entries=entries).digest)
        if pin and pin != revision:
            raise SourceError(f"{shown}: the files are {revision}, not {pin}")
        return replace(artifact, revision=revision, files=listed)

    def open(self, artifact: Artifact, file: File) -> Remote:
        """Return the bytes of a file, which must not have been written to since it was resolved."""
        top = Path(unquote(artifact.reference.removeprefix(_PREFIX), errors=_ANY))
        path = Path(os.path.realpath(top / file.path)) if top.is_dir() else top
        return _Bytes(path=path, size=file.size, state=file.key)


def canonical(reference: str) -> str:
    """Return the reference of what a path or a `file:` URL leads to, without a pin: no link, `.` or `..` is in it.

    Raises UsageError when the reference names another machine.
    """
    path, _ = _parts(reference)
    return _PREFIX + quote(Path(os.path.realpath(path)).as_posix(), errors=_ANY)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bytes:
    """The bytes of a file on disk, as long as its `state` does not change; opened anew for each read."""

    path: Path
    size: int
    state: str

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes at `offset`."""
        return b"".join(self.stream(offset, offset + count))

    def stream(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `begin` up to `end`."""
        shown = printable(str(self.path))
        if not 0 <= begin <= end <= self.size:
            raise SourceError(f"{shown}: bytes {begin} to {end} are outside of {self.size}")
        try:
            with open(self.path, "rb", opener=_descriptor) as file:
                file.seek(begin)
                while begin < end and (piece := file.read(min(CHUNK, end - begin))):
                    begin += len(piece)
                    yield piece
                if begin < end or _state(os.fstat(file.fileno())) != self.state:
                    raise SourceError(f"{shown}: the file changed while it was read")
        except OSError as error:
            raise SourceError(f"{shown}: {error.strerror or error}") from error


def _advice(path: Path) -> str:
    """Return how a model of the Hub is named, where a path that is not there could be meant for one."""
    if path.parent.exists() or not path.parent.parent.exists():
        return ""
    name = "/".join(path.parts[-2:]).removeprefix("hf:")
    return f"; a model on the Hub is hf://{name}" if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) else ""


def _parts(reference: str) -> tuple[Path, str]:
    """Split a reference into the path and the pin behind it."""
    text, mark, digest = reference.rpartition(_PIN)
    if not mark:
        text, digest = reference, ""
    pin = f"sha256:{digest}" if digest else ""
    if not text.startswith(_PREFIX):
        return Path(text), pin
    host, slash, rest = text.removeprefix(_PREFIX).partition("/")
    if host not in ("", "localhost") or not slash or "%00" in rest:
        raise UsageError(f"{printable(reference)}: a file URL is file:///path, on this machine")
    return Path(unquote("/" + rest, errors=_ANY)), pin


def files(top: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder by their path in it, or the one file, with where the system has them.

    Raises SourceError at a link that leaves the folder and at what is neither file nor folder, OSError when the system
    refuses.
    """
    if top.is_file():
        yield top.name, top
        return
    if not top.is_dir():
        raise SourceError(f"{printable(str(top))}: neither a file nor a folder")
    folders, count, root = [top], 0, Path(anchor(str(top)))
    while folders:
        for place in sorted(folders.pop().iterdir()):
            name, mode = place.relative_to(top).as_posix(), place.lstat().st_mode
            if stat.S_ISDIR(mode):
                folders.append(place)
                continue
            yield name, _linked(place, root) if stat.S_ISLNK(mode) else _regular(place, mode)
            count += 1
            if count > MAX_FILES:
                raise SourceError(f"{printable(str(top))}: more than {MAX_FILES} files")


def _linked(place: Path, root: Path) -> Path:
    """Return the file that a link leads to, in the folder or in the cache of the Hub's client that it is part of."""
    found = Path(os.path.realpath(place, strict=True))
    if not found.is_relative_to(root):
        raise SourceError(f"{printable(str(place))}: a link out of the folder, which is no part of an artifact")
    return _regular(found, found.lstat().st_mode)


def _regular(place: Path, mode: int) -> Path:
    if not stat.S_ISREG(mode):
        raise SourceError(
            f"{printable(str(place))}: a device, pipe, socket or link to a folder, no part of an artifact"
        )
    return place


def _listed(path: str, status: os.stat_result) -> File:
    return File(path=path, size=status.st_size, key=_state(status))


def _pinned(place: Path, file: File, reading: Reading) -> File:
    """Return a file with the digest of its bytes, which must not be written to meanwhile."""
    descriptor = _descriptor(str(place), 0)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise SourceError(f"{printable(str(place))}: no longer a file")
        digest = reading.digest(file, descriptor)
        if {_state(before), _state(os.fstat(descriptor))} != {file.key}:
            raise SourceError(f"{printable(str(place))}: the file changed while it was read")
    finally:
        os.close(descriptor)
    return replace(file, claims=(digest,))


class _Only:
    """Digests, and does nothing else."""

    def begin(self, artifact: Artifact) -> None:
        """Need to know nothing."""

    def digest(self, file: File, descriptor: int) -> Digest:
        """Return the sha256 of an open file."""
        return Digest.of_descriptor(descriptor)


def _descriptor(path: str, _: int) -> int:
    return os.open(path, _OPEN)


def _state(status: os.stat_result) -> str:
    """Return what changes when somebody writes to a file or puts another in its place."""
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
