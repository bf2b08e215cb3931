"""The registry of the schemes `oci` and `oci+http`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from weighbridge.artifact import Artifact, File
from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.registries.base import Remote, Settings
from weighbridge.registries.http import Session
from weighbridge.registries.oci.auth import Access
from weighbridge.registries.oci.credentials import Keychain
from weighbridge.registries.oci.layers import files
from weighbridge.registries.oci.manifest import Descriptor, Index, Manifest, choose
from weighbridge.registries.oci.reference import DIGEST, Reference, parse
from weighbridge.registries.oci.repository import Repository

MAX_INDEXES: Final = 3  # of indexes within indexes, which hardly anybody writes

CREDENTIAL: Final = "log in with `docker login` or `podman login`, or give credentials in DOCKER_AUTH_CONFIG"


class OciRegistry:
    """Any registry of the OCI distribution specification.

    The revision of an artifact is the digest of a manifest, never of an index: an index means other bytes on another
    machine, so it is a moving reference, of which one child is taken by rules that know no machine (`manifest.choose`).
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str] = os.environ) -> None:
        self._settings = settings
        self._session = Session(settings, credential=CREDENTIAL)
        self._keychain = Keychain(environment)
        self._repositories: dict[str, Repository] = {}

    def resolve(self, reference: str) -> Artifact:
        """Return the artifact that a reference means now; raises as `Registry.resolve` does."""
        asked = parse(reference)
        found = self._follow(self._repository(asked), asked)
        if asked.revision != found.digest:
            self._settings.notice(f"{asked.canonical}: {asked.asked} is {found.digest} now")
        return Artifact(reference=asked.canonical, requested=asked.revision, revision=found.digest, files=files(found))

    def open(self, artifact: Artifact, file: File) -> Remote:
        """Return the bytes of a layer or config of an artifact; raises SourceError when `file` is none."""
        if not DIGEST.fullmatch(file.key):
            raise SourceError(f"{printable(artifact.reference)}: {printable(file.path)}: no blob of an OCI registry")
        known = artifact.reference in self._repositories
        repository = self._repository(parse(artifact.reference))
        if not known:
            repository.manifest(artifact.revision)  # a range must not meet the first challenge
        return repository.remote(file.key, file.size, name=f"{artifact.reference}: {printable(file.path)}")

    def repository(self, artifact: Artifact) -> Repository:
        """Return the repository that an artifact is in."""
        return self._repository(parse(artifact.reference))

    def referrers(self, artifact: Artifact, artifact_type: str = "", digest: str = "") -> tuple[Descriptor, ...]:
        """Return what refers to the artifact's manifest, or to another `digest` of its repository, as its subject.

        See `Repository.referrers`.
        """
        return self._repository(parse(artifact.reference)).referrers(digest or artifact.revision, artifact_type)

    def manifest(self, artifact: Artifact, asked: str, size: int | None = None) -> Manifest | Index:
        """Return the manifest or index under a digest or tag of the artifact's repository."""
        return self._repository(parse(artifact.reference)).manifest(asked, size)

    def blob(self, artifact: Artifact, blob: Descriptor, *, limit: int) -> bytes:
        """Return a small blob of the artifact's repository, verified, such as a signature."""
        return self._repository(parse(artifact.reference)).blob(blob, limit=limit)

    def _follow(self, repository: Repository, asked: Reference) -> Manifest:
        """Return the manifest behind a tag or digest, through indexes if need be."""
        found = repository.manifest(asked.asked)
        for _ in range(MAX_INDEXES):
            if isinstance(found, Manifest):
                return found
            source = f"{repository.name}@{found.digest}"
            child = choose(found, source)
            what = child.platform or child.artifact_type
            self._settings.notice(
                f"{source} is an index of {len(found.manifests)} manifests, of which {child.digest} is taken"
                + (f" ({printable(what)})" if what else "")
            )
            found = repository.manifest(child.digest, child.size)
        if isinstance(found, Manifest):
            return found
        raise SourceError(f"{repository.name}: over {MAX_INDEXES} indexes within indexes")

    def _repository(self, reference: Reference) -> Repository:
        found = self._repositories.get(reference.canonical)
        if found is None:
            access = Access(self._session, reference, self._keychain)
            found = self._repositories.setdefault(reference.canonical, Repository(self._session, reference, access))
        return found
