"""`weighbridge waive`: accept a finding in one exact file, until a day, and write that down."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from weighbridge import settings, waivers, writing
from weighbridge.cli.options import day_from
from weighbridge.cli.output import emit
from weighbridge.errors import UsageError
from weighbridge.location import printable
from weighbridge.policy_file import read_file


@click.command()
@click.argument("report", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="REPORT")
@click.argument("finding", metavar="FINDING")
@click.option("--reason", required=True, metavar="TEXT", help="Why this may pass; it stands in every report.")
@click.option(
    "--expires", required=True, metavar="DAYS|DATE", help="The last day on which it holds: 30d or 2027-01-31."
)
@click.option("--approver", metavar="NAME", help="Who accepts it.  [default: the user's name on this machine]")
@click.option(
    "--to",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The policy file or file of waivers to write to.  [default: the policy file that holds here]",
)
def waive(report: Path, finding: str, **options: Any) -> int:
    """Accept FINDING of REPORT, which --format json wrote, in a waiver that is written to the policy file.

    FINDING is the number of a finding in the report, its place (model.pt!archive/data.pkl@0x2f), or a rule or `unknown`
    for all of that in one file. A waiver holds for one rule, one name and the exact bytes of one file. It is added at
    the end of the file, of which nothing else changes; --to waivers.yaml begins a file for `--waivers`.

    \b
    Examples:
      weighbridge scan models/ --format json --output report.json
      weighbridge waive report.json PKL004 --reason 'read; see ticket 12' --expires 90d
      weighbridge waive report.json 'models/model.pkl@0x20' --reason 'ours' --expires 2027-01-31 --to waivers.yaml

    Exit status: 0 written, 2 nothing was written.
    """
    file = options["file"] or _policy()
    today = datetime.now(UTC).date()
    expires = day_from(options["expires"], today)
    if expires < today:
        raise UsageError(f"--expires {printable(options['expires'])}: that is over")
    if (days := (expires - today).days) > (most := waivers.longest(file)):
        raise UsageError(f"--expires: {days} days are more than the {most} that max_waiver_days allows")
    chosen = waivers.pick(waivers.reported(report), finding)
    made = waivers.waivers_for(
        chosen, reason=options["reason"], approver=options["approver"] or _user(), expires=expires
    )
    text = read_file(file).decode("utf-8") if file.exists() else ""
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
    place = file.resolve()  # a link stays one
    writing.write(place, [waivers.added(text, made, str(file)).encode("utf-8")], error=UsageError, mode=mode)
    shown = printable(str(file))
    emit(
        f"{shown}: {one.rule} of {printable(one.subject or '')} in {one.digest}, until {one.expires}, by "
        f"{printable(one.approver)}"
        for one in made
    )
    return 0


def _policy() -> Path:
    """Return the policy file that holds here."""
    named = os.environ.get(settings.POLICY_VARIABLE, "")
    path = named if settings.is_path(named) else settings.find(settings.current_folder())
    if not path:
        raise UsageError(
            "there is no policy file here: name one with --to, or begin one with `weighbridge policy init`"
        )
    return Path(path)


def _user() -> str:
    """Return the name of the user; raise UsageError when nothing tells it, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError) as error:
        raise UsageError("--approver: say who accepts it; nothing here tells the user's name") from error
