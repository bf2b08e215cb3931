"""The nodes of YAML, TOML and JSON documents: text to a tree of scalars, sequences and mappings that know their places.

Only the part of YAML that means one thing is accepted: no aliases, no tags, no duplicate keys. TOML and JSON become
nodes as well; their readers keep no lines, so those nodes have the keys that lead to them instead.

The documents that ship are composed once, when the package is built, and kept as JSON with the digest of their text:
PyYAML takes 30 ms to import and read them, a third of what the scan of a small file takes. A document whose digest is
not there, because somebody changed it or brought their own, is read as ever.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from weighbridge.errors import DocumentError

if TYPE_CHECKING:
    from yaml import Node as YamlNode

Node: TypeAlias = "YamlNode | Made"

# The shipped documents as `precompose` writes them; the build puts it here (hatch_build.py).
COMPOSED: Final = f"{__file__.removesuffix('nodes.py')}_composed.txt"


class _Path:
    """Stands where a YAML node has its mark: the keys that lead to a value of a TOML or JSON document."""

    __slots__ = ("keys",)

    def __init__(self, keys: str) -> None:
        self.keys = keys


NOWHERE: Final = _Path("")


class Made:
    """A node that PyYAML did not compose: what is needed of `yaml.Node`."""

    __slots__ = ("id", "start_mark", "style", "value")

    def __init__(self, id_: str, value: Any, mark: _Path, style: str = "") -> None:
        self.id = id_
        self.value = value
        self.start_mark = mark
        self.style = style


def compose(text: str, name: str) -> Node:
    """Return the nodes of a document (`yaml.MappingNode` and its kin), free of aliases, tags and duplicate keys.

    `pairs` and `where` read them. Raises DocumentError when the text is malformed or empty.
    """
    if name.endswith(".json"):
        return _node(_parse_json(text, name), "")
    if name.endswith((".toml", ".lock")):
        return _node(toml(text, name), "")
    tree = composed(_digest(text))
    return compose_yaml(text, name) if tree is None else _restore(tree)


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


def is_plain(node: Any) -> bool:
    """Tell whether a scalar is written without quotes, so that it may be a number or `null`."""
    return not node.style


def compose_yaml(text: str, name: str) -> Node:
    """Return the nodes of a YAML document with their lines, even of one that the build composed."""
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
        return Made("mapping", found, mark)
    if isinstance(value, list):
        return Made("sequence", [_node(item, f"{keys}[{index}]") for index, item in enumerate(value)], mark)
    if isinstance(value, str):
        return Made("scalar", value, mark, style='"')
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return Made("scalar", text, mark)


def precompose(documents: Iterable[tuple[str, str]]) -> str:
    """Return YAML documents (name, text) as `compose` looks them up: a line for each, the digest of its text and JSON.

    Raises DocumentError when one is wrong.
    A plain scalar is its text, a quoted one a list of null and its text, a sequence a list, a mapping an object.
    """
    return "".join(
        f"{_digest(text)} {json.dumps(_flatten(compose_yaml(text, name), name), separators=(',', ':'))}\n"
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
    return node.value if is_plain(node) else [None, node.value]


def _restore(tree: Any) -> Node:
    """Return the nodes that `_flatten` flattened; they have no places, and were read without error once."""
    if type(tree) is str:
        return Made("scalar", tree, NOWHERE)
    if type(tree) is dict:
        found = [(Made("scalar", key, NOWHERE), _restore(value)) for key, value in tree.items()]
        return Made("mapping", found, NOWHERE)
    if tree and tree[0] is None:
        return Made("scalar", tree[1], NOWHERE, style='"')
    return Made("sequence", [_restore(value) for value in tree], NOWHERE)


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
