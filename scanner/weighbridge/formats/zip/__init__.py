"""zip archives, those that torch writes among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample
from weighbridge.remote import WHOLE, RangeReader

_LOCAL: Final = b"PK\x03\x04"
_END: Final = b"PK\x05\x06"


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin like an archive or hold a valid end record near their end."""
    if sample.head.startswith(_LOCAL):
        return True
    if _END not in sample.tail:
        return False
    from weighbridge.formats.zip import directory

    return directory.sniff(sample)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield what readers disagree on, then the members, then the bytes that belong to none."""
    if isinstance(reader, RangeReader) and reader.size > WHOLE:
        from weighbridge.formats.zip.triage import parse as parse_directory

        return parse_directory(reader, context)
    return _parser()(reader, context)


@cache
def _parser() -> Callable[[Reader, Context], Iterator[Fact]]:
    """Return what parses an archive; importing it takes time even when it has been imported."""
    from weighbridge.formats.zip.parse import parse as parse_archive

    return parse_archive


FORMAT: Final = Format("zip", "zip archive", sniff, parse)
