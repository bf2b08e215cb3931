"""What is told as NEWOBJ_EX in protocols 2 and 3 is all that real unpicklers then do.

As in `test_oracle`, streams of our own are unpickled by a subclass whose `find_class` hands out nothing but stand-ins:
classes whose `__new__` notes what it gets, a `getattr` that looks up only that, and the real `functools.partial`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import pickle
import pickletools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pickles import programs

from benchmarks.corpus.constructions import KEYWORDS, NEAR_MISSES, NEW, PART, Construction, get
from fixtures.assemble import P2, Ops
from weighbridge.symbols import Call, Dict, Form, Global, Value

A, B = P2.name("m", "A"), P2.name("m", "B")
Made = list[tuple[str, object, object]]  # the class, and what its `__new__` got


def _did(base: Any, data: bytes) -> tuple[Made, list[str]]:
    """Return what an unpickler makes with `__new__`, and whatever else it does with the stand-ins."""
    made: Made = []
    rest: list[str] = []

    class Meta(type):
        def __call__(cls, *_: object, **__: object) -> object:
            rest.append("call")
            return object.__new__(cls)  # type: ignore[arg-type]

    def stand_in(name: str) -> type:
        def new(cls: type, *arguments: object, **keywords: object) -> object:
            made.append((name if cls.__name__ == name else "<another>", _shown(arguments), _shown(keywords)))
            return object.__new__(cls)

        def state(self: object, state: object) -> None:
            rest.append("state")

        def hashed(self: object) -> int:
            rest.append("key")
            return 1

        return Meta(name, (), {"__new__": new, "__setstate__": state, "__hash__": hashed})

    def look_up(owner: object, name: str) -> object:
        if type(owner) is not Meta or name != "__new__":
            raise LookupError
        return owner.__new__

    known = {
        **dict.fromkeys([("__builtin__", "getattr"), ("builtins", "getattr")], look_up),
        ("functools", "partial"): functools.partial,
        ("m", "A"): stand_in("A"),
        ("m", "B"): stand_in("B"),
    }

    class Inert(base):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> object:
            return known[module, name]

    with contextlib.suppress(Exception):  # a broken stream raises anything; what it did before counts
        Inert(io.BytesIO(data)).load()
    return made, rest


def _shown(value: object) -> object:
    """Return a value as both sides show it: dicts as their items, objects and imports by the name of their class."""
    if isinstance(value, dict):
        return {"items": [(_shown(key), _shown(item)) for key, item in value.items()]}
    if isinstance(value, tuple | list):
        return type(value)(_shown(part) for part in value)
    if isinstance(value, type):
        return f"import {value.__name__}"
    if type(type(value)) is not type:
        return f"made {type(value).__name__}"
    return value if value is None or isinstance(value, str | int) else f"<{type(value).__name__}>"


def _told(value: Value) -> object:
    """Return a symbolic value in the same form."""
    if isinstance(value, Dict):
        return {"items": [(_told(key), _told(item)) for key, item in zip(value[::2], value[1::2], strict=True)]}
    if isinstance(value, tuple | list):
        return type(value)(_told(part) for part in value)
    if isinstance(value, Global):
        return f"import {value.name}"
    if isinstance(value, Call):
        assert isinstance(value.callable, Global)
        return f"made {value.callable.name}"
    return value


def _covers(told: object, did: object) -> bool:
    """Tell whether what is told is what was given; a list or dict may have grown since."""
    match told, did:
        case {"items": list(pairs)}, {"items": list(given)}:
            return all(any(_covers(one, other) for one in pairs) for other in given)
        case list(), list():
            return len(told) >= len(did) and all(map(_covers, told, did))
        case tuple(), tuple():
            return len(told) == len(did) and all(map(_covers, told, did))
    return type(told) is type(did) and told == did


def _only_newobj_ex(data: bytes) -> Made | None:
    """Return what is told to be made, None when anything else is told."""
    found: Made = []
    for program in programs(data):
        for event in program.events:
            if isinstance(event, Call) and event.form is Form.NEWOBJ_EX and isinstance(event.callable, Global):
                found.append((event.callable.name, _told(event.arguments), _told(event.keywords)))
            elif not isinstance(event, Global):
                return None
    return found


def _check(base: Any, data: bytes) -> bool:
    """Hold what an unpickler does against what is told; return whether that was NEWOBJ_EX alone."""
    told = _only_newobj_ex(data)
    if told is None:
        return False
    made, rest = _did(base, data)
    assert not rest
    assert len(made) <= len(told)
    assert all(_covers(one, other) for one, other in zip(told, made, strict=False)), (told, made)
    return bool(made)


def _pair(first: Construction, second: Construction) -> bytes:
    return P2.stream([first.code(), second.code()])


def _alike(first: Construction, second: Construction) -> bytes:
    """Return a stream of two objects of one class, whose `__new__` is looked up once."""
    second = replace(second, of=first.of)
    return P2.stream([first.code(), second.code(partial=second.partial(get(NEW)))])


_CLASSES = st.sampled_from([A, B])
_PLAIN = st.one_of(st.integers(0, 9), st.sampled_from(["k", "l"]), st.none(), st.just([1]), _CLASSES)
_KEYWORDS = st.dictionaries(st.sampled_from(["k", "l"]), _PLAIN, max_size=2)
_SIMPLE = st.builds(Construction, _CLASSES, st.lists(_PLAIN, max_size=2).map(tuple), _KEYWORDS)
_NESTED = st.builds(lambda of, inner: Construction(of, (inner.code(),), {"k": inner.code()}), _CLASSES, _SIMPLE)
_ANY = st.one_of(_SIMPLE, _NESTED)
_WRITTEN = st.one_of(st.builds(_pair, _ANY, _ANY), st.builds(_alike, _SIMPLE, _ANY))
_PIECES = st.sampled_from(
    [
        *(bytes(get(entry)) for entry in (NEW, PART, KEYWORDS)),
        *(b"q" + bytes([entry]) for entry in (NEW, PART, KEYWORDS)),
        *(bytes(piece) for piece in (A, B, P2.text("k"), P2.text("__new__"), P2.name("functools", "partial"))),
        *(
            b"0",
            b"2",
            b")",
            b"R",
            b")R",
            b"b",
            b"N",
            b"K\1",
            b"]",
            b"}",
            b"(",
            b"t",
            b"\x85",
            b"\x86",
            b"s",
            b"a",
            b"1",
        ),
        *(get(KEYWORDS) + P2.text("k") + b"K\7s0", get(PART) + b"0", get(PART) + b")R0", get(NEW) + A + b"\x85R0"),
    ]
)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """Return such a stream with a few opcodes left out, doubled, put in or swapped."""
    data = draw(_WRITTEN)
    begins = [place or 0 for _, _, place in pickletools.genops(data)]
    codes = [data[begin:end] for begin, end in zip(begins, [*begins[1:], len(data)], strict=True)]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(1, len(codes) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                del codes[at]
            case 1:
                codes.insert(at, codes[at])
            case 2:
                codes.insert(at, codes[draw(st.integers(1, len(codes) - 1))])
            case 3:
                codes[at] = draw(_PIECES)
            case _:
                codes.insert(at, draw(_PIECES))
    return b"".join(codes)


UNPICKLERS = {"C": pickle.Unpickler, "Python": pickle._Unpickler}


@pytest.mark.parametrize("reader", UNPICKLERS)
@given(data=_WRITTEN)
def test_what_picklers_write_makes_the_objects_that_are_told(reader: str, data: bytes) -> None:
    assert _check(UNPICKLERS[reader], data)


@pytest.mark.parametrize("reader", UNPICKLERS)
@settings(max_examples=500)
@given(data=_damaged())
@example(data=P2.stream(Construction(A, (1,), {"k": 2}).code()))
def test_nothing_more_is_done_when_nothing_more_is_told(reader: str, data: bytes) -> None:
    _check(UNPICKLERS[reader], data)


@pytest.mark.parametrize("reader", UNPICKLERS)
@pytest.mark.parametrize("name", NEAR_MISSES)
def test_what_is_nearly_that_is_never_told_as_that_alone(reader: str, name: str) -> None:
    assert not _check(UNPICKLERS[reader], P2.stream(Ops(NEAR_MISSES[name](Construction(A, (1,), {"k": 2})))))
