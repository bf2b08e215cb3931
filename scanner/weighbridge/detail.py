"""What a report can show of a file beside the verdict on it: the names it uses, its code as Python, its weights.

Nothing is judged by these. They are made when a report asks for them, from the facts that the verdict rests on, and
are bounded: a report is read by a person.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from weighbridge.facts import Tensor
from weighbridge.location import Location
from weighbridge.records import dataclass, field

TRUSTED: Final = "trusted"
UNKNOWN: Final = "unknown"
DANGEROUS: Final = "dangerous"

LISTED: Final = 12  # pickles of one scan that are decompiled: each takes a process, and half a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """A name that a file uses: how often, what is known of it, and the rule or the reason behind that."""

    name: str
    status: str
    uses: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A pickle stream as readable Python; `decompiled` says whether it is all of it or some of its steps only.

    `pickle` are its bytes while it waits to be decompiled, which is done for few of many.
    """

    location: Location
    protocol: int
    size: int
    complete: bool
    decompiled: bool
    lines: tuple[str, ...]
    pickle: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """All tensors of one dtype: how many, and how many bytes they are."""

    dtype: str
    count: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The tensors of a file: how many and how many bytes, by dtype, and the largest of them."""

    count: int
    size: int
    shares: tuple[Share, ...]
    largest: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What is shown of one file; `listings` are of the pickles in which something is not trusted."""

    imports: tuple[Import, ...] = ()
    listings: tuple[Listing, ...] = ()
    weights: Weights | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A step on the way to a decision: what was done, by whom where that is known, and when."""

    what: str
    who: str = ""
    when: datetime | None = None
    note: str = ""
