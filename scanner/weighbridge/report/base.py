"""What every report needs: how it may look, and facts in words.

Text that comes from a file passes through `printable` here or in the report, and nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from weighbridge.facts import (
    Anomaly,
    Fact,
    Gap,
    Inert,
    Member,
    Metadata,
    Native,
    Observed,
    Operator,
    Placeholder,
    Pointer,
)
from weighbridge.judgement import Finding, Unknown
from weighbridge.location import printable
from weighbridge.policy import Outcome, Verdict, Waived, Waiver
from weighbridge.records import dataclass
from weighbridge.remote import TRIAGE
from weighbridge.requirements import Unmet

if TYPE_CHECKING:
    from weighbridge.detail import Decision

T = TypeVar("T", Finding, Unknown, Gap)

UNKNOWN_ID: Final = "UNK001"  # the rule under which documents for programs tell what nobody has reviewed,
GAP_ID: Final = "GAP001"  # and that of what was not understood
UNKNOWN_TITLE: Final = "Loading the file uses a name that nobody has reviewed"
UNKNOWN_ABOUT: Final = "No rule names it and no trust entry covers it, so what it does is not known."
UNKNOWN_HELP: Final = (
    "Find out what the name does when it is called with these arguments; then accept this exact file with a waiver, or "
    "ask the publisher for safetensors."
)
GAP_TITLE: Final = "Bytes of the file were not understood"
GAP_ABOUT: Final = "Bytes that were not understood may do anything, so a scan with gaps does not pass."
GAP_HELP: Final = (
    "Leave a file that no loader needs out with --exclude; raise the limit that was hit, or ask the publisher for a "
    "file that is whole and in a known format."
)
UNCONVERTIBLE: Final = "UNCONVERTIBLE"  # asked for by the gate, and not by a policy
UNMET_TITLE: Final = "A requirement of the policy is not met"
UNMET_ABOUT: Final = "The policy or the trust policy asks for this whatever the scan finds, and no waiver covers it."
# What is not met, in a line, by the code of `Unmet`: those of a policy, and the refusals of evidence.
_UNMET: Final = {
    "SOURCE": "The policy does not allow models from this source",
    "UNPINNED": "The reference does not say which revision is meant",
    "SIZE": "The model is larger than the policy allows",
    "FORMAT": "A file has a format that the policy does not allow",
    "LICENCE": "The licence is none that the policy allows",
    UNCONVERTIBLE: "The weights cannot be converted to safetensors",
    "SIG_MISSING": "A required signature is missing",
    "SIG_MALFORMED": "What should be a signature cannot be read as one",
    "SIG_UNSUPPORTED": "A signature is of a kind that is not understood",
    "SIG_METHOD": "The model is not signed in the way that the trust policy wants",
    "SIG_INVALID": "A signature does not verify",
    "SIGNER_UNTRUSTED": "Somebody has signed the model who is not trusted",
    "SIGNER_CHANGED": "The signer is not the one in the lock",
    "SIGNER_EXPIRED": "The certificate or key of the signer was not valid",
    "TRUST_STALE": "A trust root is older than the trust policy allows",
    "TRUST_CORRUPT": "A trust root is missing or not the one that is pinned",
    "POLICY_NO_RULE": "The trust policy has no rule for this source",
    "MANIFEST_INVALID": "The signed list of files contradicts itself",
    "CONTENT_MISMATCH": "The files are not those that were signed",
    "UNSAFE_ENTRY": "A file of the model has no place in a signed tree",
    "CHANGED_DURING_READ": "A file changed while it was read",
    "APPROVAL_REVOKED": "The model is on the list of what is denied",
    "OFFLINE": "What would decide is not at hand, and the network is not allowed",
}
FINGERPRINT_DIGITS: Final = 32
_ADVISORIES: Final = {"CVE": "https://nvd.nist.gov/vuln/detail/", "GHSA": "https://github.com/advisories/"}
# When reports say a verdict was given if nobody says otherwise, so that the same verdict gives the same bytes.
NO_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)

# The exit status of a scan, whatever the report; docs/exit-codes.md has the others.
EXIT_STATUS: Final = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 3}


def exit_status(verdict: Verdict) -> int:
    """Return the exit status of a verdict; a triage that found nothing has done what it was asked."""
    return 0 if verdict.nothing_found else EXIT_STATUS[verdict.outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a report for people looks, of which documents for programs take no notice, and when the scan was."""

    color: bool = False
    quiet: bool = False
    verbose: bool = False
    began: datetime = NO_TIME
    ended: datetime = NO_TIME


# Yields lines without their ends.
Render = Callable[[Verdict, Style], Iterator[str]]


def describe(fact: Fact) -> str:
    """Return a fact in a few words, fit for display: the call as Python, or what was seen."""
    match fact:
        case Observed():
            text = fact.expression
        case Anomaly():
            text = f"{fact.code}: {fact.detail}"
        case Native():
            text = f"{fact.type} {fact.detail}".rstrip()
        case Member():
            text = f"{fact.type} {fact.name}" + (f" -> {fact.target}" if fact.target else "")
        case Operator():
            opset = f", operator set {fact.version}" if fact.version else ""
            text = f"operator {fact.subject}, {counted(fact.count, 'node')}{opset}"
        case Placeholder():
            size = "bytes" if fact.size is None else counted(fact.size, "byte")
            text = f"{fact.type} keeps {size} elsewhere{f' as {fact.name}' if fact.name else ''}, {fact.digest}"
        case Metadata(key=key, value=value) | Pointer(key=key, target=value):
            text = f"{key}: {value}"
        case Gap() | Inert():
            text = fact.reason
        case _:
            text = f"{fact.kind} {fact.subject}"
    return printable(text)


def fingerprint(rule: str, fact: Fact) -> str:
    """Return what stays the same when bytes before the place are added or removed."""
    return _fingerprint(rule, *fact.location.path, fact.kind, fact.subject, describe(fact))


def fingerprint_of_unmet(one: Unmet) -> str:
    """Return what stays the same while the same requirement is not met in the same place."""
    return _fingerprint(one.code, one.where)


def _fingerprint(*parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:FINGERPRINT_DIGITS]


def numbered(prints: Iterable[str]) -> Iterator[str]:
    """Yield fingerprints with a number behind each, which tells apart those that are alike.

    >>> list(numbered(["a", "b", "a"]))
    ['a:1', 'b:1', 'a:2']
    """
    seen = dict[str, int]()
    for one in prints:
        seen[one] = seen.get(one, 0) + 1
        yield f"{one}:{seen[one]}"


def total(items: Iterable[Finding | Unknown]) -> int:
    """Return how often the findings or unknowns were seen, repetitions included."""
    return sum(1 + item.repeated for item in items)


def repeated(item: Finding | Unknown) -> str:
    """Return what is added to a text that stands for more than one place."""
    return f" (and {item.repeated} more times in the same part)" if item.repeated else ""


def by_file(items: Iterable[T]) -> dict[str, list[T]]:
    """Return findings, unknowns or gaps by the path of their file."""
    files: dict[str, list[T]] = {}
    for item in items:
        files.setdefault(item.location.path[0], []).append(item)
    return files


def waived_by_file(verdict: Verdict) -> dict[str, list[Waived]]:
    """Return what waivers accept by the path of its file."""
    files: dict[str, list[Waived]] = {}
    for waived in verdict.waived:
        files.setdefault(waived.item.location.path[0], []).append(waived)
    return files


def rule_id(item: Finding | Unknown) -> str:
    """Return the rule under which documents for programs tell a finding or an unknown."""
    return item.rule.id if isinstance(item, Finding) else UNKNOWN_ID


def headline(verdict: Verdict) -> str:
    """Return what the outcome rests on, in a few words."""
    parts = [f"{counted(len(verdict.unmet), 'requirement')} of the policy not met"] if verdict.unmet else []
    if verdict.unmet and all(one.code == UNCONVERTIBLE for one in verdict.unmet):
        parts = ["the weights cannot be converted to safetensors"]
    if not verdict.files:
        return "".join(parts) or "there was no file to scan"
    if verdict.blocking:
        parts.append(f"{counted(total(verdict.blocking), 'finding')} at or above {verdict.fail_at}")
    if verdict.unknowns:
        parts.append(f"{counted(total(verdict.unknowns), 'use')} of names that nobody has reviewed")
    gaps = sum(gap.limit != TRIAGE for gap in verdict.gaps)
    if gaps:
        parts.append(f"{counted(gaps, 'part')} not understood")
    return ", ".join(parts) or f"loading does nothing that the policy {printable(verdict.policy)} refuses"


def unmet_title(one: Unmet) -> str:
    """Return what kind of requirement is not met, in a line."""
    return _UNMET.get(one.code, UNMET_TITLE)


def worst_first(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return findings in groups of one rule each, the most severe rule first."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.rule.id, []).append(finding)
    return sorted(groups.values(), key=lambda group: (-group[0].rule.severity.rank, group[0].rule.id))


def accepted(waiver: Waiver) -> str:
    """Return who accepted what a waiver covers, until when and why."""
    return f"accepted by {printable(waiver.approver)} until {waiver.expires.isoformat()}: {printable(waiver.reason)}"


def steps(verdict: Verdict, when: datetime | None) -> Iterator[Decision]:
    """Yield the steps of a verdict: scanned, unless refused before, waived, judged; the time may be unknown."""
    from weighbridge.detail import Decision

    coverage = verdict.coverage
    read = f"{counted(len(verdict.files), 'file')}, {sized(coverage.total)}"
    note = f"{read}, with the rules {verdict.rules_digest}"
    if verdict.triage is not None:
        note = f"{sized(verdict.triage.fetched)} of {sized(verdict.triage.size)} read from afar; {note}"
    if verdict.files or not verdict.unmet:
        yield Decision(what="Scanned", who=f"Weighbridge {verdict.version}", when=when, note=note)
    for waiver in dict.fromkeys(waived.waiver for waived in verdict.waived):
        note = f"{waiver.rule} in {waiver.digest} until {waiver.expires.isoformat()}: {waiver.reason}"
        yield Decision(what="Waived", who=waiver.approver, note=note)
    note = f"{headline(verdict)} (fails at {verdict.fail_at.value}, {verdict.policy_digest})"
    yield Decision(what=f"Judged: {verdict.outcome.value}", who=f"policy {verdict.policy}", when=when, note=note)


def advisory(name: str) -> str:
    """Return the address of an advisory, empty when it is of a kind that is not known.

    >>> advisory("CVE-2025-1550")
    'https://nvd.nist.gov/vuln/detail/CVE-2025-1550'
    """
    found = _ADVISORIES.get(name.partition("-")[0])
    return f"{found}{name}" if found else ""


def counted(number: int, noun: str) -> str:
    """Return `1 file` or `1 234 files`.

    >>> counted(1234, "file")
    '1 234 files'
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", " ")


def sized(number: int) -> str:
    """Return a number of bytes in the unit that keeps it short.

    >>> sized(1536), sized(12)
    ('1.5 KiB', '12 B')
    """
    size, unit = float(number), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
