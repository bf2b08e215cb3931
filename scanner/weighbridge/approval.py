"""The approval: the signed record that a loader demands, and that names every byte it may open.

On disk it is two files of the approved folder: `approval.json`, a sigstore bundle whose DSSE envelope holds an in-toto
statement with a SLSA verification summary, and `approval.leaves`, the digests by which a loader verifies parts of a
file; the root of each file's leaves stands in the signed statement. Neither file is a subject of the approval.

Source: https://slsa.dev/spec/v1.1/verification_summary, https://in-toto.io/Statement/v1.
"""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from typing import Any, Final

from weighbridge.artifact import Entry, Manifest
from weighbridge.digest import Digest
from weighbridge.errors import SourceError
from weighbridge.evidence import bundle, statement
from weighbridge.evidence.base import Signature
from weighbridge.evidence.bundle import Bundle
from weighbridge.evidence.statement import PASSED, SUMMARY, TIME, TREE, Statement
from weighbridge.evidence.strict import member
from weighbridge.evidence.trust_policy import TrustPolicy, bare
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.refusals import (
    ApprovalExpired,
    ApprovalFailed,
    ApprovalMalformed,
    ApprovalMismatch,
    ApprovalMissing,
    ApprovalRevoked,
    ApprovalUntrusted,
    EvidenceError,
    SignatureMalformed,
    SignatureUnsupported,
)

NAME: Final = "approval.json"
LEAVES: Final = "approval.leaves"
EXTENSION: Final = "urn:weighbridge:approval:1"
# Not what a link leads to, and never waiting for a writer of a pipe.
_OPEN: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


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


def read(folder: int, *, trust: TrustPolicy, now: datetime, where: str) -> Approval:
    """Return the approval in an open folder, if it holds; `where` is the folder's name for errors.

    Raises a NotApproved, by what is wrong.
    """
    return verify(read_bundle(folder, where), trust=trust, now=now, where=f"{where}/{NAME}")


def expect(found: Approval, source: str, where: str) -> None:
    """Raise ApprovalMismatch unless an approval is of a source: a reference, with the revision or of any.

    An approved folder that somebody put into the place of another is approved, too.
    """
    if source not in (found.resource, found.resource.rpartition("@")[0]):
        reason = f"it is of {printable(found.resource)}, not of {printable(source)}"
        raise ApprovalMismatch(where, reason, "load the folder that was approved for it")


def read_bundle(folder: int, where: str) -> bytes:
    """Return the bytes of the approval in an open folder.

    Raises ApprovalMissing or ApprovalMalformed when there is none.
    """
    name = f"{where}/{NAME}"
    try:
        descriptor = os.open(NAME, _OPEN, dir_fd=folder)
    except FileNotFoundError as error:
        fix = "`weighbridge gate` or `weighbridge approve` writes one when the model passes"
        raise ApprovalMissing(name, "there is no approval", fix) from error
    except OSError as error:
        raise ApprovalMalformed(name, f"cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ApprovalMalformed(name, "not a file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(bundle.LIMIT + 1)
    finally:
        os.close(descriptor)


def verify(raw: bytes, *, trust: TrustPolicy, now: datetime, where: str) -> Approval:
    """Return the approval in a bundle, if it holds: signed by an approver, passed, in time and not revoked.

    Raises a NotApproved, by what is wrong.
    """
    found = authenticate(raw, trust=trust, now=now, where=where)
    if now >= found.expires:
        since = found.expires.strftime(TIME)
        raise ApprovalExpired(where, f"it expired at {since}", "run the gate again, or `weighbridge approve`")
    copy = str(Digest.of(raw))  # by which people who have the file know it; of one approval there may be several
    if what := denied(found, trust) or (copy if trust.deny.approval(copy) else ""):
        raise ApprovalRevoked(where, f"{what} is denied by {trust.where}", "nothing may load this model")
    return found


def denied(found: Approval, trust: TrustPolicy) -> str:
    """Return what of an approval a trust policy denies, empty when nothing: its files, what they were made of, itself.

    What was converted is no better than what it was converted from.
    """
    trees = (tree for tree in (found.tree, found.derived_from) if tree and trust.deny.tree(tree))
    return next(trees, found.digest if trust.deny.approval(found.digest) else "")


def authenticate(raw: bytes, *, trust: TrustPolicy, now: datetime, where: str) -> Approval:
    """Return the approval in a bundle that an approver signed, which may have expired or been revoked since.

    Raises a NotApproved, by what is wrong.
    """
    try:
        parsed = bundle.parse(raw, where)
    except (SignatureMalformed, SignatureUnsupported) as error:
        raise ApprovalMalformed(where, error.reason, "approve the model again") from error
    found = read_statement(_signature(parsed, trust, now, where), where)
    _check_approver(found, trust, where)
    return found


def _signature(parsed: Bundle, trust: TrustPolicy, now: datetime, where: str) -> Signature:
    """Return the signature of the first approver who made it."""
    from weighbridge.evidence import verifier

    refusals: list[EvidenceError] = []
    for name in dict.fromkeys(one.signer for one in trust.approvers.values()):
        try:
            return verifier.verify(parsed, trust.signers[name], trust, now=now, where=where)
        except EvidenceError as error:
            refusals.append(error)
    if not refusals:
        fix = "`weighbridge key init` makes one who is trusted here, [approvers] in the trust policy names others"
        raise ApprovalUntrusted(where, f"{trust.where} names nobody who may approve", fix)
    names = ", ".join(sorted({one.signer for one in trust.approvers.values()}))
    reason = f"none of the approvers {names} signed it: {refusals[-1].reason}"
    raise ApprovalUntrusted(where, reason, f"have it approved by one of them, or name who did in {trust.where}")


def _check_approver(found: Approval, trust: TrustPolicy, where: str) -> None:
    """Raise unless the signer may speak for the verifier that is named, and judged by a policy that is accepted."""
    mine = [one for one in trust.approvers.values() if one.signer == found.signer]
    allowed = [one for one in mine if one.verifier_id == found.verifier]
    if not allowed:
        expected = " or ".join(sorted({one.verifier_id for one in mine}))
        reason = f"{found.signer} speaks for {printable(found.verifier)}, and may only for {expected}"
        raise ApprovalUntrusted(where, reason, f"correct [approvers] in {trust.where} if that is meant")
    policies = [one.policy_sha256 for one in allowed]
    if all(policies) and not any(bare(found.policy) in map(bare, accepted) for accepted in policies):
        reason = f"it was judged by the policy {found.policy}, which {trust.where} does not accept"
        raise ApprovalMismatch(where, reason, "run the gate with a policy that is accepted")


def read_statement(signature: Signature, where: str) -> Approval:
    """Return the approval in a verified statement, complete and consistent, whether or not it holds today.

    Raises ApprovalMalformed when it is none, ApprovalFailed when the verdict in it is not PASSED.
    """
    try:
        found = statement.parse(signature.payload, signature.payload_type, where)
        if found.predicate_type != SUMMARY:
            raise ApprovalMalformed(where, f"the predicate is {printable(found.predicate_type)}, not {SUMMARY}")
        result = member(dict(found.predicate), "verificationResult", str, where)
        if result != PASSED:
            raise ApprovalFailed(
                where, f"the verdict is {printable(result)}, not {PASSED}", "nothing may load this model"
            )
        return _approval(found, signature, where)
    except (SignatureMalformed, SignatureUnsupported) as error:
        raise ApprovalMalformed(where, error.reason, "approve the model again") from error


def _approval(found: Statement, signature: Signature, where: str) -> Approval:
    predicate = dict(found.predicate)
    extension = member(predicate, EXTENSION, dict, where)
    verifier, policy = member(predicate, "verifier", dict, where), member(predicate, "policy", dict, where)
    version = member(verifier, "version", dict, where)
    files = _files(found, member(extension, "files", dict, where), where)
    return Approval(
        resource=member(predicate, "resourceUri", str, where),
        files=files,
        tree=_tree(found, files, where),
        policy="sha256:" + _hex(member(policy, "digest", dict, where).get("sha256"), where),
        rules=member(version, "rules", str, where),
        weighbridge=member(version, "weighbridge", str, where),
        verifier=member(verifier, "id", str, where),
        signer=signature.signer,
        approved=_time(predicate.get("timeVerified"), where),
        expires=_time(extension.get("expires"), where),
        formats=tuple(sorted({file.format for file in files})),
        allowed=tuple(_allowed(one, where) for one in member(extension, "allowed", list, where)),
        derived_from=member(extension, "derivedFrom", str, where),
        digest=str(Digest.of(signature.payload)),
    )


def _files(found: Statement, particulars: dict[str, Any], where: str) -> tuple[ApprovedFile, ...]:
    """Return the approved files; a subject and what the extension says of it belong together one to one."""
    digests = {one.name: one.digests.get("sha256") for one in found.subjects if one.name != TREE}
    if len(digests) != len(found.subjects) - 1 or digests.keys() != particulars.keys():
        raise ApprovalMalformed(where, "the subjects are not the files that it speaks of, each once, and the tree")
    files = []
    for path in sorted(digests):
        said = member(particulars, path, dict, where)
        size = member(said, "size", int, where)
        if size < 0:
            raise ApprovalMalformed(where, "a size is negative")
        files.append(
            ApprovedFile(
                path=path,
                size=size,
                sha256=_hex(digests[path], where),
                format=member(said, "format", str, where),
                leaves=_hex(said.get("leaves"), where),
            )
        )
    return tuple(files)


def _tree(found: Statement, files: tuple[ApprovedFile, ...], where: str) -> str:
    """Return the digest of the tree, which must be that of the files; no path of them may leave the folder."""
    try:
        manifest = Manifest(entries=tuple(Entry(file.path, file.size, file.sha256) for file in files))
    except SourceError as error:
        raise ApprovalMalformed(where, f"an unsafe path: {error}") from error
    tree = next((one.digests.get("sha256") for one in found.subjects if one.name == TREE), None)
    if tree != manifest.digest.value:
        raise ApprovalMalformed(where, "the tree is not that of the files")
    return str(manifest.digest)


def _allowed(value: object, where: str) -> Allowed:
    if not isinstance(value, dict):
        raise ApprovalMalformed(where, "what is allowed is not an object")
    return Allowed(
        path=member(value, "path", str, where),
        key=member(value, "key", str, where),
        digest=_hex(value.get("digest"), where),
    )


def _hex(value: object, where: str) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ApprovalMalformed(where, "a digest is not a sha256 of 64 hexadecimal digits")
    return value


def _time(value: object, where: str) -> datetime:
    try:
        return datetime.strptime(str(value), TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise ApprovalMalformed(where, f"{value!a} is no time as RFC 3339 writes it in UTC") from error
