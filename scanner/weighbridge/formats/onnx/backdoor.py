"""A branch that an input throws: the shape of a backdoor that is built into a graph and not into its weights.

A trigger compares an input, before any weight has touched it, with a constant; what comes of that picks, near an
output, between the answer of the model and another one. Ordinary models compare inputs too, to mask them, so all of
this has to come together: the comparison sees the data and not the shape of an input; it is summed up or picked from,
not kept element by element; what it picks from has gone through weights; and few nodes lie between that and an output.
It is a reason to look at the graph, never proof.

Sources: HiddenLayer, ShadowLogic (2024); arXiv 2511.00664.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from weighbridge.facts import Fact
from weighbridge.formats.onnx.flow import Flow, Node
from weighbridge.formats.onnx.scene import Scene, text

if TYPE_CHECKING:
    from onnx import GraphProto

MAX_NODES: Final = 100_000  # of a graph that is looked at; following names takes 5 µs a node
NEAR: Final = 8  # nodes between the branch and an output of the graph
_COMPARES: Final = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_BRANCHES: Final = frozenset({"If", "Where", "Mul"})
_SHAPES: Final = frozenset({"Shape", "Size"})
# Where weights come in: whatever lies behind is the model's answer and no longer its input.
_WEIGHTED: Final = frozenset(
    {"MatMul", "Gemm", "Conv", "ConvTranspose", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
    | {"LSTM", "GRU", "RNN", "Attention", "Einsum", "LayerNormalization", "BatchNormalization", ""}
)
_SUMS_UP: Final = frozenset(
    {"ReduceMin", "ReduceMax", "ReduceSum", "ReduceProd", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare"}
    | {"ArgMax", "ArgMin", "Gather", "GatherND", "GatherElements", "Slice", "CumSum", "Mod", "BitShift", "NonZero"}
)

# What is known of a name: it carries data of an input, a comparison of such data with a constant, one that was
# summed up, or what came through weights.
_DATA, _COMPARED, _SUMMED, _TRIGGER, _ANSWER = 1, 2, 4, 8, 16


def check(scene: Scene, graph: GraphProto, flow: Flow) -> Iterator[Fact]:
    """Yield the branches of a model's graph that look like a trigger."""
    if not flow.operators & _COMPARES or not flow.operators & _BRANCHES or len(flow) > MAX_NODES:
        return
    constants = {text(tensor.name) for tensor in graph.initializer}
    colours = {text(value.name): _DATA for value in graph.input if text(value.name) not in constants}
    found = []
    nodes = list(flow.nodes())
    for node in nodes:
        colour = _colour(flow, node, colours)
        if node.op in _BRANCHES and _picks(node, colours):
            found.append(node)
            colour |= _ANSWER
        for name in node.outputs:
            colours[name] = colour
    if found:
        near = _near(nodes, {text(value.name) for value in graph.output})
        for node in found:
            if any(name in near for name in node.outputs):
                detail = f"{node.op} near an output depends on comparing an input with a constant"
                yield scene.anomaly("onnx-input-branch", node.offset, detail)


def _colour(flow: Flow, node: Node, colours: dict[str, int]) -> int:
    """Return what is known of the outputs of a node."""
    if node.op in _SHAPES:
        return 0
    seen = 0
    for name in _names(node):
        seen |= colours.get(name, 0)
    if node.op in _WEIGHTED or (node.op == "Gather" and flow.constant(node.inputs[0]) is not None):
        return _ANSWER if seen else 0
    if seen & _ANSWER:
        return _ANSWER
    if node.op in _SUMS_UP and seen & _DATA:
        seen |= _SUMMED
    if node.op in _COMPARES and seen & _DATA and any(flow.is_constant(name) for name in node.inputs):
        seen |= _COMPARED
    return seen | _TRIGGER if seen & _COMPARED and seen & _SUMMED else seen


def _picks(node: Node, colours: dict[str, int]) -> bool:
    """Tell whether a trigger decides what becomes of an answer of the model."""
    if node.op == "Mul":
        kinds = [colours.get(name, 0) for name in node.inputs]
        return any(kind & _TRIGGER and not kind & _ANSWER for kind in kinds) and any(kind & _ANSWER for kind in kinds)
    condition = colours.get(node.inputs[0], 0) if node.inputs else 0
    if node.op == "If":
        decided = condition & _COMPARED and not condition & _ANSWER
    else:
        decided = condition & _TRIGGER and not condition & _ANSWER
    return bool(decided) and any(colours.get(name, 0) & _ANSWER for name in list(_names(node))[1:])


def _names(node: Node) -> Iterator[str]:
    """Yield what a node takes: its inputs, and what the graphs in it take from around them."""
    yield from node.inputs
    if node.op in ("If", "Loop", "Scan"):
        for attribute in node.proto.attribute:
            if attribute.HasField("g"):
                for inner in attribute.g.node:
                    yield from map(text, inner.input)


def _near(nodes: list[Node], outputs: set[str]) -> set[str]:
    """Return the names from which an output is few nodes away."""
    makers = {name: node for node in nodes for name in node.outputs}
    near, edge = set(outputs), outputs
    for _ in range(NEAR):
        before = {makers[name].offset: makers[name] for name in edge if name in makers}
        edge = {name for node in before.values() for name in _names(node)} - near
        near |= edge
    return near
