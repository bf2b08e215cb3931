"""Programs where a model has texts and weights.

A text that any format but one of texts recognises is examined. Random weights open like anything once in a while, so
tensor data count only when a program or an archive really comes out of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Anomaly, Fact, Member, Native, Program
from weighbridge.formats.base import Context
from weighbridge.formats.ort.flatbuffer import Span
from weighbridge.reader import Reader

SHORTEST: Final = 16  # bytes of a program that is worth the name
_ARCHIVES: Final = frozenset({"zip", "7z", "numpy", "xz", "bz2"})  # recognised by five bytes and more


class Embedded:
    """Looks into pieces of one file."""

    def __init__(self, reader: Reader, context: Context) -> None:
        self._reader = reader
        self._context = context

    def text(self, span: Span, what: str) -> Iterator[Fact]:
        """Yield what a text is, if it is more than a text."""
        yield from self._examine(span, what, data=False)

    def data(self, span: Span) -> Iterator[Fact]:
        """Yield what tensor data are, if they are a program beyond doubt."""
        yield from self._examine(span, "tensor data", data=True)

    def _examine(self, span: Span, what: str, *, data: bool) -> Iterator[Fact]:
        from weighbridge import formats

        if span.size < SHORTEST:
            return
        place = self._reader.at(span.offset)
        name = f"{what}@{place.offset:#x}"
        window = self._reader.window(span.offset, span.size, name)
        kinds = {format_.name for format_ in formats.sniff(window.sample) if not format_.textual}
        if not kinds:
            return
        self._context.budget.spend_members(place)
        facts = list(self._context.examine(window, 0))
        acts = any(map(_acts, facts))
        if data and not acts and not kinds & _ARCHIVES:
            return
        yield Member(location=place, name=name, size=span.size, type="literal")
        yield from facts
        if not acts:
            detail = f"{what} of {span.size} bytes is {' and '.join(sorted(kinds))}"
            yield Anomaly(location=place, code="onnx-embedded-file", detail=detail)


def _acts(fact: Fact) -> bool:
    return isinstance(fact, Native) or (isinstance(fact, Program) and len(fact.events) > 0)
