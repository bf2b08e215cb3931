"""The folders and files of a 7z archive."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from weighbridge.digest import CHUNK
from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Anomaly, Fact, Gap, Member
from weighbridge.formats.base import Context
from weighbridge.formats.compressed import MEMORY
from weighbridge.formats.compressed.parse import FEED, Decoder, Zlib
from weighbridge.formats.seven_zip.header import (
    ENCODED_HEADER,
    HEADER,
    Coder,
    Contents,
    Entry,
    Folder,
    number,
    read_header,
    read_streams,
)
from weighbridge.formats.zip.checks import escapes
from weighbridge.reader import Reader

START: Final = 32  # the signature header
HEADER_LIMIT: Final = 16 << 20  # decoded; a file takes 40 bytes or so
HEADERS_LIMIT: Final = 4  # an encoded header may hold another; writers stop at one
TARGET_LIMIT: Final = 1 << 12  # of a link, as the longest path of most systems
LZMA_END: Final = 6
LZMA2_LARGEST: Final = 40  # stands for a dictionary of 4 GiB
LZMA_PROPERTIES: Final = 5

_LZMA, _LZMA2, _COPY, _DELTA = b"\x03\x01\x01", b"\x21", b"\0", b"\x03"
_DEFLATE, _BZIP2 = b"\x04\x01\x08", b"\x04\x02\x02"
_FILTERS: Final = {
    b"\x04": lzma.FILTER_X86,
    b"\x05": lzma.FILTER_POWERPC,
    b"\x06": lzma.FILTER_IA64,
    b"\x07": lzma.FILTER_ARM,
    b"\x08": lzma.FILTER_ARMTHUMB,
    b"\x09": lzma.FILTER_SPARC,
    b"\x03\x03\x01\x03": lzma.FILTER_X86,
    b"\x03\x03\x02\x05": lzma.FILTER_POWERPC,
    b"\x03\x03\x04\x01": lzma.FILTER_IA64,
    b"\x03\x03\x05\x01": lzma.FILTER_ARM,
    b"\x03\x03\x07\x01": lzma.FILTER_ARMTHUMB,
    b"\x03\x03\x08\x05": lzma.FILTER_SPARC,
}
_NAMES: Final = {
    b"\x06\xf1\x07\x01": "encryption",
    b"\x03\x04\x01": "PPMd",
    b"\x03\x03\x01\x1b": "BCJ2",
    b"\x04\xf7\x11\x01": "zstd",
}


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield every file of every folder, then whatever belongs to none.

    Raises ArtifactError when the header does not parse, after which nothing of the archive is known.
    """
    reader.seek(12)
    offset, size = reader.u64(), reader.u64()
    yield from _check(reader, 12, reader.read(12, 20), int.from_bytes(reader.read(8, 4), "little"))
    header = reader.window(START + offset, size)
    yield from _check(reader, START + offset, header.view, int.from_bytes(reader.read(28, 4), "little"))
    covered = [(0, START), (START + offset, START + offset + size)]
    try:
        contents = _read(reader, context, header, covered) if size else Contents()
    except LimitError:
        raise
    except (ArtifactError, UnicodeDecodeError) as error:
        reason = error.reason if isinstance(error, ArtifactError) else str(error)
        raise ArtifactError(reader.at(START + offset), f"the header: {reason}") from error
    yield from _contents(reader, context, contents)
    covered += [(START + f.offset, START + f.offset + sum(f.packed)) for f in contents.folders]
    yield from _uncovered(reader, context, sorted(covered))


def _check(reader: Reader, place: int, data: bytes | memoryview, check: int | None) -> Iterator[Fact]:
    if check is not None and zlib.crc32(data) != check:
        detail = f"{len(data)} bytes whose CRC-32 is not {check:#010x}"
        yield Anomaly(location=reader.at(place), code="7z-check", detail=detail)


def _read(reader: Reader, context: Context, header: Reader, covered: list[tuple[int, int]]) -> Contents:
    """Decode the header, which is packed itself as a rule."""
    for _ in range(HEADERS_LIMIT):
        kind = number(header)
        if kind == HEADER:
            return read_header(header)
        folders = read_streams(header) if kind == ENCODED_HEADER else ()
        if len(folders) != 1 or folders[0].size > HEADER_LIMIT:
            break
        stream = _Stream(reader, folders[0], _decoder(reader, folders[0]))
        header = context.spool(stream.chunks(), reader.origin, stream.packed)
        if stream.broken:
            raise ArtifactError(reader.at(stream.start), stream.broken)
        covered.append((stream.start, stream.start + stream.packed))
    raise ArtifactError(reader.origin, "neither a header nor one that is packed")


def _contents(reader: Reader, context: Context, contents: Contents) -> Iterator[Fact]:
    full = [entry for entry in contents.entries if not entry.empty]
    if len(full) != sum(len(folder.files) for folder in contents.folders):
        raise ArtifactError(reader.origin, f"{len(full)} names for another number of files")
    names: set[str] = set()
    for entry in contents.entries:
        context.budget.spend_members(reader.origin)
        if escapes(entry.name):
            detail = f"{entry.name!r} leads out of the folder it is unpacked to"
            yield Anomaly(location=reader.origin, code="name-escapes", detail=detail)
        if entry.name in names:
            yield Anomaly(location=reader.origin, code="7z-duplicate-member", detail=f"{entry.name!r} comes again")
        names.add(entry.name)
        if entry.empty:
            kind = "directory" if entry.directory else "file"
            yield Member(location=reader.origin, name=entry.name, size=0, stored=0, type=kind)
    position = 0
    for folder in contents.folders:
        yield from _folder(reader, context, folder, full[position : position + len(folder.files)])
        position += len(folder.files)


@dataclass(slots=True)
class _Stream:
    """What comes out of a folder; `used` counts the packed bytes that it took."""

    reader: Reader
    folder: Folder
    decoder: Decoder
    used: int = 0
    broken: str = ""

    @property
    def start(self) -> int:
        return START + self.folder.offset

    @property
    def packed(self) -> int:
        return sum(self.folder.packed)

    def chunks(self) -> Iterator[bytes]:
        """Yield exactly the folder's size, less when the packed bytes break."""
        view = self.reader.window(self.start, self.packed).view
        left, decoder = self.folder.size, self.decoder
        while left:
            data = bytes(view[self.used : self.used + FEED]) if decoder.needs_input else b""
            if decoder.eof or (decoder.needs_input and not data):
                self.broken = "the packed bytes end early"
                return
            try:
                chunk = decoder.decompress(data, min(CHUNK, left))
            except (zlib.error, lzma.LZMAError, OSError) as error:
                self.broken = str(error)
                return
            self.used += len(data)
            left -= len(chunk)
            yield chunk
        self.used -= len(decoder.unused_data or b"")


def _folder(reader: Reader, context: Context, folder: Folder, entries: list[Entry]) -> Iterator[Fact]:
    """Decode a folder and examine the files in it."""
    place, packed = reader.at(START + folder.offset), sum(folder.packed)
    try:
        stream = _Stream(reader, folder, _decoder(reader, folder))
    except ArtifactError as error:
        for entry, (size, _) in zip(entries, folder.files, strict=True):
            yield Member(location=place, name=entry.name, size=size)
        yield Gap(location=place, reason=f"7z: {error.reason}", size=packed)
        return
    content = context.spool(stream.chunks(), reader.origin, packed)
    position = 0
    for entry, (size, check) in zip(entries, folder.files, strict=True):
        there = max(0, min(size, content.size - position))
        stored = packed * there // max(1, folder.size)
        file = content.window(min(position, content.size), there, entry.name)
        if there == size:
            yield from _check(reader, stream.start, file.view, check)
        yield from _file(reader, context, stream.start, entry, file, stored)
        position += size
    if stream.broken:
        missing = packed * (folder.size - content.size) // max(1, folder.size)
        yield Gap(location=place, reason=f"7z: {stream.broken}", size=missing)
    elif packed - stream.used > _slack(folder):
        reason = f"7z: {packed - stream.used} packed bytes that decode to nothing"
        yield Gap(location=reader.at(stream.start + stream.used), reason=reason, size=packed - stream.used)


def _slack(folder: Folder) -> int:
    """LZMA2 ends with a byte, LZMA with up to 6, that the decoder has not asked for when the last file is out."""
    return LZMA_END if folder.coders[-1].method in (_LZMA, _LZMA2) else 0


def _file(reader: Reader, context: Context, place: int, entry: Entry, file: Reader, stored: int) -> Iterator[Fact]:
    target = ""
    if entry.symlink and file.size <= TARGET_LIMIT:
        target = bytes(file.view).decode("utf-8", "replace")
        if escapes(target, entry.name.rpartition("/")[0]) or target.startswith("/"):
            detail = f"{entry.name!r} points to {target!r}"
            yield Anomaly(location=reader.at(place), code="link-escapes", detail=detail)
    kind = "symlink" if target else "file"
    yield Member(location=reader.at(place), name=entry.name, size=file.size, stored=stored, type=kind, target=target)
    if not target:
        yield from context.examine(file, stored)


def _uncovered(reader: Reader, context: Context, covered: list[tuple[int, int]]) -> Iterator[Fact]:
    """Report and examine the bytes between, and behind, the parts of the archive."""
    position = 0
    for begin, end in [*covered, (reader.size, reader.size)]:
        if begin > position:
            size, place = begin - position, reader.at(position)
            yield Anomaly(location=place, code="7z-hole", detail=f"{size} bytes that belong to no file")
            name = "trailing" if begin == reader.size else f"hole at {position:#x}"
            context.budget.spend_members(place)
            yield Member(location=place, name=name, size=size, stored=size, type="trailing")
            yield from context.examine(reader.window(position, size, name), size)
        elif begin < position and begin < end:
            detail = f"{position - begin} packed bytes are used twice"
            yield Anomaly(location=reader.at(begin), code="7z-overlap", detail=detail)
        position = max(position, end)


class _Copy:
    """The decoder of bytes that are stored as they are."""

    needs_input = True
    eof = False
    unused_data = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return `data`, keeping what is over `max_length` as unused."""
        self.unused_data = data[max_length:]
        return data[:max_length]


def _decoder(reader: Reader, folder: Folder) -> Decoder:
    """Return what decodes a folder; raise ArtifactError when the standard library cannot."""
    coders = [coder for coder in folder.coders if coder.method != _COPY]
    match [coder.method for coder in coders]:
        case _ if not folder.chain:
            reason = "coders with more than one input"
        case []:
            return _Copy()
        case [method] if method == _DEFLATE:
            return Zlib(-15)
        case [method] if method == _BZIP2:
            return bz2.BZ2Decompressor()
        case [*filters, last] if last == _LZMA2 or (last == _LZMA and not _FILTERS.keys() & set(filters)):
            try:
                return lzma.LZMADecompressor(lzma.FORMAT_RAW, None, [_filter(reader, coder) for coder in coders])
            except (lzma.LZMAError, ValueError) as error:
                raise ArtifactError(reader.at(START + folder.offset), str(error)) from error
        case methods:
            reason = ", ".join(_NAMES.get(method, f"method {method.hex()}") for method in methods)
    raise ArtifactError(reader.at(START + folder.offset), f"cannot decode {reason}")


def _filter(reader: Reader, coder: Coder) -> dict[str, int]:
    """Return a coder as liblzma takes it; raise ValueError when its properties are none of its."""
    match coder.method, [*coder.properties]:
        case method, [dictionary] if method == _LZMA2 and dictionary <= LZMA2_LARGEST:
            size = (2 | dictionary & 1) << (dictionary // 2 + 11)
            return {"id": lzma.FILTER_LZMA2, "dict_size": _dictionary(reader, size, coder)}
        case method, [first, *_, _] if method == _LZMA and len(coder.properties) == LZMA_PROPERTIES:
            size = int.from_bytes(coder.properties[1:], "little")
            lc, lp, pb = first % 9, first // 9 % 5, first // 45
            return {
                "id": lzma.FILTER_LZMA1,
                "dict_size": _dictionary(reader, size, coder),
                "lc": lc,
                "lp": lp,
                "pb": pb,
            }
        case method, [distance] if method == _DELTA:
            return {"id": lzma.FILTER_DELTA, "dist": distance + 1}
        case method, [] if method in _FILTERS:
            return {"id": _FILTERS[method]}
    raise ValueError(f"properties of method {coder.method.hex()}")


def _dictionary(reader: Reader, size: int, coder: Coder) -> int:
    """Return a dictionary no larger than what it will ever hold."""
    size = max(4096, min(size, coder.size))
    if size > MEMORY:
        raise LimitError(reader.origin, f"a dictionary of {size} bytes, limit is {MEMORY}")
    return size
