"""zip: facts of every member that any reader would find, and of every byte that belongs to none.

What torch and Python's zipfile accept was measured, not taken from the specification; see
`directory` for where they differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Anomaly, Fact, Gap, Inert, Metadata
from weighbridge.formats.base import Context
from weighbridge.formats.zip import extras, torch
from weighbridge.formats.zip.checks import names
from weighbridge.formats.zip.directory import Archive, holes, read
from weighbridge.formats.zip.members import Members
from weighbridge.formats.zip.records import CENTRAL, END, END_SIZE
from weighbridge.reader import Reader

# Zeros between members, up to a page of an aligning writer.
PADDING: Final = 4096
SMALL: Final = 1 << 16  # bytes of an archive that are copied in less time than its headers take to be read from a view


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield what readers disagree on, then the members, then the bytes that belong to none.

    Raises LimitError when there are more members than the budget allows.
    """
    view = bytes(reader.view) if reader.size <= SMALL else reader.view
    archive = read(view, context.budget.limits.max_members - context.budget.members)
    for code, offset, detail in archive.oddities:
        yield Anomaly(location=reader.at(offset), code=code, detail=detail)
    for code, offset, detail in names(archive.entries):
        yield Anomaly(location=reader.at(offset), code=code, detail=detail)
    for offset, size, what in extras.unknown(view, archive.entries):
        yield Gap(location=reader.at(offset), reason=f"zip: {what}", size=size)
    members = Members(reader, context)
    yield from _comment(reader, members, archive)
    if roots := torch.roots(archive.entries):
        yield from torch.parse(members, archive.entries, roots)
    else:
        for entry in archive.entries:
            yield from members.examine(entry)
    yield from _rest(reader, members, archive)


def _comment(reader: Reader, members: Members, archive: Archive) -> Iterator[Fact]:
    """Look at the comment behind the end record: a line of text for people, or a place to keep something else.

    Printable ASCII without a newline imports nothing, whatever loads it as a pickle.
    """
    # Where there are several end records, the first one's comment holds the others.
    end = min(archive.ends, key=lambda end: end.position, default=None)
    if end is None or not end.comment:
        return
    begin = end.position + END_SIZE
    comment = reader.read(begin, end.comment)
    if b"PK" not in comment and comment.isascii() and comment.decode("ascii").isprintable():
        yield Metadata(location=reader.at(begin), key="zip-comment", value=comment.decode("ascii"))
        return
    if CENTRAL in comment or END in comment:
        detail = f"the comment of {end.comment} bytes holds directory records"
        yield Anomaly(location=reader.at(begin), code="zip-comment-directory", detail=detail)
    yield from members.beyond("trailing", begin, end.stop)


def _rest(reader: Reader, members: Members, archive: Archive) -> Iterator[Fact]:
    bare, doubled = holes(archive.covered, reader.size)
    if doubled:
        begin, end = doubled[0]
        detail = f"{len(doubled)} members or records overlap others, the first by {end - begin} bytes"
        yield Anomaly(location=reader.at(begin), code="zip-overlap", detail=detail)
    for begin, end in bare:
        size = end - begin
        if size == reader.size:
            yield Gap(location=reader.origin, reason="zip: neither a member nor a directory can be read", size=size)
        elif size <= PADDING and not any(reader.view[begin:end]):
            yield Inert(location=reader.at(begin), size=size, reason="zero padding")
        else:
            kind = "prepended" if begin == 0 else "trailing" if end == reader.size else "hole"
            yield from members.beyond(kind, begin, end)
