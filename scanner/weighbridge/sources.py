"""From a reference to a verdict: the artifact that it means now, its bytes in the store or in parts, and the scan.

A moving reference is pinned once, and everything after that speaks of the revision.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType

from weighbridge import card
from weighbridge.artifact import Artifact
from weighbridge.desk import Desk
from weighbridge.digest import Digest
from weighbridge.errors import SourceError
from weighbridge.facts import Fact
from weighbridge.location import Location, printable
from weighbridge.pipeline import scan_targets, triage
from weighbridge.policy import Outcome, Policy, Verdict
from weighbridge.records import dataclass, replace
from weighbridge.registries import registry
from weighbridge.registries.base import Near, Registry, Settings
from weighbridge.remote import Allowance, Blocks
from weighbridge.requirements import Requirements, Unmet, of_files, of_licences, of_source
from weighbridge.store import Fetched, Intake, Store
from weighbridge.walk import Patterns, Target, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """An artifact and the registry that has it."""

    artifact: Artifact
    registry: Registry


def resolve(reference: str, settings: Settings, intake: Intake | None = None) -> Resolved:
    """Return what a reference means now; the registry tells `settings.notice` what it pinned.

    A registry that reads every byte for it lets `intake` take them into the store meanwhile.

    Raises UsageError when the reference cannot be read, SourceError when the registry does not have it.
    """
    found = registry(reference, settings)
    if intake is not None and isinstance(found, Near):
        return Resolved(artifact=found.resolve_reading(reference, intake), registry=found)
    return Resolved(artifact=found.resolve(reference), registry=found)


def targets(fetched: Fetched) -> list[Target]:
    """Return the files of an artifact in the store, under the paths that they have in the artifact."""
    return [
        Target(
            name=entry.path,
            path=str(fetched.paths[entry.path]),
            stored=True,
            digest=Digest("sha256", entry.sha256) if entry.sha256 in fetched.fresh else None,
            expected=Digest("sha256", entry.sha256),
        )
        for entry in fetched.manifest.entries
    ]


def scan_fetched(
    fetched: Fetched,
    desk: Desk,
    store: Store,
    *,
    policy: Policy | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
    today: date | None = None,
) -> Verdict:
    """Return the verdict on all bytes of an artifact, which stay where they are in the store; see `pipeline.scan`.

    Raises SourceError when the bytes that were scanned are not those that were fetched: somebody has changed the store.
    """
    verdict = scan_targets(
        targets(fetched),
        desk,
        policy=policy,
        jobs=jobs,
        progress=progress,
        today=today,
        source=fetched.artifact.pinned,
        excluded=fetched.excluded,
    )
    named = {entry.path: entry.sha256 for entry in fetched.manifest.entries}
    for file in verdict.files:
        if file.digest is not None and file.digest.value != named[file.path]:
            store.remove(named[file.path])
            name = f"{printable(fetched.artifact.reference)}: {printable(file.path)}"
            raise SourceError(f"{name}: what lay in the store was damaged and is removed; try again")
    files = tuple(
        file if file.outcome is Outcome.PASS else replace(file, quarantine=str(fetched.paths[file.path]))
        for file in verdict.files
    )
    return replace(verdict, files=files)


def unmet(fetched: Fetched, verdict: Verdict, asked: Requirements) -> list[Unmet]:
    """Return what an artifact does not meet of what is required besides, but for who has to have signed it."""
    artifact, place = fetched.artifact, fetched.paths.get(card.NAME)
    of_artifact = of_source(
        asked,
        source=artifact.reference,
        requested=artifact.requested,
        revision=artifact.revision,
        size=sum(file.size for file in artifact.files),
    )
    declared = card.read_file(place).licences if place is not None else ()
    formats = of_files(asked, ((one.path, one.formats) for one in verdict.files))
    return [*of_artifact, *of_licences(asked, declared, artifact.reference), *formats]


def scan_folder(
    folder: Path,
    desk: Desk,
    *,
    beside: Collection[str] = (),
    known: Mapping[str, Digest] = MappingProxyType({}),
    policy: Policy | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
    today: date | None = None,
) -> Verdict:
    """Return the verdict on a folder as an artifact: its files are named from there on, but for those in `beside`.

    `known` are digests of files to which nobody else can have written since they were computed.

    Raises SourceError when the folder cannot be read.
    """
    named = (
        (os.path.relpath(one.path, folder).replace(os.sep, "/"), one) for one in walk([str(folder)], Patterns()).targets
    )
    found = [
        replace(one, name=name, fact=_moved(one.fact, name), digest=known.get(name))
        for name, one in named
        if name not in beside
    ]
    return scan_targets(found, desk, policy=policy, jobs=jobs, progress=progress, today=today)


def _moved(fact: Fact | None, name: str) -> Fact | None:
    """Return a fact of a walk at the place that is its name now."""
    return None if fact is None else replace(fact, location=Location((name,)))


def triage_reference(
    resolved: Resolved,
    desk: Desk,
    *,
    patterns: Patterns,
    allowance: Allowance,
    policy: Policy | None = None,
    today: date | None = None,
) -> Verdict:
    """Return what the parts of an artifact show that parsers ask for; see `pipeline.triage`."""
    artifact = resolved.artifact
    files = [file for file in artifact.files if wanted(file.path, patterns)]
    looked_at = [
        Target(name=file.path, path="", stored=True, blocks=Blocks(resolved.registry.open(artifact, file), allowance))
        for file in files
    ]
    excluded = {file.path for file in artifact.files} - {file.path for file in files}
    return triage(looked_at, desk, source=artifact.pinned, policy=policy, today=today, excluded=tuple(sorted(excluded)))


def wanted(path: str, patterns: Patterns) -> bool:
    """Tell whether patterns ask for a file of an artifact."""
    return patterns.admit(Target(name=path, path=path), path)
