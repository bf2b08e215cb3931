"""From the paths a user names to the files that a scan has to answer for, in a stable order.

A named file is read even if it is a link: the user chose it. Inside a folder no link is followed: one to a place inside
needs no reading twice, and one that leaves is an anomaly, because the model would hold bytes that are not in it. What
cannot be listed or is no file of bytes (a device, a socket) is a gap. What a pattern excludes is kept by name, so that
a report can tell.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase

from weighbridge.digest import Digest
from weighbridge.errors import SourceError
from weighbridge.facts import Anomaly, Fact, Gap
from weighbridge.location import Location, anchor, printable
from weighbridge.records import dataclass, field
from weighbridge.remote import Blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One file to scan: the name it is shown under, and where the system finds it.

    `named` tells that the user named it, so that failing to open it is the user's to mend; `stored` that `path` is a
    place in a store, which says nothing of the files around it; `fact` is what the walk found instead of a file;
    `blocks` are what is fetched of a file that is in a registry, in place of `path`; `digest` is that of bytes that
    have just been written and digested, and need not be digested again; `expected` is the digest that they should have.
    """

    name: str
    path: str
    named: bool = False
    stored: bool = False
    digest: Digest | None = None
    expected: Digest | None = None
    fact: Fact | None = None
    blocks: Blocks | None = None


@dataclass(slots=True)
class Walk:
    """What a walk found; `excluded` are the names of the files that patterns left out."""

    targets: list[Target] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """Which files of a folder to scan: those that some `include` matches (all without one) and no `exclude` does.

    A pattern is matched against the path below the folder and against the last part of it alone.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def admit(self, target: Target, relative: str) -> bool:
        """Tell whether a target is to be answered for; only `exclude` can drop what is no readable file."""
        included = not self.include or target.fact is not None or _matches(relative, self.include)
        return included and not _matches(relative, self.exclude)


def walk(paths: list[str], patterns: Patterns) -> Walk:
    """Return every file under `paths`, sorted by name within a folder and each once.

    Raises SourceError when a named path does not exist, cannot be listed or is neither file nor folder.
    """
    result, seen = Walk(), set()
    every = not (patterns.include or patterns.exclude)
    for path in paths:
        for target in _named(path):
            if target.name in seen:
                continue
            seen.add(target.name)
            if every or target.named or patterns.admit(target, os.path.relpath(target.path, path).replace(os.sep, "/")):
                result.targets.append(target)
            else:
                result.excluded.append(target.name)
    return result


def _named(path: str) -> Iterator[Target]:
    """Yield the targets of a path that the user named."""
    name = _shown(path)
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - see `rule_files`
    except OSError as error:
        raise SourceError(f"{printable(name)}: {error.strerror}") from error
    except ValueError as error:  # a NUL byte in the name
        raise SourceError(f"{printable(name)}: {error}") from error
    if stat.S_ISREG(mode):
        yield Target(name=name, path=path, named=True)
    elif stat.S_ISDIR(mode):
        if not os.access(path, os.R_OK | os.X_OK):
            raise SourceError(f"{printable(name)}: Permission denied")
        yield from _folder(path, anchor(path))
    else:
        raise SourceError(f"{printable(name)}: neither a file nor a folder")


def _folder(top: str, root: str) -> Iterator[Target]:
    """Yield what a folder holds, in the order of its names; `root` is the folder that links must not leave."""
    here = os.path.realpath(top)
    stack: list[Iterator[os.DirEntry[str]]] = [_entries(top)]
    trail = [top]
    while stack:
        try:
            entry = next(stack[-1], None)
        except OSError as error:
            stack.pop()
            yield _found(trail.pop(), Gap, reason=f"the folder cannot be listed: {error.strerror}", size=0)
            continue
        if entry is None:
            stack.pop()
            trail.pop()
        elif entry.is_symlink():
            yield from _link(entry.path, here, root)
        elif entry.is_dir(follow_symlinks=False):
            stack.append(_entries(entry.path))
            trail.append(entry.path)
        elif entry.is_file(follow_symlinks=False):
            yield Target(name=_shown(entry.path), path=entry.path)
        else:
            yield _found(entry.path, Gap, reason="a device, pipe or socket instead of a file", size=0)


def _entries(path: str) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder by name; lazily, so that the caller can answer for a folder that cannot be read."""
    with os.scandir(path) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    yield from found


def _link(path: str, here: str, root: str) -> Iterator[Target]:
    """Yield what a link inside a folder stands for; nothing for one to a file or folder that the walk meets anyway.

    `here` is the folder that is walked, `root` the one around it that links must not leave.
    """
    from pathlib import Path

    aim, told = Path(os.path.realpath(path)), printable(str(Path(path).readlink()))
    if not aim.is_relative_to(here) and aim.is_relative_to(root) and aim.is_file():
        yield Target(name=_shown(path), path=str(aim))
    elif not aim.is_relative_to(here):
        yield _found(path, Anomaly, code="link-escapes", detail=f"the link leads to {told}, outside the folder")
    elif not aim.exists():
        yield _found(path, Gap, reason=f"a link to {told}, which does not exist", size=0)


def _found(path: str, kind: type[Anomaly | Gap], **particulars: object) -> Target:
    name = _shown(path)
    return Target(name=name, path=path, fact=kind(location=Location((name,)), **particulars))  # type: ignore[arg-type]


def _matches(relative: str, patterns: tuple[str, ...]) -> bool:
    last = relative.rpartition("/")[2]
    return any(fnmatchcase(relative, pattern) or fnmatchcase(last, pattern) for pattern in patterns)


def _shown(path: str) -> str:
    """Return the name under which a path is reported: normalised, with forward slashes."""
    return os.path.normpath(path).replace(os.sep, "/")
