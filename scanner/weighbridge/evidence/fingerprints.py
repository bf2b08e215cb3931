"""The digests by which a certificate may be known.

A certificate is denied by the sha256 of its DER. That alone denies little, because nothing protects the signature of
its issuer, and anybody can write it in another way that verifies as well: with (r, n - s) in place of (r, s) in ECDSA,
or with the last bits, if they are 0, said to be unused. So every way of writing it is looked for.

Source: SEC 1 v2.0 §4.1.4; X.690 §8.1.3 and §8.6.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.digest import Digest

# The orders of P-256, P-384 and P-521 (SEC 2 v2.0 §2.4, §2.5, §2.6).
_ORDERS: Final = (
    0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    int("1" + "f" * 64 + "fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409", 16),
)
_SEQUENCE: Final = 0x30
_BIT_STRING: Final = 0x03


def fingerprints(raw: bytes) -> Iterator[str]:
    """Yield the sha256 of a certificate in DER, and of what it may have been before somebody rewrote its signature."""
    yield Digest.of(raw).value
    yield from (Digest.of(twin).value for twin in twins(raw))


def twins(raw: bytes) -> Iterator[bytes]:
    """Yield other ways to write a certificate: with no bits unused, with the other ECDSA signature of each curve."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
    from cryptography.x509 import load_der_x509_certificate

    try:
        certificate = load_der_x509_certificate(raw)
        signature = certificate.signature
        start = raw.index(certificate.tbs_certificate_bytes)
    except ValueError:  # not a certificate, which is for others to say
        return
    unsigned = raw[start : len(raw) - len(_bits(signature))]
    if raw[start + len(unsigned) :] != _bits(signature):
        yield _der(_SEQUENCE, unsigned + _bits(signature))
    try:
        r, s = decode_dss_signature(signature)
    except ValueError:  # RSA, of which there is one signature
        return
    for order in _ORDERS:
        if 0 < s < order:
            yield _der(_SEQUENCE, unsigned + _bits(encode_dss_signature(r, order - s)))


def _bits(signature: bytes) -> bytes:
    """Return a signature as the bit string at the end of a certificate."""
    return _der(_BIT_STRING, b"\0" + signature)


def _der(tag: int, body: bytes) -> bytes:
    """Return a value with its tag and length."""
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body
