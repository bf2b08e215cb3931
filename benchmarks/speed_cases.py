"""The files that speed is measured on: made here of numbers and words; large ones have holes instead of data.

`python -m benchmarks.speed_cases NAME PATH` writes one of them.
"""

from __future__ import annotations

import datetime
import pickle
import random
import struct
import sys
import types
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fixtures.archives import Entry, torch_entries, zip_archive
from fixtures.assemble import P2, Ops

GIB = 1 << 30
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Case:
    """A file or folder to scan: `make` writes it at a path, `limit` is the physical limit it is compared with."""

    name: str
    title: str
    make: Callable[[Path], None]
    limit: str
    big: bool = False
    digest: bool = False


def _pickled(value: Callable[[], object], protocol: int = 4) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            pickle.dump(value(), file, protocol)

    return make


def floats() -> object:
    """Return a million different floats."""
    source = random.Random(0)
    return [source.random() for _ in range(1_000_000)]


def vocabulary() -> object:
    """Return a tokenizer's vocabulary of half a million entries."""
    return {f"token_{index:x}": index for index in range(500_000)}


def records() -> object:
    """Return 200 000 small dicts."""
    return [{"id": index, "text": f"row {index}", "score": index / 7} for index in range(200_000)]


def nested() -> object:
    """Return 100 000 dicts with a list and a dict in each."""
    return [{"id": n, "tags": ["a", f"t{n}"], "meta": {"x": n / 3, "y": None}} for n in range(100_000)]


def strings() -> object:
    """Return 300 000 short texts."""
    return [f"token{index}" for index in range(300_000)]


def token_lists() -> object:
    """Return 50 000 lists of 10 to 30 numbers of a vocabulary."""
    source = random.Random(0)
    return [[source.randrange(30_000) for _ in range(source.randrange(10, 30))] for _ in range(50_000)]


def times() -> object:
    """Return 100 000 times of day, each a call."""
    return [datetime.datetime(2020, 1, 1) + datetime.timedelta(seconds=index) for index in range(100_000)]


def sets() -> object:
    """Return 100 000 small sets."""
    return [{index, index + 1, index + 2} for index in range(100_000)]


def _inert(name: str) -> type:
    """Return a class of a module that no scanner has."""
    module = sys.modules.setdefault("weighbridge_benchmark", types.ModuleType("weighbridge_benchmark"))
    kind = type(name, (), {"__module__": module.__name__})
    setattr(module, name, kind)
    return kind


def tree(depth: int = 16) -> object:
    """Return objects that hold two of their kind each: no two neighbours in the stream are of one shape."""
    kind = _inert("Node")
    source = random.Random(0)

    def grow(levels: int) -> object:
        node = kind()
        children = (grow(levels - 1), grow(levels - 1)) if levels else (None, None)
        node.__dict__.update(value=source.random(), left=children[0], right=children[1])
        return node

    return grow(depth - 1)


def instances() -> object:
    """Return 200 000 objects of a class of a module that no scanner has."""
    kind = _inert("Record")
    made = []
    for index in range(200_000):
        record = kind()
        record.__dict__.update(id=index, text=f"row {index}", score=index / 7)
        made.append(record)
    return made


def _zeros_crc(size: int) -> int:
    crc, zeros = 0, bytes(_CHUNK)
    for _ in range(size // _CHUNK):
        crc = zlib.crc32(zeros, crc)
    return zlib.crc32(bytes(size % _CHUNK), crc)


def _tensor(items: int) -> Ops:
    storage = Ops(P2.tuple_of("storage", P2.name("torch", "FloatStorage"), "0", "cpu", items) + b"Q")
    hooks = P2.call("collections:OrderedDict")
    return P2.call("torch._utils:_rebuild_tensor_v2", storage, 0, (items,), (1,), False, hooks)


def torch_zip(path: Path, size: int = 2 * GIB) -> None:
    """Write a torch checkpoint of one tensor of `size` bytes, which are a hole in the file."""
    program = P2.stream(P2.dict_of({"weight": _tensor(size // 4)}))
    before = torch_entries(program)
    crc = _zeros_crc(size)
    data = Entry(name="archive/data/0", align=64, crc=crc, local_crc=crc, size=size, local_size=size)
    archive = zip_archive(*before, data)
    directory = archive.find(b"PK\x01\x02")
    tail = bytearray(archive[directory:])
    tail[-6:-2] = struct.pack("<I", directory + size)
    with path.open("wb") as file:
        file.write(archive[:directory])
        file.seek(directory + size)
        file.write(tail)


def _blob(path: Path) -> None:
    """Write a pickle of one bytes object of 500 MB."""
    size = 500_000_000
    with path.open("wb") as file:
        file.write(b"\x80\x03B" + struct.pack("<I", size))
        file.seek(size, 1)
        file.write(b".")


def _safetensors(path: Path) -> None:
    """Write a safetensors file of 1 GiB."""
    header = b'{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (GIB, GIB)
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + GIB)


def _many(path: Path) -> None:
    """Write a folder of 1000 small torch checkpoints."""
    path.mkdir()
    for index in range(1000):
        program = P2.stream(P2.dict_of({f"layer{index}.weight": _tensor(64)}))
        entries = [*torch_entries(program), Entry(name="archive/data/0", data=bytes(256), align=64)]
        (path / f"model{index:04}.pt").write_bytes(zip_archive(*entries))


CASES = (
    Case("floats.pkl", "1 M floats", _pickled(floats), "load"),
    Case("vocabulary.pkl", "500 k vocabulary entries", _pickled(vocabulary), "load"),
    Case("records.pkl", "200 k dicts", _pickled(records), "load"),
    Case("nested.pkl", "100 k nested dicts", _pickled(nested), "load"),
    Case("strings.pkl", "300 k texts", _pickled(strings), "load"),
    Case("tokens.pkl", "50 k lists of tokens", _pickled(token_lists), "load"),
    Case("sets.pkl", "100 k sets", _pickled(sets), "load"),
    Case("times.pkl", "100 k times (REDUCE)", _pickled(times), "load"),
    Case("instances.pkl", "200 k objects (NEWOBJ, BUILD)", _pickled(instances), "load"),
    Case("records2.pkl", "200 k dicts, protocol 2", _pickled(records, 2), "load"),
    Case("vocabulary2.pkl", "500 k vocabulary entries, protocol 2", _pickled(vocabulary, 2), "load"),
    Case("times2.pkl", "100 k times, protocol 2", _pickled(times, 2), "load"),
    Case("strings2.pkl", "300 k texts, protocol 2", _pickled(strings, 2), "load"),
    Case("instances2.pkl", "200 k objects, protocol 2", _pickled(instances, 2), "load"),
    Case("tree.pkl", "a tree of 65 k objects", _pickled(tree), "load"),
    Case("tiny.pkl", "a tiny file", _pickled(lambda: {"a": 1}), "load"),
    Case("models", "1000 small torch files", _many, "cp"),
    Case("large.pt", "2 GiB torch file, not hashed", torch_zip, "open", big=True),
    Case("blob.pkl", "500 MB bytes in a pickle", _blob, "open", big=True),
    Case("large.safetensors", "1 GiB safetensors, hashed", _safetensors, "hash", big=True, digest=True),
)


if __name__ == "__main__":
    next(case for case in CASES if case.name == sys.argv[1]).make(Path(sys.argv[2]))
