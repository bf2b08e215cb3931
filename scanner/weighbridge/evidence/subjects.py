"""Signatures over plain files, and statements about files by their digests alone: cosign's, and SLSA provenance.

A signature over a file says nothing of its name, and the names in the subjects of such statements are those that it had
when it was made. So a file is covered when its sha256 is signed, whatever it is called; and every file has to be, as
with any other signature. Statements of other kinds (reports, lists of weaknesses) vouch for nothing.

Source: https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md, https://slsa.dev/spec/v1.1/provenance
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from weighbridge.evidence import statement
from weighbridge.evidence.base import Evidence, Signature
from weighbridge.evidence.coverage import Coverage, below
from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.evidence.measure import Plan
from weighbridge.evidence.tree import Contents
from weighbridge.refusals import ContentMismatch, SignatureUnsupported

PREDICATES: Final = {
    "https://sigstore.dev/cosign/sign/v1": "cosign",
    "https://slsa.dev/provenance/v0.2": "slsa-provenance",
    "https://slsa.dev/provenance/v1": "slsa-provenance",
}
FILE: Final = "file"  # the format of a signature over a plain file
SHA256: Final = 32  # bytes


def speaks(signature: Signature, where: str) -> bool:
    """Tell whether a signature is over a plain file, or over a statement that vouches for files by their digests.

    Raises SignatureMalformed when what is signed is to be a statement and is none.
    """
    if signature.payload_type != IN_TOTO:
        return not signature.payload_type
    return statement.parse(signature.payload, signature.payload_type, where).predicate_type in PREDICATES


def verify(
    contents: Contents,
    signature: Signature,
    where: str,
    *,
    ignored: Collection[str] = (),
    beside: Collection[str] = (),
    partly: bool = False,
) -> tuple[Evidence, Coverage]:
    """Return the evidence that a verified signature is for files, and what it covers.

    `ignored` and `beside` are as in `coverage.cover`. Raises ContentMismatch unless every other file is covered (or
    some file, when `partly`), SignatureUnsupported when no sha256 is signed.
    """
    form, predicate_type, signed = _signed(signature, where)
    asked = [path for path in contents.paths if path not in beside and not below(path, ignored)]
    measured = contents.measure({path: Plan() for path in asked})
    covered = {path: found for path, found in measured.items() if found.sha256 in signed}
    extra = sorted(measured.keys() - covered.keys())
    if extra and not (partly and covered):
        fix = "verify the file that was signed, or fetch it again"
        raise ContentMismatch(contents.where, extra=extra, fix=fix)
    coverage = Coverage.of(covered, sorted(set(contents.paths) - covered.keys()))
    evidence = Evidence(
        kind="signature" if form == FILE else "attestation",
        format=form,
        subject=coverage.tree,
        signature=signature,
        predicate_type=predicate_type,
        covered=coverage.covered,
        uncovered=coverage.uncovered,
    )
    return evidence, coverage


def _signed(signature: Signature, where: str) -> tuple[str, str, set[str]]:
    """Return what was signed: the format, the predicate type if there is one, and the sha256 of files."""
    if not signature.payload_type:
        if len(signature.payload) != SHA256:
            raise SignatureUnsupported(where, "a signature over a file by another digest than sha256")
        return FILE, "", {signature.payload.hex()}
    parsed = statement.parse(signature.payload, signature.payload_type, where)
    digests = {one.digests["sha256"] for one in parsed.subjects if "sha256" in one.digests}
    if not digests:
        raise SignatureUnsupported(where, "a statement about files by other digests than sha256")
    return PREDICATES[parsed.predicate_type], parsed.predicate_type, digests
