"""Every limit on untrusted input: its name, its default and the reason for it.

A limit that is hit is a `Gap`, never a guess and never a crash. Each field is an option of
`weighbridge scan` (`max_depth` is `--max-depth`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from weighbridge.errors import LimitError
from weighbridge.location import Location
from weighbridge.records import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of one file a scan may look at."""

    max_depth: int = field(default=8, metadata={"help": "containers inside containers"})
    max_members: int = field(default=200_000, metadata={"help": "members of all containers of a file"})
    max_unpacked: int = field(default=16 << 30, metadata={"help": "decompressed bytes of a file"})
    max_ratio: int = field(
        default=1100, metadata={"help": "decompressed bytes per compressed byte (deflate reaches 1032)"}
    )
    # `joblib.dump(…, compress="xz")` packs an array of zeros 7000 : 1, which is no bomb until it is large.
    ratio_floor: int = field(
        default=1 << 28, metadata={"help": "decompressed bytes of a member up to which its ratio does not matter"}
    )
    max_opcodes: int = field(default=2_000_000_000, metadata={"help": "bytes of opcodes in the pickles of a file"})
    max_values: int = field(default=20_000_000, metadata={"help": "containers and calls in the pickles of a file"})
    max_seconds: float = field(default=600.0, metadata={"help": "wall time for a file"})


class Budget:
    """What is left of the limits while one file is scanned.

    `clock` returns seconds and is injected, so that parsing stays a function of its inputs.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._deadline = clock() + limits.max_seconds
        self.members = 0
        self.unpacked = 0
        self.opcodes = 0
        self.values = 0

    def check_time(self, location: Location) -> None:
        """Raise LimitError when the wall time is used up."""
        if self._clock() > self._deadline:
            raise LimitError(location, f"max_seconds: over {self.limits.max_seconds:g} s")

    def spend_members(self, location: Location, count: int = 1) -> None:
        """Count members; raise LimitError when they are too many."""
        self.members += count
        if self.members > self.limits.max_members:
            raise LimitError(location, f"max_members: over {self.limits.max_members} members")

    def spend_unpacked(self, location: Location, count: int) -> None:
        """Count decompressed bytes; raise LimitError when they are too many."""
        self.unpacked += count
        if self.unpacked > self.limits.max_unpacked:
            raise LimitError(location, f"max_unpacked: over {self.limits.max_unpacked} decompressed bytes")

    def spend_opcodes(self, location: Location, opcodes: int, values: int) -> None:
        """Count bytes of opcodes and symbolic values of a pickle, and look at the clock."""
        self.opcodes += opcodes
        self.values += values
        if self.opcodes > self.limits.max_opcodes:
            raise LimitError(location, f"max_opcodes: over {self.limits.max_opcodes} bytes of opcodes")
        if self.values > self.limits.max_values:
            raise LimitError(location, f"max_values: over {self.limits.max_values} containers and calls")
        self.check_time(location)
