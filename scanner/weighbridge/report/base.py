"""What every report needs: how it may look, and facts in words.

Text that comes from a file passes through `printable` here or in the report, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from weighbridge.facts import (
    Anomaly,
    Fact,
    Gap,
    Inert,
    Member,
    Metadata,
    Native,
    Observed,
    Operator,
    Placeholder,
    Pointer,
)
from weighbridge.location import printable
from weighbridge.policy import Outcome, Verdict
from weighbridge.records import dataclass

# The exit status of a scan, whatever the report; docs/exit-codes.md has the others.
EXIT_STATUS: Final = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 3}


def exit_status(verdict: Verdict) -> int:
    """Return the exit status of a verdict; a triage that found nothing has done what it was asked."""
    return 0 if verdict.nothing_found else EXIT_STATUS[verdict.outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a report for people looks; documents for programs take no notice."""

    color: bool = False
    quiet: bool = False
    verbose: bool = False


# Yields lines without their ends.
Render = Callable[[Verdict, Style], Iterator[str]]


def describe(fact: Fact) -> str:
    """Return a fact in a few words, fit for display: the call as Python, or what was seen."""
    match fact:
        case Observed():
            text = fact.expression
        case Anomaly():
            text = f"{fact.code}: {fact.detail}"
        case Native():
            text = f"{fact.type} {fact.detail}".rstrip()
        case Member():
            text = f"{fact.type} {fact.name}" + (f" -> {fact.target}" if fact.target else "")
        case Operator():
            opset = f", operator set {fact.version}" if fact.version else ""
            text = f"operator {fact.subject}, {counted(fact.count, 'node')}{opset}"
        case Placeholder():
            size = "bytes" if fact.size is None else counted(fact.size, "byte")
            text = f"{fact.type} keeps {size} elsewhere{f' as {fact.name}' if fact.name else ''}, {fact.digest}"
        case Metadata(key=key, value=value) | Pointer(key=key, target=value):
            text = f"{key}: {value}"
        case Gap() | Inert():
            text = fact.reason
        case _:
            text = f"{fact.kind} {fact.subject}"
    return printable(text)


def counted(number: int, noun: str) -> str:
    """Return `1 file` or `1 234 files`.

    >>> counted(1234, "file")
    '1 234 files'
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", " ")


def sized(number: int) -> str:
    """Return a number of bytes in the unit that keeps it short.

    >>> sized(1536), sized(12)
    ('1.5 KiB', '12 B')
    """
    size, unit = float(number), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
