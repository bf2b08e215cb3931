"""The certificate authority and its certificate log: short-lived certificates with a signed certificate timestamp.

Sources: https://github.com/sigstore/fulcio/blob/main/docs/certificate-specification.md (profile), oid-info.md beside it
(claims), RFC 6962 section 3.2 (signed certificate timestamps).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from servers.fake_sigstore.defects import Defect

LIFETIME = timedelta(minutes=10)
FULCIO = "1.3.6.1.4.1.57264.1"
SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")

_STRANGER = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def spki(key: PublicKey | ed25519.Ed25519PublicKey) -> bytes:
    """Return the DER of a public key."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def log_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the identifier of a log with a key (RFC 6962)."""
    return hashlib.sha256(spki(key.public_key())).digest()


def der(tag: int, body: bytes) -> bytes:
    """Return a DER value of fewer than 65536 bytes."""
    size = len(body)
    length = bytes([size]) if size < 0x80 else b"\x81%c" % size if size < 0x100 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + body


def key_usage(*, signs: bool, certifies: bool) -> x509.KeyUsage:
    """Return a key usage; one that allows neither agrees on keys."""
    return x509.KeyUsage(signs, False, False, False, not (signs or certifies), certifies, certifies, False, False)


def ca_certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    born: datetime,
    *,
    depth: int,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None,
) -> x509.Certificate:
    """Return the certificate of an authority, signed by itself unless an issuer is given."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signing = issuer[1] if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(born)
        .not_valid_after(born + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
        .add_extension(key_usage(signs=False, certifies=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )
    return builder.sign(signing, SHA384())


class Authority:
    """A root, an intermediate and a certificate log, each with a key of its own."""

    def __init__(self, born: datetime) -> None:
        root_key = ec.generate_private_key(ec.SECP384R1())
        self._key = ec.generate_private_key(ec.SECP384R1())
        self.root = ca_certificate("fake root", root_key, born, depth=1)
        self.intermediate = ca_certificate("fake intermediate", self._key, born, depth=0, issuer=(self.root, root_key))
        self.log_key = ec.generate_private_key(ec.SECP256R1())

    def issue(
        self,
        key: PublicKey,
        identity: str,
        issuer: str,
        now: datetime,
        claims: Mapping[int, str],
        defect: Defect | None = None,
    ) -> x509.Certificate:
        """Return a certificate for a key and an identity; `claims` are texts by the last number of their OID."""
        named = _STRANGER if defect is Defect.UNKNOWN_CA else self.intermediate.subject
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = _leaf(key, _start(now, defect)).issuer_name(named).add_extension(above, critical=False)
        for extension, critical in _usages(defect):
            builder = builder.add_extension(extension, critical)
        for name in _names(identity, defect):
            builder = builder.add_extension(name, critical=True)
        for number, value in _claims(issuer, claims, defect):
            oid = x509.ObjectIdentifier(f"{FULCIO}.{number}")
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
        return self._signed(builder, now, defect)

    def _signed(self, builder: x509.CertificateBuilder, now: datetime, defect: Defect | None) -> x509.Certificate:
        """Return the certificate with its timestamps, which cover it as it is without them."""
        forged = defect in (Defect.FORGED_CA, Defect.UNKNOWN_CA)
        signing = ec.generate_private_key(ec.SECP384R1()) if forged else self._key
        if defect is Defect.NO_SCT:
            return builder.sign(signing, SHA384())
        covered = builder.sign(signing, SHA384()).tbs_certificate_bytes
        if defect is Defect.SCT_OTHER_CERTIFICATE:
            covered = self.root.tbs_certificate_bytes
        scts = [self._timestamp(covered, now, defect)]
        if defect is Defect.TWO_SCTS:
            scts.append(self._timestamp(covered, now + timedelta(seconds=1), defect))
        listed = b"".join(struct.pack("!H", len(sct)) + sct for sct in scts)
        value = der(0x04, struct.pack("!H", len(listed)) + listed)
        builder = builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, value), critical=False)
        return builder.sign(signing, SHA384())

    def _timestamp(self, covered: bytes, now: datetime, defect: Defect | None) -> bytes:
        """Return a signed certificate timestamp over the TBS bytes of a precertificate."""
        moment = int(now.timestamp() * 1000)
        key_hash = hashlib.sha256(spki(self._key.public_key())).digest()
        size = len(covered).to_bytes(3, "big")
        signed = struct.pack("!BBQH", 0, 0, moment, 1) + key_hash + size + covered + struct.pack("!H", 0)
        key = ec.generate_private_key(ec.SECP256R1()) if defect is Defect.SCT_OTHER_KEY else self.log_key
        signature = key.sign(signed, ec.ECDSA(SHA256()))
        head = struct.pack("!B32sQH", 0, log_id(self.log_key), moment, 0)
        return head + struct.pack("!BBH", 4, 3, len(signature)) + signature  # SHA-256, ECDSA


def _leaf(key: PublicKey, start: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _start(now: datetime, defect: Defect | None) -> datetime:
    match defect:
        case Defect.EXPIRED:
            return now - timedelta(hours=1)
        case Defect.NOT_YET_VALID:
            return now + timedelta(hours=1)
    return now - timedelta(seconds=30)


def _usages(defect: Defect | None) -> list[tuple[x509.ExtensionType, bool]]:
    is_ca = defect is Defect.IS_CA
    signs = defect is not Defect.NO_DIGITAL_SIGNATURE
    usages: list[tuple[x509.ExtensionType, bool]] = [(key_usage(signs=signs, certifies=is_ca), True)]
    if defect is not Defect.NO_EKU:
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if defect is Defect.WRONG_EKU else ExtendedKeyUsageOID.CODE_SIGNING
        usages.append((x509.ExtendedKeyUsage([purpose]), False))
    if is_ca:
        usages.append((x509.BasicConstraints(ca=True, path_length=None), True))
    return usages


def _names(identity: str, defect: Defect | None) -> list[x509.SubjectAlternativeName]:
    if defect is Defect.NO_IDENTITY:
        return []
    names: list[x509.GeneralName] = [_general_name(identity)]
    if defect is Defect.TWO_IDENTITIES:
        names.insert(0, x509.RFC822Name("mallory@evil.test"))
    return [x509.SubjectAlternativeName(names)]


def _general_name(identity: str) -> x509.GeneralName:
    """Return the form that Fulcio has for a URI, a mail address, or the name of a user."""
    if "://" in identity:
        return x509.UniformResourceIdentifier(identity)
    if "@" in identity:
        return x509.RFC822Name(identity)
    return x509.OtherName(x509.ObjectIdentifier(f"{FULCIO}.7"), der(0x0C, identity.encode()))


def _claims(issuer: str, claims: Mapping[int, str], defect: Defect | None) -> list[tuple[int, bytes]]:
    """Return the extensions: the old issuer is raw text, everything after it DER."""
    old = "https://other.test" if defect is Defect.ISSUERS_DIFFER else issuer
    found = [(number, der(0x0C, value.encode())) for number, value in claims.items()]
    if defect is not Defect.NO_ISSUER:
        tag = 0x04 if defect is Defect.GARBLED_ISSUER else 0x0C
        found += [(1, old.encode()), (8, der(tag, issuer.encode()))]
    return found
