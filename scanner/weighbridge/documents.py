"""Read YAML, TOML and JSON documents into dataclasses, with `file:line:column` in every error.

Every scalar is a string until the type of a field says otherwise, in each of the three (`weighbridge.nodes`). The
lines of TOML and JSON are looked for when there is something to tell.

A field that no document may set carries `metadata={"derived": True}`, one that lists names of something
`metadata={"known": (what it is, what returns the names)}`; a `ValueError` from a dataclass's `__post_init__` is an
error of the document at the place of the mapping.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from datetime import date
from enum import Enum
from functools import cache
from typing import Any, Final, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

from weighbridge.errors import DocumentError
from weighbridge.location import printable
from weighbridge.nodes import (
    NOWHERE,
    Made,
    Node,
    compose,
    compose_yaml,
    is_plain,
    items,
    kind,
    pairs,
    scalar,
    where,
)
from weighbridge.records import MISSING, fields, is_dataclass

T = TypeVar("T")

# Names separated by spaces in one scalar. Rule and trust files hold thousands of names, and a YAML
# node for each costs twenty times as much as one `str.split`.
Words = NewType("Words", tuple[str, ...])
# A number of bytes, as a whole number or with a unit: 50GB, 1.5 GiB.
Bytes = NewType("Bytes", int)

_INTEGER: Final = r"-?[0-9]{1,18}"  # 64 bits are enough for any setting
_NUMBER: Final = r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_SIZE: Final = r"([0-9]{1,18})(\.[0-9]{1,9})? ?([kMGT]i?)?B"
_UNITS: Final = {unit: number for n, u in enumerate("kMGT", 1) for unit, number in ((u, 1000**n), (f"{u}i", 1024**n))}
_BOOLS: Final = {"true": True, "false": False}
_EXPECTED: Final = {bool: "true or false", int: "a whole number", float: "a number", date: "a date such as 2026-01-31"}
_NO_SIZE: Final = "a number of bytes such as 4096, 50GB or 1.5GiB"


def read(text: str, into: type[T], *, name: str, table: str = "") -> T:
    """Return the document in `text`, or the `table` of it with those keys, as an `into`.

    The ending of `name` says how to read it: `.toml` and `.lock` are TOML, `.json` is JSON, anything else YAML.

    Raises DocumentError when the text is malformed, has a key that `into` does not know or lacks one it
    needs, or holds a value that does not fit its type.
    """
    try:
        value: T = _decode(_table(compose(text, name), table, name), into, name)
    except DocumentError as error:
        raise placed(error, text, name) from error
    return value


def read_value(text: str, keys: str, into: type[T], *, name: str) -> T:
    """Return an `into` of which one value is given, by the keys that lead to it; the items of a list by commas.

    The keys have to be some that `into` knows. Raises DocumentError when the text does not fit the type of the value.
    """
    words = keys.split(".")
    hint: Any = into
    for word in words:
        hint = _shape(_some(hint))[0][word]
    listed = get_origin(_some(hint)) is tuple
    leaves = [Made("scalar", one.strip(), NOWHERE) for one in text.split(",") if one.strip()] if listed else []
    node: Node = Made("sequence", leaves, NOWHERE) if listed else Made("scalar", text, NOWHERE)
    for word in reversed(words):
        node = Made("mapping", [(Made("scalar", word, NOWHERE), node)], NOWHERE)
    value: T = _decode(node, into, name)
    return value


def _some(hint: Any) -> Any:
    """Return a type without the None that may stand for it."""
    kinds = [one for one in get_args(hint) if one is not type(None)]
    return kinds[0] if get_origin(hint) in (types.UnionType, Union) else hint


def _table(node: Node, table: str, name: str) -> Node:
    for key in table.split(".") if table else ():
        found = [value for word, value in pairs(node, name) if word == key]
        if not found:
            raise DocumentError(name, f"there is no table {table!r}")
        node = found[0]
    return node


def place(text: str, keys: str, name: str) -> str:
    """Return the place of what keys lead to in a document that can be read, as `where` does."""
    if name.endswith((".toml", ".lock", ".json")):
        return placed(DocumentError(f"{name}:{keys}", ""), text, name).where
    node = compose_yaml(text, name)
    for part in re.findall(r"[^.\[\]]+", keys):
        if kind(node) == "mapping":
            node = next((value for key, value in pairs(node, name) if key == part), node)
        elif kind(node) == "sequence" and part.isdecimal():
            node = items(node, name)[int(part)]
    return where(node, name)


def placed(error: DocumentError, text: str, name: str) -> DocumentError:
    """Return an error with the line and column of the keys that it names, when they are of a TOML or JSON document."""
    keys = error.where.removeprefix(f"{name}:")
    if keys == error.where or not name.endswith((".toml", ".lock", ".json")):
        return error
    from weighbridge import json_places, toml_places

    found = (json_places if name.endswith(".json") else toml_places).find(text, keys)
    if found is None:
        return error
    return DocumentError(f"{name}:{found[0]}:{found[1]}", f"{printable(keys)}: {error.reason}")


def suggest(word: str, known: list[str]) -> str:
    """Return the text `, did you mean 'title'?` for the nearest of the known words, or nothing."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1)
    near = near or [one for one in known if word and (one.startswith(word) or word.startswith(one))]
    return f", did you mean {near[0]!r}?" if near else ""


def _decode(node: Node, into: Any, name: str) -> Any:
    """Return the value of a node as the type `into`."""
    if into is str:
        return scalar(node, name)
    if into is Words:
        return Words(tuple(scalar(node, name).split()))
    if into is Bytes:
        return _bytes(node, name)
    origin = get_origin(into)
    if origin is types.UnionType or origin is Union:
        return _decode_optional(node, into, name)
    if origin is tuple:
        item = get_args(into)[0]
        return tuple(_decode(n, item, name) for n in items(node, name))
    if origin is dict:
        value_type = get_args(into)[1]
        return {key: _decode(value, value_type, name) for key, value in pairs(node, name)}
    if is_dataclass(into):
        return _decode_fields(node, into, name)
    return _decode_scalar(node, into, name)


def _decode_optional(node: Node, into: Any, name: str) -> Any:
    """Decode `T | None`: an unquoted `null` is None."""
    kinds = [one for one in get_args(into) if one is not type(None)]
    if kind(node) == "scalar" and node.value == "null" and is_plain(node):
        return None
    return _decode(node, kinds[0], name)


def _decode_scalar(node: Node, into: Any, name: str) -> Any:
    text = scalar(node, name)
    if issubclass(into, Enum):
        try:
            return into(text)
        except ValueError as error:
            known = ", ".join(str(member.value) for member in into)
            raise DocumentError(where(node, name), f"{text!r} is not one of {known}") from error
    value = _convert(text, into) if is_plain(node) or into is date else None
    if value is None:
        raise DocumentError(where(node, name), f"{text!r} is not {_EXPECTED[into]}")
    return value


def _bytes(node: Node, name: str) -> Bytes:
    text = scalar(node, name)
    if is_plain(node) and re.fullmatch(_INTEGER, text):
        return Bytes(int(text))
    size = re.fullmatch(_SIZE, text)
    if size is None:
        raise DocumentError(where(node, name), f"{text!r} is not {_NO_SIZE}")
    digits = (size[2] or ".").removeprefix(".")
    return Bytes(int(size[1] + digits) * _UNITS.get(size[3], 1) // 10 ** len(digits))


def _convert(text: str, into: Any) -> bool | int | float | date | None:
    if into is bool:
        return _BOOLS.get(text)
    if into is int:
        return int(text) if re.fullmatch(_INTEGER, text) else None
    if into is float:
        return float(text) if re.fullmatch(_NUMBER, text) else None
    try:
        return date.fromisoformat(text) if len(text) == len("2026-01-31") else None
    except ValueError:
        return None


def _decode_fields(node: Node, into: Any, name: str) -> Any:
    hints, required, listed = _shape(into)
    values = {}
    for key, value in pairs(node, name):
        if key not in hints:
            place = next(k for k, v in node.value if v is value)
            near = suggest(key, list(hints)) or f"; known are {', '.join(hints)}"
            raise DocumentError(where(place, name), f"unknown key {key!r}{near}")
        if key in listed:
            _refuse_unknown(value, *listed[key], name)
        values[key] = _decode(value, hints[key], name)
    for key in required:
        if key not in values:
            raise DocumentError(where(node, name), f"missing key {key!r}")
    try:
        return into(**values)
    except ValueError as error:
        raise DocumentError(where(node, name), str(error)) from error


def _refuse_unknown(node: Node, what: str, names: Callable[[], list[str]], name: str) -> None:
    """Raise DocumentError for an item of a list that names nothing."""
    known = names()
    for one in items(node, name):
        if (text := scalar(one, name)) not in known:
            raise DocumentError(where(one, name), f"no {what} is named {text!r}{suggest(text, known)}")


@cache
def _shape(into: Any) -> tuple[dict[str, Any], tuple[str, ...], dict[str, tuple[str, Callable[[], list[str]]]]]:
    """Return the types of the fields that a document may set, the names of those it must set, and what some list."""
    hints = get_type_hints(into)
    settable = [f for f in fields(into) if not f.metadata.get("derived")]
    required = tuple(f.name for f in settable if f.default is MISSING and f.default_factory is MISSING)
    listed = {f.name: f.metadata["known"] for f in settable if "known" in f.metadata}
    return {f.name: hints[f.name] for f in settable}, required, listed
