"""What the commands that approve share: who signs, in whose name and until when."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, Final

import click

from weighbridge.cli import say
from weighbridge.cli.options import day_from
from weighbridge.cli.signing import signer_from, signer_options
from weighbridge.errors import DocumentError, UsageError
from weighbridge.evidence.bundle import LIMIT
from weighbridge.location import printable
from weighbridge.reading import read_file

if TYPE_CHECKING:
    from pathlib import Path

    from weighbridge.artifact import Manifest
    from weighbridge.cli.options import F
    from weighbridge.evidence.signers import Signer
    from weighbridge.evidence.trust_policy import TrustPolicy
    from weighbridge.load.config_gate import Demand

# Half a year: long enough that nobody approves without looking, short enough that somebody looks again.
DAYS: Final = 180
LINES: Final = 10  # of what loaders refuse; the rest is counted

_OPTIONS: Final = (
    click.option(
        "--expires",
        default=f"{DAYS}d",
        show_default=True,
        metavar="DAYS|DATE",
        help="Until when it is approved: 90d, or the first day on which it is not (UTC).",
    ),
    click.option("--verifier", metavar="URI", help="In whose name it is approved.  [default: this machine's user]"),
    click.option(
        "--allow",
        "allowed",
        multiple=True,
        metavar="FILE[:KEY]",
        help="Let loaders take what they would refuse, such as config.json:auto_map; repeatable.",
    ),
)


def approval_options(command: F) -> F:
    """Add the options of an approval, and those that say with what to sign."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return signer_options(command)


class _NewKey:
    """The user's own key, which is made when it signs for the first time: what does not come to that leaves none."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._made: Signer | None = None

    @property
    def identity(self) -> str:
        """The digest that the key is known by."""
        return self._signer().identity

    def sign(self, payload: bytes, payload_type: str) -> bytes:
        """Return a bundle that hints at the key."""
        return self._signer().sign(payload, payload_type)

    def _signer(self) -> Signer:
        if self._made is None:
            _make_own_key()
            self._made = signer_from(self._options)
        return self._made


def _make_own_key() -> None:
    """Make the user's own key, unless it is there by now; raise UsageError when it cannot be written."""
    from weighbridge.evidence import home

    path = home.key_path()
    if path.exists():
        return
    try:
        home.make_key(path, home.public_key_path())
    except UsageError:
        if not path.exists():
            raise
        return  # another process was first
    say(f"made a key of your own to sign with, {printable(str(path))}")


def approver_from(options: dict[str, Any]) -> Signer:
    """Return who signs an approval by the options; without any the user's own key, which need not be there yet."""
    from weighbridge.evidence import home

    named = options["key"] or options["certificates"] or options["pkcs11"] or options["keyless"]
    return signer_from(options) if named or home.key_path().exists() else _NewKey(options)


def verifier_from(options: dict[str, Any]) -> str:
    """Return the URI of who approves."""
    from weighbridge.evidence.trust_policy import OWN_VERIFIER

    given: str | None = options["verifier"]
    if given is not None and not re.fullmatch(r"[a-z][a-z0-9+.-]*:\S+", given):
        raise UsageError(f"--verifier {printable(given)}: not a URI, such as https://acme.example/gate")
    return given or OWN_VERIFIER


def expiry_from(options: dict[str, Any], now: datetime) -> datetime:
    """Return the time in UTC at which an approval ends; raise UsageError when that is no time to come."""
    given: str = options["expires"]
    day = day_from(given, now.date())
    end = datetime.combine(day, now.timetz() if given.endswith("d") else time(tzinfo=UTC))
    if end <= now:
        raise UsageError(f"--expires {printable(given)}: that is over")
    return end


def refused_lines(refused: tuple[Demand, ...]) -> list[str]:
    """Return lines that say what loaders will refuse of what was approved, and how it could be allowed."""
    from weighbridge.allowances import place_of

    lines = [
        f"loaders will refuse {printable(place_of(one))}: {one.reason}; read it, and --allow "
        f"{printable(place_of(one) if one.digest else one.path)} if that is meant"
        for one in refused[:LINES]
    ]
    return [*lines, *([f"… and {len(refused) - LINES} more"] if len(refused) > LINES else [])]


def unaccepted(folder: Path, trust: TrustPolicy, now: datetime) -> list[str]:
    """Return a line that says why loaders with a trust policy would not take what was approved in a folder, if so."""
    from weighbridge import approval
    from weighbridge.refusals import NotApproved

    where = printable(str(folder))
    try:
        raw = read_file(folder / approval.NAME, LIMIT)
        approval.verify(raw, trust=trust, now=now, where=where)
    except NotApproved as error:
        return [f"loaders that ask {trust.where} will not take it: {error.reason}"]
    return []


def reference_of(folder: Path, manifest: Manifest) -> str:
    """Return the pinned reference that the lock in a folder gives to these files; without one, the folder itself."""
    from weighbridge import lock as locks

    try:
        models = locks.read(folder / locks.NAME).models
    except (UsageError, DocumentError):
        models = ()
    named = [f"{one.source}@{one.revision}" for one in models if one.manifest == manifest]
    return named[0] if named else folder.absolute().as_uri()
