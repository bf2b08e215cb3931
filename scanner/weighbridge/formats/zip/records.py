"""The records of a zip file, decoded one at a time from a buffer.

Specification: PKWARE APPNOTE.TXT 6.3.10, §4.3 (layout), §4.4 (fields), §4.5.3 (zip64).
"""

from __future__ import annotations

from struct import Struct, error
from typing import Final, NamedTuple

from weighbridge.records import dataclass

STORED: Final = 0
LOCAL: Final = b"PK\x03\x04"
CENTRAL: Final = b"PK\x01\x02"
END: Final = b"PK\x05\x06"
DESCRIPTOR: Final = b"PK\x07\x08"
END64: Final = b"PK\x06\x06"
LOCATOR64: Final = b"PK\x06\x07"

END_SIZE: Final = 22
CENTRAL_SIZE: Final = 46
LOCAL_SIZE: Final = 30
LOCATOR64_SIZE: Final = 20
END64_SIZE: Final = 56

SENTINEL16: Final = 0xFFFF  # the value is in the zip64 record
SENTINEL32: Final = 0xFFFFFFFF
_FULL: Final = (SENTINEL16, SENTINEL32, SENTINEL32)  # a record that leaves everything to the zip64 record

DEFERRED: Final = 0x0008  # sizes and CRC follow the data in a descriptor
UTF8: Final = 0x0800
ENCRYPTED: Final = 0x0001 | 0x0040 | 0x2000  # traditional, strong, masked local headers

_LOCAL: Final = Struct("<4s2x2H4x3L2H").unpack_from
_CENTRAL: Final = Struct("<4s4x2H4x3L4H2x2L").unpack_from
_END: Final = Struct("<4s4H2LH").unpack_from
_END64: Final = Struct("<4sQ2H2L4Q").unpack_from
_LOCATOR64: Final = Struct("<4sLQL").unpack_from
_FIELD: Final = Struct("<2H").unpack_from
_U64: Final = Struct("<Q").unpack_from
_DESCRIPTOR32: Final = Struct("<3L").unpack_from
_DESCRIPTOR64: Final = Struct("<L2Q").unpack_from
_DESCRIPTORS: Final = ((_DESCRIPTOR32, 12), (_DESCRIPTOR64, 20))

# A small archive is looked at as bytes, whose parts are taken in a third of the time that those of a view take.
Bytes = bytes | memoryview


class Claim(NamedTuple):
    """What an end record says of its directory, which would end at `behind` if nothing was put between."""

    members: int
    size: int
    offset: int
    behind: int


@dataclass(slots=True)
class End:
    """An end record with its zip64 companions.

    `stop` is where its comment ends; `claims` holds what the 32-bit and the 64-bit records say, once when they
    agree; `spans` are the (begin, end) of all of them.
    """

    position: int
    stop: int
    comment: int
    claims: tuple[Claim, ...]
    spans: tuple[tuple[int, int], ...]
    odd: tuple[str, ...]


class Entry:
    """A member as one reader sees it: the fields of a central or a local header.

    `start` is its local header and `data` its first data byte (-1 when there is no local header); `record`
    is the header these fields were read from, `extra` the size of its extra fields. `agreed` is False when other
    readers see something else.
    Written out because archives have 200 000 of these: a dataclass takes three times as long to create.
    """

    __slots__ = (
        "agreed",
        "attributes",
        "crc",
        "data",
        "extra",
        "flags",
        "method",
        "name",
        "packed",
        "raw",
        "record",
        "size",
        "start",
    )

    def __init__(
        self,
        record: int,
        name: str,
        raw: bytes,
        flags: int,
        method: int,
        crc: int,
        packed: int,
        size: int,
        start: int,
        extra: int,
        attributes: int = 0,
        data: int = -1,
    ) -> None:
        self.record = record
        self.name = name
        self.raw = raw
        self.flags = flags
        self.method = method
        self.crc = crc
        self.packed = packed
        self.size = size
        self.start = start
        self.extra = extra
        self.attributes = attributes
        self.data = data
        self.agreed = True

    @property
    def stop(self) -> int:
        """The end of its data."""
        return self.data + self.packed


def signed(view: Bytes, position: int, signature: bytes) -> bool:
    """Tell whether a record's signature stands at `position`."""
    return view[position : position + 4] == signature


def decode_name(raw: bytes, flags: int) -> str:
    """Return a member's name: UTF-8 when flagged or valid as such, else code page 437.

    The bytes, not this text, are what is compared.
    """
    if raw.isascii():
        return raw.decode("ascii")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "surrogateescape") if flags & UTF8 else raw.decode("cp437")


def end_record(view: Bytes, position: int) -> End | None:
    """Decode the end record at `position`; None when it does not fit the bytes.

    A comment that does not fit is cut: torch does not look at its length, and zipfile takes what is there.
    """
    if position < 0 or position + END_SIZE > len(view):
        return None
    _, disk, start_disk, count_here, count, size, offset, comment = _END(view, position)
    stop = position + END_SIZE + comment
    odd = []
    if stop > len(view):
        odd.append(f"its comment has {comment} bytes, {len(view) - position - END_SIZE} are left")
        stop = len(view)
    if (disk, start_disk) != (0, 0):
        odd.append(f"it is disk {disk} of a set whose directory begins on disk {start_disk}")
    if count_here != count:
        odd.append(f"it counts {count_here} members on this disk and {count} in all")
    short = Claim(count, size, offset, position)
    claims, spans = _claims(view, position, short, odd)
    return End(position, stop, stop - position - END_SIZE, claims, (*spans, (position, stop)), tuple(odd))


def _claims(
    view: Bytes, position: int, short: Claim, odd: list[str]
) -> tuple[tuple[Claim, ...], tuple[tuple[int, int], ...]]:
    """Return what the 32-bit record and every zip64 record that some reader finds say, and where these lie."""
    place = position - LOCATOR64_SIZE
    if place < 0 or not signed(view, place, LOCATOR64):
        return (short,), ()
    _, _, absolute, _ = _LOCATOR64(view, place)
    spans = [(place, position)]
    claims: list[Claim] = []
    # By the locator's offset, as torch goes; and directly before the locator, as Python's zipfile does.
    for begin in dict.fromkeys((absolute, place - END64_SIZE)):
        if 0 <= begin <= place - END64_SIZE and signed(view, begin, END64):
            _, length, _, _, _, _, here, count, size, offset = _END64(view, begin)
            if here != count or length != END64_SIZE - 12:
                odd.append(f"the zip64 record has {length} bytes and counts {here} of {count} members")
            claims.append(Claim(count, size, offset, begin))
            spans.append((begin, begin + END64_SIZE))
    if len(claims) != 1:
        odd.append(f"{len(claims)} zip64 records follow from its locator")
    if not claims:
        return (short,), tuple(spans)
    wide = claims[0]
    if len(claims) == 1 and (short.members, short.size, short.offset) in (_FULL, wide[:3]):
        return (wide,), tuple(spans)
    merged = Claim(
        wide.members if short.members == SENTINEL16 else short.members,
        wide.size if short.size == SENTINEL32 else short.size,
        wide.offset if short.offset == SENTINEL32 else short.offset,
        claims[-1].behind,
    )
    distinct = tuple(dict.fromkeys((*claims, merged)))
    if len(distinct) > 1:
        odd.append(f"the 32-bit record says {merged}, the zip64 records {claims}")
    return distinct, tuple(spans)


def central_header(view: Bytes, position: int, base: int, odd: list[tuple[int, str]]) -> tuple[Entry, int] | None:
    """Decode the directory entry at `position`, whose member offsets count from `base`.

    Returns the entry and the position behind it, or None when there is none or it does not fit.
    """
    if position + CENTRAL_SIZE > len(view):
        return None
    fields = _CENTRAL(view, position)
    signature, flags, method, crc, packed, size, name_size, extra_size, comment_size, disk, attributes, start = fields
    name_end = position + CENTRAL_SIZE + name_size
    stop = name_end + extra_size + comment_size
    if signature != CENTRAL or name_end > len(view):
        return None
    if stop > len(view):  # zipfile takes what is there
        odd.append((position, f"the entry has {stop - position} bytes, {len(view) - position} are left"))
        stop = len(view)
    raw = bytes(view[position + CENTRAL_SIZE : name_end])
    if extra_size:
        extra = bytes(view[name_end : min(stop, name_end + extra_size)])
        size, packed, start = _zip64(extra, [size, packed, start], position, odd)
        _unicode_path(extra, raw, position, odd)
    if disk and disk != SENTINEL16:
        odd.append((position, f"the member is on disk {disk}"))
    name = raw.decode("ascii") if raw.isascii() else decode_name(raw, flags)
    return Entry(position, name, raw, flags, method, crc, packed, size, start + base, extra_size, attributes), stop


def local_header(view: Bytes, position: int, odd: list[tuple[int, str]]) -> Entry | None:
    """Decode the local header at `position`; None when there is none or it does not fit."""
    if position < 0 or position + LOCAL_SIZE > len(view):
        return None
    signature, flags, method, crc, packed, size, name_size, extra_size = _LOCAL(view, position)
    name_end = position + LOCAL_SIZE + name_size
    data = name_end + extra_size
    if signature != LOCAL or data > len(view):
        return None
    raw = bytes(view[position + LOCAL_SIZE : name_end])
    if SENTINEL32 in (packed, size):
        size, packed, _ = _zip64(bytes(view[name_end:data]), [size, packed, 0], position, odd)
    name = decode_name(raw, flags)
    return Entry(position, name, raw, flags, method, crc, packed, size, position, extra_size, 0, data)


def repeats(view: Bytes, entry: Entry) -> int:
    """Return where a member's data begin if its local header says what the directory says, else -1.

    Sizes and CRC may be left to a descriptor. That is how nearly every writer does it, and takes half the time of
    decoding the header to compare it.
    """
    start = entry.start
    if start < 0 or start + LOCAL_SIZE > len(view):
        return -1
    signature, flags, method, crc, packed, size, name_size, extra_size = _LOCAL(view, start)
    name_end = start + LOCAL_SIZE + name_size
    if flags & DEFERRED:
        sums_agree = crc == packed == size == 0
    else:
        sums_agree = crc == entry.crc and packed == entry.packed and size == entry.size and packed != SENTINEL32 != size
    if (
        sums_agree
        and flags == entry.flags
        and method == entry.method
        and signature == LOCAL
        and view[start + LOCAL_SIZE : name_end] == entry.raw
        and name_end + extra_size <= len(view)
    ):
        return int(name_end + extra_size)
    return -1


def _fields(extra: bytes) -> list[tuple[int, bytes]]:
    """Return the extra fields as (id, content); a field that does not fit ends the list."""
    fields, at = [], 0
    while at + 4 <= len(extra):
        kind, size = _FIELD(extra, at)
        if at + 4 + size > len(extra):
            break
        fields.append((kind, extra[at + 4 : at + 4 + size]))
        at += 4 + size
    return fields


def _zip64(extra: bytes, values: list[int], position: int, odd: list[tuple[int, str]]) -> list[int]:
    """Fill in those of size, packed size and offset that are kept in the zip64 field (§4.5.3)."""
    wanted = [index for index, value in enumerate(values) if value == SENTINEL32]
    if not wanted:
        return values
    content = [content for kind, content in _fields(extra) if kind == 1]
    if len(content) != 1 or len(content[0]) < 8 * len(wanted):
        odd.append((position, f"{len(content)} zip64 fields for {len(wanted)} values"))
        return values
    for place, index in enumerate(wanted):
        values[index] = _U64(content[0], 8 * place)[0]
    return values


def _unicode_path(extra: bytes, raw: bytes, position: int, odd: list[tuple[int, str]]) -> None:
    """Notice a second name in the Info-ZIP Unicode Path field (§4.6.9), which some readers prefer."""
    for kind, content in _fields(extra):
        if kind == 0x7075 and content[5:] != raw:
            odd.append((position, f"its Unicode path is {content[5:].decode('utf-8', 'replace')!r}"))


def descriptor_size(view: Bytes, position: int, entry: Entry) -> int:
    """Return the size of the data descriptor at `position` that repeats the entry's CRC and sizes, 0 if none does.

    The signature is optional and the sizes have 32 or 64 bits; nothing says which (§4.3.9).
    """
    sums = (entry.crc, entry.packed, entry.size)
    lead = 4 if view[position : position + 4] == DESCRIPTOR else 0
    while True:
        for decode, size in _DESCRIPTORS:
            try:
                if decode(view, position + lead) == sums:
                    return lead + size
            except error:
                continue
        if not lead:
            return 0
        lead = 0
