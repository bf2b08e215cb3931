"""PyTorch's file before 1.6: five pickles, then the storages' bytes.

The pickles are a magic number, a protocol version, facts of the writing system, the object itself, and the list of
storage keys; each storage follows as a count of elements (int64) and its data, in the order of the list.

Source: torch/serialization.py, `_legacy_load`, torch 0.4 to 2.13.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from weighbridge.facts import Anomaly, Fact, Gap, Inert, Program
from weighbridge.reader import Reader
from weighbridge.symbols import Global, PersistentId, Value

MAGIC: Final = 0x1950A86A20F9469CFC6C
PICKLES: Final = 5

# Bytes per element of every storage class that torch has had.
ITEM_SIZES: Final = {
    "UntypedStorage": 1,
    "ByteStorage": 1,
    "CharStorage": 1,
    "BoolStorage": 1,
    "QUInt8Storage": 1,
    "QInt8Storage": 1,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
    "HalfStorage": 2,
    "ShortStorage": 2,
    "BFloat16Storage": 2,
    "FloatStorage": 4,
    "IntStorage": 4,
    "QInt32Storage": 4,
    "DoubleStorage": 8,
    "LongStorage": 8,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
}


def storages(program: Program) -> dict[str, int]:
    """Return the size in bytes of every storage that a program's persistent ids name, by key."""
    sizes: dict[str, int] = {}
    for event in program.events:
        if isinstance(event, PersistentId):
            found = storage(event.value)
            if found is not None:
                sizes[found[0]] = max(found[1], sizes.get(found[0], 0))
    return sizes


def storage(value: Value) -> tuple[str, int] | None:
    """Return (key, bytes) of a persistent id that names a torch storage, None for any other."""
    match value:
        case ("storage" | b"storage", Global(name=name), str(key), _, int(count), *_) if name in ITEM_SIZES:
            return key, count * ITEM_SIZES[name]
    return None


def holds_storage(programs: Sequence[Program]) -> bool:
    """Tell whether the programs of a file are those of this format, and the object is a storage and nothing else."""
    read = [program for program in programs if not program.reading]
    if len(read) != PICKLES or type(read[0].result) is not int or read[0].result != MAGIC:
        return False
    result = read[3].result
    return isinstance(result, PersistentId) and storage(result.value) is not None


def parse_version(program: Program) -> Iterator[Fact]:
    """Yield a gap for a version of the format that is no number: torch compares it, and an object would answer."""
    if type(program.result) is not int:
        yield Gap(location=program.location, reason="torch-legacy: the version of the format is not a number")


def parse_storages(reader: Reader, programs: list[Program]) -> Iterator[Fact]:
    """Yield the account of the storages behind the five pickles; the cursor stands at the first."""
    keys = programs[4].result
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        yield Gap(location=reader.location, reason="torch-legacy: the list of storages is not a list of keys")
        return
    sizes = storages(programs[3])
    for key in keys:
        size = sizes.get(str(key))
        if size is None:
            yield Gap(
                location=reader.location, reason=f"torch-legacy: storage {key!r} is in the list but not in the object"
            )
            return
        start = reader.location
        count = reader.i64()
        if count < 0 or (count == 0) != (size == 0) or (count and (size % count or size // count > 16)):
            yield Anomaly(
                location=start, code="torch-storage-size", detail=f"storage {key!r}: {count} elements, {size} bytes"
            )
        reader.skip(size)
        yield Inert(location=start, size=size + 8, reason="tensor data")
