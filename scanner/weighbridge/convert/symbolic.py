"""What the values of the pickle machine are, as a tree of names: groups, modules, tensors, scalars, objects.

The symbolic result of a stream is walked once and becomes nodes. Nothing here knows a framework's names beyond those
that torch and Python define themselves: dicts and their like, `nn.Module`'s three dicts of its parts, and what
`Optimizer.state_dict()` returns.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from enum import Enum, auto
from typing import Final

from weighbridge.convert.numpy_scalars import number
from weighbridge.convert.plan import Scalar
from weighbridge.convert.torch_tensors import Around, Leaf, Unfit, View, tensor
from weighbridge.errors import LimitError
from weighbridge.formats.pickle.recorder import PLAIN
from weighbridge.location import Location
from weighbridge.reader import Reader
from weighbridge.symbols import (
    ELISIONS,
    Call,
    Dict,
    Event,
    Global,
    Items,
    Opaque,
    PersistentId,
    Set,
    Span,
    State,
    Value,
    owner,
)

NODES_LIMIT: Final = 2_000_000  # of one stream; a shared container counts at each of its names
DEPTH_LIMIT: Final = 64  # containers inside containers; models have a dozen
TEXT_LIMIT: Final = 1 << 20  # bytes of a text that the record keeps
LIST_LIMIT: Final = 100_000  # numbers of a list that the record keeps

_MAPPINGS: Final = frozenset(
    {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict"}
)
# What makes parts of tensors, arrays, modules and dicts, which are nowhere in a tree themselves.
_MAKERS: Final = (
    "torch._utils.",
    "torch._tensor.",
    "torch.nn.",
    "torch.Size",
    "torch.device",
    "torch.dtype",
    "numpy.dtype",
    "numpy._core.",
    "numpy.ndarray",
    "_codecs.encode",
    "builtins.set",
    "builtins.frozenset",
    "copyreg._reconstructor",
)
_PARTS: Final = ("_parameters", "_buffers", "_modules")


class Kind(Enum):
    """What a node is."""

    MAPPING = auto()
    LIST = auto()
    MODULE = auto()  # an nn.Module: its children are its parameters, buffers and modules
    OBJECT = auto()  # any other object: its children are its attributes and items
    OPTIMIZER = auto()
    TENSOR = auto()
    SCALAR = auto()
    OPAQUE = auto()


class Node:
    """A value with a name; `tensors` counts those at and below it. Slotted because a checkpoint has many of these."""

    __slots__ = ("children", "content", "key", "kind", "tensors", "what")

    def __init__(self, key: str | None, kind: Kind, what: str) -> None:
        self.key = key  # None when the container's key is neither a text nor an integer
        self.kind = kind
        self.what = what
        self.children: list[Node] = []
        self.content: View | Unfit | Scalar = None
        self.tensors = 0


class Walker:
    """Makes nodes of the values of one stream, whose `events` say how they were changed after they were made.

    `reader` has the stream's bytes, for texts that were too long to keep.
    """

    def __init__(self, events: list[Event], reader: Reader, leaf: Leaf | None = None) -> None:
        self._reader = reader
        self._items: dict[int, list[Items]] = {}
        self._states: dict[int, list[Value]] = {}
        for event in events:
            if type(event) is Items:
                self._items.setdefault(id(event.target), []).append(event)
            elif type(event) is State:
                self._states.setdefault(id(event.target), []).append(event.state)
        self.around = Around(changed=frozenset(self._items), states=self._states, leaf=leaf)
        self._calls = [event for event in events if type(event) is Call]
        self._found: set[int] = set()
        self._path: set[int] = set()
        self._objects: set[int] = set()
        self._count = 0

    def walk(self, value: Value) -> Node:
        """Return the tree of a stream's result; raise LimitError when it is too large."""
        return self._node("", value, 0)

    def unseen(self) -> list[str]:
        """Return the names of what the stream calls besides, whose results are not in the tree that was walked.

        What torch's and Python's own containers and tensors are made with does not count.
        """
        names = (call.subject for call in self._calls if id(call) not in self._found)
        return list(dict.fromkeys(name for name in names if name not in _MAPPINGS and not name.startswith(_MAKERS)))

    def _node(self, key: str | None, value: Value, depth: int) -> Node:
        self._count += 1
        if self._count > NODES_LIMIT:
            raise LimitError(self._reader.origin, f"the object has more than {NODES_LIMIT} values")
        self._found.add(id(value))
        found = tensor(value, self.around)
        if found is not None:
            node = Node(key, Kind.TENSOR, "tensor")
            node.content, node.tensors = found, 1
            return node
        known, scalar = self._scalar(value)
        if known:
            node = Node(key, Kind.SCALAR, "value")
            node.content = scalar
            return node
        if id(value) in self._path:
            return Node(key, Kind.OPAQUE, "a reference to what holds it")
        if depth == DEPTH_LIMIT:
            return Node(key, Kind.OPAQUE, f"something inside {DEPTH_LIMIT} containers")
        self._path.add(id(value))
        node = self._container(key, value, depth)
        self._path.discard(id(value))
        node.tensors = sum(child.tensors for child in node.children)
        return node

    def _container(self, key: str | None, value: Value, depth: int) -> Node:
        flat = self.mapping(value)
        if flat is not None:
            names = set(flat[::2]) if all(isinstance(name, str) for name in flat[::2]) else set()
            kind = Kind.OPTIMIZER if names >= {"state", "param_groups"} else Kind.MAPPING
            return self._fill(Node(key, kind, "optimizer state" if kind is Kind.OPTIMIZER else "dict"), flat, depth)
        if type(value) is list or type(value) is tuple:
            if len(value) > LIST_LIMIT and PLAIN.issuperset(map(type, value)):
                return Node(key, Kind.OPAQUE, f"a list of {len(value)} numbers or texts, more than the record keeps")
            flat = [part for pair in enumerate(value) for part in pair]
            return self._fill(Node(key, Kind.LIST, "list"), flat, depth)
        if isinstance(value, Call):
            return self._object(key, value, depth)
        return Node(key, Kind.OPAQUE, _describe(value))

    def _fill(self, node: Node, flat: list[Value], depth: int) -> Node:
        for name, value in zip(flat[::2], flat[1::2], strict=True):
            node.children.append(self._node(key_text(name), value, depth + 1))
        return node

    def mapping(self, value: Value) -> list[Value] | None:
        """Return keys and values of a dict or of an object of one of its kinds, None for anything else."""
        if type(value) is Dict:
            return None if id(value) in self._states else value
        match value:
            case Call(callable=Global(dotted=name), arguments=tuple(arguments)) if name in _MAPPINGS:
                flat = _pairs(arguments)
                changes = self._items.get(id(value), [])
                if flat is not None and all(change.opcode.startswith("SETITEM") for change in changes):
                    return [*flat, *(part for change in changes for part in change.values)]
        return None

    def _object(self, key: str | None, value: Call, depth: int) -> Node:
        """An object: a module if it has a module's three dicts, else what attributes and items it has."""
        name = _class(value)
        if id(value) in self._objects:
            return Node(key, Kind.OPAQUE, f"the same {name} again")
        attributes = self._attributes(value)
        parts = {part: self.mapping(attributes.get(part)) for part in _PARTS}
        if all(part is not None for part in parts.values()):
            return self._module(key, name, parts, attributes, depth)
        self._objects.add(id(value))
        optimizer = {"state", "param_groups"} <= attributes.keys()
        node = Node(key, Kind.OPTIMIZER if optimizer else Kind.OBJECT, name)
        self._fill(node, [part for pair in attributes.items() for part in pair], depth)
        for change in self._items.get(id(value), []):
            if change.opcode.startswith("SETITEM"):
                self._fill(node, change.values, depth)
        if not node.children:
            node.kind = Kind.OPAQUE
        return node

    def _attributes(self, value: Call) -> dict[str, Value]:
        """Return the attributes that states give an object, those of a graph module from its only argument."""
        found: dict[str, Value] = {}
        states = self._states.get(id(value), [])
        if not states and isinstance(value.arguments, tuple):
            states = [part for part in value.arguments[:1] if type(part) is Dict]
        for state in states:
            for part in state if type(state) is tuple else (state,):  # (__dict__, slots)
                if type(part) is Dict:
                    found |= {name: one for name, one in zip(part[::2], part[1::2], strict=True) if type(name) is str}
        return found

    def _module(
        self, key: str | None, name: str, parts: dict[str, list[Value] | None], attributes: dict[str, Value], depth: int
    ) -> Node:
        """A module with what its `state_dict()` has: no buffers that are not kept, nothing that is None."""
        node = Node(key, Kind.MODULE, name)
        left_out = _texts(attributes.get("_non_persistent_buffers_set"))
        for part, flat in parts.items():
            kept: list[Value] = []
            for one, value in zip((flat or [])[::2], (flat or [])[1::2], strict=True):
                if value is not None and not (part == "_buffers" and type(one) is str and one in left_out):
                    kept += (one, value)
            self._fill(node, kept, depth)
        return node

    def _scalar(self, value: Value) -> tuple[bool, Scalar]:
        """Return whether a value is plain data that JSON holds, and it."""
        kind = type(value)
        if value is None or kind is bool or kind is str or kind is int:
            return True, value  # type: ignore[return-value]
        if isinstance(value, float) and kind not in ELISIONS:
            return True, value if value - value == 0 else str(value)
        if isinstance(value, Call) and (found := self._number(value)) is not None:
            return True, found
        match value:
            case Span(kind="str", size=size) if size <= TEXT_LIMIT:
                return True, str(self._reader.read(value.offset, value.size), "utf-8", "replace")
            case Global(module="torch", name=name):
                return True, f"torch.{name}"
            case Call(callable=Global(dotted="torch.device"), arguments=(str(device), *index)):
                return True, ":".join([device, *(str(one) for one in index if isinstance(one, int))])
            case Call(callable=Global(dotted="torch.Size"), arguments=(list() | tuple() as sides,)):
                return self._scalars(sides)
            case list() | tuple() if kind is list or kind is tuple:
                return self._scalars(value)
        return False, None

    def _number(self, value: Call) -> Scalar:
        """Return a number of numpy's, None when a value is none, or its type was changed on the way."""
        found, parts = number(value), value.arguments
        if found is None or id(value) in self._items or not isinstance(parts, tuple):
            return None
        if any(len(self._states.get(id(part), ())) > 1 for part in parts):
            return None
        return str(found) if isinstance(found, float) and found - found != 0 else found

    def _scalars(self, values: list[Value] | tuple[Value, ...]) -> tuple[bool, Scalar]:
        """Return whether a list holds nothing but numbers, texts and the like, and it."""
        if not values or len(values) > LIST_LIMIT:
            return not values, []
        found: list[Scalar] = []
        for value in values:
            known, scalar = (False, None) if isinstance(value, list | tuple) else self._scalar(value)
            if not known:
                return False, None
            found.append(scalar)
        return True, found


def key_text(key: Value) -> str | None:
    """Return the name that a dict's key stands for, None when it has none."""
    return str(key) if type(key) is str or type(key) is int else None


def _pairs(arguments: tuple[Value, ...]) -> list[Value] | None:
    """Return keys and values that a dict is made from: a list of pairs, a dict, or nothing but a factory."""
    match arguments:
        case () | (Global(),):
            return []
        case (Dict() as flat,):
            return list(flat)
        case (list(pairs),):
            parts = [part for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2 for part in pair]
            return parts if len(parts) == 2 * len(pairs) else None
    return None


def _texts(value: Value) -> frozenset[str]:
    """Return the texts of a set, whichever protocol wrote it."""
    match value:
        case Call(callable=Global(dotted="builtins.set" | "builtins.frozenset"), arguments=(list() as members,)):
            return frozenset(one for one in members if type(one) is str)
        case Set():
            return frozenset(one for one in value if type(one) is str)
    return frozenset()


def _class(value: Call) -> str:
    """Return the dotted name of what made an object, of its class when `copyreg` made it."""
    match value:
        case Call(callable=Global(dotted="copyreg._reconstructor"), arguments=(Global(dotted=name), *_)):
            return name
        # Streams before torch 1.6 keep the source of a module's class beside its name.
        case Call(callable=PersistentId(value=("module" | Global(), *rest) as kind)):
            return next((one.dotted for one in (*kind[:1], *rest[:1]) if isinstance(one, Global)), owner(value))
    return owner(value)


def _describe(value: Value) -> str:
    match value:
        case Global():
            return value.dotted
        case Span():
            return f"{value.kind} of {value.size} bytes"
        case bytes():
            return f"bytes of {len(value)} bytes"
        case PersistentId():
            return "a storage without a tensor"
        case Opaque():
            return value.reason
    return owner(value)


def places(node: Node, without: Container[int] = ()) -> Iterator[tuple[str, Node]]:
    """Yield every node with its path, containers before what is in them; nothing in those of these identities."""
    waiting = [("", node)]
    while waiting:
        path, node = waiting.pop()
        yield path, node
        if id(node) not in without:
            waiting += [(join(path, child.key), child) for child in reversed(node.children)]


def join(path: str, key: str | None) -> str:
    """Return the path of a child."""
    text = "?" if key is None else key
    return f"{path}.{text}" if path else text


def where(node: Node, otherwise: Location) -> Location:
    """Return where the stream makes a tensor."""
    content = node.content
    return content.location if isinstance(content, View | Unfit) else otherwise
