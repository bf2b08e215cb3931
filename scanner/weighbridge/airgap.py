"""Carry rules, a trust policy with its roots and keys, and approvals to where there is no network: one signed file.

The file is a tar that has one form only. Its first member, `bundle.json`, is a sigstore bundle whose envelope holds an
in-toto statement with the sha256 and the size of every file; the files follow in the order of their paths:

    bundle.json
    approvals/<sha256 of the tree>/approval.json, approval.leaves, weighbridge.lock
    rules/…                                   as `--rules` takes them
    trust/trust.toml, trust/…                 the trust policy, and the files that it names

No tar is parsed when one comes in: after the signature is verified, every byte between the files has to be what is
written for the signed list, so that no name, link or size of the tar can say anything else. Whether rules, trust policy
and approvals hold is for those who read them later to ask; that they can be read is made sure of here.

Source: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html (ustar), https://in-toto.io/Statement/v1.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from weighbridge import approval, rule_files
from weighbridge.artifact import MAX_FILES, admit
from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UsageError
from weighbridge.evidence import bundle, statement, trust_policy, verifier
from weighbridge.evidence.base import Signature
from weighbridge.evidence.bundle import Bundle
from weighbridge.evidence.dsse import IN_TOTO, Envelope
from weighbridge.evidence.signers import Signer
from weighbridge.evidence.statement import TIME, Subject
from weighbridge.evidence.strict import member
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.location import printable
from weighbridge.lock import NAME as LOCK
from weighbridge.records import dataclass
from weighbridge.refusals import (
    BundleOlder,
    ContentMismatch,
    EvidenceError,
    ManifestInvalid,
    SignatureMalformed,
    SignatureUnsupported,
    SignerUntrusted,
)
from weighbridge.store.materialise import put
from weighbridge.version import __version__

NAME: Final = "bundle.json"
PREDICATE: Final = "urn:weighbridge:bundle:1"
TRUST: Final = "trust/trust.toml"
# Bytes: rules take 0.4 MB, an approval 3 MB for 100 GB of weights; all of it is in memory until it is verified.
LIMIT: Final = 512 << 20
_BLOCK: Final = 512  # bytes; a tar is made of these
_END: Final = bytes(2 * _BLOCK)
_SIZE: Final = slice(124, 135)  # where a header has the size, in octal digits
_PATH: Final = re.compile(
    r"approvals/[0-9a-f]{64}/(approval\.(json|leaves)|weighbridge\.lock)|rules/.+\.(yaml|json)|trust/.+"
)
_READ_ONLY: Final = 0o444


@dataclass(frozen=True, slots=True, kw_only=True)
class Cargo:
    """What is carried: the bytes of every file by its path in the bundle, and when they were put together (UTC)."""

    files: Mapping[str, bytes]
    made: datetime
    weighbridge: str = __version__

    @property
    def rules(self) -> str:
        """The digest of the rules, as a verdict names it; empty when there are none."""
        named = {path.removeprefix("rules/"): data for path, data in self.files.items() if path.startswith("rules/")}
        counted = {path: data for path, data in named.items() if not path.startswith("policies/")}
        return str(rule_files.digest_of(dict(sorted(counted.items())))) if counted else ""

    @property
    def trust(self) -> str:
        """The digest of the trust policy; empty when there is none."""
        return str(Digest.of(self.files[TRUST])) if TRUST in self.files else ""

    @property
    def approvals(self) -> tuple[str, ...]:
        """The trees that are approved."""
        trees = {path.split("/")[1] for path in self.files if path.startswith("approvals/")}
        return tuple(f"sha256:{tree}" for tree in sorted(trees))


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A bundle that was verified: what it carries, who signed it, and its signature (a sigstore bundle)."""

    cargo: Cargo
    signer: str
    signature: bytes


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
    _check_paths(files, "bundle")
    return Cargo(files=dict(sorted(files.items())), made=now)


def _rules(folder: Path) -> dict[str, bytes]:
    from weighbridge.rules import RuleSet

    if not RuleSet.load(folder).rules:
        raise UsageError(f"{printable(str(folder))}: no rules in this folder")
    found = {f"rules/{name}": data for name, data in rule_files.read_files(str(folder)).items()}
    policies = sorted((folder / "policies").glob("*.yaml"))
    return found | {f"rules/policies/{path.name}": _read(path) for path in policies}


def _trust(policy: TrustPolicy, path: Path) -> dict[str, bytes]:
    """Return a trust policy and what it names, each where the policy will find it, and with the digest it pins."""
    found = {TRUST: _read(path)}
    if str(Digest.of(found[TRUST])) != policy.digest:
        raise SourceError(f"{policy.where}: changed while it was read")
    for root in policy.roots.values():
        found[_beside(root.trusted_root or root.pem, policy)] = root.read()
    for signer in policy.signers.values():
        if signer.public_key:
            verifier.trusted_key(signer)
            found[_beside(signer.public_key, policy)] = _read(signer.path)
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
    files = {f"{place}/{approval.NAME}": raw, f"{place}/{approval.LEAVES}": _read(folder / approval.LEAVES)}
    if (folder / LOCK).is_file():
        files[f"{place}/{LOCK}"] = _read(folder / LOCK)
    return files


def _read(path: Path) -> bytes:
    """Return the bytes of a regular file; raise SourceError when they cannot be had."""
    name = printable(str(path))
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:  # noqa: PTH123 - no pipe is waited for
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SourceError(f"{name}: not a file")
            raw = file.read(LIMIT + 1)
    except OSError as error:
        raise SourceError(f"{name}: {error.strerror or error}") from error
    if len(raw) > LIMIT:
        raise SourceError(f"{name}: longer than {LIMIT} bytes")
    return raw


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
    member_.mode = _READ_ONLY
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
    raw = _read(path)
    parsed = bundle.parse(_first(raw, where), where)
    signature = _signature(parsed, trust, signers, now, where)
    listed = _listed(signature.payload, signature.payload_type, where)
    files = _files(raw, _after(len(parsed.raw)), listed, where)
    cargo = Cargo(files=files, made=listed.made, weighbridge=listed.weighbridge)
    return Received(cargo=cargo, signer=signature.who, signature=parsed.raw)


def _files(raw: bytes, position: int, listed: _Listed, where: str) -> dict[str, bytes]:
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
class _Listed:
    """What a statement says: the size and the sha256 of every file in the order of the paths, when and by what made."""

    files: Mapping[str, tuple[int, str]]
    made: datetime
    weighbridge: str


def _listed(payload: bytes, payload_type: str, where: str) -> _Listed:
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
    _check_paths(sizes, where)
    try:
        made = datetime.strptime(str(predicate.get("made")), TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise ManifestInvalid(where, "when it was made is no time as RFC 3339 writes it in UTC") from error
    files = {path: (sizes[path], digests[path]) for path in sorted(sizes)}
    return _Listed(files=files, made=made, weighbridge=member(predicate, "weighbridge", str, where))


def _check_paths(paths: Collection[str], where: str) -> None:
    """Raise ManifestInvalid for a path that leaves the folder, or that a bundle has no place for."""
    try:
        admit(paths, where)
    except SourceError as error:
        raise ManifestInvalid(where, f"an unsafe path: {error}") from error
    for path in paths:
        if not _PATH.fullmatch(path):
            raise ManifestInvalid(where, f"a bundle does not carry {printable(path)}")


def held(folder: Path) -> Cargo | None:
    """Return what `install` put into a folder, None when there is no such folder or nothing in it.

    Raises UsageError when the folder is another's, or was altered since.
    """
    name = printable(str(folder))
    if not os.path.lexists(folder):
        return None
    if folder.is_symlink() or not folder.is_dir():
        raise UsageError(f"{name}: not a folder")
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not _is_folder(path)}
    if not there:
        return None
    if NAME not in there:
        raise UsageError(f"{name}: holds something else than a bundle; name another folder")
    content = bundle.parse(_read(there.pop(NAME)), name).content
    if not isinstance(content, Envelope):
        raise UsageError(f"{name}: holds something else than a bundle; name another folder")
    listed = _listed(content.payload, content.payload_type, name)
    files = {path: _read(place) for path, place in sorted(there.items()) if path in listed.files}
    altered = [path for path, data in files.items() if Digest.of(data).value != listed.files[path][1]]
    if altered or there.keys() != listed.files.keys():
        raise UsageError(
            f"{name}: was altered since a bundle was put there; move what is yours, or name another folder"
        )
    return Cargo(files=files, made=listed.made, weighbridge=listed.weighbridge)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def install(received: Received, folder: Path, *, older: bool = False) -> None:
    """Put what a bundle carries, and its signature, into a folder, in one step.

    What an earlier bundle put there is replaced. Raises BundleOlder when that was made later, unless `older`;
    DocumentError when rules or trust policy cannot be read by this version; UsageError as `held` does, and SourceError
    when the system refuses. The folder is untouched then.
    """
    before, cargo, where = held(folder), received.cargo, printable(str(folder))
    if before is not None and before.made > cargo.made and not older:
        reason = f"holds what was bundled at {before.made:{TIME}}; this bundle is older, of {cargo.made:{TIME}}"
        raise BundleOlder(where, reason, "bring a newer one, or say --older if going back is meant")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".weighbridge-", dir=folder.parent))
        try:
            new = place / "new"
            _write(new, {NAME: received.signature, **cargo.files})
            _check(new)
            put(new, folder)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    except OSError as error:
        raise SourceError(f"{where}: {error.strerror or error}") from error


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _READ_ONLY), "wb") as file:  # noqa: PTH123
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _check(folder: Path) -> None:
    """Raise DocumentError when this version cannot read the rules or the trust policy."""
    from weighbridge.rules import RuleSet
    from weighbridge.trust import Trust

    if (folder / "rules").is_dir():
        RuleSet.load(folder / "rules")
        for _ in Trust(str(folder / "rules/trust")).files():
            pass
    if (folder / TRUST).is_file():
        trust_policy.read(folder / TRUST)
