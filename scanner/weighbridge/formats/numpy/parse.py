"""The header of a numpy array, and the data or the pickle behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import Final, NamedTuple

from weighbridge.errors import ArtifactError
from weighbridge.facts import Anomaly, Fact, Gap, Inert, Member, Tensor
from weighbridge.formats.base import Context
from weighbridge.formats.numpy import MAGIC
from weighbridge.reader import Reader

HEADER_LIMIT: Final = 1 << 16  # numpy itself refuses headers over 10 000 bytes unless told to trust the file
MAX_DEPTH: Final = 16  # of brackets; structured types nest, but not like this
MAX_DIMENSIONS: Final = 64  # numpy 2's limit
OBJECT: Final = -1  # the item size that stands for pointers to objects

_ENCODINGS: Final = {1: "latin-1", 2: "latin-1", 3: "utf-8"}
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>'[^'"\\\n]*'|"[^'"\\\n]*")|(?P<int>[0-9]{1,19})L?(?!\w)"""
    r"|(?P<name>True|False)(?!\w)|(?P<mark>[][(){}:,]))"
)
_DTYPE: Final = re.compile(r"[<>|=]?([biufcSaUVmMO])([0-9]{0,10})(\[[0-9]{0,10}[a-zA-Z]{1,2}\])?")
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


class Header(NamedTuple):
    """What is said of an array: its type as numpy describes it, whether the first index runs fastest, its shape."""

    descr: object
    fortran: bool
    shape: tuple[int, ...]


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the array as a tensor, or examine the pickle that an array of objects holds.

    Raises ArtifactError when the header is not one that numpy writes.
    """
    text, encoding = _text(reader)
    start, size = reader.position - len(text), len(text)
    try:
        header = _header(text.decode(encoding))
        item = item_size(header.descr)
    except ValueError as error:
        # What follows may be a pickle that a more tolerant reader runs: it is looked at all the same.
        yield Gap(location=reader.at(start), reason=f"npy header: {error}", size=size)
        yield from _member(reader, context, "data", "file")
        return
    if item == OBJECT:
        yield from _member(reader, context, "objects", "file")
        return
    yield from _data(reader, context, header.descr, header.shape, item)


def read_header(reader: Reader) -> Header:
    """Take the header of an array and leave the cursor on its data; raise ArtifactError when numpy writes no such."""
    text, encoding = _text(reader)
    try:
        return _header(text.decode(encoding))
    except ValueError as error:
        raise ArtifactError(reader.at(reader.position - len(text)), f"npy header: {error}") from error


def _text(reader: Reader) -> tuple[bytes, str]:
    """Take magic, version and header; return the header and its encoding."""
    reader.skip(len(MAGIC))
    version, minor = reader.u8(), reader.u8()
    if version not in _ENCODINGS or minor:
        raise ArtifactError(reader.at(6), f"version {version}.{minor} is not 1.0, 2.0 or 3.0")
    size = reader.u16() if version == 1 else reader.u32()
    return reader.take(size, limit=HEADER_LIMIT), _ENCODINGS[version]


def _data(reader: Reader, context: Context, descr: object, shape: tuple[int, ...], item: int) -> Iterator[Fact]:
    size, place = prod(shape) * item, reader.location
    yield Tensor(location=place, name="", dtype=_name(descr), shape=shape, size=size)
    there = min(size, reader.remaining)
    yield Inert(location=place, size=there, reason="array data")
    if there < size:
        raise ArtifactError(reader.at(reader.size), f"array data of {size} bytes, {there} are there")
    reader.skip(there)
    if reader.remaining:
        detail = f"{reader.remaining} bytes behind the array"
        yield Anomaly(location=reader.location, code="numpy-trailing", detail=detail)
        yield from _member(reader, context, "trailing", "trailing")


def _member(reader: Reader, context: Context, name: str, kind: str) -> Iterator[Fact]:
    """Examine everything from the cursor on."""
    if not reader.remaining:
        return
    context.budget.spend_members(reader.location)
    yield Member(location=reader.location, name=name, size=reader.remaining, stored=reader.remaining, type=kind)
    yield from context.examine(reader.window(reader.position, reader.remaining, name), reader.remaining)


def _name(descr: object) -> str:
    return descr if isinstance(descr, str) else "structured"


def _header(text: str) -> Header:
    """Return what a header says; raise ValueError when it says anything else than numpy's do."""
    tokens = list(_tokens(text.rstrip(" \n")))
    tokens.reverse()
    value = _value(tokens, 0)
    if tokens:
        raise ValueError("something follows the dictionary")
    match value:
        case {"descr": descr, "fortran_order": bool(fortran), "shape": tuple(shape), **more} if not more:
            if len(shape) <= MAX_DIMENSIONS and all(type(n) is int for n in shape):
                return Header(descr, fortran, shape)
    raise ValueError("not a dictionary of descr, fortran_order and shape")


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"column {position} is not a literal that numpy writes")
        yield match[match.lastgroup or 0]
        position = match.end()


def _value(tokens: list[str], depth: int) -> object:
    """Take one literal off the reversed tokens."""
    if not tokens:
        raise ValueError("the header ends early")
    if depth > MAX_DEPTH:
        raise ValueError(f"brackets nested deeper than {MAX_DEPTH}")
    match tokens.pop():
        case "{":
            return _dictionary(tokens, depth)
        case "(" | "[" as opening:
            return _sequence(tokens, opening, depth)
        case "True" | "False" as name:
            return name == "True"
        case text if text[0] in "'\"":
            return text[1:-1]
        case number if number[0].isdigit():
            return int(number)
        case mark:
            raise ValueError(f"{mark!r} out of place")


def _sequence(tokens: list[str], opening: str, depth: int) -> object:
    items, comma = [], True
    while tokens and tokens[-1] != _CLOSING[opening]:
        if not comma:
            raise ValueError("a comma is missing")
        items.append(_value(tokens, depth + 1))
        comma = _accept(tokens, ",")
    _expect(tokens, _CLOSING[opening])
    if opening == "[":
        return items
    return items[0] if len(items) == 1 and not comma else tuple(items)


def _dictionary(tokens: list[str], depth: int) -> dict[str, object]:
    found: dict[str, object] = {}
    comma = True
    while tokens and tokens[-1] != "}":
        key = _value(tokens, depth + 1)
        if not comma or not isinstance(key, str) or key in found:
            raise ValueError("not a dictionary of distinct names")
        _expect(tokens, ":")
        found[key] = _value(tokens, depth + 1)
        comma = _accept(tokens, ",")
    _expect(tokens, "}")
    return found


def _accept(tokens: list[str], mark: str) -> bool:
    if tokens and tokens[-1] == mark:
        tokens.pop()
        return True
    return False


def _expect(tokens: list[str], mark: str) -> None:
    if not _accept(tokens, mark):
        raise ValueError(f"{mark!r} is missing")


def item_size(descr: object) -> int:
    """Return the bytes per element of a type description, OBJECT when any part of it holds objects.

    Raises ValueError for a description that numpy's writer does not produce: `numpy.dtype` takes many more
    strings (`"i4,O"`, `"object"`), some of which hold objects.
    """
    if isinstance(descr, str):
        return _scalar_size(descr)
    if isinstance(descr, list) and descr:
        sizes = [_field_size(field) for field in descr]
        return OBJECT if OBJECT in sizes else sum(sizes)
    match descr:
        case (inner, tuple(shape)):
            return _times(item_size(inner), shape)
    raise ValueError("a type that numpy does not write")


def _field_size(field: object) -> int:
    match field:
        case (str() | (str(), str()), inner):
            return item_size(inner)
        case (str() | (str(), str()), inner, tuple(shape)):
            return _times(item_size(inner), shape)
    raise ValueError("a field that numpy does not write")


def _times(size: int, shape: tuple[object, ...]) -> int:
    if not all(type(n) is int for n in shape) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("a shape is not a tuple of integers")
    return OBJECT if size == OBJECT else size * prod(n for n in shape if isinstance(n, int))


def _scalar_size(text: str) -> int:
    match = _DTYPE.fullmatch(text)
    if match is None:
        raise ValueError(f"type {text!r} is not one that numpy writes")
    kind, digits, unit = match.groups()
    if unit and kind not in "mM":
        raise ValueError(f"type {text!r} has a unit")
    if kind == "O":
        return OBJECT
    if not digits:
        raise ValueError(f"type {text!r} has no size")
    return int(digits) * (4 if kind == "U" else 1)
