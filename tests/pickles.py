"""Pickle streams run by the abstract machine: what the tests of its parts ask of it."""

from __future__ import annotations

from examining import facts_of

from weighbridge.expression import express
from weighbridge.facts import Program
from weighbridge.formats.pickle.machine import Machine
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location
from weighbridge.symbols import Call, Event, Global

SYSTEM = b"\x8c\x02os\x8c\x06system\x93"
CALL = SYSTEM + b"\x8c\x02id\x85R"


def run(data: bytes, *, records: bool = True) -> Machine:
    """Run one stream."""
    machine = Machine(memoryview(data), 0, Location(("x.pkl",)), Budget(Limits()), records=records)
    machine.run()
    return machine


def programs(data: bytes) -> list[Program]:
    return [fact for fact in facts_of(data) if isinstance(fact, Program)]


def events(data: bytes) -> list[Event]:
    return [event for program in programs(data) for event in program.events]


def calls(data: bytes) -> list[str]:
    return [express(event) for event in events(data) if isinstance(event, Call)]


def names(data: bytes) -> set[str]:
    return {event.dotted for event in events(data) if isinstance(event, Global)}
