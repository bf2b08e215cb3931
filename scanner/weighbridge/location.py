"""Where in an artifact something was seen, how its text is shown, and how far the links of a folder may lead."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

_new: Final = tuple.__new__  # what making a named tuple calls, at twice the time


class Location(NamedTuple):
    """A byte offset inside a file, or inside a member of nested containers.

    A tuple, because a scan makes more of these than of anything else, and a tuple is made four times as fast.

    >>> str(Location(("model.pt", "archive/data.pkl"), 0x2F))
    'model.pt!archive/data.pkl@0x2f'
    """

    path: tuple[str, ...]
    offset: int = 0

    def at(self, offset: int) -> Location:
        """Return the same file or member at another offset."""
        return _new(Location, (self.path, offset))

    def inside(self, member: str) -> Location:
        """Return the start of `member` of this container."""
        return _new(Location, ((*self.path, member), 0))

    @property
    def name(self) -> str:
        """The file and its members without the offset, fit for display."""
        return "!".join(printable(part) for part in self.path)

    def __str__(self) -> str:
        return f"{self.name}@{self.offset:#x}"


def anchor(folder: str) -> str:
    """Return the folder that links below `folder` must not leave.

    It is `folder` itself, or the repository around it in a cache of the Hub's client, which keeps
    `models--<org>--<name>/snapshots/<commit>/` full of links into the folder `blobs/` beside `snapshots/`.
    """
    real = os.path.realpath(folder)
    repository, snapshots, _ = f"{real}{os.sep}".partition(f"{os.sep}snapshots{os.sep}")
    name = repository.rpartition(os.sep)[2]
    return repository if snapshots and name.startswith("models--") else real


def printable(text: str) -> str:
    r"""Escape what could drive a terminal or reorder a line.

    >>> print(printable("a\x1b[2J\u202eb"))
    a\x1b[2J\u202eb
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
