"""The header of safetensors, checked in full, and the account of every byte behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Anomaly, Fact, Inert, Member, Metadata, Tensor
from weighbridge.formats.base import Context
from weighbridge.reader import Reader

HEADER_LIMIT: Final = 100_000_000  # the reference reader's own limit
# What this parser is ready to decode: a header of MAX_TENSORS ordinary entries has 30 MB. The
# largest known shards hold a few thousand tensors.
DECODED_LIMIT: Final = 32 << 20
MAX_TENSORS: Final = 250_000
# An entry has about twelve of `{[,:`; counting them bounds the objects that decoding would make.
MAX_TOKENS: Final = 16 * MAX_TENSORS

# Bits per element, in the words of the reference reader 0.8.
BITS: Final = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
MAX_DIMENSIONS: Final = 64  # of a tensor; the format sets no limit, and multiplying millions takes for ever
_LARGEST: Final = 1 << 63  # no dimension or offset of a real file reaches it


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    """A tensor of the header; offsets count from the first byte behind the header."""

    begin: int
    end: int
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bits(self) -> int:
        return prod(self.shape) * BITS[self.dtype]


class _Object(dict[str, object]):
    """A JSON object that remembers which of its keys came twice."""

    repeated: tuple[str, ...] = ()


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the metadata, the tensors and the account of every byte behind the header.

    Raises ArtifactError when the header is not what the specification asks for, LimitError when
    it is too large to decode.
    """
    text = reader.take(reader.u64(), limit=HEADER_LIMIT)
    body = reader.position
    yield from _padding(reader, text)
    header = _decode(reader, text)
    yield from _duplicates(reader, header)
    yield from _metadata(reader, header)
    if len(header) > MAX_TENSORS:
        raise LimitError(reader.at(8), f"{len(header)} tensors, limit is {MAX_TENSORS}")
    entries = sorted(_entry(reader, name, value) for name, value in header.items())
    for entry in entries:
        yield Tensor(
            location=reader.at(body + entry.begin),
            name=entry.name,
            dtype=entry.dtype,
            shape=entry.shape,
            size=entry.end - entry.begin,
        )
        if entry.bits != 8 * (entry.end - entry.begin):
            detail = f"tensor {entry.name!r} has {entry.end - entry.begin} bytes, its shape needs {entry.bits} bits"
            yield Anomaly(location=reader.at(body + entry.begin), code="safetensors-length", detail=detail)
    yield from _tiles(reader, context, body, entries)


def _padding(reader: Reader, text: bytes) -> Iterator[Fact]:
    """Look behind the closing brace: writers pad with spaces, readers take any white space of JSON."""
    padding = text[len(text.rstrip(b" \t\r\n")) :]
    if padding.strip(b" "):
        detail = "the header is padded with white space other than spaces"
        yield Anomaly(location=reader.at(8 + len(text) - len(padding)), code="safetensors-padding", detail=detail)


def _decode(reader: Reader, text: bytes) -> _Object:
    start = reader.at(8)
    if len(text) > DECODED_LIMIT:
        raise LimitError(start, f"a header of {len(text)} bytes, limit is {DECODED_LIMIT}")
    tokens = sum(map(text.count, (b"{", b"[", b",", b":")))
    if tokens > MAX_TOKENS:
        raise LimitError(start, f"a header of {tokens} tokens, limit is {MAX_TOKENS}")
    try:
        header = json.loads(
            text.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse, parse_float=_refuse
        )
    except (ValueError, RecursionError) as error:
        raise ArtifactError(start, f"the header is not JSON: {error}") from error
    if not isinstance(header, _Object):
        raise ArtifactError(start, "the header is not an object")
    return header


def _object(pairs: list[tuple[str, object]]) -> _Object:
    found = _Object(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        repeated: list[str] = []
        for key, _ in pairs:
            (repeated.append if key in seen else seen.add)(key)
        found.repeated = tuple(repeated)
    return found


def _refuse(text: str) -> object:
    raise ValueError(f"{text} is not an integer")


def _duplicates(reader: Reader, header: _Object) -> Iterator[Fact]:
    for value in (header, *header.values()):
        for key in value.repeated if isinstance(value, _Object) else ():
            detail = f"key {key!r} comes twice; readers differ on which one counts"
            yield Anomaly(location=reader.at(8), code="safetensors-duplicate-key", detail=detail)


def _metadata(reader: Reader, header: _Object) -> Iterator[Fact]:
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise ArtifactError(reader.at(8), "__metadata__ is not an object")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise ArtifactError(reader.at(8), f"__metadata__ {key!r} is not a string")
        yield Metadata(location=reader.at(8), key=key, value=value)


def _entry(reader: Reader, name: str, value: object) -> _Entry:
    match value:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [begin, end], **more} if (
            not more
            and dtype in BITS
            and len(shape) <= MAX_DIMENSIONS
            and all(map(_count, (*shape, begin, end)))
            and begin <= end
        ):
            return _Entry(begin, end, name, dtype, tuple(shape))
    raise ArtifactError(reader.at(8), f"tensor {name!r} is not a valid entry")


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _tiles(reader: Reader, context: Context, body: int, entries: list[_Entry]) -> Iterator[Fact]:
    """Account for every byte of the body: tensor data is inert, whatever lies between and behind is examined."""
    size = reader.size - body
    position = run = 0
    for entry in entries:
        if entry.begin > min(position, size):
            yield from _inert(reader, body + run, body + min(position, size))
            run = entry.begin
            yield from _uncovered(reader, context, "hole", body + position, body + min(run, size))
        elif entry.begin < position and entry.begin < entry.end:
            detail = f"tensor {entry.name!r} begins {position - entry.begin} bytes inside another"
            yield Anomaly(location=reader.at(body + entry.begin), code="safetensors-overlap", detail=detail)
        position = max(position, entry.end)
        if position > size:
            yield from _inert(reader, body + run, reader.size)
            reason = f"tensor {entry.name!r} ends {position - size} bytes behind the end"
            raise ArtifactError(reader.at(reader.size), reason)
    yield from _inert(reader, body + run, body + position)
    if position < size:
        yield from _uncovered(reader, context, "trailing", body + position, reader.size)


def _inert(reader: Reader, begin: int, end: int) -> Iterator[Fact]:
    if begin < end:
        yield Inert(location=reader.at(begin), size=end - begin, reason="tensor data")


def _uncovered(reader: Reader, context: Context, what: str, begin: int, end: int) -> Iterator[Fact]:
    """Report and examine bytes that no tensor covers."""
    if begin >= end:
        return
    size, place = end - begin, reader.at(begin)
    yield Anomaly(location=place, code=f"safetensors-{what}", detail=f"{size} bytes that no tensor covers")
    context.budget.spend_members(place)
    name = what if what == "trailing" else f"hole at {begin:#x}"
    yield Member(location=place, name=name, size=size, stored=size, type="trailing")
    yield from context.examine(reader.window(begin, size, name), size)
