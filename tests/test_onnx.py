"""ONNX models: recognition, operators, external data, tensors, metadata, programs among the data."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import onnx
import pytest
from examining import anomalies, examine, facts_of, formats_of, reasons
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from fixtures import protobuf as pb
from weighbridge.facts import Anomaly, ExternalData, Fact, Gap, Inert, Metadata, Native, Operator, Tensor
from weighbridge.formats.onnx.external import unsafe
from weighbridge.formats.onnx.sniffing import is_model
from weighbridge.location import Location
from weighbridge.reader import from_bytes

ELF = b"\x7fELF\2\1\1" + bytes(9) + b"\3\0\x3e\0" + bytes(44)


def library(nodes: list[onnx.NodeProto], initializers: list[TensorProto] | None = None) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    return helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], initializers or []))


def operators(facts: list[Fact]) -> dict[str, tuple[int, int]]:
    return {fact.subject: (fact.count, fact.version) for fact in facts if isinstance(fact, Operator)}


def using(*parts: bytes) -> bytes:
    """Return a model of one node whose attributes these are."""
    return pb.model(pb.graph([pb.node("Op", attributes=parts)]))


def holding(*tensors: bytes) -> bytes:
    return pb.model(pb.graph([pb.node("Relu")], tensors))


def details(facts: list[Fact], code: str) -> list[str]:
    return [fact.detail for fact in facts if isinstance(fact, Anomaly) and fact.code == code]


@pytest.mark.parametrize("name", ["\n\x05serve", "x\x12\x02ab", "a\x1fb"])
def test_a_producer_that_is_a_message_to_another_reader_is_a_gap(name: str) -> None:
    model = library([helper.make_node("Relu", ["x"], ["y"])])
    model.producer_name = name
    assert "producer_name is no text" in reasons(facts_of(model.SerializeToString()))


def test_an_ordinary_model_is_operators_metadata_tensors_and_inert_data() -> None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [40, 50], bytes(8000), raw=True)
    model = library([helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Relu", ["z"], ["y"])], [weights])
    model.producer_name = "somebody"
    model.metadata_props.add(key="task", value="nothing")
    data = model.SerializeToString()
    facts, tally = examine(data)
    assert not anomalies(facts)
    assert not reasons(facts)
    version = onnx.defs.onnx_opset_version()
    assert operators(facts) == {"ai.onnx::MatMul": (1, version), "ai.onnx::Relu": (1, version)}
    start = data.index(bytes(8000))
    assert [(f.name, f.dtype, f.shape, f.size, f.location.offset) for f in facts if isinstance(f, Tensor)] == [
        ("w", "FLOAT", (40, 50), 8000, start)
    ]
    assert [(f.location.offset, f.size) for f in facts if isinstance(f, Inert)] == [(start, 8000)]
    assert {f.key: f.value for f in facts if isinstance(f, Metadata)} == {
        "producer_name": "somebody",
        "ir_version": str(model.ir_version),
        "task": "nothing",
    }
    assert (tally.inert, tally.unexamined) == (8000, 0)


def test_an_operator_is_told_once_with_its_first_place_and_its_count() -> None:
    nodes = [pb.node(f"{kind}", [f"{n}"], [f"{n + 1}"]) for n, kind in enumerate(["Relu", "Neg", "Relu", "Relu"])]
    data = pb.model(pb.graph(nodes), {"": 17})
    (relu, neg) = (fact for fact in facts_of(data) if isinstance(fact, Operator))
    assert (relu.count, relu.version, neg.count) == (3, 17, 1)
    assert data[relu.location.offset :].startswith(nodes[0])
    assert data[neg.location.offset :].startswith(nodes[1])


def test_a_domain_without_import_has_version_0_and_one_imported_by_a_function_its_own() -> None:
    function = pb.function("f", [pb.node("Op", domain="d")], "local", {"": 3, "d": 9})
    data = pb.model(pb.graph([pb.node("f", domain="local"), pb.node("X", domain="other")]), {"": 17}, [function])
    found = {fact.subject: (fact.version, fact.defined) for fact in facts_of(data) if isinstance(fact, Operator)}
    assert found == {"local::f": (0, True), "other::X": (0, False), "d::Op": (9, False)}


def test_the_two_names_of_the_standard_domain_are_one() -> None:
    nodes = [pb.node("Relu"), pb.node("Relu", domain="ai.onnx")]
    assert operators(facts_of(pb.model(pb.graph(nodes), {"ai.onnx": 11}))) == {"ai.onnx::Relu": (2, 11)}


HIDDEN = pb.node("Hidden", domain="deep")


@pytest.mark.parametrize("padding", [0, 5000], ids=["small", "large"])
@pytest.mark.parametrize(
    "place",
    [
        lambda graph, tensor: pb.model(graph),
        lambda graph, tensor: using(pb.attribute("a", graph=graph)),
        lambda graph, tensor: using(pb.attribute("a", graphs=[pb.graph([]), graph])),
        lambda graph, tensor: using(pb.attribute("a", graph=pb.graph([pb.node("N", attributes=[pb.field(6, graph)])]))),
        lambda graph, tensor: using(pb.message({1: "typed as a number", 20: 2, 6: graph})),
        lambda graph, tensor: pb.model(
            pb.graph([]), functions=[pb.function("f", [pb.node("N", attributes=[pb.attribute("a", graph=graph)])])]
        ),
        lambda graph, tensor: pb.model(pb.graph([]), functions=[pb.field(11, pb.attribute("a", graph=graph))]),
        lambda graph, tensor: pb.model(pb.graph([]), training=[pb.field(1, graph)]),
        lambda graph, tensor: pb.model(pb.graph([]), training=[pb.field(2, graph)]),
    ],
)
def test_a_node_and_a_tensor_are_found_wherever_a_graph_can_be(place: object, padding: int) -> None:
    outside = pb.tensor("t", [2], external={"location": "/etc/passwd", "length": 8})
    pad = pb.field(10, "a" * padding)
    data = place(pb.graph([HIDDEN], [outside], extra=pad), outside)  # type: ignore[operator]
    facts = facts_of(data)
    assert "deep::Hidden" in operators(facts)
    (external,) = (fact for fact in facts if isinstance(fact, ExternalData))
    assert data[external.location.offset :].startswith(outside)
    assert "onnx-external-path" in anomalies(facts)


@pytest.mark.parametrize(
    "place",
    [
        lambda tensor: using(pb.attribute("a", tensor=tensor)),
        lambda tensor: using(pb.attribute("a", tensors=[tensor])),
        lambda tensor: using(pb.attribute("a", sparse=pb.sparse(tensor, pb.integers("", [0]), [1]))),
        lambda tensor: using(pb.attribute("a", sparses=[pb.sparse(tensor, tensor, [1])])),
        lambda tensor: pb.model(pb.graph([], extra=pb.field(15, pb.sparse(tensor, tensor, [1])))),
        lambda tensor: pb.model(pb.graph([pb.node("A"), pb.node("A", attributes=[pb.attribute("a", tensor=tensor)])])),
    ],
)
def test_a_tensor_is_found_in_every_attribute(place: object) -> None:
    outside = pb.tensor("t", [2], external={"location": "a/../../b"})
    facts = facts_of(place(outside))  # type: ignore[operator]
    assert {fact.target for fact in facts if isinstance(fact, ExternalData)} == {"a/../../b"}
    assert "onnx-external-path" in anomalies(facts)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            " ",
            ".",
            "./",
            "..",
            "../a",
            "a/../../b",
            "a/..",
            "..\\a",
            "a\\..\\b",
            "/a",
            "//host/a",
            "\\a",
            "\\\\host\\a",
        ),
        *(
            "C:\\a",
            "c:a",
            "a/",
            "a/.",
            "file:///a",
            "https://a/b",
            "a\0b",
            "a\nb",
            "~/a",
            "~root",
            "a:b",
            "CON",
            "a/nul.bin",
            "... /a/../b",
        ),
        *(".. /a", "a/..", "lpt1", "com1.onnx"),
    ],
)
def test_a_path_that_may_leave_the_folder_is_an_anomaly(path: str) -> None:
    assert unsafe(path)
    data = holding(pb.tensor("t", [2], external={"location": path}))
    assert "onnx-external-path" in anomalies(facts_of(data))


@pytest.mark.parametrize(
    "path", ["w.bin", "./w.bin", "deep/er/w.bin", "..w", "a..b/c", "console.bin", "#w", "é.bin", "w bin"]
)
def test_a_path_within_the_folder_is_none(path: str) -> None:
    assert not unsafe(path)
    facts = facts_of(holding(pb.tensor("t", [2], external={"location": path, "offset": 64, "length": 8})))
    assert not anomalies(facts)
    (found,) = (fact for fact in facts if isinstance(fact, ExternalData))
    assert (found.target, found.offset, found.length, found.tensor) == (path, 64, 8, "t")


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ({"location": "*/_ORT_MEM_ADDR_/*", "offset": "140737488355328"}, "onnx-memory-address"),
        ({"location": "a", "__class__": "b"}, "onnx-external-key"),
        ([("location", "a"), ("location", "../b")], "onnx-external-key"),
        ([("location", "../b"), ("location", "a")], "onnx-external-path"),
        ({"offset": "0"}, "onnx-external-path"),
        ({"location": "a", "offset": "-1"}, "onnx-external-range"),
        ({"location": "a", "offset": "1e3"}, "onnx-external-range"),
        ({"location": "a", "offset": "\u0661"}, "onnx-external-range"),
        ({"location": "a", "length": "9"}, "onnx-external-range"),
        ({"location": "a", "length": ""}, "onnx-external-range"),
        ({"location": "a", "offset": str((1 << 63) - 4), "length": "8"}, "onnx-external-range"),
        ({"location": "a", "offset": str(1 << 63)}, "onnx-external-range"),
    ],
)
def test_what_is_wrong_with_external_data_is_an_anomaly(entries: object, code: str) -> None:
    assert code in anomalies(facts_of(holding(pb.tensor("t", [2], external=entries))))


def test_ranges_that_overlap_are_an_anomaly_and_tied_ones_none() -> None:
    def at(name: str, offset: int) -> bytes:
        return pb.tensor(name, [4], external={"location": "w", "offset": offset, "length": 16})

    assert not anomalies(facts_of(holding(at("a", 0), at("b", 16), at("c", 16))))
    assert "onnx-external-overlap" in anomalies(facts_of(holding(at("a", 0), at("b", 12))))
    assert "onnx-external-overlap" in anomalies(facts_of(holding(at("b", 12), at("a", 0))))


def test_copies_that_onnx_runtime_has_laid_out_for_itself_are_external_data() -> None:
    entries = {"location": "w.bin", "length": "8", "prepacked_0": "MatMul+129|8;16;0|24;8;0"}
    facts = facts_of(holding(pb.tensor("t", [2], external=entries)))
    assert not anomalies(facts)
    assert [(f.offset, f.length) for f in facts if isinstance(f, ExternalData)] == [(0, 8), (8, 16), (24, 8)]
    for value in ("MatMul", "MatMul|8;16", "MatMul|-8;16;0", "MatMul|8;16;0;1", "|8;16;0"):
        entries["prepacked_0"] = value
        assert "onnx-external-key" in anomalies(facts_of(holding(pb.tensor("t", [2], external=entries))))


def test_external_data_without_a_length_are_as_long_as_the_tensor() -> None:
    facts = facts_of(holding(pb.tensor("t", [2], external={"location": "w", "offset": 4})))
    assert [(fact.offset, fact.length) for fact in facts if isinstance(fact, ExternalData)] == [(4, 8)]
    facts = facts_of(holding(pb.tensor("t", [2], dtype=99, external={"location": "w"})))
    assert [fact.length for fact in facts if isinstance(fact, ExternalData)] == [None]


def test_texts_in_another_file_are_an_anomaly() -> None:
    assert "onnx-tensor-payload" in anomalies(
        facts_of(holding(pb.tensor("t", [2], dtype=8, external={"location": "w"})))
    )


def test_external_data_beside_data_in_the_file_are_an_anomaly() -> None:
    both = pb.tensor("t", [2], external={"location": "w"}) + pb.field(9, bytes(8))
    ignored = pb.floats("t", [1.0, 2.0]) + pb.field(13, pb.message({1: "location", 2: "w"}))
    for tensor in (both, ignored):
        facts = facts_of(holding(tensor))
        assert "onnx-tensor-payload" in anomalies(facts)
        assert [fact.target for fact in facts if isinstance(fact, ExternalData)] == ["w"]


@pytest.mark.parametrize(
    "tensor",
    [
        pb.tensor("t", [3], bytes(8)),
        pb.tensor("t", [1], bytes(8)),
        pb.tensor("t", [-2], bytes(8)),
        pb.tensor("t", [1 << 62, 1 << 62], bytes(8)),
        pb.tensor("t", [0], bytes(8)),
        pb.tensor("t", [1 << 32, 1 << 32, 0] * 30, b""),
        pb.tensor("t", [2], bytes(8), pb.STRING),
        pb.tensor("t", [2], None),
        pb.message({1: [2], 2: 1, 8: "t", 7: [1, 2]}),
        pb.message({1: [2], 2: 7, 8: "t", 7: [1]}),
        pb.message({1: [2], 2: 1, 8: "t", 4: [1.0, 2.0], 9: bytes(8)}),
        pb.message({1: [2], 2: 22, 8: "t", 5: [1, 2, 3]}),
        pb.message({1: [1], 2: 1, 8: "t", 9: bytes(4), 3: pb.message({1: 0, 2: 1})}),
        pb.message({1: [3000], 2: 7, 8: "t", 7: [1] * 3001}),
        pb.message({1: [3000], 2: 1, 8: "t", 4: [0.5] * 2999}),
        pb.message({1: [3000], 2: 7, 8: "t", 7: bytes([1]) * 3001}),
        pb.message({1: [3000], 2: 11, 8: "t", 10: bytes(8 * 2999)}),
    ],
)
def test_dimensions_that_do_not_fit_the_data_are_an_anomaly(tensor: bytes) -> None:
    assert "onnx-tensor-payload" in anomalies(facts_of(holding(tensor)))


@pytest.mark.parametrize(
    "tensor",
    [
        pb.tensor("t", [], bytes(4)),
        pb.tensor("t", [0], b""),
        pb.tensor("t", [2, 0], None),
        pb.tensor("t", [3], bytes(2), 22),
        pb.tensor("t", [5], bytes(2), 25),
        pb.tensor("t", [4], bytes(3), 27),
        pb.message({1: [3], 2: 22, 8: "t", 5: [1, 2]}),
        pb.message({1: [2], 2: 10, 8: "t", 5: [1, 2]}),
        pb.message({1: [2], 2: 14, 8: "t", 4: [1.0] * 4}),
        pb.message({1: [3000], 2: 7, 8: "t", 7: [-1, 300, 2] * 1000}),
        pb.message({1: [3000], 2: 7, 8: "t", 7: bytes([1]) * 3000}),
        pb.message({1: [3000], 2: 1, 8: "t", 4: [0.5] * 3000}),
        pb.message({1: [3000], 2: 1, 8: "t", 4: bytes(4 * 3000)}),
        pb.message({1: [100], 2: 8, 8: "t", 6: [b"some text"] * 100}),
        pb.message({1: [2], 2: 8, 8: "t", 6: [b"a" * 70_000] * 2}),
    ],
)
def test_dimensions_that_fit_the_data_are_none(tensor: bytes) -> None:
    facts = facts_of(holding(tensor))
    assert not anomalies(facts)
    assert not reasons(facts)


def test_the_data_of_every_type_that_the_library_writes_fit() -> None:
    for kind in TensorProto.DataType.values():
        if kind in (TensorProto.UNDEFINED, TensorProto.STRING):
            continue
        numbers = [1] * 40
        for raw in (False, True):
            values = b"\0" * 40 * 16 if raw else numbers
            if raw:
                size = helper.tensor_dtype_to_np_dtype(kind).itemsize * 40
                bits = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}.get(
                    TensorProto.DataType.Name(kind)
                )
                bits = 6 if "FLOAT6" in TensorProto.DataType.Name(kind) else bits
                values = bytes(size if bits is None else 40 * bits // 8)
            tensor = helper.make_tensor("t", kind, [40], values, raw=raw)
            onnx.checker.check_tensor(tensor)
            facts = facts_of(holding(tensor.SerializeToString()))
            assert not anomalies(facts), TensorProto.DataType.Name(kind)


def test_an_element_type_that_does_not_exist_is_undefined_and_a_gap() -> None:
    for kind in (0, 29, -1, 1 << 32 | 1):
        facts = facts_of(holding(pb.tensor("t", [2], bytes(8), kind)))
        assert "onnx-undefined" in anomalies(facts)
        assert reasons(facts)


def test_settings_for_the_runtime_are_told_one_by_one() -> None:
    value = json.dumps({"session_options": {"enable_profiling": 1, "intra_op_num_threads": 64}})
    facts = facts_of(pb.model(pb.graph([]), metadata={"ort_config": value}))
    assert details(facts, "onnx-config") == ["enable_profiling = 1, intra_op_num_threads = 64"]
    for broken in ("{", "[" * 9000, "1", "x" * 100_000, '{"a": ' * 30_000):
        assert details(facts_of(pb.model(pb.graph([]), metadata={"ort_config": broken})), "onnx-config")


def test_a_version_that_is_not_known_yet_is_a_gap() -> None:
    data = pb.message({1: 15, 7: pb.graph([pb.node("Relu")])})
    assert "newer" in reasons(facts_of(data))


def packed() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a/b.txt", "text " * 100)
    return stream.getvalue()


PICKLE = b"cposix\nsystem\n(S'echo'\ntR."
PROGRAMS = {
    "elf": ELF * 20,
    "pickle": b"\x80\x04\x95\x1f\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93\x8c\x04echo\x85R." + bytes(20),
    "text pickle": PICKLE,
    "script": b"#!/bin/sh\necho " + b"a" * 50,
    "python": b"import os\nos.system('echo')\n",
    "zip": packed(),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "place",
    [
        lambda data: using(pb.attribute("a", data)),
        lambda data: using(pb.attribute("a", [b"other", data])),
        lambda data: using(pb.attribute("a", data) + pb.field(13, "a" * 5000)),
        lambda data: using(pb.attribute("a", tensor=pb.strings("s", [b"first", data]))),
        lambda data: holding(pb.strings("s", [b"first", data])),
        lambda data: holding(pb.tensor("t", [2], bytes(8)) + pb.field(12, data)),
        lambda data: pb.model(pb.graph([]), extra=pb.field(14, pb.message({1: "key", 2: data}))),
        lambda data: pb.model(pb.graph([], extra=pb.field(10, data))),
        lambda data: pb.model(pb.graph([]), extra=pb.field(6, data)),
        lambda data: pb.model(pb.graph([]), extra=pb.field(99, data)),
        lambda data: pb.model(pb.graph([pb.node("A", extra=pb.field(99, data))])),
        lambda data: pb.model(pb.graph([pb.node("A", extra=pb.field(9, pb.message({1: "k", 2: data})))])),
    ],
)
def test_a_program_among_the_data_is_examined(place: object, program: str) -> None:
    facts = facts_of(place(PROGRAMS[program]))  # type: ignore[operator]
    if program == "zip":
        assert "onnx-embedded-file" in anomalies(facts)
    else:
        assert {fact.kind for fact in facts} & {"native", "program"}


@pytest.mark.parametrize("program", ["elf", "pickle", "zip"])
def test_a_program_as_tensor_data_is_examined(program: str) -> None:
    data = PROGRAMS[program]
    for size in (0, 9000):
        raw = data + bytes(size)
        facts = facts_of(holding(pb.tensor("t", [len(raw)], raw, 2)))
        assert {fact.kind for fact in facts} & {"native", "program"} or "onnx-embedded-file" in anomalies(facts)


@pytest.mark.parametrize("head", [b"MZ", b"\x80\x02", b"\x80\x04\x95", b"\x1f\x8b\x08", b"#!/", b"PK", b"\0asm"])
def test_weights_that_begin_like_a_program_by_chance_are_weights(head: bytes) -> None:
    for seed in range(20):
        raw = head + bytes((seed * 97 + n * n * 31) % 256 for n in range(8000 - len(head)))
        facts = facts_of(holding(pb.tensor("t", [8000], raw, 2)))
        assert not anomalies(facts)
        assert not reasons(facts)


def test_a_compiled_model_is_a_blob_and_a_gap() -> None:
    node = pb.node(
        "EPContext", attributes=[pb.attribute("ep_cache_context", bytes(range(256)))], domain="com.microsoft"
    )
    facts = facts_of(pb.model(pb.graph([node])))
    assert "onnx-native-blob" in anomalies(facts)
    assert [fact.size for fact in facts if isinstance(fact, Gap)] == [256]


def test_the_path_of_a_compiled_model_is_looked_at() -> None:
    attributes = [pb.attribute("embed_mode", 0), pb.attribute("ep_cache_context", "../engine.trt")]
    facts = facts_of(pb.model(pb.graph([pb.node("EPContext", attributes=attributes, domain="com.microsoft")])))
    assert {"onnx-native-blob", "onnx-external-path"} <= anomalies(facts)
    assert not [fact for fact in facts if isinstance(fact, ExternalData)]


def test_a_part_of_a_compiled_model_and_its_maker_are_told() -> None:
    attributes = [pb.attribute("main_context", 0), pb.attribute("source", "QNN")]
    attributes.append(pb.attribute("onnx_model_filename", "/root/model.onnx"))
    facts = facts_of(pb.model(pb.graph([pb.node("EPContext", attributes=attributes, domain="com.microsoft")])))
    assert details(facts, "onnx-native-blob") == ["EPContext refers to a compiled model of another node, made by 'QNN'"]
    assert "onnx-external-path" in anomalies(facts)


def test_a_windows_program_as_tensor_data_is_told_by_its_second_magic_number() -> None:
    program = bytearray(b"MZ" + bytes(8000))
    program[60:64], program[512:536] = struct.pack("<I", 512), b"PE\0\0\x64\x86" + bytes(18)
    for raw, found in ((bytes(program), True), (b"MZ" + bytes(range(256)) * 30, False)):
        facts = facts_of(holding(pb.tensor("t", [len(raw)], raw, 2)))
        assert ("pe" in {fact.type for fact in facts if isinstance(fact, Native)}) == found


@pytest.mark.parametrize("size", [70_000, 100])
def test_an_attribute_as_large_as_a_file_is_an_anomaly(size: int) -> None:
    facts = facts_of(using(pb.attribute("model", b"\1" * size)))
    assert ("onnx-opaque-attribute" in anomalies(facts)) == (size > 1 << 16)


def test_a_program_in_a_large_attribute_is_found() -> None:
    facts = facts_of(using(pb.attribute("model", ELF + bytes(1 << 17))))
    assert [fact.type for fact in facts if isinstance(fact, Native)] == ["elf"]


OTHERS = {
    "saved model": pb.message({1: 1, 2: [bytes(300) + b"\xff" * 5000, b"b"]}),
    "tokens": pb.message({1: [pb.message({1: "a", 3: 1})] * 300}),
    "tensor": pb.tensor("t", [2], bytes(8)),
    "network": pb.message({1: "net", 100: [pb.message({1: "conv"})] * 9}),
    "text": b': a colon and \n"quotes" in a text' * 20,
    "json": json.dumps({"a": [1, 2, {"b": "c"}] * 40}).encode(),
    "pickle": b"\x80\x04]\x94(K\x01K\x02e.",
    "zeros": bytes(5000),
    "nothing": b"\x08\x07",
    "safetensors": struct.pack("<Q", 2) + b"{}",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_not_taken_for_models(name: str) -> None:
    assert "onnx" not in formats_of(OTHERS[name])


@pytest.mark.parametrize(
    "data",
    [
        pb.message({7: pb.graph([pb.node("Relu")]), 8: pb.message({2: 17}), 1: 8}),
        pb.message({99: b"unknown", 7: pb.graph([pb.node("Relu")])}),
        pb.message({2: "a\0b", 7: pb.graph([pb.node("Relu")])}),
        pb.message({6: "a" * 9000, 1: 8, 7: pb.graph([pb.node("Relu")])}),
        pb.message({1: 8, 6: "a" * 200_000, 7: pb.graph([pb.node("Relu")])}),
        pb.message({7: pb.graph([pb.node("Relu")], [pb.tensor("t", [100_000], bytes(400_000))]), 1: 8}),
        b"\x7b\x08\x01\x7c" + pb.model(pb.graph([pb.node("Relu")])),
        pb.message({1: 8, 20: pb.message({1: pb.graph([pb.node("Relu")])})}),
        pb.message({1: 8, 25: pb.function("f", [pb.node("Relu")])}),
    ],
    ids=range(9),
)
def test_a_model_is_recognised_whatever_its_fields_begin_with(data: bytes) -> None:
    onnx.load_model_from_string(data)  # raises unless the library takes it
    facts = facts_of(data)
    assert "ai.onnx::Relu" in operators(facts)


FOREIGN = pb.field(99, 7) + pb.varint(98 << 3 | 3) + pb.field(1, "a") + pb.varint(98 << 3 | 4)
STRANGE = pb.field(500, b"x") + pb.field(600, 1) + FOREIGN


@pytest.mark.parametrize("before", [b"", pb.field(6, "a" * 150_000), pb.field(97, b"b" * 150_000)], ids=len)
@pytest.mark.parametrize("behind", [b"", pb.field(3, "c" * 70_000)], ids=len)
@pytest.mark.parametrize(
    "graph", [pb.graph([pb.node("Relu")]), STRANGE + pb.graph([STRANGE + pb.node("Relu")])], ids=["plain", "strange"]
)
def test_a_pickle_that_has_a_model_in_its_data_is_both(before: bytes, behind: bytes, graph: bytes) -> None:
    """BINBYTES of a length that protobuf takes for a field: everything behind that is free to be a model."""
    model = before + pb.message({7: graph, 1: 8}) + behind
    size = next(size for size in range(0x7E12, 1 << 22, 1 << 16) if size > len(model) + 200)
    start = bytes(0x7E - 2) + model
    left = size + 1 - len(start)
    end = next(field for lead in range(2, 7) if len(field := pb.field(3, bytes(left - lead))) == left)
    data = b"\x80\x03B" + struct.pack("<I", size) + start + end[:-1] + b"."
    onnx.load_model_from_string(data)  # raises unless the library takes it
    assert {"onnx", "pickle"} <= formats_of(data)
    assert "polyglot" in anomalies(facts_of(data))


def test_a_message_of_very_many_fields_is_looked_at_as_a_model() -> None:
    assert is_model(from_bytes(pb.field(99, 1) * 600_000, Location(("file",))).sample)


def test_a_model_that_is_another_format_as_well_is_a_polyglot() -> None:
    assert "polyglot" in anomalies(facts_of(pb.model(pb.graph([pb.node("Relu")]), extra=pb.field(99, packed()))))


@given(st.binary(max_size=300))
def test_any_bytes_give_facts(data: bytes) -> None:
    facts_of(data)
    for whole in (
        pb.message({1: 8, 7: data}),
        pb.message({1: 8, 7: pb.graph([data])}),
        pb.message({1: 8, 7: pb.graph([pb.node("A", attributes=[data])])}),
        holding(data),
        pb.model(pb.graph([]), functions=[data], training=[data]),
        pb.model(pb.graph([])) + data,
    ):
        _, tally = examine(whole)
        assert tally.parsed + tally.inert + tally.unexamined == len(whole)


def test_every_truncation_of_a_model_is_a_gap_or_a_shorter_model() -> None:
    whole = pb.model(pb.graph([pb.node("Relu")], [pb.tensor("t", [500], bytes(2000))]), metadata={"a": "b"})
    for size in range(1, len(whole)):
        facts = facts_of(whole[:size])
        if not reasons(facts) and "onnx-trailing" not in anomalies(facts):
            onnx.load_model_from_string(whole[:size])
