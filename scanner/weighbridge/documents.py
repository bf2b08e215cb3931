"""Read YAML, TOML and JSON documents into dataclasses, with `file:line:column` in every error.

Only the part of YAML that means one thing is accepted: no aliases, no tags, no duplicate keys; every
scalar is a string until the type of a field says otherwise. TOML and JSON go through the same decoder;
their readers keep no lines. Those of TOML are looked for when there is something to tell; an error in JSON names the
path of keys (`policy.json:waivers[0].digest`).

The documents that ship are composed once, when the package is built, and kept as JSON with the digest of their text:
PyYAML takes 30 ms to import and read them, a third of what the scan of a small file takes. A document whose digest is
not there, because somebody changed it or brought their own, is read as ever.

A field that no document may set carries `metadata={"derived": True}`; a `ValueError` from a dataclass's
`__post_init__` is an error of the document at the place of the mapping.
"""

from __future__ import annotations

import hashlib
import json
import re
import types
from collections.abc import Iterable, Iterator
from datetime import date
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NewType, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from weighbridge.errors import DocumentError
from weighbridge.location import printable
from weighbridge.records import MISSING, fields, is_dataclass

if TYPE_CHECKING:
    from yaml import Node as YamlNode

T = TypeVar("T")
Node: TypeAlias = "YamlNode | _Node"

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


# The shipped documents as `precompose` writes them; the build puts it here (hatch_build.py).
COMPOSED: Final = f"{__file__.removesuffix('documents.py')}_composed.txt"


class _Path:
    """Stands where a YAML node has its mark: the keys that lead to a value of a TOML or JSON document."""

    __slots__ = ("keys",)

    def __init__(self, keys: str) -> None:
        self.keys = keys


class _Node:
    """A node of a document that PyYAML did not compose: what the functions here need of `yaml.Node`."""

    __slots__ = ("id", "start_mark", "style", "value")

    def __init__(self, id_: str, value: Any, mark: _Path, style: str = "") -> None:
        self.id = id_
        self.value = value
        self.start_mark = mark
        self.style = style


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
    mark = _Path("")
    listed = get_origin(_some(hint)) is tuple
    leaves = [_Node("scalar", one.strip(), mark) for one in text.split(",") if one.strip()] if listed else []
    node: Node = _Node("sequence", leaves, mark) if listed else _Node("scalar", text, mark)
    for word in reversed(words):
        node = _Node("mapping", [(_Node("scalar", word, mark), node)], mark)
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
    node = _compose_yaml(text, name)
    for part in re.findall(r"[^.\[\]]+", keys):
        if kind(node) == "mapping":
            node = next((value for key, value in pairs(node, name) if key == part), node)
        elif kind(node) == "sequence" and part.isdecimal():
            node = items(node, name)[int(part)]
    return where(node, name)


def placed(error: DocumentError, text: str, name: str) -> DocumentError:
    """Return an error with the line and column of the keys that it names, when they are of a TOML document."""
    keys = error.where.removeprefix(f"{name}:")
    if keys == error.where or not name.endswith((".toml", ".lock")):
        return error
    from weighbridge.toml_places import find

    found = find(text, keys)
    if found is None:
        return error
    return DocumentError(f"{name}:{found[0]}:{found[1]}", f"{printable(keys)}: {error.reason}")


def compose(text: str, name: str) -> Node:
    """Return the nodes of a document (`yaml.MappingNode` and its kin), free of aliases, tags and duplicate keys.

    `pairs` and `where` read them. Raises DocumentError when the text is malformed or empty.
    """
    if name.endswith(".json"):
        return _node(_parse_json(text, name), "")
    if name.endswith((".toml", ".lock")):
        return _node(toml(text, name), "")
    tree = composed(_digest(text))
    return _compose_yaml(text, name) if tree is None else _restore(tree)


def where(node: Any, name: str) -> str:
    """Return the place of a node as `file:line:column` (or `file:keys` for TOML and JSON)."""
    mark = node.start_mark
    if isinstance(mark, _Path):
        return f"{name}:{mark.keys}" if mark.keys else name
    return f"{name}:{mark.line + 1}:{mark.column + 1}"


def kind(node: Any) -> str:
    """Return what a node is: `scalar`, `sequence` or `mapping`."""
    return str(node.id)


def pairs(node: Node, name: str) -> Iterator[tuple[str, Node]]:
    """Yield the keys and value nodes of a mapping; raise DocumentError on a duplicate or when it is no mapping."""
    if kind(node) != "mapping":
        raise DocumentError(where(node, name), "expected a mapping")
    seen = set()
    for key, value in node.value:
        if kind(key) != "scalar":
            raise DocumentError(where(key, name), "a key must be a word")
        if key.value in seen:
            raise DocumentError(where(key, name), f"duplicate key {key.value!r}")
        seen.add(key.value)
        yield key.value, value


def items(node: Node, name: str) -> list[Node]:
    """Return the nodes of a list; raise DocumentError when it is none."""
    if kind(node) != "sequence":
        raise DocumentError(where(node, name), "expected a list")
    nodes: list[Node] = node.value
    return nodes


def scalar(node: Node, name: str) -> str:
    """Return the text of a scalar; raise DocumentError when it is none."""
    if kind(node) != "scalar":
        raise DocumentError(where(node, name), "expected text")
    text: str = node.value
    return text


def suggest(word: str, known: list[str]) -> str:
    """Return the text `, did you mean 'title'?` for the nearest of the known words, or nothing."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _compose_yaml(text: str, name: str) -> Node:
    import yaml

    try:
        # An alias needs an anchor and a tag needs its mark, so the second walk is rarely made.
        if "&" in text or "!" in text:
            for event in yaml.parse(text, Loader=yaml.CBaseLoader):
                _refuse_event(event, name)
        node = yaml.compose(text, Loader=yaml.CBaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise DocumentError(place, str(error.problem)) from error
    except yaml.YAMLError as error:
        raise DocumentError(name, str(error).replace("\n", " ")) from error
    if node is None:
        raise DocumentError(name, "empty document")
    return node


def _refuse_event(event: Any, name: str) -> None:
    if getattr(event, "anchor", None) is not None:
        raise DocumentError(where(event, name), "anchors and aliases are not accepted")
    if getattr(event, "tag", None) is not None:
        raise DocumentError(where(event, name), "tags are not accepted")


def _parse_json(text: str, name: str) -> object:
    def unique(found: list[tuple[str, object]]) -> dict[str, object]:
        result = dict(found)
        if len(result) != len(found):
            keys = [key for key, _ in found]
            raise DocumentError(name, f"duplicate key {next(k for k in keys if keys.count(k) > 1)!r}")
        return result

    def refuse(constant: str) -> object:
        raise DocumentError(name, f"{constant} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise DocumentError(f"{name}:{error.lineno}:{error.colno}", error.msg) from error
    except ValueError as error:  # a number of more digits than Python converts
        raise DocumentError(name, str(error)) from error
    except RecursionError as error:
        raise DocumentError(name, "nested too deeply") from error


def toml(text: str, name: str) -> object:
    """Return a TOML document as tomllib does; raise DocumentError when it is none."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column (\d+)\)$", str(error))
        at = f"{name}:{place[1]}:{place[2]}" if place else name
        raise DocumentError(at, str(error).split(" (at ")[0]) from error
    except RecursionError as error:
        raise DocumentError(name, "nested too deeply") from error


def _node(value: object, keys: str) -> Node:
    """Return a value of a TOML or JSON document as the node that YAML would have made of it."""
    mark = _Path(keys)
    if isinstance(value, dict):
        found = [(_node(k, f"{keys}.{k}".lstrip(".")), _node(v, f"{keys}.{k}".lstrip("."))) for k, v in value.items()]
        return _Node("mapping", found, mark)
    if isinstance(value, list):
        return _Node("sequence", [_node(item, f"{keys}[{index}]") for index, item in enumerate(value)], mark)
    if isinstance(value, str):
        return _Node("scalar", value, mark, style='"')
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return _Node("scalar", text, mark)


def precompose(documents: Iterable[tuple[str, str]]) -> str:
    """Return YAML documents (name, text) as `compose` looks them up: a line for each, the digest of its text and JSON.

    Raises DocumentError when one is wrong.
    A plain scalar is its text, a quoted one a list of null and its text, a sequence a list, a mapping an object.
    """
    return "".join(
        f"{_digest(text)} {json.dumps(_flatten(_compose_yaml(text, name), name), separators=(',', ':'))}\n"
        for name, text in documents
    )


def composed(digest: str) -> Any:
    """Return what the build of the package keeps under a digest, None when there is nothing."""
    line = _composed().get(digest)
    return None if line is None else json.loads(line)


def _flatten(node: Any, name: str) -> Any:
    if kind(node) == "mapping":
        return {key: _flatten(value, name) for key, value in pairs(node, name)}
    if kind(node) == "sequence":
        return [_flatten(value, name) for value in node.value]
    return node.value if _is_plain(node) else [None, node.value]


_NOWHERE: Final = _Path("")


def _restore(tree: Any) -> Node:
    """Return the nodes that `_flatten` flattened; they have no places, and were read without error once."""
    if type(tree) is str:
        return _Node("scalar", tree, _NOWHERE)
    if type(tree) is dict:
        found = [(_Node("scalar", key, _NOWHERE), _restore(value)) for key, value in tree.items()]
        return _Node("mapping", found, _NOWHERE)
    if tree and tree[0] is None:
        return _Node("scalar", tree[1], _NOWHERE, style='"')
    return _Node("sequence", [_restore(value) for value in tree], _NOWHERE)


@cache
def _composed() -> dict[str, str]:
    """Return the documents that were composed when the package was built, by digest; none in a bare checkout."""
    try:
        with open(COMPOSED, encoding="ascii") as file:  # noqa: PTH123 - see `rule_files`
            lines = file.readlines()
    except FileNotFoundError:
        return {}
    return {digest: tree for digest, _, tree in (line.partition(" ") for line in lines)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


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
    if kind(node) == "scalar" and node.value == "null" and _is_plain(node):
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
    value = _convert(text, into) if _is_plain(node) or into is date else None
    if value is None:
        raise DocumentError(where(node, name), f"{text!r} is not {_EXPECTED[into]}")
    return value


def _bytes(node: Node, name: str) -> Bytes:
    text = scalar(node, name)
    if _is_plain(node) and re.fullmatch(_INTEGER, text):
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


def _is_plain(node: Any) -> bool:
    return not node.style


def _decode_fields(node: Node, into: Any, name: str) -> Any:
    hints, required = _shape(into)
    values = {}
    for key, value in pairs(node, name):
        if key not in hints:
            place = next(k for k, v in node.value if v is value)
            raise DocumentError(where(place, name), f"unknown key {key!r}{suggest(key, list(hints))}")
        values[key] = _decode(value, hints[key], name)
    for key in required:
        if key not in values:
            raise DocumentError(where(node, name), f"missing key {key!r}")
    try:
        return into(**values)
    except ValueError as error:
        raise DocumentError(where(node, name), str(error)) from error


@cache
def _shape(into: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the types of the fields that a document may set, and the names of those it must set."""
    hints = get_type_hints(into)
    settable = [f for f in fields(into) if not f.metadata.get("derived")]
    required = tuple(f.name for f in settable if f.default is MISSING and f.default_factory is MISSING)
    return {f.name: hints[f.name] for f in settable}, required
