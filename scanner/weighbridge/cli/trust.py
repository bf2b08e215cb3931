"""`weighbridge trust`: the trust policy, which says whom to believe about which model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from weighbridge.cli.output import emit
from weighbridge.errors import UsageError
from weighbridge.location import printable
from weighbridge.report.base import counted

if TYPE_CHECKING:
    from weighbridge.evidence.trust_entries import SourceRule, TrustedSigner
    from weighbridge.evidence.trust_policy import TrustPolicy

_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_policy = click.argument("path", type=_FILE, required=False, metavar="[FILE]")


@click.group()
def trust() -> None:
    """Write, check, show and update the trust policy.

    It is FILE, else what WEIGHBRIDGE_TRUST names, else trust.toml in the folder of your settings. Everything is denied
    that it does not name.

    \b
    Examples:
      weighbridge trust init
      weighbridge trust lint
      weighbridge trust show --source hf://org/name
      weighbridge trust update
    """


@trust.command()
@_policy
def init(path: Path | None) -> None:
    """Write a trust policy to begin with: it trusts your own key to approve, if there is one, and nothing else.

    \b
    Examples:
      weighbridge trust init
      weighbridge trust init trust.toml
    """
    from weighbridge.evidence import home, keys, trust_policy, trust_writing

    place = _place(path)
    if place.suffix != ".toml":
        raise UsageError(f"{printable(str(place))}: the name of a trust policy ends in .toml")
    own = None
    public = home.public_key_path()
    if public.exists():
        near = public.parent == place.absolute().parent
        digest = keys.pem_digest(home.read_public(public), printable(str(public)))
        own = (public.name if near else str(public), digest.value)
    text = trust_writing.draft(own)
    trust_policy.parse(text, place)
    if path is None:
        home.make_folder(place.parent)
    home.write_new(place, text.encode("utf-8"), mode=0o644)
    emit([f"wrote {printable(str(place))}; it trusts {'your own key to approve' if own else 'nobody yet'}"])


@trust.command()
@_policy
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
def lint(path: Path | None, *, strict: bool) -> int:
    """Name what is wrong with the trust policy: roots and keys that are missing or altered, dates, and what is lax.

    Exit status: 0 when there are no errors, 1 otherwise, 2 when the policy cannot be read.

    \b
    Examples:
      weighbridge trust lint
      weighbridge trust lint trust.toml --strict
    """
    from datetime import UTC, datetime

    from weighbridge.evidence import trust_policy
    from weighbridge.evidence.trust_lint import lint as remarks

    place = _place(path)
    found = list(remarks(trust_policy.read(place), place, now=datetime.now(UTC)))
    emit(f"{'error' if one.error else 'warning'}: {one.place}: {one.text}" for one in found)
    errors = sum(one.error for one in found)
    emit([f"{printable(str(place))}: {counted(errors, 'error')}, {counted(len(found) - errors, 'warning')}"])
    return 1 if errors or (strict and found) else 0


@trust.command()
@_policy
@click.option("--source", metavar="REFERENCE", help="Show only what applies to this model.")
def show(path: Path | None, source: str | None) -> None:
    """Show whom the trust policy believes, and what it asks of which models; without a policy, what holds then.

    \b
    Examples:
      weighbridge trust show
      weighbridge trust show --source hf://org/name
    """
    from weighbridge.evidence import trust_policy
    from weighbridge.registries import known_as

    policy = trust_policy.default() if path is None else trust_policy.read(path)
    if source is None:
        emit(_lines(policy))
        return
    if not policy.rules:
        emit(["no rules: the gate asks for no signature unless its policy does; `weighbridge verify` needs a signer"])
        return
    rule = policy.rule_for(known_as(source))
    emit([*_rule(rule), *(f"  {line}" for name in rule.require for line in _signer(name, policy.signers[name]))])


@trust.command()
@click.argument("names", nargs=-1, metavar="[ROOT]...")
@click.option("--trust", "path", type=_FILE, metavar="FILE", help="The trust policy.  [default: your own]")
@click.option("--root", "first", type=_FILE, metavar="FILE", help="The first root of metadata of a private instance.")
def update(names: tuple[str, ...], path: Path | None, first: Path | None) -> None:
    """Fetch the current trusted roots of sigstore, those of ROOT or all, and pin what was fetched in the trust policy.

    Each is fetched from the repository that the policy names (`tuf`). This alone of what verifies uses the network. The
    metadata that says what is current is verified (TUF), starting from what an earlier update left, from what came with
    sigstore-python for the public instance, or from what --root names.

    Exit status: 0 renewed, 1 the metadata does not verify, 2 wrong usage, 4 the repository cannot be reached.

    \b
    Examples:
      weighbridge trust update
      weighbridge trust update internal --root root.json
    """
    from datetime import UTC, datetime

    from weighbridge.cli.trusting import read_file
    from weighbridge.evidence import trust_policy, trust_update
    from weighbridge.evidence.trust_entries import MAX_ROOT

    place = _place(path)
    roots = trust_policy.read(place).roots
    chosen = list(names) or [one.name for one in roots.values() if one.tuf]
    where = printable(str(place))
    if not chosen:
        raise UsageError(
            f"{where}: no root has a repository to update from; add one, such as [roots.public] with "
            f'tuf = "{trust_update.PUBLIC}", which `weighbridge trust init` writes as a comment'
        )
    if len(chosen) > 1 and first:
        raise UsageError("--root is that of one instance; name the root that is its")
    start = read_file(first, MAX_ROOT) if first else None
    for name in chosen:
        if name in roots and not roots[name].tuf:
            raise UsageError(f'{where}: write in [roots.{name}] which repository it is of, as tuf = "https://…"')
        url = roots[name].tuf if name in roots else ""
        done = trust_update.update(place, name, today=datetime.now(UTC).date(), url=url, first=start)
        change = f"{done.before} is now {done.after}" if done.changed else f"{done.after}, as before"
        emit([f"{printable(name)}: {printable(str(done.path))}, sha256 {change}"])


def _place(path: Path | None) -> Path:
    """Return which policy is meant."""
    from weighbridge.evidence import trust_policy

    return path or trust_policy.place()


def _lines(policy: TrustPolicy) -> Iterator[str]:
    yield f"trust policy {policy.where}{f', {policy.digest}' if policy.digest else ''}"
    for name, root in policy.roots.items():
        age = f", updated {root.updated}" if root.updated else ""
        yield f"root {name}: {root.type}, {printable(str(root.path))}{age}"
    for name, signer in policy.signers.items():
        yield from _signer(name, signer)
    for rule in policy.rules:
        yield from _rule(rule)
    for name, approver in policy.approvers.items():
        yield f"approver {name}: {approver.signer} in the name of {printable(approver.verifier_id)}"
    denied = policy.deny
    for kind, digests in (
        ("tree", denied.tree_sha256),
        ("approval", denied.approval_sha256),
        ("certificate", denied.cert_sha256),
    ):
        yield from (f"denied {kind} {digest}" for digest in digests)
    yield "everything else is denied"


def _signer(name: str, signer: TrustedSigner) -> Iterator[str]:
    from weighbridge.evidence import fulcio
    from weighbridge.evidence.base import Method
    from weighbridge.evidence.trust_entries import bare

    if signer.method is Method.KEY:
        begin, end = signer.not_before, signer.not_after
        days = f", from {begin or 'ever'} to {end or 'ever'}" if begin or end else ""
        who = f"sha256:{bare(signer.sha256_spki)}{days}"
    elif signer.method is Method.CERTIFICATE:
        who = f"{printable(signer.subject)}, root {signer.root}"
    else:
        who = f"{fulcio.describe(signer)}, root {signer.root}"
    yield f"signer {name}: {signer.method}, {who}"


def _rule(rule: SourceRule) -> Iterator[str]:
    from weighbridge.evidence.trust_entries import Pin

    if rule.require:
        who = f"{rule.needed} of {', '.join(rule.require)} must sign (missing: {rule.missing})"
    else:
        who = f"nobody need sign (missing: {rule.missing})"
    pin = ", pinned revisions only" if rule.pin is Pin.REQUIRED else ""
    ignored = f", may leave out {', '.join(map(printable, rule.ignored_paths))}" if rule.ignored_paths else ""
    yield f"source {printable(rule.source)}: {who}, unsigned files: {rule.unsigned_files}{ignored}{pin}"
