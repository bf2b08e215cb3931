"""ONNX Runtime's own model format: a graph and its weights as a FlatBuffer with the identifier ORTM.

It is recognised by its identifier, whatever the file is called, and its facts are those of an ONNX model: operators,
tensors, metadata. What the tables refer to is read; bytes that no table refers to are an anomaly and are examined.

Anomalies: `ort-hole` (bytes that nothing refers to), `ort-overlap` (two values that share bytes), `ort-fused-node` (a
node that stands for others), and those of ONNX that apply (`onnx-tensor-payload`, `onnx-native-blob`, `onnx-config`).

Specification: onnxruntime/core/flatbuffers/schema/ort.fbs of ONNX Runtime, format versions 1 to 6, and
https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

IDENTIFIER: Final = b"ORTM"


def sniff(sample: Sample) -> bool:
    """Tell whether the identifier stands behind the offset of the root table."""
    return sample.head[4:8] == IDENTIFIER


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the operators, tensors and metadata of a model, and the account of its bytes."""
    from weighbridge.formats.ort.parse import parse as parse_model

    return parse_model(reader, context)


FORMAT: Final = Format("ort", "ONNX Runtime model", sniff, parse)
