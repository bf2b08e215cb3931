"""What is in a folder: weights to convert, indexes of shards, files to bring along, and what is left out.

Files are known by their content. Names decide one thing only: where a folder has weights that loaders look for by name
(`pytorch_model.bin`, the shards of an index), those have to be converted, and what lies beside them (states of an
optimizer or of random numbers, the arguments of a training, the same weights for another framework) may be left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from weighbridge.convert.plan import Plan
from weighbridge.convert.shards import Index, index_target, is_index, read_index, target_name
from weighbridge.convert.sources import SOURCES
from weighbridge.convert.sources.base import Inputs, Options, opened
from weighbridge.errors import ArtifactError, SourceError, UnconvertibleError
from weighbridge.formats import sniff
from weighbridge.formats.compressed import KINDS
from weighbridge.limits import Limits
from weighbridge.location import Location, printable
from weighbridge.records import dataclass, field, replace
from weighbridge.registries.local import files

_LOADED: Final = re.compile(
    r"(?:pytorch_model|model|adapter_model|diffusion_pytorch_model|open_clip_pytorch_model|consolidated)"
    r"(?:[.-].*)?\.(?:bin|pth?|ckpt|safetensors)"
)
# Sources of weights that are another framework's: beside weights of torch they are the same model once more.
_FOREIGN: Final = frozenset(("hdf5", "keras", "flax", "tensorflow"))
# Containers that can hold pickles, or hide what is in them from whoever looks at a folder.
_PACKED: Final = frozenset(("pickle", "zip", "tar", "7z", *KINDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A file of weights: its path, where the system has it, its path in the output; `main` ones have to be converted.

    `aliases` has the shape of each tensor that is the same as another one.
    """

    path: str
    place: Path
    target: str
    source: str
    main: bool
    aliases: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The files of a folder by what becomes of them; all paths are from that folder on."""

    weights: tuple[Weights, ...]
    indexes: Mapping[str, Index]
    others: Mapping[str, Path]
    left_out: Mapping[str, str]

    def shards(self, index: str) -> list[Weights]:
        """Return the files that an index names."""
        wanted = {_beside(index, shard) for shard in self.indexes[index].shards}
        return [weights for weights in self.weights if weights.path in wanted]


class _Found:
    """What has been found so far."""

    def __init__(self) -> None:
        self.recognised: dict[str, tuple[Path, str]] = {}
        self.indexes: dict[str, Index] = {}
        self.others: dict[str, Path] = {}
        self.left_out: dict[str, str] = {}


def take(folder: Path, limits: Limits, *, state_dict: str | None = None) -> Inventory:
    """Return what is in a folder.

    `state_dict` is the group of tensors that is wanted of the weights that have to be converted. Raises
    UnconvertibleError when one of them has no exact form, two files would get one name, or an index names a file that
    is not there; SourceError when the folder cannot be read.
    """
    found = _Found()
    try:
        listed = list(files(folder))
    except OSError as error:
        raise SourceError(f"{printable(folder.as_posix())}: {error.strerror or error}") from error
    for path, place in listed:
        hidden = next((f"{part}/" for part in path.split("/")[:-1] if part.startswith(".")), "")
        if hidden:
            found.left_out[path.partition(hidden)[0] + hidden] = "a hidden folder"
        else:
            _classify(found, path, place, limits)
    _leave_data(found)
    _check_shards(found)
    weights = _without_doubles(found, _weights(found, limits, state_dict))
    return Inventory(
        weights=tuple(weights),
        indexes=found.indexes,
        others=found.others,
        left_out=dict(sorted(found.left_out.items())),
    )


def _beside(path: str, name: str) -> str:
    return f"{path.rpartition('/')[0]}/{name}".strip("/")


def _classify(found: _Found, path: str, place: Path, limits: Limits) -> None:
    """Put one file where it belongs, by its first bytes."""
    with opened(place, limits) as inputs:
        if is_index(path.rpartition("/")[2], inputs.reader):
            found.indexes[path] = read_index(inputs.reader)
            return
        known = [source.name for source in SOURCES if source.recognise(inputs)]
        formats = {one.name for one in sniff(inputs.reader.sample)}
    if known:
        found.recognised[path] = (place, known[0])
    elif packed := formats & _PACKED:
        found.left_out[path] = f"{sorted(packed)[0]} without weights, which may hold programs"
    else:
        found.others[path] = place


def _leave_data(found: _Found) -> None:
    """Take the data files of TensorFlow's checkpoints for what they are, so that nothing else is done with them."""
    prefixes = [path.removesuffix(".index") for path, (_, source) in found.recognised.items() if source == "tensorflow"]
    for prefix in prefixes:
        for path in [one for one in found.others if one.startswith(f"{prefix}.data-")]:
            del found.others[path]
            found.left_out[path] = f"the data of {prefix}.index"


def _check_shards(found: _Found) -> None:
    """Raise UnconvertibleError when an index names what is no file of weights."""
    for path, index in found.indexes.items():
        for shard in index.shards:
            if _beside(path, shard) not in found.recognised:
                reason = f"the index names {printable(shard)}, which is not a file of weights beside it"
                raise UnconvertibleError(index.location, reason)


def _weights(found: _Found, limits: Limits, state_dict: str | None) -> list[Weights]:
    """Return the files to convert: planned once, so that what has no weights is known before anything is written."""
    shards = {_beside(path, shard) for path, index in found.indexes.items() for shard in index.shards}
    folders: dict[str, list[str]] = defaultdict(list)
    for path in sorted(found.recognised):
        folders[path.rpartition("/")[0]].append(path)
    weights: list[Weights] = []
    for folder, paths in folders.items():
        named = {path for path in paths if path in shards or _LOADED.fullmatch(path.rpartition("/")[2])}
        for path in paths:
            place, source = found.recognised[path]
            if named and path not in named and source in _FOREIGN:
                found.left_out[path] = "weights for another framework, beside those that are converted"
                continue
            main = path in named or not named
            aliases = _aliases(found, path, limits, state_dict if main else None, main=main)
            if aliases is not None:
                target = f"{folder}/{target_name(path.rpartition('/')[2])}".strip("/")
                weights.append(
                    Weights(path=path, place=place, target=target, source=source, main=main, aliases=aliases)
                )
    return weights


def _aliases(
    found: _Found, path: str, limits: Limits, state_dict: str | None, *, main: bool
) -> dict[str, tuple[int, ...]] | None:
    """Return the aliases of a file, None when it is left out: it has no group of tensors, or need not be converted."""
    from weighbridge.convert.conversion import planned

    with opened(found.recognised[path][0], limits) as inputs:
        try:
            plan = planned(inputs, Options(state_dict=state_dict))
            if not plan.tensors and not plan.refused:
                raise UnconvertibleError(inputs.reader.origin, "there are no tensors in it")
            if plan.refused and not main:
                raise UnconvertibleError(inputs.reader.origin, plan.refused[0].reason)
        except ArtifactError as error:
            if main and not (isinstance(error, UnconvertibleError) and _is_empty(inputs)):
                raise
            found.left_out[path] = error.reason
            return None
    return _shapes(plan)


def _is_empty(inputs: Inputs) -> bool:
    """Tell whether a file has no group of tensors at all: arguments of a training, an optimizer's state."""
    from weighbridge.convert.conversion import planned

    try:
        plan = planned(inputs, Options(everything=True))
    except ArtifactError:
        return False
    return not plan.candidates and not plan.refused


def _shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    shapes = {tensor.name: tensor.shape for tensor in plan.tensors}
    return {name: shapes[name] for name in plan.aliases}


def _without_doubles(found: _Found, weights: list[Weights]) -> list[Weights]:
    """Return the weights without those that are in the folder as safetensors already.

    Raises UnconvertibleError when two files would get one name otherwise.
    """
    present = {one.path for one in weights if one.path == one.target}
    present |= {path for path in found.indexes if _beside(path, index_target(path.rpartition("/")[2])) == path}
    for path in list(found.indexes):
        target = _beside(path, index_target(path.rpartition("/")[2]))
        if target != path and target in present:
            for shard in found.indexes.pop(path).shards:
                found.left_out[_beside(path, shard)] = f"{target} is in the folder already"
            found.left_out[path] = f"{target} is in the folder already"
    kept: list[Weights] = []
    for one in weights:
        if one.path in found.left_out:
            continue
        if one.path != one.target and one.target in present:
            found.left_out[one.path] = f"{one.target} is in the folder already"
        else:
            kept.append(one)
    _check_targets(kept, found)
    return [replace(one) for one in kept]


def _check_targets(weights: Iterable[Weights], found: _Found) -> None:
    first: dict[str, Weights] = {}
    for one in weights:
        other = first.setdefault(one.target.casefold(), one)
        if other is not one:
            reason = f"{printable(one.path)} and {printable(other.path)} would both become {printable(one.target)}"
            raise UnconvertibleError(Location((one.path,)), f"{reason}; remove or rename one of them")
        if one.target in found.others:
            raise UnconvertibleError(
                Location((one.path,)), f"{printable(one.target)} is in the folder and is no weights"
            )
