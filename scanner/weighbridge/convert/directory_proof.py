"""The proof that a converted folder says what its source says: weights, indexes, and the files around them.

What should be in it is worked out from the source again; the record of the folder says at most where to look.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from weighbridge.convert import conversion
from weighbridge.convert.company import RECORD, index_paths, renamed, reserved, speaks
from weighbridge.convert.inventory import Inventory, take
from weighbridge.convert.plan import Plan
from weighbridge.convert.references import rewrite
from weighbridge.convert.shards import check, strict_json
from weighbridge.errors import ArtifactError, MismatchError, SourceError
from weighbridge.limits import Limits
from weighbridge.location import Location, printable

_LIMITS: Final = Limits()
_PIECE: Final = 1 << 20


def verify_folder(
    source: str | Path, destination: str | Path, *, state_dict: str | None = None, limits: Limits = _LIMITS
) -> int:
    """Compare a converted folder with its source, byte for byte; return how many files of weights that were.

    1. Every file of weights that had to be converted is there and holds what the source's does.
    2. Each index of the source agrees with its files, and each of the output says where its tensors are.
    3. Every other file is one of the source's, with nothing changed but the new names of weights.

    Files of the source that are left out are no difference. Without `state_dict` the record says which group was asked
    for; it is believed in nothing else. Raises MismatchError at a difference, and the errors of
    `directory.convert_folder`.
    """
    source, destination = Path(source), Path(destination)
    if not destination.is_dir():
        raise SourceError(f"{printable(destination.as_posix())}: no such folder")
    state_dict = state_dict if state_dict is not None else asked_group(destination)
    found = take(source, limits, state_dict=state_dict)
    written = {
        path.relative_to(destination).as_posix(): path for path in sorted(destination.rglob("*")) if not path.is_dir()
    }
    plans: dict[str, Plan] = {}
    for weights in found.weights:  # 1
        target = written.get(weights.target)
        if target is None and weights.main:
            raise MismatchError(f"{printable(weights.target)} is missing")
        if target is not None:
            plans[weights.target] = conversion.verify(
                weights.place, target, state_dict=state_dict if weights.main else None, limits=limits
            )
    _verify_indexes(found, plans, written)  # 2
    names, taken = renamed(found, plans), reserved(found, plans)
    for path, place in written.items():  # 3
        if path in taken:
            continue
        original = found.others.get(path)
        if original is None:
            raise MismatchError(f"{printable(path)} is not in the source")
        if not _same(place, original, path, names):
            raise MismatchError(f"{printable(path)} differs from the source's")
    return len(plans)


def asked_group(folder: Path) -> str | None:
    """Return the group of tensors that the record of a converted folder says was asked for."""
    record = folder / RECORD
    try:
        document = strict_json(record.read_bytes(), Location((record.name,)))
    except (OSError, ArtifactError):
        return None
    match document:
        case {"state_dict": str(asked)}:
            return asked
    return None


def _verify_indexes(found: Inventory, plans: Mapping[str, Plan], written: Mapping[str, Path]) -> None:
    for target, path in index_paths(found):
        shards = found.shards(path)
        held = {one.path.rpartition("/")[2]: [tensor.name for tensor in plans[one.target].tensors] for one in shards}
        check(found.indexes[path], held)
        place = written.get(target)
        if place is None:
            raise MismatchError(f"{printable(target)} is missing")
        document = strict_json(place.read_bytes(), Location((target,)))
        names = {
            tensor.name: one.target.rpartition("/")[2]
            for one in shards
            for tensor in conversion.listing(written[one.target]).tensors
        }
        if not isinstance(document, dict) or document.get("weight_map") != names:
            raise MismatchError(f"{printable(target)}: the index does not say what is in the files")


def _same(place: Path, original: Path, path: str, names: Mapping[str, str]) -> bool:
    """Tell whether a file is the source's with the new names of weights in it."""
    if speaks(path, original):
        return place.read_bytes() == rewrite(path, original.read_bytes(), names)[0]
    with place.open("rb") as one, original.open("rb") as other:
        while (piece := one.read(_PIECE)) == other.read(_PIECE):
            if not piece:
                return True
    return False
