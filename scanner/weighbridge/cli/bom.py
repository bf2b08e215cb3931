"""`weighbridge bom`: a bill of materials of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from weighbridge.bom import SPECIFICATIONS
from weighbridge.cli.judging import clock, policy_from, policy_options
from weighbridge.cli.options import limit_options, rules_option
from weighbridge.cli.output import emit
from weighbridge.cli.place import Place


@click.command()
@click.argument("folder", type=Place(kind="folder", path_type=Path), metavar="DIR")
@click.option(
    "--source", metavar="REFERENCE", help="Which model it is.  [default: that of the lock in DIR, if DIR is as it says]"
)
@click.option("--name", metavar="NAME", help="What to call the model.  [default: from the reference]")
@click.option(
    "--spec-version",
    type=click.Choice(SPECIFICATIONS),
    default=SPECIFICATIONS[0],
    show_default=True,
    help="Version of CycloneDX.",
)
@click.option("--output", type=click.Path(dir_okay=False), metavar="FILE", help="File instead of standard output.")
@policy_options
@rules_option
@limit_options
def bom(folder: Path, **options: Any) -> int:
    """Write a CycloneDX bill of materials of the model in DIR: files, digests, model card, licences, what a scan found.

    Licences, data sets and the architecture are those that the model card and the configuration declare. The same model
    gives the same bytes, but for the time (SOURCE_DATE_EPOCH fixes it).

    \b
    Examples:
      weighbridge bom models/name --output name.cdx.json
      weighbridge bom models/name --source hf://org/name@REVISION --spec-version 1.7

    Exit status: 0 written, 2 wrong usage, 4 a file cannot be read.
    """
    from weighbridge import bom as bills
    from weighbridge import card
    from weighbridge.approve import RESERVED
    from weighbridge.attest import manifest_of
    from weighbridge.cli.approving import reference_of
    from weighbridge.cli.fetching import desk_from
    from weighbridge.sources import scan_folder

    verdict = scan_folder(folder, desk_from(options), beside=RESERVED, policy=policy_from(options, [folder]))
    source = options["source"] or reference_of(folder, manifest_of(verdict))
    page = folder / card.NAME
    subject = bills.Subject(
        name=options["name"] or _name(source) or folder.absolute().name,
        source=source,
        card=card.read_file(page) if page.is_file() else card.Card(),
        config=bills.read_config(folder),
    )
    text = bills.render(verdict, subject, at=clock(), specification=options["spec_version"])
    emit(text.splitlines(), options["output"])
    return 0


def _name(reference: str) -> str:
    """Return the last part of a reference without its revision."""
    from urllib.parse import unquote

    return unquote((reference.rpartition("@")[0] or reference).rpartition("/")[2])
