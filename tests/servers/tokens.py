"""The tokens that docker-registry takes: JSON web tokens (RFC 7519) signed by an authority that it is told of."""

from __future__ import annotations

import json
import time
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

ISSUER: Final = "tests"
SERVICE: Final = "docker-registry"


class Authority:
    """A key and its certificate, made for one test."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(name, name, self._key.public_key(), 1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, SHA256())
        )
        self.certificate = certificate.public_bytes(Encoding.PEM)
        self._chain = [b64encode(certificate.public_bytes(Encoding.DER)).decode("ascii")]

    def token(self, repository: str, *actions: str) -> str:
        """Return a token that allows what `actions` name."""
        now = int(time.time())
        access = [{"type": "repository", "name": repository, "actions": actions}]
        claims = {"iss": ISSUER, "aud": SERVICE, "nbf": now - 60, "exp": now + 600, "access": access}
        signed = f"{_part({'typ': 'JWT', 'alg': 'ES256', 'x5c': self._chain})}.{_part(claims)}"
        pair = utils.decode_dss_signature(self._key.sign(signed.encode("ascii"), ec.ECDSA(SHA256())))
        return f"{signed}.{_encoded(b''.join(number.to_bytes(32, 'big') for number in pair))}"


def _part(value: object) -> str:
    return _encoded(json.dumps(value).encode())


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
