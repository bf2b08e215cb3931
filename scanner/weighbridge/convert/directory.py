"""A whole model: its weights as safetensors, its index, and the files around them that the policy lets through.

The shards of a checkpoint stay what they are, one file each, and their index is written anew. Configurations and
tokenizers are copied; where they name a file of weights by its old name, they get the new one. Pickles are left out,
and so is everything that whoever judges the finished folder does not let through. All of it is listed in
`conversion.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from weighbridge.convert import conversion
from weighbridge.convert.company import RECORD, bring, index_paths, put, record_of, speaks
from weighbridge.convert.conversion import Follower
from weighbridge.convert.inventory import Inventory, Weights, take
from weighbridge.convert.record import Conversion
from weighbridge.convert.references import Rewritten
from weighbridge.convert.shards import check, index_text, strict_json
from weighbridge.convert.staging import staged
from weighbridge.errors import ArtifactError, UnconvertibleError, UsageError
from weighbridge.limits import Limits
from weighbridge.location import Location, printable
from weighbridge.records import dataclass, field, replace

CONFIG: Final = "config.json"
_LIMITS: Final = Limits()
# What a judge says of files at these paths of a folder: why they may not stay in it, by path.
Judge = Callable[[Path, list[str]], Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderConversion:
    """What became of a folder: conversions by the path of their output, other files, and those left out with why.

    `state_dict` is the group that was asked for, None when nobody asked.
    """

    destination: Path
    conversions: Mapping[str, Conversion]
    sources: Mapping[str, str]
    copied: tuple[str, ...]
    state_dict: str | None = None
    rewritten: tuple[Rewritten, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return the record of the folder as JSON."""
        document: dict[str, Any] = {
            "weights": {
                path: {
                    "source": self.sources[path],
                    "format": made.format,
                    "tensors": len(made.tensors),
                    "size": made.size,
                    "record": record_of(path),
                }
                for path, made in self.conversions.items()
            },
            "state_dict": self.state_dict,
            "copied": list(self.copied),
            "rewritten": [{"file": one.path, "key": one.key, "old": one.old, "new": one.new} for one in self.rewritten],
            "left_out": dict(self.left_out),
        }
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def convert_folder(
    source: str | Path,
    destination: str | Path,
    *,
    judge: Judge,
    state_dict: str | None = None,
    drop_aliases: bool = False,
    max_output: int | None = None,
    verify: bool = True,
    digests: bool = True,
    checksums: bool = True,
    follow: Callable[[str], Follower] | None = None,
    once: bool = False,
    limits: Limits = _LIMITS,
) -> FolderConversion:
    """Convert every checkpoint of the folder `source` into the new folder `destination`, and bring along what may come.

    `judge` sees the finished folder before it has its name, but for the records. `follow` gives, for the path of each
    file of weights in the new folder, who reads it while it is written. The other arguments are those of
    `conversion.convert`; tied tensors are also written once where `config.json` says that the model ties them.

    Raises the errors of `conversion.convert`, UnconvertibleError also when an index and its files disagree or two files
    would get one name. Nothing is left behind then.
    """
    source, destination = Path(source), Path(destination)
    _check_apart(source, destination)
    found = take(source, limits, state_dict=state_dict)
    if not found.weights:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(found.left_out.items())[:5])
        raise UnconvertibleError(Location((source.as_posix(),)), f"no weights are in the folder {printable(reasons)}")

    def convert(weights: Weights, target: Path) -> Conversion:
        return conversion.convert(
            weights.place,
            target,
            state_dict=state_dict if weights.main else None,
            drop_aliases=drop_aliases or _ties(found, weights),
            max_output=max_output,
            verify=verify,
            digests=digests,
            checksums=checksums,
            follower=follow(weights.target) if follow is not None else None,
            once=once,
            limits=limits,
        )

    with staged(destination) as place:
        made, left_out = _weights(place, found, convert)
        _write_indexes(place, found, made)
        copied, rewritten = bring(place, found, made)
        needed = [*made, *(target for target, _ in index_paths(found))]
        left_out |= _removed(place, judge(place, [*needed, *copied]), needed)
        result = FolderConversion(
            destination=destination,
            state_dict=state_dict,
            conversions={path: replace(one, destination=destination / path) for path, one in sorted(made.items())},
            sources={weights.target: weights.path for weights in found.weights if weights.target in made},
            copied=tuple(path for path in copied if path not in left_out),
            rewritten=tuple(one for one in rewritten if one.path not in left_out),
            left_out=dict(sorted({**found.left_out, **left_out}.items())),
        )
        put(place / RECORD, result.text().encode("ascii"))
        _prune(place)
    return result


def _weights(
    place: Path, found: Inventory, convert: Callable[[Weights, Path], Conversion]
) -> tuple[dict[str, Conversion], dict[str, str]]:
    """Convert the weights of a folder; return what was made by its path, and what had to be left out with why."""
    made: dict[str, Conversion] = {}
    left_out: dict[str, str] = {}
    for weights in found.weights:
        target = place / weights.target
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            made[weights.target] = convert(weights, target)
        except ArtifactError as error:
            if weights.main:
                raise
            left_out[weights.path] = error.reason
    return made, left_out


def _removed(place: Path, refused: Mapping[str, str], needed: Iterable[str]) -> dict[str, str]:
    """Remove the files that the judge does not let through; raise UnconvertibleError when the folder needs one."""
    for path, reason in refused.items():
        if path in set(needed):
            raise UnconvertibleError(Location((path,)), f"the converted file may not stay: {reason}")
        (place / path).unlink()
    return dict(refused)


def _check_apart(source: Path, destination: Path) -> None:
    """Raise UsageError when the output would be inside the source, or has no folder to be in."""
    name = printable(destination.as_posix())
    if not destination.parent.is_dir():
        raise UsageError(f"{printable(destination.parent.as_posix())}: no such folder")
    if destination.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{name} is in the source, which is never written to")


def _ties(found: Inventory, weights: Weights) -> bool:
    """Tell whether the configuration beside a file ties all tensors that are in it twice.

    `tie_word_embeddings` ties input and output embeddings, whose first side is the vocabulary; other tensors that are
    the same may be two in the model, and have to be written twice.
    """
    place = found.others.get((PurePosixPath(weights.path).parent / CONFIG).as_posix())
    if place is None or not weights.aliases or not speaks(CONFIG, place):
        return False
    try:
        document = strict_json(place.read_bytes(), Location((CONFIG,)))
    except ArtifactError:
        return False
    sides = set(_tied_sides(document))
    return all(shape and shape[0] in sides for shape in weights.aliases.values())


def _tied_sides(document: Any) -> Iterable[int]:
    """Yield the sizes of the vocabularies whose embeddings a configuration, or a part of it, ties."""
    if not isinstance(document, dict):
        return
    for part in (document, *document.values()):
        match part:
            case {"tie_word_embeddings": True, "vocab_size": int(size)}:
                yield size
            case {"vocab_size": int(size)} if document.get("tie_word_embeddings") is True:
                yield size


def _write_indexes(place: Path, found: Inventory, made: Mapping[str, Conversion]) -> None:
    """Compare each index with what its shards had, and write it anew with their new names."""
    for target, path in index_paths(found):
        index, folder = found.indexes[path], path.rpartition("/")[0]
        held: dict[str, list[str]] = {}
        written: dict[str, list[str]] = {}
        total = 0
        for weights in found.shards(path):
            done = made[weights.target]
            names = [tensor.name for tensor in done.tensors]
            dropped = [name for name in done.aliases if name not in set(names)]
            held[weights.path.removeprefix(folder).strip("/")] = [*names, *dropped]
            written[weights.target.rpartition("/")[2]] = names
            total += done.size
        check(index, held)
        put(place / target, index_text(index, written, total))


def _prune(place: Path) -> None:
    """Remove the folders that nothing was left in."""
    for folder, _, _ in os.walk(place, topdown=False):
        if folder != str(place) and not any(Path(folder).iterdir()):
            Path(folder).rmdir()
