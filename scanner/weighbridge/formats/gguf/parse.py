"""The header of a GGUF file, checked in full, and the account of every byte behind it.

Counts and lengths of the header were heap overflows of readers (CVE-2024-21802, -21825, -21836, -23496, -23605): every
one is compared with what the file can hold before anything is made of it. Text that can be a template or a program is
handed on to be examined (CVE-2024-34359: a chat template that runs code when it is rendered); other text is data.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import prod
from struct import Struct
from typing import Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Anomaly, Fact, Gap, Inert, Member, Metadata, Tensor
from weighbridge.formats.base import Context
from weighbridge.formats.gguf.cursor import Cursor
from weighbridge.reader import Reader
from weighbridge.records import dataclass

VERSIONS: Final = (1, 2, 3)
MAX_KEYS: Final = 1 << 16  # ordinary files have a few dozen
MAX_TENSORS: Final = 1 << 18  # the largest known files have some thousands
MAX_NAME: Final = 1 << 16  # of a key, as the specification says
MAX_TENSOR_NAME: Final = 1 << 10  # ggml takes 63 bytes
MAX_TEXT: Final = 64 << 20  # of a value; tokenizers keep whole JSON files in one
MAX_ITEMS: Final = 1 << 24  # of an array of strings; vocabularies have under a million
MAX_DEPTH: Final = 4  # of arrays in arrays, of which ordinary files have none
MAX_DIMENSIONS: Final = 4
TOKEN: Final = 256  # of a vocabulary, which holds every sequence of bytes; longer ones are examined
_VOCABULARY: Final = "tokenizer.ggml."
SHOWN: Final = 256  # characters of a value that a report may want
# What begins a block of Jinja, in which all templates of chat formats are written.
_BLOCKS: Final = (b"{{", b"{%", b"{#")
_CONTROLS: Final = bytes(code for code in range(32) if code not in b"\t\n\r") + b"\x7f"
PADDING: Final = 1 << 16  # the largest alignment that is taken for one

_U32: Final = 4
_STRING: Final = 8
_ARRAY: Final = 9
# Type of a value -> how the module struct writes it.
_NUMBERS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# ggml's tensor types: name, elements of a block, bytes of a block. Source: ggml's type_traits, gguf-py's constants.
TYPES: Final = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Info:
    """A tensor of the list; `begin` counts from the start of the data."""

    begin: int
    size: int
    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """The fixed part: counts are 32 bits wide in version 1."""

    cursor: Cursor
    wide: bool
    tensors: int
    keys: int

    def count(self) -> int:
        """Take a length or a count."""
        return self.cursor.u64() if self.wide else self.cursor.u32()


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the metadata, the tensors and the account of every byte behind the header.

    Raises ArtifactError when the header is not what the specification asks for, LimitError when it is too large.
    """
    header = _header(reader)
    alignment = 32
    seen: set[str] = set()
    for _ in range(header.keys):
        place = reader.at(header.cursor.position)
        key = header.cursor.text(header.count(), MAX_NAME)
        if key in seen:
            yield Anomaly(location=place, code="gguf-duplicate-key", detail=f"the key {key!r} comes twice")
        seen.add(key)
        kind = header.cursor.u32()
        if key == "general.alignment":
            if kind != _U32:
                raise ArtifactError(place, f"an alignment of the type {kind}, where readers take a 32-bit number")
            alignment = header.cursor.u32()
            yield Metadata(location=place, key=key, value=str(alignment))
            if not 0 < alignment <= PADDING or alignment & (alignment - 1):
                raise ArtifactError(place, f"an alignment of {alignment} bytes is no power of two up to {PADDING}")
        else:
            yield from _value(reader, context, header, key, kind)
        context.budget.check_time(place)
    infos = [_info(reader, header) for _ in range(header.tensors)]
    yield from _account(reader, context, infos, header.cursor.position, alignment)


def _header(reader: Reader) -> _Header:
    little = int.from_bytes(reader.read(4, 4), "little")
    order = "<" if little in VERSIONS else ">"
    cursor = Cursor(reader, 4, order)
    version = cursor.u32()
    if version not in VERSIONS:
        raise ArtifactError(reader.at(4), f"version {little} is not known")
    take = cursor.u32 if version == 1 else cursor.u64
    tensors, keys = take(), take()
    # The least that a tensor and a key take: a name's length, type, offset; a name's length, type, value.
    if tensors > min(MAX_TENSORS, reader.size // 16) or keys > min(MAX_KEYS, reader.size // 9):
        raise LimitError(reader.at(8), f"{tensors} tensors and {keys} keys in {reader.size} bytes")
    return _Header(cursor=cursor, wide=version > 1, tensors=tensors, keys=keys)


def _value(reader: Reader, context: Context, header: _Header, key: str, kind: int) -> Iterator[Fact]:
    cursor, place = header.cursor, reader.at(header.cursor.position)
    if kind == _STRING:
        yield from _text(reader, context, header, key)
    elif kind == _ARRAY:
        yield from _array(reader, context, header, key, 1)
    elif kind in _NUMBERS:
        decode = Struct(f"{cursor.order}{_NUMBERS[kind]}")
        yield Metadata(location=place, key=key, value=str(decode.unpack(cursor.take(decode.size))[0]))
    else:
        raise ArtifactError(place, f"the value of {key!r} has the type {kind}, which is not known")


def _text(reader: Reader, context: Context, header: _Header, key: str) -> Iterator[Fact]:
    size = header.count()
    begin = header.cursor.position
    value = header.cursor.text(size, MAX_TEXT)
    yield Metadata(location=reader.at(begin), key=key, value=value[:SHOWN])
    if size and (_has_code(value.encode()) or "template" in key):
        yield from _member(reader, context, key, begin, size)


def _has_code(text: bytes) -> bool:
    """Tell whether a text can be a template, or is no text."""
    return any(block in text for block in _BLOCKS) or len(text.translate(None, _CONTROLS)) != len(text)


def _member(reader: Reader, context: Context, name: str, begin: int, size: int) -> Iterator[Fact]:
    context.budget.spend_members(reader.at(begin))
    yield Member(location=reader.at(begin), name=name, size=size, stored=size, type="text")
    yield from context.examine(reader.window(begin, size, name), size)


def _array(reader: Reader, context: Context, header: _Header, key: str, depth: int) -> Iterator[Fact]:
    cursor, place = header.cursor, reader.at(header.cursor.position)
    kind, count = cursor.u32(), header.count()
    if kind in _NUMBERS:
        cursor.skip(count * Struct(f"<{_NUMBERS[kind]}").size)
        yield Metadata(location=place, key=key, value=f"{count} numbers")
    elif kind == _STRING:
        if count > MAX_ITEMS:
            raise LimitError(place, f"an array of {count} strings, limit is {MAX_ITEMS}")
        yield Metadata(location=place, key=key, value=f"{count} texts")
        yield from _texts(reader, context, header, key, count)
    elif kind == _ARRAY and depth < MAX_DEPTH and count <= MAX_KEYS:
        for _ in range(count):
            yield from _array(reader, context, header, key, depth + 1)
    else:
        raise ArtifactError(place, f"an array of {count} values of the type {kind} in {key!r}")


def _texts(reader: Reader, context: Context, header: _Header, key: str, count: int) -> Iterator[Fact]:
    """Yield what is found in the texts of an array that no vocabulary has, such as named templates."""
    cursor, take = header.cursor, header.cursor.u64 if header.wide else header.cursor.u32
    skipped = TOKEN if key.startswith(_VOCABULARY) else 0
    for index in range(count):
        size = take()
        if size > MAX_TEXT:
            raise LimitError(reader.at(cursor.position), f"a string of {size} bytes, limit is {MAX_TEXT}")
        begin = cursor.position
        text = cursor.take(size)
        if size > skipped and _has_code(text):
            yield from _member(reader, context, f"{key}[{index}]", begin, size)


def _info(reader: Reader, header: _Header) -> _Info:
    """Take the next tensor of the list.

    Raises ArtifactError when it is not one: unknown type, too many or impossible dimensions.
    """
    cursor, place = header.cursor, reader.at(header.cursor.position)
    name = cursor.text(header.count(), MAX_TENSOR_NAME)
    rank = cursor.u32()
    if rank > MAX_DIMENSIONS:
        raise ArtifactError(place, f"tensor {name!r} has {rank} dimensions, no reader takes more than {MAX_DIMENSIONS}")
    shape = tuple(header.count() for _ in range(rank))
    kind, begin = cursor.u32(), cursor.u64()
    if kind not in TYPES:
        raise ArtifactError(place, f"tensor {name!r} has the type {kind}, which is not known")
    dtype, elements, size = TYPES[kind]
    first = shape[0] if shape else 1
    if first % elements:
        raise ArtifactError(place, f"rows of {first} elements of {name!r} are no whole blocks of {elements}")
    return _Info(begin=begin, size=prod(shape) // elements * size, name=name, dtype=dtype, shape=shape)


def _account(reader: Reader, context: Context, infos: list[_Info], end: int, alignment: int) -> Iterator[Fact]:
    """Yield the tensors, and every byte behind the header: data, padding, and what is neither."""
    data = -(-end // alignment) * alignment
    for info in infos:
        place = reader.at(min(data + info.begin, reader.size))
        yield Tensor(location=place, name=info.name, dtype=info.dtype, shape=info.shape, size=info.size)
        if info.begin % alignment:
            detail = f"tensor {info.name!r} begins at {info.begin}, which is no multiple of {alignment}"
            yield Anomaly(location=place, code="gguf-alignment", detail=detail)
    yield from _duplicates(reader, data, infos)
    ordered = sorted(infos, key=lambda info: (info.begin, info.size))
    for info, following in pairwise(ordered):
        if following.begin < info.begin + info.size:
            detail = f"tensors {info.name!r} and {following.name!r} share bytes"
            yield Anomaly(
                location=reader.at(min(data + following.begin, reader.size)), code="gguf-overlap", detail=detail
            )
    position = end
    for info in ordered:
        begin, stop = data + info.begin, data + info.begin + info.size
        if stop > reader.size:
            reason = f"gguf: tensor {info.name!r} ends {stop - reader.size} bytes behind the end"
            yield Gap(
                location=reader.at(min(position, reader.size)), reason=reason, size=max(0, reader.size - position)
            )
            return
        yield from _between(reader, context, position, begin)
        if stop > max(begin, position):
            yield Inert(
                location=reader.at(max(begin, position)), size=stop - max(begin, position), reason="tensor data"
            )
        position = max(position, stop)
    yield from _between(reader, context, position, reader.size)


def _duplicates(reader: Reader, data: int, infos: list[_Info]) -> Iterator[Fact]:
    """Yield the tensors whose name was taken: readers differ on which of the two they use."""
    seen: set[str] = set()
    for info in infos:
        if info.name in seen:
            place = reader.at(min(data + info.begin, reader.size))
            yield Anomaly(location=place, code="gguf-duplicate-tensor", detail=f"the tensor {info.name!r} comes twice")
        seen.add(info.name)


def _between(reader: Reader, context: Context, begin: int, end: int) -> Iterator[Fact]:
    """Yield bytes of no tensor: zeros as far as an alignment needs them, and anything else to be examined."""
    if begin >= end:
        return
    size, place = end - begin, reader.at(begin)
    if size <= PADDING and not any(reader.read(begin, size)):
        yield Inert(location=place, size=size, reason="padding")
        return
    yield Anomaly(location=place, code="gguf-hole", detail=f"{size} bytes that no tensor covers")
    context.budget.spend_members(place)
    name = "trailing" if end == reader.size else f"hole at {begin:#x}"
    yield Member(location=place, name=name, size=size, stored=size, type="trailing")
    yield from context.examine(reader.window(begin, size, name), size)
