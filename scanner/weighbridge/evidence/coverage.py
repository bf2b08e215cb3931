"""Files held against the digests that somebody vouches for: what is covered, and that nothing else lies beside it.

A list of digests comes from a signature, a `SHA256SUMS`, a lock or a registry. Every file must be in it. What is not is
refused, unless the person who verifies has named it: what the person who made the list wished to leave out counts for
nothing, because files beside a model are as good a place for code as the model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from weighbridge.artifact import Entry, tree_digest
from weighbridge.digest import Digest
from weighbridge.evidence.measure import Measured, Plan
from weighbridge.evidence.tree import MAX_DEPTH, Contents, unspeakable
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.refusals import ContentMismatch, ManifestInvalid

MAX_NAME: Final = 4096  # bytes of a path, beyond which no system opens it
_SHOWN: Final = 200  # characters of a name that an error shows
_FIX: Final = "fetch the model again, or have its publisher sign what it is now"
_FIX_EXTRA: Final = "remove them, or name what may lie there unsigned: ignored_paths of the trust policy, or --ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a file must be: the digests that its plan asks for, and its size where that is known."""

    plan: Plan = Plan()
    digests: tuple[str, ...]
    size: int | None = None

    def kept(self, measured: Measured) -> bool:
        """Tell whether a file is what it must be; pieces must reach to its end."""
        size = self.plan.ends[-1] if self.plan.ends else self.size
        return measured.digests == self.digests and size in (None, measured.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The files that a list vouches for and that are as it says, those that it does not, and the covered tree."""

    covered: tuple[str, ...]
    uncovered: tuple[str, ...]
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, measured: Mapping[str, Measured], uncovered: Iterable[str] = ()) -> Coverage:
        """Return the coverage of files that were measured and found to be as a list says."""
        entries = (Entry(path, found.size, found.sha256) for path, found in sorted(measured.items()))
        return cls(covered=tuple(sorted(measured)), uncovered=tuple(uncovered), entries=tuple(entries))

    @property
    def tree(self) -> Digest:
        """The tree digest of the covered files."""
        return tree_digest(self.entries)


def cover(
    contents: Contents,
    expected: Mapping[str, Expected],
    *,
    ignored: Collection[str] = (),
    beside: Collection[str] = (),
    fix: str = "",
) -> Coverage:
    """Return what a list covers of the files.

    `ignored` are the paths of files and folders that may be there without being covered, `beside` those of files that
    cannot be, as the signature itself; `fix` is what to do where the list is no publisher's. What is in the list is
    compared wherever it lies.

    Raises ContentMismatch unless every file of the list is there as it says, and no other.
    """
    present = set(contents.paths)
    missing = sorted(expected.keys() - present)
    uncovered = sorted(present - expected.keys())
    extra = [path for path in uncovered if path not in beside and not below(path, ignored)]
    measured = contents.measure({path: expected[path].plan for path in sorted(expected.keys() & present)})
    changed = [path for path, found in measured.items() if not expected[path].kept(found)]
    if missing or extra or changed:
        way_out = fix or (_FIX if missing or changed else _FIX_EXTRA)
        raise ContentMismatch(contents.where, changed=sorted(changed), missing=missing, extra=extra, fix=way_out)
    return Coverage.of(measured, uncovered)


def below(path: str, folders: Collection[str]) -> bool:
    """Tell whether a path is one of those named, or lies in a folder that is."""
    return any(path == one or path.startswith(f"{one.rstrip('/')}/") for one in folders)


def check_names(names: Iterable[str], where: str) -> None:
    """Raise ManifestInvalid unless every name is the path of a file below a folder, and none occurs twice.

    Refused are the empty name, absolute ones, empty and dotted parts, backslashes and control characters, and a file
    that is the folder of another.
    """
    seen: set[str] = set()
    for name in names:
        reason = refusal(name)
        if reason or name in seen:
            raise ManifestInvalid(where, f"the name {shown(name)!r}: {reason or 'it is listed twice'}")
        seen.add(name)
    for name in seen:
        folder = name
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            if folder in seen:
                raise ManifestInvalid(where, f"{shown(folder)!r} is a file and the folder of {shown(name)!r}")


def refusal(name: str) -> str:
    """Return why a name is not the path of a file below a folder, or nothing."""
    if name.startswith("/"):
        return "it is absolute"
    if len(name) > MAX_NAME or name.count("/") > MAX_DEPTH:
        return f"it is longer than {MAX_NAME} bytes, or more than {MAX_DEPTH} folders deep"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "it has an empty or dotted part"
    return unspeakable(name).replace("its name", "it")


def shown(name: str) -> str:
    """Return a name that nothing is known of, fit for display."""
    return printable(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")
