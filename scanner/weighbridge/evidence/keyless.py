"""Keyless signatures: verified offline against a pinned trust root, and made with an identity token.

sigstore-python verifies certificate, logs, timestamps and signature; it is imported here alone and in functions, for
that takes 0.3 s. It never gets a trust root from its own cache, whose files it does not verify. What it leaves to its
callers is done here: the payload's type, the identity, the times for which keys are good, and that what it read in a
bundle is what we read in it.

Source: https://github.com/sigstore/architecture-docs/blob/main/client-spec.md
"""

from __future__ import annotations

import binascii
import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from weighbridge.errors import SourceError, UsageError
from weighbridge.evidence import fulcio, timestamps, trusted_root
from weighbridge.evidence.base import Method, Signature
from weighbridge.evidence.bundle import Bundle, FileSignature
from weighbridge.evidence.dsse import IN_TOTO, Envelope
from weighbridge.evidence.keys import key_digest
from weighbridge.location import printable
from weighbridge.refusals import (
    SignatureInvalid,
    SignatureMalformed,
    SignatureMethod,
    SignatureUnsupported,
    SignerExpired,
    SignerUntrusted,
    TrustCorrupt,
)

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from sigstore.dsse import Statement
    from sigstore.models import Bundle as SigstoreBundle
    from sigstore.verify import Verifier

    from weighbridge.evidence.trust_entries import TrustedSigner
    from weighbridge.evidence.trusted_root import TrustedRoot

MAX_MESSAGE: Final = 200  # characters of sigstore's own words, which may quote the bundle
MAX_TIME: Final = 1 << 38  # seconds since 1970; beyond it no calendar goes

# sigstore-python tells its failures apart by their words alone. These only choose which step an error names.
_STEPS: Final = (
    ("failed to verify SCT", "sct"),
    ("invalid log entry", "log"),
    ("log entry", "log"),
    ("transparency log entry", "log"),
    ("Unsupported", "log"),
    ("expected exactly one log entry", "log"),
    ("Invalid Timestamp", "timestamp"),
    ("not enough sources of verified time", "timestamp"),
    ("duplicate timestamp", "timestamp"),
    ("no Timestamp Authorities", "timestamp"),
    ("invalid signing cert", "certificate"),
    ("Bundle message digest mismatch", "payload"),
)
_ALTERED: Final = "the file or its signature was altered"
_ELSEWHERE: Final = "the bundle was altered, or another instance of sigstore than that of the trust root signed"
_FAILED: Final = {
    "certificate": "the certificate does not verify",
    "sct": "the certificate log's signature on the certificate does not verify",
    "log": "the log's entry does not verify",
    "timestamp": "the time of the signature does not verify",
    "signature": "the signature does not verify",
    "payload": "what is signed does not verify",
}
_FIXES: Final = dict.fromkeys(("sct", "log", "timestamp"), _ELSEWHERE)


class _AnyIdentity:
    """The policy that sigstore is given. Identities are compared once everything else is known to be right.

    An error about who signed then names somebody who really did.
    """

    def verify(self, cert: Certificate) -> None:
        """Accept the certificate for now."""


def verify(bundle: Bundle, signer: TrustedSigner, root: TrustedRoot) -> Signature:
    """Return the verified keyless signature in a bundle by a signer of the trust policy.

    The payload of a signature over a plain file is the file's sha256, which the caller compares. Steps, after the
    client specification:

    1. the bundle is keyless, its certificate one that signs, its payload an in-toto statement or a file's sha256
    2. it states when it was signed, and the certificate was valid then
    3. of the trust root, only services that served at that time are used
    4. sigstore: certificate chain, certificate log, transparency log, timestamps, signature, and that the entry of the
       log is of this signature
    5. sigstore saw the certificate and payload that we see
    6. the certificate names one identity and issuer, which are the signer's

    Raises the refusal that says which of them failed, and TrustCorrupt when the trust root is none.
    """
    where = bundle.where
    # 1.
    if Method.SIGSTORE not in bundle.methods:
        raise SignatureMethod(where, f"signed by {' or '.join(sorted(bundle.methods))}, the trust policy wants keyless")
    certificate = fulcio.load(bundle.certificates[0], where)
    _check_type(bundle)
    # 2.
    promised, stamped = _promised(bundle), _stamped(bundle)
    times = (*promised, *stamped)
    _check_times(certificate, times, where)
    # 3.
    served = trusted_root.serving(root, times, where)
    # 4. and 5.
    payload = _verified(bundle, served, root.where)
    # 6.
    claims = fulcio.claims(certificate, where)
    fulcio.check(claims, signer, where)
    return Signature(
        method=Method.SIGSTORE,
        signer=signer.name,
        identity=claims.identity,
        issuer=claims.issuer,
        key=str(key_digest(certificate.public_key())),
        # A timestamp that no authority of the root made is not told apart here; all lie in the life of the certificate.
        signed_at=min(promised or stamped),
        payload_type=IN_TOTO if isinstance(bundle.content, Envelope) else "",
        payload=payload,
        bundle=bundle.digest,
    )


class SigstoreSigner:
    """Signs in-toto statements keyless: with a key of the moment, a certificate for an identity token, and a log."""

    def __init__(self, token: str, config: bytes, *, where: str = "the configuration of sigstore") -> None:
        """Take an identity token for the audience `sigstore`, and a client's configuration as JSON, named by `where`.

        The public instance's configuration is fetched by `trust_update.public`. Raises UsageError when the token is
        none or has expired, or the configuration cannot be read.
        """
        from sigstore.errors import Error
        from sigstore.models import ClientTrustConfig
        from sigstore.oidc import IdentityError, IdentityToken

        _keep_quiet()
        try:
            self._token = IdentityToken(token)
            self._config = ClientTrustConfig.from_json(config.decode("utf-8"))
            self._root = trusted_root.within(config, where)
        except IdentityError as error:
            raise UsageError(f"the identity token: {_said(error)}") from error
        except (Error, ValueError, TrustCorrupt) as error:
            raise UsageError(f"{where}: not that of a client of sigstore: {_said(error)}") from error

    @property
    def identity(self) -> str:
        """The name that the certificate will have, and who vouches for it."""
        return f"{self._token.identity}, issuer {self._token.federated_issuer}"

    def check(self, bundle: Bundle) -> Signature:
        """Return the signature in a bundle that was just made, verified as readers will; raises as `verify` does."""
        from weighbridge.evidence.trust_entries import TrustedSigner

        own = TrustedSigner(
            method=Method.SIGSTORE,
            root="own",
            identity=self._token.identity,
            issuer=self._token.federated_issuer,
            name="you",
        )
        return verify(bundle, own, self._root)

    def sign(self, payload: bytes, payload_type: str) -> bytes:
        """Return a bundle whose envelope holds exactly `payload`.

        Raises UsageError when that is no in-toto statement as sigstore knows them (subjects have names and digests of
        the SHA-2 or SHA-3 family), SourceError when the instance cannot be reached or refuses.
        """
        from sigstore.dsse import Statement
        from sigstore.errors import Error

        if payload_type != IN_TOTO:
            raise UsageError(f"keyless signatures are over in-toto statements, not {payload_type!a}")
        try:
            statement = Statement(payload)
        except Error as error:
            raise UsageError(f"sigstore does not sign this statement: {_said(error)}") from error
        return self._signed(statement).encode("utf-8") + b"\n"

    def _signed(self, statement: Statement) -> str:
        from sigstore.sign import SigningContext

        try:
            with SigningContext.from_trust_config(self._config).signer(self._token) as signer:
                return signer.sign_dsse(statement).to_json()
        # The clients of authority, log and timestamps raise classes that are neither public nor of one base.
        except Exception as error:
            raise SourceError(f"sigstore did not sign: {type(error).__name__}: {_said(error)}") from error


def ambient_token() -> str:
    """Return the identity token that the surrounding CI system gives; raise UsageError when there is none."""
    from sigstore.oidc import IdentityError, detect_credential

    try:
        token = detect_credential()
    except IdentityError as error:
        raise UsageError(f"the CI system gives no identity token: {_said(error)}") from error
    if not token:
        raise UsageError("no CI system here gives an identity token; name one with --identity-token")
    return token


def _keep_quiet() -> None:
    """Keep sigstore's log, where no program listens to it, from standard error."""
    logging.getLogger("sigstore").addHandler(logging.NullHandler())


def _check_type(bundle: Bundle) -> None:
    content = bundle.content
    if isinstance(content, FileSignature):
        if content.algorithm != "SHA2_256":
            raise SignatureUnsupported(
                bundle.where, f"a file's digest by {content.algorithm!a}; SHA2_256 is understood"
            )
        return
    if content.payload_type != IN_TOTO:
        reason = f"the payload is of type {content.payload_type!a}, not an in-toto statement"
        raise SignatureUnsupported(bundle.where, reason)


def _promised(bundle: Bundle) -> tuple[datetime, ...]:
    """Return the time at which the log says to have taken the entry, where it signed that."""
    entries = bundle.material.get("tlogEntries")
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        raise SignatureInvalid(bundle.where, "a keyless signature has one entry of a log", step="log")
    entry = entries[0]
    match entry.get("inclusionProof"):
        case {"checkpoint": {**_checkpoint}}:
            pass
        case _:
            reason = "no proof that the log includes the entry, with a checkpoint"
            raise SignatureInvalid(bundle.where, reason, "sign again with a current client", step="log")
    moment = entry.get("integratedTime", "0")
    if not isinstance(moment, str) or not moment.isdecimal() or not moment.isascii() or int(moment) > MAX_TIME:
        raise SignatureMalformed(bundle.where, f"integratedTime is {moment!a}, not seconds since 1970")
    if not int(moment) or not entry.get("inclusionPromise"):
        return ()
    return (datetime.fromtimestamp(int(moment), UTC),)


def _stamped(bundle: Bundle) -> tuple[datetime, ...]:
    """Return the times that timestamps state."""
    from rfc3161_client import decode_timestamp_response

    stamps = timestamps.read(bundle.material, bundle.where)
    try:
        times = [decode_timestamp_response(one).tst_info.gen_time for one in stamps]
    except ValueError as error:
        raise SignatureInvalid(bundle.where, f"a timestamp cannot be read: {error}", step="timestamp") from error
    return tuple(times)


def _check_times(certificate: Certificate, times: Iterable[datetime], where: str) -> None:
    """Refuse a bundle that states no time, or one at which its certificate was not valid."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    found = list(times)
    if not found:
        reason = "nobody vouches for when it was signed: no signed time of a log and no timestamp"
        raise SignatureInvalid(where, reason, "sign again, with a timestamp authority", step="timestamp")
    for moment in found:
        if not begin <= moment <= end:
            life = f"{begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S}"
            reason = f"signed at {moment:%Y-%m-%d %H:%M:%S}, its certificate is valid from {life}"
            raise SignerExpired(where, reason, "sign again")


def _verified(bundle: Bundle, served: dict[str, Any], root: str) -> bytes:
    """Return the payload that sigstore verified, or the digest of the file."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509 import ExtensionNotFound
    from sigstore.errors import CertValidationError, Error

    where = bundle.where
    verifier = _verifier(served, root)
    try:
        return _asked(verifier, _parsed(bundle), bundle)
    except CertValidationError as error:
        reason = f"the certificate is of no authority of the trust root {root} ({_said(error)})"
        fix = "name the trust root of the instance that signed, or update it"
        raise SignerUntrusted(where, reason, fix) from error
    except (Error, ExtensionNotFound, UnsupportedAlgorithm, ValueError, TypeError, OverflowError) as error:
        step = _step(error)
        reason = f"{_FAILED[step]}: {_said(error)}"
        raise SignatureInvalid(where, reason, _FIXES.get(step, _ALTERED), step=step) from error


def _verifier(served: dict[str, Any], root: str) -> Verifier:
    """Return sigstore's verifier for a trust root that was read once, from bytes and not from a file.

    A client's configuration is the public way to hand over bytes; nothing is ever signed with this one.
    """
    from sigstore.errors import Error
    from sigstore.models import ClientTrustConfig
    from sigstore.verify import Verifier

    _keep_quiet()
    config = {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": served,
        "signingConfig": {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"},
    }
    try:
        return Verifier(trusted_root=ClientTrustConfig.from_json(json.dumps(config)).trusted_root)
    except (Error, ValueError) as error:
        raise TrustCorrupt(root, f"not a sigstore trust root: {_said(error)}") from error


def _parsed(bundle: Bundle) -> SigstoreBundle:
    """Return a bundle as sigstore reads it, which must be as we do."""
    from cryptography.hazmat.primitives.serialization import Encoding
    from sigstore.models import Bundle as SigstoreBundle
    from sigstore.models import IncompatibleEntry, InvalidBundle

    try:
        found = SigstoreBundle.from_json(bundle.raw)
    except IncompatibleEntry as error:
        raise SignatureUnsupported(bundle.where, _said(error)) from error
    except (InvalidBundle, ValueError) as error:
        raise SignatureMalformed(bundle.where, _said(error)) from error
    if found.signing_certificate.public_bytes(Encoding.DER) != bundle.certificates[0]:
        raise SignatureMalformed(bundle.where, "two readers see different certificates in it")
    return found


def _asked(verifier: Verifier, found: SigstoreBundle, bundle: Bundle) -> bytes:
    """Ask sigstore; return what it verified."""
    from sigstore.hashes import Hashed
    from sigstore_models.common.v1 import HashAlgorithm

    content = bundle.content
    if isinstance(content, FileSignature):
        hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=content.digest)
        verifier.verify_artifact(hashed, found, _AnyIdentity())
        return content.digest
    if verifier.verify_dsse(found, _AnyIdentity()) != (content.payload_type, content.payload):
        raise SignatureMalformed(bundle.where, "two readers see different payloads in it")
    return content.payload


def _step(error: Exception) -> str:
    """Return which step failed; base64 that cannot be read is left to this point in checkpoints of logs alone."""
    if isinstance(error, binascii.Error):
        return "log"
    said = str(error)
    return next((step for start, step in _STEPS if said.startswith(start)), "signature")


def _said(error: Exception) -> str:
    """Return sigstore's own words, on one line and not at any length."""
    text = printable(" ".join(str(error).split()))
    return f"{text[:MAX_MESSAGE]}…" if len(text) > MAX_MESSAGE else text or type(error).__name__
