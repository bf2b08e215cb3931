"""The header of a safetensors file as the loader takes it: every byte as a careful writer leaves it, or none at all.

The format's parser (`formats/safetensors`) reports what is odd and goes on; here the first oddity ends it, because what
readers disagree about can be read in two ways. Refused, and accepted by the reference reader 0.8: names and keys that
come twice, keys of an entry that nobody knows, white space before the brace and other padding than spaces, names that
are empty, unprintable or like a path out of the folder, ranks and sizes beyond any tensor's, and headers that take it
seconds and gigabytes to decode. The size is looked at before anything is decoded.

Specification: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import prod
from typing import Final, NamedTuple

from weighbridge.formats.safetensors.parse import BITS
from weighbridge.location import printable
from weighbridge.records import dataclass, field
from weighbridge.refusals import MalformedHeader

__all__ = [
    "BITS",
    "CLIMBING",
    "HEADER_LIMIT",
    "MAX_DIMENSIONS",
    "MAX_TENSORS",
    "NAME_LIMIT",
    "PREFIX",
    "Header",
    "Tensor",
    "length",
    "parse",
]

PREFIX: Final = 8  # bytes of the length before the header
# The reference reader takes 100 MB, which is 1.5 million tensors, 17 s and 1.4 GB; 200 000 ordinary entries fit here.
HEADER_LIMIT: Final = 16 << 20
MAX_TENSORS: Final = 200_000  # the largest known shards hold a few thousand
MAX_DIMENSIONS: Final = 32  # what every framework takes
NAME_LIMIT: Final = 512  # bytes; real ones have less than 200
# An entry has about twelve of `{[,:`; counting them bounds the objects that decoding would make.
_MAX_TOKENS: Final = 16 * MAX_TENSORS
_LARGEST: Final = 1 << 63  # no side or offset of a real file reaches it
_METADATA: Final = "__metadata__"
# What would name a file outside of a folder, if somebody made file names of tensor names.
CLIMBING: Final = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]|^[A-Za-z]:[/\\]")


class Tensor(NamedTuple):
    """A tensor of the header; `begin` and `end` count from the first byte of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def size(self) -> int:
        """The bytes that it takes."""
        return self.end - self.begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a header says: the texts of its writer, and the tensors in the order of the file, which they tile.

    `data` is the offset of the first tensor in the file.
    """

    metadata: Mapping[str, str] = field(default_factory=dict)
    tensors: tuple[Tensor, ...] = ()
    data: int = PREFIX

    def __len__(self) -> int:
        return len(self.tensors)


def length(prefix: bytes | bytearray, size: int, where: str) -> int:
    """Return how many bytes the header of a file of `size` bytes takes with its prefix, from the first eight bytes.

    Raises MalformedHeader when there are not that many, or more than HEADER_LIMIT.
    """
    if len(prefix) < PREFIX:
        raise _refusal(where, "length", f"{len(prefix)} bytes are no safetensors file")
    count = int.from_bytes(prefix[:PREFIX], "little")
    if count > HEADER_LIMIT:
        raise _refusal(where, "limit", f"a header of {count} bytes, limit is {HEADER_LIMIT}")
    if not 2 <= count <= size - PREFIX:
        raise _refusal(where, "length", f"a header of {count} bytes in a file of {size}")
    return PREFIX + count


def parse(text: bytes | bytearray, size: int, where: str) -> Header:
    """Return what the header `text`, without its prefix, of a file of `size` bytes says.

    Raises MalformedHeader, whose `rule` is one of limit, padding, json, duplicate, metadata, name, entry, dtype, shape
    and offsets.
    """
    if len(text) > HEADER_LIMIT:
        raise _refusal(where, "limit", f"a header of {len(text)} bytes, limit is {HEADER_LIMIT}")
    if text[:1] != b"{" or text.rstrip(b" ")[-1:] != b"}":
        raise _refusal(where, "padding", "the header begins with a brace, ends with one, and only spaces follow")
    tokens = sum(map(text.count, (b"{", b"[", b",", b":")))
    if tokens > _MAX_TOKENS:
        raise _refusal(where, "limit", f"a header of {tokens} tokens, limit is {_MAX_TOKENS}")
    if (count := text.count(b'"data_offsets"')) > MAX_TENSORS:
        raise _refusal(where, "limit", f"{count} tensors, limit is {MAX_TENSORS}")
    found = _decoded(text, where)
    metadata = _metadata(found.pop(_METADATA, {}), where)
    if len(found) > MAX_TENSORS:
        raise _refusal(where, "limit", f"{len(found)} tensors, limit is {MAX_TENSORS}")
    data = PREFIX + len(text)
    tensors = sorted((_tensor(name, value, data, where) for name, value in found.items()), key=_place)
    _tile(tensors, data, size, where)
    return Header(metadata=metadata, tensors=tuple(tensors), data=data)


def _place(tensor: Tensor) -> tuple[int, int, str]:
    return tensor.begin, tensor.end, tensor.name


def _refusal(where: str, rule: str, reason: str) -> MalformedHeader:
    return MalformedHeader(where, reason, rule=rule)


class _Repeated(ValueError):
    """A key comes twice in an object."""


def _decoded(text: bytes | bytearray, where: str) -> dict[str, object]:
    """Return the object that the header is; every key once, no number but integers."""
    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no, parse_float=_no)
    except _Repeated as error:
        raise _refusal(where, "duplicate", f"{error} comes twice; readers differ on which one counts") from error
    except (ValueError, RecursionError) as error:
        raise _refusal(where, "json", f"the header is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise _refusal(where, "json", "the header is not an object")
    return found


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        once, last = set(found), None
        for key, _ in pairs:
            if key not in once:
                last = key
            once.discard(key)
        raise _Repeated(printable(repr(last)))
    return found


def _no(text: str) -> object:
    raise ValueError(f"{text} is not an integer")


def _metadata(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _refusal(where, "metadata", "__metadata__ is not an object of strings")
    return value


def _tensor(name: str, value: object, data: int, where: str) -> Tensor:
    """Return the tensor that an entry describes; `data` is where offsets count from."""
    shown = f"tensor {printable(repr(name[:NAME_LIMIT]))}"
    if not name or not name.isprintable() or len(name.encode()) > NAME_LIMIT or CLIMBING.search(name):
        raise _refusal(where, "name", f"{shown}: a name that is empty, unprintable, too long or a path")
    match value:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [begin, end], **more} if not more:
            pass
        case _:
            raise _refusal(where, "entry", f"{shown}: an entry has dtype, shape and two data_offsets, and nothing else")
    if dtype not in BITS:
        raise _refusal(where, "dtype", f"{shown}: dtype {printable(dtype[:32])} is not known")
    if len(shape) > MAX_DIMENSIONS or not all(map(_count, shape)):
        raise _refusal(where, "shape", f"{shown}: not a shape of at most {MAX_DIMENSIONS} sides")
    if not _count(begin) or not _count(end) or begin > end:
        raise _refusal(where, "offsets", f"{shown}: data_offsets are not two counts in order")
    bits = prod(shape) * BITS[dtype]
    if bits != 8 * (end - begin):
        raise _refusal(where, "shape", f"{shown}: {end - begin} bytes, the shape needs {bits} bits")
    if not bits and prod(side for side in shape if side) >= _LARGEST:
        raise _refusal(where, "shape", f"{shown}: no bytes, and sides that no tensor has")
    return Tensor(name, dtype, tuple(shape), data + begin, data + end)


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _tile(tensors: list[Tensor], data: int, size: int, where: str) -> None:
    """Check that tensors in order cover the file behind its header, each byte once."""
    position = data
    for tensor in tensors:
        if tensor.begin != position:
            what = "a hole before" if tensor.begin > position else "another tensor reaches into"
            raise _refusal(where, "offsets", f"{what} tensor {printable(repr(tensor.name))}")
        position = tensor.end
    if position != size:
        raise _refusal(where, "offsets", f"the tensors end at {position}, the file at {size}")
