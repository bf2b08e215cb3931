"""Lists of digests that nobody signed: `SHA256SUMS`, a lock, and what a registry declares.

They say that files are whole, and not from whom they are.

Source: the forms are those that GNU `sha256sum` and the BSDs' `sha256` write and read
(https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from weighbridge.artifact import Artifact, Manifest
from weighbridge.evidence.base import Evidence
from weighbridge.evidence.coverage import Coverage, Expected, check_names, cover
from weighbridge.evidence.tree import Contents
from weighbridge.location import printable
from weighbridge.refusals import ContentMismatch, ManifestInvalid, SignatureUnsupported

LIMIT: Final = 64 << 20  # bytes of a list: some 500 000 files, more than an artifact may have
SUMS: Final = "sha256sums"
LOCK: Final = "lock"
CLAIMS: Final = "claims"

_GNU: Final = re.compile(r"(\\?)([0-9a-fA-F]{64}) [ *](.+)")
_BSD: Final = re.compile(r"(\\?)SHA256 \((.+)\) = ([0-9a-fA-F]{64})")
_OTHER: Final = re.compile(r"\\?(?:[0-9a-fA-F]{32,128} [ *].|[A-Z0-9/-]+ \(.+\) = )|-----BEGIN PGP")
_ESCAPES: Final = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


def parse(raw: bytes, where: str) -> dict[str, Expected]:
    """Return the files of a `SHA256SUMS`, by path; a leading `./` is no part of one.

    Raises ManifestInvalid when a line is none of a list or a name is unsafe or occurs twice, SignatureUnsupported for
    lists of other digests and those inside a PGP signature.
    """
    if len(raw) > LIMIT:
        raise ManifestInvalid(where, f"{len(raw)} bytes, a list of digests has at most {LIMIT}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestInvalid(where, "not UTF-8") from error
    pairs = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if line and not line.startswith("#"):
            pairs.append(_line(line, f"{where}:{number}"))
    if not pairs:
        raise ManifestInvalid(where, "it lists no files")
    check_names((name for name, _ in pairs), where)
    return {name: Expected(digests=(digest,)) for name, digest in pairs}


def of_manifest(manifest: Manifest) -> dict[str, Expected]:
    """Return the files of a manifest, as a lock has it."""
    return {entry.path: Expected(digests=(entry.sha256,), size=entry.size) for entry in manifest.entries}


def verify(
    contents: Contents,
    expected: Mapping[str, Expected],
    form: str,
    *,
    ignored: Collection[str] = (),
    beside: Collection[str] = (),
) -> tuple[Evidence, Coverage]:
    """Return the evidence that files are as a list says, and what it covers; `form` is SUMS or LOCK.

    Raises ContentMismatch unless they are, and as `coverage.cover` says.
    """
    covered = cover(contents, expected, ignored=ignored, beside=beside)
    evidence = Evidence(
        kind="digests", format=form, subject=covered.tree, covered=covered.covered, uncovered=covered.uncovered
    )
    return evidence, covered


def claims(artifact: Artifact, manifest: Manifest) -> Evidence:
    """Return the evidence that what was read of an artifact is what its registry declares.

    A file for which the registry declares no sha256 is uncovered. The registry gave the bytes as well, so this says
    that they arrived whole and nothing more.

    Raises ContentMismatch when a file has another sha256 than is declared.
    """
    declared = {
        file.path: {claim.value for claim in file.claims if claim.algorithm == "sha256"} for file in artifact.files
    }
    entries = {entry.path: entry for entry in manifest.entries}
    changed = [path for path, entry in entries.items() if declared.get(path, set()) - {entry.sha256}]
    if changed:
        raise ContentMismatch(printable(artifact.reference), changed=changed, fix="fetch the model again")
    covered = {path for path in entries if declared.get(path)}
    return Evidence(
        kind="digests",
        format=CLAIMS,
        subject=manifest.digest,
        covered=tuple(sorted(covered)),
        uncovered=tuple(sorted(entries.keys() - covered)),
    )


def _line(line: str, where: str) -> tuple[str, str]:
    """Return the path and the digest of a line."""
    if match := _GNU.fullmatch(line):
        escaped, digest, name = match.groups()
    elif match := _BSD.fullmatch(line):
        escaped, name, digest = match.groups()
    elif _OTHER.match(line):
        raise SignatureUnsupported(where, "a list of other digests than sha256, or one inside a PGP signature")
    else:
        raise ManifestInvalid(where, f"no line of a list of sha256 digests: {printable(line[:80])}")
    if escaped:
        name = re.sub(r"\\[\\nr]", lambda found: _ESCAPES[found[0]], name)
    while name.startswith("./"):
        name = name.removeprefix("./").lstrip("/")
    return name, digest.lower()
