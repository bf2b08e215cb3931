"""Values and events of the pickle machine as readable Python, escaped and bounded: a hostile value has no end.

A value is walked piece by piece to a depth and a length, and never printed with `repr`; see `weighbridge.symbols`.
"""

from __future__ import annotations

from collections.abc import Iterator

from weighbridge.location import printable
from weighbridge.symbols import (
    Call,
    ComputedName,
    Dict,
    ElidedInt,
    Event,
    Extension,
    Form,
    Global,
    Items,
    Key,
    Opaque,
    PersistentId,
    Set,
    Span,
    State,
    Value,
    owner,
)


def express(value: Value, limit: int = 120) -> str:
    """Return `value` as readable Python, escaped and cut to about `limit` characters."""
    text, left = [], limit
    for piece in _pieces(value, 6):
        text.append(piece)
        left -= len(piece)
        if left < 0:
            text.append("…")
            break
    return "".join(text)


def express_event(event: Event) -> str:
    """Return what an event does as readable Python: `os.system('id')`."""
    match event:
        case Call() | Global() | PersistentId():
            return express(event, 160)
        case State():
            return f"{_place(event.target)}.__setstate__({express(event.state)})"
        case Items():
            return _changes(event)
        case Key():
            return f"hash({express(event.key)})"
        case ComputedName():
            return f"getattr(import_module({express(event.module)}), {express(event.name)})"
        case Extension():
            return f"copyreg extension {event.code}"
    return event.subject


def _place(target: Value) -> str:
    """An imported name stands for itself; the result of a call is shown as `<dotted.name>`."""
    return express(target) if isinstance(target, Global) else f"<{owner(target).strip('<>')}>"


def _changes(event: Items) -> str:
    target, values = _place(event.target), event.values
    if event.opcode.startswith("SETITEM") and len(values) >= 2:
        more = ", …" if len(values) > 2 else ""
        return f"{target}[{express(values[0])}] = {express(values[1])}{more}"
    method = {"ADDITEMS": "update", "BUILD": "read"}.get(event.opcode, "extend")
    return f"{target}.{method}({express(values)})"


def _pieces(value: Value, depth: int) -> Iterator[str]:
    """Yield the text of `value` piece by piece, so that the caller can stop; recursion ends at `depth`."""
    atom = _atom(value)
    if atom:
        yield atom
    elif depth == 0:
        yield "…"
    elif isinstance(value, Call):
        yield from _call_pieces(value, depth)
    elif isinstance(value, PersistentId):
        yield "persistent_load("
        yield from _pieces(value.value, depth - 1)
        yield ")"
    elif isinstance(value, tuple | list):
        yield from _container_pieces(value, depth)
    else:
        yield f"<{type(value).__name__}>"


def _atom(value: Value) -> str:
    """Return the text of a value without parts, or nothing."""
    match value:
        case str():
            return f"'{printable(value[:200])}{'…' if len(value) > 200 else ''}'"
        case bytes():
            return f"{value[:100]!r}{'…' if len(value) > 100 else ''}"
        case None | bool() | float() | complex():
            return repr(value)
        case ElidedInt():
            return repr(value)
        case int():
            return str(value) if value.bit_length() < 256 else f"<int of {value.bit_length()} bits>"
        case Global():
            return printable(value.dotted)
        case Span():
            return f"<{value.kind}, {value.size} bytes at {value.offset:#x}>"
        case Opaque():
            return f"<{value.reason}>"
    return ""


def _call_pieces(call: Call, depth: int) -> Iterator[str]:
    yield from _pieces(call.callable, depth - 1)
    if call.form in (Form.NEWOBJ, Form.NEWOBJ_EX):
        yield ".__new__"
    if isinstance(call.arguments, tuple):
        yield "("
        yield from _joined(call.arguments, depth)
        if call.keywords:
            yield ", **" if call.arguments else "**"
            yield from _pieces(call.keywords, depth - 1)
        yield ")"
    else:
        yield "(*"
        yield from _pieces(call.arguments, depth - 1)
        yield ")"


def _container_pieces(value: tuple[Value, ...] | list[Value], depth: int) -> Iterator[str]:
    if isinstance(value, Dict):
        yield "{"
        for index in range(0, len(value) - 1, 2):
            yield ", " if index else ""
            yield from _pieces(value[index], depth - 1)
            yield ": "
            yield from _pieces(value[index + 1], depth - 1)
        yield "}"
    elif isinstance(value, Set):
        yield "{*("
        yield from _joined(value, depth)
        yield ")}"
    elif isinstance(value, tuple):
        yield "("
        yield from _joined(value, depth)
        yield ",)" if len(value) == 1 else ")"
    else:
        yield "["
        yield from _joined(value, depth)
        yield "]"


def _joined(values: tuple[Value, ...] | list[Value], depth: int) -> Iterator[str]:
    for index, item in enumerate(values):
        if index:
            yield ", "
        yield from _pieces(item, depth - 1)
