"""The one form of the file: written with a signature, and read when what stands there is what is written for it."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from weighbridge.airgap.cargo import LIMIT, READ_ONLY, Cargo, check_paths
from weighbridge.artifact import MAX_FILES
from weighbridge.digest import Digest
from weighbridge.evidence import bundle, statement, verifier
from weighbridge.evidence.base import Signature
from weighbridge.evidence.bundle import Bundle
from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.evidence.signers import Signer
from weighbridge.evidence.statement import TIME, Subject
from weighbridge.evidence.strict import member
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.location import printable
from weighbridge.reading import read_file
from weighbridge.records import dataclass
from weighbridge.refusals import (
    ContentMismatch,
    EvidenceError,
    ManifestInvalid,
    SignatureMalformed,
    SignatureUnsupported,
    SignerUntrusted,
)

NAME: Final = "bundle.json"
PREDICATE: Final = "urn:weighbridge:bundle:1"
_BLOCK: Final = 512  # bytes; a tar is made of these
_END: Final = bytes(2 * _BLOCK)
_SIZE: Final = slice(124, 135)  # where a header has the size, in octal digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A bundle that was verified: what it carries, who signed it, and its signature (a sigstore bundle)."""

    cargo: Cargo
    signer: str
    signature: bytes


def pack(cargo: Cargo, signer: Signer) -> Iterator[bytes]:
    """Yield the bytes of a bundle: the same cargo gives the same bytes, but for what a signature has of chance."""
    subjects = [Subject(name=path, digests={"sha256": Digest.of(data).value}) for path, data in cargo.files.items()]
    predicate = {
        "made": cargo.made.strftime(TIME),
        "weighbridge": cargo.weighbridge,
        "sizes": {path: len(data) for path, data in cargo.files.items()},
    }
    signed = signer.sign(statement.render(subjects, PREDICATE, predicate), IN_TOTO)
    for path, data in {NAME: signed, **cargo.files}.items():
        yield _header(path, len(data))
        yield data
        yield _padding(len(data))
    yield _END


def _header(path: str, size: int) -> bytes:
    """Return the header of a member: a regular file that everybody may read, of nobody and of no time."""
    member_ = tarfile.TarInfo(path)
    member_.size = size
    member_.mode = READ_ONLY
    try:
        return member_.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    except ValueError as error:
        raise ManifestInvalid("bundle", f"{printable(path)}: {error}") from error


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def read(path: Path, trust: TrustPolicy, signers: Collection[str], *, now: datetime) -> Received:
    """Return what a bundle carries, when one of the named signers of the trust policy signed it.

    Raises SourceError when it cannot be read, SignatureMalformed and ManifestInvalid when it is no bundle,
    ContentMismatch when its files are not those that were signed, and what `verifier.verify` does.
    """
    where = printable(str(path))
    raw = read_file(path, LIMIT)
    parsed = bundle.parse(_first(raw, where), where)
    signature = _signature(parsed, trust, signers, now, where)
    listed = listed_in(signature.payload, signature.payload_type, where)
    files = _files(raw, _after(len(parsed.raw)), listed, where)
    cargo = Cargo(files=files, made=listed.made, weighbridge=listed.weighbridge)
    return Received(cargo=cargo, signer=signature.who, signature=parsed.raw)


def _files(raw: bytes, position: int, listed: Listed, where: str) -> dict[str, bytes]:
    """Return the bytes of every file of a bundle; the first begins at `position`."""
    files: dict[str, bytes] = {}
    changed = []
    for name, (size, sha256) in listed.files.items():
        start = position + _BLOCK
        data = raw[start : start + size]
        end = start + size + len(_padding(size))
        if raw[position:start] != _header(name, size) or any(raw[start + size : end]) or len(raw) < end:
            raise ManifestInvalid(where, f"what stands before or behind {printable(name)} is not what was written")
        if Digest.of(data).value != sha256:
            changed.append(name)
        files[name] = data
        position = end
    if changed:
        raise ContentMismatch(where, changed=changed, fix="fetch the bundle again")
    if raw[position:] != _END:
        raise ManifestInvalid(where, "there is something behind the signed files, or the end is missing")
    return files


def _after(size: int) -> int:
    """Return where a member of some size ends, which begins at the beginning."""
    return _BLOCK + size + len(_padding(size))


def _first(raw: bytes, where: str) -> bytes:
    """Return the first member, the signature."""
    digits = raw[_SIZE]
    size = int(digits, 8) if re.fullmatch(rb"[0-7]{11}", digits) else -1
    if not 0 <= size <= bundle.LIMIT or raw[:_BLOCK] != _header(NAME, size) or len(raw) < _after(size):
        raise SignatureMalformed(where, "not what `weighbridge bundle export` writes")
    if any(raw[_BLOCK + size : _after(size)]):
        raise SignatureMalformed(where, "there is something behind the signature")
    return raw[_BLOCK : _BLOCK + size]


def _signature(parsed: Bundle, trust: TrustPolicy, signers: Collection[str], now: datetime, where: str) -> Signature:
    """Return the signature of the first of the signers who made it."""
    refused: EvidenceError | None = None
    for name in dict.fromkeys(signers):
        try:
            return verifier.verify(parsed, trust.signers[name], trust, now=now, where=where)
        except EvidenceError as error:
            refused = error
    raise refused or SignerUntrusted(where, f"{trust.where} names nobody who could have signed it", "--key names one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a statement says: the size and the sha256 of every file in the order of the paths, when and by what made."""

    files: Mapping[str, tuple[int, str]]
    made: datetime
    weighbridge: str


def listed_in(payload: bytes, payload_type: str, where: str) -> Listed:
    """Return what a statement says of the files of a bundle.

    Raises ManifestInvalid when it is wrong, SignatureUnsupported when it is about something else.
    """
    found = statement.parse(payload, payload_type, where)
    if found.predicate_type != PREDICATE:
        raise SignatureUnsupported(where, f"the predicate is {printable(found.predicate_type)}, not {PREDICATE}")
    predicate = dict(found.predicate)
    sizes = member(predicate, "sizes", dict, where)
    digests = {one.name: one.digests.get("sha256", "") for one in found.subjects}
    if len(digests) != len(found.subjects) or digests.keys() != sizes.keys() or len(digests) > MAX_FILES:
        raise ManifestInvalid(where, "the subjects are not the files whose sizes it gives, each once")
    if not all(type(size) is int and 0 <= size <= LIMIT for size in sizes.values()):
        raise ManifestInvalid(where, "a size is none")
    check_paths(sizes, where)
    try:
        made = datetime.strptime(str(predicate.get("made")), TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise ManifestInvalid(where, "when it was made is no time as RFC 3339 writes it in UTC") from error
    files = {path: (sizes[path], digests[path]) for path in sorted(sizes)}
    return Listed(files=files, made=made, weighbridge=member(predicate, "weighbridge", str, where))
