"""The members of a tar archive, header by header, and what follows its end."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from weighbridge.errors import ArtifactError, TruncatedError
from weighbridge.facts import Anomaly, Fact, Gap, Member
from weighbridge.formats.base import Context
from weighbridge.formats.tar import BLOCK, checksum_fits, number, torch_legacy
from weighbridge.formats.zip.checks import escapes
from weighbridge.reader import Reader

EXTENSION_LIMIT: Final = 1 << 20  # a long name or a pax header; paths end at 4 KiB on most systems
ZEROS_STEP: Final = 1 << 20

_REGULAR: Final = {"0", "\0", "7"}
EXTENSIONS: Final = {"L", "K", "x", "X", "g"}
_SPARSE: Final = "S"
# No data follows these, whatever their size field says (Python's tarfile; others skip the data).
_TYPES: Final = {"1": "hardlink", "2": "symlink", "3": "device", "4": "device", "5": "directory", "6": "device"}
_USTAR: Final = b"ustar\0"


@dataclass(frozen=True, slots=True)
class Header:
    """A header as it stands in the archive, with the extensions before it applied."""

    offset: int
    type: str
    name: str
    target: str
    size: int
    data: int
    sparse: bool = False
    oddities: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> str:
        """The `Member` type."""
        if self.type == "\0" and self.name.endswith("/"):
            return "directory"
        return _TYPES.get(self.type, "file")

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return self.data + (-(-self.size // BLOCK) * BLOCK if self.kind == "file" else 0)


@dataclass(slots=True)
class _Names:
    """What the names and links seen so far say about the next one."""

    seen: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)

    def oddities(self, header: Header) -> Iterator[tuple[str, str]]:
        """Yield the codes and details of what an extracting reader would trip over."""
        name = posixpath.normpath(header.name)
        if escapes(header.name):
            yield "tar-traversal", f"member {header.name!r} would be written outside of the directory"
        if name in self.seen and header.kind != "directory":
            yield "tar-duplicate-member", f"member {header.name!r} comes again; readers differ on which one counts"
        if self._through_link(name):
            yield "tar-through-link", f"member {header.name!r} would be written through a link of this archive"
        if header.kind in ("symlink", "hardlink"):
            yield from self._link(header, name)
        if header.kind == "device":
            yield "tar-device", f"member {header.name!r} is a device or pipe"
        self.seen.add(name)

    def _link(self, header: Header, name: str) -> Iterator[tuple[str, str]]:
        folder = posixpath.dirname(name) if header.kind == "symlink" else ""
        target = posixpath.normpath(posixpath.join(folder, header.target))
        if escapes(header.target, folder) or self._through_link(target):
            yield "link-escapes", f"{header.kind} {header.name!r} leads to {header.target!r}"
        if header.kind == "symlink":
            self.links.add(name)

    def _through_link(self, name: str) -> bool:
        while self.links and (name := posixpath.dirname(name)) not in ("", "/"):
            if name in self.links:
                return True
        return False


def _string(text: bytes) -> str:
    return text.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield every member and what it holds, then whatever follows the end of the archive.

    Raises ArtifactError at a header that does not parse, after the facts of all members before it.
    """
    headers: list[Header] = []
    problem: ArtifactError | None = None
    try:
        for header in _headers(reader):
            context.budget.spend_members(reader.at(header.offset))
            headers.append(header)
    except ArtifactError as error:
        problem = error
    names = _Names()
    legacy = torch_legacy.MEMBERS.issubset({header.name for header in headers})
    for header in headers:
        yield from _member(reader, context, header, names, legacy=legacy)
    if problem is not None:
        raise problem
    yield from _end(reader, context, headers[-1].end if headers else 0)


def _member(reader: Reader, context: Context, header: Header, names: _Names, *, legacy: bool) -> Iterator[Fact]:
    place = reader.at(header.offset)
    for code, detail in (*header.oddities, *names.oddities(header)):
        yield Anomaly(location=place, code=code, detail=detail)
    stored = header.size if header.kind == "file" else 0
    data = reader.at(min(header.data, reader.size))
    yield Member(location=data, name=header.name, size=stored, stored=stored, type=header.kind, target=header.target)
    if header.kind != "file":
        return
    there = min(header.size, reader.size - header.data)
    if header.sparse:
        yield Gap(location=reader.at(header.data), reason="tar: a sparse member", size=there)
    elif legacy and header.name in torch_legacy.PARSERS:
        yield from torch_legacy.PARSERS[header.name](reader.window(header.data, there), context)
    else:
        yield from context.examine(reader.window(header.data, there, header.name), there)
    if there < header.size:
        raise TruncatedError(reader.at(reader.size), f"member of {header.size} bytes, {there} are there")
    behind = header.data + header.size
    padding = reader.read(behind, min(header.end, reader.size) - behind)
    if padding.strip(b"\0"):
        detail = f"{len(padding)} bytes behind member {header.name!r} are not zero"
        yield Anomaly(location=reader.at(header.data + header.size), code="tar-padding", detail=detail)


def _headers(reader: Reader) -> Iterator[Header]:
    """Yield the header of every member up to the first block of zeros or the end of the bytes."""
    position = 0
    shared: dict[str, str] = {}
    own: dict[str, str] = {}
    while position < reader.size:
        block = reader.read(position, BLOCK)
        if not block.strip(b"\0"):
            return
        if not checksum_fits(block):
            raise ArtifactError(reader.at(position), "a header with a wrong check sum")
        try:
            header = decode_header(reader, position, block, {**shared, **own})
            if header.type not in EXTENSIONS:
                yield header
                own = {}
            else:
                reader.seek(header.data)
                content = reader.take(header.size, limit=EXTENSION_LIMIT)
                (shared if header.type == "g" else own).update(decode_extension(header.type, content))
        except ValueError as error:
            raise ArtifactError(reader.at(position), str(error)) from error
        position = header.end


def decode_header(reader: Reader, offset: int, block: bytes, extended: dict[str, str]) -> Header:
    """Decode one block; raise ValueError when a field is not what every reader takes it for."""
    kind = chr(block[156])
    prefix, oddities = _string(block[345:500]), []
    name = _string(block[:100])
    if block[257:263] == _USTAR and prefix and kind not in EXTENSIONS:
        name = f"{prefix}/{name}"
    elif prefix and kind not in EXTENSIONS | {_SPARSE}:
        oddities.append(("tar-prefix", "a name prefix that only some readers use"))
    if kind not in _REGULAR | EXTENSIONS | _TYPES.keys() | {_SPARSE}:
        oddities.append(("tar-type", f"member type {kind!r}"))
    size, data = number(block[124:136]), offset + BLOCK
    if kind in EXTENSIONS:
        return Header(offset, kind, name, "", size, data)
    if kind in _TYPES and size:
        oddities.append(("tar-size", f"a {_TYPES[kind]} of {size} bytes, which only some readers skip"))
    if kind == _SPARSE:
        data = _behind_sparse_map(reader, data, block[482])
    return Header(
        offset,
        kind,
        extended.get("path", name),
        extended.get("linkpath", _string(block[157:257])) if kind in "12" else "",
        _decimal(extended["size"]) if "size" in extended else size,
        data,
        kind == _SPARSE or any(key.startswith("GNU.sparse.") for key in extended),
        tuple(oddities),
    )


def _behind_sparse_map(reader: Reader, position: int, more: int) -> int:
    while more:
        more = reader.read(position, BLOCK)[504]
        position += BLOCK
    return position


def decode_extension(kind: str, content: bytes) -> dict[str, str]:
    """Return what a header of a type in EXTENSIONS says of the next one; raise ValueError when it is malformed."""
    if kind == "L":
        return {"path": _string(content)}
    if kind == "K":
        return {"linkpath": _string(content)}
    return dict(_records(content))


def _records(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield the `length key=value` records of a pax header."""
    content = content.rstrip(b"\0")
    position = 0
    while position < len(content):
        digits = content[position : position + 8].partition(b" ")[0]
        length = _decimal(digits.decode("latin-1"))
        record = content[position + len(digits) + 1 : position + length]
        key, equals, value = record.partition(b"=")
        if not key or not equals or value[-1:] != b"\n" or position + length > len(content):
            raise ValueError("a pax record that does not parse")
        yield _pax_text(key), _pax_text(value[:-1])
        position += length


def _pax_text(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise ValueError(f"{text[:20]!r} is not a number")
    return int(text)


def _end(reader: Reader, context: Context, position: int) -> Iterator[Fact]:
    """Step over the zeros that end an archive and examine anything behind them."""
    if position >= reader.size:
        yield Gap(location=reader.at(reader.size), reason="tar: the end of the archive is missing", size=0)
        return
    start = _skip_zeros(reader, position)
    if start == reader.size:
        return
    start -= (start - position) % BLOCK
    size, place = reader.size - start, reader.at(start)
    yield Anomaly(location=place, code="tar-trailing", detail=f"{size} bytes behind the end of the archive")
    context.budget.spend_members(place)
    yield Member(location=place, name="trailing", size=size, stored=size, type="trailing")
    yield from context.examine(reader.window(start, size, "trailing"), size)


def _skip_zeros(reader: Reader, position: int) -> int:
    while position < reader.size:
        step = reader.read(position, min(ZEROS_STEP, reader.size - position))
        rest = step.lstrip(b"\0")
        position += len(step) - len(rest)
        if rest:
            break
    return position
