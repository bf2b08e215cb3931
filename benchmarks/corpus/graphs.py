"""Hostile ONNX models: everything a node, a tensor or a piece of data can do, in every place where one can hide.

`samples` are models that must not pass: what they do is dangerous, breaks the format, or cannot be known. `review` are
models whose danger is a matter of degree; they pass by default, with a finding. Nothing in them runs; paths lead to
nothing and programs are empty. Written field by field (`fixtures.protobuf`), without the onnx library.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fixtures import onnx_models, ort_models
from fixtures.archives import Entry, zip_archive
from fixtures.assemble import P2, P4, discard
from fixtures.flatbuffer import Table, i32
from fixtures.flatbuffer import graph as ort_graph
from fixtures.flatbuffer import graph_attribute as ort_graph_attribute
from fixtures.flatbuffer import node as ort_node
from fixtures.flatbuffer import session as ort_session
from fixtures.flatbuffer import tensor as ort_tensor
from fixtures.flatbuffer import text_attribute as ort_text
from fixtures.protobuf import (
    BOOL,
    INT64,
    attribute,
    field,
    floats,
    function,
    graph,
    integers,
    message,
    model,
    node,
    sparse,
    strings,
    tensor,
    value,
    varint,
)

from .payloads import COMMAND, Sample

ADD = node("Add", ["x", "w"])
WEIGHTS = struct.pack("<2f", 0.5, -0.5)
GOOD = floats("w", [0.5, -0.5])
OPSETS = {"": 17, "com.microsoft": 1, "ai.onnx.contrib": 1, "example.stranger": 1, "local": 1, "org.pytorch.aten": 1}


@dataclass(frozen=True)
class Place:
    """Where in a model something can be: `around` returns the model around it."""

    name: str
    around: Callable[[bytes], bytes]


def _graph_with(inner: bytes) -> bytes:
    return graph([inner], (), [], [value("y")])


def _if(branch: bytes) -> bytes:
    other = graph([node("Neg", ["x"], ["n"])], (), [], [value("n")])
    both = [attribute("then_branch", graph=branch), attribute("else_branch", graph=other)]
    return node("If", ["flag"], attributes=both)


def _conditional(branch: bytes) -> bytes:
    return model(graph([_if(branch)], [tensor("flag", [], b"\1", BOOL)]), OPSETS)


def _loop(inner: bytes) -> bytes:
    counters = [value("i", (), INT64), value("go", (), BOOL)]
    body = graph([node("Identity", ["go"], ["on"]), inner], (), counters, [value("on", (), BOOL)])
    start = [integers("n", [1], []), tensor("go", [], b"\1", BOOL)]
    return model(graph([node("Loop", ["n", "go"], [], [attribute("body", graph=body)]), ADD], [*start, GOOD]), OPSETS)


def _deep(inner: bytes, levels: int = 12) -> bytes:
    branch = _graph_with(inner)
    for _ in range(levels):
        branch = _graph_with(_if(branch))
    return _conditional(branch)


def _function(inner: bytes) -> bytes:
    return model(graph([node("F", domain="local")]), OPSETS, [function("F", [inner], "local", OPSETS)])


def _unused_function(inner: bytes) -> bytes:
    return model(graph([ADD], [GOOD]), OPSETS, [function("F", [inner], "local", OPSETS)])


def _default(inner: bytes) -> bytes:
    """Return a function with a graph as the default of an attribute."""
    default = field(11, attribute("body", graph=_graph_with(inner)))
    made = function("F", [node("Relu")], "local", OPSETS) + default
    return model(graph([node("F", domain="local")]), OPSETS, [made])


def _training(number: int, step: bytes) -> bytes:
    return model(graph([ADD], [GOOD]), OPSETS, training=[message({number: step})])


NODE_PLACES = (
    Place("graph", lambda inner: model(graph([inner]), OPSETS)),
    Place("branch", lambda inner: _conditional(_graph_with(inner))),
    Place("loop", _loop),
    Place("deep", _deep),
    Place(
        "graphs",
        lambda inner: model(graph([node("Relu", attributes=[attribute("g", graphs=[_graph_with(inner)])])]), OPSETS),
    ),
    Place("function", _function),
    Place("unused-function", _unused_function),
    Place("function-default", _default),
    Place("training-initialization", lambda inner: _training(1, _graph_with(inner))),
    Place("training-algorithm", lambda inner: _training(2, _graph_with(inner))),
    Place("among-thousands", lambda inner: model(graph([node("Relu")] * 3000 + [inner]), OPSETS)),
)


def _engine(*attributes: bytes) -> bytes:
    return node("EPContext", attributes=[*attributes, attribute("main_context", 1)], domain="com.microsoft")


NODES = {
    "python-function": node("PyOp", domain="ai.onnx.contrib"),
    "python-op": node("PythonOp", domain="com.microsoft"),
    "triton-op": node("TritonOp", domain="com.microsoft"),
    "aten": node("ATen", domain="org.pytorch.aten", attributes=[attribute("operator", "aten::from_file")]),
    "aten-standard": node("ATen"),
    "engine-embedded": _engine(attribute("embed_mode", 1), attribute("ep_cache_context", bytes(range(64)))),
    "engine-path": _engine(attribute("embed_mode", 0), attribute("ep_cache_context", "../../engine.bin")),
    "snpe": node("Snpe", domain="com.microsoft", attributes=[attribute("DLC", bytes(range(64)))]),
    "image-reader": node("ImageReader", domain="ai.onnx.contrib"),
    "service": node(
        "AzureTextToText", domain="ai.onnx.contrib", attributes=[attribute("model_uri", "http://127.0.0.1")]
    ),
    "sample": node("SampleOp", domain="com.microsoft"),
    "unknown-operator": node("Payload", domain="com.microsoft"),
    "unknown-standard": node("Payload"),
    "unknown-case": node("relu"),
    "unknown-domain": node("Layer", domain="example.stranger"),
    "unimported-domain": node("Layer", domain="example.unimported"),
    "look-alike-domain": node("Relu", domain="ai.onnx "),
    "other-alphabet": node("Relu", domain="\u0430i.onnx"),
}


def _constant(held: bytes) -> bytes:
    return node("Constant", [], ["c"], [attribute("value", tensor=held)])


def _inner(held: bytes) -> bytes:
    return graph([node("Identity", ["w"], ["a"])], [held], [], [value("a")])


def _sparse(held: bytes, *, indices: bool) -> bytes:
    good = integers("w", [0, 1])
    return sparse(good, held, [4]) if indices else sparse(held, good, [4])


def _beside(*nodes: bytes, extra: bytes = b"") -> bytes:
    return model(graph([ADD, *nodes], [GOOD], extra=extra), OPSETS)


TENSOR_PLACES = (
    Place("initializer", lambda held: model(graph([ADD], [held]), OPSETS)),
    Place("sparse-values", lambda held: _beside(extra=field(15, _sparse(held, indices=False)))),
    Place("sparse-indices", lambda held: _beside(extra=field(15, _sparse(held, indices=True)))),
    Place("constant", lambda held: _beside(_constant(held))),
    Place("tensors", lambda held: _beside(node("Relu", ["x"], ["c"], [attribute("t", tensors=[GOOD, held])]))),
    Place(
        "sparse-attribute",
        lambda held: _beside(
            node("Constant", [], ["c"], [attribute("sparse_value", sparse=_sparse(held, indices=False))])
        ),
    ),
    Place(
        "sparse-attributes",
        lambda held: _beside(node("Relu", ["x"], ["c"], [attribute("s", sparses=[_sparse(held, indices=True)])])),
    ),
    Place("branch", lambda held: _conditional(_inner(held))),
    Place("deep", lambda held: _deep(_constant(held))),
    Place("function", lambda held: _function(_constant(held))),
    Place(
        "function-default",
        lambda held: model(
            graph([node("F", domain="local")]),
            OPSETS,
            [function("F", [node("Relu")], "local", OPSETS) + field(11, attribute("t", tensor=held))],
        ),
    ),
    Place("training", lambda held: _training(2, _inner(held))),
)


def _elsewhere(location: str, offset: object = 0, length: object = 8) -> bytes:
    return tensor("w", [2], external={"location": location, "offset": offset, "length": length})


PATHS = {
    "parent": "../weights.bin",
    "parent-inside": "data/../../weights.bin",
    "parent-dot": "./../weights.bin",
    "parent-backslash": "..\\weights.bin",
    "absolute": "/nonexistent/weights.bin",
    "drive": "C:\\weights.bin",
    "drive-relative": "C:weights.bin",
    "share": "\\\\host\\share\\weights.bin",
    "device": "/dev/zero",
    "device-name": "NUL",
    "nothing": "",
    "folder": ".",
    "nul": "weights.bin\0.txt",
    "control": "weights\n.bin",
    "address": "file:///nonexistent/weights.bin",
    "memory": "*/_ORT_MEM_ADDR_/*",
    "memory-inside": "data/_ORT_MEM_ADDR_",
}
TENSORS = {f"path-{name}": _elsewhere(path) for name, path in PATHS.items()} | {
    "absent-file": _elsewhere("weights.bin"),
    "offset-negative": _elsewhere("weights.bin", -8),
    "offset-huge": _elsewhere("weights.bin", 1 << 64),
    "offset-no-number": _elsewhere("weights.bin", "0x10"),
    "length-negative": _elsewhere("weights.bin", 0, -1),
    "length-other": _elsewhere("weights.bin", 0, 1 << 40),
    "unknown-key": tensor("w", [2], external={"location": "w.bin", "__class__": "weighbridge"}),
    "key-twice": tensor("w", [2], external=[("location", "w.bin"), ("location", "../w.bin")]),
    "no-location": tensor("w", [2], external={"offset": 0}),
    "here-and-there": _elsewhere("weights.bin") + field(9, WEIGHTS),
    "too-short": tensor("w", [1 << 20], WEIGHTS),
    "too-long": tensor("w", [1], WEIGHTS * 8),
    "negative": tensor("w", [-2], WEIGHTS),
    "overflow": tensor("w", [1 << 32, 1 << 32], WEIGHTS),
    "overflow-to-fit": tensor("w", [(1 << 62) + 2, 4], WEIGHTS * 4),
    "raw-text": tensor("w", [2], WEIGHTS, 8),
    "two-fields": GOOD + field(4, [0.5, -0.5]),
    "other-field": message({1: [2], 2: 1, 7: [1, 2], 8: "w"}),
    "no-type": tensor("w", [2], WEIGHTS, 0),
    "unknown-type": tensor("w", [2], WEIGHTS, 99),
}

PROGRAMS = {
    "elf": b"\x7fELF\2\1\1" + bytes(9) + b"\3\0\x3e\0" + bytes(44),
    "windows-executable": b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(64),
    "pickle": P4.stream(discard(P4.call("os:system", COMMAND), b"N")),
    "text-pickle": b"cos\nsystem\n(S'echo weighbridge'\ntR.",
    "zip": zip_archive(Entry(name="a.pkl", data=P2.stream(discard(P2.call("os:system", COMMAND), b"N")))),
    "script": b"#!/bin/sh\necho weighbridge\n",
    "python": b"import os\nos.system('echo weighbridge')\n",
}


def _padded(data: bytes) -> bytes:
    """Return data beyond the size from which tensors and texts are left out of what is parsed."""
    return data + bytes(1 << 17)


def _bytes(data: bytes) -> bytes:
    return tensor("w", [len(data)], data, 2)


TEXT_PLACES = (
    Place("attribute", lambda data: _beside(node("Relu", ["x"], ["c"], [attribute("note", data)]))),
    Place("attributes", lambda data: _beside(node("Relu", ["x"], ["c"], [attribute("notes", ["a", data])]))),
    Place("texts", lambda data: model(graph([node("Identity", ["s"])], [strings("s", ["a", data])]), OPSETS)),
    Place("model-document", lambda data: onnx_models.PLAIN + field(6, data)),
    Place("graph-document", lambda data: model(graph([ADD], [GOOD], extra=field(10, data)))),
    Place("node-document", lambda data: model(graph([ADD + field(6, data)], [GOOD]))),
    Place("metadata", lambda data: onnx_models.PLAIN + field(14, message({1: "a", 2: data}))),
    Place("graph-metadata", lambda data: model(graph([ADD], [GOOD], extra=field(16, message({1: "a", 2: data}))))),
    Place("unknown-field", lambda data: onnx_models.PLAIN + field(501, data)),
    Place("tensor-document", lambda data: model(graph([ADD], [GOOD + field(12, data)]))),
    Place("tensor-metadata", lambda data: model(graph([ADD], [GOOD + field(16, message({1: "a", 2: data}))]))),
    Place("input-document", lambda data: model(graph([ADD], [GOOD], [value("x") + field(3, data)]))),
    Place(
        "attribute-document", lambda data: _beside(node("Relu", ["x"], ["c"], [attribute("a", 1) + field(13, data)]))
    ),
    Place(
        "function-document",
        lambda data: model(
            graph([node("F", domain="local")]),
            OPSETS,
            [function("F", [node("Relu")], "local", OPSETS) + field(8, data)],
        ),
    ),
    Place("unknown-field-of-graph", lambda data: model(graph([ADD], [GOOD], extra=field(501, data)))),
    Place(
        "unknown-field-of-node", lambda data: model(graph([node("Add", ["x", "w"], extra=field(501, data))], [GOOD]))
    ),
    Place("unknown-field-of-tensor", lambda data: model(graph([ADD], [GOOD + field(501, data)]))),
)

# Names are only examined when they are as long as a file.
NAME_PLACES = (
    Place("dimension", lambda data: model(graph([ADD], [GOOD], [value("x", (data.decode("latin-1"),))]))),
    Place("name", lambda data: model(graph([ADD + field(3, data)], [GOOD]))),
    Place("input-name", lambda data: model(graph([node("Add", ["x", "w"]) + field(1, data)], [GOOD]))),
)
# Weights open with any two letters once in a while, so a text counts for a program only where texts are.
DATA_PLACES = (
    Place("raw-data", lambda data: model(graph([node("Identity", ["w"])], [_bytes(data)]), OPSETS)),
    Place("constant", lambda data: _beside(_constant(_bytes(data)))),
    Place("function", lambda data: _function(_constant(_bytes(data)))),
    Place("training", lambda data: _training(1, _inner(_bytes(data)))),
)
BINARIES = ("elf", "windows-executable", "pickle", "zip")

# Whole models, by what is wrong with them.
WHOLE: dict[str, Callable[[], bytes]] = {
    "concatenated": lambda: onnx_models.PLAIN + model(graph([node("Neg", ["x"], ["z"])], (), [], [value("z")])),
    "two-graphs": lambda: onnx_models.PLAIN + field(7, _graph_with(NODES["python-function"])),
    "group": lambda: onnx_models.PLAIN + varint(99 << 3 | 3) + varint(99 << 3 | 4),
    "field-zero": lambda: onnx_models.PLAIN + b"\2\4" + bytes(4),
    "long-number": lambda: onnx_models.PLAIN + b"\x28\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    "long-tag": lambda: onnx_models.PLAIN + b"\xa8\x80\x00\x01",
    "behind-the-end": lambda: onnx_models.PLAIN + bytes(16),
    "broken-off": lambda: onnx_models.PLAIN[:-8],
    "length-beyond": lambda: onnx_models.PLAIN + b"\x32\xff\xff\xff\x7f",
    "recursion": onnx_models.recursion,
    "expansion": onnx_models.expansion,
    "expansion-small": partial(onnx_models.expansion, 40),
    "deeper-than-readers": lambda: _deep(node("Relu"), 60),
    "zip-behind": lambda: onnx_models.PLAIN + PROGRAMS["zip"],
    "as-text": lambda: b'ir_version: 8\ngraph {\n  node { input: "x" output: "y" op_type: "Relu" }\n}\n',
    "as-json": lambda: b'{"irVersion": "8", "graph": {"node": [{"opType": "PyOp", "domain": "ai.onnx.contrib"}]}}',
    "as-syntax": lambda: (
        b'<ir_version: 8, opset_import: ["" : 17]>\ng (float[2] x) => (float[2] y) {\n  y = Relu(x)\n}\n'
    ),
}

REVIEW: dict[str, Callable[[], bytes]] = {
    name: partial(onnx_models.files().__getitem__, f"onnx/{name.replace('-', '_')}.onnx")
    for name in (
        "config early-operator extension-library function-shadows input-branch opaque-attribute resource-loop "
        "resource-shape"
    ).split()
}


def _ort_places(node_: Table) -> dict[str, bytes]:
    branch = ort_graph_attribute("then_branch", ort_graph([node_]))
    several: Table = {0: "bodies", 2: i32(10), 12: [ort_graph([node_])]}
    return {
        "graph": ort_session(ort_graph([node_]), OPSETS),
        "branch": ort_session(ort_graph([ort_node("If", attributes=[branch])]), OPSETS),
        "graphs": ort_session(ort_graph([ort_node("Scan", attributes=[several])]), OPSETS),
    }


def _ort() -> list[Sample]:
    """Return models of ONNX Runtime's format."""
    nodes = {
        "python-function": ort_node("PyOp", domain="ai.onnx.contrib"),
        "engine": ort_node("EPContext", domain="com.microsoft"),
        "unknown-operator": ort_node("Payload", domain="com.microsoft"),
        "unknown-domain": ort_node("Layer", domain="example.stranger"),
    }
    found = [
        _sample(f"ort-{place}", name, data, "ort")
        for name, one in nodes.items()
        for place, data in _ort_places(one).items()
    ]
    for name, data in PROGRAMS.items():
        raw = ort_tensor("w", [len(data)], data, 2)
        found.append(_sample("ort-tensor", name, ort_session(ort_graph([ort_models.ADD], [raw])), "ort"))
        found.append(_sample("ort-behind", name, ort_models.PLAIN + data, "ort"))
        if name not in BINARIES:
            note = ort_node("Relu", attributes=[ort_text("note", data.decode())])
            found.append(_sample("ort-attribute", name, ort_session(ort_graph([note])), "ort"))
    kept = "native_blob overlap later_version tensor_payload tensor_elsewhere unknown_field fused_node".split()
    return found + [_sample("ort", name, ort_models.files()[f"ort/{name}.ort"], "ort") for name in kept]


def _sample(place: str, technique: str, data: bytes, suffix: str = "onnx") -> Sample:
    return Sample(f"{place}/{technique}.{suffix}", f"{place}/{technique}", lambda: data)


def _cross(family: str, places: Sequence[Place], contents: dict[str, bytes]) -> list[Sample]:
    return [
        Sample(f"{family}/{place.name}-{name}.onnx", f"{family}/{place.name}-{name}", partial(place.around, content))
        for place in places
        for name, content in contents.items()
    ]


def samples() -> list[Sample]:
    """Return every model that must not pass."""
    large = {f"large-{name}": _padded(data) for name, data in PROGRAMS.items() if name in ("elf", "windows-executable")}
    return [
        *_cross("node", NODE_PLACES, NODES),
        *_cross("tensor", TENSOR_PLACES, TENSORS),
        *_cross("text", TEXT_PLACES, PROGRAMS | large),
        *_cross("name", NAME_PLACES, large),
        *_cross("data", DATA_PLACES, {name: PROGRAMS[name] for name in BINARIES} | large),
        *(Sample(f"model/{name}.onnx", f"model/{name}", make) for name, make in WHOLE.items()),
        *_ort(),
    ]


def review() -> list[Sample]:
    """Return the models that pass with a finding."""
    return [Sample(f"review/{name}.onnx", f"review/{name}", make) for name, make in REVIEW.items()]


def build(directory: Path) -> list[tuple[Path, str]]:
    """Write the models that must not pass into `directory`; return each file and its technique."""
    written = []
    for sample in samples():
        path = directory / sample.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.make())
        written.append((path, sample.label))
    return written
