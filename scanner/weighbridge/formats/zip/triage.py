"""A large archive in a registry, as far as its directory and its small members show it.

A tensor's local header lies in front of the tensor, so that looking at all of them would take one request each. Here
the directory is believed for large members, which are gaps, and members that may hold code are fetched and examined
like those of a local file. The whole download decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Anomaly, Fact, Gap
from weighbridge.formats.base import Context
from weighbridge.formats.zip import torch
from weighbridge.formats.zip.checks import names
from weighbridge.formats.zip.directory import Archive, candidates, directories, ends, listing, resolve
from weighbridge.formats.zip.members import Members
from weighbridge.formats.zip.records import END, LOCAL_SIZE, Entry, end_record
from weighbridge.reader import TAIL, Reader
from weighbridge.remote import TRIAGE, NotFetchedError, RangeReader

# A member up to this size is fetched; what can run code when it is loaded is hardly larger in ordinary models.
SMALL: Final = 4 << 20
# Room for the extra field of a local header, in which torch pads data to 64 bytes.
HEADER: Final = LOCAL_SIZE + 256


def parse(reader: RangeReader, context: Context) -> Iterator[Fact]:
    """Yield what the directory shows and what is found in small members; everything else is one gap.

    Raises NotFetchedError when even the directory is too large.
    """
    archive = _directory(reader, context.budget.limits.max_members - context.budget.members)
    roots = torch.roots(archive.entries)
    data = (
        {entry.name[:-4].lower() for entry in archive.entries if entry.name.lower().endswith(".pkl")}
        if roots
        else set()
    )
    fetched = [entry for entry in archive.entries if _wanted(entry, data) and _fetch(reader, entry)]
    for entry in fetched:
        resolve(reader.image, entry, {}, archive)
    for code, offset, detail in (*archive.oddities, *names(archive.entries)):
        yield Anomaly(location=reader.at(offset), code=code, detail=detail)
    members = Members(Reader(reader.image, reader.origin), context)
    if roots:
        yield from torch.parse(members, archive.entries, roots)
    else:
        for entry in archive.entries:
            yield from members.examine(entry)
    left = reader.size - sum(entry.packed for entry in fetched)
    yield Gap(location=reader.origin, reason="zip: large members were not fetched", size=max(0, left), limit=TRIAGE)


def _directory(reader: RangeReader, limit: int) -> Archive:
    """Return the members that the directory lists, none of them compared with its local header."""
    archive = Archive()
    _load_directories(reader)
    view = reader.image
    archive.ends = ends(view)
    for end in archive.ends:
        for directory in directories(view, end, archive):
            archive.entries += listing(view, directory, limit - len(archive.entries), archive)
    return archive


def _load_directories(reader: RangeReader) -> None:
    """Fetch the end of the file, and every place where an end record in it says that a directory lies."""
    begin = max(0, reader.size - TAIL)
    reader.load(begin, reader.size)
    tail = bytes(reader.image[begin:])
    at = tail.rfind(END)
    while at >= 0:
        end = end_record(reader.image, begin + at)
        if end is not None:
            for place in candidates(end):
                reader.load(place.start, place.start + place.claim.size)
        at = tail.rfind(END, 0, at + 3)


def _wanted(entry: Entry, data: set[str]) -> bool:
    """Tell whether a member is worth fetching; in the folders `data` torch keeps the storages of a pickle."""
    folder = "/".join(entry.name.lower().split("/")[:2])
    return folder not in data and entry.start >= 0 and 0 <= entry.packed <= SMALL


def _fetch(reader: RangeReader, entry: Entry) -> bool:
    try:
        reader.load(entry.start, entry.start + HEADER + len(entry.raw) + entry.packed)
    except NotFetchedError:
        return False
    return True
