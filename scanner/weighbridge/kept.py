"""What a program keeps: imports that stand among its data, and what it sets in the results of calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from weighbridge.facts import Program
from weighbridge.formats.pickle.joblib import WRAPPERS
from weighbridge.symbols import ELISIONS, Call, Global, Items, PersistentId, State, Value, each_event

_CONTAINERS: Final = (tuple, list)  # dicts and sets are lists here
_PLAIN: Final = frozenset({str, int, float, bool, type(None), bytes, complex}) | ELISIONS


def imports_kept(program: Program, classes: Mapping[Value, Global]) -> Iterator[Global]:
    """Yield, once each, the imports found in the result, the states, the items and the containers among arguments.

    `classes` are those for which persistent ids stand.
    """
    found: set[Global] = set()
    seen: set[int] = set()
    parts = _kept(program)
    while parts:
        part = parts.pop()
        if type(part) is PersistentId:
            part = classes.get(part)
        if type(part) is Global:
            if part not in found:
                found.add(part)
                yield part
        elif isinstance(part, _CONTAINERS) and id(part) not in seen:
            seen.add(id(part))
            if not _PLAIN.issuperset(map(type, part)):
                parts += part


def _kept(program: Program) -> list[Value]:
    """Return the result and what calls, states and items hold.

    A name that is an argument itself was matched by the schema of the call, and one in the state of a wrapper of joblib
    by that of the state.
    """
    kept: list[Value] = [program.result]
    for event in each_event(program.events):
        if type(event) is Call:
            arguments = event.arguments
            direct = arguments if type(arguments) is tuple else (arguments,)
            kept += [part for part in direct if isinstance(part, _CONTAINERS)]
            kept.append(event.keywords)
        elif type(event) is State and event.subject not in WRAPPERS:
            kept.append(event.state)
        elif type(event) is Items:
            kept += event.values
    return kept


def set_in_results(program: Program) -> dict[Call, list[Value]]:
    """Return the keys and values, by turns, that are set in the result of each call."""
    members: dict[Call, list[Value]] = {}
    for event in each_event(program.events):
        if type(event) is Items and type(event.target) is Call and event.opcode.startswith("SETITEM"):
            members.setdefault(event.target, []).extend(event.values)
    return members
