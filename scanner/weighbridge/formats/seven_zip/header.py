"""The header of a 7z archive: which packed streams hold which files.

Every count is checked against the bytes that its items need, so that a small header cannot ask for much memory;
that is why the header is read here and not by a library.

Specification: 7zFormat.txt of the LZMA SDK (https://www.7-zip.org/sdk.html).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.reader import Reader

END: Final = 0
HEADER: Final = 1
_MAIN_STREAMS: Final = 4
_FILES: Final = 5
_PACK: Final = 6
_UNPACK: Final = 7
_SUBSTREAMS: Final = 8
_SIZE: Final = 9
_CRC: Final = 10
_FOLDER: Final = 11
_UNPACK_SIZE: Final = 12
_STREAMS_OF_FOLDER: Final = 13
_EMPTY_STREAM: Final = 14
_EMPTY_FILE: Final = 15
_NAMES: Final = 17
_ATTRIBUTES: Final = 21
ENCODED_HEADER: Final = 23
_IGNORED: Final = {16, 18, 19, 20, 24, 25}  # anti-items, three times, start positions, padding
_CODERS_LIMIT: Final = 32  # of a folder; 7-Zip's own limit
_FOLDERS_LIMIT: Final = 1 << 16  # 7-Zip makes one per file type and 4 GiB or so
_FILES_LIMIT: Final = 1 << 18  # above the members a scan takes by default
_UNIX: Final = 0x8000  # the upper half of the attributes is a Unix mode
_FORMAT_BITS, _SYMLINK = 0o170000, 0o120000


@dataclass(frozen=True, slots=True, kw_only=True)
class Coder:
    """A decoder by its method id, with its properties and the size of what comes out."""

    method: bytes
    properties: bytes
    size: int = 0
    streams: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Packed bytes that are decoded as one: `offset` counts from the end of the signature header.

    `coders` are ordered as they were applied when packing. `chain` tells whether each has one input and one output;
    other folders are not decoded. `inputs` counts packed streams, `packed` has their sizes. `files` are the size and
    CRC-32 of each file inside.
    """

    coders: tuple[Coder, ...]
    chain: bool
    inputs: int
    offset: int = 0
    packed: tuple[int, ...] = ()
    files: tuple[tuple[int, int | None], ...] = ()

    @property
    def size(self) -> int:
        """How many bytes come out."""
        return self.coders[0].size


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file: `empty` ones have no bytes in any folder, and are directories unless they are empty files."""

    name: str
    empty: bool
    directory: bool
    symlink: bool


@dataclass(frozen=True, slots=True)
class Contents:
    """What a header describes."""

    folders: tuple[Folder, ...] = ()
    entries: tuple[Entry, ...] = ()


def number(reader: Reader) -> int:
    """Take a number: the leading one bits of its first byte count the bytes that follow."""
    first, value = reader.u8(), 0
    for index in range(8):
        mask = 0x80 >> index
        if not first & mask:
            return value + ((first & (mask - 1)) << (8 * index))
        value |= reader.u8() << (8 * index)
    return value


def _count(reader: Reader, limit: int) -> int:
    """Take the number of things that take one byte or more each."""
    start, count = reader.location, number(reader)
    if count > reader.remaining:
        raise ArtifactError(start, f"{count} items in {reader.remaining} bytes")
    if count > limit:
        raise LimitError(start, f"{count} items, limit is {limit}")
    return count


def _bits(reader: Reader, count: int) -> list[bool]:
    data = reader.take((count + 7) // 8)
    return [bool(data[index // 8] & (0x80 >> index % 8)) for index in range(count)]


def _optional_bits(reader: Reader, count: int) -> list[bool]:
    return [True] * count if reader.u8() else _bits(reader, count)


def _checks(reader: Reader, count: int) -> list[int | None]:
    return [reader.u32() if defined else None for defined in _optional_bits(reader, count)]


def _expect(reader: Reader, wanted: int) -> None:
    start, found = reader.location, number(reader)
    if found != wanted:
        raise ArtifactError(start, f"header property {found} where {wanted} belongs")


def _no_external(reader: Reader) -> None:
    if reader.u8():
        raise ArtifactError(reader.location, "a part of the header that is stored elsewhere")


def read_header(reader: Reader) -> Contents:
    """Decode a plain header behind its first byte; raise ArtifactError at anything unexpected."""
    contents = Contents()
    while (kind := number(reader)) != END:
        if kind == _MAIN_STREAMS and not contents.folders:
            contents = replace(contents, folders=read_streams(reader))
        elif kind == _FILES and not contents.entries:
            contents = replace(contents, entries=_read_files(reader))
        else:
            raise ArtifactError(reader.location, f"header property {kind}")
    return contents


def read_streams(reader: Reader) -> tuple[Folder, ...]:
    """Decode a streams description, of the archive or of its encoded header."""
    position, packed, folders = 0, [], []  # type: tuple[int, list[int], list[Folder]]
    while (kind := number(reader)) != END:
        if kind == _PACK and not packed:
            position, packed = _read_packed(reader)
        elif kind == _UNPACK and not folders:
            folders = _read_folders(reader)
        elif kind == _SUBSTREAMS:
            folders = _read_substreams(reader, folders)
        else:
            raise ArtifactError(reader.location, f"streams property {kind}")
    return tuple(_placed(reader, folders, position, packed))


def _placed(reader: Reader, folders: list[Folder], position: int, packed: list[int]) -> Iterator[Folder]:
    index = 0
    for folder in folders:
        own = tuple(packed[index : index + folder.inputs])
        if len(own) < folder.inputs:
            raise ArtifactError(reader.location, "a folder without packed bytes")
        yield replace(folder, offset=position, packed=own)
        position += sum(own)
        index += folder.inputs
    if index < len(packed):
        raise ArtifactError(reader.location, "packed bytes that belong to no folder")


def _read_packed(reader: Reader) -> tuple[int, list[int]]:
    position, count = number(reader), _count(reader, _FOLDERS_LIMIT)
    sizes = [0] * count
    while (kind := number(reader)) != END:
        if kind == _SIZE:
            sizes = [number(reader) for _ in range(count)]
        elif kind == _CRC:
            _checks(reader, count)
        else:
            raise ArtifactError(reader.location, f"pack property {kind}")
    return position, sizes


def _read_folders(reader: Reader) -> list[Folder]:
    _expect(reader, _FOLDER)
    count = _count(reader, _FOLDERS_LIMIT)
    _no_external(reader)
    ordered = [_read_folder(reader) for _ in range(count)]
    _expect(reader, _UNPACK_SIZE)
    folders = [_with_sizes(reader, folder, order) for folder, order in ordered]
    checks: list[int | None] = [None] * count
    while (kind := number(reader)) != END:
        if kind != _CRC:
            raise ArtifactError(reader.location, f"unpack property {kind}")
        checks = _checks(reader, count)
    return [replace(folder, files=((folder.size, check),)) for folder, check in zip(folders, checks, strict=True)]


def _with_sizes(reader: Reader, folder: Folder, order: list[int]) -> Folder:
    """Take the sizes of the outputs, in stored order, and bring the coders into the order of packing."""
    sized = []
    for coder in folder.coders:
        sizes = [number(reader) for _ in range(coder.streams)]
        sized.append(replace(coder, size=sizes[0]))
    return replace(folder, coders=tuple(sized[index] for index in order))


def _read_folder(reader: Reader) -> tuple[Folder, list[int]]:
    """Take a folder, and the order in which its coders were applied."""
    start, count = reader.location, number(reader)
    if not 0 < count <= _CODERS_LIMIT:
        raise ArtifactError(start, f"{count} coders in a folder")
    coders, inputs, outputs = [], 0, 0
    for _ in range(count):
        coder, took = _read_coder(reader)
        coders.append(coder)
        inputs += took
        outputs += coder.streams
    bonds = {number(reader): number(reader) for _ in range(outputs - 1)}
    packed = inputs - len(bonds)
    if packed < 1:
        raise ArtifactError(start, "a folder without packed bytes")
    if packed > 1:
        for _ in range(packed):
            number(reader)
    chain = inputs == outputs == count
    order = _order(bonds, count) if chain else list(range(count))
    if len(order) != count:
        raise ArtifactError(start, "the coders of a folder are no chain")
    return Folder(coders=tuple(coders), chain=chain, inputs=packed), order


def _order(bonds: dict[int, int], count: int) -> list[int]:
    """Follow the bonds (input to output) from the coder that yields the files back to the packed bytes."""
    ends = set(range(count)) - set(bonds.values())
    order = [min(ends)] if len(ends) == 1 else []
    while order and order[-1] in bonds and len(order) <= count:
        order.append(bonds[order[-1]])
    return order if len(set(order)) == len(order) and set(order) <= set(range(count)) else []


def _read_coder(reader: Reader) -> tuple[Coder, int]:
    flags = reader.u8()
    if flags & 0xC0:
        raise ArtifactError(reader.location, f"coder flags {flags:#x}")
    method, inputs, outputs = reader.take(flags & 0xF), 1, 1
    if flags & 0x10:
        inputs, outputs = number(reader), number(reader)
        if not (0 < inputs <= _CODERS_LIMIT and 0 < outputs <= _CODERS_LIMIT):
            raise ArtifactError(reader.location, "a coder with too many streams")
    properties = reader.take(number(reader)) if flags & 0x20 else b""
    return Coder(method=method, properties=properties, streams=outputs), inputs


def _read_substreams(reader: Reader, folders: list[Folder]) -> list[Folder]:
    """Take how many files each folder has, their sizes (the last is what is left) and their checks."""
    counts = [1] * len(folders)
    kind = number(reader)
    if kind == _STREAMS_OF_FOLDER:
        counts = [number(reader) for _ in folders]
        kind = number(reader)
    if sum(counts) > min(_FILES_LIMIT, reader.remaining + len(folders)):
        raise LimitError(reader.location, f"{sum(counts)} files, limit is {_FILES_LIMIT} and the size of the header")
    sizes = [
        _file_sizes(reader, folder, count, known=kind == _SIZE) for folder, count in zip(folders, counts, strict=True)
    ]
    if kind == _SIZE:
        kind = number(reader)
    whole = [len(own) == 1 and folder.files[0][1] is not None for own, folder in zip(sizes, folders, strict=True)]
    unknown = sum(len(own) for own, checked in zip(sizes, whole, strict=True) if not checked)
    checks: list[int | None] = [None] * unknown
    while kind != END:
        if kind != _CRC:
            raise ArtifactError(reader.location, f"substreams property {kind}")
        checks = _checks(reader, unknown)
        kind = number(reader)
    left = iter(checks)
    return [
        folder if checked else replace(folder, files=tuple((size, next(left)) for size in own))
        for folder, own, checked in zip(folders, sizes, whole, strict=True)
    ]


def _file_sizes(reader: Reader, folder: Folder, count: int, *, known: bool) -> list[int]:
    if not count:
        return []
    sizes = [number(reader) for _ in range(count - 1)] if known else []
    if len(sizes) != count - 1 or sum(sizes) > folder.size:
        raise ArtifactError(reader.location, "the sizes of the files do not fit the folder")
    return [*sizes, folder.size - sum(sizes)]


def _read_files(reader: Reader) -> tuple[Entry, ...]:
    count = _count(reader, _FILES_LIMIT)
    empty, names, files = [False] * count, [], [False] * count  # type: tuple[list[bool], list[str], list[bool]]
    symlinks = [False] * count
    while (kind := number(reader)) != END:
        size = number(reader)
        part = reader.window(reader.position, size)
        reader.skip(size)
        if kind == _EMPTY_STREAM:
            empty = _bits(part, count)
        elif kind == _EMPTY_FILE:
            files = _bits(part, sum(empty))
        elif kind == _NAMES:
            names = _read_names(part, count)
        elif kind == _ATTRIBUTES:
            symlinks = _read_symlinks(part, count)
        elif kind not in _IGNORED:
            raise ArtifactError(part.location, f"files property {kind}")
    if len(names) != count:
        raise ArtifactError(reader.location, "files without names")
    plain = iter(files)
    return tuple(
        Entry(name=name, empty=hollow, directory=hollow and not next(plain, False), symlink=link)
        for name, hollow, link in zip(names, empty, symlinks, strict=True)
    )


def _read_names(reader: Reader, count: int) -> list[str]:
    _no_external(reader)
    data = reader.take(reader.remaining)
    names = data.decode("utf-16-le", "surrogatepass").split("\0") if len(data) % 2 == 0 else []
    if len(names) != count + 1 or names[-1]:
        raise ArtifactError(reader.origin, f"{len(names) - 1} names for {count} files")
    return names[:-1]


def _read_symlinks(reader: Reader, count: int) -> list[bool]:
    defined = _optional_bits(reader, count)
    _no_external(reader)
    attributes = [reader.u32() if there else 0 for there in defined]
    return [bool(a & _UNIX) and (a >> 16) & _FORMAT_BITS == _SYMLINK for a in attributes]
