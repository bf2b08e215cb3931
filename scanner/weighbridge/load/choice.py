"""Which files of an approved folder make up the model that is meant."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from weighbridge.errors import UsageError
from weighbridge.leaves import TENSORS
from weighbridge.load.folder import Folder
from weighbridge.location import printable
from weighbridge.refusals import MalformedHeader

_INDEX: Final = ".safetensors.index.json"
# The same weights as numbers of another type, or an average of them, by the names of transformers and diffusers.
_VARIANT: Final = re.compile(r"\.(?:(?:fp|bf|int|nf)\d{1,2}|(?:non_)?ema)\.safetensors")


class Chosen(NamedTuple):
    """The files of a model; `promised` are the tensors that its index says are in them, `source` is its path."""

    files: tuple[str, ...]
    promised: frozenset[str] = frozenset()
    source: str = ""

    def check(self, folder: Folder, held: Collection[str]) -> None:
        """Raise MalformedHeader when a tensor that the index promises is in none of the files."""
        if missing := self.promised.difference(held):
            named = printable(min(missing))
            raise MalformedHeader(folder.where(self.source), f"tensor {named} is in none of the files", rule="index")


def choose(folder: Folder, rest: str) -> Chosen:
    """Return the files that `rest` means: itself, or those of the folder that it is (empty: the approved one).

    Of a folder it is the files that its one index names, and without an index all safetensors files that lie in it, but
    for variants of one that is there (`model.fp16.safetensors` beside `model.safetensors`).

    Raises ApprovalMismatch when nothing was approved there, UsageError when there are no such files or several indices,
    MalformedHeader when an index is none.
    """
    if rest in folder.files:
        return Chosen((rest,))
    if rest and not any(path.startswith(f"{rest}/") for path in folder.files):
        folder.file(rest)  # refuses: it was not approved
    inside = [path for path in folder.files if path.rpartition("/")[0] == rest]
    indices = [path for path in inside if path.endswith(_INDEX)]
    if len(indices) > 1:
        raise UsageError(
            f"{folder.where(rest)}: several indices ({', '.join(map(printable, indices))}); name the files"
        )
    if indices:
        tensors = weight_map(folder, indices[0])
        return Chosen(tuple(sorted(set(tensors.values()))), frozenset(tensors), indices[0])
    present = {path for path in inside if folder.files[path].format == TENSORS}
    found = tuple(sorted(path for path in present if not _is_variant(path, present)))
    if not found:
        elsewhere = sorted({path.rpartition("/")[0] for path, file in folder.files.items() if file.format == TENSORS})
        hint = f"; there are some in {', '.join(printable(path or '.') for path in elsewhere)}" if elsewhere else ""
        raise UsageError(f"{folder.where(rest)}: no approved safetensors files{hint}")
    return Chosen(found)


def _is_variant(path: str, present: Collection[str]) -> bool:
    """Tell whether a file is a variant of another that is there: loaders take it only when it is asked for."""
    base = _VARIANT.sub(".safetensors", path)
    return base != path and base in present


def weight_map(folder: Folder, index: str) -> Mapping[str, str]:
    """Return the path in the folder of the file that holds each tensor, as an approved index says.

    Raises MalformedHeader when it is no index, or names a file by anything but its name beside the index.
    """
    where = folder.where(index)
    try:
        found = json.loads(folder.read(index).decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise MalformedHeader(where, f"not the JSON of an index: {error}", rule="index") from error
    names = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(names, dict) or not names:
        raise MalformedHeader(where, "no weight_map, or an empty one", rule="index")
    for name in names.values():
        if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name:
            raise MalformedHeader(where, f"{printable(str(name))} is not the name of a file beside it", rule="index")
    parent = index.rpartition("/")[0]
    return {tensor: f"{parent}/{name}" if parent else name for tensor, name in names.items()}


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found
