"""The graphs of a model, those inside of nodes and functions too: their nodes, attributes and tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from weighbridge.facts import Fact, Inert, Metadata
from weighbridge.formats.onnx import backdoor, blobs, content, resources, tensors
from weighbridge.formats.onnx.external import Ranges
from weighbridge.formats.onnx.flow import Flow
from weighbridge.formats.onnx.messages import field_name, numbers
from weighbridge.formats.onnx.operators import Operators, domain_of
from weighbridge.formats.onnx.scene import Scene, text
from weighbridge.formats.onnx.wire import Place, Span

if TYPE_CHECKING:
    from onnx import (
        AttributeProto,
        FunctionProto,
        GraphProto,
        NodeProto,
        SparseTensorProto,
        StringStringEntryProto,
        TensorProto,
        TrainingInfoProto,
        ValueInfoProto,
    )

Key = tuple[str, str, str]
_TIME: Final = 1 << 12  # messages between two looks at the clock
_NUMBERS: Final = frozenset({"floats", "ints"})
_BYTES: Final = frozenset({"s", "strings"})
VALUE_LIMIT: Final = 4096  # characters of a text that a fact repeats

# The numbers and lists of numbers of an attribute; what else it can have is looked at whatever its type says.
_GRAPH: Final = numbers("Graph")
_FUNCTION: Final = numbers("Function")
_NODE: Final = numbers("Node")
_ATTRIBUTE: Final = numbers("Attribute")
_SPARSE: Final = numbers("Sparse")


class Calls:
    """How often a graph or the body of a function uses each operator."""

    def __init__(self) -> None:
        self.counts: dict[Key, int] = {}

    def add(self, key: Key, count: int) -> None:
        """Count nodes."""
        self.counts[key] = self.counts.get(key, 0) + count


class Scope(NamedTuple):
    """What surrounds nodes: the operator sets imported, the count of calls, the graph, and how often it is there."""

    versions: Mapping[str, int]
    calls: Calls
    flow: Flow | None = None
    times: int = 1


class Visit:
    """The visit of the graphs in the parsed copy of a model: one for all of them."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.operators = Operators()
        self.ranges = Ranges()
        self.keys: set[str] = set()
        self._count = 0

    def graph(self, graph: GraphProto, place: Place, scope: Scope, *, main: bool = False) -> Iterator[Fact]:
        """Yield the facts of a graph; `main` says that it is what the model computes and not a part of that."""
        flow = Flow(self.scene, graph.node, place, _GRAPH["node"], graph.initializer, scope.flow)
        yield from self._nodes(graph.node, place, _GRAPH["node"], scope._replace(flow=flow))
        for index, tensor in enumerate(graph.initializer):
            inner = place.child(self.scene.reader, _GRAPH["initializer"], index)
            yield from self._tensor(tensor, inner, listed=True)
        for index, sparse in enumerate(graph.sparse_initializer):
            inner = place.child(self.scene.reader, _GRAPH["sparse_initializer"], index)
            yield from self._sparse(sparse, inner, listed=True)
        yield from resources.check(self.scene, flow)
        if main:
            yield from backdoor.check(self.scene, graph, flow)
        yield from self._described(graph, place)
        for name in ("input", "output", "value_info"):
            yield from self._values_described(getattr(graph, name), place, name)

    def function(self, function: FunctionProto, place: Place, scope: Scope) -> Iterator[Fact]:
        """Yield the facts of a function's body, which imports operators itself."""
        own = {domain_of(text(one.domain)): one.version for one in function.opset_import}
        flow = Flow(self.scene, function.node, place, _FUNCTION["node"])
        scope = scope._replace(versions={**scope.versions, **own}, flow=flow)
        yield from self._nodes(function.node, place, _FUNCTION["node"], scope)
        for index, attribute in enumerate(function.attribute_proto):
            inner = place.child(self.scene.reader, _FUNCTION["attribute_proto"], index)
            yield from self.attribute(attribute, inner, scope)
        yield from resources.check(self.scene, flow)
        yield from self._described(function, place)

    def training(self, training: TrainingInfoProto, place: Place, scope: Scope) -> Iterator[Fact]:
        """Yield the facts of the graphs that train a model."""
        for name, graph in (("initialization", training.initialization), ("algorithm", training.algorithm)):
            if training.HasField(name):
                inner = place.child(self.scene.reader, numbers("Training")[name])
                yield from self.graph(graph, inner, scope)

    def _nodes(self, nodes: Sequence[NodeProto], place: Place, number: int, scope: Scope) -> Iterator[Fact]:
        """Yield the facts of nodes; alike ones are there once, and counted."""
        operators = self.operators
        seen = place.nodes if len(place.nodes) == len(nodes) else ()  # parts of one message, walked and not
        for index, node in enumerate(nodes):
            count = scope.times * seen[index].count if seen else scope.times
            domain, name = domain_of(text(node.domain)), text(node.op_type)
            scope.calls.add((domain, name, text(node.overload)), count)
            where: Place | None = None
            if operators.add(domain, name, count):
                where = place.node(self.scene.reader, number, index)
                operators.place(domain, name, where.begin, scope.versions.get(domain, 0))
            walked = bool(seen) and seen[index].place is not None
            if node.attribute or node.metadata_props or node.doc_string or walked:
                where = where or place.node(self.scene.reader, number, index)
                yield from self._node(node, where, scope._replace(times=count))
            self._tick(place)

    def _node(self, node: NodeProto, place: Place, scope: Scope) -> Iterator[Fact]:
        for index, attribute in enumerate(node.attribute):
            inner = place.child(self.scene.reader, _NODE["attribute"], index)
            yield from self.attribute(attribute, inner, scope)
        yield from blobs.check(self.scene, node, place)
        yield from self._described(node, place)

    def _tick(self, place: Place) -> None:
        """Count a message, and look at the clock once in a while."""
        self._count += 1
        if self._count % _TIME == 0:
            self.scene.context.budget.check_time(self.scene.at(place.begin))

    def _described(self, message: NodeProto | GraphProto | FunctionProto, place: Place) -> Iterator[Fact]:
        """Look at what people read of a message, and account for what was left out of it."""
        yield from self.text(message.doc_string, place, "doc_string")
        yield from self.entries(message.metadata_props, place, "metadata_props")
        yield from self._left_out(place)

    def _values_described(self, values: Sequence[ValueInfoProto], place: Place, name: str) -> Iterator[Fact]:
        for index, value in enumerate(values):
            if value.doc_string or value.metadata_props:
                inner = place.child(self.scene.reader, _GRAPH[name], index)
                yield from self.text(value.doc_string, inner, "doc_string")
                yield from self.entries(value.metadata_props, inner, "metadata_props")

    def attribute(self, attribute: AttributeProto, place: Place, scope: Scope) -> Iterator[Fact]:
        """Yield what an attribute holds, whatever its type says that it is."""
        self._tick(place)
        reader = self.scene.reader
        if attribute.HasField("g"):
            yield from self.graph(attribute.g, place.child(reader, _ATTRIBUTE["g"]), scope)
        for index, graph in enumerate(attribute.graphs):
            yield from self.graph(graph, place.child(reader, _ATTRIBUTE["graphs"], index), scope)
        if attribute.HasField("t"):
            inner = place.child(reader, _ATTRIBUTE["t"])
            yield from self._tensor(attribute.t, inner, listed=False)
        for index, tensor in enumerate(attribute.tensors):
            inner = place.child(reader, _ATTRIBUTE["tensors"], index)
            yield from self._tensor(tensor, inner, listed=False)
        if attribute.HasField("sparse_tensor"):
            yield from self._sparse(attribute.sparse_tensor, place.child(reader, _ATTRIBUTE["sparse_tensor"]))
        for index, sparse in enumerate(attribute.sparse_tensors):
            yield from self._sparse(sparse, place.child(reader, _ATTRIBUTE["sparse_tensors"], index))
        yield from self._values(attribute, place)

    def _values(self, attribute: AttributeProto, place: Place) -> Iterator[Fact]:
        """Look at the texts and the type of an attribute."""
        if attribute.s:
            yield from content.texts(self.scene, [attribute.s], self._locate(place, _ATTRIBUTE["s"]), "attribute")
        if attribute.strings:
            locate = self._locate(place, _ATTRIBUTE["strings"])
            yield from content.texts(self.scene, attribute.strings, locate, "attribute")
        if attribute.doc_string:
            yield from self.text(attribute.doc_string, place, "doc_string")
        if place.left_out:
            yield from self._left_out(place)

    def _left_out(self, place: Place) -> Iterator[Fact]:
        """Account for what was left out of a message other than a tensor."""
        for number, spans in place.left_out.items():
            name = field_name(place.kind, number)
            for span in spans:
                if name in _NUMBERS:
                    yield Inert(location=self.scene.at(span.offset), size=span.size, reason="numbers of an attribute")
                    continue
                if name in _BYTES:
                    yield from content.opaque(self.scene, span.size, span.offset, name)

    def _tensor(self, tensor: TensorProto, place: Place, *, listed: bool) -> Iterator[Fact]:
        self._tick(place)
        yield from tensors.check(self.scene, tensor, place, self.ranges, listed=listed)
        if tensor.doc_string or tensor.metadata_props:
            yield from self.text(tensor.doc_string, place, "doc_string")
            yield from self.entries(tensor.metadata_props, place, "metadata_props")

    def _sparse(self, sparse: SparseTensorProto, place: Place, *, listed: bool = False) -> Iterator[Fact]:
        for name, tensor in (("values", sparse.values), ("indices", sparse.indices)):
            if sparse.HasField(name):
                inner = place.child(self.scene.reader, _SPARSE[name])
                yield from self._tensor(tensor, inner, listed=listed)

    def text(self, value: str | bytes, place: Place, name: str) -> Iterator[Fact]:
        """Look at a text that people read: a program in it is reported."""
        if value:
            yield from content.texts(self.scene, [value], self._locate(place, numbers(place.kind).get(name, 0)), name)

    def entries(self, entries: Sequence[StringStringEntryProto], place: Place, name: str) -> Iterator[Fact]:
        """Yield keys and values of metadata: each key once, for many writers say the same of every node."""
        for index, entry in enumerate(entries):
            self._tick(place)
            key, inner = text(entry.key), place.child(self.scene.reader, numbers(place.kind).get(name, 0), index)
            yield from content.texts(self.scene, [entry.key], self._locate(inner, 1), "metadata")
            yield from content.texts(self.scene, [entry.value], self._locate(inner, 2), "metadata")
            if key not in self.keys:
                self.keys.add(key)
                yield Metadata(location=self.scene.at(inner.begin), key=key, value=bounded(entry.value))

    def _locate(self, place: Place, number: int) -> Callable[[int], Span | None]:
        return lambda index: place.content(self.scene.reader, number, index)


def bounded(value: str | bytes) -> str:
    """Return a text as a fact repeats it."""
    found = text(value)
    return found if len(found) <= VALUE_LIMIT else found[:VALUE_LIMIT] + "…"
