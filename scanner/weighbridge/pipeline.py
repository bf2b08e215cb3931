"""From paths to a verdict: recursion into members, budgets, the account of every byte, and the scan of many files."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import field, replace
from datetime import date
from typing import TYPE_CHECKING, Final

from weighbridge import __version__, formats
from weighbridge.digest import Digest
from weighbridge.errors import ArtifactError, SourceError
from weighbridge.facts import Anomaly, Fact, Gap, Inert, Recognised
from weighbridge.formats.base import Context, Format, gap
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location, printable
from weighbridge.policy import Coverage, Examined, Policy, Verdict, judge, shipped_policy
from weighbridge.reader import Reader, from_descriptor
from weighbridge.records import dataclass
from weighbridge.rule_files import shipped_folder
from weighbridge.rules import RuleSet, check
from weighbridge.trust import Trust
from weighbridge.walk import Patterns, Target, walk

if TYPE_CHECKING:
    from concurrent.futures import Future

# A file up to this size is digested from the bytes at hand; a larger one in a thread beside the parse, for
# which starting the thread must be cheap in comparison.
DIGEST_INLINE: Final = 4 << 20
# Handing a file to another process takes as long as scanning a small one: many files go in batches, each process
# gets several of them, and no batch is so large that one process still works when the others are done.
BATCH: Final = 32
BATCHES: Final = 8
DEFAULT_POLICY: Final = "default"
_UNREAD: Final = (Inert, Gap)
_NO_LIMITS: Final = Limits()
# Not the target of a link that took the file's place since the walk, and never waiting for a writer of a pipe.
_OPEN: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_UNNAMED: Final = getattr(os, "O_NOFOLLOW", 0)


@dataclass(slots=True)
class Tally:
    """How the bytes of one reader were accounted for."""

    size: int
    inert: int = 0
    unexamined: int = 0

    def add(self, fact: Fact) -> None:
        """Count what a fact says of its bytes."""
        if isinstance(fact, Inert):
            self.inert += fact.size
        elif isinstance(fact, Gap):
            self.unexamined += self.size if fact.size is None else fact.size

    def add_member(self, member: Tally, stored: int) -> None:
        """Count a member that takes `stored` bytes of this container, in proportion to its own tally."""
        if member.size:
            self.inert += member.inert * stored // member.size
            self.unexamined += -(-member.unexamined * stored // member.size)

    def settle(self) -> None:
        """Bring overlapping counts (a gap behind a gap, a polyglot) back to the size."""
        self.unexamined = min(self.unexamined, self.size)
        self.inert = min(self.inert, self.size - self.unexamined)

    @property
    def parsed(self) -> int:
        """Bytes that a format understood."""
        return self.size - self.inert - self.unexamined


@dataclass(slots=True)
class Examination:
    """The parse of one file: a stack of tallies, one per container around the bytes being read."""

    budget: Budget
    tallies: list[Tally] = field(default_factory=list)

    def run(self, reader: Reader) -> tuple[list[Fact], Tally]:
        """Return every fact of a file and the account of its bytes."""
        root = Tally(reader.size)
        self.tallies = [root]
        facts = list(self.examine(reader, reader.size))
        if reader.size == 0:
            facts.append(Gap(location=reader.origin, reason="the file is empty", size=0))
        root.settle()
        return facts, root

    def examine(self, reader: Reader, stored: int) -> Iterator[Fact]:
        """Yield the facts of a member (or of the file itself) under every format that recognises it."""
        if reader.size == 0:
            return
        tally = Tally(reader.size)
        self.tallies.append(tally)
        try:
            for fact in self._facts(reader):
                if isinstance(fact, _UNREAD) and fact.location.path == reader.origin.path:
                    tally.add(fact)
                yield fact
        finally:
            self.tallies.pop()
            tally.settle()
            self.tallies[-1].add_member(tally, stored)

    def _facts(self, reader: Reader) -> Iterator[Fact]:
        if len(self.tallies) - 2 > self.budget.limits.max_depth:
            reason = f"nested deeper than {self.budget.limits.max_depth} containers"
            yield Gap(location=reader.origin, reason=reason, size=reader.size, limit="max_depth")
            return
        recognised = formats.sniff(reader.sample)
        if not recognised:
            yield Gap(location=reader.origin, reason="no known format", size=reader.size)
        if len(recognised) > 1:
            names = " and ".join(f.name for f in recognised)
            yield Anomaly(location=reader.origin, code="polyglot", detail=f"the same bytes are {names}")
        for format_ in recognised:
            yield Recognised(location=reader.origin, format=format_.name, size=reader.size)
            yield from self._parse(format_, reader)

    def _parse(self, format_: Format, reader: Reader) -> Iterator[Fact]:
        context = Context(budget=self.budget, examine=self.examine)
        reader.seek(0)
        try:
            yield from format_.parse(reader, context)
        except ArtifactError as error:
            yield gap(error, format_.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What it takes to examine a file: the same in every process of a scan."""

    rules: RuleSet
    trust: Trust
    limits: Limits
    digest: bool

    def examine(self, target: Target) -> Examined:
        """Return what a file amounts to.

        Raises SourceError when the user named the file and it cannot be read; in a folder that is a gap. So
        is a file that grows past the memory of this process or changes while it is read.
        """
        if target.fact is not None:
            return self._examined(target, [target.fact], Tally(0))
        try:
            return self._read(target)
        except OSError as error:
            if target.named:
                raise SourceError(f"{printable(target.name)}: {error.strerror}") from error
            reason = f"the file cannot be read: {error.strerror}"
        except (MemoryError, RecursionError):
            reason = "reading it takes more memory than there is"
        return self._examined(target, [Gap(location=Location((target.name,)), reason=reason)], Tally(0))

    def _read(self, target: Target) -> Examined:
        with ExitStack() as cleanup:
            descriptor = os.open(target.path, _OPEN | (0 if target.named else _UNNAMED))
            cleanup.callback(os.close, descriptor)
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(0, "no longer a file")
            reader = from_descriptor(descriptor, Location((target.name,)))
            pending = self._start_digest(reader, descriptor, cleanup)
            facts, tally = Examination(Budget(self.limits)).run(reader)
            digest = pending()
            if _state(os.fstat(descriptor)) != _state(before):
                facts.append(Gap(location=reader.origin, reason="the file changed while it was read"))
                tally.unexamined = reader.size
                tally.settle()
        return self._examined(target, facts, tally, digest)

    def _start_digest(self, reader: Reader, descriptor: int, cleanup: ExitStack) -> Callable[[], Digest | None]:
        """Return what gives the digest when the parse is done."""
        if not self.digest:
            return lambda: None
        if reader.size <= DIGEST_INLINE:
            return lambda: Digest.of(reader.view)
        from concurrent.futures import ThreadPoolExecutor

        pool = cleanup.enter_context(ThreadPoolExecutor(1))
        return pool.submit(Digest.of_descriptor, descriptor).result

    def _examined(self, target: Target, facts: list[Fact], tally: Tally, digest: Digest | None = None) -> Examined:
        return Examined(
            path=target.name,
            size=tally.size,
            digest=digest,
            formats=tuple(f.format for f in facts if isinstance(f, Recognised) and f.location.path == (target.name,)),
            coverage=Coverage(parsed=tally.parsed, inert=tally.inert, unexamined=tally.unexamined),
            judgement=check(facts, self.rules, self.trust),
        )


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
) -> Verdict:
    """Return the verdict on the files at `paths`, and on those in the folders among them.

    `jobs` processes share the files; `progress` is told how many of how many are done. `today` decides which waivers
    are in force. `digest=False` leaves the digests out, and no waiver holds then. The other arguments default to
    what ships with the package.

    Raises SourceError when a named path cannot be read, DocumentError when a rule, trust or policy file is wrong.
    """
    desk = Desk(
        rules=rules or RuleSet.shipped(),
        trust=trust or Trust(f"{shipped_folder()}/trust"),
        limits=limits,
        digest=digest,
    )
    found = walk([os.fspath(path) for path in paths], Patterns(include=tuple(include), exclude=tuple(exclude)))
    examined = []
    for one in _examine_all(desk, found.targets, jobs):
        examined.append(one)
        if progress is not None:
            progress(len(examined), len(found.targets))
    verdict = judge(
        examined,
        policy or shipped_policy(DEFAULT_POLICY),
        today=today or date.today(),
        rules_digest=str(desk.rules.digest),
        version=__version__,
    )
    if second_opinion:
        from weighbridge.second_opinion import ask

        opinions = tuple(ask(target.path, target.name) for target in found.targets if target.fact is None)
        verdict = replace(verdict, opinions=opinions)
    return replace(verdict, excluded=tuple(sorted(found.excluded))) if found.excluded else verdict


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


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
