"""What is odd about the members of an archive, taken by their names and fields alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from weighbridge.formats.zip.directory import Oddity
from weighbridge.formats.zip.records import DEFERRED, ENCRYPTED, UTF8, Entry

# Almost every name of almost every archive; the others are looked at in detail.
_ORDINARY: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9_.@+=][\w.@+=\- /,()~]*", re.ASCII).fullmatch
_PLAIN_FLAGS: Final = 0x0006 | DEFERRED | UTF8  # 0x0006: how hard deflate tried
_ODD_FLAGS: Final = ~(_PLAIN_FLAGS | ENCRYPTED)


def names(entries: Iterable[Entry]) -> Iterator[Oddity]:
    """Yield what is odd about names: duplicates, ways out of the folder, characters that readers take differently.

    torch looks a name up without regard to case and takes the first; Python's zipfile takes the last
    of those that are spelled the same.
    """
    first: dict[str, Entry] = {}
    for entry in entries:
        other = first.setdefault(entry.name.casefold(), entry)
        # The reading of a local header stands beside that of the directory; it is no second member.
        if other is not entry and not (other.start == entry.start and entry.record == entry.start):
            detail = f"{entry.name!r} is in the archive as {other.name!r} before"
            yield Oddity("zip-duplicate-member", entry.record, detail)
        if _ORDINARY(entry.name) is None:
            yield from _name(entry)
        if entry.flags | _PLAIN_FLAGS != _PLAIN_FLAGS:
            yield from _flags(entry)


def _flags(entry: Entry) -> Iterator[Oddity]:
    if entry.flags & _ODD_FLAGS:
        yield Oddity("zip-flags", entry.record, f"{entry.name!r} has flags {entry.flags:#x}")
    if entry.flags & ENCRYPTED:
        yield Oddity("zip-encrypted", entry.record, f"{entry.name!r} is marked as encrypted")


def _name(entry: Entry) -> Iterator[Oddity]:
    name = entry.name
    if escapes(name):
        yield Oddity("name-escapes", entry.record, f"{name!r} leads out of the folder it is unpacked to")
    if "\\" in name:
        yield Oddity("zip-backslash-name", entry.record, f"{name!r} has a backslash, a separator on Windows")
    if "\0" in name:
        yield Oddity("zip-nul-name", entry.record, f"{name!r} has a NUL, where some readers end the name")
    if name in ("", "/"):
        yield Oddity("zip-empty-name", entry.record, "a member has no name")


def escapes(path: str, folder: str = "") -> bool:
    r"""Tell whether `path`, seen from `folder` of an archive, leads out of it, with either separator.

    >>> escapes("../x"), escapes("a/../x"), escapes("C:\\x"), escapes("../x", "a/b")
    (True, True, True, False)
    """
    path = path.replace("\\", "/")
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return True
    if not folder:
        return ".." in path.split("/")
    depth = 0
    for part in f"{folder}/{path}".split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return False
