"""`weighbridge inspect`: what is in a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from weighbridge.cli.options import color_option, limit_options, limits_from, load_rules, rules_option, verbose_option
from weighbridge.cli.output import emit, use_color
from weighbridge.detail import DANGEROUS, TRUSTED, UNKNOWN, Listing
from weighbridge.errors import SourceError
from weighbridge.facts import Gap, Metadata, Tensor
from weighbridge.inspection import Inspection
from weighbridge.inspection import inspect as inspect_file
from weighbridge.location import printable
from weighbridge.report.base import counted, describe, sized

# Lines of each part on a screen; --verbose shows all.
LINES: Final = 20
# Characters of a metadata value on a line.
VALUE: Final = 120

_COLORS: Final = {TRUSTED: "32", UNKNOWN: "33", DANGEROUS: "31"}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="Text, or one JSON document."
)
@click.option("--no-listing", is_flag=True, help="Do not show pickles as Python.")
@rules_option
@verbose_option
@color_option
@limit_options
def inspect(file: Path, **options: Any) -> None:
    """Show what is in FILE: formats, members, tensors, imports and what is known of them, pickles as Python.

    It gives no verdict and always exits with 0 when the file can be read.

    \b
    Examples:
      weighbridge inspect model.pt
      weighbridge inspect model.pt --format json
    """
    limits = limits_from(options)
    if not file.is_file():
        raise SourceError(f"{printable(file.as_posix())}: {'not a file' if file.exists() else 'No such file'}")
    rules, trust = load_rules(options["rules_folder"])
    found = inspect_file(file, rules=rules, trust=trust, limits=limits, listings=not options["no_listing"])
    if options["form"] == "json":
        emit(json.dumps(_document(found), indent=2, sort_keys=True).splitlines())
    else:
        emit(_text(found, color=use_color(options["color"], sys.stdout), verbose=options["verbose"]))


def _text(found: Inspection, *, color: bool, verbose: bool) -> Iterator[str]:
    limit = None if verbose else LINES
    yield f"{printable(found.path)}: {sized(found.size)}"
    yield from _part("formats", [f"{one.location}: {one.format}" for one in found.formats], limit)
    yield from _part("members", [f"{describe(one)}, {sized(one.size)}" for one in found.members], limit)
    yield from _part("tensors", [_tensor(one) for one in found.tensors], limit)
    yield from _part("metadata", [f"{printable(one.key)}: {_value(one)}" for one in found.metadata], limit)
    yield from _part("other facts", [f"{one.location}: {describe(one)}" for one in found.others], limit)
    lines = []
    for one in found.imports:
        status = f"\x1b[{_COLORS[one.status]}m{one.status:<9}\x1b[0m" if color else f"{one.status:<9}"
        because = f": {printable(one.because)}" if one.because else ""
        lines.append(f"{status}  {printable(one.name)} ({counted(one.uses, 'use')}){because}")
    yield from _part("imports", lines, limit)
    for listing in found.listings:
        yield from _part(_title(listing), [printable(line) for line in listing.lines], limit)
    yield from _part("not understood", [_gap(gap) for gap in found.gaps], limit)


def _part(title: str, lines: list[str], limit: int | None) -> Iterator[str]:
    if not lines:
        return
    yield ""
    yield f"{title} ({len(lines)})" if not title.startswith("pickle") else title
    yield from (f"  {line}" for line in lines[:limit])
    if limit is not None and len(lines) > limit:
        yield f"  … and {counted(len(lines) - limit, 'more line')}; --verbose shows them"


def _title(listing: Listing) -> str:
    state = "" if listing.complete else ", broken off"
    how = "as Python" if listing.decompiled else "its first steps"
    return f"pickle at {listing.location}, protocol {listing.protocol}, {sized(listing.size)}{state}: {how}"


def _tensor(tensor: Tensor) -> str:
    shape = "x".join(str(side) for side in tensor.shape) or "scalar"
    return f"{printable(tensor.name)}: {printable(tensor.dtype)} {shape}, {sized(tensor.size)}"


def _value(entry: Metadata) -> str:
    text = printable(entry.value)
    return text if len(text) <= VALUE else f"{text[:VALUE]}…"


def _gap(gap: Gap) -> str:
    return f"{gap.location}: {printable(gap.reason)}"


def _document(found: Inspection) -> dict[str, Any]:
    """Return everything as plain dicts, lists and text."""
    return {
        "path": printable(found.path),
        "size": found.size,
        "formats": [{"location": str(one.location), "format": one.format, "size": one.size} for one in found.formats],
        "members": [
            {"location": str(one.location), "name": printable(one.name), "type": one.type, "size": one.size}
            for one in found.members
        ],
        "tensors": [
            {
                "location": str(one.location),
                "name": printable(one.name),
                "dtype": printable(one.dtype),
                "shape": list(one.shape),
                "size": one.size,
            }
            for one in found.tensors
        ],
        "metadata": [{"key": printable(one.key), "value": printable(one.value)} for one in found.metadata],
        "imports": [
            {
                "name": printable(one.name),
                "status": one.status,
                "uses": one.uses,
                "because": printable(one.because),
            }
            for one in found.imports
        ],
        "pickles": [
            {
                "location": str(one.location),
                "protocol": one.protocol,
                "size": one.size,
                "complete": one.complete,
                "decompiled": one.decompiled,
                "lines": [printable(line) for line in one.lines],
            }
            for one in found.listings
        ],
        "facts": [{"location": str(one.location), "kind": one.kind, "text": describe(one)} for one in found.others],
        "gaps": [
            {"location": str(one.location), "reason": printable(one.reason), "size": one.size} for one in found.gaps
        ],
    }
