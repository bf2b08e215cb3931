"""Run the formats over bytes, the way a scan does."""

from __future__ import annotations

from weighbridge.examination import Examination, Tally
from weighbridge.facts import Anomaly, Fact, Gap, Member
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location
from weighbridge.reader import from_bytes

NO_LIMITS = Limits()


def examine(data: bytes, limits: Limits = NO_LIMITS) -> tuple[list[Fact], Tally]:
    """Return the facts of a file of these bytes and the account of them."""
    return Examination(Budget(limits)).run(from_bytes(data, Location(("file",))))


def facts_of(data: bytes, limits: Limits = NO_LIMITS) -> list[Fact]:
    """Return the facts of a file of these bytes."""
    return examine(data, limits)[0]


def formats_of(data: bytes) -> set[str]:
    """Return the names of the formats recognised in a file and its members."""
    return {fact.subject for fact in facts_of(data) if fact.kind == "format"}


def anomalies(facts: list[Fact]) -> set[str]:
    """Return the codes of the anomalies."""
    return {fact.code for fact in facts if isinstance(fact, Anomaly)}


def members(facts: list[Fact]) -> list[tuple[str, str]]:
    """Return the type and name of each member, in order."""
    return [(fact.type, fact.name) for fact in facts if isinstance(fact, Member)]


def reasons(facts: list[Fact]) -> str:
    """Return the reasons of the gaps, one a line."""
    return "\n".join(fact.reason for fact in facts if isinstance(fact, Gap))
