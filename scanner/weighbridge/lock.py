"""The lock: which bytes a reference stood for when they passed, so that nobody gets others later.

`weighbridge.lock` is TOML that is written one way only: models by source and requested revision, files by path, a line
for each, so that a difference between two locks is a difference between models. What `tree` binds is said in
`artifact.Manifest.digest`; a lock whose files do not have that digest is refused.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from weighbridge import documents, writing
from weighbridge.artifact import Artifact, Entry, File, Manifest
from weighbridge.digest import Digest
from weighbridge.errors import DocumentError, SourceError, UsageError
from weighbridge.location import printable
from weighbridge.policy import Verdict
from weighbridge.records import dataclass

NAME: Final = "weighbridge.lock"
VERSION: Final = 1
# Bytes of a lock: some 400 000 files, twice as many as an artifact may have.
LIMIT: Final = 64 << 20
_HEADER: Final = "# Written by weighbridge; docs/lock.md says what it binds.\n"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# The lines that `render` writes. What somebody made for it keeps a reader of TOML busy for hours with a few megabytes:
# a key of many parts takes the square of their number. So of other lines no more is read than a person would type.
_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_LINE: Final = re.compile(
    rf"version = [0-9]{{1,9}}|\[\[models\]\]|\[models\.verdict\]|(?:files|signatures) = \[|\]|\w+ = {_STRING}"
    rf"|(?:include|exclude) = \[{_STRING}(?:, {_STRING})*\]|    \{{ path = {_STRING}, size = [0-9]{{1,19}}, "
    rf"sha256 = {_STRING} \}},|    \{{ \w+ = {_STRING}(?:, \w+ = {_STRING}){{4}} \}},",
    re.ASCII,
)
_TYPED: Final = 4096  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedFile:
    """A file of a locked model."""

    path: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.sha256!a} is not a sha256 of 64 hexadecimal digits")
        if self.size < 0:
            raise ValueError("a size is not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """The verdict under which a model was locked: its policy and rules, and the version that gave it."""

    policy: str
    policy_digest: str
    rules_digest: str
    weighbridge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signature that was verified when a model was locked: by whom, who vouched for them, and the bundle's digest."""

    format: str
    signer: str
    identity: str
    issuer: str = ""
    bundle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A model: where it is from, the revision that was asked for and what it meant, and every file of it.

    `include` and `exclude` are the patterns that chose the files; `tree` is the digest of the manifest; `signatures`
    are those that the trust policy required.
    """

    source: str
    requested: str
    revision: str
    tree: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    files: tuple[LockedFile, ...]
    signatures: tuple[Signed, ...] = ()
    verdict: Passed

    def __post_init__(self) -> None:
        try:
            digest = str(self.manifest.digest)
        except SourceError as error:
            raise ValueError(str(error)) from error
        if digest != self.tree:
            raise ValueError(f"the files of {printable(self.source)} are {digest}, not {printable(self.tree)}")

    @property
    def manifest(self) -> Manifest:
        """The files."""
        return Manifest(entries=tuple(Entry(file.path, file.size, file.sha256) for file in self.files))

    @property
    def artifact(self) -> Artifact:
        """The model as an artifact whose files have the digests that they must have."""
        files = (File(path=file.path, size=file.size, claims=(Digest("sha256", file.sha256),)) for file in self.files)
        return Artifact(reference=self.source, requested=self.requested, revision=self.revision, files=tuple(files))

    @property
    def names(self) -> tuple[str, ...]:
        """The references that mean this model."""
        asked = f"{self.source}@{self.requested}" if self.requested else self.source
        return (asked, f"{self.source}@{self.revision}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The models of a lock, each requested revision of a source once."""

    version: int
    models: tuple[Locked, ...] = ()

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"a lock of version {self.version}; this weighbridge reads version {VERSION}")
        keys = [(model.source, model.requested) for model in self.models]
        if len(set(keys)) != len(keys):
            raise ValueError("a model is locked twice")

    def find(self, reference: str) -> Locked | None:
        """Return the model that a reference means, as far as its text tells."""
        return next((model for model in self.models if reference in model.names), None)

    def matching(self, artifact: Artifact) -> Locked | None:
        """Return the model that a resolved reference means."""
        mine = [model for model in self.models if model.source == artifact.reference]
        asked = [model for model in mine if model.requested == artifact.requested]
        return next(iter(asked or [model for model in mine if model.revision == artifact.revision]), None)

    def having(self, model: Locked) -> Lock:
        """Return the lock with a model added, or in the place of an older one."""
        others = (one for one in self.models if (one.source, one.requested) != (model.source, model.requested))
        return Lock(version=VERSION, models=(*others, model))


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """How a file is not what the lock says: `changed`, `missing` or `extra`, and what is there instead."""

    path: str
    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {printable(self.path)}" + (f": {printable(self.detail)}" if self.detail else "")


def locked(
    artifact: Artifact, manifest: Manifest, verdict: Verdict, *, include: tuple[str, ...], exclude: tuple[str, ...]
) -> Locked:
    """Return what a lock keeps of an artifact that passed."""
    return Locked(
        source=artifact.reference,
        requested=artifact.requested,
        revision=artifact.revision,
        tree=str(manifest.digest),
        include=include,
        exclude=exclude,
        files=tuple(LockedFile(path=one.path, size=one.size, sha256=one.sha256) for one in manifest.entries),
        signatures=tuple(
            Signed(
                format=one.format,
                signer=one.signature.signer,
                identity=one.signature.identity,
                issuer=one.signature.issuer,
                bundle=str(one.signature.bundle),
            )
            for one in verdict.evidence
            if one.signature is not None
        ),
        verdict=Passed(
            policy=verdict.policy,
            policy_digest=verdict.policy_digest,
            rules_digest=verdict.rules_digest,
            weighbridge=verdict.version,
        ),
    )


def read(path: Path) -> Lock:
    """Return the lock in a file; raise DocumentError when it is wrong, UsageError when it cannot be read."""
    text, size = _text_of(path), 0
    for line in _others(text):
        size += len(line)
        # Within a string of several lines, a line is not what it seems.
        if size > _TYPED or "'''" in line or '"""' in line:
            raise DocumentError(str(path), f"a string of several lines, or over {_TYPED} characters that no lock has")
    return documents.read(text, Lock, name=str(path) if path.suffix == ".lock" else f"{path}.lock")


def has_form(path: Path) -> bool:
    """Tell whether every line of a file is one that locks have, whatever it says: such a file is data.

    Raises as `read` does when it is no text or too long.
    """
    text = _text_of(path)
    return text.startswith(_HEADER) and next(_others(text), None) is None


def _text_of(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise UsageError(f"{printable(str(path))}: not a file")
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise UsageError(f"{printable(str(path))}: {error.strerror or error}") from error
    if len(data) > LIMIT:
        raise DocumentError(str(path), f"longer than {LIMIT} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError(str(path), "not UTF-8") from error
    return text


def _others(text: str) -> Iterator[str]:
    """Yield the lines that no lock has."""
    for line in text.removeprefix(_HEADER).split("\n"):
        line = line.removesuffix("\r")
        if line and not _LINE.fullmatch(line):
            yield line


def render(lock: Lock) -> str:
    """Return the text of a lock, the same for the same models."""
    lines = [_HEADER, f"version = {lock.version}\n"]
    for model in sorted(lock.models, key=lambda model: (model.source, model.requested)):
        lines += (f"{line}\n" for line in _model(model))
    return "".join(lines)


def write(lock: Lock, path: Path) -> None:
    """Write a lock in one step; raise UsageError when that cannot be done."""
    writing.write(path, [render(lock).encode("utf-8")], error=UsageError)


def _model(model: Locked) -> Iterator[str]:
    verdict = model.verdict
    yield from ("", "[[models]]")
    yield f"source = {_text(model.source)}"
    yield f"requested = {_text(model.requested)}"
    yield f"revision = {_text(model.revision)}"
    yield f"tree = {_text(model.tree)}"
    for name, patterns in (("include", model.include), ("exclude", model.exclude)):
        if patterns:
            yield f"{name} = [{', '.join(map(_text, patterns))}]"
    yield "files = ["
    for file in sorted(model.files, key=lambda file: file.path):
        yield f"    {{ path = {_text(file.path)}, size = {file.size}, sha256 = {_text(file.sha256)} }},"
    yield "]"
    if model.signatures:
        yield "signatures = ["
        for one in model.signatures:
            names = ("format", "signer", "identity", "issuer", "bundle")
            yield f"    {{ {', '.join(f'{name} = {_text(getattr(one, name))}' for name in names)} }},"
        yield "]"
    yield "[models.verdict]"
    yield f"policy = {_text(verdict.policy)}"
    yield f"policy_digest = {_text(verdict.policy_digest)}"
    yield f"rules_digest = {_text(verdict.rules_digest)}"
    yield f"weighbridge = {_text(verdict.weighbridge)}"


def _text(text: str) -> str:
    """Return a TOML string; JSON's differ from it in one character alone, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def compare(expected: Manifest, found: Manifest) -> list[Difference]:
    """Return how one manifest is not the other, by path."""
    before = {entry.path: entry for entry in expected.entries}
    after = {entry.path: entry for entry in found.entries}
    differences = [Difference(path, "missing") for path in before.keys() - after.keys()]
    differences += [Difference(path, "extra") for path in after.keys() - before.keys()]
    for path in before.keys() & after.keys():
        if before[path] != after[path]:
            differences.append(Difference(path, "changed", _change(before[path], after[path])))
    return sorted(differences)


def _change(before: Entry, after: Entry) -> str:
    if before.size != after.size:
        return f"{after.size} bytes, not {before.size}"
    return f"sha256:{after.sha256}, not sha256:{before.sha256}"


def check(folder: Path, expected: Manifest) -> list[Difference]:
    """Return how a folder on disk is not what a manifest says; the lock in it counts as no file.

    Links are never followed: what is no plain file is a change. Raises SourceError when something cannot be read.
    """
    sizes = {entry.path: entry for entry in expected.entries}
    seen: set[str] = set()
    differences = []
    try:
        for path, place in _files(folder):
            entry = sizes.get(path)
            seen.add(path)
            if entry is None:
                differences.append(Difference(path, "extra"))
            elif detail := _deviation(place, entry):
                differences.append(Difference(path, "changed", detail))
    except OSError as error:
        raise SourceError(f"{printable(str(folder))}: {error.strerror or error}") from error
    differences += [Difference(path, "missing") for path in sizes.keys() - seen]
    return sorted(differences)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield everything below a folder that is no folder, but for the lock at its top."""
    waiting = [folder]
    while waiting:
        for place in waiting.pop().iterdir():
            path = place.relative_to(folder).as_posix()
            if stat.S_ISDIR(place.lstat().st_mode):
                waiting.append(place)
            elif path != NAME:
                yield path, place


def _deviation(place: Path, entry: Entry) -> str:
    """Return how a file is not what its entry says, or nothing."""
    mode = place.lstat().st_mode
    if not stat.S_ISREG(mode):
        return "a link, and no file" if stat.S_ISLNK(mode) else "no file"
    descriptor = os.open(place, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        size = os.fstat(descriptor).st_size
        sha256 = Digest.of_descriptor(descriptor).value if size == entry.size else ""
    finally:
        os.close(descriptor)
    return "" if sha256 == entry.sha256 else _change(entry, Entry(entry.path, size, sha256))
