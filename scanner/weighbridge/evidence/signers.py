"""Those who sign: with a key in a file, with a certificate, or with a key that a token keeps.

Each returns a sigstore bundle of version 0.3 without an entry of a log, as OpenSSF Model Signing 1.0 has them. Keyless
signing is in `keyless`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote, unquote_to_bytes

from weighbridge.errors import UsageError
from weighbridge.evidence import bundle, certificates, dsse, keys
from weighbridge.location import printable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

# Where securesystemslib looks for the PKCS #11 module.
_MODULE: Final = "PYKCS11LIB"


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

    @property
    def public_key(self) -> PublicKeyTypes:
        """The key that verifies what is signed."""
        return self._key.public_key()

    def sign(self, payload: bytes, payload_type: str) -> bytes:
        """Return a bundle that hints at the key."""
        signature = sign_with(self._key, dsse.pae(payload_type, payload))
        return bundle.render(payload, payload_type, signature, {"publicKey": {"hint": self._hint}})


class CertificateSigner:
    """Signs with a private key, and puts the certificate of it and those above it into the bundle."""

    def __init__(self, pem: bytes, texts: Sequence[bytes], *, password: bytes | None = None, where: str) -> None:
        """Take a private key and texts in PEM with certificates, that of the key first in the first one.

        Raises UsageError when one of them is none, or the first certificate is of another key.
        """
        self._key = load_private(pem, password, where)
        chain = [one for text in texts for one in certificates.load_pem(text, where)]
        if not 1 <= len(chain) <= bundle.MAX_CERTIFICATES:
            raise UsageError(f"{where}: {len(chain)} certificates; a bundle holds 1 to {bundle.MAX_CERTIFICATES}")
        if keys.key_digest(chain[0].public_key()) != keys.key_digest(self._key.public_key()):
            raise UsageError(f"{where}: the first certificate is of another key than the one that is to sign")
        self._chain = chain

    @property
    def identity(self) -> str:
        """The subject of the certificate."""
        return self._chain[0].subject.rfc4514_string()

    @property
    def public_key(self) -> PublicKeyTypes:
        """The key that verifies what is signed."""
        return self._key.public_key()

    def sign(self, payload: bytes, payload_type: str) -> bytes:
        """Return a bundle with the chain of certificates."""
        from cryptography.hazmat.primitives.serialization import Encoding

        signature = sign_with(self._key, dsse.pae(payload_type, payload))
        chain = [{"rawBytes": base64.b64encode(one.public_bytes(Encoding.DER)).decode("ascii")} for one in self._chain]
        return bundle.render(payload, payload_type, signature, {"x509CertificateChain": {"certificates": chain}})


class Pkcs11Signer:
    """Signs with a key on P-256 or P-384 that a token keeps (PKCS #11), through securesystemslib."""

    def __init__(self, uri: str, pin: Callable[[], str]) -> None:
        """Find the key that a URI of RFC 7512 names by `token` and `id`; `pin` is asked when the URI has none.

        `module-path` says which library speaks to the token, else the environment variable PYKCS11LIB does. Raises
        UsageError when there is no such key, or `weighbridge[pkcs11]` is not installed.
        """
        path, query = _parse_pkcs11(uri)
        self._where = _shown(uri)
        number = _key_number(path.get("id", b""), self._where)
        token = path["token"].decode("utf-8", "replace") if "token" in path else None
        secret = query.get("pin-value")
        self._module = query.get("module-path", "")

        def answer(_: str) -> str:
            return secret if secret is not None else pin()

        with self._using_token():
            from securesystemslib.signer import HSMSigner

            _, public = HSMSigner.import_(number, token, answer)
            self._token = HSMSigner(number, public, answer, token)
        self._public = keys.load_public(public.keyval["public"].encode("ascii"), self._where)

    @property
    def identity(self) -> str:
        """The digest that the key is known by."""
        return str(keys.key_digest(self._public))

    @property
    def public_key(self) -> PublicKeyTypes:
        """The key that verifies what is signed."""
        return self._public

    def sign(self, payload: bytes, payload_type: str) -> bytes:
        """Return a bundle that hints at the key; raise UsageError when the token refuses."""
        with self._using_token():
            made = self._token.sign(dsse.pae(payload_type, payload))
        material = {"publicKey": {"hint": key_hint(self._public)}}
        return bundle.render(payload, payload_type, bytes.fromhex(made.signature), material)

    @contextmanager
    def _using_token(self) -> Iterator[None]:
        """Name the module to securesystemslib, which looks in the environment alone, and take its errors for ours."""
        try:
            from pkcs11.exceptions import PKCS11Error
        except ModuleNotFoundError as error:
            raise UsageError(f"{self._where}: keys on tokens need `pip install 'weighbridge[pkcs11]'`") from error
        before = os.environ.get(_MODULE)
        if self._module:
            os.environ[_MODULE] = self._module
        try:
            yield
        except (PKCS11Error, ValueError, RuntimeError) as error:
            said = " ".join(str(error).split())
            kind = type(error).__name__
            raise UsageError(f"{self._where}: the token refuses: {kind}{said and ': '}{printable(said)}") from error
        finally:
            if before is not None:
                os.environ[_MODULE] = before
            else:
                os.environ.pop(_MODULE, None)


def _shown(uri: str) -> str:
    """Return a URI as messages name it: without its query, and without a PIN that stands where none belongs."""
    return printable(re.sub(r"(pin-value=)[^;]*", r"\1…", uri.partition("?")[0]))


def _parse_pkcs11(uri: str) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the attributes of the path and of the query of a URI of RFC 7512."""
    scheme, _, rest = uri.partition(":")
    path, _, query = rest.partition("?")
    if scheme != "pkcs11":
        raise UsageError(
            f"{_shown(uri)}: a key on a token is named pkcs11:token=NAME;id=%01?module-path=/lib/module.so"
        )
    parts = [one.partition("=") for one in path.split(";") if one]
    settings = [one.partition("=") for one in query.split("&") if one]
    return {key: unquote_to_bytes(text) for key, _, text in parts}, {key: unquote(text) for key, _, text in settings}


def _key_number(id_: bytes, where: str) -> int:
    if not id_ or id_[0] == 0:
        raise UsageError(f"{where}: name the key by its id, such as id=%01, that does not begin with a zero byte")
    return int.from_bytes(id_, "big")


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
