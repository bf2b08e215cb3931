"""What a conversion would write, before it writes anything: every tensor with its name, dtype, shape and bytes.

A source reads a container and makes a `Plan`; the writer, the check after it, the digests and the listing of tensors
all work from plans and know nothing of containers. A plan holds no tensor data: it says where they are.
"""

from __future__ import annotations

from math import prod

from weighbridge.convert.dtypes import BITS
from weighbridge.location import Location
from weighbridge.records import dataclass, field

# What JSON can hold; a scalar of a checkpoint goes to the record of the conversion.
Scalar = None | bool | int | float | str | list["Scalar"] | dict[str, "Scalar"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """`size` bytes from `begin` on of a store of the plan's inputs (`Inputs.stores`), by its index."""

    store: int = 0
    begin: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Strided:
    """Elements of `item` bytes that do not follow one another as their indices do.

    The element at index (i, j, …) begins at `begin` + i·strides[0] + j·strides[1] … of the store; `strides` are in
    bytes and not negative, `shape` is the container's, which for F4 counts pairs.
    """

    store: int = 0
    begin: int
    item: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def extent(self) -> int:
        """How many bytes there are from the first element to the end of the last."""
        if 0 in self.shape:
            return 0
        return self.item + sum((side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTensor:
    """A tensor of the output: `dtype` is safetensors' word for it, `shape` what the header will say.

    `data` are the ranges that its bytes are in, in C order when joined, or a strided view. With `swap` the bytes of
    every unit of that many bytes stand in reverse order (big-endian numbers; half an item for complex ones).
    `location` is where the container speaks of it, `member` what holds its bytes, for messages.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: tuple[Range, ...] | Strided
    swap: int = 0
    location: Location
    member: str = ""

    @property
    def size(self) -> int:
        """Its bytes in the output."""
        return prod(self.shape) * BITS[self.dtype] // 8

    @property
    def begin(self) -> tuple[int, int]:
        """The store and the offset where its bytes begin, for reading in the order of the source."""
        if isinstance(self.data, Strided):
            return self.data.store, self.data.begin
        return (self.data[0].store, self.data[0].begin) if self.data else (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something that has no exact form in the output: what, where, why, and what to do instead."""

    location: Location
    name: str
    reason: str
    advice: str = ""
    dtype: str = ""
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """What the output does not have: its path in the source, what it is in words, and how many tensors are in it."""

    path: str
    what: str
    tensors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A group of tensors that could be what is wanted: its path, what it is, and how many tensors it has."""

    path: str
    what: str
    tensors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """What a container says of a range of its own bytes, all of them: their CRC-32."""

    data: Range
    crc: int
    member: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a source makes of its inputs.

    `tensors` are in the order in which the source has them. `aliases` has the name of each tensor that is the very same
    view of the same storage as one before it, and that one's name; such tensors are in `tensors` too. `state_dict` is
    the path of the group they come from, empty for the whole and "." when all of it was asked for; `candidates` are the
    groups there are. What `refused` names stands among the tensors and cannot be converted. `checksums` are for a pass
    that reads all bytes anyway.
    """

    source: str
    tensors: tuple[PlannedTensor, ...]
    aliases: dict[str, str] = field(default_factory=dict)
    state_dict: str = ""
    candidates: tuple[Candidate, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    scalars: dict[str, Scalar] = field(default_factory=dict)
    refused: tuple[Refusal, ...] = ()
    checksums: tuple[Checksum, ...] = ()
