"""`weighbridge gate`: from a reference to an approved folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from weighbridge.cli.approving import (
    approval_options,
    approver_from,
    expiry_from,
    refused_lines,
    unaccepted,
    verifier_from,
)
from weighbridge.cli.fetching import (
    canonical,
    desk_from,
    fetch_options,
    locked_options,
    order_from,
    tell,
    tell_kept,
    trust_from_file,
    trust_option,
)
from weighbridge.cli.judging import Reporting, clock, policy_from, policy_options, report, report_options
from weighbridge.cli.options import color_option, limit_options, rules_option, verbose_option
from weighbridge.cli.progress import received, scanned
from weighbridge.cli.remote import registry_options, settings_from
from weighbridge.errors import UsageError
from weighbridge.location import printable
from weighbridge.records import replace
from weighbridge.report.base import counted, exit_status, sized

if TYPE_CHECKING:
    from weighbridge.crossing import Crossed, Crossing
    from weighbridge.policy import Verdict

# The reports that go into the folder, by the name of the file.
REPORTS: Final = {"report.json": "json", "report.html": "html"}


@click.command(cls=Reporting)
@click.argument("reference", metavar="REFERENCE")
@click.option(
    "--to", "destination", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the model goes."
)
@trust_option
@approval_options
@click.option("--no-convert", is_flag=True, help="Approve weights in the containers that they came in.")
@click.option("--state-dict", metavar="PATH", help="Which group of tensors of a checkpoint to convert.")
@click.option("--anew", is_flag=True, help="Do everything again, even if DIR holds just that already.")
@fetch_options
@locked_options
@policy_options
@report_options
@click.option("--quiet", "-q", is_flag=True, help="The verdict only, in one line, and no progress.")
@registry_options
@rules_option
@verbose_option
@color_option
@limit_options
def gate(reference: str, destination: Path, **options: Any) -> int:
    """Let the model that REFERENCE names into DIR, if it passes: fetched, verified, scanned, converted, approved.

    The reference is pinned to a revision, and its bytes are compared with every digest that the registry declares and
    with the signatures that the trust policy requires. What passes the policy is converted to safetensors where it is
    not yet, every byte compared, and DIR appears in one step with the approved files, the signed approval that
    `weighbridge.load` asks for, the lock and the reports. Anything but pass leaves DIR untouched.

    \b
    Examples:
      weighbridge gate hf://org/name --to models/name
      weighbridge gate downloads/model.pt --to models/name --state-dict ema
      weighbridge gate oci://registry.example/models/name:1.0 --to models/name --policy strict --trust trust.toml
      weighbridge gate hf://org/name --to models/name --format text --format sarif --output weighbridge.sarif

    Exit status: 0 pass, 1 fail, 2 wrong usage, 3 inconclusive, 4 the model cannot be had, 70 internal error.
    """
    from weighbridge.gate import gate as cross
    from weighbridge.store import Store
    from weighbridge.store.layout import default_home

    crossing = _crossing(reference, Path(os.path.normpath(destination.absolute())), options)
    desk = replace(desk_from(options), detail=True)  # for the reports in the folder
    with Store(default_home()) as store:
        crossed = cross(
            crossing,
            settings_from(options),
            store,
            desk,
            jobs=options["jobs"],
            received=received(quiet=options["quiet"]),
            progress=scanned(quiet=options["quiet"]),
        )
    report(crossed.verdict, options)
    tell_kept(crossed.verdict, options)
    for line in _outcome(crossed, destination):
        tell(line, options)
    if crossed.approval is not None:
        trust = trust_from_file(options, canonical(reference))  # once more: a key may have been made since
        for line in unaccepted(crossing.destination, trust, crossing.now):
            tell(line, options)
    return exit_status(crossed.verdict)


def _crossing(reference: str, destination: Path, options: dict[str, Any]) -> Crossing:
    """Return what the options ask for."""
    from datetime import UTC, datetime

    from weighbridge.crossing import Crossing

    if options["no_convert"] and options["state_dict"] is not None:
        raise UsageError("--state-dict says what to convert, and --no-convert that nothing is")
    now = datetime.now(UTC).replace(microsecond=0)
    expires, verifier = expiry_from(options, now), verifier_from(options)
    policy = policy_from(options, [canonical(reference), destination])
    signer = approver_from(options)
    return Crossing(
        order=order_from(reference, options),
        destination=destination,
        policy=policy,
        trust=trust_from_file(options, canonical(reference)),
        signer=signer,
        verifier=verifier,
        now=now,
        expires=expires,
        convert=not options["no_convert"],
        state_dict=options["state_dict"],
        allowed=frozenset(options["allowed"]),
        anew=options["anew"],
        reports=_reports,
        clock=clock,
    )


def _reports(verdict: Verdict) -> dict[str, Iterable[str]]:
    """Return the reports for the folder."""
    from weighbridge.report import FORMATS
    from weighbridge.report.base import Style

    return {file: FORMATS[name]()(verdict, Style(ended=clock())) for file, name in REPORTS.items() if name in FORMATS}


def _outcome(crossed: Crossed, destination: Path) -> list[str]:
    """Return lines that say what is in the folder now, and why."""
    shown = printable(str(destination))
    found = crossed.approval
    if found is None:
        return [f"{shown} is untouched"]
    files = f"{counted(len(found.files), 'file')}, {sized(sum(file.size for file in found.files))}"
    until = f"approved until {found.expires:%Y-%m-%d}"
    if crossed.unchanged:
        return [f"{shown} holds it already: {files}, {until}, since {found.approved:%Y-%m-%d %H:%M} UTC; nothing to do"]
    lines = [f"{shown}: {files}, tree {found.tree}, {until}"]
    lines += [
        f"converted {printable(old)} to {printable(new)}, every byte compared" for new, old in crossed.converted.items()
    ]
    lines += [f"left out {printable(path)}: {printable(why)}" for path, why in crossed.left_out.items()]
    return lines + refused_lines(crossed.refused)
