"""A look at every field of a small message, for what no writer produces.

The hot loop of a thorough walk, which a model of 300 000 nodes passes ten million times when its writer orders fields
in a way of its own: it works on bytes and offsets and makes no objects. 1.5 µs a message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from weighbridge.errors import LimitError, TruncatedError
from weighbridge.formats.onnx.messages import FIXED32, LENGTH, VARINT, Field, tags
from weighbridge.formats.onnx.wire import MAX_DEPTH
from weighbridge.reader import Reader

_GOES_ON: Final = 127


class Report(Protocol):
    """What takes down what is seen; offsets are those of the model."""

    reader: Reader

    def number(self, start: int, end: int) -> tuple[int, int]:
        """Return a number of several bytes and where it ends."""

    def unknown(self, kind: str, tag: int, start: int, position: int, end: int) -> int:
        """Take down a field that a message does not have; return where it ends."""

    def repeated(self, kind: str, field: Field, start: int) -> None:
        """Take down a field that comes twice."""

    def count(self, fields: int, offset: int) -> None:
        """Count fields."""


def look(report: Report, kind: str, begin: int, end: int, depth: int) -> None:
    """Look at the message from `begin` to `end`, and those in it.

    Raises ArtifactError on what cannot be read, LimitError when a limit is hit.
    """
    data = bytes(report.reader.view[begin:end])
    _fields(report, data, begin, kind, 0, len(data), depth)


def _fields(  # noqa: C901, PLR0912 - one loop, for speed
    report: Report, data: bytes, base: int, kind: str, position: int, end: int, depth: int
) -> None:
    if depth > MAX_DEPTH:
        raise LimitError(report.reader.at(base + position), f"messages nested deeper than {MAX_DEPTH}")
    known: Callable[[int], Field | None] = tags(kind).get
    seen = fields = 0
    while position < end:
        start, tag = position, data[position]
        position += 1
        fields += 1
        if tag > _GOES_ON:
            tag, stop = report.number(base + start, base + end)
            position = stop - base
        field = known(tag)
        if field is None:
            position = report.unknown(kind, tag, base + start, base + position, base + end) - base
            continue
        if not field.repeated:
            if seen >> field.number & 1:
                report.repeated(kind, field, base + start)
            seen |= 1 << field.number
        wire = tag & 7
        if wire in (LENGTH, VARINT):
            number = data[position] if position < end else 128
            position += 1
            if number > _GOES_ON:
                number, stop = report.number(base + position - 1, base + end)
                position = stop - base
            if wire == VARINT:
                continue
            start, position = position, position + number
        else:
            position += 4 if wire == FIXED32 else 8
        if position > end:
            raise TruncatedError(report.reader.at(base + start), f"want {position - start} bytes, {end - start} left")
        if field.message and wire == LENGTH:
            _fields(report, data, base, field.message, start, position, depth + 1)
    report.count(fields, base + end)
