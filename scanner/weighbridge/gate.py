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
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge import approval, pull
from weighbridge import lock as locks
from weighbridge.allowances import allowances, allows
from weighbridge.approval import Approval
from weighbridge.approve import Terms, approve, compare, files_of, measure_folder, reserved
from weighbridge.artifact import Artifact, Entry, Manifest
from weighbridge.attest import Input, manifest_of
from weighbridge.desk import Desk
from weighbridge.digest import Digest
from weighbridge.errors import ArtifactError, SourceError, UsageError
from weighbridge.evidence import trust_policy
from weighbridge.evidence.signers import Signer
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.history import Clock, Record, no_clock
from weighbridge.leaves import Measured
from weighbridge.limits import Limits
from weighbridge.load.config_gate import Demand
from weighbridge.location import Location, printable
from weighbridge.lock import Lock, Locked
from weighbridge.policy import Outcome, Policy, Verdict, refuse
from weighbridge.pull import Order
from weighbridge.records import dataclass, field, replace
from weighbridge.refusals import ApprovalUntrusted, EvidenceError, NotApproved
from weighbridge.registries.base import Settings
from weighbridge.requirements import Unmet, of_files
from weighbridge.sources import scan_folder
from weighbridge.store import Fetched, Progress, Store
from weighbridge.store.layout import READ_ONLY
from weighbridge.store.materialise import building, fill, make_own, put
from weighbridge.witness import unmet_denied
from weighbridge.writing import write

if TYPE_CHECKING:
    from weighbridge.convert.inventory import Inventory

# What renders the reports that go into the folder: their text by the name of the file.
Reports = Callable[[Verdict], dict[str, Iterable[str]]]


def _no_reports(_: Verdict) -> dict[str, Iterable[str]]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """What is to cross, to where, and on whose word.

    `trust` says who has to have signed it, and by whom a folder that is there already may be approved. `signer`
    signs in the name of `verifier` at `now` until `expires` (UTC). `allowed` are the places that loaders would refuse
    and are meant to take, as `config.json` or `config.json:auto_map`. `convert` says whether weights become
    safetensors, `state_dict` which group of tensors of a checkpoint is meant. `anew` asks for everything to be done
    again. `clock` tells when the steps of the history were done.
    """

    order: Order
    destination: Path
    policy: Policy
    trust: TrustPolicy
    signer: Signer
    verifier: str
    now: datetime
    expires: datetime
    convert: bool = True
    state_dict: str | None = None
    allowed: frozenset[str] = frozenset()
    anew: bool = False
    reports: Reports = field(default=_no_reports)
    clock: Clock = field(default=no_clock)

    @property
    def today(self) -> date:
        """The day on which waivers are in force."""
        return self.now.date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossed:
    """What became of it: the verdict and, on pass, the approval of what is in the folder.

    `unchanged` tells that the folder held it before. `converted` are the files of weights that were made, by what
    they were made from; `left_out` are files of the source that did not cross, with why; `refused` is what loaders
    will not take of what crossed, unless it is allowed.
    """

    verdict: Verdict
    approval: Approval | None = None
    unchanged: bool = False
    converted: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    refused: tuple[Demand, ...] = ()


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
    held = _held(crossing)
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
    if held is not None:
        _check_unchanged(crossing.destination, held)
    allowed = tuple(entry for entry in fetched.manifest.entries if entry.path not in judged.uncovered)
    files, record = Manifest(entries=allowed), Record(crossing.clock, verdict.history)
    if held is not None and not crossing.anew and _is_same(crossing, held, fetched, files, verdict):
        record.approved(held, held.signer, before=True)
        return Crossed(verdict=record.close(verdict), approval=held, unchanged=True)
    uncovered = dict.fromkeys(judged.uncovered, "no signature covers it")
    record.left_out(uncovered)
    crossed = _cross(crossing, fetched, files, judged.locked, record.close(verdict), store, desk)
    return replace(crossed, left_out={**uncovered, **crossed.left_out}) if crossed.approval else crossed


def _refuse_other(crossing: Crossing, artifact: Artifact, held: Approval | None) -> None:
    """Raise UsageError when the destination holds another model, or lies in this one."""
    pull.refuse_inside(artifact.reference, crossing.destination)
    if held is not None and held.resource.rpartition("@")[0] != artifact.reference:
        shown = printable(str(crossing.destination))
        raise UsageError(f"{shown}: the folder holds {printable(held.resource)}; name another, or remove it")


def _held(crossing: Crossing) -> Approval | None:
    """Return the approval of what is at the destination, None when nothing is.

    Raises UsageError when something is there that no gate put there, or that somebody has changed since.
    """
    place = crossing.destination
    shown = printable(str(place))
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise UsageError(f"{shown}: there is something that is no folder")
    if not place.exists() or not any(place.iterdir()):
        return None
    descriptor = os.open(place, os.O_RDONLY)
    try:
        return _authenticate(crossing, approval.read_bundle(descriptor, shown), f"{shown}/{approval.NAME}")
    except NotApproved as error:
        raise UsageError(f"{shown}: the folder holds something that no gate here put there; name another") from error
    finally:
        os.close(descriptor)


def _authenticate(crossing: Crossing, raw: bytes, where: str) -> Approval:
    """Return an approval by an approver of the trust policy, or by the user's own key when that signs now, too.

    A policy may say who signs models and leave it to others who approves: what this gate put there is its own then.
    Raises a NotApproved, by what is wrong.
    """
    try:
        return approval.authenticate(raw, trust=crossing.trust, now=crossing.now, where=where)
    except ApprovalUntrusted:
        own = trust_policy.own()
        if crossing.signer.identity not in {f"sha256:{one.sha256_spki}" for one in own.signers.values()}:
            raise
        return approval.authenticate(raw, trust=own, now=crossing.now, where=where)


def _check_unchanged(place: Path, held: Approval) -> None:
    """Raise UsageError when somebody has changed what was approved: that is theirs, and is not replaced."""
    try:
        compare(place, held)
    except EvidenceError as error:
        found = f"{error.where}: {error.reason} [{error.code}]"
        raise UsageError(
            f"{found}: somebody has changed what was approved; name another folder, or remove it"
        ) from error


def _is_same(crossing: Crossing, held: Approval, fetched: Fetched, files: Manifest, verdict: Verdict) -> bool:
    """Tell whether what was approved before is what would be approved now, and still holds, but no longer than that."""
    judged = (verdict.policy_digest, verdict.rules_digest, verdict.version, crossing.verifier)
    return (
        crossing.now < held.expires <= crossing.expires
        and not approval.denied(held, crossing.trust)
        and held.resource == fetched.artifact.pinned
        and held.derived_from == str(fetched.manifest.digest)
        and (held.policy, held.rules, held.weighbridge, held.verifier) == judged
        and allows(held.allowed, crossing.allowed)
        and _is_converted(crossing, held, files)
    )


def _is_converted(crossing: Crossing, held: Approval, files: Manifest) -> bool:
    """Tell whether what is in the folder was converted, or not, as it is asked for now; its bytes are verified."""
    from weighbridge.convert.directory_proof import asked_group
    from weighbridge.convert.inventory import take

    as_it_came = held.tree == str(files.digest)
    if not crossing.convert:
        return as_it_came
    if not as_it_came:
        return asked_group(crossing.destination) == crossing.state_dict
    found = take(crossing.destination, Limits())
    return not _converts(found) and not _unneeded(found, files)


def _cross(
    crossing: Crossing, fetched: Fetched, files: Manifest, locked: Locked, verdict: Verdict, store: Store, desk: Desk
) -> Crossed:
    """Build the folder beside its place, approve it, and put it there."""
    if taken := reserved([entry.path for entry in files.entries]):
        raise SourceError(f"{printable(fetched.artifact.reference)}: {printable(taken)} is a name of the gate's own")
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
        measured = measure_folder(new)
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

    `as_they_came` are the paths of files that are what they were.
    """

    converted: dict[str, str]
    left_out: dict[str, str]
    as_they_came: frozenset[str]


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
    if found is None or not _converts(found):
        left_out = {} if found is None else _unneeded(found, files)
        for path in left_out:
            _remove(source, path)
        source.rename(new)
        return _Made(
            converted={}, left_out=left_out, as_they_came=frozenset(one.path for one in files.entries) - left_out.keys()
        )
    _own_all(fetched, files, source, store)
    made = convert_folder(
        source, new, judge=lambda place, paths: {}, state_dict=crossing.state_dict, digests=False, limits=desk.limits
    )
    converted = {path: made.sources[path] for path in made.conversions if made.sources[path] != path}
    as_they_came = frozenset(made.copied) - {one.path for one in made.rewritten}
    return _Made(converted=converted, left_out=dict(made.left_out), as_they_came=as_they_came)


def _converts(found: Inventory) -> bool:
    """Tell whether there are weights that are not safetensors yet."""
    return any(one.path != one.target for one in found.weights)


def _unneeded(found: Inventory, files: Manifest) -> dict[str, str]:
    """Return what stays behind beside weights that are safetensors already: the same once more, and pickles."""
    paths = {entry.path for entry in files.entries} if found.weights else set()
    return {path: reason for path, reason in found.left_out.items() if path in paths}


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
