"""`weighbridge approve`: the approval of a folder that is here already, and whether the one that it has holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weighbridge.cli.approving import (
    approval_options,
    approver_from,
    expiry_from,
    reference_of,
    refused_lines,
    unaccepted,
    verifier_from,
)
from weighbridge.cli.fetching import desk_from, tell
from weighbridge.cli.judging import Reporting, policy_from, policy_options, report, report_options
from weighbridge.cli.options import color_option, limit_options, rules_option, verbose_option
from weighbridge.cli.output import emit
from weighbridge.cli.place import Place
from weighbridge.cli.progress import scanned
from weighbridge.errors import UsageError
from weighbridge.location import printable
from weighbridge.policy import Outcome
from weighbridge.report.base import counted, exit_status, sized

if TYPE_CHECKING:
    from weighbridge.approval import Approval


@click.command(cls=Reporting)
@click.argument("folder", type=Place(kind="folder", path_type=Path), metavar="DIR")
@click.option("--check", is_flag=True, help="Approve nothing: say whether DIR is as it was approved, byte for byte.")
@click.option(
    "--trust",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="For --check: the trust policy, which says who may approve.  [default: the user's own]",
)
@click.option(
    "--source", metavar="REFERENCE", help="Which model it is.  [default: that of the lock in DIR, if DIR is as it says]"
)
@approval_options
@policy_options
@report_options
@click.option("--jobs", "-j", type=click.IntRange(min=1), default=1, metavar="N", help="Processes that share the scan.")
@click.option("--quiet", "-q", is_flag=True, help="The verdict only, in one line, and no progress.")
@rules_option
@verbose_option
@color_option
@limit_options
def approve(folder: Path, **options: Any) -> int:
    """Scan DIR and, if every file passes, sign an approval of exactly these bytes, which `weighbridge.load` asks for.

    DIR gets approval.json and approval.leaves; nothing else in it changes. Without --key or --pkcs11 your own key
    signs, which is made when there is none yet. `weighbridge gate` does all this for a model in a registry, and
    converts it first.

    With --check nothing is scanned: the signature, the day and the digest of every file are verified, and any file
    more or less is refused.

    \b
    Examples:
      weighbridge approve models/name
      weighbridge approve models/name --expires 90d --allow config.json:auto_map
      weighbridge approve models/name --key gate.pem --verifier https://acme.example/gate
      weighbridge approve models/name --check --trust trust.toml

    Exit status: 0 approved, 1 fail or refused, 2 wrong usage, 3 inconclusive, 4 a file cannot be read.
    """
    if not options["check"]:
        return _approve(folder, options)
    signing = ("key", "certificates", "pkcs11", "keyless", "identity_token", "sigstore", "verifier", "allowed")
    if any(options[name] for name in signing):
        raise UsageError("--check approves nothing: options on who approves and what is allowed make no sense with it")
    return _check(folder, options["trust"], options["source"])


def _approve(folder: Path, options: dict[str, Any]) -> int:
    from datetime import UTC, datetime

    from weighbridge.allowances import allowances
    from weighbridge.approve import RESERVED, Terms, files_of, unmet
    from weighbridge.approve import approve as sign
    from weighbridge.attest import manifest_of
    from weighbridge.evidence import trust_policy
    from weighbridge.policy import refuse
    from weighbridge.sources import scan_folder

    if options["trust"] is not None:
        raise UsageError("--trust goes with --check: who may approve is for those to say who load")
    now = datetime.now(UTC).replace(microsecond=0)
    expires, verifier, policy = expiry_from(options, now), verifier_from(options), policy_from(options, [folder])
    verdict = scan_folder(
        folder,
        desk_from(options),
        beside=RESERVED,
        policy=policy,
        jobs=options["jobs"],
        progress=scanned(quiet=options["quiet"]),
    )
    verdict = refuse(verdict, unmet(folder, verdict, policy.require, options["source"] or ""))
    report(verdict, options)
    if verdict.outcome is not Outcome.PASS:
        tell(f"{printable(str(folder))} is not approved", options)
        return exit_status(verdict)
    found = allowances(files_of(verdict), lambda path: (folder / path).read_bytes(), options["allowed"])
    terms = Terms(
        at=now,
        expires=expires,
        verifier=verifier,
        resource=options["source"] or reference_of(folder, manifest_of(verdict)),
        allowed=found.allowed,
    )
    granted = sign(folder, verdict, approver_from(options), terms).approval
    said = f"  of {printable(granted.resource)}{'' if options['source'] else _by_lock(folder, granted)}"
    refused = (*refused_lines(found.refused), *unaccepted(folder, trust_policy.default(), now))
    for line in (_line(folder, granted), said, *_beside(folder), *refused):
        tell(line, options)
    return 0


def _by_lock(folder: Path, granted: Approval) -> str:
    """Return whose word it is which model a folder holds, if the lock in it says so, which may have come with it."""
    return "" if granted.resource == folder.absolute().as_uri() else ", as the weighbridge.lock in it says"


def _beside(folder: Path) -> list[str]:
    """Return a line on what lies beside the model and was not looked at, in a folder that no gate may have made."""
    from weighbridge.approval import LEAVES, NAME
    from weighbridge.approve import RESERVED

    found = sorted(name for name in RESERVED - {NAME, LEAVES} if os.path.lexists(folder / name))
    return [f"  but for {', '.join(found)}, which nobody looked at and no approval covers"] if found else []


def _check(folder: Path, trust_file: Path | None, source: str | None) -> int:
    """Say whether a folder is as it was approved; the refusal that says why not ends the command."""
    from datetime import UTC, datetime

    from weighbridge.approve import check
    from weighbridge.evidence import trust_policy

    trust = trust_policy.choose(trust_file, folder)
    found = check(folder, trust=trust, now=datetime.now(UTC), source=source)
    emit(
        [
            _line(folder, found),
            f"  of {printable(found.resource)}, by {printable(found.signer)} for {printable(found.verifier)}",
        ]
    )
    return 0


def _line(folder: Path, found: Approval) -> str:
    size = sized(sum(file.size for file in found.files))
    until = f"approved until {found.expires:%Y-%m-%d}"
    return f"{printable(str(folder))}: {counted(len(found.files), 'file')}, {size}, tree {found.tree}, {until}"
