"""Those who sign: with a key in a file, with a certificate, or with a key that a token keeps.

Each returns a sigstore bundle of version 0.3 without an entry of a log, as OpenSSF Model Signing 1.0 has them. Keyless
signing is in `keyless`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from weighbridge.errors import UsageError
from weighbridge.evidence import bundle, dsse, keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes


class Signer(Protocol):
    """Somebody who can sign."""

    @property
    def identity(self) -> str:
        """Who signs, as a signature of theirs would name them."""

    def sign(self, payload: bytes, payload_type: str) -> bytes:
        """Return a whole bundle, as JSON, whose envelope holds the payload."""


class KeySigner:
    """Signs with a private key: ECDSA on P-256, P-384 or P-521, or Ed25519."""

    def __init__(self, pem: bytes, *, password: bytes | None = None, where: str) -> None:
        """Take a private key in PEM; raise UsageError when it is none or the password does not open it."""
        self._key = load_private(pem, password, where)
        self._hint = key_hint(self._key.public_key())

    @property
    def identity(self) -> str:
        """The digest that the key is known by."""
        return str(keys.key_digest(self._key.public_key()))

    def sign(self, payload: bytes, payload_type: str) -> bytes:
        """Return a bundle that hints at the key."""
        signature = sign_with(self._key, dsse.pae(payload_type, payload))
        return bundle.render(payload, payload_type, signature, {"publicKey": {"hint": self._hint}})


def key_hint(key: PublicKeyTypes) -> str:
    """Return the hint that OpenSSF Model Signing puts into bundles: the sha256 of the public key's PEM text."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def load_private(pem: bytes, password: bytes | None, where: str) -> PrivateKeyTypes:
    """Return the private key of a PEM text.

    Raises UsageError when there is none, it is of a kind that does not sign here, or the password does not open it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password)
    except TypeError as error:  # a password is missing, or there is one and the key is not encrypted
        said = "is not encrypted, and a password was given" if password else "is encrypted; give its password"
        raise UsageError(f"{where}: the key {said}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        said = "or the password is wrong" if password else "in PEM"
        raise UsageError(f"{where}: not a private key {said}") from error
    match key:
        case ec.EllipticCurvePrivateKey(curve=curve) if curve.name in ("secp256r1", "secp384r1", "secp521r1"):
            return key
        case ed25519.Ed25519PrivateKey():
            return key
    raise UsageError(f"{where}: the key is neither on P-256, P-384 or P-521, nor Ed25519")


def sign_with(key: PrivateKeyTypes, message: bytes) -> bytes:
    """Return the signature of a message by a key that `load_private` returned."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(keys.curve_hash(key.curve.name)))
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise TypeError("a key that load_private does not return")
    return key.sign(message)
