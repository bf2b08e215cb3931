"""The record of a conversion: what was made of what, and everything that the output has no place for.

It lies beside the output as `<name>.conversion.json`. It names no folder, no machine and no time: the same source gives
the same record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from weighbridge.convert.plan import Dropped, PlannedTensor, Scalar
from weighbridge.digest import Digest
from weighbridge.records import dataclass
from weighbridge.version import __version__

SUFFIX: Final = ".conversion.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What a conversion did: `tensors` as they were written, `digests` by their names when they were computed.

    `aliases` names tensors that are the same as another one; with `aliases_dropped` the output has only that other.
    """

    source: str
    format: str
    destination: Path
    size: int
    state_dict: str
    tensors: tuple[PlannedTensor, ...]
    digests: Mapping[str, Digest]
    aliases: Mapping[str, str]
    aliases_dropped: bool
    dropped: tuple[Dropped, ...]
    scalars: Mapping[str, Scalar]
    verified: bool

    def document(self) -> dict[str, Any]:
        """Return the record as plain dicts, lists and text."""
        return {
            "weighbridge": __version__,
            "source": {"name": self.source, "format": self.format, "state_dict": self.state_dict},
            "output": {"name": self.destination.name, "format": "safetensors", "verified": self.verified},
            "tensors": {tensor.name: self._tensor(tensor) for tensor in self.tensors},
            "aliases": dict(self.aliases),
            "aliases_dropped": self.aliases_dropped,
            "dropped": [{"path": one.path, "what": one.what, "tensors": one.tensors} for one in self.dropped],
            "scalars": dict(self.scalars),
        }

    def _tensor(self, tensor: PlannedTensor) -> dict[str, Any]:
        found: dict[str, Any] = {"dtype": tensor.dtype, "shape": list(tensor.shape)}
        digest = self.digests.get(tensor.name)
        return found if digest is None else {**found, "digest": str(digest)}

    def text(self) -> str:
        """Return the record as JSON."""
        return json.dumps(self.document(), indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n"


def beside(destination: Path) -> Path:
    """Return where the record of an output lies."""
    return destination.with_name(destination.name.removesuffix(".safetensors") + SUFFIX)


def total(dropped: Iterable[Dropped]) -> int:
    """Return how many tensors were left out."""
    return sum(one.tensors for one in dropped)


def recorded_choice(path: Path) -> str | None:
    """Return the group of tensors that the record of an output says was chosen, None when there is no such record.

    It only says where to look: what is there is compared byte for byte.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    match document:
        case {"source": {"state_dict": str(chosen)}}:
            return chosen
    return None
