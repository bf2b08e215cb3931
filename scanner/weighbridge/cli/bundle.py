"""`weighbridge bundle`: rules, trust policy and approvals across an air gap, in one signed file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from weighbridge.cli.judging import clock
from weighbridge.cli.options import FOLDER
from weighbridge.cli.output import emit
from weighbridge.cli.place import Place
from weighbridge.cli.signing import signer_from, signer_options
from weighbridge.cli.trusting import names_signer, trust_from, trust_options
from weighbridge.errors import UsageError
from weighbridge.location import printable
from weighbridge.records import replace
from weighbridge.report.base import counted, sized

if TYPE_CHECKING:
    from weighbridge.airgap import Cargo, Received

_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_NONE: Final = "none"
_signer_option = click.option(
    "--signer", metavar="NAME", help="Who of the trust policy has to have signed.  [default: any approver]"
)


@click.group()
def bundle() -> None:
    """Carry rules, a trust policy with its roots and keys, and approvals to where there is no network.

    Models travel beside it, as the folders that the gate writes. docs/air-gapped.md says how it all goes together.

    \b
    Examples:
      weighbridge bundle export gap.tar --trust trust.toml --approved models/name --key release.pem
      weighbridge bundle show gap.tar --key release.pub
      weighbridge bundle import gap.tar --to /srv/weighbridge --key release.pub
    """


@bundle.command("export")
@click.argument("path", type=_FILE, metavar="FILE")
@click.option("--rules", "folder", type=FOLDER, metavar="FOLDER", help="Carry these rules.  [default: those that ship]")
@click.option("--no-rules", is_flag=True, help="Carry no rules.")
@click.option("--trust", type=_FILE, metavar="FILE", help="Carry this trust policy, and the roots and keys it names.")
@click.option(
    "--approved",
    type=Place(kind="folder", path_type=Path),
    multiple=True,
    metavar="DIR",
    help="Carry the approval of this folder; repeatable.",
)
@signer_options
def export(path: Path, *, no_rules: bool, trust: Path | None, approved: tuple[Path, ...], **options: Any) -> None:
    """Write rules, a trust policy and approvals into FILE, and sign them.

    Without --key, --pkcs11 or --keyless your own key signs. An approval has to hold by the trust policy that is carried
    with it, or without --trust by your own. The same content gives the same bytes, but for the time (SOURCE_DATE_EPOCH
    fixes it) and what a signature has of chance.

    \b
    Examples:
      weighbridge bundle export gap.tar
      weighbridge bundle export gap.tar --trust trust.toml --approved models/one --approved models/two --key release.pem

    Exit status: 0 written, 1 an approval or a root does not hold, 2 wrong usage or FILE cannot be written, 4 a file
    cannot be read.
    """
    from weighbridge import airgap
    from weighbridge.rule_files import rules_directory
    from weighbridge.writing import write

    folder: str | None = options.pop("folder")
    if no_rules and folder is not None:
        raise UsageError("--rules and --no-rules: carry rules, or none")
    signer = signer_from(options)
    rules = None if no_rules else Path(folder) if folder else rules_directory()
    cargo = airgap.collect(rules=rules, trust=trust, approved=approved, now=datetime.now(UTC))
    cargo = replace(cargo, made=clock().replace(microsecond=0))
    write(path.resolve(), airgap.pack(cargo, signer), error=UsageError)  # a link stays one
    emit([f"wrote {printable(str(path))}: {_extent(cargo)}, signed by {printable(signer.identity)}", *_lines(cargo)])


@bundle.command()
@click.argument("path", type=_FILE, metavar="FILE")
@trust_options
@_signer_option
def show(path: Path, **options: Any) -> None:
    """Verify FILE and say what it carries; nothing is written.

    Exit status: 0 verified, 1 refused, 2 wrong usage, 4 the file cannot be read.

    \b
    Example:
      weighbridge bundle show gap.tar --key release.pub
    """
    received = _received(path, options)
    emit([f"verified {printable(str(path))}: {_extent(received.cargo)}, signed by {printable(received.signer)}"])
    emit([f"  made {received.cargo.made:%Y-%m-%d %H:%M} UTC, weighbridge {printable(received.cargo.weighbridge)}"])
    emit(_lines(received.cargo))


@bundle.command("import")
@click.argument("path", type=_FILE, metavar="FILE")
@click.option(
    "--to", "folder", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where its content goes."
)
@click.option("--older", is_flag=True, help="Take it even if an earlier bundle in DIR was made later.")
@trust_options
@_signer_option
def import_(path: Path, folder: Path, *, older: bool, **options: Any) -> None:
    """Verify FILE, and put what it carries into DIR: rules/, trust/trust.toml, approvals/.

    The signature, every digest and every name are verified before anything is written, and DIR appears, or is replaced,
    in one step. A bundle that is older than the one in DIR is refused. Nothing here uses DIR by itself: --rules,
    --trust or WEIGHBRIDGE_TRUST name what is in it.

    Exit status: 0 it is there, 1 refused, 2 wrong usage, 4 the file cannot be read or DIR not be written.

    \b
    Examples:
      weighbridge bundle import gap.tar --to /srv/weighbridge --key release.pub
      weighbridge bundle import gap.tar --to /srv/weighbridge --trust /srv/weighbridge/trust/trust.toml
    """
    from weighbridge import airgap

    folder = Path(os.path.normpath(folder.absolute()))
    received = _received(path, options)
    before = airgap.held(folder)
    airgap.install(received, folder, older=older)
    emit([f"{printable(str(folder))}: {_extent(received.cargo)}, signed by {printable(received.signer)}"])
    emit(_lines(received.cargo, before))


def _received(path: Path, options: dict[str, Any]) -> Received:
    """Return what a bundle carries, signed by somebody whom the options believe."""
    from weighbridge import airgap

    named: str | None = options.pop("signer")
    trust = trust_from(options)
    if named is not None and named not in trust.signers:
        raise UsageError(f"--signer {printable(named)}: {trust.where} names no such signer")
    signers = [named] if named else [one.signer for one in trust.approvers.values()]
    if not signers and options["trust"] is None and names_signer(options):
        signers = list(trust.signers)  # the one that options name; who signs models by a trust policy signs no bundles
    return airgap.read(path, trust, signers, now=datetime.now(UTC))


def _extent(cargo: Cargo) -> str:
    return f"{counted(len(cargo.files), 'file')}, {sized(sum(map(len, cargo.files.values())))}"


def _lines(cargo: Cargo, before: Cargo | None = None) -> Iterator[str]:
    """Yield what is carried; beside what was there before, when there is something that changes."""
    for what, new, old in (
        ("rules", cargo.rules, before.rules if before else None),
        ("trust policy", cargo.trust, before.trust if before else None),
    ):
        was = f", before {old or _NONE}" if old is not None and old != new else ""
        yield f"  {what} {new or _NONE}{was}"
    yield from (f"  approval of tree {tree}" for tree in cargo.approvals)
    for tree in sorted(set(before.approvals if before else ()) - set(cargo.approvals)):
        yield f"  no longer the approval of tree {tree}"
