"""From an artifact to files of the store: every byte once, every declared digest compared, and a manifest of the rest.

1. What the store has already, by a declared sha256 or by what was received before, is not received again.
2. The rest arrives in `partial`, several files at once, and several ranges of a file that one connection is slow for.
3. Every digest that the registry declares is compared. Bytes that break a claim stay in quarantine, and are an error.
4. The members of layers that are archives become files of their own.
5. The manifest names what was received by the digests that were computed here.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from weighbridge.artifact import Artifact, Entry, File, Manifest
from weighbridge.digest import Digest
from weighbridge.errors import SourceError
from weighbridge.limits import Limits
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.registries.base import Registry
from weighbridge.store.intake import Intake
from weighbridge.store.layout import Store, is_sha256
from weighbridge.store.partial import Partial
from weighbridge.store.transfer import Crew, Progress, Reception, StoppedError

# More of them bring a slow link no further (benchmarks/registry.py).
CONNECTIONS: Final = 4
_NO_LIMITS: Final = Limits()
# Revisions that mean the same bytes tomorrow: a commit, a digest, and what servers and object stores change with the
# bytes. The number of a model version is none, nor are a size or a time that two files may share.
_PINNED: Final = re.compile(r"[0-9a-f]{40}|(?:sha256|etag|version|generation):.+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An artifact in the store: `manifest` is what was received, `paths` says where each of its files lies.

    `excluded` are the paths that were not wanted, `received` counts the bytes that arrived this time, and `fresh` are
    the sha256 of files that were written, and digested while they were, this time.
    """

    artifact: Artifact
    manifest: Manifest
    paths: dict[str, Path]
    excluded: tuple[str, ...]
    received: int
    fresh: frozenset[str]

    @property
    def digests(self) -> frozenset[str]:
        """The sha256 of every file."""
        return frozenset(entry.sha256 for entry in self.manifest.entries)


def _everything(_: str) -> bool:
    return True


def fetch(
    artifact: Artifact,
    registry: Registry,
    store: Store,
    *,
    wanted: Callable[[str], bool] = _everything,
    limits: Limits = _NO_LIMITS,
    connections: int = CONNECTIONS,
    progress: Callable[[Progress], None] | None = None,
    intake: Intake | None = None,
) -> Fetched:
    """Return the files of an artifact, all in the store, which must be open and stay so while they are used.

    `wanted` says which paths are to be had, `limits` what an archive may unpack to; `progress` is told of every piece,
    by several threads, one at a time. What came with an `intake` just before this counts as received.

    Raises SourceError when a registry does not answer, sends something else than it declared, or the store cannot take
    it; what arrived until then is kept, and taken up the next time.
    """
    files = [file for file in artifact.files if file.packing or wanted(file.path)]
    _check_space(store, artifact, files)
    with Crew(connections, sum(file.size for file in files), progress) as crew:
        clerk = _Clerk(artifact, registry, store, crew)
        digests = _in_parallel(clerk.obtain, files, crew, connections)
    found: list[Entry] = []
    for file, sha256 in zip(files, digests, strict=True):
        if file.packing:
            fresh = sha256 in clerk.fresh
            found += _unpacked(store, file, sha256, artifact.reference, limits, fresh=fresh)
        else:
            found.append(Entry(file.path, file.size, sha256))
    manifest = Manifest(entries=tuple(entry for entry in found if wanted(entry.path)))
    unwanted = [file.path for file in artifact.files if not file.packing and not wanted(file.path)]
    return Fetched(
        artifact=artifact,
        manifest=manifest,
        paths={entry.path: store.path(entry.sha256) for entry in manifest.entries},
        excluded=tuple(sorted(unwanted + [entry.path for entry in found if not wanted(entry.path)])),
        received=crew.received + (intake.received if intake is not None else 0),
        fresh=frozenset(clerk.fresh | (intake.fresh if intake is not None else set())),
    )


class _Clerk:
    """Obtains the files of one artifact."""

    def __init__(self, artifact: Artifact, registry: Registry, store: Store, crew: Crew) -> None:
        self._artifact = artifact
        self._registry = registry
        self._store = store
        self._crew = crew
        self.fresh: set[str] = set()

    def obtain(self, file: File) -> str:
        """Return the sha256 of a file that is in the store in the end."""
        self._crew.check()
        key, lasting = _key(self._artifact, file)
        try:
            with self._store.trouble(), self._store.downloading(key, self._crew.pause):
                sha256 = _present(self._store, file, key)
                if sha256 is None:
                    sha256 = self._receive(file, key, lasting=lasting)
                else:
                    self._crew.count(present=file.size)
                if lasting:
                    self._store.remember(key, sha256)
                return sha256
        except BlockingIOError as error:
            raise StoppedError from error

    def _receive(self, file: File, key: str, *, lasting: bool) -> str:
        """Return the sha256 of a file that has arrived; what arrives of one that may change is not kept for later."""
        name = f"{printable(self._artifact.reference)}: {printable(file.path)}"
        remote = self._registry.open(self._artifact, file)
        partial, done = Partial(self._store.partial(key), file.size), False
        try:
            with partial:
                sums = Reception(self._crew, remote, partial, file.claims, name).run()
            self._store.add(partial.data, sums.sha256)
            done = True
        finally:
            if done or not lasting:
                partial.discard()
        if broken := sums.broken():
            claimed, found = broken
            raise SourceError(
                f"{name}: the registry declares {printable(str(claimed))}, but what it sent is {found}; "
                f"the bytes stay in quarantine as {self._store.path(sums.sha256)}"
            )
        self.fresh.add(sums.sha256)
        return sums.sha256


def _present(store: Store, file: File, key: str) -> str | None:
    """Return the sha256 of a file that the store has already."""
    claimed = next((claim.value for claim in file.claims if claim.algorithm == "sha256"), None)
    sha256 = claimed or store.known(key)
    return sha256 if sha256 is not None and is_sha256(sha256) and store.has(sha256, file.size) else None


def _check_space(store: Store, artifact: Artifact, files: list[File]) -> None:
    """Raise SourceError before anything is fetched when the disk cannot take what is missing."""
    needed = 0
    for file in files:
        key, _ = _key(artifact, file)
        if _present(store, file, key) is None:
            needed += file.size - Partial(store.partial(key), file.size).taken
    store.check_space(needed, printable(artifact.reference))


def _unpacked(store: Store, file: File, sha256: str, source: str, limits: Limits, *, fresh: bool) -> list[Entry]:
    """Return the members of an archive, which are files of the store in the end.

    An archive that lay in the store before is digested again: nothing else would notice that somebody has changed it.
    """
    from weighbridge.unpack import unpack

    name = f"{source}: {file.path}"
    with store.trouble(), store.path(sha256).open("rb") as layer:
        if not fresh and Digest.of_descriptor(layer.fileno()).value != sha256:
            store.remove(sha256)
            raise SourceError(f"{printable(name)}: what lay in the store was damaged and is removed; fetch it again")
        members = unpack(layer.fileno(), file.packing, limits, source=name)
        return [_kept(store, member.path, member.pieces) for member in members]


def _kept(store: Store, path: str, pieces: Iterable[bytes]) -> Entry:
    """Return the entry of a member that is in the store in the end."""
    digest, size = hashlib.sha256(), 0
    with store.incoming() as new:
        with new.open("xb") as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
                size += len(piece)
        sha256 = digest.hexdigest()
        if not store.has(sha256, size):
            store.add(new, sha256)
    return Entry(path, size, sha256)


def _key(artifact: Artifact, file: File) -> tuple[str, bool]:
    """Return what names the bytes of a remote file between processes, and whether it will mean them tomorrow too.

    A declared sha256 does, whoever declares it: bytes that do not keep it are refused in the end. Without it another
    digest or the revision does, if it changes with the bytes. Otherwise nothing does.
    """
    strong = [claim.value for claim in file.claims if claim.algorithm == "sha256"]
    lasting = bool(file.claims) or any(map(_PINNED.fullmatch, (artifact.revision, file.key)))
    identity: list[object] = [*strong[:1], file.size]
    if not strong:
        claims = sorted(str(claim) for claim in file.claims)
        identity += [artifact.reference, artifact.revision, file.path, file.key, claims]
    if not lasting:
        identity.append(secrets.token_hex(16))
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest(), lasting


def _in_parallel(work: Callable[[File], str], files: list[File], crew: Crew, hands: int) -> list[str]:
    """Return the results in the order of the files, having begun with the largest; raise the first error."""
    with ThreadPoolExecutor(min(hands, len(files)) or 1, "file") as pool:
        pending: dict[str, Future[str]] = {}
        for file in sorted(files, key=lambda file: -file.size):
            pending[file.path] = pool.submit(work, file)
        try:
            wait(pending.values(), return_when=FIRST_EXCEPTION)
        finally:
            crew.stop()
            pool.shutdown(cancel_futures=True)
    errors = [error for future in pending.values() if not future.cancelled() and (error := future.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, StoppedError)):
        raise error
    return [pending[file.path].result() for file in files]
