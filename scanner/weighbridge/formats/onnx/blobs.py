"""Nodes that carry or name a model compiled for a device, which is native code as far as anybody can tell.

Sources: ONNX Runtime's docs/execution-providers/EP-Context-Design.md and ContribOperators.md (Snpe); NVIDIA's
security notes on TensorRT: serialized engines are executable artifacts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from weighbridge.facts import Fact, Gap
from weighbridge.formats.onnx.external import unsafe
from weighbridge.formats.onnx.messages import numbers
from weighbridge.formats.onnx.scene import Scene, shown, text
from weighbridge.formats.onnx.wire import Place

if TYPE_CHECKING:
    from onnx import AttributeProto, NodeProto

# The attribute that has the compiled model, and those that are paths of files.
_CARRIERS: Final = {
    ("com.microsoft", "EPContext"): ("ep_cache_context", ("onnx_model_filename",)),
    ("com.microsoft", "Snpe"): ("DLC", ()),
}
_EMBEDDED: Final = "embed_mode"  # 1, also when it is not there: the attribute is the model, not its path


def check(scene: Scene, node: NodeProto, place: Place) -> Iterator[Fact]:
    """Yield what a node carries or names, if it is one of these."""
    carrier = _CARRIERS.get((text(node.domain), text(node.op_type)))
    if carrier is None:
        return
    blob, paths = carrier
    attributes = {text(attribute.name): (index, attribute) for index, attribute in enumerate(node.attribute)}
    mode = attributes.get(_EMBEDDED)
    embedded = mode is None or mode[1].i != 0
    source = attributes.get("source")
    made_by = f", made by {shown(source[1].s)}" if source else ""
    if blob in attributes:
        yield from _carried(scene, node, place, *attributes[blob], embedded=embedded, made_by=made_by)
    elif node.op_type == "EPContext":
        detail = f"{text(node.op_type)} refers to a compiled model of another node{made_by}"
        yield scene.anomaly("onnx-native-blob", place.begin, detail)
    for name in paths:
        if name in attributes:
            yield from _path(scene, attributes[name][1].s, place)


def _carried(
    scene: Scene, node: NodeProto, place: Place, index: int, attribute: AttributeProto, *, embedded: bool, made_by: str
) -> Iterator[Fact]:
    inner = place.child(scene.reader, numbers("Node")["attribute"], index)
    spans = inner.left_out.get(numbers("Attribute")["s"], ())
    size = sum(span.size for span in spans) or len(attribute.s)
    if embedded:
        detail = f"{text(node.op_type)} carries a compiled model of {size} bytes{made_by}"
        yield scene.anomaly("onnx-native-blob", inner.begin, detail)
        reason = "onnx: a compiled model for one kind of device, which is not analysed"
        yield Gap(location=scene.at(inner.begin), reason=reason, size=size)
        return
    path = text(attribute.s)
    yield scene.anomaly("onnx-native-blob", inner.begin, f"{text(node.op_type)} loads {shown(path)}{made_by}")
    yield from _path(scene, attribute.s, inner)


def _path(scene: Scene, value: bytes, place: Place) -> Iterator[Fact]:
    reason = unsafe(text(value))
    if value and reason:
        yield scene.anomaly("onnx-external-path", place.begin, f"{shown(value)} is {reason}")
