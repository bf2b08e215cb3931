"""What verifying gives: signatures and evidence. Neither is ever made from bytes that were not verified."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from weighbridge.digest import Digest
from weighbridge.records import dataclass


class Method(StrEnum):
    """How a bundle is signed: with a bare key, with a certificate of a chain, or keyless through sigstore."""

    KEY = "key"
    CERTIFICATE = "certificate"
    SIGSTORE = "sigstore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A verified signature over `payload`, whose bytes are exactly those that were signed.

    `signer` is the name that the trust policy gives to who signed. `identity` is the digest of a key
    (`sha256:` of its SubjectPublicKeyInfo), the subject of a certificate or the name in a keyless one, whose `issuer`
    is who vouched for it. `key` is the digest of the key that signed, whatever the method. `signed_at`
    is a time that a log or a timestamp authority vouches for, None when nobody does. `bundle` is the digest of the
    bundle's bytes. A signature over a plain file has its sha256 as `payload` and no type.
    """

    method: Method
    signer: str
    identity: str
    issuer: str = ""
    key: str = ""
    signed_at: datetime | None = None
    payload_type: str
    payload: bytes
    bundle: Digest

    @property
    def who(self) -> str:
        """The signer as reports name them."""
        return f"{self.signer} ({self.identity}{f', issuer {self.issuer}' if self.issuer else ''})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A verified claim about a digest.

    `kind` is `signature`, `attestation` or `digests`; `format` names what was read (`oms-1.0`, `cosign`,
    `sha256sums`, `lock`, `claims`); `subject` is the digest of the tree or manifest that is meant. `covered` and
    `uncovered` are the paths that the claim speaks of and those that it does not.
    """

    kind: str
    format: str
    subject: Digest
    signature: Signature | None = None
    predicate_type: str = ""
    covered: tuple[str, ...] = ()
    uncovered: tuple[str, ...] = ()
