"""Policy: from findings, unknowns and gaps to one verdict.

Everything here is a function of values: the day is an argument, and nothing reads a clock, a disk or a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from weighbridge.digest import Digest
from weighbridge.facts import Gap
from weighbridge.judgement import Finding, Judgement, Unknown
from weighbridge.location import Location
from weighbridge.records import dataclass, field, replace
from weighbridge.remote import TRIAGE
from weighbridge.requirements import Requirements, Unmet
from weighbridge.rules import Severity

if TYPE_CHECKING:
    from weighbridge.detail import Decision, Detail
    from weighbridge.evidence.base import Evidence

Span = tuple[int, int]  # the first byte and the one behind the last

UNKNOWN: Final = "unknown"
# Half a year: somebody looks again before people and reasons have changed.
MAX_WAIVER_DAYS: Final = 180

_DIGEST: Final = r"sha256:[0-9a-f]{64}"
_RULE: Final = r"[A-Z]{3}[0-9]{3}|unknown"


class Outcome(StrEnum):
    """What a gate does next, from the best to the worst."""

    PASS = "pass"  # noqa: S105 - not a password
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"

    @property
    def rank(self) -> int:
        """0 for pass to 2 for fail; the text itself does not sort."""
        return tuple(Outcome).index(self)


class Response(StrEnum):
    """What a policy makes of something that was not understood."""

    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A dated decision to accept one rule's findings, or the unknowns, of one exact file.

    `rule` is a rule id or `unknown`; `subject`, a glob, narrows it to some names. Gaps cannot be waived:
    nobody knows what they hold.
    """

    rule: str
    digest: str
    reason: str
    approver: str
    expires: date
    subject: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(_RULE, self.rule):
            raise ValueError(f"{self.rule!r} is neither a rule id such as PKL001 nor 'unknown'")
        if not re.fullmatch(_DIGEST, self.digest):
            raise ValueError(f"{self.digest!r} is not a digest such as sha256:<64 hexadecimal digits>")
        if not self.reason.strip():
            raise ValueError("a waiver needs a reason")
        if not self.approver.strip():
            raise ValueError("a waiver needs an approver")

    def covers(self, item: Finding | Unknown, digest: Digest | None, today: date) -> bool:
        """Tell whether this waiver accepts `item` in the file with that digest on that day (the last one included)."""
        rule = item.rule.id if isinstance(item, Finding) else UNKNOWN
        return (
            self.rule == rule
            and digest is not None
            and self.digest == str(digest)
            and today <= self.expires
            and (self.subject is None or fnmatchcase(item.fact.subject, self.subject))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustText:
    """A file of trust entries of the user's own: its name and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a gate asks of a model. `digest` tells all that the policy was read from (see `policy_file`).

    `trust` are trust entries for packages that no shipped file speaks for. `max_waiver_days` is how far ahead the end
    of a waiver may lie; a waiver that ends later accepts nothing.
    """

    name: str
    fail_at: Severity = Severity.HIGH
    unknown: Response = Response.INCONCLUSIVE
    gaps: Response = Response.INCONCLUSIVE
    waivers: tuple[Waiver, ...] = ()
    max_waiver_days: int = MAX_WAIVER_DAYS
    require: Requirements = field(default_factory=Requirements)
    trust: tuple[TrustText, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many bytes were parsed, are known to be inert, or were not examined."""

    parsed: int = 0
    inert: int = 0
    unexamined: int = 0

    @property
    def total(self) -> int:
        """All bytes that are accounted for."""
        return self.parsed + self.inert + self.unexamined

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(
            parsed=self.parsed + other.parsed,
            inert=self.inert + other.inert,
            unexamined=self.unexamined + other.unexamined,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a file says of another, `target` as it names it: the spans of it that are the data of tensors, merged.

    `rest` is where a tensor begins whose length is not given, so that everything behind it is taken; `checksum` is the
    SHA-1 that the whole file is said to have, `location` the first place that says so.
    """

    location: Location
    target: str
    spans: tuple[Span, ...]
    rest: int | None = None
    checksum: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A file after the scan; `digest` is None when nothing asked for it.

    `references` are to other files of the artifact; `raw` says that no format recognises the bytes and nothing
    else is wrong with them, so that what another file says can account for them. `detail` is there when a report is to
    show it. `kept` tells that its facts were found before, and that nothing was parsed.
    """

    path: str
    size: int
    digest: Digest | None = None
    formats: tuple[str, ...] = ()
    coverage: Coverage
    judgement: Judgement
    references: tuple[Reference, ...] = ()
    raw: bool = False
    detail: Detail | None = None
    kept: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVerdict:
    """A file as the verdict reports it, with the outcome it would have alone.

    `quarantine` is where the bytes of a fetched file lie that does not pass; empty for any other. `detail` is there
    when a report is to show it; `kept` tells that its facts were, which no report does.
    """

    path: str
    size: int
    digest: Digest | None
    formats: tuple[str, ...]
    coverage: Coverage
    outcome: Outcome
    quarantine: str = ""
    detail: Detail | None = None
    kept: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waived:
    """A finding or an unknown, and the waiver that accepts it."""

    item: Finding | Unknown
    waiver: Waiver


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """A waiver that accepted nothing: `expired`, or `unused` because nothing it speaks of was found."""

    waiver: Waiver
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What another program says of a file. It stands beside the verdict and changes nothing in it.

    `says` is one word or a few (the other program's own), `details` are its reasons, `by` is its name and version.
    """

    path: str
    by: str
    says: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Triage:
    """What a look from afar took: bytes fetched of all there are, and requests."""

    fetched: int
    size: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer, and everything it rests on; `excluded` are files that it does not cover because a pattern says so.

    `source` is the reference of the artifact with its revision, empty for files on disk. `triage` is there when only
    parts were fetched: such a verdict is never pass. `unmet` is what the policy asks besides and the model does not
    meet; with any the outcome is fail. `evidence` is what was verified of where the files come from, and `history`
    tells all steps of the decision, the first one first, when more was done than to scan; both are for reports.
    """

    outcome: Outcome
    findings: tuple[Finding, ...]
    waived: tuple[Waived, ...]
    unknowns: tuple[Unknown, ...]
    gaps: tuple[Gap, ...]
    stale: tuple[Stale, ...]
    files: tuple[FileVerdict, ...]
    coverage: Coverage
    policy: str
    fail_at: Severity
    policy_digest: str
    rules_digest: str
    version: str
    excluded: tuple[str, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    source: str = ""
    triage: Triage | None = None
    unmet: tuple[Unmet, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    history: tuple[Decision, ...] = ()

    @property
    def nothing_found(self) -> bool:
        """Whether a triage left no question but the one that only the whole download answers."""
        return (
            self.triage is not None
            and self.outcome is Outcome.INCONCLUSIVE
            and not self.unknowns
            and all(gap.limit == TRIAGE for gap in self.gaps)
            and bool(self.files)
        )

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The findings at or above the policy's severity."""
        return tuple(finding for finding in self.findings if blocks(finding, self.fail_at))


def refuse(verdict: Verdict, unmet: Iterable[Unmet]) -> Verdict:
    """Return a verdict with requirements added that are not met: with any it is fail."""
    found = (*verdict.unmet, *unmet)
    return replace(verdict, unmet=found, outcome=Outcome.FAIL if found else verdict.outcome)


def blocks(finding: Finding, fail_at: Severity) -> bool:
    """Tell whether a finding is bad enough to fail."""
    return finding.rule.severity.rank >= fail_at.rank


def judge(
    examined: Iterable[Examined],
    policy: Policy,
    *,
    today: date,
    rules_digest: str,
    version: str,
    triage: Triage | None = None,
) -> Verdict:
    """Return the verdict on all files together.

    fail: a finding at or above `policy.fail_at` that no waiver accepts. Otherwise inconclusive (or fail, if the
    policy says so): a gap, an unknown that no waiver accepts, or nothing to judge. Otherwise pass, except after a
    `triage`, which has verified no digest and so approves nothing.
    """
    ledger = _Waivers(policy, today)
    files, parts = [], []
    for file in sorted(examined, key=lambda one: one.path):
        part = ledger.sift(file)
        parts.append(part)
        files.append(
            FileVerdict(
                path=file.path,
                size=file.size,
                digest=file.digest,
                formats=file.formats,
                coverage=file.coverage,
                outcome=_outcome(part, policy, partial=triage is not None),
                detail=file.detail,
                kept=file.kept,
            )
        )
    return Verdict(
        outcome=max({file.outcome for file in files}, key=lambda o: o.rank, default=Outcome.INCONCLUSIVE),
        findings=tuple(finding for part in parts for finding in part.findings),
        waived=tuple(ledger.accepted),
        unknowns=tuple(unknown for part in parts for unknown in part.unknowns),
        gaps=tuple(gap for part in parts for gap in part.gaps),
        stale=ledger.stale(),
        files=tuple(files),
        coverage=sum((file.coverage for file in files), Coverage()),
        policy=policy.name,
        fail_at=policy.fail_at,
        policy_digest=policy.digest,
        rules_digest=rules_digest,
        version=version,
        triage=triage,
    )


def _outcome(part: Judgement, policy: Policy, *, partial: bool) -> Outcome:
    if any(blocks(finding, policy.fail_at) for finding in part.findings):
        return Outcome.FAIL
    gaps = [gap for gap in part.gaps if not (partial and gap.limit == TRIAGE)]
    responses = {policy.unknown} if part.unknowns else set()
    responses |= {policy.gaps} if gaps else set()
    if Response.FAIL in responses:
        return Outcome.FAIL
    return Outcome.INCONCLUSIVE if responses or partial or part.gaps else Outcome.PASS


class _Waivers:
    """The waivers of a policy on one day, and what they were used for."""

    def __init__(self, policy: Policy, today: date) -> None:
        self._waivers = policy.waivers
        self._days = policy.max_waiver_days
        self._today = today
        self._used: set[Waiver] = set()
        self.accepted: list[Waived] = []

    def sift(self, file: Examined) -> Judgement:
        """Return what no waiver accepts; bytes that nothing accounts for become a gap."""
        judgement = file.judgement
        gaps = judgement.gaps or _unaccounted(file)
        if not (judgement.findings or judgement.unknowns or gaps):
            return judgement
        return Judgement(
            findings=tuple(one for one in judgement.findings if not self._accepts(one, file)),
            unknowns=tuple(one for one in judgement.unknowns if not self._accepts(one, file)),
            gaps=gaps,
        )

    def _accepts(self, item: Finding | Unknown, file: Examined) -> bool:
        covering = [
            waiver
            for waiver in self._waivers
            if waiver.covers(item, file.digest, self._today) and (waiver.expires - self._today).days <= self._days
        ]
        if covering:
            self._used.update(covering)
            self.accepted.append(Waived(item=item, waiver=covering[0]))
        return bool(covering)

    def stale(self) -> tuple[Stale, ...]:
        """Return the waivers that accepted nothing."""
        return tuple(
            Stale(waiver=waiver, reason="expired" if waiver.expires < self._today else "unused")
            for waiver in self._waivers
            if waiver not in self._used
        )


def _unaccounted(file: Examined) -> tuple[Gap, ...]:
    """Return a gap for bytes that the account of a file misses or leaves unexamined without a reason."""
    missing = max(file.coverage.unexamined, file.size - file.coverage.total)
    if missing <= 0:
        return ()
    return (Gap(location=Location((file.path,)), reason="bytes that nothing accounts for", size=missing),)
