"""Who signed an artifact that was fetched: the trust policy asked about the store's files, its refusals as unmet.

With a trust policy that has rules, a source that none of them is for is refused. With one that has none, as that of a
user who has written none, signatures are asked for only by the policy (`require.signature`).
"""

from __future__ import annotations

from datetime import datetime

from weighbridge.artifact import Artifact
from weighbridge.digest import Digest
from weighbridge.evidence import referrers
from weighbridge.evidence.base import Evidence
from weighbridge.evidence.requirement import Satisfied, require, require_attached
from weighbridge.evidence.tree import Stored
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.location import printable
from weighbridge.lock import Signed
from weighbridge.records import dataclass
from weighbridge.refusals import ApprovalRevoked, EvidenceError, SignerChanged
from weighbridge.registries.base import Registry
from weighbridge.requirements import Requirements, Unmet
from weighbridge.store import Fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """What was verified of who signed a model, what of it is required and missing, and what is to be said besides.

    `uncovered` are the files that no signature covers, when one is required: nobody may approve them.
    """

    evidence: tuple[Evidence, ...] = ()
    unmet: tuple[Unmet, ...] = ()
    warnings: tuple[str, ...] = ()
    uncovered: tuple[str, ...] = ()


def hear(
    fetched: Fetched, registry: Registry, trust: TrustPolicy, asked: Requirements, *, now: datetime, pinned: bool
) -> Testimony:
    """Return what can be said of who signed an artifact.

    `now` is the time in UTC at which certificates are judged; `pinned` tells whether somebody said which revision is
    meant. Signatures that refer to a manifest are fetched from the `registry`; all others are files of the artifact.

    Raises SourceError when the registry does not answer.
    """
    artifact = fetched.artifact
    if denied := unmet_denied(str(fetched.manifest.digest), trust, where=printable(artifact.pinned)):
        return Testimony(unmet=denied)
    if not trust.rules:
        return Testimony(unmet=_unsigned(artifact.reference, trust) if asked.signature else ())
    try:
        found = _satisfied(fetched, registry, trust, now=now, pinned=pinned)
    except EvidenceError as error:
        return Testimony(unmet=(Unmet(code=error.code, where=error.where, reason=error.reason, fix=error.fix),))
    missing = _unsigned(artifact.reference, trust) if asked.signature and not found.signed else ()
    return Testimony(
        evidence=found.evidence,
        unmet=missing,
        warnings=found.warnings,
        uncovered=found.uncovered if found.signed else (),
    )


def unmet_denied(tree: str, trust: TrustPolicy, *, where: str) -> tuple[Unmet, ...]:
    """Return that a trust policy denies the files with a tree digest, if it does, whatever else it says of them."""
    if not trust.deny.tree(tree):
        return ()
    reason = f"the tree {tree} is on the list of what is denied in {trust.where}"
    return (Unmet(code=ApprovalRevoked.code, where=where, reason=reason, fix="nothing may load this model"),)


def _satisfied(fetched: Fetched, registry: Registry, trust: TrustPolicy, *, now: datetime, pinned: bool) -> Satisfied:
    """Return how an artifact satisfies its rule: by what refers to its manifest, else by signatures among its files."""
    artifact = fetched.artifact
    where = printable(artifact.pinned)
    if artifact.reference.startswith(("oci://", "oci+http://")):
        from weighbridge.registries.oci.registry import OciRegistry

        if isinstance(registry, OciRegistry) and trust.rule_for(artifact.reference).require:
            attached = referrers.collect(registry.repository(artifact), Digest(*artifact.revision.split(":")), where)
            if attached.bundles:
                paths = [entry.path for entry in fetched.manifest.entries]
                return require_attached(attached, artifact.reference, trust, now=now, pinned=pinned, paths=paths)
    contents = Stored(where, fetched.manifest.entries, fetched.paths, fetched.fresh)
    return require(contents, artifact.reference, trust, now=now, pinned=pinned)


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
