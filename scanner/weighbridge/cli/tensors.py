"""`weighbridge tensors`: the tensors of a file, whatever container it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weighbridge.cli import say
from weighbridge.cli.convert import EXIT_UNCONVERTIBLE
from weighbridge.cli.options import limit_options, limits_from
from weighbridge.cli.output import emit
from weighbridge.errors import ArtifactError
from weighbridge.location import printable
from weighbridge.report.base import sized

if TYPE_CHECKING:
    from weighbridge.convert.conversion import Listing
    from weighbridge.convert.plan import PlannedTensor, Refusal
    from weighbridge.convert.stats import Stats


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--digest", is_flag=True, help="Add the digest of each tensor, which is the same in every container.")
@click.option("--stats", is_flag=True, help="Add the least, the greatest and the mean value, and how many are NaN.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="Text, or one JSON document."
)
@limit_options
def tensors(file: Path, **options: Any) -> int:
    """List the tensors in FILE: name, dtype, shape and bytes, without running or unpickling anything.

    All of them are listed, those of an optimizer and those that have no form in safetensors included.

    \b
    Examples:
      weighbridge tensors model.pt
      weighbridge tensors model.safetensors --digest
      weighbridge tensors model.pt --stats --format json

    Exit status: 0 listed, 2 wrong usage, 3 FILE is no container of weights or damaged, 4 it cannot be read.
    """
    from weighbridge.convert.conversion import listing

    limits = limits_from(options)
    try:
        found = listing(file, digests=options["digest"], stats=options["stats"], limits=limits)
    except ArtifactError as error:
        say(f"cannot list: {error}")
        return EXIT_UNCONVERTIBLE
    if options["form"] == "json":
        emit(json.dumps(_document(found), indent=1, sort_keys=True).splitlines())
    else:
        emit(_text(found))
    return 0


def _text(found: Listing) -> Iterator[str]:
    """Yield a line for each tensor, in columns."""
    rows = [(*_columns(one), sized(one.size), *_more(one, found)) for one in found.tensors]
    rows += [(*_columns(one), "-", f"not convertible: {printable(one.reason)}") for one in found.refused]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, *row[4:]]).rstrip()


def _columns(one: PlannedTensor | Refusal) -> tuple[str, str, str]:
    return printable(one.name), printable(one.dtype) or "?", "x".join(map(str, one.shape)) or "scalar"


def _more(one: PlannedTensor, found: Listing) -> Iterator[str]:
    """Yield what is known of a tensor besides."""
    if one.name in found.digests:
        yield str(found.digests[one.name])
    if one.name in found.stats:
        yield _stats(found.stats[one.name])
    if one.name in found.aliases:
        yield f"= {printable(found.aliases[one.name])}"


def _stats(stats: Stats) -> str:
    if stats.least is None or stats.greatest is None or stats.mean is None:
        return f"nan {stats.nan}" if stats.nan else "no values"
    return f"min {stats.least:.6g}  max {stats.greatest:.6g}  mean {stats.mean:.6g}  zero {stats.zero}  nan {stats.nan}"


def _document(found: Listing) -> dict[str, Any]:
    """Return the listing as plain dicts, lists and text."""
    return {
        "format": found.source,
        "tensors": [_entry(one, found) for one in found.tensors],
        "unconvertible": [
            {"name": one.name, "dtype": one.dtype, "shape": list(one.shape), "reason": one.reason}
            for one in found.refused
        ],
    }


def _entry(tensor: PlannedTensor, found: Listing) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "size": tensor.size,
        "location": str(tensor.location),
    }
    if tensor.name in found.aliases:
        entry["same_as"] = found.aliases[tensor.name]
    if tensor.name in found.digests:
        entry["digest"] = str(found.digests[tensor.name])
    if tensor.name in found.stats:
        entry["stats"] = found.stats[tensor.name].document()
    return entry
