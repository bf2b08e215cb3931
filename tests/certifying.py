"""Authorities of our own and the certificates that they issue, each with what a test wants to be wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
BEGIN, END = NOW - timedelta(days=100), NOW + timedelta(days=100)
CODE = (ExtendedKeyUsageOID.CODE_SIGNING,)
SUBJECT = "CN=Model Signing 001,O=Acme,C=DE"


@dataclass(frozen=True, kw_only=True)
class Held:
    """A certificate and its private key."""

    key: Any
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return private_pem(self.key)


def authority(
    name: str,
    above: Held | None = None,
    *,
    ca: bool | None = True,
    depth: int | None = None,
    key: Any = None,
    certifies: bool = True,
    purposes: Sequence[ObjectIdentifier] = (),
    begin: datetime = BEGIN,
    end: datetime = END,
) -> Held:
    """Return an authority below another, or a root; with `ca` None it does not say whether it is one."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    constraints = None if ca is None else x509.BasicConstraints(ca=ca, path_length=depth)
    usage = key_usage(signs=False, certifies=certifies)
    return _issue(key, named, above, constraints, usage, purposes, begin, end)


def signer(
    above: Held | None,
    *,
    subject: str = SUBJECT,
    key: Any = None,
    ca: bool | None = False,
    signs: bool | None = True,
    purposes: Sequence[ObjectIdentifier] = CODE,
    begin: datetime = BEGIN,
    end: datetime = END,
    critical: Sequence[x509.ExtensionType] = (),
) -> Held:
    """Return who signs, below an authority; with `signs` None there is no keyUsage."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    constraints = None if ca is None else x509.BasicConstraints(ca=ca, path_length=None)
    usage = None if signs is None else key_usage(signs=signs, certifies=False)
    return _issue(
        key, x509.Name.from_rfc4514_string(subject), above, constraints, usage, purposes, begin, end, critical
    )


def _issue(
    key: Any,
    name: x509.Name,
    above: Held | None,
    constraints: x509.BasicConstraints | None,
    usage: x509.KeyUsage | None,
    purposes: Sequence[ObjectIdentifier],
    begin: datetime,
    end: datetime,
    critical: Sequence[x509.ExtensionType] = (),
) -> Held:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(above.certificate.subject if above else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    for extension in (constraints, usage, x509.ExtendedKeyUsage(purposes) if purposes else None):
        if extension is not None:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    for demand in critical:
        builder = builder.add_extension(demand, critical=True)
    return Held(key=key, certificate=builder.sign(above.key if above else key, SHA256()))


def key_usage(*, signs: bool, certifies: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=not signs and not certifies,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certifies,
        crl_sign=certifies,
        encipher_only=False,
        decipher_only=False,
    )


def private_pem(key: Any, password: bytes | None = None) -> bytes:
    encryption: Any = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return pem


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem
