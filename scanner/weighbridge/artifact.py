"""The model as stored: files at an immutable revision, and the manifest of what was read of them.

Paths come from servers and archives. `admit` is the one place that says which of them may ever become a path on disk;
an `Artifact` and a `Manifest` hold no others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from weighbridge.digest import Digest
from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.records import dataclass

MAX_FILES: Final = 200_000  # twice what the Hub advises for a repository
MAX_PATH: Final = 1024  # bytes; systems stop between 1024 and 4096
MAX_NAME: Final = 255  # bytes of one part of a path, on every common file system
# Names that Windows gives to devices, whatever the extension.
_DEVICE: Final = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?")
_TREE: Final = b"weighbridge tree 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of an artifact: its path, its size in bytes and what the registry declares of its bytes.

    `claims` are digests nobody has verified yet; the algorithm `git-sha1` is that of a git blob, header included.
    `packing` is `tar`, `tar+gzip` or `tar+zstd` when the bytes are an archive whose members are the model's
    files, as layers of an OCI artifact are. `key` is what the registry calls the bytes, when that is not the path.
    """

    path: str
    size: int
    claims: tuple[Digest, ...] = ()
    packing: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A model at an immutable revision.

    `reference` is the canonical reference without a revision; `requested` is the revision that was asked for, empty
    when none was; `revision` is what it means now and for ever (a commit, a manifest digest, a version id).

    Raises SourceError when two files could become one on disk or a path could leave its folder.
    """

    reference: str
    requested: str
    revision: str
    files: tuple[File, ...]

    def __post_init__(self) -> None:
        if len(self.files) > MAX_FILES:
            raise SourceError(f"{printable(self.reference)}: {len(self.files)} files, limit is {MAX_FILES}")
        admit((file.path for file in self.files), self.reference)

    @property
    def pinned(self) -> str:
        """The reference with the revision, which names the same bytes whenever it is used."""
        return f"{self.reference}@{self.revision}"

    @property
    def moving(self) -> bool:
        """Whether what was asked for may mean other bytes tomorrow."""
        return self.requested != self.revision


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One file of a manifest: its path, its size in bytes and the sha256 of its bytes as they were read here."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What was read: every file with its size and digest, sorted by path.

    Raises SourceError as `Artifact` does.
    """

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        admit((entry.path for entry in self.entries), "manifest")
        object.__setattr__(self, "entries", tuple(sorted(self.entries)))

    @property
    def digest(self) -> Digest:
        """The tree digest of the files."""
        return tree_digest(self.entries)


def tree_digest(entries: Iterable[Entry]) -> Digest:
    """Return the digest that binds every path, size and sha256 of some files, and nothing else.

    sha256 over a line that names the scheme and, per file in the order of the paths' code points,
    `<sha256> <size> <length of the path in bytes> <path>` with a line feed.
    """
    tree = hashlib.sha256(_TREE)
    for entry in sorted(entries):
        path = entry.path.encode()
        tree.update(b"%s %d %d %s\n" % (entry.sha256.encode(), entry.size, len(path), path))
    return Digest("sha256", tree.hexdigest())


def admit(paths: Iterable[str], source: str) -> None:
    """Raise SourceError unless every path stays below its folder and means one file on every file system.

    Refused are empty, absolute and dotted parts, backslashes, drive letters, control characters, names of devices,
    what is too long, and paths that are equal but for case and how letters are composed, or that need a file to be a
    folder.
    """
    folded: dict[str, str] = {}
    for path in paths:
        reason = _refusal(path)
        if reason:
            raise SourceError(f"{printable(source)}: the path {path!a} is refused: {reason}")
        folding = path.casefold() if path.isascii() else _folded(path)
        if folding in folded:
            both = f"{folded[folding]!a} and {path!a}"
            raise SourceError(f"{printable(source)}: the paths {both} are one on some systems")
        folded[folding] = path
    for parent, path in folded.items():
        while "/" in parent:
            parent = parent.rpartition("/")[0]
            if parent in folded:
                raise SourceError(f"{printable(source)}: {folded[parent]!a} is a file and the folder of {path!a}")


def _folded(path: str) -> str:
    """Return what is the same for all spellings that file systems of macOS take for one (Unicode, D145)."""
    from unicodedata import normalize

    return normalize("NFD", normalize("NFD", path).casefold())


def _refusal(path: str) -> str:
    """Return why a path may not be one on disk, or nothing."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "it is not Unicode text"
    if len(encoded) > MAX_PATH:
        return f"it is longer than {MAX_PATH} bytes"
    if "\\" in path or ":" in path or not path.isprintable():
        return "it holds a backslash, a colon or a control character"
    return next((reason for part in path.split("/") if (reason := _part_refusal(part))), "")


def _part_refusal(part: str) -> str:
    if part in ("", ".", ".."):
        return "it has an empty or dotted part"
    if part != part.rstrip(". ") or _DEVICE.fullmatch(part):
        return "a part of it means something else on Windows"
    return f"a part of it is longer than {MAX_NAME} bytes" if len(part.encode()) > MAX_NAME else ""
