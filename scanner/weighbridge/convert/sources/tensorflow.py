"""TensorFlow's checkpoints of version 2: a table of variables in `<prefix>.index`, their bytes in `<prefix>.data-…`.

The names are the keys of the table, without the suffix that stands for a variable's value. The slots of an optimizer,
which are marked, are left out; so is the graph of objects. The CRCs of the index are checked, those of the data are
not.

Source: tensorflow/core/protobuf/tensor_bundle.proto, tensorflow/core/util/tensor_bundle/, TensorFlow 1.2 to 2.21.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Final

from weighbridge.convert.dtypes import BITS
from weighbridge.convert.plan import Candidate, Dropped, Plan, PlannedTensor, Range, Refusal
from weighbridge.convert.sources.base import Inputs, Options, Source
from weighbridge.convert.table import MAGIC, entries
from weighbridge.convert.torch_tensors import DIMENSIONS
from weighbridge.errors import ArtifactError, UnconvertibleError
from weighbridge.formats.onnx.messages import FIXED32, FIXED64, LENGTH, VARINT
from weighbridge.formats.onnx.wire import varint
from weighbridge.location import anchor, printable
from weighbridge.reader import Reader
from weighbridge.records import dataclass, field

SUFFIX: Final = ".index"
MAX_SHARDS: Final = 10_000
_VALUE: Final = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOT: Final = "/.OPTIMIZER_SLOT/"
_ALL: Final = "."
# tensorflow/core/framework/types.proto
_TYPES: Final = {
    1: "F32", 2: "F64", 3: "I32", 4: "U8", 5: "I16", 6: "I8", 8: "C64", 9: "I64", 10: "BOOL", 14: "BF16", 17: "U16",
    19: "F16", 22: "U32", 23: "U64", 24: "F8_E5M2", 25: "F8_E4M3", 26: "F8_E4M3FNUZ", 28: "F8_E5M2FNUZ",
}  # fmt: skip
_TEXT: Final = 7
_WIDTHS: Final = {FIXED32: 4, FIXED64: 8}
_OTHERS: Final = {11: "qint8", 12: "quint8", 13: "qint32", 18: "complex128", 20: "resource", 21: "variant"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """Where a variable is, as its `BundleEntryProto` says."""

    dtype: int = 0
    shape: tuple[int, ...] = ()
    shard: int = 0
    offset: int = 0
    size: int = 0
    sliced: bool = False


@dataclass(slots=True)
class _Found:
    """What has been found so far."""

    tensors: list[PlannedTensor] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


def recognise(inputs: Inputs) -> bool:
    """Tell whether the file ends as a table does."""
    return inputs.reader.sample.tail.endswith(MAGIC)


def plan(inputs: Inputs, options: Options) -> Plan:
    """Return the variables; raise ArtifactError when index and data contradict each other."""
    reader = inputs.reader
    table = entries(reader)
    key, header = next(table, (b"x", reader))
    if key:
        raise ArtifactError(reader.origin, "a table without the header of a checkpoint")
    stores = _data_files(inputs, _shards(reader, header))
    wanted = _ALL if options.everything else options.state_dict or ""
    if wanted not in ("", _ALL):
        reason = f"variables are in no groups; --state-dict {_ALL} takes those of an optimizer too"
        raise UnconvertibleError(reader.origin, reason)
    found = _Found()
    spans: dict[int, list[tuple[int, int]]] = {}
    for key, value in table:
        name = key.decode("utf-8", "backslashreplace")
        entry = _entry(name, value)
        if not wanted and _SLOT in name:
            found.dropped.append(Dropped(path=name, what="a slot of an optimizer", tensors=1))
        elif entry.dtype == _TEXT:
            found.dropped.append(Dropped(path=name, what="text"))
        else:
            _take(found, inputs, stores, name, entry)
            spans.setdefault(entry.shard, []).append((entry.offset, entry.offset + entry.size))
    _check_apart(reader, spans)
    return Plan(
        source=SOURCE.name,
        tensors=tuple(found.tensors),
        state_dict=wanted,
        candidates=(Candidate(path=_ALL, what="variables", tensors=len(found.tensors)),) if found.tensors else (),
        dropped=tuple(found.dropped),
        refused=tuple(found.refused),
    )


def _take(found: _Found, inputs: Inputs, stores: list[int], name: str, entry: _Entry) -> None:
    """Put one variable where it belongs."""
    here = inputs.reader.origin
    dtype = _TYPES.get(entry.dtype)
    short = name.removesuffix(_VALUE)
    reason = ""
    if entry.sliced:
        reason = "a variable that is saved in slices"
    elif dtype is None:
        reason = f"type {_OTHERS.get(entry.dtype, entry.dtype)} has no equivalent in safetensors"
    elif entry.size != prod(entry.shape) * BITS[dtype] // 8:
        reason = f"it has {entry.size} bytes, its shape and type ask for {prod(entry.shape) * BITS[dtype] // 8}"
    elif entry.shard >= len(stores):
        reason = f"it is in data file {entry.shard} of {len(stores)}"
    elif entry.offset + entry.size > inputs.stores[stores[entry.shard]].reader.size:
        reason = f"it reaches to byte {entry.offset + entry.size} of its data file, which is shorter"
    if reason or dtype is None:
        advice = "save it as one variable of numbers"
        found.refused.append(Refusal(location=here, name=short, reason=reason, advice=advice, shape=entry.shape))
        return
    data = (Range(store=stores[entry.shard], begin=entry.offset, size=entry.size),) if entry.size else ()
    found.tensors.append(PlannedTensor(name=short, dtype=dtype, shape=entry.shape, data=data, location=here))


def _check_apart(reader: Reader, spans: dict[int, list[tuple[int, int]]]) -> None:
    """Raise ArtifactError when two variables share bytes, which no writer does."""
    for shard, held in spans.items():
        last = 0
        for begin, end in sorted(held):
            if begin < last and end > begin:
                raise ArtifactError(reader.origin, f"variables overlap at byte {begin} of data file {shard}")
            last = max(last, end)


def _data_files(inputs: Inputs, count: int) -> list[int]:
    """Open the files that hold the data; return their stores. A link may not lead out of the folder."""
    name = inputs.path.name
    if not name.endswith(SUFFIX):
        raise UnconvertibleError(inputs.reader.origin, f"the index of a checkpoint has to be called <prefix>{SUFFIX}")
    prefix = name.removesuffix(SUFFIX)
    root = Path(anchor(str(inputs.path.parent)))
    stores = []
    for index in range(count):
        place = inputs.path.with_name(f"{prefix}.data-{index:05}-of-{count:05}")
        if not Path(os.path.realpath(place)).is_relative_to(root):
            raise ArtifactError(inputs.reader.origin, f"{printable(place.name)} is a link out of the folder")
        stores.append(inputs.add_file(place))
    return stores


def _fields(message: Reader) -> Iterator[tuple[int, int | Reader]]:
    """Yield number and value of each field of a message; raise ArtifactError when it is broken."""
    position = 0
    while position < message.size:
        tag, position = varint(message, position, message.size)
        kind = tag & 7
        if kind == VARINT:
            value, position = varint(message, position, message.size)
            yield tag >> 3, value
        elif kind in _WIDTHS or kind == LENGTH:
            size = _WIDTHS.get(kind, 0)
            if kind == LENGTH:
                size, position = varint(message, position, message.size)
            yield tag >> 3, message.window(position, size)
            position += size
        else:
            raise ArtifactError(message.at(position), f"a field of wire type {kind}")


def _number(message: Reader, number: int) -> int:
    """Return a number of a message, 0 when it is not there; the last one of several, as protobuf reads it."""
    value = dict(_fields(message)).get(number, 0)
    return value if isinstance(value, int) else -1


def _shards(reader: Reader, header: Reader) -> int:
    """Return the number of data files that a `BundleHeaderProto` tells."""
    if _number(header, 2):
        raise UnconvertibleError(reader.origin, "its numbers are big-endian; save it on a machine of the usual order")
    count = _number(header, 1)
    if not 0 < count <= MAX_SHARDS:
        raise ArtifactError(header.origin, f"{count} data files")
    return count


def _entry(name: str, message: Reader) -> _Entry:
    numbers: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    sliced = False
    for number, value in _fields(message):
        if isinstance(value, int):
            numbers[number] = value
        elif number == 2:
            shape = _shape(name, value)
        elif number == 7:
            sliced = True
    dtype, shard, offset, size = (numbers.get(number, 0) for number in (1, 3, 4, 5))
    return _Entry(dtype=dtype, shape=shape, shard=shard, offset=offset, size=size, sliced=sliced)


def _shape(name: str, message: Reader) -> tuple[int, ...]:
    """Return the sides of a `TensorShapeProto`."""
    sides = [
        _number(value, 1) if isinstance(value, Reader) and number == 2 else -1 for number, value in _fields(message)
    ]
    if len(sides) > DIMENSIONS or any(not 0 <= side < 1 << 62 for side in sides):
        raise ArtifactError(message.origin, f"{printable(name)}: a shape that is not made of numbers")
    return tuple(sides)


SOURCE: Final = Source("tensorflow", "TensorFlow checkpoint", recognise, plan)
