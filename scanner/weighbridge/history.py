"""The history of a decision: each step as it is done, with what it found and when, for reports and the record.

Nothing is judged by it. The times are those of a clock that is given; without one the steps have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from weighbridge.approval import Approval
from weighbridge.artifact import Artifact
from weighbridge.detail import Decision
from weighbridge.policy import Verdict
from weighbridge.records import replace
from weighbridge.report.base import counted, sized, steps
from weighbridge.store import Fetched
from weighbridge.version import __version__
from weighbridge.witness import Testimony

# Tells the time (UTC), or None where nobody asks for it.
Clock = Callable[[], datetime | None]
# How many files a step names before it only counts them.
_NAMED: Final = 4


def no_clock() -> None:
    """Tell no time."""


class Record:
    """The steps of one decision so far, of which `before` were done by somebody else."""

    def __init__(self, clock: Clock = no_clock, before: tuple[Decision, ...] = ()) -> None:
        self._clock = clock
        self._steps = list(before)

    def close(self, verdict: Verdict) -> Verdict:
        """Return a verdict with the steps so far as its history."""
        return replace(verdict, history=tuple(self._steps))

    def resolved(self, artifact: Artifact, *, locked: bool) -> None:
        """Keep what a reference means, and whether a lock said so."""
        if locked:
            asked = "the revision of the lock is"
        elif not artifact.requested:
            asked = "no revision was asked for; it is now"
        else:
            asked = f"{artifact.requested} was asked for; it is now" if artifact.moving else "what was asked for is"
        self._add("Resolved", f"{artifact.reference}: {asked} {artifact.revision}")

    def fetched(self, fetched: Fetched) -> None:
        """Keep what arrived in the store, and how much of it was compared with what the registry declares."""
        entries = fetched.manifest.entries
        size = sized(sum(entry.size for entry in entries))
        came = f"{sized(fetched.received)} arrived now" if fetched.received else "nothing had to be received again"
        self._add("Fetched", f"{counted(len(entries), 'file')}, {size}, into quarantine; {came}")
        asked = [file for file in fetched.artifact.files if file.packing or file.path in fetched.paths]
        claimed = sum(bool(file.claims) for file in asked)
        declared = "no file" if not claimed else f"{claimed} of {counted(len(asked), 'file')}, which keep them"
        note = f"the registry declares those of {declared}; what is here is the tree {fetched.manifest.digest}"
        self._add("Compared digests", note)

    def heard(self, testimony: Testimony) -> None:
        """Keep who has signed, or that nobody has."""
        signed = [(one, one.signature) for one in testimony.evidence if one.signature is not None]
        for one, signature in signed:
            note = f"of {signature.who}, over {counted(len(one.covered), 'file')} ({one.format})"
            self._add("Verified a signature", note)
        for unmet in testimony.unmet:
            self._add("Missed a signature", f"{unmet.where}: {unmet.reason}")
        if not signed and not testimony.unmet:
            self._add("Verified no signature", "the trust policy and the policy ask for none from this source")

    def judged(self, verdict: Verdict, what: str = "") -> None:
        """Keep what was scanned, waived and judged, by which rules and policy; `what` names it when it came later."""
        found = list(steps(verdict, self._now()))
        if what:
            found[0] = replace(found[0], what=f"Scanned {what}")
        self._steps += found

    def converted(self, made: Mapping[str, str]) -> None:
        """Keep which files were made, by what they were made from."""
        if made:
            named = _listed(f"{old} to {new}" for new, old in made.items())
            self._add("Converted", f"{named}; every byte was compared with the source", who=_SELF)

    def left_out(self, left_out: Mapping[str, str]) -> None:
        """Keep which files do not cross, with why."""
        if left_out:
            self._add("Left out", _listed(f"{path} ({why})" for path, why in left_out.items()))

    def not_converted(self, reason: str) -> None:
        """Keep why files could not be converted."""
        self._add("Could not convert", reason)

    def approved(self, approval: Approval, signer: str, *, before: bool = False) -> None:
        """Keep which signer approved, until when, and whether that was done `before` and holds still."""
        files = f"{counted(len(approval.files), 'file')}, {sized(sum(file.size for file in approval.files))}"
        until = f"until {approval.expires:%Y-%m-%d %H:%M} UTC, tree {approval.tree}"
        since = "; it was compared now, and nothing has changed" if before else ""
        what = "Approved before" if before else "Approved"
        who = f"{signer}, in the name of {approval.verifier}"
        self._steps.append(Decision(what=what, who=who, when=approval.approved, note=f"{files}, {until}{since}"))

    def _add(self, what: str, note: str, who: str = "") -> None:
        self._steps.append(Decision(what=what, who=who, when=self._now(), note=note))

    def _now(self) -> datetime | None:
        """Return the time to the second: a history is read by people."""
        now = self._clock()
        return now.replace(microsecond=0) if now is not None else None


_SELF: Final = f"Weighbridge {__version__}"


def _listed(items: Iterable[str]) -> str:
    """Return the first of some texts, and how many more there are."""
    found = list(items)
    rest = len(found) - _NAMED
    return ", ".join(found[:_NAMED]) + (f" and {counted(rest, 'more file')}" if rest > 0 else "")
