"""Checkpoints of torch, written by hand, and folders of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path

from fixtures.archives import torch_zip
from fixtures.assemble import P2, Ops

Shapes = Mapping[str, tuple[int, ...]]


def values(count: int, seed: int = 0) -> bytes:
    """Return the bytes of so many floats."""
    return struct.pack(f"<{count}f", *(float(seed * 1000 + index) for index in range(count)))


def tensor(key: str, shape: tuple[int, ...]) -> Ops:
    """Return code for a contiguous tensor of floats that looks at all of a storage."""
    strides = tuple(prod(shape[index + 1 :]) for index in range(len(shape)))
    storage = Ops(P2.tuple_of("storage", P2.name("torch", "FloatStorage"), key, "cpu", prod(shape)) + b"Q")
    return P2.call("torch._utils:_rebuild_tensor_v2", storage, 0, shape, strides, False, P2.dict_of({}))


def checkpoint(
    shapes: Shapes,
    ties: Mapping[str, str] | None = None,
    beside: Mapping[str, object] | None = None,
    under: str = "model",
) -> bytes:
    """Return a checkpoint with tensors of these shapes; `ties` names others that share their storage with one.

    With `beside` it is a dict of these things and the tensors `under` a key.
    """
    keys = {name: str(index) for index, name in enumerate(shapes)}
    items: dict[object, object] = {name: tensor(keys[name], shape) for name, shape in shapes.items()}
    items |= {name: tensor(keys[other], shapes[other]) for name, other in (ties or {}).items()}
    storages = {keys[name]: values(prod(shape), int(keys[name])) for name, shape in shapes.items()}
    body: object = items if beside is None else {under: items, **beside}
    return torch_zip(P2.stream(body), storages)


def write_shards(folder: Path, shards: Mapping[str, Shapes], **metadata: object) -> None:
    """Write checkpoints and the index over them, as transformers does."""
    table = {name: file for file, shapes in shards.items() for name in shapes}
    for file, shapes in shards.items():
        (folder / file).write_bytes(checkpoint(shapes))
    total = sum(4 * prod(shape) for shapes in shards.values() for shape in shapes.values())
    index = {"metadata": {"total_size": total, **metadata}, "weight_map": table}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
