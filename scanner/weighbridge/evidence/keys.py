"""Public keys and the signatures made with them.

A key is known by the sha256 of its SubjectPublicKeyInfo. ECDSA on P-256, P-384 and P-521 goes with SHA-256, SHA-384 and
SHA-512, as OpenSSF Model Signing 1.0 and sigstore's registry of algorithms have it; a key never chooses its own hash.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from weighbridge.digest import Digest
from weighbridge.refusals import SignatureInvalid, SignatureMalformed, SignatureUnsupported

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

MIN_RSA: Final = 2048  # bits, NIST SP 800-131A
# The points of Ed25519 whose order divides 8, by y: under such a key anybody can sign, and OpenSSL takes it.
_FIELD: Final = 2**255 - 19
_ORDER_8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL: Final = frozenset({0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8})
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
    check_kind(key, where)
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
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.hashes import SHA256

    check_kind(key, where)
    if isinstance(key, ed25519.Ed25519PublicKey):
        with _refusing(key, where):
            key.verify(signature, message)
        return
    _check_hashed(
        key,
        signature,
        message,
        curve_hash(key.curve.name) if isinstance(key, ec.EllipticCurvePublicKey) else SHA256(),
        where,
    )


def check_sha256(key: PublicKeyTypes, signature: bytes, digest: bytes, where: str) -> None:
    """Raise SignatureInvalid unless `signature` is one, by the key, of a file with that sha256.

    Raises SignatureUnsupported for keys that go with another hash, or that sign a file and not its digest.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256

    check_kind(key, where)
    other = isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(curve_hash(key.curve.name), SHA256)
    if other or isinstance(key, ed25519.Ed25519PublicKey):
        raise SignatureUnsupported(where, "signed with a key that does not go with SHA-256", "sign an envelope instead")
    if len(digest) != SHA256.digest_size:
        raise SignatureMalformed(where, f"a sha256 of {len(digest)} bytes")
    _check_hashed(key, signature, digest, Prehashed(SHA256()), where)


def _check_hashed(
    key: PublicKeyTypes, signature: bytes, message: bytes, algorithm: HashAlgorithm | Prehashed, where: str
) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    with _refusing(key, where):
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), algorithm)
        else:
            raise SignatureUnsupported(where, "a key that signs no hashes")


@contextmanager
def _refusing(key: PublicKeyTypes, where: str) -> Iterator[None]:
    """Turn cryptography's refusal, which has no text, into ours."""
    from cryptography.exceptions import InvalidSignature

    try:
        yield
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


def check_kind(key: PublicKeyTypes, where: str) -> None:
    """Raise SignatureUnsupported when a key is of a kind that signs nothing here."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    match key:
        case ec.EllipticCurvePublicKey(curve=curve) if curve.name in ("secp256r1", "secp384r1", "secp521r1"):
            return
        case ed25519.Ed25519PublicKey() if not _is_small(key.public_bytes_raw()):
            return
        case rsa.RSAPublicKey(key_size=size) if size >= MIN_RSA:
            return
    raise SignatureUnsupported(
        where, "the key is neither on P-256, P-384 or P-521, nor Ed25519, nor RSA of 2048 bits or more"
    )


def _is_small(point: bytes) -> bool:
    """Tell whether a key on Ed25519 has a small order; the sign of x does not matter, nor whether y is reduced."""
    return int.from_bytes(point, "little") % (1 << 255) % _FIELD in _SMALL
