"""From the bytes of a model to its facts.

1. Walk the wire format, leaving out what is large; the copy is what protobuf's library parses.
2. Compare the copy with what the library writes. If they differ, a message that was copied whole has a field that is
   unknown, doubled or oddly written: walk again and look at every field.
3. Visit every graph and function.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Anomaly, Fact, Gap, Member
from weighbridge.formats.base import Context
from weighbridge.formats.onnx import content, functions, library, metadata
from weighbridge.formats.onnx.graphs import Calls, Scope, Visit
from weighbridge.formats.onnx.messages import numbers
from weighbridge.formats.onnx.operators import domain_of
from weighbridge.formats.onnx.scene import Scene, text
from weighbridge.formats.onnx.walker import Walk
from weighbridge.reader import Reader

if TYPE_CHECKING:
    from onnx import ModelProto

# The library makes an object of up to 110 bytes of a message of 2. Messages of up to 8 bytes have their length as
# one byte below 9, others take at least 11 bytes: this bounds the memory of a copy that is made of nothing else.
MAX_SHORT: Final = 8_000_000
_MODEL: Final = numbers("Model")
_SHORT_BYTES: Final = bytes(range(9))


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the facts of a model.

    Raises ArtifactError when the bytes are not a model, LimitError when its structure is too large.
    """
    walk, model = _read(reader, context)
    scene = Scene(reader=reader, context=context, walk=walk)
    yield from walk.anomalies
    yield from _unknown(scene)
    for name, span in walk.texts:
        yield from content.span(scene, span, name)
    yield from _trailing(scene)
    visit = Visit(scene)
    yield from metadata.facts(scene, model, walk.root, visit)
    yield from _graphs(scene, model, visit)


def _read(reader: Reader, context: Context) -> tuple[Walk, ModelProto]:
    walk = Walk(reader, context.budget, thorough=False)
    model = _decode(reader, walk.copy)
    if model is None or not _is_canonical(model, walk.copy):
        walk = Walk(reader, context.budget, thorough=True)
        model = _decode(reader, walk.copy)
    if model is None:
        raise ArtifactError(reader.origin, "protobuf's library cannot parse it")
    return walk, model


def _decode(reader: Reader, copy: bytes) -> ModelProto | None:
    short = len(copy) - len(copy.translate(None, _SHORT_BYTES))
    if short > MAX_SHORT:
        raise LimitError(reader.origin, f"over {MAX_SHORT} short fields")
    return library.decode(copy)


def _is_canonical(model: ModelProto, copy: bytes) -> bool:
    """Tell whether the library knows every field of the copy and writes it the same."""
    model.DiscardUnknownFields()
    written: bytes = model.SerializeToString()
    return written == copy


def _unknown(scene: Scene) -> Iterator[Fact]:
    """Account for the fields that the format does not have: nobody can say what they are for."""
    walk = scene.walk
    for span in walk.unknowns:
        yield from content.span(scene, span, "unknown field")
    if walk.unknown_size:
        first = walk.unknowns[0]
        reason = "onnx: fields that the format does not have"
        yield Gap(location=scene.at(first.offset), reason=reason, size=walk.unknown_size)


def _trailing(scene: Scene) -> Iterator[Fact]:
    """Examine what lies behind the fields of the model."""
    begin = scene.walk.trailing
    if begin is None:
        return
    place, size = scene.at(begin), scene.reader.size - begin
    yield Anomaly(location=place, code="onnx-trailing", detail=f"{size} bytes behind the last field of the model")
    scene.context.budget.spend_members(place)
    yield Member(location=place, name="trailing", size=size, stored=size, type="trailing")
    yield from scene.context.examine(scene.reader.window(begin, size, "trailing"), size)


def _graphs(scene: Scene, model: ModelProto, visit: Visit) -> Iterator[Fact]:
    place, reader = scene.walk.root, scene.reader
    versions = {domain_of(text(one.domain)): one.version for one in model.opset_import}
    main, found = Calls(), []
    scope = Scope(versions, main)
    if model.HasField("graph"):
        yield from visit.graph(model.graph, place.child(reader, _MODEL["graph"]), scope, main=True)
    for index, function in enumerate(model.functions):
        inner = place.child(reader, _MODEL["functions"], index)
        key = domain_of(text(function.domain)), text(function.name), text(function.overload)
        body = functions.Function(key, inner.begin, Calls())
        found.append(body)
        yield from visit.function(function, inner, Scope(versions, body.calls))
    for index, training in enumerate(model.training_info):
        inner = place.child(reader, _MODEL["training_info"], index)
        yield from visit.training(training, inner, scope)
    yield from functions.check(scene, found, main)
    yield from visit.ranges.overlaps(scene)
    yield from visit.operators.facts(scene, functions.defined(found, main))
