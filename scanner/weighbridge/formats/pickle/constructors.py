"""NEWOBJ_EX as protocols 2 and 3 write it, which have no opcode for it.

What a class gives to `__new__` by keyword (`__getnewargs_ex__`) CPython's picklers write as the call of a partial
(Lib/pickle.py, `save_reduce`; Modules/_functoolsmodule.c, `partial_reduce`), in these steps:

1. `new = getattr(C, "__new__")`, once for all objects of the class
2. `part = functools.partial(new)`
3. `part.__setstate__((new, (C, *arguments), keywords, None))`
4. `part()`, the two opcodes that follow BUILD

Loading this calls `C.__new__(C, *arguments, **keywords)` and so does NEWOBJ_EX: the slot of a class that is written in
Python looks `__new__` up as `getattr` does, and the `__new__` of one written in C checks its class and calls the slot.
So the call is told as NEWOBJ_EX of C, with its arguments, and steps 1 to 3 are not told beside it.

Only this is taken so. C is an import, the same one in all steps, and no wrapper behind whose state joblib reads an
array; the names are spelled as picklers spell them; nothing stands between steps 3 and 4, so that nothing is changed
there; a partial is called once; and neither `part` nor `new` occurs anywhere else. What differs in anything is told
step by step. The imports of `getattr` and `partial` are told in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from weighbridge.formats.pickle.joblib import WRAPPERS
from weighbridge.formats.pickle.recorder import PARTIAL, PLAIN
from weighbridge.records import dataclass
from weighbridge.symbols import (
    Call,
    ComputedName,
    Dict,
    Event,
    Form,
    Global,
    Items,
    Key,
    PersistentId,
    State,
    Value,
    each_event,
)

_GETATTR: Final = frozenset({("__builtin__", "getattr"), ("builtins", "getattr")})
_BEHIND_BUILD: Final = 2  # bytes from BUILD to REDUCE, with EMPTY_TUPLE between them


@dataclass(frozen=True, slots=True, kw_only=True)
class _Construction:
    """The events of one object that is made like this."""

    new: Call
    part: Call
    build: State
    made: Call
    of: Global
    arguments: tuple[Value, ...]  # C is the first
    keywords: Value


def told_as_newobj_ex(events: list[Event], results: Iterable[Value]) -> list[Event]:
    """Return the events of a whole run with every such construction told as one NEWOBJ_EX.

    `results` are the values that the run leaves beside its events. The call of the partial becomes the call by
    NEWOBJ_EX, in place: whatever holds its result goes on to hold it.
    """
    found = list(_constructions(events))
    if not found:
        return events
    elsewhere = _elsewhere(events, results, found)
    # Of a class, all or none: what is told of one step by step uses the `new` of the others.
    shown = {id(one.new) for one in found if id(one.part) in elsewhere or id(one.new) in elsewhere}
    untold: set[int] = set()
    for one in found:
        if id(one.new) not in shown:
            one.made.callable = one.of
            one.made.arguments = one.arguments[1:]
            one.made.keywords = Dict() if one.keywords is None else one.keywords
            one.made.form = Form.NEWOBJ_EX
            untold |= {id(one.new), id(one.part), id(one.build)}
    return [event for event in events if id(event) not in untold]


def _constructions(events: Sequence[Event]) -> Iterator[_Construction]:
    """Yield what has the steps; whether its values are used elsewhere is not looked at."""
    before: Event | None = None
    for event in events:
        if type(event) is Call and type(before) is State and event.callable is before.target:
            found = _construction(before, event)
            if found is not None:
                yield found
        before = event


def _construction(build: State, made: Call) -> _Construction | None:
    """Return what a state and the call behind it show, None when that is anything else."""
    part, state = build.target, build.state
    if made.offset - build.offset != _BEHIND_BUILD or _passed(made) != () or type(state) is not tuple:
        return None
    if type(part) is not Call or type(part.callable) is not Global or part.callable.spelled != PARTIAL:
        return None
    match _passed(part), state:
        case (new,), (func, (of, *_) as arguments, keywords, None) if (
            func is new
            and type(arguments) is tuple
            and (keywords is None or type(keywords) is Dict)
            and type(of) is Global
            and type(new) is Call
            and _is_constructor(new, of)
        ):
            return _Construction(
                new=new, part=part, build=build, made=made, of=of, arguments=arguments, keywords=keywords
            )
    return None


def _passed(call: Call) -> tuple[Value, ...] | None:
    """Return what a call by REDUCE passes, None when the call is another or passes no tuple."""
    return call.arguments if call.form is Form.REDUCE and type(call.arguments) is tuple else None


def _is_constructor(new: Call, of: Global) -> bool:
    """Tell whether a value is `getattr(C, "__new__")`."""
    function = new.callable
    if type(function) is not Global or function.spelled not in _GETATTR or of.dotted in WRAPPERS:
        return False
    match _passed(new):
        case (owner, name):
            return owner is of and type(name) is str and name == "__new__"
    return False


def _elsewhere(events: Iterable[Event], results: Iterable[Value], found: Iterable[_Construction]) -> set[int]:
    """Return the identities of the calls of `found` that a run uses in any other place than in their own steps."""
    wanted: set[int] = set()
    own: set[int] = set()
    parts: list[Value] = [*results]
    for one in found:
        if id(one.part) in own:  # called more than once
            parts.append(one.part)
        wanted |= {id(one.new), id(one.part)}
        own |= {id(one.part), id(one.build), id(one.made)}
        parts += (one.arguments, one.keywords)
    for event in each_event(events):
        if id(event) not in own:
            parts += _held(event)
    return _found_in(parts, wanted)


def _held(event: Event) -> tuple[Value, ...]:
    """Return the values that an event uses."""
    match event:
        case Call():
            return event.callable, event.arguments, event.keywords
        case State():
            return event.target, event.state
        case Items():
            return event.target, event.values
        case Key():
            return (event.key,)
        case PersistentId():
            return (event.value,)
        case ComputedName():
            return event.module, event.name
    return ()


def _found_in(parts: list[Value], wanted: set[int]) -> set[int]:
    """Return which of the `wanted` identities occur in values; each container is gone through once."""
    found: set[int] = set()
    seen: set[int] = set()
    while parts:
        part = parts.pop()
        if id(part) in wanted:
            found.add(id(part))
        elif isinstance(part, tuple | list) and id(part) not in seen:
            seen.add(id(part))
            if not PLAIN.issuperset(map(type, part)):
                parts += part
    return found
