"""From paths to a verdict: the scan of many files, in one process or several."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from functools import reduce
from itertools import tee
from typing import TYPE_CHECKING, Final

from weighbridge.desk import Desk
from weighbridge.facts import Gap
from weighbridge.judgement import Judgement
from weighbridge.limits import Limits
from weighbridge.location import Location
from weighbridge.policy import Examined, Policy, Triage, Verdict, judge, refuse
from weighbridge.policy_file import shipped_policy
from weighbridge.records import replace
from weighbridge.requirements import of_files
from weighbridge.rule_files import shipped_folder
from weighbridge.rules import RuleSet
from weighbridge.trust import Trust
from weighbridge.version import __version__
from weighbridge.walk import Patterns, Target, walk

if TYPE_CHECKING:
    from concurrent.futures import Future

    from weighbridge.cache import Cache

# Handing a file to another process takes as long as scanning a small one: many files go in batches, each process
# gets several of them, and no batch is so large that one process still works when the others are done.
BATCH: Final = 32
BATCHES: Final = 8
DEFAULT_POLICY: Final = "default"
CONNECTIONS: Final = 8  # to a registry at a time: most files take two or three short requests, one after the other
_NO_LIMITS: Final = Limits()


def scan(
    paths: Iterable[str | os.PathLike[str]],
    *,
    policy: Policy | None = None,
    rules: RuleSet | None = None,
    trust: Trust | None = None,
    limits: Limits = _NO_LIMITS,
    jobs: int = 1,
    digest: bool = True,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    today: date | None = None,
    second_opinion: bool = False,
    detail: bool = False,
    cache: Cache | None = None,
) -> Verdict:
    """Return the verdict on the files at `paths`, and on those in the folders among them.

    `jobs` processes share the files; `progress` is told how many of how many are done. `today` decides which waivers
    are in force. `digest=False` leaves the digests out, and no waiver holds then. `detail` adds what the HTML report
    shows of each file. `cache` keeps facts and gives those that are kept. The other arguments default to what ships
    with the package.

    Raises SourceError when a named path cannot be read, DocumentError when a rule, trust or policy file is wrong.
    """
    desk = Desk(
        rules=rules or RuleSet.shipped(),
        trust=trust or Trust(f"{shipped_folder()}/trust"),
        limits=limits,
        digest=digest,
        detail=detail,
        cache=cache,
    )
    policy = policy or shipped_policy(DEFAULT_POLICY)
    found = walk([os.fspath(path) for path in paths], Patterns(include=tuple(include), exclude=tuple(exclude)))
    verdict = scan_targets(
        found.targets, desk, policy=policy, jobs=jobs, progress=progress, today=today, excluded=found.excluded
    )
    verdict = refuse(verdict, of_files(policy.require, ((one.path, one.formats) for one in verdict.files)))
    if second_opinion:
        from weighbridge.second_opinion import ask

        opinions = tuple(ask(target.path, target.name) for target in found.targets if target.fact is None)
        verdict = replace(verdict, opinions=opinions)
    return verdict


def scan_targets(
    targets: list[Target],
    desk: Desk,
    *,
    policy: Policy | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
    today: date | None = None,
    source: str = "",
    excluded: Iterable[str] = (),
) -> Verdict:
    """Return the verdict on files that are known by name and place; see `scan`.

    `source` is the reference of the artifact that they are, with its revision; `excluded` are its files that
    the verdict does not cover.
    """
    policy = policy or shipped_policy(DEFAULT_POLICY)
    verdict = judge(
        _examine(_trusting(desk, policy), targets, jobs, progress),
        policy,
        today=today or date.today(),
        rules_digest=str(desk.rules.digest),
        version=__version__,
    )
    return replace(verdict, source=source, excluded=tuple(sorted(excluded)))


def triage(
    targets: list[Target],
    desk: Desk,
    *,
    source: str,
    policy: Policy | None = None,
    today: date | None = None,
    excluded: Iterable[str] = (),
) -> Verdict:
    """Return what can be said of remote files (`Target.blocks`) without fetching more than their parsers ask for.

    The verdict is fail or inconclusive; `Verdict.nothing_found` tells the best case. Raises SourceError when the
    registry does not give the bytes.
    """
    from concurrent.futures import ThreadPoolExecutor

    policy = policy or shipped_policy(DEFAULT_POLICY)
    desk = _trusting(desk, policy)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        examined = list(pool.map(desk.examine, targets))
    if desk.detail:
        examined = list(_with_listings(examined))
    if any(one.references for one in examined):
        examined = desk.settle(targets, examined)
    remote = [target.blocks for target in targets if target.blocks is not None]
    took = Triage(
        fetched=sum(blocks.fetched for blocks in remote),
        size=sum(blocks.remote.size for blocks in remote),
        requests=sum(blocks.requests for blocks in remote),
    )
    verdict = judge(
        examined,
        policy,
        today=today or date.today(),
        rules_digest=str(desk.rules.digest),
        version=__version__,
        triage=took,
    )
    return replace(verdict, source=source, excluded=tuple(sorted(excluded)))


def _trusting(desk: Desk, policy: Policy) -> Desk:
    """Return the desk with the trust entries of a policy."""
    if not policy.trust:
        return desk
    return replace(desk, trust=desk.trust.extended((one.name, one.text) for one in policy.trust))


def look(path: str, desk: Desk) -> Judgement:
    """Return what the facts of a file, or of all files of a folder, amount to, before any policy.

    Raises SourceError when the path cannot be read.
    """
    examined = _examine(desk, walk([path], Patterns()).targets)
    return reduce(Judgement.merged, (one.judgement for one in examined), Judgement())


def _examine(
    desk: Desk, targets: list[Target], jobs: int = 1, progress: Callable[[int, int], None] | None = None
) -> list[Examined]:
    """Return what every file amounts to, in order, settled with what the others say of it."""
    examined = []
    found = _examine_all(desk, targets, jobs)
    for one in _with_listings(found) if desk.detail else found:
        examined.append(one)
        if progress is not None:
            progress(len(examined), len(targets))
    return desk.settle(targets, examined) if any(one.references for one in examined) else examined


def _with_listings(examined: Iterable[Examined]) -> Iterator[Examined]:
    """Yield files with what is shown of them made readable, which is done in one place for the few that are shown."""
    from weighbridge.inspection import decompiled

    these, those = tee(examined)
    for one, detail in zip(these, decompiled(other.detail for other in those), strict=True):
        yield replace(one, detail=detail)


def _examine_all(desk: Desk, targets: list[Target], jobs: int) -> Iterator[Examined]:
    """Yield what every file amounts to, in order."""
    if jobs <= 1 or len(targets) <= 1:
        yield from map(desk.examine, targets)
        return
    from concurrent.futures import ProcessPoolExecutor

    size = max(1, min(BATCH, len(targets) // (jobs * BATCHES)))
    batches = [targets[begin : begin + size] for begin in range(0, len(targets), size)]
    with ProcessPoolExecutor(min(jobs, len(batches)), initializer=_sit_down, initargs=(desk,)) as pool:
        pending = [(batch, pool.submit(_examine_here, batch)) for batch in batches]
        for batch, future in pending:
            yield from _results(desk, batch, future)


def _results(desk: Desk, batch: list[Target], future: Future[list[Examined]]) -> list[Examined]:
    from concurrent.futures.process import BrokenProcessPool

    try:
        return future.result()
    except BrokenProcessPool:
        reason = "the process that examined it, or one beside it, died"
        lost = [replace(target, fact=Gap(location=Location((target.name,)), reason=reason)) for target in batch]
        return [desk.examine(target) for target in lost]


_desks: list[Desk] = []  # the one of this worker process


def _sit_down(desk: Desk) -> None:
    _desks.append(desk)


def _examine_here(batch: list[Target]) -> list[Examined]:
    return [_desks[0].examine(target) for target in batch]
