"""The files around the weights of a folder: what they are called in the output, and how they get there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from weighbridge.convert.inventory import Inventory
from weighbridge.convert.record import beside
from weighbridge.convert.references import REWRITE_LIMIT, Rewritten, rewrite
from weighbridge.convert.shards import index_target

RECORD: Final = "conversion.json"


def index_paths(found: Inventory) -> list[tuple[str, str]]:
    """Return the path of each index in the output and in the source."""
    pairs = []
    for path in found.indexes:
        folder, _, name = path.rpartition("/")
        pairs.append((f"{folder}/{index_target(name)}".strip("/"), path))
    return pairs


def record_of(path: str) -> str:
    """Return where the record of a converted file lies."""
    return beside(Path(path)).as_posix()


def renamed(found: Inventory, made: Iterable[str]) -> dict[str, str]:
    """Return the new path of each file of weights that was `made`, and of each index, by its old one."""
    done = set(made)
    pairs = [(weights.path, weights.target) for weights in found.weights if weights.target in done]
    pairs += [(old, new) for new, old in index_paths(found)]
    return {old: new for old, new in pairs if old != new}


def reserved(found: Inventory, made: Iterable[str]) -> set[str]:
    """Return the paths that the output has for itself."""
    return {*made, *map(record_of, made), RECORD, *(target for target, _ in index_paths(found))}


def bring(place: Path, found: Inventory, made: Iterable[str]) -> tuple[list[str], list[Rewritten]]:
    """Copy the other files into the folder at `place`, with the new names of weights where they name them."""
    names, taken = renamed(found, made), reserved(found, made)
    copied: list[str] = []
    rewritten: list[Rewritten] = []
    for path, original in sorted(found.others.items()):
        if path in taken:
            continue
        target = place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if speaks(path, original):
            data, done = rewrite(path, original.read_bytes(), names)
            put(target, data)
            rewritten += done
        else:
            shutil.copyfile(original, target)
            _settle(target)
        copied.append(path)
    return copied, rewritten


def speaks(path: str, place: Path) -> bool:
    """Tell whether a file may name others: a configuration, and not so large that it must be something else."""
    return path.endswith(".json") and place.stat().st_size <= REWRITE_LIMIT


def put(path: Path, data: bytes) -> None:
    """Write a file, and wait until it is on disk."""
    path.write_bytes(data)
    _settle(path)


def _settle(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
