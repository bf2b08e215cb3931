"""Chains of X.509 certificates, for signatures of people whom an authority vouches for.

What a certificate must be: within its days; of the subject that the trust policy names, and the very one where it pins
its digest; below the pinned root by a chain of authorities, each marked as one and allowed to sign certificates, no
longer than it may be, and none of them for some subjects alone; meant for signatures (`digitalSignature` in its key
usage) and, where it says what for, for code (`codeSigning` in its extended key usage). At least one of the two must be
there: without either, nothing tells it from the certificate of a web server. Subject alternative names play no part,
nor do lists of revoked certificates: a trust policy denies a certificate by its digest.

Source: RFC 5280 §6, OpenSSF Model Signing 1.0 (certificates). The path is found by `cryptography.x509.verification`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from weighbridge.digest import Digest
from weighbridge.errors import UsageError
from weighbridge.evidence.fingerprints import fingerprints
from weighbridge.evidence.keys import check_kind
from weighbridge.evidence.trust_entries import Root, TrustedSigner, bare
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.refusals import SignatureMalformed, SignerExpired, SignerUntrusted, TrustCorrupt

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.x509 import Certificate
    from cryptography.x509.verification import ExtensionPolicy

MAX_DEPTH: Final = 5  # authorities between the signer and the root
_RENEW: Final = "ask the signer for a signature with a certificate that is valid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a certificate that was verified: subject and issuer as RFC 4514 writes them, and the key."""

    subject: str
    issuer: str
    key: PublicKeyTypes


def verify(
    chain: Sequence[bytes],
    signer: TrustedSigner,
    root: Root,
    denied: Callable[[str], bool],
    *,
    at: datetime,
    where: str,
) -> Holder:
    """Return who holds the first certificate of a chain in DER, when it is the signer's and was valid at a time.

    1. No certificate is denied.
    2. The first one has the subject and the digest that the trust policy names.
    3. It is meant for signing code.
    4. It is valid at the time, and a chain that is valid at the time leads from it to the root.
    5. Its key is of a kind that signs here.

    Raises SignatureMalformed when something is no certificate, SignerUntrusted, SignerExpired, TrustCorrupt when the
    root is not what the policy pins or holds no certificates, TrustStale when it is too old.
    """
    certificates = [_load(raw, where) for raw in chain]
    leaf = certificates[0]
    check_denied(chain, denied, where)  # 1
    _check_subject(leaf, chain[0], signer, where)  # 2
    _check_purpose(leaf, where)  # 3
    _check_path(certificates, _trusted(root, denied, where), root, at, where)  # 4
    key: PublicKeyTypes = leaf.public_key()
    check_kind(key, where)  # 5
    return Holder(subject=subject_of(leaf), issuer=leaf.issuer.rfc4514_string(), key=key)


def check_denied(chain: Sequence[bytes], denied: Callable[[str], bool], where: str) -> None:
    """Raise SignerUntrusted when a certificate of a chain is denied."""
    for digest in (digest for raw in chain for digest in fingerprints(raw)):
        if denied(digest):
            reason = f"the trust policy denies the certificate with sha256 {digest}"
            raise SignerUntrusted(where, reason, "do not use what it signed", actual=digest)


def _trusted(root: Root, denied: Callable[[str], bool], where: str) -> list[Certificate]:
    """Return the certificates of a root without those that are denied."""
    from cryptography.hazmat.primitives.serialization import Encoding

    left = [one for one in load_roots(root) if not any(map(denied, fingerprints(one.public_bytes(Encoding.DER))))]
    if not left:
        reason = f"the trust policy denies every certificate of root {root.name!r}"
        raise SignerUntrusted(where, reason, "do not use what is signed below it")
    return left


def load_roots(root: Root) -> list[Certificate]:
    """Return the certificates of a root of type x509; raise TrustCorrupt when they are not what is pinned."""
    raw, where = root.read(), printable(str(root.path))
    try:
        return load_pem(raw, where)
    except UsageError as error:
        raise TrustCorrupt(where, "no certificates in PEM", f"correct root {root.name!r}") from error


def load_pem(raw: bytes, where: str) -> list[Certificate]:
    """Return the certificates of a text in PEM; raise UsageError when there is none or one is malformed."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(raw)
    except ValueError as error:
        raise UsageError(f"{where}: no certificates in PEM: {error}") from error


def subject_of(certificate: Certificate) -> str:
    """Return the subject of a certificate as text of RFC 4514, the common name first as a rule."""
    return certificate.subject.rfc4514_string()


def _load(raw: bytes, where: str) -> Certificate:
    from cryptography.x509 import load_der_x509_certificate

    try:
        certificate = load_der_x509_certificate(raw)
        # Names, extensions and keys are parsed when they are asked for, and may be malformed then.
        _ = certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key()
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except _foreign() as error:
        raise SignatureMalformed(where, f"not an X.509 certificate: {error}") from error
    return certificate


def _foreign() -> tuple[type[Exception], ...]:
    """Return what cryptography raises for certificates that are malformed or of a kind that it does not know."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509 import DuplicateExtension, InvalidVersion

    return ValueError, TypeError, UnsupportedAlgorithm, DuplicateExtension, InvalidVersion


def _check_subject(leaf: Certificate, raw: bytes, signer: TrustedSigner, where: str) -> None:
    actual = subject_of(leaf)
    if actual != signer.subject:
        reason = f"signed by {printable(actual)!r}, and {signer.name!r} of the trust policy is {signer.subject!r}"
        fix = "if that is who should sign, name the subject in the trust policy"
        raise SignerUntrusted(where, reason, fix, actual=actual, expected=signer.subject)
    digest = Digest.of(raw).value
    if signer.cert_sha256 and digest != bare(signer.cert_sha256):
        reason = f"the certificate has sha256 {digest}, {signer.name!r} pins {bare(signer.cert_sha256)}"
        fix = "if the signer renewed it, pin the new one after asking them"
        raise SignerUntrusted(where, reason, fix, actual=digest, expected=bare(signer.cert_sha256))


def _check_purpose(leaf: Certificate, where: str) -> None:
    """Refuse a certificate that does not say what it is for; what it says is looked at with the path."""
    from cryptography.x509 import ExtendedKeyUsage, KeyUsage

    if not any(isinstance(one.value, KeyUsage | ExtendedKeyUsage) for one in leaf.extensions):
        reason = f"the certificate of {printable(subject_of(leaf))!r} has neither keyUsage nor extendedKeyUsage"
        raise SignerUntrusted(where, reason, "sign with a certificate for code signing", actual=subject_of(leaf))


def _check_path(chain: list[Certificate], roots: list[Certificate], root: Root, at: datetime, where: str) -> None:
    """Refuse a chain that does not lead to a root, and say whether time alone is to blame."""
    problem = _problem(chain, roots, at)
    if not problem:
        return
    issuers = {one.issuer for one in chain}
    involved = [*chain, *(one for one in roots if one.subject in issuers)]
    late = next((one for one in involved if not one.not_valid_before_utc <= at <= one.not_valid_after_utc), None)
    if late is not None and _held_once(chain, roots, involved):
        days = f"{late.not_valid_before_utc:%Y-%m-%d} to {late.not_valid_after_utc:%Y-%m-%d}"
        reason = (
            f"the certificate of {printable(subject_of(late))!r} is valid from {days}, not at {at:%Y-%m-%d %H:%M} UTC"
        )
        raise SignerExpired(where, reason, _RENEW)
    actual = subject_of(chain[0])
    reason = f"no chain leads from {printable(actual)!r} to root {root.name!r}: {printable(problem)}"
    fix = f"ask for a signature below that root, or correct {printable(str(root.path))}"
    raise SignerUntrusted(where, reason, fix, actual=actual)


def _held_once(chain: list[Certificate], roots: list[Certificate], involved: list[Certificate]) -> bool:
    """Tell whether the chain leads to a root at some time; if so, then when the last of its certificates has begun."""
    moments = {one.not_valid_before_utc for one in involved}
    return any(not _problem(chain, roots, moment) for moment in moments)


def _problem(chain: list[Certificate], roots: list[Certificate], at: datetime) -> str:
    """Return why no path leads from the first certificate to a root at a time, nothing when one does."""
    from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

    authority, end = _extension_policies()
    verifier = (
        PolicyBuilder()
        .store(Store(roots))
        .time(at)
        .max_chain_depth(MAX_DEPTH)
        .extension_policies(ca_policy=authority, ee_policy=end)
        .build_client_verifier()
    )
    try:
        verifier.verify(chain[0], chain[1:])
    except VerificationError as error:
        return _said(error)
    except _foreign() as error:
        return f"a malformed certificate: {error}"
    return ""


def _said(error: Exception) -> str:
    """Return the part of cryptography's message that is about the certificates."""
    text = str(error).partition(" (encountered")[0]
    for noise in ("validation failed: ", "candidates exhausted: ", "Python extension validator failed: ValueError: "):
        text = text.removeprefix(noise)
    return "nothing in the bundle or the root issued it" if text.startswith("all candidates exhausted") else text


def _extension_policies() -> tuple[ExtensionPolicy, ExtensionPolicy]:
    """Return what extensions of authorities and of signers must say; those of the web ask for host names."""
    from cryptography.x509 import BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints
    from cryptography.x509.verification import Criticality, ExtensionPolicy

    anyhow = Criticality.AGNOSTIC
    authority = (
        ExtensionPolicy.permit_all()
        .require_present(BasicConstraints, anyhow, _is_authority)
        .may_be_present(KeyUsage, anyhow, _signs_certificates)
        .may_be_present(ExtendedKeyUsage, anyhow, _for_code)
        .may_be_present(NameConstraints, anyhow, _names_any_subject)
    )
    end = (
        ExtensionPolicy.permit_all()
        .may_be_present(BasicConstraints, anyhow, _is_no_authority)
        .may_be_present(KeyUsage, anyhow, _signs_data)
        .may_be_present(ExtendedKeyUsage, anyhow, _for_code)
    )
    return authority, end


# cryptography calls these with its policy, the certificate and the value of the extension, None when it is not there.
def _is_authority(_policy: Any, _certificate: Any, value: Any) -> None:
    if not value.ca:
        raise ValueError("an issuer is no certificate authority")


def _is_no_authority(_policy: Any, _certificate: Any, value: Any) -> None:
    if value is not None and value.ca:
        raise ValueError("the certificate is that of an authority")


def _signs_certificates(_policy: Any, _certificate: Any, value: Any) -> None:
    if value is not None and not value.key_cert_sign:
        raise ValueError("the keyUsage of an issuer lacks keyCertSign")


def _names_any_subject(_policy: Any, _certificate: Any, value: Any) -> None:
    """Refuse an authority that is limited to some subjects: cryptography passes over that unless it is critical."""
    from cryptography.x509 import DirectoryName

    names = [] if value is None else [*(value.permitted_subtrees or ()), *(value.excluded_subtrees or ())]
    if any(isinstance(one, DirectoryName) for one in names):
        raise ValueError("the nameConstraints of an issuer limit its subjects, which is not understood")


def _signs_data(_policy: Any, _certificate: Any, value: Any) -> None:
    if value is not None and not value.digital_signature:
        raise ValueError("keyUsage lacks digitalSignature")


def _for_code(_policy: Any, _certificate: Any, value: Any) -> None:
    from cryptography.x509.oid import ExtendedKeyUsageOID

    if value is not None and ExtendedKeyUsageOID.CODE_SIGNING not in value:
        raise ValueError("extendedKeyUsage lacks codeSigning")
