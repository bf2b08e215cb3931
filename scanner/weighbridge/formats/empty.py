"""Files of no bytes: `__init__.py` of a package, `.gitkeep`, the external data of a graph that needs none.

Whoever opens one reads nothing, whatever its name says: there is no byte that could be code, a name or a size. A file
that others refer to and that is too short for it is told where they do (`companions`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.errors import ArtifactError
from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample


def sniff(sample: Sample) -> bool:
    """Tell whether there are no bytes."""
    return sample.size == 0


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Say nothing; raise ArtifactError when there is something to read after all."""
    if reader.size:
        raise ArtifactError(reader.origin, "not empty")
    yield from ()


FORMAT: Final = Format("empty", "empty file", sniff, parse, may_begin=lambda prefix: not prefix)
