"""Approve a folder: measure every file that passed, sign what was measured, and write the approval beside the files.

What is written is what `approval` reads. A file that is altered between the scan and the measurement has another
digest than the verdict's, and nothing is approved.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from weighbridge import attest, card, leaves
from weighbridge.approval import LEAVES, NAME, Allowed, Approval, ApprovedFile, expect, read, read_statement
from weighbridge.attest import Input
from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UsageError
from weighbridge.evidence.base import Method, Signature
from weighbridge.evidence.coverage import Expected, cover
from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.evidence.signers import Signer
from weighbridge.evidence.tree import Tree
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.formats import sniff
from weighbridge.leaves import Measured
from weighbridge.location import Location, printable
from weighbridge.lock import NAME as LOCK
from weighbridge.policy import Verdict
from weighbridge.reader import from_descriptor
from weighbridge.records import dataclass, replace
from weighbridge.refusals import ChangedDuringRead, SignatureMissing
from weighbridge.requirements import Requirements, Unmet, of_files, of_licences, of_source
from weighbridge.writing import write

# What lies at the top of an approved folder beside the model, and is no part of it.
RESERVED: Final = frozenset({NAME, LEAVES, LOCK, "report.json", "report.html"})
# Formats that say more of what a file makes a loader do than others that its bytes have too.
_TELLING: Final = (("python", "native"), ("json", "yaml"))
_FIX: Final = "let the model cross with `weighbridge gate`, which verifies who signed it"
_OPEN: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms something is approved: when and until when (UTC), in whose name, and of which model.

    `allowed` is what loaders refuse unless it is named; `inputs` are the attestations that the decision rests on;
    `derived_from` is the tree that converted files were made from.
    """

    at: datetime
    expires: datetime
    verifier: str
    resource: str
    allowed: tuple[Allowed, ...] = ()
    inputs: tuple[Input, ...] = ()
    derived_from: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """An approval that was written: the bundle, and what it says."""

    bundle: bytes
    approval: Approval


def approve(
    folder: Path, verdict: Verdict, signer: Signer, terms: Terms, *, measured: Mapping[str, Measured] | None = None
) -> Granted:
    """Approve the files of a folder that a verdict of pass is about.

    `measured` is what `measure_folder` returned, if nobody else could write to the folder since then.

    Raises ChangedDuringRead when a file is not what was scanned, MalformedHeader when a safetensors file is one that no
    loader here would take, UsageError when one has a name of those that lie beside the model, SourceError when the
    system refuses, and whatever the signer raises; nothing is written then.
    """
    files = files_of(verdict)
    if taken := reserved([file.path for file in files]):
        raise UsageError(f"{printable(str(folder / taken))}: on some systems a name of what lies beside the model")
    found = [_confirmed(folder, file, (measured or {}).get(file.path)) for file in files]
    files = [replace(file, leaves=one.root) for file, one in zip(files, found, strict=True)]
    payload = attest.grant(
        verdict,
        files,
        at=terms.at,
        expires=terms.expires,
        verifier=terms.verifier,
        resource=terms.resource,
        inputs=terms.inputs,
        allowed=terms.allowed,
        derived_from=terms.derived_from,
    )
    bundle = signer.sign(payload, IN_TOTO)
    write(folder / LEAVES, leaves.sidecar(found))
    write(folder / NAME, [bundle])
    return Granted(bundle=bundle, approval=_said(payload, bundle, signer, str(folder / NAME)))


def _said(payload: bytes, bundle: bytes, signer: Signer, where: str) -> Approval:
    """Return what an approval says that was just signed here."""
    signature = Signature(
        method=Method.KEY,
        signer="",
        identity=signer.identity,
        payload_type=IN_TOTO,
        payload=payload,
        bundle=Digest.of(bundle),
    )
    return read_statement(signature, where)


def check(folder: Path, *, trust: TrustPolicy, now: datetime, source: str | None = None) -> Approval:
    """Return the approval of a folder that holds: signed, in time, and of every file that is there, byte for byte.

    `source` is the reference that it has to be of (None: any). Raises a NotApproved when the approval does not hold,
    another EvidenceError when the files are not those that were approved, SourceError when the folder cannot be read.
    """
    shown = printable(str(folder))
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise SourceError(f"{shown}: {error.strerror}") from error
    try:
        found = read(descriptor, trust=trust, now=now, where=shown)
    finally:
        os.close(descriptor)
    if source is not None:
        expect(found, source, f"{shown}/{NAME}")
    compare(folder, found)
    return found


def compare(folder: Path, found: Approval) -> None:
    """Raise ContentMismatch or another EvidenceError unless a folder holds what was approved, and nothing else."""
    fix = "let the model through the gate again, or approve what is there now with `weighbridge approve`"
    expected = {file.path: Expected(digests=(file.sha256,), size=file.size) for file in found.files}
    with Tree(folder) as tree:
        cover(tree, expected, beside=RESERVED, fix=fix)


def files_of(verdict: Verdict) -> list[ApprovedFile]:
    """Return the files that a verdict is about, by path, as they are approved; their leaves are not known yet.

    Raises UsageError when a file was not digested.
    """
    attest.manifest_of(verdict)
    return sorted(
        (
            ApprovedFile(
                path=file.path,
                size=file.size,
                sha256=file.digest.value if file.digest else "",
                format=telling(file.formats),
                leaves="",
            )
            for file in verdict.files
        ),
        key=lambda file: file.path,
    )


def telling(formats: Sequence[str]) -> str:
    """Return the format to approve a file by, of those that its bytes have: code first, then what is read as settings.

    Bytes that are an archive and a program at once are a program to whoever runs them.
    """
    for kinds in _TELLING:
        if found := next((one for one in formats if one in kinds), ""):
            return found
    return formats[0] if formats else ""


def measure_folder(folder: Path, known: Mapping[str, Measured] = MappingProxyType({})) -> dict[str, Measured]:
    """Return what the files of a folder are approved by, by their paths, each file read once.

    `known` are files that were measured already, to which nobody else can have written since.

    Raises MalformedHeader when a safetensors file is one that no loader here would take, SourceError when the system
    refuses.
    """
    places = sorted(place for place in folder.rglob("*") if place.is_file() and not place.is_symlink())
    named = {place.relative_to(folder).as_posix(): place for place in places}
    return {path: known.get(path) or _measure(place) for path, place in named.items()}


def _confirmed(folder: Path, file: ApprovedFile, known: Measured | None) -> Measured:
    """Return what a file is approved by; raise ChangedDuringRead when that is not what was scanned."""
    name = printable(str(folder / file.path))
    found = known or _measure(folder / file.path)
    if (found.sha256, found.size) != (file.sha256, file.size):
        raise ChangedDuringRead(name, "the file is not what was scanned", "approve when nobody writes to the folder")
    return found


def _measure(path: Path) -> Measured:
    name = printable(str(path))
    try:
        descriptor = os.open(path, _OPEN)
        try:
            sample = from_descriptor(descriptor, Location((name,))).sample
            kind = next((one.name for one in sniff(sample) if one.name == leaves.TENSORS), "")
            return leaves.measure(descriptor, kind, name)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SourceError(f"{name}: {error.strerror}") from error


def unmet(folder: Path, verdict: Verdict, asked: Requirements, source: str) -> list[Unmet]:
    """Return what a policy asks of a model and a folder that is here already does not meet.

    `source` is the reference that whoever approves gives it, empty when they give none: what a lock in the folder says
    of that may have come with the model. So may signatures, which the gate verifies, and nobody here.
    """
    where = source or folder.absolute().as_uri()
    size = sum(file.size for file in verdict.files)
    at_hand = replace(asked, pinned=False)  # a folder is not asked for by a revision, and its bytes are approved
    found = of_source(at_hand, source=where.rpartition("@")[0] or where, requested="", revision="", size=size)
    found += of_files(asked, ((one.path, one.formats) for one in verdict.files))
    licences = (
        card.read_file(folder / card.NAME).licences if any(one.path == card.NAME for one in verdict.files) else ()
    )
    found += of_licences(asked, licences, where)
    if asked.signature:
        reason = "the policy requires a signature, and none is verified of a folder that is here already"
        found.append(Unmet(code=SignatureMissing.code, where=printable(where), reason=reason, fix=_FIX))
    return found


def beside(paths: Iterable[str]) -> frozenset[str]:
    """Return the paths in a folder that are no part of its model: what the gate wrote there, or a pull."""
    return RESERVED if NAME in paths else frozenset({LOCK})


def reserved(paths: Sequence[str]) -> str | None:
    """Return the first path that a file of the model must not have, if there is one."""
    return next((path for path in paths if path.casefold() in RESERVED), None)
