"""The desk at which a file is examined: its bytes, or the facts that are kept of it, to what they amount to."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from weighbridge import companions
from weighbridge.digest import Digest
from weighbridge.errors import SourceError
from weighbridge.examination import Examination, Tally
from weighbridge.facts import Fact, Gap, NotKeptError, Recognised
from weighbridge.judgement import check
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location, printable
from weighbridge.policy import Coverage, Examined, Span
from weighbridge.reader import Reader, from_descriptor
from weighbridge.records import dataclass, replace
from weighbridge.remote import Blocks, RangeReader
from weighbridge.rules import RuleSet
from weighbridge.trust import Trust
from weighbridge.walk import Target

if TYPE_CHECKING:
    from weighbridge.cache import Cache
    from weighbridge.detail import Detail

# A file up to this size is digested from the bytes at hand; a larger one in a thread beside the parse, for
# which starting the thread must be cheap in comparison.
DIGEST_INLINE: Final = 4 << 20
# Not the target of a link that took the file's place since the walk, and never waiting for a writer of a pipe.
_OPEN: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_UNNAMED: Final = getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What it takes to examine a file: the same in every process of a scan.

    `detail` asks for what a report shows beside the verdict, which takes about as long again. `cache` keeps what
    parsers find, if digests are computed: facts are found by the digest of bytes that were read just now, or are new.
    """

    rules: RuleSet
    trust: Trust
    limits: Limits
    digest: bool
    detail: bool = False
    cache: Cache | None = None

    def examine(self, target: Target) -> Examined:
        """Return what a file amounts to.

        Raises SourceError when the user named the file and it cannot be read; in a folder that is a gap. So
        is a file that grows past the memory of this process or changes while it is read.
        """
        if target.fact is not None:
            return self._examined(target, [target.fact], Tally(0))
        if target.blocks is not None:
            return self._fetch(target, target.blocks)
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
        descriptor = os.open(target.path, _OPEN | (0 if target.named else _UNNAMED))
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(0, "no longer a file")
            known = self._digest(target, descriptor)
            if known is not None and not _changed(before, os.fstat(descriptor), target):
                kept = self._recall(target, known, before.st_size)
                if kept is not None:
                    return kept
            reader = from_descriptor(descriptor, Location((target.name,)), before.st_size)
            examination = self._begin()
            facts, tally, digest = self._parse(examination, reader, descriptor, known)
            if not reader.size and os.read(descriptor, 1):  # such as the files of /proc
                facts.append(Gap(location=reader.origin, reason="the system calls it empty, and it is not", size=0))
            detail = self._detail(examination, facts)
            raw = len(facts) == 1 and isinstance(facts[0], Gap) and reader.size > 0
            if _changed(before, os.fstat(descriptor), target):
                facts.append(Gap(location=reader.origin, reason="the file changed while it was read"))
                tally.unexamined = reader.size
                tally.settle()
                raw = False
        finally:
            os.close(descriptor)
        if self.cache is not None and digest is not None:
            self.cache.keep(digest, target.name, facts, tally)
        return self._examined(target, facts, tally, digest, raw=raw, detail=detail)

    def _digest(self, target: Target, descriptor: int) -> Digest | None:
        """Return the digest of an open file if that is known, or needed to find its facts before they are parsed.

        A file whose facts are not kept is parsed and digested at the same time.
        """
        if self.cache is None or not self.digest or target.digest is not None:
            return target.digest
        if target.expected is not None and not self.cache.has(target.expected, target.name):
            return None
        return Digest.of_descriptor(descriptor)

    def _recall(self, target: Target, digest: Digest, size: int) -> Examined | None:
        """Return what the kept facts of a file amount to, None when there are none or they do not tell enough."""
        found = self.cache.find(digest, target.name) if self.cache is not None and self.digest else None
        if found is None or found[1].size != size:
            return None
        facts, tally = found
        try:
            return replace(self._examined(target, facts, tally, digest, detail=self._detail(None, facts)), kept=True)
        except NotKeptError:
            return None

    def _fetch(self, target: Target, blocks: Blocks) -> Examined:
        """Return what the parts of a remote file amount to that a parser asks for."""
        examination = self._begin()
        facts, tally = examination.run(RangeReader(blocks, Location((target.name,))))
        raw = len(facts) == 1 and isinstance(facts[0], Gap) and blocks.remote.size > 0
        return self._examined(target, facts, tally, raw=raw, detail=self._detail(examination, facts))

    def _begin(self) -> Examination:
        if not self.detail:
            return Examination(Budget(self.limits))
        from weighbridge.inspection import Remembering

        return Remembering(Budget(self.limits))

    def _detail(self, examination: Examination | None, facts: list[Fact]) -> Detail | None:
        """Return what is shown of a file; raise NotKeptError when its bytes are and there was no examination."""
        if not self.detail:
            return None
        from weighbridge.inspection import Remembering, Unread, detailed

        readers = examination.readers if isinstance(examination, Remembering) else Unread()
        return detailed(facts, readers, self.rules, self.trust)

    def _parse(
        self, examination: Examination, reader: Reader, descriptor: int, known: Digest | None
    ) -> tuple[list[Fact], Tally, Digest | None]:
        """Return the facts of an open file, the account of its bytes, and its digest if that is wanted."""
        if not self.digest or known is not None:
            return *examination.run(reader), known if self.digest else None
        if reader.size <= DIGEST_INLINE:
            return *examination.run(reader), Digest.of(reader.view)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            digest = pool.submit(Digest.of_descriptor, descriptor)
            return *examination.run(reader), digest.result()

    def _examined(
        self,
        target: Target,
        facts: list[Fact],
        tally: Tally,
        digest: Digest | None = None,
        *,
        raw: bool = False,
        detail: Detail | None = None,
    ) -> Examined:
        path = (target.name,)
        return Examined(
            path=target.name,
            size=tally.size,
            digest=digest,
            formats=tuple([f.format for f in facts if isinstance(f, Recognised) and f.location.path == path]),
            coverage=Coverage(parsed=tally.parsed, inert=tally.inert, unexamined=tally.unexamined),
            judgement=check(facts, self.rules, self.trust),
            references=companions.references(facts),
            raw=raw,
            detail=detail,
        )

    def settle(self, targets: list[Target], examined: list[Examined]) -> list[Examined]:
        """Return the files with what they say of each other, and those on disk that they refer to beside them."""
        neighbours = companions.Neighbours(targets)
        found = examined
        while more := list(neighbours.missing(found)):
            found = [self.examine(target) for target in more]
            examined = examined + found
        sizes = {one.path: one.size for one in examined}
        spans = companions.spans_of(examined, neighbours)
        return [
            self._settled(one, list(companions.observe(one, neighbours, sizes)), spans.get(one.path, ()), neighbours)
            for one in examined
        ]

    def _settled(
        self, one: Examined, facts: list[Fact], spans: tuple[Span, ...], neighbours: companions.Neighbours
    ) -> Examined:
        if facts:
            one = replace(one, judgement=one.judgement.merged(check(facts, self.rules, self.trust)))
        return companions.account(one, spans, neighbours.source(one.path)) if spans else one


def _changed(before: os.stat_result, now: os.stat_result, target: Target) -> bool:
    """Tell whether somebody wrote to a file; in a store others may give it further names meanwhile."""
    return (
        before.st_size != now.st_size
        or before.st_mtime_ns != now.st_mtime_ns
        or (before.st_ctime_ns != now.st_ctime_ns and not target.stored)
    )
