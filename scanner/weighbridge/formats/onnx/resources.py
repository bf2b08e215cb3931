"""Graphs that ask for endless time or memory: the numbers that decide it are constants of the graph.

A shape that is computed from an input is not followed; whoever chooses the input chooses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, prod
from typing import TYPE_CHECKING, Final

from weighbridge.facts import Fact
from weighbridge.formats.onnx.flow import Flow, Node, Value, elements
from weighbridge.formats.onnx.scene import Scene, text

if TYPE_CHECKING:
    from onnx import AttributeProto, TensorProto

MAX_TENSOR: Final = 1 << 32  # elements of a tensor; a mask for 65 536 tokens has as many
MAX_ROUNDS: Final = 1 << 30  # of a loop that nothing ends but its count
_SHAPED: Final = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "OneHot": 1, "Upsample": 1}  # the input with the shape
_WINDOWS: Final = frozenset({"HannWindow", "HammingWindow", "BlackmanWindow"})
_RANDOM: Final = frozenset({"RandomNormal", "RandomUniform"})
MAX_PASSED_ON: Final = 1000  # nodes that do nothing but hand a condition on
_TRUE: Final = "true"
_THE_SAME: Final = "the same"
_PASSED_ON: Final = frozenset({"Identity", "Cast"})
OPERATORS: Final = frozenset({*_SHAPED, *_WINDOWS, *_RANDOM, "Range", "Resize", "Pad", "Loop"})


def check(scene: Scene, flow: Flow) -> Iterator[Fact]:
    """Yield the nodes of a graph that make tensors or loops too large for any machine."""
    if not flow.operators & OPERATORS:
        return
    conditions: dict[int, str] = {}
    for node in flow.nodes(OPERATORS.__contains__):
        if node.op == "Loop":
            if node.kind not in conditions:
                conditions[node.kind] = _condition(node)
            reason = _endless(flow, node, conditions[node.kind])
            if reason:
                yield scene.anomaly("onnx-resource-loop", node.offset, reason)
            continue
        count = _elements(flow, node)
        if count is not None and count > MAX_TENSOR:
            detail = f"{node.op} makes a tensor of {_magnitude(count)} elements"
            yield scene.anomaly("onnx-resource-shape", node.offset, detail)


def _elements(flow: Flow, node: Node) -> int | None:
    """Return how many elements a node makes at least, None when that cannot be told."""
    if node.op in _RANDOM:
        return _product(tuple(_attribute(node, "shape").ints)) if _has(node, "shape") else None
    if node.op == "Range":
        return _range(flow, node)
    if node.op == "Resize":
        return _product(_input(flow, node, 3) or _input(flow, node, 2))
    if node.op == "Pad":
        pads = _input(flow, node, 1)
        return None if pads is None else max(map(int, pads), default=0)
    if node.op in _WINDOWS:
        return _product(_input(flow, node, 0))
    if node.op == "Upsample" and len(node.inputs) < 2:
        return None
    return _product(_input(flow, node, _SHAPED[node.op]))


def _input(flow: Flow, node: Node, index: int) -> Value | None:
    value = flow.value(node.inputs[index]) if index < len(node.inputs) else None
    return value if value is not None and all(isfinite(number) for number in value) else None


def _product(shape: Value | None) -> int | None:
    """Multiply the positive numbers of a shape; 0 and -1 stand for what is known at run time."""
    return None if shape is None else int(prod(number for number in shape if number > 0))


def _range(flow: Flow, node: Node) -> int | None:
    bounds = [_input(flow, node, index) for index in range(3)]
    numbers = [bound[0] for bound in bounds if bound is not None and len(bound) == 1]
    if len(numbers) != 3 or numbers[2] == 0:
        return None
    return max(0, int((numbers[1] - numbers[0]) / numbers[2]))


def _endless(flow: Flow, node: Node, condition: str) -> str:
    """Return why a loop ends after too many rounds or never, nothing when its body can end it."""
    rounds = _input(flow, node, 0)
    if node.inputs[:1] and node.inputs[0] and rounds is None:
        return ""  # as many as an input says
    if rounds is not None and (len(rounds) != 1 or rounds[0] <= MAX_ROUNDS):
        return ""
    if not condition or (condition == _THE_SAME and not _starts(flow, node)):
        return ""
    count = "for ever" if rounds is None else f"{int(rounds[0])} rounds"
    return f"Loop goes on {count}, and its body does not end it"


def _condition(node: Node) -> str:
    """Return whether the condition that a body hands on is always true or the one it got; nothing if it is neither."""
    body = _attribute(node, "body").g if _has(node, "body") else None
    if body is None or not body.output or len(body.input) < 2:
        return ""
    makers = {text(output): inner for inner in body.node for output in inner.output}
    constants = {text(tensor.name): tensor for tensor in body.initializer}
    name = text(body.output[0].name)
    for _ in range(MAX_PASSED_ON):
        inner = makers.get(name)
        if name == text(body.input[1].name):
            return _THE_SAME
        if name in constants:
            return _TRUE if _is_true(constants[name]) else ""
        if inner is None or inner.domain not in ("", "ai.onnx"):
            return ""
        if inner.op_type == "Constant":
            return _TRUE if any(_is_true(one.t) for one in inner.attribute if one.HasField("t")) else ""
        if inner.op_type not in _PASSED_ON or not inner.input:
            return ""
        name = text(inner.input[0])
    return ""


def _starts(flow: Flow, node: Node) -> bool:
    """Tell whether the condition that a loop begins with lets it begin; one that is left out does."""
    if len(node.inputs) < 2 or not node.inputs[1]:
        return True
    value = flow.value(node.inputs[1])
    return value is None or value == (True,)


def _is_true(tensor: TensorProto) -> bool:
    return elements(tensor) == (True,)


def _has(node: Node, name: str) -> bool:
    return any(attribute.name == name for attribute in node.proto.attribute)


def _attribute(node: Node, name: str) -> AttributeProto:
    found: AttributeProto = next(attribute for attribute in node.proto.attribute if attribute.name == name)
    return found


def _magnitude(count: int) -> str:
    return str(count) if count < 1 << 64 else f"over 2^{count.bit_length() - 1}"
