"""tar archives: v7, ustar, pax and GNU, read header by header; members are windows, never copies.

Nothing is extracted, so a name cannot do harm here; names that would harm an extracting reader are
anomalies. A header counts by its check sum, as every reader holds it, not by its magic.

Sources: POSIX.1-2017 pax (ustar and extended headers), the GNU tar manual ("Basic Tar Format"),
CVE-2007-4559 (names that leave the directory), CVE-2025-4517 (links through links).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

BLOCK: Final = 512

_CHECKSUM: Final = slice(148, 156)
_OCTAL: Final = frozenset(b"01234567")


def sniff(sample: Sample) -> bool:
    """Tell whether the first block is a header with the right check sum."""
    head = sample.head
    return len(head) >= BLOCK and _may_be_number(head[_CHECKSUM]) and checksum_fits(head[:BLOCK])


def _may_be_number(text: bytes) -> bool:
    """Refuse most other formats before anything is added up."""
    return text[0] in b" \x8001234567" and text[7] in b"\0 01234567" and text.strip(b"\0 ") != b""


def checksum_fits(block: bytes) -> bool:
    """Compare the check sum with the sum of the bytes, unsigned or, as old writers had it, signed."""
    try:
        wanted = number(block[_CHECKSUM])
    except ValueError:
        return False
    unsigned = sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")
    signed = unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
    return wanted in (unsigned, signed)


def number(text: bytes) -> int:
    """Return an octal or base-256 field; raise ValueError for what only some readers take."""
    if text[0] == 0x80:
        return int.from_bytes(text[1:], "big")
    digits = text.partition(b"\0")[0].strip(b" ")
    if not _OCTAL.issuperset(digits):
        raise ValueError(f"{text!r} is not an octal number")
    return int(digits or b"0", 8)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield every member and what it holds, then whatever follows the end of the archive."""
    from weighbridge.formats.tar.parse import parse as parse_archive

    return parse_archive(reader, context)


FORMAT: Final = Format("tar", "tar archive", sniff, parse)
