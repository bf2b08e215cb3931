"""Who signed an artifact that was fetched: the trust policy asked about the store's files, its refusals as unmet.

With a trust policy that has rules, a source that none of them is for is refused. With one that has none, as that of a
user who has written none, signatures are asked for only by the policy (`require.signature`).
"""

from __future__ import annotations

from datetime import datetime

from weighbridge.artifact import Artifact
from weighbridge.evidence.base import Evidence
from weighbridge.evidence.requirement import require
from weighbridge.evidence.tree import Stored
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.location import printable
from weighbridge.lock import Signed
from weighbridge.records import dataclass
from weighbridge.refusals import EvidenceError, SignerChanged
from weighbridge.requirements import Requirements, Unmet
from weighbridge.store import Fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """What was verified of who signed a model, what of it is required and missing, and what is to be said besides."""

    evidence: tuple[Evidence, ...] = ()
    unmet: tuple[Unmet, ...] = ()
    warnings: tuple[str, ...] = ()


def hear(fetched: Fetched, trust: TrustPolicy, asked: Requirements, *, now: datetime) -> Testimony:
    """Return what can be said of who signed an artifact; `now` is the time in UTC at which certificates are judged."""
    artifact = fetched.artifact
    if not trust.rules:
        return Testimony(unmet=_unsigned(artifact.reference, trust) if asked.signature else ())
    contents = Stored(printable(artifact.pinned), fetched.manifest.entries, fetched.paths, fetched.fresh)
    try:
        found = require(contents, artifact.reference, trust, now=now, pinned=not artifact.moving)
    except EvidenceError as error:
        return Testimony(unmet=(Unmet(code=error.code, where=error.where, reason=error.reason, fix=error.fix),))
    missing = _unsigned(artifact.reference, trust) if asked.signature and not found.signed else ()
    return Testimony(evidence=found.evidence, unmet=missing, warnings=found.warnings)


def signers_changed(locked: tuple[Signed, ...], evidence: tuple[Evidence, ...], artifact: Artifact) -> list[Unmet]:
    """Return the signers of a lock whose signature nobody has verified now."""
    known = {(one.signature.identity, one.signature.issuer) for one in evidence if one.signature is not None}
    now = ", ".join(sorted(identity for identity, _ in known)) or "nobody"
    return [
        Unmet(
            code=SignerChanged.code,
            where=printable(artifact.pinned),
            reason=f"the lock has a signature of {printable(one.identity)}, verified is one of {printable(now)}",
            fix="find out why; `weighbridge lock update` takes the new signer",
        )
        for one in locked
        if (one.identity, one.issuer) not in known
    ]


def _unsigned(source: str, trust: TrustPolicy) -> tuple[Unmet, ...]:
    """Return that a signature is required and that the trust policy asks for none."""
    reason = f"the policy requires a signature, and {trust.where} names nobody who has to sign models from here"
    fix = "write a rule for it into the trust policy (docs/trust.md)"
    return (Unmet(code="SIG_MISSING", where=printable(source), reason=reason, fix=fix),)
