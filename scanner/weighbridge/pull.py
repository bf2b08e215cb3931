"""From a reference to a folder: fetch into quarantine, verify, scan, and only on pass materialise and lock.

1. Resolve the reference to an immutable revision, or take the one that a lock holds.
2. Look at the destination: what is there may only be what an earlier pull of the same source put there.
3. Fetch into the store, where every declared digest is compared; with a lock, compare every file with it.
4. Scan what was fetched; the digests of what was scanned must be those of what was fetched. Verify who signed it, as
   far as a trust policy asks, and hold it against what the policy requires besides.
5. On pass, admit the bytes, build the folder with its lock beside the destination, and put it there in one step.
   On anything else the bytes stay in quarantine and the destination is untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from weighbridge import card
from weighbridge import lock as locks
from weighbridge.artifact import Artifact, File
from weighbridge.desk import Desk
from weighbridge.errors import DocumentError, SourceError, UsageError
from weighbridge.evidence import sums
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.history import Clock, Record, no_clock
from weighbridge.location import printable
from weighbridge.lock import Difference, Lock, Locked
from weighbridge.pipeline import DEFAULT_POLICY
from weighbridge.policy import Outcome, Policy, Verdict, refuse
from weighbridge.policy import judge as judge_files
from weighbridge.policy_file import shipped_policy
from weighbridge.records import dataclass, replace
from weighbridge.registries.base import Remote, Settings
from weighbridge.requirements import Unmet, of_files, of_licences, of_source
from weighbridge.sources import Resolved, resolve, scan_fetched, wanted
from weighbridge.store import Admission, Fetched, Intake, Progress, Store, fetch
from weighbridge.store.fetch import CONNECTIONS
from weighbridge.store.materialise import materialise
from weighbridge.version import __version__
from weighbridge.walk import Patterns
from weighbridge.witness import Testimony, hear, signers_changed

# How many differences an error names.
SHOWN: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be fetched and how: `lock`, when there is one, holds every byte that may come."""

    reference: str
    patterns: Patterns = Patterns()
    lock: Lock | None = None
    connections: int = CONNECTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An artifact in the store and the verdict on it; `locked` is its entry for a lock when it passed.

    `fetched` is None when it was refused before anything of it was fetched. `uncovered` are the files that no signature
    covers, when one is required.
    """

    fetched: Fetched | None
    verdict: Verdict
    locked: Locked | None
    uncovered: tuple[str, ...] = ()


def obtain(
    order: Order,
    settings: Settings,
    store: Store,
    desk: Desk,
    *,
    ready: Callable[[Artifact], None] = lambda _: None,
    received: Callable[[Progress], None] | None = None,
) -> Fetched:
    """Return what is ordered, in the store; `ready` is shown the artifact before anything of it is fetched.

    An artifact of this machine has no revision yet when it is shown.

    Raises UsageError when the lock does not have the model or has it with other patterns, SourceError when the model
    cannot be had or is not what the lock holds.
    """
    ready = _once(ready)
    intake = _intake(order, store, received, ready, lambda _: True)
    source, locked = _source(order, settings, store, intake)
    ready(source.artifact)
    return _obtained(order, source, locked, store, desk, intake, received)


def _once(ready: Callable[[Artifact], None]) -> Callable[[Artifact], None]:
    """Return what shows an artifact the first time it is asked to."""
    shown: list[Artifact] = []

    def show(artifact: Artifact) -> None:
        if not shown:
            shown.append(artifact)
            ready(artifact)

    return show


def _intake(
    order: Order,
    store: Store,
    received: Callable[[Progress], None] | None,
    ready: Callable[[Artifact], None],
    allowed: Callable[[Artifact], bool],
) -> Intake:
    """Return what takes in files of this machine that the order wants, when the artifact was shown and is allowed.

    Of a locked model these are the files that the lock has.
    """
    locked: set[str] = set()

    def admits(artifact: Artifact) -> bool:
        ready(artifact)
        model = None
        if order.lock is not None:
            model = order.lock.find(order.reference) or order.lock.matching(artifact)
        locked.update(one.path for one in (model.files if model is not None else ()))
        return allowed(artifact)

    def takes(path: str) -> bool:
        return wanted(path, order.patterns) if order.lock is None else path in locked

    return Intake(store, wanted=takes, admits=admits, progress=received)


def _obtained(
    order: Order,
    source: Resolved,
    locked: Locked | None,
    store: Store,
    desk: Desk,
    intake: Intake,
    received: Callable[[Progress], None] | None,
) -> Fetched:
    """Return an artifact in the store, held against the lock."""
    patterns = order.patterns
    if locked is not None:
        if patterns != Patterns() and patterns != Patterns(include=locked.include, exclude=locked.exclude):
            raise UsageError(f"{printable(order.reference)}: the lock holds files that other patterns chose")
        patterns = Patterns(include=locked.include, exclude=locked.exclude)
    fetched = fetch(
        source.artifact,
        source.registry,
        store,
        wanted=lambda path: wanted(path, patterns),
        limits=desk.limits,
        connections=order.connections,
        progress=received,
        intake=intake,
    )
    if locked is not None:
        _refuse_differences(order.reference, locks.compare(locked.manifest, fetched.manifest))
    return fetched


def judge(
    order: Order,
    settings: Settings,
    store: Store,
    desk: Desk,
    *,
    policy: Policy | None = None,
    trust: TrustPolicy | None = None,
    now: datetime | None = None,
    clock: Clock = no_clock,
    final: bool = True,
    jobs: int = 1,
    ready: Callable[[Artifact], None] = lambda _: None,
    received: Callable[[Progress], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Judged:
    """Return what is ordered with the verdict on it, out of quarantine if that is pass.

    What the policy requires besides the scan is part of the verdict, and who has to have signed it by the trust policy
    (without one, nobody). A file that does not pass goes back to quarantine, even if it was admitted before. `clock`
    tells when the steps of its history were done. `final` says that these are the files that will be used: what the
    policy requires of formats is asked of those alone.

    Raises as `obtain` does.
    """
    policy = policy or shipped_policy(DEFAULT_POLICY)
    now = now or datetime.now(UTC)

    ready = _once(ready)
    intake = _intake(order, store, received, ready, lambda artifact: not _unmet_source(artifact, policy))
    source, held = _source(order, settings, store, intake)
    ready(source.artifact)
    record = Record(clock)
    record.resolved(source.artifact, locked=held is not None)
    if unmet := _unmet_source(source.artifact, policy):
        verdict = _refused(source.artifact, unmet, policy, desk, now)
        record.judged(verdict)
        return Judged(fetched=None, verdict=record.close(verdict), locked=None)
    fetched = _obtained(order, source, held, store, desk, intake, received)
    record.fetched(fetched)
    heard = Testimony()
    if trust is not None:
        pinned = held is not None or not fetched.artifact.moving
        heard = hear(fetched, source.registry, trust, policy.require, now=now, pinned=pinned)
    record.heard(heard)
    verdict = scan_fetched(fetched, desk, store, policy=policy, jobs=jobs, today=now.date(), progress=progress)
    verdict = _required(fetched, held, verdict, policy, heard)
    if final:
        verdict = refuse(verdict, of_files(policy.require, ((one.path, one.formats) for one in verdict.files)))
    record.judged(verdict)
    verdict = record.close(verdict)
    if verdict.outcome is not Outcome.PASS:
        bad = {file.path for file in verdict.files if file.outcome is not Outcome.PASS}
        store.quarantine(entry.sha256 for entry in fetched.manifest.entries if entry.path in bad)
        return Judged(fetched=fetched, verdict=verdict, locked=None)
    store.admit(
        fetched.digests,
        Admission(policy=verdict.policy_digest, rules=verdict.rules_digest, weighbridge=verdict.version),
    )
    patterns = Patterns(include=held.include, exclude=held.exclude) if held is not None else order.patterns
    entry = locks.locked(
        fetched.artifact, fetched.manifest, verdict, include=patterns.include, exclude=patterns.exclude
    )
    return Judged(fetched=fetched, verdict=verdict, locked=entry, uncovered=heard.uncovered)


def _unmet_source(artifact: Artifact, policy: Policy) -> list[Unmet]:
    """Return what a policy requires and the reference or the size of an artifact does not meet."""
    return of_source(
        policy.require,
        source=artifact.reference,
        requested=artifact.requested,
        revision=artifact.revision,
        size=sum(file.size for file in artifact.files),
    )


def _refused(artifact: Artifact, unmet: list[Unmet], policy: Policy, desk: Desk, now: datetime) -> Verdict:
    """Return the verdict on an artifact of which nothing was fetched."""
    verdict = judge_files((), policy, today=now.date(), rules_digest=str(desk.rules.digest), version=__version__)
    return refuse(replace(verdict, source=artifact.pinned), unmet)


def _required(fetched: Fetched, held: Locked | None, verdict: Verdict, policy: Policy, heard: Testimony) -> Verdict:
    """Return a verdict with what was verified, and what is required of the signers and the licences of an artifact."""
    artifact = fetched.artifact
    place = fetched.paths.get(card.NAME)
    declared = card.read_file(place).licences if place is not None else ()
    licences = of_licences(policy.require, declared, artifact.reference)
    changed = signers_changed(held.signatures, heard.evidence, artifact) if held is not None else ()
    claimed = (sums.claims(artifact, fetched.manifest),) if any(file.claims for file in artifact.files) else ()
    return refuse(replace(verdict, evidence=(*heard.evidence, *claimed)), (*heard.unmet, *licences, *changed))


def place(judged: Judged, destination: Path, store: Store, *, copy: bool = False) -> None:
    """Put what passed into a folder, with its lock; a folder that holds just that already is left alone.

    Raises UsageError when the place is taken (see `vacate`), SourceError when the system refuses; the destination is
    untouched then.
    """
    if judged.locked is None or judged.fetched is None:
        raise ValueError("what did not pass goes nowhere")
    manifest = judged.fetched.manifest
    _refuse_reserved(judged.fetched.artifact.reference, [entry.path for entry in manifest.entries])
    held = vacate(destination, judged.fetched.artifact.reference)
    if held != judged.locked:
        text = locks.render(Lock(version=locks.VERSION, models=(judged.locked,)))
        materialise(store, manifest, destination, texts={locks.NAME: text}, copy=copy)


def vacate(destination: Path, source: str) -> Locked | None:
    """Raise UsageError unless a folder may be put to a place: nothing is there, or what was pulled from that source.

    Return what was pulled. What somebody changed since then is theirs, and is not replaced.
    """
    shown = printable(str(destination))
    refuse_inside(source, destination)
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise UsageError(f"{shown}: there is something that is no folder")
    if not destination.exists() or not any(destination.iterdir()):
        return None
    held = _held(destination)
    if held is None or held.source != source:
        what = f"what was pulled from {printable(held.source)}" if held else "something that was not pulled"
        raise UsageError(f"{shown}: the folder holds {what}; name another, or remove it")
    differences = locks.check(destination, held.manifest)
    if differences:
        raise UsageError(f"{shown}: somebody has changed what was pulled ({_list(differences)}); name another folder")
    return held


def refuse_inside(source: str, destination: Path) -> None:
    """Raise UsageError when a folder would be put into the folder that it is made from, and be part of it next time."""
    if source.startswith("file://"):
        top = Path(unquote(source.removeprefix("file://"), errors="surrogateescape"))
        if top.is_dir() and destination.resolve().is_relative_to(top.resolve()):
            raise UsageError(f"{printable(str(destination))}: in the source, which is never written to; name another")


def _refuse_reserved(reference: str, paths: list[str]) -> None:
    if any(path.casefold() == locks.NAME for path in paths):
        raise SourceError(
            f"{printable(reference)}: it holds a file with the name of the lock, {locks.NAME}; --exclude leaves it out"
        )


def _held(destination: Path) -> Locked | None:
    """Return what the lock in a folder says that the folder holds."""
    try:
        models = locks.read(destination / locks.NAME).models
    except (UsageError, DocumentError):
        return None
    return models[0] if len(models) == 1 else None


def _source(order: Order, settings: Settings, store: Store, intake: Intake) -> tuple[Resolved, Locked | None]:
    """Return where the bytes are to come from, and what the lock says of them."""
    if order.lock is None:
        return resolve(order.reference, settings, intake), None
    locked = order.lock.find(order.reference)
    if locked is not None and all(store.has(file.sha256, file.size) for file in locked.files):
        return Resolved(artifact=locked.artifact, registry=_Nowhere()), locked
    found = resolve(locked.names[1] if locked is not None else order.reference, settings, intake)
    if locked is None:
        locked = order.lock.matching(found.artifact)
        if locked is None:
            raise UsageError(f"{printable(order.reference)}: not in the lock; `weighbridge lock add` puts it there")
        if locked.revision != found.artifact.revision:
            found = resolve(locked.names[1], settings, intake)
    if found.artifact.revision != locked.revision:
        raise SourceError(
            f"{printable(order.reference)}: the registry has {printable(found.artifact.revision)}, "
            f"the lock {printable(locked.revision)}"
        )
    _refuse_declared(order.reference, found.artifact, locked)
    asked = Artifact(
        reference=found.artifact.reference,
        requested=locked.requested,
        revision=locked.revision,
        files=found.artifact.files,
    )
    return Resolved(artifact=asked, registry=found.registry), locked


class _Nowhere:
    """Stands for the registry of an artifact whose bytes are all in the store."""

    def resolve(self, reference: str) -> Artifact:
        """Find nothing."""
        raise SourceError(f"{printable(reference)}: not in the store")

    def open(self, artifact: Artifact, file: File) -> Remote:
        """Have nothing: somebody has removed the file from the store since it was seen there."""
        raise SourceError(f"{printable(artifact.reference)}: {printable(file.path)}: gone from the store; try again")


def _refuse_declared(reference: str, artifact: Artifact, locked: Locked) -> None:
    """Raise SourceError when what the registry declares cannot become what the lock holds, before it is fetched."""
    sizes = {file.path: file for file in locked.files}
    wrong = []
    for file in artifact.files:
        expected = sizes.get(file.path)
        if expected is None or file.packing:
            continue
        claims = {claim.value for claim in file.claims if claim.algorithm == "sha256"}
        if file.size != expected.size or claims - {expected.sha256}:
            wrong.append(Difference(file.path, "changed", "the registry declares other bytes"))
    _refuse_differences(reference, wrong)


def _refuse_differences(reference: str, differences: list[Difference]) -> None:
    if differences:
        raise SourceError(f"{printable(reference)}: not what the lock holds ({_list(differences)})")


def _list(differences: list[Difference]) -> str:
    more = f"; {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
    return "; ".join(str(one) for one in differences[:SHOWN]) + more
