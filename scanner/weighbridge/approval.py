"""The approval: the signed record that a loader demands, and that names every byte it may open.

On disk it is two files of the approved folder: `approval.json`, a sigstore bundle whose DSSE envelope holds an in-toto
statement with a SLSA verification summary, and `approval.leaves`, the digests by which a loader verifies parts of a
file; the root of each file's leaves stands in the signed statement. Neither file is a subject of the approval.

Source: https://slsa.dev/spec/v1.1/verification_summary, https://in-toto.io/Statement/v1.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from weighbridge.records import dataclass

NAME: Final = "approval.json"
LEAVES: Final = "approval.leaves"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedFile:
    """A file that may be opened: its path, size in bytes, sha256 and format; `leaves` is the root of its leaves."""

    path: str
    size: int
    sha256: str
    format: str
    leaves: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Something that loaders refuse unless an approval names it: a key of a configuration, or a file of code.

    `digest` is the sha256 of the value of `key` as canonical JSON, or of the file's bytes where `key` is empty.
    """

    path: str
    key: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What was approved, by whom and until when; only ever made from a verified signature.

    `resource` is the pinned reference of the model; `tree` the digest of the manifest of `files`; `policy` and `rules`
    are digests; `verifier` names who judged and `signer` is the name that the trust policy gives to who signed.
    `derived_from` is the tree that converted files were made from, empty when none were. `digest` is the sha256 of the
    signed payload, by which a single approval is revoked.
    """

    resource: str
    files: tuple[ApprovedFile, ...]
    tree: str
    policy: str
    rules: str
    weighbridge: str
    verifier: str
    signer: str
    approved: datetime
    expires: datetime
    formats: tuple[str, ...] = ()
    allowed: tuple[Allowed, ...] = ()
    derived_from: str = ""
    digest: str = ""
