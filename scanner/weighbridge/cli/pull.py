"""`weighbridge pull`: a model from a registry into a folder, if it passes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from weighbridge.cli.fetching import (
    desk_from,
    fetch_options,
    judge_order,
    locked_options,
    order_from,
    tell,
    trust_option,
)
from weighbridge.cli.judging import Reporting, policy_options, report_options
from weighbridge.cli.options import color_option, limit_options, rules_option, verbose_option
from weighbridge.cli.remote import registry_options
from weighbridge.location import printable
from weighbridge.report.base import counted, exit_status, sized


@click.command(cls=Reporting)
@click.argument("reference", metavar="REFERENCE")
@click.option(
    "--to", "destination", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the model goes."
)
@fetch_options
@locked_options
@trust_option
@click.option("--copy", is_flag=True, help="Copy files where DIR would otherwise get names of the store's own.")
@policy_options
@report_options
@click.option("--quiet", "-q", is_flag=True, help="The verdict only, in one line, and no progress.")
@registry_options
@rules_option
@verbose_option
@color_option
@limit_options
def pull(reference: str, destination: Path, **options: Any) -> int:
    """Fetch the model that REFERENCE names, and put it into DIR if the verdict is pass.

    The reference is pinned to a revision; every file is fetched into quarantine, compared with the digests that the
    registry declares, and scanned. On pass DIR appears in one step, with read-only files and a weighbridge.lock; on
    anything else DIR is untouched. A DIR that an earlier pull of the same source made, and that nobody has changed, is
    replaced; any other that is not empty is an error.

    \b
    Examples:
      weighbridge pull hf://org/name --to models/name
      weighbridge pull hf://org/name@refs/pr/1 --to models/name --include '*.safetensors' --include '*.json'
      weighbridge pull oci://registry.example/models/name:1.0 --to models/name --policy strict
      weighbridge pull hf://org/name --to models/name --locked

    Exit status: 0 pass, 1 fail, 2 wrong usage, 3 inconclusive, 4 the model cannot be had, 70 internal error.
    """
    from weighbridge.pull import place, vacate
    from weighbridge.store import Store
    from weighbridge.store.layout import default_home

    desk, order = desk_from(options), order_from(reference, options)
    shown, destination = printable(str(destination)), Path(os.path.normpath(destination.absolute()))
    with Store(default_home()) as store:
        judged = judge_order(
            order, options, store, desk, ready=lambda artifact: vacate(destination, artifact.reference)
        )
        if judged.locked is not None:
            place(judged, destination, store, copy=options["copy"])
            manifest = judged.locked.manifest
            size = sized(sum(entry.size for entry in manifest.entries))
            files = counted(len(manifest.entries), "file")
            tell(f"{shown}: {files}, {size}, tree {manifest.digest}", options)
        else:
            tell(f"{shown} is untouched", options)
    return exit_status(judged.verdict)
