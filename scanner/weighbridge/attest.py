"""Attestations: what a scan found and what was decided, as in-toto statements that others can sign and verify.

* The scan result is a predicate of our own, described by `docs/schema/scan-result-1.schema.json`: which scanner with
  which rules looked at which bytes, what it found in each file, and what it could not read.
* The decision is a SLSA verification summary: passed or failed, by which policy.

Both are about every file by its sha256, and about the tree, whose digest binds the paths as well.

Source: https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.1/verification_summary.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from weighbridge.approval import EXTENSION, Allowed, ApprovedFile
from weighbridge.artifact import Entry, Manifest
from weighbridge.digest import Digest
from weighbridge.errors import UsageError
from weighbridge.evidence import statement
from weighbridge.evidence.base import Signature
from weighbridge.evidence.statement import FAILED, PASSED, SUMMARY, TIME, TREE, Statement, Subject
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.facts import Gap
from weighbridge.judgement import Finding, Unknown
from weighbridge.location import printable
from weighbridge.policy import Coverage, FileVerdict, Outcome, Verdict, Waived
from weighbridge.records import dataclass
from weighbridge.refusals import ApprovalUntrusted, ContentMismatch, ManifestInvalid, SignatureUnsupported
from weighbridge.report.base import describe

SCAN_RESULT: Final = "urn:weighbridge:scan-result:1"
LEVEL: Final = "WEIGHBRIDGE_PASS"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Something that a decision rests on, by its digest: a scan result, a signature, a lock."""

    uri: str
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """A verified statement: what it says, and who signed it."""

    statement: Statement
    signature: Signature


def manifest_of(verdict: Verdict, root: str = "") -> Manifest:
    """Return what a verdict is about, with paths relative to the folder `root`.

    Raises UsageError when the bytes of some file were not digested, SourceError when a path can be no file's.
    """
    for file in verdict.files:
        if file.digest is None:
            name = printable(file.path)
            raise UsageError(f"{name}: there is no digest of it, so that nothing can be attested; scan it with digests")
    return Manifest(
        entries=tuple(
            Entry(relative(file.path, root), file.size, file.digest.value) for file in verdict.files if file.digest
        )
    )


def subjects(manifest: Manifest) -> list[Subject]:
    """Return every file and the tree as subjects of a statement; the tree is the last."""
    named = [Subject(name=one.path, digests={"sha256": one.sha256}) for one in manifest.entries]
    return [*named, Subject(name=TREE, digests={"sha256": manifest.digest.value})]


def scan_result(verdict: Verdict, *, at: datetime, root: str = "", source: str = "") -> bytes:
    """Return the statement of what a scan found; `at` is when, in UTC, and `source` the reference of files on disk.

    Raises as `manifest_of` does.
    """
    manifest = manifest_of(verdict, root)
    found = _by_file(verdict)
    predicate = {
        "scanner": {"name": "weighbridge", "version": verdict.version, "rules": verdict.rules_digest},
        "scannedAt": timestamp(at),
        "source": printable(verdict.source or source),
        "tree": str(manifest.digest),
        "policy": {"name": verdict.policy, "failAt": verdict.fail_at.value, "digest": verdict.policy_digest},
        "outcome": verdict.outcome.value,
        "coverage": _coverage(verdict.coverage),
        "files": [_file(file, root, found.get(file.path, {})) for file in verdict.files],
        "waived": [_waived(one, root) for one in verdict.waived],
        "excluded": [printable(path) for path in verdict.excluded],
    }
    return statement.render(subjects(manifest), SCAN_RESULT, predicate)


def decision(
    verdict: Verdict,
    manifest: Manifest,
    *,
    at: datetime,
    verifier: str,
    resource: str,
    inputs: Iterable[Input] = (),
    extensions: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the statement of what was decided on the files of a manifest: PASSED for pass, FAILED for anything else.

    `verifier` is a URI that names who decides, `resource` the reference of the model, `extensions` further fields of
    the predicate, whose names must be URIs.
    """
    passed = verdict.outcome is Outcome.PASS
    predicate = {
        "verifier": {"id": verifier, "version": {"weighbridge": verdict.version, "rules": verdict.rules_digest}},
        "timeVerified": timestamp(at),
        "resourceUri": resource,
        "policy": {
            "uri": f"urn:weighbridge:policy:{verdict.policy}",
            "digest": {"sha256": verdict.policy_digest.removeprefix("sha256:")},
        },
        "inputAttestations": [{"uri": one.uri, "digest": {one.digest.algorithm: one.digest.value}} for one in inputs],
        "verificationResult": PASSED if passed else FAILED,
        "verifiedLevels": [LEVEL] if passed else [],
        "slsaVersion": "1.1",
        **(extensions or {}),
    }
    return statement.render(subjects(manifest), SUMMARY, predicate)


def grant(
    verdict: Verdict,
    files: Iterable[ApprovedFile],
    *,
    at: datetime,
    expires: datetime,
    verifier: str,
    resource: str,
    inputs: Iterable[Input] = (),
    allowed: Iterable[Allowed] = (),
    derived_from: str = "",
) -> bytes:
    """Return the statement that approves files on a verdict of pass; signed, it is an approval.

    Raises ValueError on any other verdict: what did not pass is approved by nobody.
    """
    if verdict.outcome is not Outcome.PASS:
        raise ValueError("only what passed is approved")
    approved = sorted(files, key=lambda file: file.path)
    manifest = Manifest(entries=tuple(Entry(file.path, file.size, file.sha256) for file in approved))
    extension = {
        "expires": timestamp(expires),
        "formats": sorted({file.format for file in approved}),
        "files": {file.path: {"size": file.size, "format": file.format, "leaves": file.leaves} for file in approved},
        "allowed": [{"path": one.path, "key": one.key, "digest": one.digest} for one in allowed],
        "derivedFrom": derived_from,
    }
    return decision(
        verdict,
        manifest,
        at=at,
        verifier=verifier,
        resource=resource,
        inputs=inputs,
        extensions={EXTENSION: extension},
    )


def read(signature: Signature, where: str, *, kind: str = "") -> Attestation:
    """Return the statement that was signed; `kind`, if there is one, is the predicate type that is wanted.

    Raises SignatureMalformed or SignatureUnsupported when the payload is no such statement.
    """
    found = statement.parse(signature.payload, signature.payload_type, where)
    if kind and found.predicate_type != kind:
        raise SignatureUnsupported(where, f"the predicate is {printable(found.predicate_type)}, not {kind}")
    return Attestation(statement=found, signature=signature)


def compare(found: Statement, manifest: Manifest, where: str) -> None:
    """Raise ContentMismatch unless a statement speaks of every file of a manifest as it is, and of no other.

    Raises ManifestInvalid when it contradicts itself.
    """
    said = {one.name: one.digests.get("sha256") for one in found.subjects if one.name != TREE}
    trees = [one.digests.get("sha256") for one in found.subjects if one.name == TREE]
    if len(said) + len(trees) != len(found.subjects):
        raise ManifestInvalid(where, "it speaks of a file twice", "attest what is there now")
    held = {entry.path: entry.sha256 for entry in manifest.entries}
    changed = sorted(path for path in said.keys() & held.keys() if said[path] != held[path])
    missing, extra = sorted(said.keys() - held.keys()), sorted(held.keys() - said.keys())
    if changed or missing or extra:
        raise ContentMismatch(where, changed=changed, missing=missing, extra=extra, fix="attest what is there now")
    if any(tree != manifest.digest.value for tree in trees):
        raise ManifestInvalid(where, "the tree in it is not that of its files", "attest what is there now")


def check_verifier(found: Attestation, trust: TrustPolicy, where: str) -> None:
    """Raise ApprovalUntrusted when an approver decided in the name of a verifier that it may not speak for.

    Source: SLSA 1.1, verification summary, "How to verify": only known pairs of signer and verifier are accepted.
    """
    mine = {one.verifier_id for one in trust.approvers.values() if one.signer == found.signature.signer}
    if not mine or found.statement.predicate_type != SUMMARY:
        return
    verifier = found.statement.predicate.get("verifier")
    named = verifier.get("id") if isinstance(verifier, dict) else None
    if named not in mine:
        expected = " or ".join(sorted(mine))
        reason = f"{found.signature.signer} speaks for {printable(str(named))}, and may only for {expected}"
        raise ApprovalUntrusted(where, reason, f"correct [approvers] in {trust.where} if that is meant")


def outcome(found: Statement) -> str:
    """Return what a statement says came out: of a scan its outcome, of a decision its result, of others nothing."""
    key = {SCAN_RESULT: "outcome", SUMMARY: "verificationResult"}.get(found.predicate_type, "")
    said = found.predicate.get(key, "")
    return said if isinstance(said, str) else ""


def timestamp(at: datetime) -> str:
    """Return a time in UTC as RFC 3339 writes it, to the second."""
    return at.strftime(TIME)


def relative(path: str, root: str) -> str:
    """Return the path below the folder `root` of a file that a verdict names."""
    prefix = os.path.normpath(root).replace(os.sep, "/") + "/" if root else ""
    return path.removeprefix(prefix)


def _by_file(verdict: Verdict) -> dict[str, dict[str, list[Any]]]:
    """Return findings, unknowns and gaps by the path of the file that they are in."""
    found: dict[str, dict[str, list[Any]]] = {}
    for kind, items in (("findings", verdict.findings), ("unknowns", verdict.unknowns), ("gaps", verdict.gaps)):
        for item in items:
            found.setdefault(item.location.path[0], {}).setdefault(kind, []).append(item)
    return found


def _file(file: FileVerdict, root: str, found: Mapping[str, list[Any]]) -> Document:
    return {
        "path": relative(file.path, root),
        "size": file.size,
        "sha256": file.digest.value if file.digest else None,
        "formats": list(file.formats),
        "outcome": file.outcome.value,
        "coverage": _coverage(file.coverage),
        "complete": not found.get("gaps") and not file.coverage.unexamined,
        "findings": [_finding(one) for one in found.get("findings", ())],
        "unknowns": [_unknown(one) for one in found.get("unknowns", ())],
        "gaps": [_gap(one) for one in found.get("gaps", ())],
    }


def _coverage(coverage: Coverage) -> Document:
    return {"parsed": coverage.parsed, "inert": coverage.inert, "unexamined": coverage.unexamined}


def _place(item: Finding | Unknown | Gap) -> Document:
    return {"members": [printable(one) for one in item.location.path[1:]], "offset": item.location.offset}


def _finding(finding: Finding) -> Document:
    return {
        **_place(finding),
        "rule": finding.rule.id,
        "severity": finding.rule.severity.value,
        "message": describe(finding.fact),
        "repeated": finding.repeated,
    }


def _unknown(unknown: Unknown) -> Document:
    return {
        **_place(unknown),
        "message": describe(unknown.fact),
        "reason": printable(unknown.reason),
        "repeated": unknown.repeated,
    }


def _gap(gap: Gap) -> Document:
    return {**_place(gap), "reason": printable(gap.reason), "size": gap.size, "limit": gap.limit or None}


def _waived(one: Waived, root: str) -> Document:
    item = _finding(one.item) if isinstance(one.item, Finding) else _unknown(one.item)
    return {
        "path": relative(one.item.location.path[0], root),
        "item": item,
        "reason": printable(one.waiver.reason),
        "approver": printable(one.waiver.approver),
        "expires": one.waiver.expires.isoformat(),
    }
