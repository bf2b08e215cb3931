"""Signatures and attestations of cosign 3 on what an OCI registry keeps: bundles in manifests that refer to it.

A manifest names its layers by digest, so whoever signed the digest of a manifest signed the whole model, and none of
its layers has to be fetched to tell. What a registry lists as a referrer is a claim until its own manifest names the
subject; the type that the list gives is not looked at, for cosign 2.5 wrote a wrong one. Everything that refers to the
subject is therefore fetched, within limits, as cosign does it.

`OciRegistry.repository` gives a `Repository`. A command that verifies a reference to a registry does

    attached = referrers.collect(registry.repository(artifact), revision, where)
    evidence = referrers.signatures(attached, trust.rule_for(artifact.reference), trust, now=now)

where `revision` is the `Digest` of the artifact's manifest.

Source: https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md, and what cosign 3.0 and 3.1 write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, runtime_checkable

from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UnavailableError
from weighbridge.evidence import bundle, statement, verifier
from weighbridge.evidence.base import Evidence, Signature
from weighbridge.evidence.bundle import Bundle
from weighbridge.evidence.dsse import IN_TOTO, Envelope
from weighbridge.evidence.statement import Statement
from weighbridge.evidence.trust_entries import Missing, SourceRule
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.refusals import SignatureMalformed, SignatureMissing, SignatureUnsupported

SIGN: Final = "https://sigstore.dev/cosign/sign/v1"
FORMAT: Final = "cosign"

MAX_REFERRERS: Final = 128  # manifests that are fetched; each takes a request, and models have a handful
MAX_BUNDLE: Final = 16 << 20  # bytes; an attestation may hold a bill of materials
MAX_BYTES: Final = 64 << 20  # of all bundles together, which are held in memory

_BUNDLE: Final = "application/vnd.dev.sigstore.bundle"
# Signatures of other kinds, which are told of and not understood, by the beginning of a media type.
_OTHERS: Final = {
    "application/vnd.dev.cosign.simplesigning": "a signature of cosign before version 3",
    "application/jose": "a signature of Notary",
    "application/cose": "a signature of Notary",
}


class Described(Protocol):
    """What a manifest says of a blob, or a list of another manifest."""

    @property
    def media_type(self) -> str: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


@runtime_checkable
class Manifest(Protocol):
    """A manifest with layers, and what it refers to; an index has neither."""

    @property
    def layers(self) -> Sequence[Described]: ...  # noqa: D102
    @property
    def subject(self) -> Described | None: ...  # noqa: D102


class Repository(Protocol):
    """One repository of a registry. What it returns has the digest that was asked for; it raises SourceError else."""

    def referrers(self, digest: str) -> Sequence[Described]:
        """Return the manifests that say to refer to a digest."""

    def manifest(self, asked: str, size: int | None = None) -> object:
        """Return what is under a digest."""

    def blob(self, blob: Any, *, limit: int) -> bytes:
        """Return a blob whole that one of its manifests describes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """The bundles that refer to a manifest, none of them verified.

    `where` names the manifest in errors; `passed` says what else refers to it as a signature and why it does not count.
    """

    where: str
    subject: Digest
    bundles: tuple[Bundle, ...]
    passed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """A statement about a manifest, and the evidence that somebody of the trust policy made it."""

    evidence: Evidence
    statement: Statement


def collect(repository: Repository, subject: Digest, where: str) -> Attached:
    """Return the bundles that refer to a manifest in a repository.

    A referrer that cannot be read is passed over: it makes the evidence less, never more. Raises SignatureMalformed
    when there are more of them than are looked at, UnavailableError when the registry does not answer.
    """
    listed = repository.referrers(str(subject))
    if len(listed) > MAX_REFERRERS:
        raise SignatureMalformed(where, f"{len(listed)} manifests refer to it, limit is {MAX_REFERRERS}")
    bundles: list[Bundle] = []
    passed: list[str] = []
    for one in listed:
        try:
            found = _read(repository, one, subject, sum(len(known.raw) for known in bundles))
        except UnavailableError:
            raise
        except (SourceError, SignatureMalformed, SignatureUnsupported) as error:
            passed.append(str(error))
            continue
        if isinstance(found, Bundle):
            bundles.append(found)
        elif found:
            passed.append(f"{one.digest}: {found}")
    return Attached(where=where, subject=subject, bundles=tuple(bundles), passed=tuple(passed))


def signatures(attached: Attached, rule: SourceRule, trust: TrustPolicy, *, now: datetime) -> tuple[Evidence, ...]:
    """Return the signatures on a manifest by as many different signers as a rule requires, in the rule's order.

    Nothing is returned when there is none and the rule lets that pass. Raises SignatureMissing, and what
    `verifier.verify` raises when nobody signed whom the rule requires.
    """
    made = [one.evidence for one in _verified(attached, SIGN, rule, trust, now)]
    if not made and rule.missing is Missing.DENY:
        raise _missing(attached, rule)
    return tuple(made)


def attestations(
    attached: Attached, predicate_type: str, rule: SourceRule, trust: TrustPolicy, *, now: datetime
) -> tuple[Attestation, ...]:
    """Return the statements about a manifest with a type of predicate, one for each signer that a rule requires.

    Raises as `signatures` does.
    """
    made = _verified(attached, predicate_type, rule, trust, now)
    if not made and rule.missing is Missing.DENY:
        raise _missing(attached, rule)
    return made


def _read(repository: Repository, listed: Described, subject: Digest, held: int) -> Bundle | str:
    """Return the bundle in a referrer, else why a signature in it is passed over, nothing for what is none."""
    manifest = repository.manifest(listed.digest, listed.size)
    if not isinstance(manifest, Manifest) or manifest.subject is None or manifest.subject.digest != str(subject):
        return ""
    for layer in manifest.layers:
        for kind, what in _OTHERS.items():
            if layer.media_type.startswith(kind):
                return f"{what}, which is not understood"
    bundled = [layer for layer in manifest.layers if layer.media_type.startswith(_BUNDLE)]
    if not bundled:
        return ""
    if len(manifest.layers) != 1:
        return f"{len(manifest.layers)} layers, where a bundle stands alone"
    (layer,) = bundled
    if layer.size > MAX_BUNDLE or held + layer.size > MAX_BYTES:
        return f"a bundle of {layer.size} bytes, limit is {MAX_BUNDLE}, and {MAX_BYTES} for all together"
    return bundle.parse(repository.blob(layer, limit=MAX_BUNDLE), f"{listed.digest}")


def _verified(
    attached: Attached, predicate_type: str, rule: SourceRule, trust: TrustPolicy, now: datetime
) -> tuple[Attestation, ...]:
    """Return the statements of a type about the manifest that are signed as the rule requires.

    Bundles are chosen by what they hold before anything is verified, because a signer's statement about another model,
    or of another kind, must not stand in the way of the right one. The payload that is verified is the one that was
    looked at.
    """
    chosen = [one for one in attached.bundles if _stated(one, attached.subject, predicate_type) is not None]
    if not chosen:
        return ()
    made = verifier.verify_any(chosen, rule, trust, now=now, where=attached.where)
    return tuple(_attestation(one, attached) for one in made)


def _stated(found: Bundle, subject: Digest, predicate_type: str) -> Statement | None:
    """Return the statement in a bundle if it is of that type and about the subject."""
    content = found.content
    if not isinstance(content, Envelope) or content.payload_type != IN_TOTO:
        return None
    try:
        stated = statement.parse(content.payload, content.payload_type, found.where)
    except (SignatureMalformed, SignatureUnsupported):
        return None
    about = any(one.digests.get("sha256") == subject.value for one in stated.subjects)
    return stated if about and stated.predicate_type == predicate_type else None


def _attestation(made: Signature, attached: Attached) -> Attestation:
    stated = statement.parse(made.payload, made.payload_type, attached.where)
    evidence = Evidence(
        kind="signature" if stated.predicate_type == SIGN else "attestation",
        format=FORMAT,
        subject=attached.subject,
        signature=made,
        predicate_type=stated.predicate_type,
    )
    return Attestation(evidence=evidence, statement=stated)


def _missing(attached: Attached, rule: SourceRule) -> SignatureMissing:
    required = " or ".join(map(printable, rule.require))
    return SignatureMissing(
        attached.where,
        f"{len(attached.bundles)} bundles refer to it, none with what {required} must sign{_also(attached.passed)}",
        "ask the publisher to sign it with cosign 3",
    )


def _also(passed: Iterable[str]) -> str:
    shown = "; ".join(passed)
    return f"; passed over: {shown[:400]}" if shown else ""
