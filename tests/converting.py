"""Convert a file and compare the output with what the library that wrote it says is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.convert.conversion import convert, listing, verify
from weighbridge.convert.record import Conversion

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1", "C64": "<c8", "BF16": "<u2",
    "F8_E4M3": "|u1", "F8_E5M2": "|u1",
}  # fmt: skip


def load(path: Path) -> dict[str, tuple[str, np.ndarray[Any, Any]]]:
    """Return dtype and array of every tensor of a file of safetensors; those that numpy has no type for as integers."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = np.frombuffer(data[8 + size + begin : 8 + size + end], DTYPES[entry["dtype"]])
        found[name] = (entry["dtype"], raw.reshape(entry["shape"]))
    return found


def convert_to(source: Path, **options: Any) -> tuple[Conversion, dict[str, tuple[str, np.ndarray[Any, Any]]]]:
    """Convert a file beside itself and verify it; return the conversion and the tensors of the output."""
    destination = source.parent / f"{source.name}.out.safetensors"
    made = convert(source, destination, **options)
    verify(source, destination)
    digests = listing(destination, digests=True).digests
    assert {name: digests[name] for name in made.digests if name in digests} == dict(made.digests)
    return made, load(destination)


def assert_equal(found: Mapping[str, tuple[str, Any]], wanted: Mapping[str, Any]) -> None:
    """Compare tensors with arrays: names, shapes, types and every byte."""
    assert sorted(found) == sorted(wanted)
    for name, array in wanted.items():
        array = np.asarray(array)
        dtype, tensor = found[name]
        assert tensor.shape == array.shape, name
        if dtype not in ("BF16", "F8_E4M3", "F8_E5M2"):
            assert tensor.dtype == array.dtype.newbyteorder("="), name
        assert tensor.tobytes() == np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes(), name
