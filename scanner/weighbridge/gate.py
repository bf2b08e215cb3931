"""The gate: from a reference to a folder of approved files, or to a verdict that says why not.

1. Resolve the reference, and hold what it is against what the policy requires, before anything is fetched.
2. Fetch into the store's quarantine, where every declared digest is compared.
3. Verify who signed it, as the trust policy asks.
4. Scan it, and judge by the policy.
5. On pass: convert what is no safetensors yet, prove that every byte is the source's, and scan what came out.
6. Measure the files, sign the approval, and put the folder to its place in one step.

Anything but pass leaves the folder as it was. A folder that holds what would be put there already is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge import leaves, pull
from weighbridge import lock as locks
from weighbridge.allowances import allowances
from weighbridge.approval import Approval
from weighbridge.approve import Terms, approve, files_of, measure_folder, reserved
from weighbridge.artifact import Artifact, Entry, Manifest
from weighbridge.attest import Input, manifest_of
from weighbridge.crossing import Crossed, Crossing, converts, unneeded
from weighbridge.desk import Desk
from weighbridge.digest import Digest
from weighbridge.errors import ArtifactError, SourceError, UsageError
from weighbridge.history import Record
from weighbridge.leaves import Measured
from weighbridge.load.config_gate import Demand
from weighbridge.location import Location, printable
from weighbridge.lock import Lock, Locked
from weighbridge.policy import Outcome, Verdict, refuse
from weighbridge.records import dataclass, field, replace
from weighbridge.registries.base import Settings
from weighbridge.requirements import Unmet, of_files
from weighbridge.sources import scan_folder
from weighbridge.standing import checking, held_at, is_same
from weighbridge.store import Fetched, Progress, Store
from weighbridge.store.layout import READ_ONLY
from weighbridge.store.materialise import building, fill, make_own, put
from weighbridge.witness import unmet_denied
from weighbridge.writing import write

if TYPE_CHECKING:
    from weighbridge.convert.conversion import Follower
    from weighbridge.convert.front import Front


def gate(
    crossing: Crossing,
    settings: Settings,
    store: Store,
    desk: Desk,
    *,
    jobs: int = 1,
    received: Callable[[Progress], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Crossed:
    """Return what became of a model at the gate; see the module.

    Raises UsageError when the destination is taken by something else, SourceError when the model cannot be had or the
    system refuses, and what the signer raises; the destination is untouched then.
    """
    held = held_at(crossing)
    unchanged = checking(crossing.destination, held)
    judged = pull.judge(
        crossing.order,
        settings,
        store,
        desk,
        policy=crossing.policy,
        trust=crossing.trust,
        now=crossing.now,
        clock=crossing.clock,
        final=False,
        jobs=jobs,
        ready=lambda artifact: _refuse_other(crossing, artifact, held),
        received=received,
        progress=progress,
    )
    verdict, fetched = judged.verdict, judged.fetched
    if fetched is None or judged.locked is None:
        return Crossed(verdict=verdict)
    unchanged()
    allowed = tuple(entry for entry in fetched.manifest.entries if entry.path not in judged.uncovered)
    files, record = Manifest(entries=allowed), Record(crossing.clock, verdict.history)
    if held is not None and not crossing.anew and is_same(crossing, held, fetched, files, verdict):
        record.approved(held, held.signer, before=True)
        return Crossed(verdict=record.close(verdict), approval=held, unchanged=True)
    uncovered = dict.fromkeys(judged.uncovered, "no signature covers it")
    record.left_out(uncovered)
    crossed = _cross(crossing, fetched, files, judged.locked, record.close(verdict), store, desk, unchanged)
    return replace(crossed, left_out={**uncovered, **crossed.left_out}) if crossed.approval else crossed


def _refuse_other(crossing: Crossing, artifact: Artifact, held: Approval | None) -> None:
    """Raise UsageError when the destination holds another model, or lies in this one."""
    pull.refuse_inside(artifact.reference, crossing.destination)
    if held is not None and held.resource.rpartition("@")[0] != artifact.reference:
        shown = printable(str(crossing.destination))
        raise UsageError(f"{shown}: the folder holds {printable(held.resource)}; name another, or remove it")


def _cross(
    crossing: Crossing,
    fetched: Fetched,
    files: Manifest,
    locked: Locked,
    verdict: Verdict,
    store: Store,
    desk: Desk,
    unchanged: Callable[[], None],
) -> Crossed:
    """Build the folder beside its place, approve it, and put it there if what stands there is still `unchanged`."""
    if taken := reserved([entry.path for entry in files.entries]):
        name = f"{printable(fetched.artifact.reference)}: {printable(taken)}"
        raise SourceError(f"{name} is a name of the gate's own; --exclude leaves it out")
    record = Record(crossing.clock, verdict.history)
    with building(store, crossing.destination) as folder:
        source, new = folder / "source", folder / "new"
        source.mkdir()
        fill(source, files, store)
        try:
            made = _convert(crossing, fetched, files, (source, new), store, desk)
        except ArtifactError as error:
            where = _in_model(error.location, source)
            record.not_converted(f"{where}: {error.reason}")
            return Crossed(verdict=record.close(refuse(verdict, [_unconvertible(where, error.reason)])))
        record.converted(made.converted)
        record.left_out(made.left_out)
        measured = measure_folder(new, made.measured)
        _refuse_damaged(fetched, files, made, measured, store)
        known = {path: Digest("sha256", one.sha256) for path, one in measured.items()}
        final = scan_folder(new, desk, known=known, policy=crossing.policy, today=crossing.today)
        final = refuse(final, of_files(crossing.policy.require, ((one.path, one.formats) for one in final.files)))
        tree = str(manifest_of(final).digest)
        final = refuse(final, unmet_denied(tree, crossing.trust, where=printable(fetched.artifact.pinned)))
        record.judged(final, "what is to be approved")
        verdict = record.close(verdict)
        if final.outcome is not Outcome.PASS:
            return Crossed(verdict=record.close(replace(final, source=verdict.source, evidence=verdict.evidence)))
        found, refused = _approve(crossing, fetched, locked, verdict, final, new, measured)
        for place in (one for one in new.rglob("*") if one.is_file()):
            place.chmod(READ_ONLY)
        unchanged()
        put(new, crossing.destination)
    record.approved(found, crossing.signer.identity)
    verdict = record.close(verdict)
    return Crossed(verdict=verdict, approval=found, converted=made.converted, left_out=made.left_out, refused=refused)


def _refuse_damaged(
    fetched: Fetched, files: Manifest, made: _Made, measured: Mapping[str, Measured], store: Store
) -> None:
    """Raise SourceError when a file that crosses as it came is not the one that was fetched, scanned and signed.

    A file of the store may have other names in folders that others can write to.
    """
    for entry in files.entries:
        if entry.path in made.as_they_came and measured[entry.path].sha256 != entry.sha256:
            raise _damaged(entry, fetched, store)


def _own_all(fetched: Fetched, files: Manifest, source: Path, store: Store) -> None:
    """Have files that are to be converted to ourselves, for nobody compares them afterwards; raise as above."""
    for entry in files.entries:
        place = source / entry.path
        if make_own(place):
            with place.open("rb") as file:
                if Digest.of_descriptor(file.fileno()).value != entry.sha256:
                    raise _damaged(entry, fetched, store)


def _damaged(entry: Entry, fetched: Fetched, store: Store) -> SourceError:
    """Remove bytes from the store that are not what they were; return the error."""
    store.remove(entry.sha256)
    name = f"{printable(fetched.artifact.reference)}: {printable(entry.path)}"
    return SourceError(f"{name}: what lay in the store was damaged after the scan and is removed; try again")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What became of the source: the weights that were made, by what they were made from, and what was left out.

    `as_they_came` are the paths of files that are what they were; `measured` were measured while they were made.
    """

    converted: dict[str, str]
    left_out: dict[str, str]
    as_they_came: frozenset[str]
    measured: Mapping[str, Measured] = field(default_factory=dict)


def _in_model(location: Location, source: Path) -> Location:
    """Return a place in the copy that is converted as the place in the model that it is."""
    file, *members = location.path or ("",)
    return Location((file.removeprefix(f"{source}{os.sep}"), *members), location.offset)


def _unconvertible(where: Location, reason: str) -> Unmet:
    fix = "--no-convert approves the files as they are; --state-dict PATH names the group of tensors that is meant"
    return Unmet(code="UNCONVERTIBLE", where=str(where), reason=reason, fix=fix)


def _convert(
    crossing: Crossing, fetched: Fetched, files: Manifest, places: tuple[Path, Path], store: Store, desk: Desk
) -> _Made:
    """Make the folder of what is to be approved: converted where there is something to convert, else as it came.

    `places` are where the source lies and where that folder is to be.
    """
    source, new = places
    from weighbridge.convert.directory import convert_folder
    from weighbridge.convert.inventory import take

    found = take(source, desk.limits, state_dict=crossing.state_dict) if crossing.convert else None
    if found is None or not converts(found):
        left_out = {} if found is None else unneeded(found, files)
        for path in left_out:
            _remove(source, path)
        source.rename(new)
        return _Made(
            converted={}, left_out=left_out, as_they_came=frozenset(one.path for one in files.entries) - left_out.keys()
        )
    _own_all(fetched, files, source, store)
    measured: dict[str, Measured] = {}
    made = convert_folder(
        source,
        new,
        judge=lambda place, paths: {},
        state_dict=crossing.state_dict,
        digests=False,
        follow=lambda path: _measuring(path, measured),
        once=True,
        limits=desk.limits,
    )
    converted = {path: made.sources[path] for path in made.conversions if made.sources[path] != path}
    as_they_came = frozenset(made.copied) - {one.path for one in made.rewritten}
    return _Made(converted=converted, left_out=dict(made.left_out), as_they_came=as_they_came, measured=measured)


def _measuring(path: str, measured: dict[str, Measured]) -> Follower:
    """Return what measures a file of weights while it is written, and keeps what it found."""

    def measure(descriptor: int, front: Front) -> None:
        measured[path] = leaves.measure(descriptor, leaves.TENSORS, printable(path), written=front.wait)

    return measure


def _remove(folder: Path, path: str) -> None:
    """Remove a file of a folder, and the folders in it that are empty then."""
    place = folder / path
    place.unlink()
    while (place := place.parent) != folder and not any(place.iterdir()):
        place.rmdir()


def _approve(
    crossing: Crossing,
    fetched: Fetched,
    locked: Locked,
    verdict: Verdict,
    final: Verdict,
    new: Path,
    measured: Mapping[str, Measured],
) -> tuple[Approval, tuple[Demand, ...]]:
    """Write the lock, the reports and the approval into the folder; return what it says, and what loaders refuse."""
    texts = {locks.NAME: [locks.render(Lock(version=locks.VERSION, models=(locked,)))]}
    for name, lines in crossing.reports(verdict).items():
        texts[name] = [f"{line}\n" for line in lines]
    inputs = []
    for name, pieces in texts.items():
        data = "".join(pieces).encode("utf-8")
        write(new / name, [data])
        inputs.append(Input(uri=f"urn:weighbridge:beside:{name}", digest=Digest.of(data)))
    signed = ((one.format, one.signature) for one in verdict.evidence if one.signature is not None)
    inputs += [Input(uri=f"urn:weighbridge:evidence:{name}", digest=one.bundle) for name, one in signed]
    found = allowances(files_of(final), lambda path: (new / path).read_bytes(), crossing.allowed)
    terms = Terms(
        at=crossing.now,
        expires=crossing.expires,
        verifier=crossing.verifier,
        resource=fetched.artifact.pinned,
        allowed=found.allowed,
        inputs=tuple(inputs),
        derived_from=str(fetched.manifest.digest),
    )
    return approve(new, final, crossing.signer, terms, measured=measured).approval, found.refused
