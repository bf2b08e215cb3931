"""Collect what a bundle is to carry from where it lies, when it holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from weighbridge import approval, rule_files
from weighbridge.airgap.cargo import LIMIT, TRUST, Cargo, check_paths, check_rules
from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UsageError
from weighbridge.evidence import trust_policy, verifier
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.location import printable
from weighbridge.lock import NAME as LOCK
from weighbridge.reading import read_file


def collect(*, rules: Path | None, trust: Path | None, approved: Sequence[Path], now: datetime) -> Cargo:
    """Return what is to be carried: a folder of rules, a trust policy with what it names, and approvals of folders.

    Raises UsageError and DocumentError when something of it is wrong, SourceError when it cannot be read, and an
    EvidenceError when a root or key is not the one that is pinned, an approval does not hold by the trust policy, or a
    name is one that no bundle may hold.
    """
    files: dict[str, bytes] = {}
    if rules is not None:
        files |= _rules(rules)
    believed = trust_policy.default() if trust is None else trust_policy.read(trust)
    if trust is not None:
        files |= _trust(believed, trust)
    for folder in approved:
        files |= _approval(folder, believed, now)
    if not files:
        raise UsageError("nothing to carry: name rules, a trust policy or approved folders")
    if (size := sum(map(len, files.values()))) > LIMIT:
        raise UsageError(f"{size} bytes; a bundle carries at most {LIMIT}, and models travel beside it")
    check_paths(files, "bundle")
    return Cargo(files=dict(sorted(files.items())), made=now)


def _rules(folder: Path) -> dict[str, bytes]:
    if not check_rules(folder).rules:
        raise UsageError(f"{printable(str(folder))}: no rules in this folder")
    found = {f"rules/{name}": data for name, data in rule_files.read_files(str(folder)).items()}
    policies = sorted((folder / "policies").glob("*.yaml"))
    return found | {f"rules/policies/{path.name}": read_file(path, LIMIT) for path in policies}


def _trust(policy: TrustPolicy, path: Path) -> dict[str, bytes]:
    """Return a trust policy and what it names, each where the policy will find it, and with the digest it pins."""
    found = {TRUST: read_file(path, LIMIT)}
    if str(Digest.of(found[TRUST])) != policy.digest:
        raise SourceError(f"{policy.where}: changed while it was read")
    for root in policy.roots.values():
        found[_beside(root.trusted_root or root.pem, policy)] = root.read()
    for signer in policy.signers.values():
        if signer.public_key:
            verifier.trusted_key(signer)
            found[_beside(signer.public_key, policy)] = read_file(signer.path, LIMIT)
    return found


def _beside(named: str, policy: TrustPolicy) -> str:
    """Return the path in the bundle of a file that a trust policy names."""
    path = os.path.normpath(named).replace(os.sep, "/")
    if path.startswith(("/", "../")) or ":" in path or path in (".", "..", "trust.toml"):
        raise UsageError(
            f"{policy.where} names {printable(named)}: only files in its own folder can be carried with it"
        )
    return f"trust/{path}"


def _approval(folder: Path, trust: TrustPolicy, now: datetime) -> dict[str, bytes]:
    where = printable(str(folder))
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError as error:
        raise SourceError(f"{where}: {error.strerror or error}") from error
    try:
        raw = approval.read_bundle(descriptor, where)
    finally:
        os.close(descriptor)
    found = approval.verify(raw, trust=trust, now=now, where=f"{where}/{approval.NAME}")
    place = f"approvals/{found.tree.removeprefix('sha256:')}"
    files = {f"{place}/{approval.NAME}": raw, f"{place}/{approval.LEAVES}": read_file(folder / approval.LEAVES, LIMIT)}
    if (folder / LOCK).is_file():
        files[f"{place}/{LOCK}"] = read_file(folder / LOCK, LIMIT)
    return files
