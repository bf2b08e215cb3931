"""What a format is, and what it may ask of the scan it is part of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Fact, Gap
from weighbridge.limits import Budget
from weighbridge.location import Location
from weighbridge.reader import Reader, Sample, spool
from weighbridge.records import dataclass
from weighbridge.remote import TRIAGE, NotFetchedError

PREFIX: Final = 8  # bytes in which most formats show that they are not what a file is


@dataclass(frozen=True, slots=True)
class Context:
    """What a parser may use besides the bytes.

    `examine` parses a member with every format that recognises it and returns its facts; it counts depth
    and accounts for the member's bytes. A member of `stored` bytes inside the container is passed as
    `examine(reader, stored)`; a computed one (a decoded literal) as `examine(reader, 0)`.
    """

    budget: Budget
    examine: Callable[[Reader, int], Iterable[Fact]]

    def spool(self, chunks: Iterable[bytes], origin: Location, packed: int) -> Reader:
        """Return a reader over decompressed `chunks` that came out of `packed` bytes.

        Raises LimitError on the size or ratio limit; the error is the caller's to turn into a Gap.
        """
        return spool(self._bounded(chunks, origin, packed), origin)

    def _bounded(self, chunks: Iterable[bytes], origin: Location, packed: int) -> Iterator[bytes]:
        limit = max(self.budget.limits.ratio_floor, packed * self.budget.limits.max_ratio)
        size = 0
        for chunk in chunks:
            size += len(chunk)
            self.budget.spend_unpacked(origin, len(chunk))
            if size > limit:
                raise LimitError(origin, f"max_ratio: over {self.budget.limits.max_ratio} bytes per packed byte")
            self.budget.check_time(origin)
            yield chunk


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: how to recognise it and how to read it.

    `starts` are the bytes that its files can begin with, None when that may be any, and `textual` files hold no NUL:
    so that few formats are asked. So does `may_begin`, which gets the first `PREFIX` bytes, or all of fewer, and is
    false only for what `sniff` takes for no such file whatever follows.
    `sniff` sees both ends of the bytes and must not raise. `parse` yields facts and raises
    only `ArtifactError`, which the scan turns into a `Gap`. Bytes it neither covers with `Inert`, a
    `Gap` nor hands to `Context.examine` count as parsed: it must have understood them.
    """

    name: str
    title: str
    sniff: Callable[[Sample], bool]
    parse: Callable[[Reader, Context], Iterator[Fact]]
    starts: bytes | None = None
    textual: bool = False
    may_begin: Callable[[bytes], bool] | None = None


def gap(error: ArtifactError, format_name: str) -> Gap:
    """Return the gap that a parser's error leaves; limits keep their name so that a report can say what to raise."""
    if isinstance(error, NotFetchedError):
        return Gap(location=error.location, reason=f"{format_name}: {error.reason}", limit=TRIAGE)
    limit, colon, rest = error.reason.partition(": ")
    named = bool(colon) and limit.startswith("max_")
    reason = rest if named else error.reason
    return Gap(location=error.location, reason=f"{format_name}: {reason}", limit=limit if named else "")
