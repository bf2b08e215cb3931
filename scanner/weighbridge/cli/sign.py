"""`weighbridge sign`: a signature over every file of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from weighbridge.cli.output import emit
from weighbridge.cli.place import Place
from weighbridge.cli.signing import check_made, signer_from, signer_options
from weighbridge.location import printable
from weighbridge.report.base import counted


@click.command()
@click.argument("folder", type=Place(kind="folder", path_type=Path), metavar="DIR")
@signer_options
@click.option(
    "--signature",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the signature goes.  [default: model.sig in DIR]",
)
@click.option(
    "--leave-out",
    multiple=True,
    metavar="PATH",
    help="A file or folder below DIR that is not signed, and that whoever verifies must name; repeatable.",
)
def sign(folder: Path, signature: Path | None, leave_out: tuple[str, ...], **options: Any) -> int:
    """Sign every file in DIR, as OpenSSF Model Signing has it, so that anybody can verify it.

    Without --key, --pkcs11 or --keyless your own key signs, which `weighbridge key init` makes. The signature is
    verified before it is written. Links are refused. Sign last: a file that is changed or added later is refused by
    whoever verifies.

    \b
    Examples:
      weighbridge sign models/name
      weighbridge sign models/name --key release.pem --signature name.sig
      weighbridge sign models/name --key leaf.pem --certificate leaf.crt --certificate authority.crt

    Exit status: 0 signed, 1 something in DIR cannot be signed, 2 wrong usage or the signature cannot be written, 4 a
    file cannot be read.
    """
    from weighbridge.evidence import oms_write

    signer = signer_from(options)
    destination = signature or folder / oms_write.NAME
    evidence = oms_write.sign(folder, destination, signer, lambda made: check_made(signer, made), left_out=leave_out)
    name = printable(str(folder))
    emit([f"signed: {name}: {counted(len(evidence.covered), 'file')}, tree {evidence.subject}"])
    emit([f"  by {printable(signer.identity)}", f"  in {printable(str(destination))}"])
    if evidence.uncovered:
        emit([f"  not signed: {counted(len(evidence.uncovered), 'file')}"])
        emit(f"    {printable(path)}" for path in evidence.uncovered)
    return 0
