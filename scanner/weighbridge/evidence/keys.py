"""Public keys and the signatures made with them.

A key is known by the sha256 of its SubjectPublicKeyInfo. ECDSA on P-256, P-384 and P-521 goes with SHA-256, SHA-384 and
SHA-512, as OpenSSF Model Signing 1.0 and sigstore's registry of algorithms have it; a key never chooses its own hash.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from weighbridge.digest import Digest
from weighbridge.refusals import SignatureInvalid, SignatureUnsupported

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

MIN_RSA: Final = 2048  # bits, NIST SP 800-131A
_PEM: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")


def load_public(pem: bytes, where: str) -> PublicKeyTypes:
    """Return the public key of a PEM text.

    Raises SignatureUnsupported when there is none or it is of a kind that signs nothing here.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureUnsupported(where, f"not a public key in PEM: {error}") from error
    _check_kind(key, where)
    return key


def key_digest(key: PublicKeyTypes) -> Digest:
    """Return the digest that a key is known by."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return Digest.of(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def pem_digest(pem: bytes, where: str) -> Digest:
    """Return the digest that the key in a PEM text is known by, without the cost of importing cryptography.

    Raises SignatureUnsupported when the text has not the form of one public key; that it is one is not looked at.
    """
    found = _PEM.fullmatch(pem.strip())
    if found is None:
        raise SignatureUnsupported(where, "not a public key in PEM")
    try:
        return Digest.of(base64.b64decode(b"".join(found[1].split()), validate=True))
    except ValueError as error:
        raise SignatureUnsupported(where, f"not a public key in PEM: {error}") from error


def check(key: PublicKeyTypes, signature: bytes, message: bytes, where: str) -> None:
    """Raise SignatureInvalid unless `signature` is one of `message` by the key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    _check_kind(key, where)
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(curve_hash(key.curve.name)))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), SHA256())
    except InvalidSignature as error:
        reason = f"the signature is not one by the key {key_digest(key)}"
        raise SignatureInvalid(where, reason, "the file or the signature was altered, or another key signed") from error


def curve_hash(curve: str) -> HashAlgorithm:
    """Return the hash that goes with a curve that is one of ours."""
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

    match curve:
        case "secp256r1":
            return SHA256()
        case "secp384r1":
            return SHA384()
    return SHA512()


def _check_kind(key: PublicKeyTypes, where: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    match key:
        case ec.EllipticCurvePublicKey(curve=curve) if curve.name in ("secp256r1", "secp384r1", "secp521r1"):
            return
        case ed25519.Ed25519PublicKey():
            return
        case rsa.RSAPublicKey(key_size=size) if size >= MIN_RSA:
            return
    raise SignatureUnsupported(
        where, "the key is neither on P-256, P-384 or P-521, nor Ed25519, nor RSA of 2048 bits or more"
    )
