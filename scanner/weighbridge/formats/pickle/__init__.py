"""Pickle: a program for a stack machine, run here without its effects.

Source: CPython Lib/pickletools.py and Modules/_pickle.c, protocols 0 to 5 (PEP 307, 3154, 574).

A file may hold several streams one after the other; each has a memo of its own. Where readers differ, every
reading is run: frames as the C unpickler takes them from a file, and the bytes of joblib's arrays and of the pickles
that joblib reads for arrays of objects as the opcodes that plain `pickle.load` would see.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from itertools import takewhile
from typing import Final

from weighbridge.errors import ArtifactError
from weighbridge.facts import Anomaly, Fact, Gap, Inert, Member, Program, Recognised
from weighbridge.formats.base import Context, Format
from weighbridge.formats.pickle import nested, torch_legacy
from weighbridge.formats.pickle.joblib import AS_OPCODES
from weighbridge.formats.pickle.machine import ENDED, Machine
from weighbridge.formats.pickle.raising import raises
from weighbridge.formats.pickle.recorder import FRAMES, OLD_FRAMES, PROTOCOL
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location
from weighbridge.reader import Reader, Sample
from weighbridge.records import replace
from weighbridge.symbols import Event, Global, Value

STREAMS_LIMIT: Final = 100_000  # streams of one file; each is short, or there are not many
LOOP_LIMIT: Final = 1000  # streams that a loop of plain pickle takes from inside one stream of joblib

# What a stream without PROTO can begin with: a value, a mark, an import or a frame, of whatever protocol.
_TEXT_STARTS: Final = frozenset(b"(][})cIJKLMNSTUVXFG\x88\x89P2BC\x8a\x8b\x8c\x8d\x8e\x8f\x95\x96")
_PROTO: Final = 0x80
_SNIFF_LIMITS: Final = Limits()
_NAME: Final = re.compile(r"[^\W\d][\w.]*")


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes open with PROTO, or run as a pickle without it."""
    head = sample.head
    return _may_begin(head) and (head[0] == _PROTO or _runs(head, sample.size))


def _may_begin(head: bytes) -> bool:
    """Tell whether a pickle may begin as these bytes do."""
    if len(head) >= 2 and head[0] == _PROTO:
        # No opcode is 0: what follows is the length that safetensors begin with, and no unpickler takes a step.
        return head[1] <= PROTOCOL and head[2:3] != b"\0"
    # Every zip, and the length of many safetensors, begins as PERSID does. Its operand is a line of text; no loader
    # that takes one from a file without PROTO goes on behind a line that is none.
    return bool(head) and head[0] in _TEXT_STARTS and not (head[0] == 0x50 and not _is_line(head[1:]))


def _is_line(operand: bytes) -> bool:
    line = operand.partition(b"\n")[0]
    return line.isascii() and not any(code < 32 and code not in b"\t\r" for code in line)


def _runs(head: bytes, size: int) -> bool:
    """Tell whether a stream without PROTO imports something or ends well.

    Any text can begin with an opcode's letter. One that reaches STOP with nothing behind it, or that names an import
    before it breaks, is a pickle; so is one that is still running where the sample ends.
    """
    machine = Machine(memoryview(head), 0, Location(()), Budget(_SNIFF_LIMITS))
    machine.run()
    if any(isinstance(event, Global) and _plausible(event) for event in machine.events):
        return True
    if machine.complete:
        return machine.position == size or head[machine.position] in _TEXT_STARTS | {0x80}
    return size > len(head) and machine.broken == ENDED and machine.wanted <= size


def _plausible(event: Global) -> bool:
    return all(_NAME.fullmatch(part) is not None for part in event.spelled)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield a `Program` for every stream, the programs in its literals, and an account of what follows."""
    programs: list[Program] = []
    position = 0
    while position < reader.size and len(programs) < STREAMS_LIMIT:
        if programs and not _goes_on(reader, position, programs):
            break
        machine = Machine(reader.view, position, reader.origin, context.budget)
        machine.run()
        program = None
        for fact in _stream(machine, reader, context):
            if isinstance(fact, Program) and program is None and fact.location.path == reader.origin.path:
                program = fact
            yield fact
        if machine.limit is not None:
            raise machine.limit
        if program is None or not machine.complete:
            left = reader.size - machine.position
            reason = f"pickle: {machine.broken}; the program before it would have run"
            yield Gap(location=reader.at(min(machine.position, reader.size)), reason=reason, size=left)
            return
        programs.append(program)
        position = machine.position
        yield from _place(programs, reader)
    if position < reader.size:
        yield from _trailing(reader, position, programs, context)


def _place(programs: list[Program], reader: Reader) -> Iterator[Fact]:
    """Tell what it means that the last of the programs so far stands where it does."""
    if len(programs) == 1 and _legacy(programs):
        yield Recognised(location=reader.origin, format="torch-legacy", size=reader.size)
    elif len(programs) == 2 and _legacy(programs):
        yield from torch_legacy.parse_version(programs[1])
    elif len(programs) == 2:
        detail = "another pickle follows the first; a loop of pickle.load runs both"
        start = reader.at(programs[1].location.offset - reader.origin.offset)
        yield Anomaly(location=start, code="pickle-stacked", detail=detail)


def _legacy(programs: list[Program]) -> bool:
    return type(programs[0].result) is int and programs[0].result == torch_legacy.MAGIC


def _goes_on(reader: Reader, position: int, programs: list[Program]) -> bool:
    """Tell whether another pickle begins at `position`."""
    if _legacy(programs):
        return len(programs) < torch_legacy.PICKLES
    return _begins(reader, position)


def _begins(reader: Reader, position: int) -> bool:
    return sniff(Reader(reader.view[position:], reader.origin).sample)


def _trailing(reader: Reader, position: int, programs: list[Program], context: Context) -> Iterator[Fact]:
    """Account for the bytes behind the last stream."""
    reader.seek(position)
    if _legacy(programs) and len(programs) == torch_legacy.PICKLES:
        yield from torch_legacy.parse_storages(reader, programs)
    left = reader.remaining
    if not left:
        return
    start = reader.location
    if left <= 4096 and not reader.peek(left).strip(b"\0"):
        yield Inert(location=start, size=left, reason="zero padding")
        return
    yield Anomaly(location=start, code="pickle-trailing-data", detail=f"{left} bytes behind the last pickle")
    yield Member(location=start, name=f"trailing@{reader.position:#x}", size=left, stored=left, type="trailing")
    context.budget.spend_members(start)
    yield from context.examine(reader.window(reader.position, left, f"trailing@{reader.position:#x}"), left)


def _stream(machine: Machine, reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the facts of one stream that has run: its program, its literals' programs, and its other readings."""
    examined: frozenset[int] = frozenset()
    for part in nested.programs(machine, reader, context):
        if isinstance(part, frozenset):
            examined = part
        else:
            yield part
    yield from machine.anomalies
    yield from _arrays(machine)
    yield _program(machine, reader, "", examined)
    if machine.straddles:
        yield from _other_reading(machine, reader, context, FRAMES, framed=FRAMES)
        yield from _other_reading(machine, reader, context, OLD_FRAMES, framed=OLD_FRAMES)
    if machine.apart is not None or machine.inner_end is not None:
        yield from _as_opcodes(machine, reader, context)
        if machine.straddles:
            yield from _other_reading(
                machine, reader, context, f"{AS_OPCODES}, {FRAMES}", interleaved=False, framed=FRAMES
            )


def _arrays(machine: Machine) -> Iterator[Fact]:
    for offset, size in machine.arrays:
        yield Inert(location=machine.origin.at(machine.origin.offset + offset), size=size, reason="array data")


def _program(machine: Machine, reader: Reader, reading: str, examined: frozenset[int], begin: int = 0) -> Program:
    """Return what a machine did: all of it, or in another reading what it did from `begin` on."""
    events, result = machine.events, machine.result
    if reading:
        events, result = _until_it_raises(machine)
        events = [event for event in events if event.offset >= begin]
    program = Program(
        location=reader.at(machine.start),
        events=events,
        result=result,
        size=machine.position - machine.start,
        complete=machine.complete,
        reading=reading,
        nested=examined,
        protocol=machine.protocol,
    )
    return replace(program, exactly=_exactly(machine, reader, program, begin)) if machine.elided else program


def _exactly(machine: Machine, reader: Reader, program: Program, begin: int) -> Callable[[], Program | None]:
    """Return what runs a stream again one value at a time, for its events from `begin` on."""
    again = machine.again()

    def run() -> Program | None:
        again.run()
        if again.limit is not None:
            return None
        examined = nested.the_same(program, again.events)
        return _program(again, reader, program.reading, examined, begin)

    return run


def _until_it_raises(machine: Machine) -> tuple[list[Event], Value]:
    """Return the events before the first instead of which every unpickler raises, and the result if there is none."""
    events = list(takewhile(lambda event: not raises(event), machine.events))
    return events, machine.result if len(events) == len(machine.events) else None


def _other_reading(
    machine: Machine, reader: Reader, context: Context, reading: str, *, interleaved: bool = True, framed: str = ""
) -> Generator[Fact, None, Machine]:
    """Run the stream as another reader takes it; what it does beyond the first reading is a program of its own.

    How such a reading breaks is no gap: the bytes were accounted for by the first one.
    """
    other = Machine(reader.view, machine.start, reader.origin, context.budget, interleaved=interleaved, framed=framed)
    other.run()
    begin = machine.start if interleaved or machine.apart is None else machine.apart
    yield from _told(other, reader, reading, begin)
    return other


def _told(machine: Machine, reader: Reader, reading: str, begin: int) -> Iterator[Fact]:
    """Yield what a stream does from `begin` on in another reading."""
    if any(event.offset >= begin for event in _until_it_raises(machine)[0]):
        yield _program(machine, reader, reading, frozenset(), begin)
    if machine.limit is not None:
        raise ArtifactError(reader.at(machine.start), f"{reading}: {machine.limit.reason}") from machine.limit


def _as_opcodes(machine: Machine, reader: Reader, context: Context) -> Iterator[Fact]:
    """Run a stream with arrays as plain pickle takes it, and what a loop of plain pickle takes next from its bytes."""
    begin = machine.inner_end
    if machine.apart is not None:
        other = yield from _other_reading(machine, reader, context, AS_OPCODES, interleaved=False)
        begin = other.position if other.complete else None
    for _ in range(LOOP_LIMIT):
        if begin is None or begin >= machine.position or not _begins(reader, begin):
            return
        other = Machine(reader.view, begin, reader.origin, context.budget, interleaved=False)
        other.run()
        yield from _told(other, reader, AS_OPCODES, begin)
        begin = other.position if other.complete else None
    yield Gap(location=reader.at(machine.start), reason=f"pickle: more than {LOOP_LIMIT} pickles inside of arrays")


FORMAT: Final = Format("pickle", "Python pickle", sniff, parse, may_begin=_may_begin)
