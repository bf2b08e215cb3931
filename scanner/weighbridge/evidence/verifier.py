"""One bundle held against one signer of the trust policy, and several against a rule.

What a bundle says of itself decides nothing: the trust policy names the method, and a bundle of another is refused, so
that nobody can get by a demand for a keyless signature with a key of their own.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from weighbridge.evidence import dsse, keys
from weighbridge.evidence.base import Method, Signature
from weighbridge.evidence.bundle import Bundle
from weighbridge.evidence.dsse import Envelope
from weighbridge.evidence.trust_policy import Expired, Missing, Root, SourceRule, TrustedSigner, TrustPolicy, bare
from weighbridge.location import printable
from weighbridge.records import replace
from weighbridge.refusals import (
    EvidenceError,
    SignatureInvalid,
    SignatureMalformed,
    SignatureMethod,
    SignatureMissing,
    SignatureUnsupported,
    SignerExpired,
    SignerUntrusted,
    TrustCorrupt,
    TrustStale,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from weighbridge.evidence.trusted_root import TrustedRoot

# A model with more signature files than this is refused: each may cost a chain of certificates to verify.
MAX_BUNDLES: Final = 64
_SHA256: Final = "SHA2_256"  # as bundles name it
_MAX_HINT: Final = 64  # characters of it that are shown: the digits of a sha256
_MAX_KEY: Final = 1 << 20  # bytes; the public half of RSA 16384 takes 3 kB


def verify(bundle: Bundle, signer: TrustedSigner, trust: TrustPolicy, *, now: datetime, where: str = "") -> Signature:
    """Return what is signed in a bundle, when it is signed by that signer.

    `now` has a time zone; `where` names the bundle in errors, by default as it was read.

    Raises SignatureMethod when it is signed in another way than the trust policy says, SignatureInvalid when
    cryptography says no, SignerUntrusted when it is signed by somebody else, SignerExpired, TrustStale, TrustCorrupt,
    SignatureMalformed and SignatureUnsupported.
    """
    where = where or bundle.where
    if signer.method not in bundle.methods:
        reason = f"is signed with {' or '.join(sorted(bundle.methods))}, and {signer.name!r} signs with {signer.method}"
        raise SignatureMethod(where, reason, f"ask {signer.name!r} for a signature, or correct the trust policy")
    if signer.method is Method.SIGSTORE:
        return _keyless(bundle, signer, trust, now, where)
    if signer.method is Method.CERTIFICATE:
        return _with_certificate(bundle, signer, trust, now, where)
    return _with_key(bundle, signer, now, where)


def verify_any(
    bundles: Sequence[Bundle], rule: SourceRule, trust: TrustPolicy, *, now: datetime, where: str
) -> tuple[Signature, ...]:
    """Return signatures of as many different signers as a rule needs, in the order of its `require`.

    Each has a payload of its own, and the caller must hold every one of them against the files. Bundles of others are
    passed over as long as there are enough; when there are none at all, and the rule does not deny that, nothing is
    returned.

    Raises SignatureMissing, and what `verify` does: of the refusals, that which came furthest.
    """
    if not bundles and (rule.needed == 0 or rule.missing is not Missing.DENY):
        return ()
    if len(bundles) > MAX_BUNDLES:
        raise SignatureMalformed(where, f"{len(bundles)} files of signatures; at most {MAX_BUNDLES} are looked at")
    found: dict[str, Signature] = {}
    refusals: list[EvidenceError] = []
    for bundle in bundles:
        _try(bundle, [trust.signers[name] for name in rule.require if name not in found], trust, now, found, refusals)
    signatures = tuple(found[name] for name in rule.require if name in found)
    if _people(signatures) >= rule.needed:
        return signatures
    if refusals:
        raise min(refusals, key=_distance)
    raise SignatureMissing(where, _lack(rule, signatures), f"ask for their signatures, as {_files(rule)}")


def _people(signatures: Iterable[Signature]) -> int:
    """Return how many different people signed: those with one identity, or with one key, are the same."""
    people: list[set[tuple[str, ...]]] = []
    for one in signatures:
        marks: set[tuple[str, ...]] = {(one.method, one.identity, one.issuer), (one.key,)}
        same = [known for known in people if known & marks]
        people = [known for known in people if not known & marks] + [marks.union(*same)]
    return len(people)


def _try(
    bundle: Bundle,
    signers: Iterable[TrustedSigner],
    trust: TrustPolicy,
    now: datetime,
    found: dict[str, Signature],
    refusals: list[EvidenceError],
) -> None:
    """Put the signature of the first signer who made it into `found`, else the refusals."""
    failed: list[EvidenceError] = []
    for signer in signers:
        try:
            found[signer.name] = verify(bundle, signer, trust, now=now)
        except EvidenceError as error:
            failed.append(error)
        else:
            return
    refusals += failed


# What stands further to the front says more about why a signature that somebody relies on is refused.
_ORDER: Final[tuple[type[EvidenceError], ...]] = (
    TrustCorrupt,
    TrustStale,
    SignerExpired,
    SignatureMalformed,
    SignatureUnsupported,
    SignerUntrusted,
    SignatureInvalid,
    SignatureMethod,
)


def _distance(refusal: EvidenceError) -> int:
    return _ORDER.index(type(refusal)) if type(refusal) in _ORDER else len(_ORDER)


def _lack(rule: SourceRule, signatures: tuple[Signature, ...]) -> str:
    required = ", ".join(rule.require)
    if not signatures:
        return f"no signature, and {required if len(rule.require) == 1 else f'{rule.needed} of {required}'} must sign"
    signed = ", ".join(one.who for one in signatures)
    return f"signed by {signed}, and {rule.needed} different ones of {required} must sign"


def _files(rule: SourceRule) -> str:
    return " or ".join(rule.signature_files)


def _with_key(bundle: Bundle, signer: TrustedSigner, now: datetime, where: str) -> Signature:
    """Verify with a key; that it may be used is asked first, because a signature has no time of its own."""
    key = trusted_key(signer)
    signer.check_days(now, where)
    try:
        _check_signed(bundle, key, where)
    except SignatureInvalid as error:
        reason = f"not signed with the key of {signer.name!r}, {keys.key_digest(key)}"
        raise SignatureInvalid(where, reason, _told(bundle, key), step=error.step) from error
    return _signature(bundle, signer, key, identity=str(keys.key_digest(key)))


def _told(bundle: Bundle, key: PublicKeyTypes) -> str:
    """Return what to make of a signature that is not the key's, by what the bundle says; that is not signed itself."""
    from weighbridge.evidence.signers import key_hint

    digest = bytes.fromhex(keys.key_digest(key).value)
    if bundle.hint and bundle.hint not in (key_hint(key), base64.b64encode(digest).decode("ascii")):
        return f"the bundle says that another key signed ({printable(bundle.hint[:_MAX_HINT])}); ask whose that is"
    return "the file or the signature was altered; fetch both again, or ask for a new signature"


def trusted_key(signer: TrustedSigner) -> PublicKeyTypes:
    """Return the public key of a signer of method key; raise TrustCorrupt when it is not the one that is pinned."""
    place = printable(str(signer.path))
    try:
        with signer.path.open("rb") as file:
            pem = file.read(_MAX_KEY)
        key = keys.load_public(pem, place)
    except OSError as error:
        fix = f"put the public key of {signer.name!r} there, or correct its path in the trust policy"
        raise TrustCorrupt(place, f"cannot be read: {error.strerror}", fix) from error
    except SignatureUnsupported as error:
        raise TrustCorrupt(place, error.reason, f"put the public key of {signer.name!r} there") from error
    found = keys.key_digest(key).value
    if found != bare(signer.sha256_spki):
        reason = f"the key has sha256_spki {found}, {signer.name!r} pins {bare(signer.sha256_spki)}"
        raise TrustCorrupt(place, reason, "restore the file; if the signer has a new key, pin it after asking them")
    return key


def _with_certificate(
    bundle: Bundle, signer: TrustedSigner, trust: TrustPolicy, now: datetime, where: str
) -> Signature:
    """Verify with a chain of certificates, valid now, or at a time that a trusted authority has put a stamp on."""
    from weighbridge.evidence import certificates

    root = trust.roots[signer.root]
    root.check_age(now)
    stamped = _stamped(bundle, signer, trust, now, where) if signer.expired is Expired.ACCEPT_WITH_TSA else None
    holder = certificates.verify(
        bundle.certificates, signer, root, trust.deny.certificate, at=stamped or now, where=where
    )
    _check_signed(bundle, holder.key, where)
    return _signature(bundle, signer, holder.key, identity=holder.subject, issuer=holder.issuer, signed_at=stamped)


def _stamped(bundle: Bundle, signer: TrustedSigner, trust: TrustPolicy, now: datetime, where: str) -> datetime | None:
    """Return the time that an authority of the signer's `timestamp_root` vouches for, None without a timestamp."""
    from weighbridge.evidence import timestamps

    stamps = timestamps.read(bundle.material, where)
    if not stamps:
        return None
    authorities = _authorities(trust.roots[signer.timestamp_root], trust, now)
    return timestamps.verify(stamps, bundle.content.signature, authorities, where)


def _authorities(root: Root, trust: TrustPolicy, now: datetime) -> TrustedRoot:
    """Return an instance of sigstore without the authorities that are denied; raise TrustStale or TrustCorrupt."""
    from weighbridge.evidence import trusted_root

    root.check_age(now)
    found = trusted_root.parse(root.read(), printable(str(root.path)))
    return trusted_root.without(found, trust.deny.certificate) if trust.deny.cert_sha256 else found


def _keyless(bundle: Bundle, signer: TrustedSigner, trust: TrustPolicy, now: datetime, where: str) -> Signature:
    """Verify through sigstore, which is imported for such bundles alone."""
    from weighbridge.evidence import certificates, keyless

    authorities = _authorities(trust.roots[signer.root], trust, now)
    certificates.check_denied(bundle.certificates, trust.deny.certificate, where)
    return keyless.verify(replace(bundle, where=where), signer, authorities)


def _check_signed(bundle: Bundle, key: PublicKeyTypes, where: str) -> None:
    """Raise SignatureInvalid unless the bundle is signed by the key."""
    content = bundle.content
    if isinstance(content, Envelope):
        dsse.verify(content, key, where)
        return
    if content.algorithm != _SHA256:
        raise SignatureUnsupported(where, f"a file's digest by {content.algorithm!a}; {_SHA256} is understood")
    keys.check_sha256(key, content.signature, content.digest, where)


def _signature(
    bundle: Bundle,
    signer: TrustedSigner,
    key: PublicKeyTypes,
    *,
    identity: str,
    issuer: str = "",
    signed_at: datetime | None = None,
) -> Signature:
    content = bundle.content
    return Signature(
        method=signer.method,
        signer=signer.name,
        identity=identity,
        issuer=issuer,
        key=str(keys.key_digest(key)),
        signed_at=signed_at,
        payload_type=content.payload_type if isinstance(content, Envelope) else "",
        payload=content.payload if isinstance(content, Envelope) else content.digest,
        bundle=bundle.digest,
    )
