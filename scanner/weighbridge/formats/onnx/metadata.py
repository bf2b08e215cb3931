"""What a model says about itself: its producer, its metadata, and settings for the runtime that loads it.

Source: ONNX Runtime core/session/inference_session_utils.cc: with ORT_LOAD_CONFIG_FROM_MODEL=1 the metadata key
`ort_config` sets options of the session, profiling to a file among them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from weighbridge.facts import Fact, Gap, Metadata
from weighbridge.formats.onnx.graphs import Visit, bounded
from weighbridge.formats.onnx.messages import IR_VERSION, numbers
from weighbridge.formats.onnx.scene import Scene, shown, text
from weighbridge.formats.onnx.wire import Place

if TYPE_CHECKING:
    from onnx import ModelProto

CONFIG: Final = "ort_config"
CONFIG_LIMIT: Final = 1 << 16  # characters of settings that are decoded
_TEXTS: Final = ("producer_name", "producer_version", "domain", "doc_string")
_NUMBERS: Final = ("ir_version", "model_version")
_LISTED: Final = 40


def facts(scene: Scene, model: ModelProto, place: Place, visit: Visit) -> Iterator[Fact]:
    """Yield the metadata of a model."""
    for name in _TEXTS:
        value = getattr(model, name)
        if value:
            span = place.content(scene.reader, numbers("Model")[name])
            yield Metadata(location=scene.at(span.offset if span else 0), key=name, value=bounded(value))
            yield from visit.text(value, place, name)
    if any(ord(character) < ord(" ") for character in text(model.producer_name)):
        # the message of a graph of TensorFlow has the same number in a model of its own, and reads the rest as nothing
        yield Gap(location=scene.at(0), reason="onnx: producer_name is no text", size=0)
    for name in _NUMBERS:
        if model.HasField(name):
            yield Metadata(location=scene.at(0), key=name, value=str(getattr(model, name)))
    if model.ir_version > IR_VERSION:
        reason = f"onnx: IR version {model.ir_version} is newer than {IR_VERSION}, the newest that is understood"
        yield Gap(location=scene.at(0), reason=reason, size=0)
    for index, entry in enumerate(model.metadata_props):
        if text(entry.key) == CONFIG:
            inner = place.child(scene.reader, numbers("Model")["metadata_props"], index)
            yield scene.anomaly("onnx-config", inner.begin, _settings(text(entry.value)))
    yield from visit.entries(model.metadata_props, place, "metadata_props")


def _settings(value: str) -> str:
    """Return in words what settings set."""
    if len(value) > CONFIG_LIMIT:
        return f"{len(value)} characters"
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return f"no JSON: {shown(value)}"
    if isinstance(found, dict) and isinstance(found.get("session_options"), dict):
        found = found["session_options"]
    if not isinstance(found, dict):
        return shown(value)
    return ", ".join(
        f"{shown(str(key))[1:-1]} = {shown(str(value))[1:-1]}" for key, value in list(found.items())[:_LISTED]
    )
