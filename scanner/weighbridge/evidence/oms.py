"""OpenSSF Model Signing: what a verified statement says of which files, and whether the files are so.

Of the forms that signers have written: version 1.0, with files or with shards of files, which `model_signing` has
written since 0.3.1; and the list of digests in the subjects that it wrote before, as far as each is the plain sha256 of
a file. A model that is a single file has the name `.` there.

The digest of the subject is over digests alone: {model.safetensors: X} and {model.pkl: X} have the same. It is compared
in the listed order, so that a statement which contradicts itself is refused, and stands for nothing here.

Source: https://github.com/ossf/model-signing-spec/blob/main/spec/v1.0.md
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from weighbridge.evidence import statement
from weighbridge.evidence.base import Evidence, Signature
from weighbridge.evidence.coverage import Coverage, Expected, check_names, cover, shown
from weighbridge.evidence.measure import SIZES, Plan
from weighbridge.evidence.statement import Statement
from weighbridge.evidence.tree import Contents
from weighbridge.records import dataclass
from weighbridge.refusals import ManifestInvalid, SignatureUnsupported

PREDICATE: Final = "https://model_signing/signature/v1.0"
DIGESTS: Final = "https://model_signing/Digests/v0.1"
FORMAT: Final = "oms-1.0"
FORMAT_DIGESTS: Final = "oms-0.2"
# The name of the one resource of a model that is a single file.
ITSELF: Final = "."

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_HEX: Final = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFiles:
    """What a statement says: the digests of every file, by path.

    `model` is the name that the signer gives to the model, which means nothing. `left_out` are the paths that the
    signer did not look at; they are told to whoever verifies and excuse nothing.
    """

    format: str
    predicate_type: str
    model: str
    files: Mapping[str, Expected]
    left_out: tuple[str, ...] = ()

    @property
    def single(self) -> bool:
        """Whether the model is a single file of no name."""
        return self.files.keys() == {ITSELF}


def read(signature: Signature, where: str) -> SignedFiles:
    """Return what a verified signature says of files; `where` names it in errors.

    Raises SignatureUnsupported for a statement of another kind, SignatureMalformed when it is none, and
    ManifestInvalid when its list is unsafe or contradicts itself.
    """
    parsed = statement.parse(signature.payload, signature.payload_type, where)
    match parsed.predicate_type:
        case kind if kind == PREDICATE:
            return _read_resources(parsed, where)
        case kind if kind == DIGESTS:
            return _read_subjects(parsed, where)
    kind = shown(parsed.predicate_type)
    raise SignatureUnsupported(where, f"a statement of type {kind}, which says nothing of a model's files")


def verify(
    contents: Contents, signature: Signature, where: str, *, ignored: Collection[str] = (), beside: Collection[str] = ()
) -> tuple[Evidence, Coverage]:
    """Return the evidence that a verified signature is for files, and what it covers.

    `ignored` and `beside` are as in `coverage.cover`. Raises as `read` does, and ContentMismatch unless the files are
    those that were signed.
    """
    signed = read(signature, where)
    covered = cover(contents, _expected(signed, contents, where), ignored=ignored, beside=beside)
    evidence = Evidence(
        kind="signature",
        format=signed.format,
        subject=covered.tree,
        signature=signature,
        predicate_type=signed.predicate_type,
        covered=covered.covered,
        uncovered=covered.uncovered,
    )
    return evidence, covered


def root_digest(digests: list[str]) -> str:
    """Return the digest that the subject of a statement has: over the raw digests in the listed order."""
    return hashlib.sha256(bytes.fromhex("".join(digests))).hexdigest()


def _expected(signed: SignedFiles, contents: Contents, where: str) -> Mapping[str, Expected]:
    """Return the files under the names that they have in `contents`."""
    if not signed.single:
        return signed.files
    if not contents.single:
        raise ManifestInvalid(where, "it signs a single file, and this is a folder", "verify the file that it is for")
    (path,) = contents.paths
    return {path: signed.files[ITSELF]}


def _read_resources(parsed: Statement, where: str) -> SignedFiles:
    """Return what a statement of version 1.0 says."""
    resources, serialization = parsed.predicate.get("resources"), parsed.predicate.get("serialization")
    if not isinstance(serialization, dict):
        raise ManifestInvalid(where, "it does not say how the files were serialized")
    if not isinstance(resources, list) or not resources:
        raise ManifestInvalid(where, "it lists no files")
    method, hash_type = serialization.get("method"), serialization.get("hash_type")
    if not isinstance(hash_type, str) or hash_type not in SIZES:
        known = ", ".join(SIZES)
        raise SignatureUnsupported(where, f"digests of type {hash_type!a}; known are {known}")
    if method == "files":
        pairs = [_resource(one, hash_type, hash_type, where) for one in resources]
        files = _whole(pairs, hash_type, where)
    elif method == "shards":
        size = _shard_size(serialization.get("shard_size"), where)
        pairs = [_resource(one, f"{hash_type}-sharded-{size}", hash_type, where) for one in resources]
        files = _sharded(pairs, hash_type, size, where)
    else:
        raise SignatureUnsupported(where, f"files serialized by the method {method!a}; known are files and shards")
    _check_root(parsed, [digest for _, digest in pairs], where)
    return SignedFiles(
        format=FORMAT,
        predicate_type=PREDICATE,
        model=parsed.subjects[0].name,
        files=MappingProxyType(files),
        left_out=_left_out(serialization.get("ignore_paths", []), where),
    )


def _read_subjects(parsed: Statement, where: str) -> SignedFiles:
    """Return what a statement of version 0.2 says: every subject is a file."""
    files: dict[str, Expected] = {}
    check_names((one.name for one in parsed.subjects), where)
    for one in parsed.subjects:
        if one.digests.keys() != {"sha256"}:
            kinds = ", ".join(sorted(map(shown, one.digests)))
            raise SignatureUnsupported(where, f"{shown(one.name)} has digests of type {kinds}, and not sha256 alone")
        files[one.name] = Expected(digests=(_digest(one.digests["sha256"], "sha256", one.name, where),))
    return SignedFiles(format=FORMAT_DIGESTS, predicate_type=DIGESTS, model="", files=MappingProxyType(files))


def _resource(value: object, algorithm: str, hash_type: str, where: str) -> tuple[str, str]:
    """Return the name and the digest of a resource."""
    match value:
        case {"name": str(name), "algorithm": str(stated), "digest": str(digest)}:
            if stated != algorithm:
                reason = f"{shown(name)} has a digest of type {shown(stated)}, the statement says {algorithm}"
                raise ManifestInvalid(where, reason)
            return name, _digest(digest, hash_type, name, where)
    raise ManifestInvalid(where, "a resource is not a name, an algorithm and a digest")


def _digest(digest: str, algorithm: str, name: str, where: str) -> str:
    if len(digest) != 2 * SIZES[algorithm] or not _HEX.fullmatch(digest):
        raise ManifestInvalid(where, f"the digest of {shown(name)} is not {algorithm} in hexadecimal")
    return digest


def _whole(pairs: list[tuple[str, str]], hash_type: str, where: str) -> dict[str, Expected]:
    """Return files that have a digest each."""
    names = [name for name, _ in pairs]
    if names != [ITSELF]:
        check_names(names, where)
    plan = Plan(algorithm=hash_type)
    return {name: Expected(plan=plan, digests=(digest,)) for name, digest in pairs}


def _sharded(pairs: list[tuple[str, str]], hash_type: str, size: int, where: str) -> dict[str, Expected]:
    """Return files that are in pieces named `path:begin:end`, all of one size but the last.

    The pieces of a file must lie end to end from its first byte on, so that none is left out or counted twice.
    """
    pieces: dict[str, list[tuple[int, int, str]]] = {}
    for name, digest in pairs:
        path, begin, end = _shard(name, where)
        pieces.setdefault(path, []).append((begin, end, digest))
    if pieces.keys() != {ITSELF}:
        check_names(pieces, where)
    files = {}
    for path, found in pieces.items():
        found.sort()
        ends = tuple(end for _, end, _ in found)
        if [begin for begin, _, _ in found] != [0, *ends[:-1]]:
            raise ManifestInvalid(where, f"the shards of {shown(path)} do not lie end to end")
        lengths = [end - begin for begin, end, _ in found]
        if not 0 < lengths[-1] <= size or any(length != size for length in lengths[:-1]):
            raise ManifestInvalid(where, f"the shards of {shown(path)} are not of {size} bytes")
        plan = Plan(algorithm=hash_type, ends=ends)
        files[path] = Expected(plan=plan, digests=tuple(digest for _, _, digest in found))
    return files


def _shard(name: str, where: str) -> tuple[str, int, int]:
    parts = name.split(":")
    if len(parts) != 3 or not all(_NUMBER.fullmatch(part) for part in parts[1:]):
        raise ManifestInvalid(where, f"{shown(name)!r} is not the name of a shard, path:begin:end")
    return parts[0], int(parts[1]), int(parts[2])


def _shard_size(value: object, where: str) -> int:
    """Return the size of shards, which `model_signing` writes as a number with a fraction of nothing."""
    if isinstance(value, float) and value.is_integer() and value < 2**53:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ManifestInvalid(where, f"shards of {value!a} bytes")
    return value


def _check_root(parsed: Statement, digests: list[str], where: str) -> None:
    if len(parsed.subjects) != 1:
        raise ManifestInvalid(where, f"a statement about a model has one subject, this has {len(parsed.subjects)}")
    stated, found = parsed.subjects[0].digests.get("sha256", ""), root_digest(digests)
    if stated != found:
        raise ManifestInvalid(where, f"its files have the digest {found}, and it says {shown(stated)}")


def _left_out(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ManifestInvalid(where, "ignore_paths is not a list of paths")
    return tuple(sorted(value))
