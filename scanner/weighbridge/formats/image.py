"""Pictures (PNG, JPEG, GIF, WebP) and sounds (WAV): their parts are stepped over, and what lies behind is examined.

Nothing is decoded. Every byte belongs to a part that the format defines, or it is told: a file can be a picture and
an archive at once. Specifications: https://www.w3.org/TR/png-3/, ITU-T T.81 (JPEG), the GIF89a specification,
https://developers.google.com/speed/webp/docs/riff_container
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from weighbridge.errors import ArtifactError, TruncatedError
from weighbridge.facts import Anomaly, Fact, Inert, Member
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

PNG: Final = b"\x89PNG\r\n\x1a\n"
# The parts of a PNG file that its specification, its extensions and common programs define; what another one holds
# nobody here knows.
_CHUNKS: Final = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV mDCv cLLI cLLi tEXt zTXt iTXt bKGD hIST pHYs sPLT "
    b"eXIf tIME acTL fcTL fdAT oFFs pCAL sCAL gIFg gIFt gIFx sTER dSIG fRAc iDOT CgBI caBX juMB vpAg caNv orNT exIf "
    b"zxIf meTa prVW mkBF mkBS mkBT mkTS npTc npLb npOl".split()
)
# Those of WebP and of WAV; names of three letters end in a space.
_PARTS: Final = frozenset(
    b"VP8 VP8L VP8X ALPH ANIM ANMF ICCP EXIF XMP fmt data fact LIST bext iXML axml chna cue smpl inst plst PEAK "
    b"JUNK junk PAD FLLR slnt wavl umid levl minf elm1 regn _PMX id3 ID3 acid strc afsp cart DISP".split()
)
# Markers of JPEG that have no length: restarts, the beginning, and one for temporary use.
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # what ends the data of a scan


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes open as a picture of one of these formats does."""
    return _ends(sample.head) is not None


def _ends(head: bytes) -> Callable[[Reader], int] | None:
    if head.startswith(PNG):
        return _end_of_png
    if head.startswith(b"\xff\xd8\xff"):
        return _end_of_jpeg
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return _end_of_gif
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"WAVE"):
        return _end_of_riff
    return None


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the picture as inert, and what lies behind it; raise ArtifactError when it has no end."""
    find = _ends(reader.sample.head)
    if find is None:
        return
    end = find(reader)
    yield Inert(location=reader.origin, size=end, reason="parts of a picture or a sound")
    if end < reader.size:
        size, place = reader.size - end, reader.at(end)
        yield Anomaly(location=place, code="image-trailing", detail=f"{size} bytes behind the end of the picture")
        context.budget.spend_members(place)
        yield Member(location=place, name="trailing", size=size, stored=size, type="trailing")
        yield from context.examine(reader.window(end, size, "trailing"), size)


def _end_of_png(reader: Reader) -> int:
    position = len(PNG)
    while True:
        size = int.from_bytes(reader.read(position, 4), "big")
        name = reader.read(position + 4, 4)
        if name not in _CHUNKS:
            raise ArtifactError(reader.at(position), f"a part of a PNG file that is not known: {name!r}")
        position += 12 + size
        if position > reader.size:
            raise TruncatedError(reader.at(reader.size), "the picture goes on behind the end")
        if name == b"IEND":
            return position


def _end_of_jpeg(reader: Reader) -> int:
    position, view = 2, reader.view
    while True:
        mark, kind = reader.read(position, 2)
        if mark != 0xFF:
            raise ArtifactError(reader.at(position), "no marker of a JPEG file")
        position += 1 if kind == 0xFF else 2
        if kind == 0xD9:
            return position
        if kind in _BARE or kind == 0xFF:
            continue
        position += int.from_bytes(reader.read(position, 2), "big")
        if kind == 0xDA:
            found = _MARKER.search(view, min(position, reader.size))
            if found is None:
                raise TruncatedError(reader.at(reader.size), "the picture goes on behind the end")
            position = found.start()


def _end_of_gif(reader: Reader) -> int:
    position = 13 + _colours(reader.read(10, 1)[0])
    while True:
        (kind,) = reader.read(position, 1)
        if kind == 0x3B:
            return position + 1
        if kind == 0x21:
            position += 2
        elif kind == 0x2C:
            position += 11 + _colours(reader.read(position + 9, 1)[0])
        else:
            raise ArtifactError(reader.at(position), "no block of a GIF file")
        while size := reader.read(position, 1)[0]:
            position += 1 + size
        position += 1


def _colours(flags: int) -> int:
    """Return the size of the table of colours that flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _end_of_riff(reader: Reader) -> int:
    end = 8 + int.from_bytes(reader.read(4, 4), "little")
    position = 12
    while position < end:
        name, size = reader.read(position, 4), int.from_bytes(reader.read(position + 4, 4), "little")
        if name.rstrip(b" ") not in _PARTS:
            raise ArtifactError(reader.at(position), f"a part of a RIFF file that is not known: {name!r}")
        position += 8 + size + (size & 1)
    if position != end or end > reader.size:
        raise ArtifactError(reader.at(min(position, reader.size)), "parts of a RIFF file that do not fit its size")
    return end


FORMAT: Final = Format("image", "picture or sound (PNG, JPEG, GIF, WebP, WAV)", sniff, parse, b"\x89\xffGR")
