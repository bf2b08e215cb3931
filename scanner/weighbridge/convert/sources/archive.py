"""Zip archives that weights are in: refused where two readers could see different members, and their members' bytes."""

from __future__ import annotations

from typing import Final

from weighbridge.convert.plan import Checksum, Range
from weighbridge.convert.sources.base import Inputs
from weighbridge.errors import ArtifactError
from weighbridge.facts import Fact
from weighbridge.formats.base import Context
from weighbridge.formats.zip.checks import names
from weighbridge.formats.zip.directory import Archive, holes, read
from weighbridge.formats.zip.records import ENCRYPTED, STORED, Entry
from weighbridge.formats.zip.unpack import Outcome, unpack
from weighbridge.reader import Reader

LOCAL: Final = b"PK\x03\x04"
PADDING: Final = 4096  # zeros between members, up to a page


def listed(inputs: Inputs) -> Archive | None:
    """Return the members of the file when it begins as a zip does, whatever is odd about it; None when it does not."""
    if not inputs.reader.sample.head.startswith(LOCAL):
        return None
    return read(inputs.reader.view, inputs.budget.limits.max_members)


def checked(inputs: Inputs) -> Archive:
    """Return the members of the file; raise ArtifactError at the first point on which readers of zips differ."""
    reader = inputs.reader
    archive = read(reader.view, inputs.budget.limits.max_members)
    for _, offset, detail in (*archive.oddities, *names(archive.entries)):
        raise ArtifactError(reader.at(offset), f"readers of zip files differ on it: {detail}")
    bare, doubled = holes(archive.covered, reader.size)
    for begin, end in doubled:
        reason = f"members or records overlap by {end - begin} bytes"
        raise ArtifactError(reader.at(begin), reason)
    for begin, end in bare:
        if end - begin > PADDING or any(reader.view[begin:end]):
            raise ArtifactError(reader.at(begin), f"{end - begin} bytes belong to no member")
    return archive


def member(inputs: Inputs, entry: Entry) -> tuple[int, int, Reader]:
    """Return the store that holds a member's bytes, where they begin in it, and a reader over them.

    Stored members stay where they are, packed ones are unpacked into a store of their own. Raises ArtifactError when a
    member is encrypted or broken, LimitError when it grows beyond the limits.
    """
    reader = inputs.reader
    if entry.flags & ENCRYPTED or not entry.agreed or entry.data < 0:
        reason = "it is encrypted" if entry.flags & ENCRYPTED else "its headers disagree"
        raise ArtifactError(reader.at(max(0, entry.data)), f"{entry.name}: {reason}")
    if entry.method == STORED:
        if entry.packed != entry.size:
            reason = f"it is stored in {entry.packed} bytes and said to have {entry.size}"
            raise ArtifactError(reader.at(entry.data), f"{entry.name}: {reason}")
        return 0, entry.data, reader.window(entry.data, entry.size, entry.name)
    outcome = Outcome()
    unpacked = unpack(reader, Context(inputs.budget, _nothing), entry, outcome)
    told = (outcome.size, outcome.crc, outcome.used)
    if outcome.error or told != (entry.size, entry.crc, entry.packed):
        reason = outcome.error or "size or CRC of what comes out are not what the archive says"
        raise ArtifactError(reader.at(entry.data), f"{entry.name}: {reason}")
    return inputs.add_computed(unpacked), 0, unpacked


def _nothing(_reader: Reader, _stored: int) -> tuple[Fact, ...]:
    return ()


def checksum(entry: Entry) -> tuple[Checksum, ...]:
    """Return what the archive says of a stored member, for a pass over its bytes; one that was unpacked was summed."""
    if entry.method != STORED:
        return ()
    return (Checksum(data=Range(begin=entry.data, size=entry.size), crc=entry.crc, member=entry.name),)
