"""What a policy asks of a model besides what a scan finds: where it is from, how large, in which formats, by whom.

Every function returns what is not met; nothing of it can be waived, because the policy itself says it.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from weighbridge.location import printable
from weighbridge.records import dataclass

# How many files a line names before it only counts them.
_NAMED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What a gate asks; whatever is empty or absent asks nothing.

    `formats` are the only ones that approved files may have and `forbidden` those that they may not. `sources` are
    globs of references without their revision, `*` for any part of them. `max_size` is in bytes, of all files together.
    `licences` are those that a model card may declare, whatever the case; with any, a card has to declare one.
    """

    formats: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    max_size: int | None = None
    pinned: bool = False
    signature: bool = False

    def __post_init__(self) -> None:
        if both := set(self.formats) & set(self.forbidden):
            raise ValueError(f"{sorted(both)[0]!r} is both among 'formats' and 'forbidden'")
        if self.max_size is not None and self.max_size < 1:
            raise ValueError("'max_size' is a number of bytes, at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmet:
    """A requirement that is not met: a code that never changes, the place, what is wrong, and the way out."""

    code: str
    where: str
    reason: str
    fix: str


def of_source(asked: Requirements, *, source: str, requested: str, revision: str, size: int) -> list[Unmet]:
    """Return what the reference of a model and the bytes of all its files do not meet.

    `requested` is the revision that was asked for, `revision` what it meant.
    """
    where, found = printable(source), []
    if asked.sources and not any(fnmatchcase(source, pattern) for pattern in asked.sources):
        patterns = ", ".join(printable(pattern) for pattern in asked.sources)
        reason = f"the policy allows models from {patterns} alone"
        found.append(
            Unmet(code="SOURCE", where=where, reason=reason, fix="take the model from there, or allow its source")
        )
    if asked.pinned and requested != revision:
        reason = f"{printable(requested) or 'no revision'} was asked for, which may mean other bytes tomorrow"
        found.append(Unmet(code="UNPINNED", where=where, reason=reason, fix=f"ask for {where}@{printable(revision)}"))
    if asked.max_size is not None and size > asked.max_size:
        reason = f"{size} bytes, the policy allows {asked.max_size}"
        found.append(
            Unmet(code="SIZE", where=where, reason=reason, fix="leave out files with --exclude, or allow more")
        )
    return found


def of_files(asked: Requirements, files: Iterable[tuple[str, tuple[str, ...]]]) -> list[Unmet]:
    """Return what the files that are to be approved do not meet: their paths, each with the formats it has."""
    wrong: dict[str, list[str]] = {}
    for path, formats in files:
        for one in formats:
            if one in asked.forbidden or (asked.formats and one not in asked.formats):
                wrong.setdefault(one, []).append(printable(path))
    fix = "convert it, leave it out with --exclude, or allow the format"
    return [
        Unmet(code="FORMAT", where=paths[0], reason=f"the policy allows no {one}{_others(paths)}", fix=fix)
        for one, paths in sorted(wrong.items())
    ]


def _others(paths: list[str]) -> str:
    """Return what else is concerned, shortly."""
    rest = paths[1:_NAMED]
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return f", and so for {', '.join(rest)}{more}" if rest else ""


def of_licences(asked: Requirements, declared: tuple[str, ...], source: str) -> list[Unmet]:
    """Return what the licences that a model card declares do not meet."""
    allowed = {one.casefold() for one in asked.licences}
    refused = [printable(one) for one in declared if one.casefold() not in allowed]
    if not asked.licences or (declared and not refused):
        return []
    names = ", ".join(asked.licences)
    said = f"the model card declares {', '.join(refused)}" if refused else "no model card declares a licence"
    fix = "have the terms read, and allow the licence in the policy if they can be kept"
    return [Unmet(code="LICENCE", where=printable(source), reason=f"{said}; the policy allows {names}", fix=fix)]
