"""The entries of a trust policy: roots, signers, rules, approvers and what is denied.

Each refuses, as a ValueError that `documents` puts a place to, what would trust more people than it seems to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from weighbridge.digest import Digest
from weighbridge.evidence import patterns
from weighbridge.evidence.base import Method
from weighbridge.location import printable
from weighbridge.records import dataclass, field
from weighbridge.refusals import SignerExpired, TrustCorrupt, TrustStale

MAX_ROOT: Final = 16 << 20  # bytes; the public trusted root takes 7 kB, a file of all web roots 200 kB
_SHA256: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


class RootType(StrEnum):
    """What kind of authority a root is."""

    SIGSTORE = "sigstore"
    X509 = "x509"


class Missing(StrEnum):
    """What is made of a model that has no signature as its rule requires."""

    DENY = "deny"
    WARN = "warn"
    ALLOW = "allow"


class Uncovered(StrEnum):
    """What is made of files that no signature covers; they are never approved, whatever this says."""

    DENY = "deny"
    WARN = "warn"


class Pin(StrEnum):
    """Whether the reference must say which revision is meant, by itself or by a lock."""

    REQUIRED = "required"
    OPTIONAL = "optional"


class Expired(StrEnum):
    """What is made of a certificate past its day."""

    REJECT = "reject"
    ACCEPT_WITH_TSA = "accept-with-tsa"


class Refused(StrEnum):
    """What can only be denied; the key exists so that a policy can say it."""

    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """An authority: a sigstore trusted root or certificates in PEM, in a file whose sha256 is pinned.

    `updated` is the day on which the file was fetched, from which on `max_age_days` count; `tuf` is the repository that
    `weighbridge trust update` fetches it from.
    """

    type: RootType
    sha256: str
    trusted_root: str = ""
    pem: str = ""
    max_age_days: int | None = None
    updated: date | None = None
    tuf: str = ""
    name: str = field(default="", metadata={"derived": True})
    path: Path = field(default=Path(), metadata={"derived": True})

    def __post_init__(self) -> None:
        wanted, other = ("trusted_root", "pem") if self.type is RootType.SIGSTORE else ("pem", "trusted_root")
        if not getattr(self, wanted) or getattr(self, other):
            raise ValueError(f"a root of type {self.type} has {wanted!r} and no {other!r}")
        if self.tuf and (self.type is not RootType.SIGSTORE or not self.tuf.startswith(("https://", "http://"))):
            raise ValueError("'tuf' is the URL of a repository, and that of a root of type sigstore")
        check_sha256(self.sha256)
        if self.max_age_days is not None and (self.updated is None or self.max_age_days < 1):
            raise ValueError("'max_age_days' is at least 1 and counts from 'updated', which is missing")

    def read(self) -> bytes:
        """Return the bytes of the file; raise TrustCorrupt when they are not those that are pinned."""
        where = printable(str(self.path))
        try:
            with self.path.open("rb") as file:
                raw = file.read(MAX_ROOT + 1)
        except OSError as error:
            fix = f"put the file of root {self.name!r} there, or correct its path in the trust policy"
            raise TrustCorrupt(where, f"cannot be read: {error.strerror}", fix) from error
        if len(raw) > MAX_ROOT:
            raise TrustCorrupt(where, f"larger than {MAX_ROOT} bytes")
        found = Digest.of(raw).value
        if found != bare(self.sha256):
            reason = f"has sha256 {found}, root {self.name!r} pins {bare(self.sha256)}"
            raise TrustCorrupt(where, reason, "restore the file; if it was renewed, pin its digest after looking at it")
        return raw

    def check_age(self, now: datetime) -> None:
        """Raise TrustStale when the root is older than the policy allows."""
        if self.max_age_days is None or self.updated is None:
            return
        age = (now.astimezone(UTC).date() - self.updated).days
        if age > self.max_age_days:
            reason = f"root {self.name!r} was updated {age} days ago, the trust policy allows {self.max_age_days}"
            raise TrustStale(printable(str(self.path)), reason, f"run `weighbridge trust update {self.name}`")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedSigner:
    """Somebody who may be believed: a keyless identity and its issuer, the subject of a certificate, or a key.

    `ref` may have wildcards; `identity_glob` is a pattern, everything else is compared as it is. The days of a key
    are in UTC, both included. `cert_sha256` pins one certificate.
    """

    method: Method
    root: str = ""
    issuer: str = ""
    identity: str = ""
    identity_glob: str = ""
    source_repository: str = ""
    workflow: str = ""
    ref: str = ""
    subject: str = ""
    cert_sha256: str = ""
    expired: Expired | None = None
    timestamp_root: str = ""
    public_key: str = ""
    sha256_spki: str = ""
    not_before: date | None = None
    not_after: date | None = None
    name: str = field(default="", metadata={"derived": True})
    path: Path = field(default=Path(), metadata={"derived": True})

    def __post_init__(self) -> None:
        allowed = _KEYS[self.method]
        for key in _SIGNER_KEYS:
            if getattr(self, key) not in ("", None) and key not in allowed:
                raise ValueError(f"{key!r} means nothing for a signer of method {self.method}")
        _CHECKS[self.method](self)

    def check_days(self, now: datetime, where: str) -> None:
        """Raise SignerExpired outside of the days on which the key may be used."""
        day = now.astimezone(UTC).date()
        if (self.not_before and day < self.not_before) or (self.not_after and day > self.not_after):
            span = f"{self.not_before or 'ever'} to {self.not_after or 'ever'}"
            reason = f"the key of {self.name!r} may be used from {span}, and it is {day}"
            raise SignerExpired(where, reason, "sign again with a current key")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRule:
    """What sources that match a pattern need: `needed` different signers of those in `require`.

    `signature_files` are patterns of the names under which signatures are looked for. `ignored_paths` are the only
    paths that a signer may leave out; they are never approved either.
    """

    source: str
    require: tuple[str, ...] = ()
    threshold: int | None = None
    signature_files: tuple[str, ...] = ("model.sig", "*.oms.sig")
    missing: Missing = Missing.DENY
    symlinks: Refused = Refused.DENY
    unsigned_files: Uncovered = Uncovered.DENY
    ignored_paths: tuple[str, ...] = ()
    pin: Pin = Pin.OPTIONAL

    def __post_init__(self) -> None:
        if not self.source or len(self.source) > patterns.MAX_LENGTH:
            raise ValueError(f"'source' is a pattern of 1 to {patterns.MAX_LENGTH} characters")
        if len(set(self.require)) != len(self.require):
            raise ValueError("'require' names a signer twice")
        if not self.require and self.missing is Missing.DENY:
            raise ValueError(
                '\'require\' is empty and missing = "deny": nothing could pass; name signers or say "allow"'
            )
        if self.threshold is not None and not 1 <= self.threshold <= len(self.require):
            raise ValueError(f"'threshold' is {self.threshold}, and {len(self.require)} signers are required")
        if self.require and not self.signature_files:
            raise ValueError("'signature_files' is empty, so no signature would ever be found")

    @property
    def needed(self) -> int:
        """How many different signers are needed: the threshold, without one all that are required."""
        return len(self.require) if self.threshold is None else self.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """Whose approvals a loader accepts: a signer, and the verifier that it may speak for.

    `policy_sha256` are the digests of the policies that may have been judged by; any when there is none.
    """

    signer: str
    verifier_id: str
    policy_sha256: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.verifier_id:
            raise ValueError("'verifier_id' is empty")
        for digest in self.policy_sha256:
            check_sha256(digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """What is refused whoever signed it: trees, approvals and certificates by their sha256."""

    tree_sha256: tuple[str, ...] = ()
    approval_sha256: tuple[str, ...] = ()
    cert_sha256: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for digest in (*self.tree_sha256, *self.approval_sha256, *self.cert_sha256):
            check_sha256(digest)

    def tree(self, sha256: str) -> bool:
        """Tell whether a tree is denied, by its digest with or without `sha256:`."""
        return bare(sha256) in map(bare, self.tree_sha256)

    def approval(self, sha256: str) -> bool:
        """Tell whether an approval is denied, by the digest of its payload with or without `sha256:`."""
        return bare(sha256) in map(bare, self.approval_sha256)

    def certificate(self, sha256: str) -> bool:
        """Tell whether a certificate is denied, by the digest of its DER with or without `sha256:`."""
        return bare(sha256) in map(bare, self.cert_sha256)


def bare(digest: str) -> str:
    """Return the hexadecimal digits of a sha256."""
    return digest.removeprefix("sha256:")


def check_sha256(digest: str) -> None:
    """Raise ValueError unless a text is a sha256."""
    if not _SHA256.fullmatch(digest):
        raise ValueError(f"{digest!r} is not a sha256 of 64 hexadecimal digits in lower case")


def _check_sigstore(signer: TrustedSigner) -> None:
    """A keyless identity counts only together with who vouches for it."""
    if not signer.root:
        raise ValueError("a signer of method sigstore needs a 'root'")
    if not signer.issuer:
        raise ValueError("an identity without its 'issuer' is anybody's: name the OpenID issuer that vouches for it")
    claims = [key for key in ("source_repository", "workflow", "ref") if getattr(signer, key)]
    ways = sum((bool(signer.identity), bool(signer.identity_glob), bool(claims)))
    if ways != 1 or len(claims) not in (0, 3):
        raise ValueError("name either 'identity', or 'identity_glob', or 'source_repository', 'workflow' and 'ref'")
    for key in ("issuer", "identity", "source_repository", "workflow"):
        if "*" in getattr(signer, key):
            raise ValueError(f"{key!r} has no wildcards")
    if signer.identity_glob:
        _check_glob(signer.identity_glob)


def _check_glob(glob: str) -> None:
    """Refuse a pattern that matches what strangers may have: a wildcard in the host or in the first part of a path."""
    if len(glob) > patterns.MAX_LENGTH:
        raise ValueError(f"'identity_glob' has more than {patterns.MAX_LENGTH} characters")
    scheme, slashes, rest = glob.partition("://")
    if slashes:
        host, owner, further = [*rest.split("/", 2), "", ""][:3]
        fixed = bool(owner and further) and "*" not in scheme + host + owner
    else:
        local, at, domain = glob.rpartition("@")
        # Names of workflows have slashes, and end in a branch, whose name anybody may choose.
        fixed = bool(at) and "*" not in domain and "**" not in local
    if not fixed:
        raise ValueError(f"'identity_glob' {glob!r} matches strangers: spell out the host and the owner, or the domain")


def _check_certificate(signer: TrustedSigner) -> None:
    if not signer.root or not signer.subject:
        raise ValueError("a signer of method certificate needs a 'root' and the 'subject' of its certificate")
    if signer.cert_sha256:
        check_sha256(signer.cert_sha256)
    if (signer.expired is Expired.ACCEPT_WITH_TSA) != bool(signer.timestamp_root):
        raise ValueError("'timestamp_root', a root of type sigstore, goes with expired = \"accept-with-tsa\"")


def _check_key(signer: TrustedSigner) -> None:
    if not signer.public_key or not signer.sha256_spki:
        raise ValueError(
            "a signer of method key needs 'public_key' and 'sha256_spki', which `weighbridge key show` prints"
        )
    check_sha256(signer.sha256_spki)
    if signer.not_before and signer.not_after and signer.not_after < signer.not_before:
        raise ValueError("'not_after' is before 'not_before'")


_KEYS: Final[Mapping[Method, frozenset[str]]] = {
    Method.SIGSTORE: frozenset({"root", "issuer", "identity", "identity_glob", "source_repository", "workflow", "ref"}),
    Method.CERTIFICATE: frozenset({"root", "subject", "cert_sha256", "expired", "timestamp_root"}),
    Method.KEY: frozenset({"public_key", "sha256_spki", "not_before", "not_after"}),
}
_SIGNER_KEYS: Final = tuple(sorted(frozenset().union(*_KEYS.values())))
_CHECKS: Final[Mapping[Method, Any]] = {
    Method.SIGSTORE: _check_sigstore,
    Method.CERTIFICATE: _check_certificate,
    Method.KEY: _check_key,
}
