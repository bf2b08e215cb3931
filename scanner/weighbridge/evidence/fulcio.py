"""The certificates of keyless signatures: whose they say to be, and whether that is a signer of the trust policy.

Sources: https://github.com/sigstore/fulcio/blob/main/docs/certificate-specification.md and oid-info.md beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from weighbridge.evidence import patterns
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.refusals import SignatureMalformed, SignatureUnsupported, SignerUntrusted

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, ExtensionType, GeneralName

    from weighbridge.evidence.trust_entries import TrustedSigner

    E = TypeVar("E", bound=ExtensionType)

_ARC: Final = "1.3.6.1.4.1.57264.1"
_OLD_ISSUER, _USER_NAME, _ISSUER, _REPOSITORY, _REF = 1, 7, 8, 12, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a certificate says of who signed; `repository` and `ref` are empty for people."""

    identity: str
    issuer: str
    repository: str = ""
    ref: str = ""

    @property
    def who(self) -> str:
        """The identity and its issuer as errors name them."""
        said = f"{self.identity}, issuer {self.issuer}"
        return printable(f"{said}, repository {self.repository}, ref {self.ref}" if self.repository else said)


def load(der: bytes, where: str) -> Certificate:
    """Return the certificate in `der`, if it has the profile of those that sign.

    Raises SignatureMalformed when it is none, SignatureUnsupported for a kind of key that does not sign keyless, and
    SignerUntrusted for a certificate that was issued for something else than signing.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        certificate = x509.load_der_x509_certificate(der)
        usage = _extension(certificate, x509.KeyUsage)
        purposes = _extension(certificate, x509.ExtendedKeyUsage)
        key = certificate.public_key()
    except UnsupportedAlgorithm as error:
        raise SignatureUnsupported(where, f"the key of the certificate: {error}") from error
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion) as error:
        raise SignatureMalformed(where, f"the certificate cannot be read: {error}") from error
    if usage is None or not usage.digital_signature or usage.key_cert_sign:
        raise SignerUntrusted(where, "the certificate is not for signatures", "sign with a certificate of sigstore's")
    if purposes is None or ExtendedKeyUsageOID.CODE_SIGNING not in purposes:
        raise SignerUntrusted(where, "the certificate is not for signing code", "sign with a certificate of sigstore's")
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SignatureUnsupported(where, f"a keyless signature by a {type(key).__name__}; ECDSA is understood")
    return certificate


def claims(certificate: Certificate, where: str) -> Claims:
    """Return what a certificate says.

    Raises SignerUntrusted unless it names one identity and one issuer: of several, each reader may take another.
    """
    from cryptography import x509

    try:
        names = _extension(certificate, x509.SubjectAlternativeName)
        found = [_name(one) for one in names] if names is not None else []
        issuers = {_text(certificate, _ISSUER), _raw_issuer(certificate)} - {""}
        repository, ref = _text(certificate, _REPOSITORY), _text(certificate, _REF)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise SignatureMalformed(where, f"the certificate cannot be read: {error}") from error
    if len(found) != 1 or not found[0]:
        raise SignerUntrusted(where, f"the certificate names {len(found)} identities", "sign again with one identity")
    if len(issuers) != 1:
        raise SignerUntrusted(where, f"the certificate names {len(issuers)} issuers", "sign again with one issuer")
    return Claims(identity=found[0], issuer=issuers.pop(), repository=repository, ref=ref)


def check(found: Claims, wanted: TrustedSigner, where: str) -> None:
    """Raise SignerUntrusted unless the claims are those of a signer of the trust policy; the issuer always counts."""
    if found.issuer == wanted.issuer and wanted.issuer and _is(found, wanted):
        return
    expected = describe(wanted)
    raise SignerUntrusted(
        where,
        f"signed by {found.who}; {printable(wanted.name)!r} is {expected}",
        "ask the publisher who signs, or correct the signer in the trust policy",
        actual=found.who,
        expected=expected,
    )


def describe(wanted: TrustedSigner) -> str:
    """Return whom a signer of the trust policy means, as errors name them."""
    whom = wanted.identity or wanted.identity_glob
    if not whom:
        whom = f"{wanted.workflow} of repository {wanted.source_repository}, ref {wanted.ref}"
    return printable(f"{whom}, issuer {wanted.issuer}")


def _is(found: Claims, wanted: TrustedSigner) -> bool:
    """Compare what the signer names. A workflow's identity is its repository, its path and the ref that ran."""
    if wanted.identity:
        return found.identity == wanted.identity
    if wanted.identity_glob:
        return patterns.matches(wanted.identity_glob, found.identity)
    return (
        bool(wanted.source_repository and wanted.workflow and wanted.ref)
        and found.repository == wanted.source_repository
        and patterns.matches(wanted.ref, found.ref)
        and found.identity == f"{wanted.source_repository}/{wanted.workflow}@{found.ref}"
    )


def _extension(certificate: Certificate, kind: type[E]) -> E | None:
    """Return the extension of a kind, None when there is none."""
    from cryptography.x509 import ExtensionNotFound

    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except ExtensionNotFound:
        return None


def _name(name: GeneralName) -> str:
    """Return the text of a name: of a person, a URI, or a user name in the form that Fulcio has for it."""
    from cryptography import x509

    match name:
        case x509.RFC822Name(value=value) | x509.UniformResourceIdentifier(value=value):
            return value
        case x509.OtherName(type_id=kind, value=value) if kind.dotted_string == f"{_ARC}.{_USER_NAME}":
            return _decode(value)
    return ""


def _text(certificate: Certificate, number: int) -> str:
    """Return the text of an extension of Fulcio's, empty without one; raise ValueError when it is no text."""
    raw = _raw(certificate, number)
    return _decode(raw) if raw else ""


def _raw_issuer(certificate: Certificate) -> str:
    """Return the issuer of the old extension, which is not wrapped in DER."""
    return _raw(certificate, _OLD_ISSUER).decode("utf-8")


def _raw(certificate: Certificate, number: int) -> bytes:
    from cryptography import x509

    try:
        value = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(f"{_ARC}.{number}")).value
    except x509.ExtensionNotFound:
        return b""
    return value.value if isinstance(value, x509.UnrecognizedExtension) else b""


def _decode(der: bytes) -> str:
    from cryptography.hazmat import asn1

    return asn1.decode_der(str, der)
