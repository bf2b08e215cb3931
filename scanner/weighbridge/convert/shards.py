"""Checkpoints in several files: the index that says which of them has which tensor, and the names of the files.

An index is `{"metadata": {"total_size": …}, "weight_map": {tensor: file}}`, as transformers and diffusers write it. It
is data of a stranger: what it says is compared with what the files have, in both directions.

Source: transformers/utils/hub.py, `get_checkpoint_shard_files`; diffusers/models/model_loading_utils.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from weighbridge.errors import ArtifactError, LimitError, UnconvertibleError
from weighbridge.location import Location, printable
from weighbridge.reader import Reader
from weighbridge.records import dataclass

INDEX_LIMIT: Final = 64 << 20  # bytes; that of a model of 100 000 tensors has 10 MB
MAX_SHARDS: Final = 10_000  # the largest models have a few hundred
SHOWN: Final = 3  # tensors that a message names
# Ends of names that say what container a file is; other ends belong to the name.
_SUFFIXES: Final = tuple(
    ".bin .pt .pth .ckpt .th .safetensors .npz .npy .h5 .hdf5 .keras .msgpack .pdparams .joblib .pkl .pickle "
    ".index".split()
)
_INDEX: Final = re.compile(r"(.+)\.index(\.[\w-]+)?\.json", re.ASCII)
# What loaders call torch's container, and what they call the same file in safetensors.
_PREFIXES: Final = {"pytorch_model": "model", "open_clip_pytorch_model": "open_clip_model"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index: the file of each tensor, and what else it says of the checkpoint."""

    location: Location
    weight_map: Mapping[str, str]
    metadata: Mapping[str, Any]

    @property
    def shards(self) -> list[str]:
        """The names of the files, each once."""
        return sorted(set(self.weight_map.values()))


def target_name(name: str) -> str:
    """Return what a file of weights is called in safetensors, as loaders look for it.

    >>> target_name("pytorch_model-00001-of-00002.bin"), target_name("adapter_model.bin")
    ('model-00001-of-00002.safetensors', 'adapter_model.safetensors')
    """
    suffix = next((one for one in _SUFFIXES if name.lower().endswith(one) and len(name) > len(one)), "")
    stem = name[: len(name) - len(suffix)]
    for torch, other in _PREFIXES.items():
        if re.match(rf"{torch}(?![^.-])", stem):
            stem = other + stem.removeprefix(torch)
    return f"{stem}.safetensors"


def index_target(name: str) -> str:
    """Return what the index of a checkpoint is called in safetensors.

    >>> index_target("pytorch_model.bin.index.json"), index_target("pytorch_model.bin.index.fp16.json")
    ('model.safetensors.index.json', 'model.safetensors.index.fp16.json')
    """
    match = _INDEX.fullmatch(name)
    return f"{target_name(match[1])}.index{match[2] or ''}.json" if match else name


def is_index(name: str, reader: Reader) -> bool:
    """Tell whether a file is called as indexes are, and maps weights to files."""
    return _INDEX.fullmatch(name) is not None and b'"weight_map"' in bytes(reader.view[:INDEX_LIMIT])


def read_index(reader: Reader) -> Index:
    """Return the index that a file is.

    Raises ArtifactError when it is none, names a file that is not beside it, or says anything twice.
    """
    if reader.size > INDEX_LIMIT:
        raise LimitError(reader.origin, f"an index of {reader.size} bytes, limit is {INDEX_LIMIT}")
    document = strict_json(bytes(reader.view), reader.origin)
    match document:
        case {"weight_map": dict(table), **rest} if table and all(isinstance(one, str) for one in table.values()):
            metadata = rest.get("metadata", {})
        case _:
            raise ArtifactError(reader.origin, "an index of weights without a map from tensors to files")
    if not isinstance(metadata, dict):
        raise ArtifactError(reader.origin, "an index of weights whose metadata are no object")
    index = Index(location=reader.origin, weight_map=table, metadata=metadata)
    for shard in index.shards:
        if shard in ("", ".", "..") or not shard.isprintable() or re.search(r"[/\\:]", shard):
            raise ArtifactError(reader.origin, f"the index names {printable(shard)!r}, which is no file beside it")
    if len(index.shards) > MAX_SHARDS:
        raise LimitError(reader.origin, f"{len(index.shards)} files, limit is {MAX_SHARDS}")
    return index


def strict_json(data: bytes, origin: Location) -> Any:
    """Return a document of JSON; raise ArtifactError when it is none or has a key twice."""

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ArtifactError(origin, "an object of JSON has a key twice")
        return found

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=collect)
    except ValueError as error:
        raise ArtifactError(origin, f"not JSON: {error}") from error
    except RecursionError as error:
        raise LimitError(origin, "JSON that is nested too deep") from error


def check(index: Index, held: Mapping[str, Iterable[str]]) -> None:
    """Raise UnconvertibleError unless the files `held` have exactly the tensors that the index says they have."""
    wanted = {(shard, name) for name, shard in index.weight_map.items()}
    found = {(shard, name) for shard, names in held.items() for name in names}
    if missing := sorted(wanted - found):
        raise UnconvertibleError(index.location, f"the index has {_listed(missing)}, and the files have not")
    if extra := sorted(found - wanted):
        raise UnconvertibleError(index.location, f"the files have {_listed(extra)}, and the index has not")


def _listed(pairs: list[tuple[str, str]]) -> str:
    shown = ", ".join(printable(f"{name} in {shard}") for shard, name in pairs[:SHOWN])
    return f"{shown} and {len(pairs) - SHOWN} more tensors" if len(pairs) > SHOWN else shown


def index_text(index: Index, written: Mapping[str, Iterable[str]], total: int) -> bytes:
    """Return the index of the files `written`, by their new names; `total` is the bytes of all their tensors."""
    table = {name: shard for shard, names in written.items() for name in names}
    document = {"metadata": {**index.metadata, "total_size": total}, "weight_map": dict(sorted(table.items()))}
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode("ascii")
