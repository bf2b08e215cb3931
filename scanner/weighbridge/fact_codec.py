"""Facts as bytes and back, so that they can be kept: exactly those that a parser gave, or none.

A program's values are a graph, shared by identity and with cycles, so they are numbered: a value that stands in two
places is one node in both. `None`, truth values and numbers have no identity that anything asks for; texts and bytes
have (`Program.nested`). Nodes are written so that what a tuple holds stands before it; lists and objects are made empty
and filled at the end. Nothing is hashed or compared by content, and nothing recurses: a stream can nest without end.

What is read is built from the classes named here and in `weighbridge.fact_forms`, and from nothing else.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, repeat
from operator import itemgetter
from typing import Any, Final

from weighbridge import symbols
from weighbridge.fact_forms import ELISIONS, EVENTS, FACTS, FIELDS, LIST_TAGS, LISTS, STATICS, VALUES
from weighbridge.facts import Fact, NotKeptError, Program
from weighbridge.location import Location
from weighbridge.symbols import Event, Form, Value

# Parsing a pickle is so fast that reading more values than these back takes longer.
MAX_NODES: Final = 50_000
MAX_FACTS: Final = 50_000
MAX_HELD: Final = 300_000  # by all lists and tuples, what repeats in a list counted: more take more than an entry may
MAX_COUNT: Final = 20_000_000  # of what repeats; as many as `Limits.max_values` lets a pickle make
RUN: Final = 4  # of the same value in a row from which on they are counted
_SMALL: Final = 1 << 63  # JSON has larger numbers, and reading them takes quadratic time


class CodecError(ValueError):
    """Facts that cannot be written, or bytes that are none."""


def encode(facts: Iterable[Fact], account: tuple[int, int, int]) -> bytes:
    """Return facts and the account of their bytes (size, inert, unexamined) as bytes.

    Raises CodecError when there is something among them that has no form here, or too much of it.
    """
    return _Encoder().encode(facts, account)


def decode(data: bytes) -> tuple[list[Fact], tuple[int, int, int]]:
    """Return what `encode` wrote; raise CodecError when the bytes are anything else.

    `exactly` of a program raises NotKeptError.
    """
    try:
        return _Decoder(json.loads(data)).decode()
    except CodecError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError) as error:
        raise CodecError("these are no facts") from error


class _Encoder:
    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._places: dict[tuple[str, ...], int] = {}
        self._known: dict[int, int] = {}  # the number of a node by the identity of what it is
        self._scalars: dict[tuple[type, Any], int] = {}
        self._waiting: list[tuple[int, Any]] = []
        self._left = MAX_HELD

    def encode(self, facts: Iterable[Fact], account: tuple[int, int, int]) -> bytes:
        found = list(facts)
        if len(found) > MAX_FACTS:
            raise CodecError("too many facts")
        rows = [self._fact(fact) for fact in found]
        whole = {"account": account, "places": list(self._places), "nodes": self._nodes, "facts": rows}
        return json.dumps(whole, separators=(",", ":")).encode("ascii")

    def _place(self, location: Location) -> list[int]:
        return [self._places.setdefault(location.path, len(self._places)), location.offset]

    def _fact(self, fact: Fact) -> list[Any]:
        kind = type(fact)
        if type(fact) is Program:
            return ["Program", *self._place(fact.location), *self._program(fact)]
        if kind not in FIELDS:
            raise CodecError(f"no form for {kind.__name__}")
        row = [kind.__name__, *self._place(fact.location)]
        for name, is_right in FIELDS[kind]:
            value = getattr(fact, name)
            if not is_right(value):
                raise CodecError(f"no form for this {name} of {kind.__name__}")
            row.append(value)
        return row

    def _program(self, program: Program) -> list[Any]:
        events = [self._number(event) for event in program.events]
        result = self._number(program.result)
        self._fill()
        nested = [self._known[one] for one in program.nested if one in self._known]
        exact = program.exactly is None
        return [
            *(events, result, program.size, program.complete, program.reading, sorted(nested), program.protocol, exact)
        ]

    def _fill(self) -> None:
        """Write what the lists and the objects hold that have a number."""
        while self._waiting:
            number, value = self._waiting.pop()
            if isinstance(value, list):
                self._nodes[number] += self._held(value)
            else:
                self._nodes[number] += [self._number(getattr(value, name)) for name in VALUES[type(value)]]

    def _held(self, value: list[Value]) -> Iterator[Any]:
        """Yield the numbers of what a list holds, of many alike in a row one with how many they are."""
        for number, several in groupby(self._counted(value), itemgetter(0)):
            count = sum(count for _, count in several)
            self._left -= min(count, RUN)
            if self._left < 0:
                raise CodecError("too many values")
            if count < RUN:
                yield from repeat(number, count)
            else:
                yield [number, count]

    def _counted(self, value: list[Value]) -> Iterator[tuple[int, int]]:
        """Yield the number of every object in a list, with how often it stands there in a row."""
        at = 0
        for _, group in groupby(value, id):
            count = len(list(group))
            yield self._number(value[at]), count
            at += count

    def _number(self, value: Value) -> int:
        kind = type(value)
        if kind is int or kind is bool or value is None:
            key = (kind, value)
            number = self._scalars.get(key)
            if number is None:
                number = self._scalars[key] = self._add(_scalar(value))
            return number
        number = self._known.get(id(value))
        if number is None:
            number = self._tuple(value) if type(value) is tuple else self._single(value)
        return number

    def _add(self, node: Any) -> int:
        if len(self._nodes) >= MAX_NODES:
            raise CodecError("too many values")
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _tuple(self, value: tuple[Value, ...]) -> int:
        """Number a tuple behind the tuples in it; a cycle leads through something else, which is filled later."""
        stack = [value]
        while stack:
            top = stack[-1]
            self._left -= 1 + len(top)
            if self._left < 0:
                raise CodecError("too many values")
            inner = [one for one in top if type(one) is tuple and id(one) not in self._known]
            if id(top) in self._known:
                stack.pop()
            elif inner:
                stack += inner
            else:
                self._known[id(top)] = self._add(["t", *map(self._number, top)])
                stack.pop()
        return self._known[id(value)]

    def _single(self, value: Value) -> int:
        kind = type(value)
        if isinstance(value, Event) and kind in VALUES:
            node = [kind.__name__, *self._place(value.origin), value.offset, *_statics(value)]
            number = self._add(node)
            self._waiting.append((number, value))
        elif kind in LIST_TAGS:
            number = self._add([LIST_TAGS[kind]])
            self._waiting.append((number, value))
        else:
            number = self._add(_leaf(value))
        self._known[id(value)] = number
        return number


def _statics(event: Event) -> list[Any]:
    found = [getattr(event, name) for name, _ in STATICS.get(type(event), ())]
    return [*(list(event.spelled) if type(event) is symbols.Global else ()), *map(_plain, found)]


def _plain(value: Any) -> Any:
    return value.value if type(value) is Form else value


def _scalar(value: Any) -> Any:
    return ["i", hex(value)] if type(value) is int and abs(value) >= _SMALL else value


def _leaf(value: Value) -> Any:
    for index, elided in enumerate(ELISIONS):
        if value is elided:
            return ["e", index]
    match value:
        case str() if type(value) is str:
            return value
        case bytes() | bytearray() if type(value) in (bytes, bytearray):
            return ["b" if type(value) is bytes else "a", binascii.b2a_base64(value, newline=False).decode("ascii")]
        case float() if type(value) is float:
            return ["f", value.hex()]
        case complex() if type(value) is complex:
            return ["c", value.real.hex(), value.imag.hex()]
        case symbols.Span():
            return ["p", value.offset, value.size, value.kind]
        case symbols.Opaque():
            return ["o", value.reason]
    raise CodecError(f"no form for {type(value).__name__}")


class _Decoder:
    def __init__(self, whole: Any) -> None:
        match whole:
            case {"account": [int(), int(), int()] as account, "places": places, "nodes": nodes, "facts": facts}:
                self._account, self._rows, self._facts = (account[0], account[1], account[2]), nodes, facts
            case _:
                raise CodecError("these are no facts")
        self._places = [tuple(_all(str, place)) for place in places]
        self._nodes: list[Value] = []
        self._left = MAX_COUNT

    def decode(self) -> tuple[list[Fact], tuple[int, int, int]]:
        """Return the facts and the account."""
        waiting = []
        for row in self._rows:
            value, held = self._node(row)
            self._nodes.append(value)
            if held is not None:
                waiting.append((value, held))
        for value, held in waiting:
            self._fill(value, self._several(held))
        return [self._fact(row) for row in self._facts], self._account

    def _several(self, held: list[Any]) -> list[Value]:
        """Return values by their numbers, some of them many times in a row."""
        values: list[Value] = []
        for one in held:
            if type(one) is list:
                number, count = one
                self._left -= _index(count)
                if self._left < 0:
                    raise CodecError("too many values")
                values += [self._nodes[_index(number)]] * count
            else:
                values.append(self._nodes[_index(one)])
        return values

    def _location(self, place: Any, offset: Any) -> Location:
        return Location(self._places[_index(place)], _is(int, offset))

    def _node(self, row: Any) -> tuple[Value, list[Any] | None]:
        """Return the value of a node and, when it is filled later, the numbers of what it holds."""
        if type(row) is not list:
            if row is not None and type(row) not in (str, int, bool):
                raise CodecError("no value")
            return row, None
        tag = row[0]
        if tag == "t":
            return tuple([self._nodes[_index(one)] for one in row[1:]]), None
        if tag in LISTS:
            return LISTS[tag](), row[1:]
        if tag in EVENTS:
            return self._event(EVENTS[tag], row)
        return _LEAVES[tag](*row[1:]), None

    def _event(self, kind: type[Event], row: list[Any]) -> tuple[Event, list[Any]]:
        event = kind.__new__(kind)
        event.origin = self._location(row[1], row[2])
        event.offset = _is(int, row[3])
        rest = iter(row[4:])
        if isinstance(event, symbols.Global):
            event.spelled = (_is(str, next(rest)), _is(str, next(rest)))
        for name, type_ in STATICS.get(kind, ()):
            setattr(event, name, _is(type_, next(rest)))
        if isinstance(event, symbols.Call):
            event.form = Form(event.form)
        if isinstance(event, symbols.Global):
            event.dotted = f"{event.module}.{event.name}"
        return event, list(rest)

    def _fill(self, value: Value, held: list[Value]) -> None:
        if isinstance(value, list):
            value += held
            return
        for name, one in zip(VALUES[type(value)], held, strict=True):  # type: ignore[index]
            setattr(value, name, one)
        if isinstance(value, symbols.Run):
            _all(Event, _is(tuple, value.events))
        if isinstance(value, symbols.Items):
            _is(list, value.values)

    def _fact(self, row: list[Any]) -> Fact:
        name, place, offset, *rest = row
        location = self._location(place, offset)
        if name == "Program":
            return self._program(location, *rest)
        kind = FACTS[name]
        given = {}
        for (field, is_right), value in zip(FIELDS[kind], rest, strict=True):
            given[field] = tuple(value) if type(value) is list else value
            if not is_right(given[field]):
                raise CodecError(f"no {field} of {name}")
        return kind(location=location, **given)

    def _program(
        self,
        location: Location,
        events: Any,
        result: Any,
        size: Any,
        complete: Any,
        reading: Any,
        nested: Any,
        protocol: Any,
        exact: Any,
    ) -> Program:
        return Program(
            location=location,
            events=list(_all(Event, [self._nodes[_index(one)] for one in events])),
            result=self._nodes[_index(result)],
            size=_is(int, size),
            complete=_is(bool, complete),
            reading=_is(str, reading),
            nested=frozenset(id(self._nodes[_index(one)]) for one in nested),
            protocol=_is(int, protocol),
            exactly=None if _is(bool, exact) else _not_kept,
        )


def _not_kept() -> Program | None:
    raise NotKeptError


_LEAVES: Final[dict[str, Callable[..., Value]]] = {
    "i": lambda text: int(_is(str, text), 16),
    "e": lambda index: ELISIONS[_index(index)],
    "b": lambda text: binascii.a2b_base64(_is(str, text), strict_mode=True),
    "a": lambda text: bytearray(binascii.a2b_base64(_is(str, text), strict_mode=True)),
    "f": lambda text: float.fromhex(_is(str, text)),
    "c": lambda real, imag: complex(float.fromhex(_is(str, real)), float.fromhex(_is(str, imag))),
    "p": lambda offset, size, kind: symbols.Span(_is(int, offset), _is(int, size), _is(str, kind)),
    "o": lambda reason: symbols.Opaque(_is(str, reason)),
}


def _index(value: Any) -> int:
    """Return a number of a node; Python would take a negative one for one from the end."""
    if type(value) is not int or value < 0:
        raise CodecError("no number of a value")
    return value


def _is(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or (kind is int and type(value) is bool):
        raise CodecError(f"no {kind.__name__}")
    return value


def _all(kind: type, values: Iterable[Any]) -> Iterator[Any]:
    return iter([_is(kind, value) for value in values])
