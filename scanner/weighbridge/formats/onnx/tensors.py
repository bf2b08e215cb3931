"""Tensors: their type and dimensions against the data that they carry or refer to.

Source: onnx-ml.proto (TensorProto), onnx/checker.cc (check_tensor), which this follows and goes beyond: data that are
longer than the shape needs are refused by ONNX Runtime and taken by others.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple

from weighbridge.facts import Fact, Gap, Inert, Tensor
from weighbridge.formats.onnx import content
from weighbridge.formats.onnx.external import Ranges, external
from weighbridge.formats.onnx.messages import numbers
from weighbridge.formats.onnx.scene import Scene, shown, text
from weighbridge.formats.onnx.wire import Place, Span, count_numbers

if TYPE_CHECKING:
    from onnx import TensorProto

MAX_DIMENSIONS: Final = 64  # of a tensor; no runtime takes as many
COUNTED: Final = 1 << 22  # bytes of numbers of variable length that are counted one by one
_LARGEST: Final = 1 << 63
_EXTERNAL: Final = 1
_STRING: Final = 8


class Type(NamedTuple):
    """An element type: its bits in raw data, the field for its values otherwise, and entries there per element."""

    name: str
    bits: int
    field: str
    entries: int = 1


TYPES: Final = {
    1: Type("FLOAT", 32, "float_data"),
    2: Type("UINT8", 8, "int32_data"),
    3: Type("INT8", 8, "int32_data"),
    4: Type("UINT16", 16, "int32_data"),
    5: Type("INT16", 16, "int32_data"),
    6: Type("INT32", 32, "int32_data"),
    7: Type("INT64", 64, "int64_data"),
    8: Type("STRING", 0, "string_data"),
    9: Type("BOOL", 8, "int32_data"),
    10: Type("FLOAT16", 16, "int32_data"),
    11: Type("DOUBLE", 64, "double_data"),
    12: Type("UINT32", 32, "uint64_data"),
    13: Type("UINT64", 64, "uint64_data"),
    14: Type("COMPLEX64", 64, "float_data", 2),
    15: Type("COMPLEX128", 128, "double_data", 2),
    16: Type("BFLOAT16", 16, "int32_data"),
    17: Type("FLOAT8E4M3FN", 8, "int32_data"),
    18: Type("FLOAT8E4M3FNUZ", 8, "int32_data"),
    19: Type("FLOAT8E5M2", 8, "int32_data"),
    20: Type("FLOAT8E5M2FNUZ", 8, "int32_data"),
    21: Type("UINT4", 4, "int32_data"),
    22: Type("INT4", 4, "int32_data"),
    23: Type("FLOAT4E2M1", 4, "int32_data"),
    24: Type("FLOAT8E8M0", 8, "int32_data"),
    25: Type("UINT2", 2, "int32_data"),
    26: Type("INT2", 2, "int32_data"),
    27: Type("FLOAT6E2M3", 6, "int32_data"),
    28: Type("FLOAT6E3M2", 6, "int32_data"),
}
_NUMBERS: Final = numbers("Tensor")
_FIELDS: Final = ("float_data", "int32_data", "string_data", "int64_data", "raw_data", "double_data", "uint64_data")
_ITEM: Final = {"float_data": 4, "double_data": 8}  # bytes of an entry whose size is fixed


class Payload(NamedTuple):
    """The data of one field: bytes in the file, and how few and how many entries that may be."""

    field: str
    size: int
    least: int
    most: int


def check(scene: Scene, tensor: TensorProto, place: Place, ranges: Ranges, *, listed: bool) -> Iterator[Fact]:
    """Yield a tensor's facts; `listed` says that it is a weight and not a constant of a node."""
    count = _count(tensor, place)
    size = _size(tensor, count)
    yield from _declared(scene, tensor, place, count, size)
    for name in _FIELDS:
        for span in place.left_out.get(_NUMBERS[name], ()):
            yield Inert(location=scene.at(span.offset), size=span.size, reason="tensor data")
    payloads = _payloads(scene, tensor, place)
    stored_elsewhere = tensor.data_location == _EXTERNAL
    if listed:
        yield _listed(scene, tensor, place, payloads, size, elsewhere=stored_elsewhere)
    if stored_elsewhere or tensor.external_data:
        yield from external(scene, tensor, place.begin, size, ranges)
    if stored_elsewhere:
        if payloads:
            yield _misfit(scene, tensor, place, "its data are in another file, and here as well")
        if tensor.data_type == _STRING:
            yield _misfit(scene, tensor, place, "its texts are in another file, where no reader takes them from")
    else:
        if tensor.external_data:
            yield _misfit(scene, tensor, place, "it names another file for data that are here")
        yield from _stored(scene, tensor, place, payloads, count)
    yield from content.payloads(scene, tensor, place)


def _misfit(scene: Scene, tensor: TensorProto, place: Place, reason: str) -> Fact:
    return scene.anomaly("onnx-tensor-payload", place.begin, f"tensor {shown(tensor.name)}: {reason}")


def _size(tensor: TensorProto, count: int | None) -> int | None:
    """Return the bytes that so many elements of the type need, None when nobody can say."""
    kind = TYPES.get(tensor.data_type)
    return None if kind is None or not kind.bits or count is None else -(-count * kind.bits // 8)


def _count(tensor: TensorProto, place: Place) -> int | None:
    """Return the number of elements, None when the dimensions make no sense."""
    dims = tuple(tensor.dims)
    if len(dims) > MAX_DIMENSIONS or _NUMBERS["dims"] in place.left_out or (dims and min(dims) < 0):
        return None
    count = prod(dims)
    return count if count < _LARGEST else None


def _declared(scene: Scene, tensor: TensorProto, place: Place, count: int | None, size: int | None) -> Iterator[Fact]:
    """Look at the type and the dimensions alone."""
    if tensor.data_type not in TYPES:
        detail = f"tensor {shown(tensor.name)}: element type {tensor.data_type}"
        yield scene.anomaly("onnx-undefined", place.begin, detail)
        reason = "onnx: data of an element type that is not known"
        yield Gap(location=scene.at(place.begin), reason=reason, size=place.end - place.begin)
    if count is None:
        dims = " by ".join(map(str, tensor.dims[:8]))
        yield _misfit(scene, tensor, place, f"the dimensions {dims} are negative, too many or too large")
    elif size is not None and size >= _LARGEST:
        yield _misfit(scene, tensor, place, f"its size of {size} bytes overflows")
    if tensor.HasField("segment"):
        yield _misfit(scene, tensor, place, "it is a segment of a tensor, which nobody reads")


def _payloads(scene: Scene, tensor: TensorProto, place: Place) -> list[Payload]:
    """Return the fields that hold data, with what of them is in the copy and what was left out."""
    found = []
    for name in _FIELDS:
        here = getattr(tensor, name)
        spans = place.left_out.get(_NUMBERS[name], ())
        if not here and not spans:
            continue
        size = least = most = len(here)
        if name == "string_data":
            size = sum(map(len, here))
        elif name in _ITEM:
            size *= _ITEM[name]
        for span in spans:
            fewest, many = _entries(scene, name, span)
            size, least, most = size + span.size, least + fewest, most + many
        found.append(Payload(name, size, least, most))
    return found


def _entries(scene: Scene, name: str, span: Span) -> tuple[int, int]:
    """Return how few and how many entries content that was left out holds."""
    if name == "string_data":
        return 1, 1
    if name == "raw_data":
        return span.size, span.size
    if name in _ITEM:
        count = span.size // _ITEM[name] if span.numbers is None else span.numbers
        return count, count
    step = span.step
    if span.size > COUNTED:
        return span.size // (10 + step), span.size // (1 + step)
    count = count_numbers(scene.reader.read(span.offset, span.size)) // (1 + step)
    return count, count


def _stored(
    scene: Scene, tensor: TensorProto, place: Place, payloads: list[Payload], count: int | None
) -> Iterator[Fact]:
    """Compare the data in the file with the dimensions and the type."""
    kind = TYPES.get(tensor.data_type)
    if kind is None or count is None:
        return
    if len(payloads) > 1:
        names = " and ".join(payload.field for payload in payloads)
        yield _misfit(scene, tensor, place, f"data in {names}; readers differ on which one counts")
    for payload in payloads:
        if payload.field == "raw_data" and kind.bits:
            wanted = {-(-count * kind.bits // 8)}
        elif payload.field == kind.field:
            wanted = {count * kind.entries}
            if kind.bits < 8 and kind.bits:
                wanted.add(-(-count * kind.bits // 8))
        else:
            yield _misfit(scene, tensor, place, f"elements of type {kind.name} in {payload.field}")
            continue
        if not any(payload.least <= one <= payload.most for one in wanted):
            detail = f"{payload.most} entries of {payload.field}, its shape needs {max(wanted)}"
            yield _misfit(scene, tensor, place, detail)
    if not payloads and count:
        yield _misfit(scene, tensor, place, "it has no data, and its shape needs some")


def _listed(
    scene: Scene, tensor: TensorProto, place: Place, payloads: list[Payload], size: int | None, *, elsewhere: bool
) -> Fact:
    offset = place.begin
    if not elsewhere:
        size = sum(payload.size for payload in payloads)
        offset = _offset(scene, tensor, place, payloads)
    kind = TYPES.get(tensor.data_type)
    return Tensor(
        location=scene.at(offset),
        name=text(tensor.name),
        dtype=f"type {tensor.data_type}" if kind is None else kind.name,
        shape=tuple(tensor.dims[:MAX_DIMENSIONS]),
        size=size or 0,
    )


def _offset(scene: Scene, tensor: TensorProto, place: Place, payloads: list[Payload]) -> int:
    """Return where the data begin: what was left out, or the field in the copy."""
    for payload in payloads:
        number = _NUMBERS[payload.field]
        for span in place.left_out.get(number, ()):
            return span.offset
        if payload.field == "raw_data":
            return _raw_offset(scene, tensor, place)
    return place.begin


def _raw_offset(scene: Scene, tensor: TensorProto, place: Place) -> int:
    """Return where raw data lie: mostly at the very end, which saves looking for them."""
    size = len(tensor.raw_data)
    if place.end - place.begin >= size and scene.reader.read(place.end - size, size) == tensor.raw_data:
        return place.end - size
    span = place.content(scene.reader, _NUMBERS["raw_data"])
    return place.begin if span is None else span.offset
