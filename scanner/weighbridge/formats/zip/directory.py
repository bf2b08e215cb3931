"""Every member that any reader of a zip file would find in it.

Readers disagree. torch (miniz) takes the directory's offset as it stands; Python's zipfile counts back
from the end record and shifts every offset; a streaming reader goes by local headers alone and never
sees the directory. This module follows all of them and keeps the union: `Archive.entries` holds each
distinct reading of each member once, `Archive.oddities` each point on which two readings differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from weighbridge.formats.zip.records import (
    CENTRAL,
    CENTRAL_SIZE,
    DEFERRED,
    DESCRIPTOR,
    END,
    LOCAL,
    LOCATOR64,
    LOCATOR64_SIZE,
    SENTINEL16,
    Bytes,
    Claim,
    End,
    Entry,
    central_header,
    descriptor_size,
    end_record,
    local_header,
    repeats,
    signed,
)
from weighbridge.reader import TAIL, Sample, sparing

# How far the end of a stored member of unknown size is searched for. Only archives without a directory
# need it; the rest of a larger member is left to be examined as bytes of no member.
SEARCH: Final = 64 << 20
# End records that are followed. Two are already an anomaly; a comment could hold thousands, each of which
# claims the same directory again.
MAX_ENDS: Final = 16


class Oddity(NamedTuple):
    """A point on which readers of the same archive differ: an anomaly's code, its place and particulars."""

    code: str
    offset: int
    detail: str


class Directory(NamedTuple):
    """A central directory as one reader finds it; member offsets count from `base`."""

    start: int
    base: int
    claim: Claim


class Archive:
    """The union of what all readers see. `covered` are the (begin, end) of records and members' data."""

    __slots__ = ("covered", "ends", "entries", "oddities")

    def __init__(self) -> None:
        self.ends: list[End] = []
        self.entries: list[Entry] = []
        self.covered: list[tuple[int, int]] = []
        self.oddities: list[Oddity] = []

    def note(self, code: str, offset: int, detail: str) -> None:
        """Keep an oddity."""
        self.oddities.append(Oddity(code, offset, detail))


def read(view: Bytes, limit: int) -> Archive:
    """Return every member of the archive in `view`, at most about `limit` of them.

    Touches headers only: neither member data nor the bytes between members are read.
    """
    archive = Archive()
    archive.ends = ends(view)
    listed: dict[int, Entry] = {}
    for end in archive.ends:
        archive.covered += end.spans
        for detail in end.odd:
            archive.note("zip-end-record", end.position, detail)
        for directory in directories(view, end, archive):
            for entry in sparing(view, listing(view, directory, limit - len(archive.entries), archive)):
                resolve(view, entry, listed, archive)
    if len(archive.ends) > 1:
        places = ", ".join(f"{end.position:#x}" for end in archive.ends)
        archive.note("zip-several-ends", archive.ends[-1].position, f"end records at {places}")
    if not archive.ends:
        archive.note("zip-no-end", len(view), "no end record; its members are found by their local headers")
        _adopt(view, _walk(view, 0, listed, limit, archive), archive)
    for entry in [entry for entry in archive.entries if not entry.agreed and entry.data >= 0]:
        left = limit - len(archive.entries)
        _adopt(view, _walk(view, entry.stop, listed, left, archive), archive)
    return archive


def ends(view: Bytes) -> list[End]:
    """Return the end records that some reader would choose, the one nearest to the end of the bytes first.

    Readers search backwards. Most take the first signature they meet, some only one whose comment
    reaches exactly to the end; signatures inside a member's data therefore do not count.
    """
    begin = max(0, len(view) - TAIL)
    tail = bytes(view[begin:])
    found: list[End] = []
    at = tail.rfind(END)
    while at >= 0 and len(found) < MAX_ENDS:
        end = end_record(view, begin + at)
        if end is not None and (end.stop == len(view) or not found) and _plausible(view, end):
            found.append(end)
        at = tail.rfind(END, 0, at + 3)
    return found


def _plausible(view: Bytes, end: End) -> bool:
    for place in candidates(end):
        if signed(view, place.start, CENTRAL):
            return True
    return any(claim.size == claim.members == 0 for claim in end.claims)


def candidates(end: End) -> list[Directory]:
    """Return where the directory may lie: at its offset, and where it would end at the end record."""
    last = end.position - CENTRAL_SIZE
    found = []
    for claim in end.claims:
        start, adjusted = claim.offset, claim.behind - claim.size
        if 0 <= start <= last:
            found.append(Directory(start, 0, claim))
        if adjusted != start and 0 <= adjusted <= last:
            found.append(Directory(adjusted, adjusted - start, claim))
    return found


def directories(view: Bytes, end: End, archive: Archive) -> list[Directory]:
    """Return the directories that an end record leads to, and note where it contradicts itself."""
    found = [place for place in candidates(end) if signed(view, place.start, CENTRAL)]
    for claim in end.claims:
        adjusted = claim.behind - claim.size
        if adjusted != claim.offset and (claim.size or claim.members):
            detail = f"its offset says {claim.offset:#x}, its size and the end record say {adjusted:#x}"
            archive.note("zip-directory-offset", end.position, detail)
    if len(found) == 1:
        return found
    return list({(place.start, place.base): place for place in reversed(found)}.values())[::-1]


def listing(view: Bytes, directory: Directory, limit: int, archive: Archive) -> Iterator[Entry]:
    """Yield the entries of a directory while either its size or its count says that there are more."""
    start, base, claim = directory
    position, count, odd = start, 0, list[tuple[int, str]]()
    stop = start + claim.size
    while count <= limit and (position < stop or count < claim.members):
        decoded = central_header(view, position, base, odd)
        if decoded is None:
            break
        entry, position = decoded
        count += 1
        yield entry
    archive.covered.append((start, position))
    for place, detail in odd:
        archive.note("zip-header-field", place, detail)
    if count > limit:
        return  # the directory was left, and what is behind says nothing against it
    wrapped = claim.members == count & SENTINEL16  # a writer without zip64 counts modulo 65536
    if position != stop or not (claim.members == count or wrapped):
        detail = f"{count} entries in {position - start} bytes, the end record says {claim.members} in {claim.size}"
        archive.note("zip-directory-size", start, detail)


def resolve(view: Bytes, entry: Entry, listed: dict[int, Entry], archive: Archive) -> None:
    """Find the local header of a directory entry, compare the two and keep each distinct reading."""
    archive.entries.append(entry)
    entry.data = repeats(view, entry)
    if entry.data < 0:
        _compare(view, entry, listed, archive)
        return
    stop = entry.data + entry.packed
    if entry.flags & DEFERRED:
        stop += descriptor_size(view, stop, entry) or _descriptor(view, entry, archive)
    archive.covered.append((entry.start, stop))
    listed[entry.start] = entry


def _compare(view: Bytes, entry: Entry, listed: dict[int, Entry], archive: Archive) -> None:
    """Note where the local header of a directory entry differs from it, and keep its reading too if it has another."""
    odd: list[tuple[int, str]] = []
    local = local_header(view, entry.start, odd)
    if local is None:
        archive.note("zip-local-header", entry.record, f"no local header at {entry.start:#x} for {entry.name!r}")
        entry.agreed = False
        return
    entry.data = local.data
    stop = entry.stop
    if entry.flags & DEFERRED or local.flags & DEFERRED:
        stop += _descriptor(view, entry, archive, told=(local.packed, local.size) != (0, 0))
    archive.covered.append((entry.start, stop))
    listed[entry.start] = entry
    for place, detail in odd:
        archive.note("zip-header-field", place, detail)
    differences = list(_differences(entry, local))
    for code, detail in differences:
        archive.note(code, entry.start, detail)
    if differences:
        entry.agreed = False
        if (local.method, local.packed, local.size) != (entry.method, entry.packed, entry.size):
            _second_reading(entry, local, archive)


def _second_reading(entry: Entry, local: Entry, archive: Archive) -> None:
    """Keep the reading of those who believe the local header, unless that leaves its sizes open."""
    if not (local.flags & DEFERRED and local.packed == local.size == 0):
        local.agreed = False
        archive.entries.append(local)
    elif local.method != entry.method:
        local.agreed, local.packed, local.size, local.crc = False, entry.packed, entry.size, entry.crc
        archive.entries.append(local)


def _differences(entry: Entry, local: Entry) -> Iterator[tuple[str, str]]:
    """Yield code and detail of each field on which directory and local header differ.

    CVE-2025-1944 (name), CVE-2025-1945 (flags), CVE-2025-10156 (CRC): scanners that believe one header
    miss what a loader finds by the other.
    """
    if local.raw != entry.raw:
        yield "zip-local-name", f"{entry.name!r} in the directory, {local.name!r} in the local header"
    if local.flags != entry.flags:
        yield "zip-local-flags", f"{entry.name!r}: flags {entry.flags:#x}, {local.flags:#x} in the local header"
    if local.method != entry.method:
        yield "zip-local-method", f"{entry.name!r}: method {entry.method}, {local.method} in the local header"
    if local.flags & DEFERRED and local.packed == local.size == local.crc == 0:
        return
    if (local.packed, local.size) != (entry.packed, entry.size):
        sizes = f"{entry.packed} and {entry.size}, {local.packed} and {local.size} in the local header"
        yield "zip-local-size", f"{entry.name!r}: packed and unpacked size {sizes}"
    if local.crc != entry.crc:
        yield "zip-local-crc", f"{entry.name!r}: CRC {entry.crc:08x}, {local.crc:08x} in the local header"


def _descriptor(view: Bytes, entry: Entry, archive: Archive, *, told: bool = False) -> int:
    """Return the size of the descriptor behind the data, which has to be there unless the local header told the sizes.

    An empty member may go without, as torch writes it.
    """
    size = descriptor_size(view, entry.stop, entry)
    if size == 0 and entry.packed and not told:
        archive.note("zip-descriptor", entry.stop, f"no data descriptor with the sizes of {entry.name!r}")
    return size


def _walk(view: Bytes, start: int, listed: dict[int, Entry], limit: int, archive: Archive) -> Iterator[Entry]:
    """Yield the members that a streaming reader finds from `start` on, up to one that is listed."""
    odd: list[tuple[int, str]] = []
    while limit >= 0 and start not in listed:
        entry = local_header(view, start, odd)
        if entry is None:
            return
        if entry.flags & DEFERRED and entry.packed == entry.size == 0:
            _measure(view, entry)
        start = entry.stop
        if entry.flags & DEFERRED:
            start += descriptor_size(view, start, entry)
        listed[entry.start] = entry
        limit -= 1
        archive.covered.append((entry.start, min(start, len(view))))
        yield entry


def _measure(view: Bytes, entry: Entry) -> None:
    """Find the size of a member that only its descriptor tells: the first one that counts back to the data."""
    for packed in _signatures(view, entry.data):
        for width in (4, 8):
            sums = bytes(view[entry.data + packed + 4 : entry.data + packed + 8 + 2 * width])
            if len(sums) == 4 + 2 * width and int.from_bytes(sums[4 : 4 + width], "little") == packed:
                entry.crc = int.from_bytes(sums[:4], "little")
                entry.packed = packed
                entry.size = int.from_bytes(sums[4 + width :], "little")
                return
    entry.packed = entry.size = len(view) - entry.data


def _signatures(view: Bytes, begin: int) -> Iterator[int]:
    """Yield where descriptor signatures stand behind `begin`, counted from there, in pieces that grow."""
    step, at = 1 << 16, begin
    while at < min(len(view), begin + SEARCH):
        piece = bytes(view[at : at + step + 3])
        found = piece.find(DESCRIPTOR)
        while found >= 0:
            yield at + found - begin
            found = piece.find(DESCRIPTOR, found + 1)
        at, step = at + step, min(2 * step, 1 << 20)


def _adopt(view: Bytes, entries: Iterable[Entry], archive: Archive) -> None:
    """Keep members that no directory lists."""
    for entry in list(entries):
        entry.agreed = False
        archive.entries.append(entry)
        if archive.ends:
            archive.note("zip-unlisted-member", entry.start, f"{entry.name!r} is in no directory")


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin like an archive or hold a valid end record near their end.

    The signature of an end record occurs by chance in one of 65 000 large files; what it says of its
    directory must therefore hold. Where the directory lies outside the sample, its sizes must fit.
    """
    if sample.head.startswith((LOCAL, END)):
        return True
    tail, shift = memoryview(sample.tail), sample.size - len(sample.tail)
    at = sample.tail.rfind(END)
    while at >= 0:
        if _fits(sample, tail, at, shift):
            return True
        at = sample.tail.rfind(END, 0, at + 3)
    return False


def _fits(sample: Sample, tail: memoryview, at: int, shift: int) -> bool:
    if bytes(tail[max(0, at - LOCATOR64_SIZE) :][:4]) == LOCATOR64:
        return True
    end = end_record(tail, at)
    if end is None or end.claims[0].size < CENTRAL_SIZE:
        return False
    _, size, offset, _ = end.claims[0]
    starts = [start for start in (offset, shift + at - size) if 0 <= start <= shift + at - CENTRAL_SIZE]
    return any(_seen(sample, start, shift) in (CENTRAL, None) for start in starts)


def _seen(sample: Sample, offset: int, shift: int) -> bytes | None:
    """Return four bytes at `offset`, None when the sample does not hold them."""
    if offset + 4 <= len(sample.head):
        return sample.head[offset : offset + 4]
    return sample.tail[offset - shift : offset - shift + 4] if offset >= shift else None


def holes(covered: list[tuple[int, int]], size: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the (begin, end) of bytes that nothing covers and of bytes that are covered more than once."""
    bare, doubled, position = [], [], 0
    for begin, end in sorted(covered):
        if begin > position:
            bare.append((position, begin))
        elif begin < position and end > begin:
            doubled.append((begin, min(position, end)))
        if end > position:
            position = end if end < size else size
    if position < size:
        bare.append((position, size))
    return bare, doubled
