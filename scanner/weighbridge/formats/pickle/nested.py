"""Programs inside a stream's literals: raw, in base64 or in hexadecimal.

A literal that a call gets as an argument may be loaded by that call (`pickle.loads(b"…")`,
`torch.storage._load_from_bytes(b"…")`), so whatever it holds is examined. Any other literal is data, and is
reported only when it reads as a program. So is an argument of a call that does not say that it loads, if two bytes are
all that it has of a program: one in 16 000 numbers of NumPy begins like that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from weighbridge.facts import Fact, Gap, Member, Native, Program, Recognised
from weighbridge.formats.base import Context
from weighbridge.formats.pickle import torch_legacy
from weighbridge.formats.pickle.embedded import (
    ARGUMENT_LENGTH,
    BASE64,
    ENCODERS,
    HEXADECIMAL,
    PROGRAM_LENGTH,
    RAW,
    SHORT,
    loads,
)
from weighbridge.formats.pickle.machine import Machine
from weighbridge.reader import Reader, from_bytes
from weighbridge.symbols import Call, Event, Global, Span, Value

LITERALS_LIMIT: Final = 1000  # literals of one stream that are looked at as programs
DECODED_LIMIT: Final = 64 << 20  # an encoded literal; weights are not shipped as base64 strings
ARGUMENT_DEPTH: Final = 4  # containers around a literal that is an argument
SMALL: Final = 64  # parts of such a container

_CONTAINERS: Final = (tuple, list)
_LITERALS: Final = (bytes, Span, Call)


def programs(machine: Machine, reader: Reader, context: Context) -> Iterator[Fact | frozenset[int]]:
    """Yield the facts of every program in a literal, then the identities of the values that hold a storage of torch."""
    examined: dict[int, bool] = {}
    data_only: set[int] = set()
    for event in machine.events:
        if type(event) is Call and event.arguments:
            literals = _arguments(event)
            if literals:
                yield from _passed(event, literals, examined, data_only, reader, context)
    for offset, _, value in machine.literals[:LITERALS_LIMIT]:
        if id(value) not in examined and id(value) not in data_only:
            data = content(value, reader)
            if data is not None and re.match(RAW, data[:64]) is None:
                data = _decoded(data[:DECODED_LIMIT].decode("latin-1"))
            if data is not None and len(data) >= PROGRAM_LENGTH:
                place = Event(reader.origin, offset)
                yield from _examine(data, place, reader, context, passed=False)
    yield frozenset(value for value, holds_storage in examined.items() if holds_storage)


def _passed(
    call: Call, literals: list[Value], examined: dict[int, bool], data_only: set[int], reader: Reader, context: Context
) -> Iterator[Fact | frozenset[int]]:
    """Yield the facts of the programs among a call's arguments.

    Take down which were `examined`, with whether they hold a storage of torch, and which are `data_only`.
    """
    loading = loads(call.callable)
    for value in literals:
        if id(value) in examined or len(examined) + len(data_only) >= LITERALS_LIMIT:
            continue
        data = content(value, reader)
        if data is None or not (loading or _program(data)):
            continue
        if loading or re.match(SHORT, data) is None:
            facts = list(_examine(data, call, reader, context, passed=True))
            depth = len(reader.origin.path) + 1
            own = [fact for fact in facts if isinstance(fact, Program) and len(fact.location.path) == depth]
            examined[id(value)] = torch_legacy.holds_storage(own)
            yield from facts
        elif id(value) not in data_only:
            data_only.add(id(value))
            yield from _examine(data, call, reader, context, passed=False)


def the_same(program: Program, events: list[Event]) -> frozenset[int]:
    """Return the identities that a program's examined literals have among the events of the stream run again."""
    found: set[int] = set()
    places = set(_places(program.events, program.nested.__contains__))
    if places:
        by_offset = {event.offset: event for event in events if type(event) is Call}
        for offset, index in places:
            call = by_offset.get(offset)
            found.update(id(value) for n, value in enumerate(_arguments(call) if call else ()) if n == index)
    return frozenset(found)


def _places(events: Sequence[Event], wanted: Callable[[int], bool]) -> Iterator[tuple[int, int]]:
    """Yield (offset of the call, number of the argument) of wanted literals."""
    for event in events:
        if type(event) is Call and event.arguments:
            yield from ((event.offset, n) for n, value in enumerate(_arguments(event)) if wanted(id(value)))


def content(value: Value, reader: Reader) -> bytes | None:
    """Return the bytes of a literal, of a long one behind a `Span`, or of protocol 2's encoded text."""
    match value:
        case bytes():
            return value
        case str():
            return value.encode("utf-8", "surrogatepass")
        case Span(kind="bytes" | "bytearray" | "str"):
            return bytes(reader.view[value.offset : value.offset + value.size])
        case Call(callable=Global(dotted=name), arguments=(str() | Span() as text, "latin1" | "latin-1")) if (
            name in ENCODERS
        ):
            data = content(text, reader)
            return None if data is None else data.decode("utf-8", "replace").encode("latin-1", "replace")
    return None


def _arguments(call: Call) -> list[Value]:
    """Return the literals among a call's arguments, in small containers too."""
    found: list[Value] = []
    parts: list[Value] = [call.arguments] if call.keywords is None else [call.arguments, call.keywords]
    for _ in range(ARGUMENT_DEPTH + 1):
        inner: list[Value] = []
        for value in parts:
            if isinstance(value, _CONTAINERS):
                if len(value) <= SMALL:
                    inner += value
            elif isinstance(value, _LITERALS):
                found.append(value)
        if not inner:
            break
        parts = inner
    return found


def _program(data: bytes) -> bool:
    return len(data) >= ARGUMENT_LENGTH and re.match(RAW, data[:64]) is not None


def _decoded(text: str) -> bytes | None:
    try:
        if re.match(HEXADECIMAL, text):
            return bytes.fromhex(text)
        if re.match(BASE64, text):
            compact = "".join(text.split()).replace("-", "+").replace("_", "/")
            import base64

            return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except ValueError:
        return None
    return None


def _examine(data: bytes, place: Event, reader: Reader, context: Context, *, passed: bool) -> Iterator[Fact]:
    name = f"literal@{place.offset:#x}"
    context.budget.spend_members(place.location)
    inner = from_bytes(data, reader.origin.inside(name))
    facts = list(context.examine(inner, 0))
    if passed:
        yield Member(location=place.location, name=name, size=len(data), type="literal")
        yield from facts
    elif any(isinstance(fact, Native) or (isinstance(fact, Program) and fact.events) for fact in facts):
        # A string that nothing loads is data: what it holds is reported, what it lacks is no gap.
        yield Member(location=place.location, name=name, size=len(data), type="literal")
        yield from (fact for fact in facts if isinstance(fact, Recognised | Member | Native | Program))
        yield from (fact for fact in facts if isinstance(fact, Gap) and fact.limit)
