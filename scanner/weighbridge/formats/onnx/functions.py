"""Functions that a model defines itself: what they call, and how large a graph would be with all of them written out.

A runtime that inlines functions follows them as they are: one that calls itself never ends, and two dozen that each
call the next twice make a graph of millions of nodes from two kilobytes (GHSA-7w46-vvrh-m8q5 is the first; the second
passes onnx.checker of 1.23). So the nodes are counted here, without expanding anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats.onnx.graphs import Calls, Key
from weighbridge.formats.onnx.scene import Scene, shown
from weighbridge.records import dataclass

MAX_NODES: Final = 1_000_000  # with all functions written out; ONNX Runtime needs minutes for a hundredth of it
ENOUGH: Final = 1 << 64
_STANDARD: Final = ("ai.onnx", "com.microsoft")  # domains whose operators others define, and those below them


@dataclass(frozen=True, slots=True)
class Function:
    """A function: where it is, and what its body calls."""

    key: Key
    offset: int
    calls: Calls


def check(scene: Scene, functions: list[Function], main: Calls) -> Iterator[Fact]:
    """Yield what is wrong with the functions; `main` is what the graphs call."""
    table: dict[Key, Function] = {}
    for function in functions:
        if function.key in table:
            detail = f"function {spelled(function.key)} is defined twice; readers differ on which one counts"
            yield scene.anomaly("onnx-function-duplicate", function.offset, detail)
        table[function.key] = function
        domain = function.key[0]
        if not domain or any(f"{domain}.".startswith(f"{one}.") for one in _STANDARD):
            detail = f"function {spelled(function.key)} is in a domain that others define"
            yield scene.anomaly("onnx-function-shadows", function.offset, detail)
    sizes: dict[Key, int] = {}
    for function in functions:
        yield from _measure(scene, table, function, sizes)
    total = _total(main, sizes)
    if total > MAX_NODES and functions:
        detail = f"{_magnitude(total)} nodes with all functions written out"
        yield scene.anomaly("onnx-function-expansion", functions[0].offset, detail)


def defined(functions: list[Function], main: Calls) -> set[tuple[str, str]]:
    """Return the operators that stand for functions wherever they are called.

    A call means the function of the same overload; where there is none, an operator of the runtime runs instead.
    """
    keys = {function.key for function in functions}
    called = {key for calls in (main, *(function.calls for function in functions)) for key in calls.counts}
    return {key[:2] for key in keys} - {key[:2] for key in called - keys}


def _measure(scene: Scene, table: dict[Key, Function], start: Function, sizes: dict[Key, int]) -> Iterator[Fact]:
    """Count the nodes of a function and of all that it calls; a function that is being counted calls itself."""
    if start.key in sizes:
        return
    under_way: dict[Key, Iterator[Key]] = {start.key: iter(table[start.key].calls.counts)}
    while under_way:
        key, called = next(reversed(under_way.items()))
        for other in called:
            if other in under_way:
                detail = f"function {spelled(key)} calls {spelled(other)}, which leads back to it"
                yield scene.anomaly("onnx-function-recursion", table[key].offset, detail)
            elif other in table and other not in sizes:
                under_way[other] = iter(table[other].calls.counts)
                break
        else:
            del under_way[key]
            sizes[key] = _total(table[key].calls, sizes)


def _total(calls: Calls, sizes: dict[Key, int]) -> int:
    """Add up the nodes of what is called; beyond ENOUGH it does not matter how many they are."""
    return min(ENOUGH, sum(count * sizes.get(key, 1) for key, count in calls.counts.items()))


def spelled(key: Key) -> str:
    """Return a function as a detail shows it."""
    domain, name, overload = key
    return shown(f"{domain or 'ai.onnx'}::{name}" + (f":{overload}" if overload else ""))


def _magnitude(count: int) -> str:
    return str(count) if count < ENOUGH else f"over 2^{ENOUGH.bit_length() - 1}"
