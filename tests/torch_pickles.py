"""Files of torch built by hand, whose pickles say whatever a test wants, and why they are refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from fixtures.archives import tar_archive, tar_member, torch_zip
from fixtures.assemble import P2, Ops
from weighbridge.convert.conversion import convert
from weighbridge.errors import ArtifactError, UnconvertibleError

DATA = struct.pack("<12f", *range(12))


def storage(key: str = "0", count: object = 12, kind: str = "FloatStorage", module: str = "torch") -> Ops:
    """Return code for a storage as a pickle names it."""
    return Ops(P2.tuple_of("storage", P2.name(module, kind), key, "cpu", count) + b"Q")


def view(shape: object = (12,), strides: object = (1,), offset: object = 0, of: Ops | None = None) -> Ops:
    """Return code for a tensor of floats."""
    return P2.call("torch._utils:_rebuild_tensor_v2", of or storage(), offset, shape, strides, False, P2.dict_of({}))


def write(folder: Path, value: object, storages: dict[str, bytes] | None = None) -> Path:
    """Write a checkpoint of one value."""
    path = folder / "model.pt"
    path.write_bytes(torch_zip(P2.stream(value), {"0": DATA} if storages is None else storages))
    return path


def refusal(path: Path, **options: Any) -> str:
    """Return why a file is not converted; nothing may be left behind."""
    with pytest.raises(ArtifactError) as caught:
        convert(path, path.parent / "out.safetensors", **options)
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    details = caught.value.details if isinstance(caught.value, UnconvertibleError) else ()
    return "\n".join((str(caught.value), *details))


MAGIC = 0x1950A86A20F9469CFC6C


def legacy(value: object, keys: list[str], data: bytes, little: bool = True) -> bytes:
    """Return a stream as torch before 1.6 wrote it."""
    system = P2.dict_of({"protocol_version": 1001, "little_endian": little, "type_sizes": {}})
    return b"".join(map(P2.stream, (MAGIC, 1001, system, value, keys))) + data


def viewed(begin: int, count: int) -> Ops:
    """Return code for a view of a storage, as the stream has them."""
    return Ops(P2.tuple_of("storage", P2.name("torch", "FloatStorage"), "0", "cpu", 12, ("5", begin, count)) + b"Q")


def tar(value: object, *, shape: tuple[int, ...] = (3, 4), strides: tuple[int, ...] = (4, 1), offset: int = 0) -> bytes:
    """Return an archive as torch 0.1 wrote it, with a storage 1, a view 2 of half of it, and a tensor 7 of either."""

    def numbers(key: int, storage: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> bytes:
        sides = struct.pack(f"<i4x{2 * len(shape)}q", len(shape), *shape, *strides)
        return P2.stream((key, storage, P2.name("torch", "FloatTensor"))) + sides + struct.pack("<q", offset)

    storages = P2.stream(1) + P2.stream((1, "cpu", P2.name("torch", "FloatStorage")))
    storages += struct.pack("<q", 12) + DATA + P2.stream([(2, 1, 6, 6)])
    tensors = P2.stream(2) + numbers(7, 1, shape, strides, offset) + numbers(8, 2, (2,), (1,), 3)
    members = {"sys_info": P2.stream({"little_endian": True}), "pickle": P2.stream(value)}
    members |= {"tensors": tensors, "storages": storages}
    return tar_archive(*(tar_member(name, data) for name, data in members.items()))


def persistent(key: str) -> Ops:
    """Return code for a tensor as the pickle of such an archive names it."""
    return Ops(P2.value(key) + b"Q")
