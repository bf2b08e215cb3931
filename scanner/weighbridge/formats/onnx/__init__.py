"""ONNX models: a graph of operators with its weights, as one protobuf message.

The structure is walked in the wire format and the weights are stepped over, so a model of any size is analysed in the
time and memory that its graph takes; what is left is parsed by protobuf's own library (`parse`, `library`).

Anomalies, beside the operators, external data, metadata and tensors that are facts of their own:

* `onnx-external-path`: external data outside of the model's folder, by the rules of POSIX or Windows, or no path at all
* `onnx-memory-address`: external data at an address in the memory of the process that loads the model
* `onnx-external-key`: a key of external data that the format does not define, or one that comes twice
* `onnx-external-range`: an offset or a length that is no number, is negative, or does not fit the tensor
* `onnx-external-overlap`: external data of two tensors that share bytes and are not the same
* `onnx-wire`: groups, numbers longer than they need to be
* `onnx-duplicate-field`: a field that can come once comes twice, as in two models one behind the other
* `onnx-unknown-field`: a field that the format does not have
* `onnx-trailing`: bytes behind the last field of the model that are no fields
* `onnx-undefined`: a type or another value that the format does not define
* `onnx-function-recursion`, `onnx-function-expansion`: functions that call themselves, or grow without bounds
* `onnx-function-shadows`: a function in a domain whose operators the standard defines
* `onnx-function-duplicate`: two functions of one name
* `onnx-tensor-payload`: dimensions and data of a tensor that do not fit each other
* `onnx-native-blob`: a node that carries or names a compiled model for one kind of device
* `onnx-opaque-attribute`: a long text or string of bytes in an attribute of a node
* `onnx-embedded-file`: data that open like a file of another format
* `onnx-config`: settings for the runtime that loads the model
* `onnx-resource-loop`, `onnx-resource-shape`: loops and tensors too large for any machine
* `onnx-input-branch`: a branch near an output that depends on comparing an input with a constant

An operator whose domain the model does not import is no anomaly: ONNX Runtime takes the newest version of the domain,
and older writers leave the import out.

Specification: https://github.com/onnx/onnx/blob/main/onnx/onnx-ml.proto and docs/IR.md beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.formats.onnx.sniffing import is_model, may_begin
from weighbridge.reader import Reader, Sample
from weighbridge.remote import WHOLE, RangeReader


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes are fields of a model that has a graph or functions."""
    return is_model(sample)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield what the graphs and functions do, what the model refers to, and the account of its tensors."""
    from weighbridge.formats.onnx.parse import parse as parse_model

    if isinstance(reader, RangeReader) and reader.size > WHOLE:
        from weighbridge.formats.onnx.triage import fetched

        reader = fetched(reader)
    return parse_model(reader, context)


FORMAT: Final = Format("onnx", "ONNX model", sniff, parse, may_begin=may_begin)
