"""The words of the schema language: what each asks of a value (see `schema`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from weighbridge.columns import fills_its_buffers
from weighbridge.formats.pickle.joblib import fits
from weighbridge.pixels import holds_its_pixels
from weighbridge.symbols import (
    ELISIONS,
    Call,
    Dict,
    Elided,
    ElidedBytes,
    ElidedInt,
    ElidedText,
    ElidedUint,
    Global,
    PersistentId,
    Set,
    Span,
    Value,
)

WORK_LIMIT: Final = 50_000_000  # parts of values that the schemas of one program may visit
INDEX_LIMIT: Final = 1 << 48  # no shape, stride or offset is larger; numpy and torch refuse far less


class Session(Protocol):
    """What a schema may ask about the program that a value belongs to."""

    def tag(self, value: Call | PersistentId) -> str | None:
        """Return the tag of what a trusted call or persistent id results in, None when it is not trusted."""

    def name(self, value: Value) -> Global | None:
        """Return the import that a value is, or the class for which a persistent id stands."""

    def refers(self, name: Global, kind: str) -> bool:
        """Tell whether a trust entry makes an import a reference or class (`any`) or a plain class (`class`)."""

    def nested(self, value: Value) -> bool:
        """Tell whether a literal was examined as a file of torch of its own, which holds a storage."""

    def hashable(self, value: Value) -> bool:
        """Tell whether hashing and comparing a value runs nothing that was not reviewed."""

    def members(self, value: Call) -> list[Value]:
        """Return the keys and values, by turns, that the program sets in the result of a call."""

    def spend(self, parts: int) -> None:
        """Count visited parts; raise WorkError over WORK_LIMIT."""


class WorkError(Exception):
    """A value is so large or so shared that matching it costs more than it may."""


Check = Callable[[Value, Session], bool]


def _any(value: Value, session: Session) -> bool:
    """Tell whether a value may be passed along: everything but an import that may only be called."""
    if type(value) is not Global and type(value) is not PersistentId:
        return True
    name = session.name(value)
    return name is None or session.refers(name, "any")


def _none(value: Value, _: Session) -> bool:
    return value is None


def _is(*types: type) -> Check:
    kinds = frozenset(types)
    return lambda value, _: type(value) in kinds


def _uint(value: Value, _: Session) -> bool:
    return (type(value) is int and value >= 0) or type(value) is ElidedUint


def _text(value: Value, _: Session) -> bool:
    return type(value) in (str, ElidedText) or (type(value) is Span and value.kind == "str")


def _bytes(value: Value, session: Session) -> bool:
    if type(value) is Call:
        return session.tag(value) == "bytes"
    return type(value) in (bytes, ElidedBytes) or (type(value) is Span and value.kind != "str")


def _ints(value: Value, session: Session) -> bool:
    if type(value) is not tuple and type(value) is not list:
        return False
    session.spend(len(value))
    for item in value:  # noqa: SIM110 - as in `_any_of`
        if not ((type(item) is int and 0 <= item < INDEX_LIMIT) or type(item) is ElidedUint):
            return False
    return True


_SCALARS: Final = frozenset({str, bytes, int, float, bool, complex, type(None), Span}) | ELISIONS


def _literal(value: Value, session: Session) -> bool:
    parts: list[Value] = [value]
    while parts:
        part = parts.pop()
        kind = type(part)
        if kind in _SCALARS:
            continue
        if not isinstance(part, tuple | list):
            return False
        session.spend(len(part))
        if not _SCALARS.issuperset(map(type, part)):
            parts += part
    return True


def _plain_set(value: Value, session: Session) -> bool:
    if type(value) is not Set:
        return False
    session.spend(len(value))
    return _SCALARS.issuperset(map(type, value))


def _pair(value: Value, session: Session) -> bool:
    if (type(value) is not tuple and type(value) is not list) or len(value) != 2:
        return False
    key, item = value
    return session.hashable(key) and _any(item, session)


def _hashables(value: Value, session: Session) -> bool:
    if type(value) is not list:
        return False
    session.spend(len(value))
    return _SCALARS.issuperset(map(type, value)) or all(session.hashable(part) for part in value)


def _hashed_array(value: Value, session: Session) -> bool:
    return type(value) is Call and session.tag(value) == "ndarray"


def _tables(value: Value, session: Session) -> bool:
    if type(value) is Dict:
        session.spend(len(value))
        return all(type(part) is Dict for part in value[1::2])
    if type(value) is not Call or session.tag(value) is None or value.subject != "collections.defaultdict":
        return False
    given = value.arguments[1:] if type(value.arguments) is tuple else (None,)
    return all(_tables(part, session) for part in given) and all(
        type(part) is Dict for part in session.members(value)[1::2]
    )


def _nested(value: Value, session: Session) -> bool:
    return session.nested(value)


WORDS: Final[dict[str, Check]] = {
    "any": _any,
    "none": _none,
    "bool": _is(bool),
    "false": lambda value, _: value is False,
    "int": _is(int, ElidedInt, ElidedUint),
    "uint": _uint,
    "float": _is(float, Elided),
    "number": _is(int, ElidedInt, ElidedUint, float, Elided, complex),
    "str": _is(str, ElidedText),
    "text": _text,
    "bytes": _bytes,
    "literal": _literal,
    "list": _is(list),
    "tuple": _is(tuple),
    "dict": _is(Dict),
    "set": _is(Set),
    "ints": _ints,
    "persistent": _is(PersistentId),
    "nested": _nested,
    "fits": lambda value, _: fits(value),
    "picture": lambda value, _: holds_its_pixels(value),
    "column": lambda value, _: fills_its_buffers(value),
    "plain-set": _plain_set,
    "hashable": lambda value, session: session.hashable(value),
    "hashables": _hashables,
    "hashed-array": _hashed_array,
    "pair": _pair,
    "tables": _tables,
}
