"""What feeds what in one graph, and the constants that can be worked out without running it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple

from weighbridge.formats.onnx.operators import domain_of
from weighbridge.formats.onnx.scene import Scene, text
from weighbridge.formats.onnx.walker import signature
from weighbridge.formats.onnx.wire import Place, varint

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

Number = int | float
Value = tuple[Number, ...]

MAX_ELEMENTS: Final = 1024  # of a constant that is worked out: shapes and bounds have fewer
MAX_STEPS: Final = 32  # nodes between a constant and its use
_LARGEST: Final = 1 << 512  # numbers are exact; nothing that is worked out has to be larger
_UNPACK: Final = {1: "f", 6: "i", 7: "q", 9: "?", 11: "d"}
_OUTPUT: Final = 0x12


class Node(NamedTuple):
    """A node with the names that tell it from others like it, which have the same `proto` and its index, `kind`."""

    kind: int
    proto: NodeProto
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    offset: int


class Flow:
    """The nodes and constants of a graph, and of the graphs around it."""

    def __init__(
        self,
        scene: Scene,
        nodes: Sequence[NodeProto],
        place: Place,
        number: int,
        initializers: Sequence[TensorProto] = (),
        outer: Flow | None = None,
    ) -> None:
        self.scene = scene
        self.outer = outer
        self._protos = nodes
        self._ops = [_operator(node) for node in nodes]
        self._place = place
        self._number = number
        self._initializers = initializers
        self._constants: dict[str, TensorProto] | None = None
        self._makers: dict[str, Node] | None = None
        self._known: dict[str, Value | None] = {}

    @property
    def operators(self) -> frozenset[str]:
        """The names of the standard operators of the graph."""
        return frozenset(self._ops)

    def __len__(self) -> int:
        return len(self._place.order) or len(self._protos)

    def nodes(self, wanted: Callable[[str], bool] = lambda op: True) -> Iterator[Node]:
        """Yield the nodes of the wanted operators, in order; operators that are not standard have no name."""
        order = self._place.order
        if len(self._place.nodes) != len(self._protos):
            order = order[:0]
        chosen = [wanted(op) for op in self._ops]
        if not order:
            for index, proto in enumerate(self._protos):
                if chosen[index]:
                    place = self._place.node(self.scene.reader, self._number, index)
                    yield _node(index, proto, self._ops[index], place.begin)
            return
        starts = self._place.fields(self.scene.reader)[self._number]
        for start, index in zip(starts, order, strict=True):
            if chosen[index]:
                yield self._alike(index, start)

    def _alike(self, kind: int, start: int) -> Node:
        """Return a node that differs from another in names, which are read from the file."""
        reader, proto, op = self.scene.reader, self._protos[kind], self._ops[kind]
        size, begin = varint(reader, varint(reader, start, self._place.end)[1], self._place.end)
        data = reader.read(begin, size)
        if not signature(data):
            return _node(kind, proto, op, begin)
        names: tuple[list[str], list[str]] = ([], [])
        position = 0
        while position + 1 < len(data) and data[position] <= _OUTPUT:
            name = data[position + 2 : position + 2 + data[position + 1]]
            names[data[position] == _OUTPUT].append(name.decode("utf-8", "backslashreplace"))
            position += 2 + len(name)
        return Node(kind, proto, op, tuple(names[0]), tuple(names[1]), begin)

    def maker(self, name: str) -> Node | None:
        """Return the node of this graph whose output has a name, if it is one that can be worked out."""
        if self._makers is None:
            self._makers = {output: node for node in self.nodes(_RULES.__contains__) for output in node.outputs}
        return self._makers.get(name)

    def constant(self, name: str) -> TensorProto | None:
        """Return the initializer of this graph with a name."""
        if self._constants is None:
            self._constants = {text(tensor.name): tensor for tensor in self._initializers}
        return self._constants.get(name)

    def is_constant(self, name: str) -> bool:
        """Tell whether a name is an initializer or a constant, whatever its size."""
        maker = self.maker(name)
        return self.constant(name) is not None or (maker is not None and maker.op == "Constant")

    def value(self, name: str, steps: int = 0) -> Value | None:
        """Return the numbers behind a name, in order, None when they cannot be worked out or are many."""
        if not name or steps > MAX_STEPS:
            return None
        if name not in self._known:
            self._known[name] = None  # for a graph that goes round in circles
            self._known[name] = self._work_out(name, steps)
        return self._known[name]

    def _work_out(self, name: str, steps: int) -> Value | None:
        tensor = self.constant(name)
        if tensor is not None:
            return elements(tensor)
        node = self.maker(name)
        if node is None:
            return None if self.outer is None else self.outer.value(name, steps + 1)
        if node.op == "Constant":
            return _constant(node.proto)
        values = [self.value(one, steps + 1) for one in node.inputs[: _TAKEN.get(node.op)]]
        if not values or any(value is None for value in values):
            return None
        found = _RULES[node.op]([value for value in values if value is not None])
        return found if found is None or _is_small(found) else None


def _is_small(value: Value) -> bool:
    return len(value) <= MAX_ELEMENTS and all(-_LARGEST < number < _LARGEST for number in value)


def _operator(node: NodeProto) -> str:
    return text(node.op_type) if domain_of(text(node.domain)) == "" else ""


def _node(kind: int, proto: NodeProto, op: str, offset: int) -> Node:
    return Node(kind, proto, op, tuple(map(text, proto.input)), tuple(map(text, proto.output)), offset)


def elements(tensor: TensorProto) -> Value | None:
    """Return the numbers of a small tensor whose data are in the copy."""
    code = _UNPACK.get(tensor.data_type)
    if code is None or tensor.data_location or len(tensor.dims) > 8 or any(dim < 0 for dim in tensor.dims):
        return None
    count = prod(tensor.dims)
    if count > MAX_ELEMENTS:
        return None
    if tensor.raw_data:
        if len(tensor.raw_data) != count * struct.calcsize(f"<{code}"):
            return None
        return struct.unpack(f"<{count}{code}", tensor.raw_data)
    fields = (tensor.int64_data, tensor.int32_data, tensor.float_data, tensor.double_data)
    return next((tuple(field) for field in fields if len(field) == count), None)


def _constant(node: NodeProto) -> Value | None:
    for attribute in node.attribute:
        match text(attribute.name):
            case "value":
                return elements(attribute.t)
            case "value_int":
                return (attribute.i,)
            case "value_ints":
                return tuple(attribute.ints[:MAX_ELEMENTS])
            case "value_float":
                return (attribute.f,)
            case "value_floats":
                return tuple(attribute.floats[:MAX_ELEMENTS])
    return None


def _same(values: list[Value]) -> Value | None:
    return values[0]


def _joined(values: list[Value]) -> Value | None:
    if sum(map(len, values)) > MAX_ELEMENTS:
        return None
    return tuple(number for value in values for number in value)


def _each(combine: Callable[[Number, Number], Number]) -> Callable[[list[Value]], Value | None]:
    def apply(values: list[Value]) -> Value | None:
        """Combine two lists of numbers; one number goes with every one of the other."""
        if len(values) != 2 or not values[0] or not values[1]:
            return None
        left, right = values
        if len(left) != len(right) and 1 not in (len(left), len(right)):
            return None
        count = max(len(left), len(right))
        pairs = zip(left * (count // len(left)), right * (count // len(right)), strict=True)
        return tuple(combine(a, b) for a, b in pairs)

    return apply


# Operators whose result is worked out from numbers alone; the rest of the shape does not matter here.
_RULES: Final[dict[str, Callable[[list[Value]], Value | None]]] = {
    "Constant": _same,
    "Identity": _same,
    "Cast": _same,
    "Reshape": _same,
    "Squeeze": _same,
    "Unsqueeze": _same,
    "Flatten": _same,
    "Concat": _joined,
    "Mul": _each(lambda a, b: a * b),
    "Add": _each(lambda a, b: a + b),
    "Sub": _each(lambda a, b: a - b),
}
_TAKEN: Final = {"Reshape": 1, "Squeeze": 1, "Unsqueeze": 1}  # inputs that are data
