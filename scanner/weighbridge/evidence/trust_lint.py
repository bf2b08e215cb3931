"""What is wrong, or at least odd, with a trust policy that can be read: the files that it names, dates, and laxity."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from weighbridge.evidence import certificates, trusted_root, verifier
from weighbridge.evidence.base import Method
from weighbridge.evidence.trust_entries import Missing, Root, RootType, SourceRule, TrustedSigner, Uncovered, bare
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.refusals import EvidenceError

# Days: long enough to renew a root, or to have a key replaced, before signatures are refused.
SOON: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A line about a policy; an error is what will refuse good signatures, or let nothing be verified."""

    place: str
    text: str
    error: bool = False


def lint(trust: TrustPolicy, path: Path, *, now: datetime) -> Iterator[Remark]:
    """Yield what is to be said of a policy that lies at `path`, reading the files that it names."""
    yield from _open_to_others(trust, path)
    for name, root in trust.roots.items():
        yield from _root(f"{trust.where}:roots.{name}", root, now)
    for name, signer in trust.signers.items():
        yield from _signer(f"{trust.where}:signers.{name}", signer, now)
    for index, rule in enumerate(trust.rules):
        yield from _rule(f"{trust.where}:rules[{index}]", rule, trust)
    yield from _unused(trust)
    if not trust.rules and not trust.approvers:
        yield Remark(place=trust.where, text="no rules and no approvers: everything is denied")


def _open_to_others(trust: TrustPolicy, path: Path) -> Iterator[Remark]:
    """Whoever can write the policy, or put another in its place, decides whom to believe."""
    if os.name != "posix":
        return
    for place in (path, path.absolute().parent):
        if place.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            yield Remark(place=trust.where, text=f"users other than its owner may write to {printable(str(place))}")


def _root(place: str, root: Root, now: datetime) -> Iterator[Remark]:
    try:
        if root.type is RootType.SIGSTORE:
            trusted_root.parse(root.read(), printable(str(root.path)))
        else:
            yield from _expired(place, root, now)
        root.check_age(now)
    except EvidenceError as error:
        yield Remark(place=place, text=str(error), error=True)
        return
    if root.max_age_days is None or root.updated is None:
        if root.type is RootType.SIGSTORE:
            yield Remark(place=place, text="has no max_age_days: keys that sigstore retires stay good for ever")
        return
    left = root.max_age_days - (now.astimezone(UTC).date() - root.updated).days
    if left < SOON:
        yield Remark(place=place, text=f"too old in {left} days; `weighbridge trust update {root.name}`")


def _expired(place: str, root: Root, now: datetime) -> Iterator[Remark]:
    for certificate in certificates.load_roots(root):
        end = certificate.not_valid_after_utc
        if end < now + timedelta(days=SOON):
            subject = printable(certificates.subject_of(certificate))
            yield Remark(place=place, text=f"the certificate of {subject!r} ends on {end:%Y-%m-%d}")


def _signer(place: str, signer: TrustedSigner, now: datetime) -> Iterator[Remark]:
    if signer.method is not Method.KEY:
        return
    try:
        verifier.trusted_key(signer)
        signer.check_days(now, place)
    except EvidenceError as error:
        yield Remark(place=place, text=str(error), error=True)
        return
    if signer.not_after is not None and (left := (signer.not_after - now.astimezone(UTC).date()).days) < SOON:
        yield Remark(place=place, text=f"the key may be used for {left} more days")


def _rule(place: str, rule: SourceRule, trust: TrustPolicy) -> Iterator[Remark]:
    """Say what a rule lets in, and when fewer can sign than must."""
    if rule.missing is Missing.ALLOW:
        what = "with any or no signature" if not rule.require else "without a signature"
        yield Remark(place=place, text=f"lets {rule.source!r} in {what}")
    if rule.missing is Missing.WARN:
        yield Remark(place=place, text=f"only warns when {rule.source!r} has no signature")
    if rule.unsigned_files is Uncovered.WARN:
        yield Remark(place=place, text="only warns of files that no signature covers")
    if len({_person(trust.signers[name]) for name in rule.require}) < rule.needed:
        yield Remark(place=place, text="requires more signers than there are: some are the same person", error=True)


def _person(signer: TrustedSigner) -> tuple[str, ...]:
    """Return what is the same for two signers that are one."""
    if signer.method is Method.KEY:
        return (signer.method, bare(signer.sha256_spki))
    if signer.method is Method.CERTIFICATE:
        return (signer.method, signer.root, signer.subject)
    whom = signer.identity or signer.identity_glob
    return (signer.method, signer.issuer, whom, signer.source_repository, signer.workflow, signer.ref)


def _unused(trust: TrustPolicy) -> Iterator[Remark]:
    signers = {name for rule in trust.rules for name in rule.require}
    signers |= {one.signer for one in trust.approvers.values()}
    for name in sorted(trust.signers.keys() - signers):
        yield Remark(place=f"{trust.where}:signers.{name}", text="no rule requires this signer and no approver is it")
    roots = {name for one in trust.signers.values() for name in (one.root, one.timestamp_root)}
    for name in sorted(trust.roots.keys() - roots):
        yield Remark(place=f"{trust.where}:roots.{name}", text="no signer is below this root")
