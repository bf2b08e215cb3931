"""7z archives: folders of packed bytes, each decoded as one, that hold files behind each other.

Decoded with the standard library: copy, LZMA, LZMA2, delta, branch filters over LZMA2, deflate and bzip2. Anything
else, encryption included, is a gap.

Specification: 7zFormat.txt and Methods.txt of the LZMA SDK (https://www.7-zip.org/sdk.html).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

MAGIC: Final = b"7z\xbc\xaf\x27\x1c"


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes start with the signature of 7z."""
    return sample.head[:6] == MAGIC


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield every file of every folder, then whatever belongs to none."""
    from weighbridge.formats.seven_zip.parse import parse as parse_archive

    return parse_archive(reader, context)


FORMAT: Final = Format("7z", "7z archive", sniff, parse, MAGIC[:1])
