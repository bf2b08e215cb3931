"""The members of an archive: what each is, and its bytes handed on to be examined."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Anomaly, Fact, Gap, Member, inert_member
from weighbridge.formats.base import Context, gap
from weighbridge.formats.zip.checks import escapes
from weighbridge.formats.zip.records import ENCRYPTED, STORED, Entry
from weighbridge.location import Location
from weighbridge.reader import Reader
from weighbridge.records import replace

# Stored members up to this size have their CRC checked. Larger ones would cost the reading of tensors
# that nothing else looks at, and a loader does not check them either.
CRC_LIMIT: Final = 1 << 20
TARGET_LIMIT: Final = 4096  # PATH_MAX of Linux

_TYPE_MASK: Final = 0o170000  # of a Unix mode, kept in the upper half of the attributes
_SYMLINK: Final = 0o120000
_FILES: Final = (0, 0o100000, 0o040000)

# What to do with a member's bytes, of which the second argument lie in the archive: `Context.examine`, or
# a parser for members whose meaning the archive's layout tells.
Look = Callable[[Reader, int], Iterable[Fact]]


class Members:
    """Examines members, each distinct run of bytes once."""

    def __init__(self, reader: Reader, context: Context) -> None:
        self.reader = reader
        self.context = context
        self._seen: set[tuple[int, int, int, int, Look]] = set()

    def stored(self, entry: Entry) -> bool:
        """Tell whether all readers see these same bytes, stored as they are and inside the file."""
        return (
            entry.agreed
            and entry.method == STORED
            and entry.packed == entry.size
            and 0 <= entry.data <= self.reader.size - entry.packed
            and not entry.flags & ENCRYPTED
        )

    def place(self, entry: Entry) -> Location:
        """Return where the archive holds a member's data, or its start when no local header says."""
        return self.reader.at(max(entry.data, 0))

    def inert(self, entry: Entry, reason: str) -> tuple[Fact, Fact]:
        """Return the facts of a stored member whose bytes are plain data; they are not read."""
        location = self.reader.at(entry.data)
        self.context.budget.spend_members(location)
        return inert_member(location, entry.name, entry.size, reason)

    def examine(self, entry: Entry, look: Look | None = None) -> Iterator[Fact]:
        """Yield a member and what is found in its bytes; one that cannot be read leaves a gap."""
        location = self.place(entry)
        self.context.budget.spend_members(location)
        kind, target = self._kind(entry)
        yield Member(location=location, name=entry.name, size=entry.size, stored=entry.packed, type=kind, target=target)
        if kind == "symlink" and escapes(target, entry.name.rpartition("/")[0]):
            yield Anomaly(location=location, code="link-escapes", detail=f"{entry.name!r} points to {target!r}")
        elif kind == "device":
            yield Anomaly(location=location, code="zip-device", detail=f"{entry.name!r} is a device, pipe or socket")
        if kind != "symlink":
            yield from self._bytes(entry, look or self.context.examine)

    def _kind(self, entry: Entry) -> tuple[str, str]:
        """Return the member's type and the target of a link."""
        mode = entry.attributes >> 16 & _TYPE_MASK
        if mode == _SYMLINK and self.stored(entry) and 0 < entry.packed <= TARGET_LIMIT:
            target = self.reader.read(entry.data, entry.packed)
            # zipfile reads a link as a file. Printable ASCII imports nothing, whatever loads it: both
            # opcodes that do so without the extension registry need a newline or a byte over 0x7F.
            if target.isascii() and target.decode("ascii").isprintable():
                return "symlink", target.decode("ascii")
        if mode not in _FILES:
            return ("file" if mode == _SYMLINK else "device"), ""
        return ("directory" if entry.name.endswith("/") else "file"), ""

    def _bytes(self, entry: Entry, look: Look) -> Iterator[Fact]:
        reading = (entry.data, entry.method, entry.packed, entry.size, look)
        if entry.data < 0 or reading in self._seen or entry.packed == entry.size == 0:
            return
        self._seen.add(reading)
        location = self.reader.at(entry.data)
        self.context.budget.check_time(location)
        if entry.stop > self.reader.size:
            reason = f"the member has {entry.packed} bytes, {self.reader.size - entry.data} are left"
            yield Gap(location=location, reason=reason, size=self.reader.size - entry.data)
        if entry.flags & ENCRYPTED:
            reason = "the member is marked as encrypted"
            yield Gap(location=location, reason=reason, size=min(entry.packed, self.reader.size - entry.data))
        yield from self._stored(entry, look) if entry.method == STORED else self._packed(entry, look)

    def _stored(self, entry: Entry, look: Look) -> Iterator[Fact]:
        left = self.reader.size - entry.data
        if entry.packed <= min(left, CRC_LIMIT):
            crc = zlib.crc32(self.reader.view[entry.data : entry.stop])
            if crc != entry.crc:
                yield self._crc(entry, crc)
        if entry.packed != entry.size:
            detail = f"stored in {entry.packed} bytes, said to be {entry.size}"
            yield Anomaly(location=self.reader.at(entry.data), code="zip-stored-size", detail=detail)
        for size in dict.fromkeys((min(entry.packed, left), min(entry.size, left))):
            yield from look(self.reader.window(entry.data, size, entry.name), size)

    def _packed(self, entry: Entry, look: Look) -> Iterator[Fact]:
        from weighbridge.formats.zip.unpack import Outcome, unpack

        outcome = Outcome()
        location = self.reader.at(entry.data)
        available = min(entry.packed, self.reader.size - entry.data)
        try:
            self._check_size(entry)
            content = unpack(self.reader, self.context, entry, outcome)
        except ArtifactError as error:
            yield replace(gap(error, "zip"), location=location, size=available)
            return
        yield from look(content, available)
        if outcome.error:
            reason = f"zip: {entry.name!r} does not unpack: {outcome.error}"
            yield Gap(location=location, reason=reason, size=available)
            return
        if outcome.crc != entry.crc:
            yield self._crc(entry, outcome.crc)
        if outcome.size != entry.size:
            detail = f"{entry.name!r} unpacks to {outcome.size} bytes, said to be {entry.size}"
            yield Anomaly(location=location, code="zip-size", detail=detail)
        if outcome.used < available:
            yield from self.beyond("hole", entry.data + outcome.used, entry.data + available)

    def _check_size(self, entry: Entry) -> None:
        """Raise LimitError for a member that admits to be too large, so that it leaves others their share."""
        budget = self.context.budget
        if entry.size > budget.limits.max_unpacked - budget.unpacked:
            reason = (
                f"max_unpacked: {entry.size} bytes of a member pass {budget.limits.max_unpacked} decompressed bytes"
            )
            raise LimitError(self.reader.at(entry.data), reason)

    def _crc(self, entry: Entry, crc: int) -> Anomaly:
        """CVE-2025-10156: a scanner that refuses a member over its CRC misses what torch loads."""
        detail = f"{entry.name!r} has CRC {crc:08x}, said to be {entry.crc:08x}"
        return Anomaly(location=self.reader.at(entry.data), code="zip-crc", detail=detail)

    def beyond(self, kind: str, begin: int, end: int) -> Iterator[Fact]:
        """Yield bytes that belong to no member (`prepended`, `trailing` or `hole`) and what is found in them."""
        location = self.reader.at(begin)
        size = end - begin
        self.context.budget.spend_members(location)
        name = f"{kind} at {begin:#x}" if kind == "hole" else kind
        yield Anomaly(location=location, code=f"zip-{kind}", detail=f"{size} bytes belong to no member")
        yield Member(location=location, name=name, size=size, stored=size, type=kind)
        yield from self.context.examine(self.reader.window(begin, size, name), size)
