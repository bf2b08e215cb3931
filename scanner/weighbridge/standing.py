"""What stands at the place that a model is to go to: whether a gate put it there, and whether it may stay."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Thread

from weighbridge import approval
from weighbridge.allowances import allows
from weighbridge.approval import Approval
from weighbridge.approve import compare
from weighbridge.artifact import Manifest
from weighbridge.crossing import Crossing, converts, unneeded
from weighbridge.errors import SourceError, UsageError, WeighbridgeError
from weighbridge.evidence import trust_policy
from weighbridge.limits import Limits
from weighbridge.location import printable
from weighbridge.policy import Verdict
from weighbridge.refusals import ApprovalUntrusted, EvidenceError, NotApproved
from weighbridge.store import Fetched


def held_at(crossing: Crossing) -> Approval | None:
    """Return the approval of what is at the destination, None when nothing is.

    Raises UsageError when something is there that no gate put there, or that somebody has changed since.
    """
    place = crossing.destination
    shown = printable(str(place))
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise UsageError(f"{shown}: there is something that is no folder")
    if not place.exists() or not any(place.iterdir()):
        return None
    descriptor = os.open(place, os.O_RDONLY)
    try:
        return _authenticate(crossing, approval.read_bundle(descriptor, shown), f"{shown}/{approval.NAME}")
    except NotApproved as error:
        raise UsageError(f"{shown}: the folder holds something that no gate here put there; name another") from error
    finally:
        os.close(descriptor)


def _authenticate(crossing: Crossing, raw: bytes, where: str) -> Approval:
    """Return an approval by an approver of the trust policy, or by the user's own key when that signs now, too.

    A policy may say who signs models and leave it to others who approves: what this gate put there is its own then.
    Raises a NotApproved, by what is wrong.
    """
    try:
        return approval.authenticate(raw, trust=crossing.trust, now=crossing.now, where=where)
    except ApprovalUntrusted:
        own = trust_policy.own()
        mine = {f"sha256:{one.sha256_spki}" for one in own.signers.values()}
        if not mine or crossing.signer.identity not in mine:
            raise
        return approval.authenticate(raw, trust=own, now=crossing.now, where=where)


def check_unchanged(place: Path, held: Approval) -> None:
    """Raise UsageError when somebody has changed what was approved: that is theirs, and is not replaced."""
    try:
        compare(place, held)
    except EvidenceError as error:
        found = f"{error.where}: {error.reason} [{error.code}]"
        raise UsageError(
            f"{found}: somebody has changed what was approved; name another folder, or remove it"
        ) from error


def checking(place: Path, held: Approval | None) -> Callable[[], None]:
    """Begin with `check_unchanged`, which reads everything, and return what waits for it and raises what it raises.

    Whenever that is called, it raises UsageError also if somebody has written to the folder since the beginning.
    """
    if held is None:
        return lambda: None
    before = _states(place)
    done: Future[None] = Future()

    def check() -> None:
        try:
            check_unchanged(place, held)
            done.set_result(None)
        except WeighbridgeError as error:
            done.set_exception(error)
        finally:
            done.cancel()  # of what nobody has foreseen, so that nobody waits for ever

    def unchanged() -> None:
        done.result()
        if _states(place) != before:
            raise UsageError(f"{printable(str(place))}: somebody is changing what was approved; name another folder")

    # A daemon, for nobody is to wait for it who is interrupted.
    Thread(target=check, name="check", daemon=True).start()
    return unchanged


def _states(place: Path) -> dict[str, tuple[int, int, int]]:
    """Return what changes when somebody writes to a folder: what is where in it, of what size, written when.

    Raises SourceError when the system refuses, or something goes away meanwhile.
    """
    found = {}
    try:
        for path in (place, *place.rglob("*")):
            status = path.lstat()
            found[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise SourceError(f"{printable(str(place))}: {error.strerror or error}") from error
    return found


def is_same(crossing: Crossing, held: Approval, fetched: Fetched, files: Manifest, verdict: Verdict) -> bool:
    """Tell whether what was approved before is what would be approved now, and still holds, but no longer than that."""
    judged = (verdict.policy_digest, verdict.rules_digest, verdict.version, crossing.verifier)
    return (
        crossing.now < held.expires <= crossing.expires
        and not approval.denied(held, crossing.trust)
        and held.resource == fetched.artifact.pinned
        and held.derived_from == str(fetched.manifest.digest)
        and (held.policy, held.rules, held.weighbridge, held.verifier) == judged
        and allows(held.allowed, crossing.allowed)
        and _is_converted(crossing, held, files)
    )


def _is_converted(crossing: Crossing, held: Approval, files: Manifest) -> bool:
    """Tell whether what is in the folder was converted, or not, as it is asked for now; its bytes are verified."""
    from weighbridge.convert.directory_proof import asked_group
    from weighbridge.convert.inventory import take

    as_it_came = held.tree == str(files.digest)
    if not crossing.convert:
        return as_it_came
    if not as_it_came:
        return asked_group(crossing.destination) == crossing.state_dict
    found = take(crossing.destination, Limits())
    return not converts(found) and not unneeded(found, files)
