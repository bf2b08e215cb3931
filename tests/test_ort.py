"""ONNX Runtime's format: every table is read, every byte accounted for, and nothing hides between the tables."""

from __future__ import annotations

import pytest
from examining import anomalies, examine, facts_of, formats_of, members, reasons
from hypothesis import given
from hypothesis import strategies as st

from fixtures import ort_models
from fixtures.flatbuffer import Writer, graph, graph_attribute, i32, node, session, tensor, text_attribute
from fixtures.ort_models import ADD, MAIN, PLAIN, PROGRAM, TENSOR
from weighbridge.facts import Gap, Inert, Metadata, Native, Operator, Tensor
from weighbridge.formats.ort.flatbuffer import MAX_DEPTH
from weighbridge.formats.ort.schema import _TABLES, fields

FILES = ort_models.files()
CODES = {
    "config.ort": "onnx-config",
    "fused_node.ort": "ort-fused-node",
    "hole.ort": "ort-hole",
    "native_blob.ort": "onnx-native-blob",
    "overlap.ort": "ort-overlap",
    "tensor_payload.ort": "onnx-tensor-payload",
}
GAPS = {
    "later_version.ort": "version '7' of the format is not known",
    "tensor_elsewhere.ort": "the data of tensor 'w' are in another file",
    "unknown_field.ort": "InferenceSession has a field in slot 9",
}


def operators(data: bytes) -> dict[str, tuple[int, int]]:
    """Return the version and count of each operator."""
    return {fact.subject: (fact.version, fact.count) for fact in facts_of(data) if isinstance(fact, Operator)}


def test_an_ordinary_model_is_understood_to_the_last_byte() -> None:
    facts, tally = examine(PLAIN)
    assert formats_of(PLAIN) == {"ort"}
    assert not anomalies(facts)
    assert not reasons(facts)
    assert operators(PLAIN) == {"ai.onnx::Add": (17, 1)}
    (found,) = (fact for fact in facts if isinstance(fact, Tensor))
    assert (found.name, found.dtype, found.shape, found.size) == ("w", "FLOAT", (2,), 8)
    assert PLAIN[found.location.offset :][:8] == ort_models.WEIGHTS
    assert (tally.inert, tally.unexamined) == (8, 0)
    assert sum(fact.size for fact in facts if isinstance(fact, Inert)) == 8


def test_metadata_and_the_version_are_facts() -> None:
    found = {fact.key: fact.value for fact in facts_of(FILES["ort/metadata.ort"]) if isinstance(fact, Metadata)}
    assert found == {"ort_version": "6", "producer_name": "weighbridge", "task": "addition"}


def test_operators_are_counted_with_the_version_of_their_domain() -> None:
    nodes = [ADD, ADD, node("Gelu", domain="com.microsoft"), node("Layer", domain="lab")]
    data = session(graph(nodes, [TENSOR]), {"": 12, "com.microsoft": 1})
    assert operators(data) == {"ai.onnx::Add": (12, 2), "com.microsoft::Gelu": (1, 1), "lab::Layer": (0, 1)}


@pytest.mark.parametrize("slot", ["graph", "graphs"])
def test_operators_of_inner_graphs_are_found(slot: str) -> None:
    inner = graph([node("PyOp", domain="ai.onnx.contrib")])
    attribute = graph_attribute("body", inner) if slot == "graph" else {0: "bodies", 2: i32(10), 12: [inner]}
    assert "ai.onnx.contrib::PyOp" in operators(session(graph([node("Loop", attributes=[attribute])])))


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_what_no_writer_produces_is_an_anomaly(name: str, code: str) -> None:
    assert anomalies(facts_of(FILES[f"ort/{name}"])) == {code}


@pytest.mark.parametrize(("name", "reason"), GAPS.items())
def test_what_is_not_known_is_a_gap(name: str, reason: str) -> None:
    assert reason in reasons(facts_of(FILES[f"ort/{name}"]))


@pytest.mark.parametrize(
    "place",
    [
        session(graph([ADD], [tensor("w", [64], PROGRAM, dtype=2)])),
        session(graph([node("If", attributes=[{0: "t", 2: i32(4), 6: tensor("c", [64], PROGRAM, dtype=2)}])])),
        session({**graph([ADD]), 7: [{0: tensor("v", [64], PROGRAM, dtype=2)}]}),
        PLAIN + PROGRAM,
    ],
    ids=["initializer", "attribute", "sparse initializer", "behind the end"],
)
def test_machine_code_is_found_wherever_data_can_be(place: bytes) -> None:
    assert "elf" in {fact.type for fact in facts_of(place) if isinstance(fact, Native)}


@pytest.mark.parametrize("slot", [5, 10])
def test_a_script_in_a_text_is_found(slot: int) -> None:
    script = "#!/bin/sh\necho weighbridge\n"
    attribute = text_attribute("note", script) if slot == 5 else {0: "notes", 2: i32(8), 10: [script]}
    facts = facts_of(session(graph([node("Relu", attributes=[attribute])])))
    assert "script" in {fact.type for fact in facts if isinstance(fact, Native)}
    assert [type_ for type_, _ in members(facts)] == ["literal"]


def test_random_weights_that_open_like_a_pickle_are_data() -> None:
    data = b"\x80\x04" + bytes(range(14)) * 4
    facts = facts_of(session(graph([ADD], [tensor("w", [len(data)], data, dtype=2)])))
    assert not anomalies(facts)
    assert not reasons(facts)


@pytest.mark.parametrize("cut", range(8, len(PLAIN), 8))
def test_a_model_that_breaks_off_is_never_understood(cut: int) -> None:
    facts, tally = examine(PLAIN[:cut])
    assert any(isinstance(fact, Gap) for fact in facts)
    assert tally.unexamined == cut


def test_operators_that_came_before_the_break_are_told() -> None:
    data = bytearray(session(graph([ADD, node("PyOp", domain="ai.onnx.contrib")])))
    place = data.index(b"PyOp")
    data[place - 4 : place] = b"\xff\xff\xff\x7f"
    facts = facts_of(bytes(data))
    assert "ai.onnx::Add" in {fact.subject for fact in facts if isinstance(fact, Operator)}
    assert "a value lies outside of the file" in reasons(facts)


def test_tables_nested_too_deep_are_a_gap() -> None:
    inner = graph([ADD])
    for _ in range(MAX_DEPTH):
        inner = graph([node("If", attributes=[graph_attribute("b", inner)])])
    assert f"nested deeper than {MAX_DEPTH}" in reasons(facts_of(session(inner)))


def test_a_table_that_is_reached_in_many_ways_is_read_once() -> None:
    """Two references to each next table would be a million million paths, and are forty tables."""
    facts = facts_of(_shared(40))
    assert sum(isinstance(fact, Operator) for fact in facts) == 1


def _shared(levels: int) -> bytes:
    """Return a model whose graphs each hold a node twice that holds the next graph twice."""
    inner = graph([ADD])
    for _ in range(min(levels, MAX_DEPTH // 4)):
        inner = graph([node("Add", attributes=[{0: "b", 2: i32(10), 12: _Twice([inner])}])])
    return _SharingWriter().file({0: "6", 1: {7: inner}}, b"ORTM")


class _Twice(list[object]):
    """A list whose one table is to be written once and referred to twice."""


class _SharingWriter(Writer):
    def _value(self, value: object) -> int:
        if not isinstance(value, _Twice):
            return super()._value(value)
        self._align(4)
        start = len(self.out)
        self.out += b"\2\0\0\0" + bytes(8)
        target = self._table(value[0])  # type: ignore[arg-type]
        for place in (start + 4, start + 8):
            self._refer(place, target)
        return start


def test_every_table_of_the_schema_is_defined_and_used() -> None:
    named = {table for name in _TABLES for field in fields(name) for table in field.tables}
    assert named | {"InferenceSession"} == _TABLES.keys()


@given(st.binary(max_size=64), st.integers(4, len(PLAIN)))
def test_any_bytes_behind_the_identifier_give_facts_or_a_gap(data: bytes, keep: int) -> None:
    facts, tally = examine(PLAIN[:8] + data)
    assert tally.parsed + tally.inert + tally.unexamined == 8 + len(data)
    assert any(isinstance(fact, Gap) for fact in facts)
    examine(PLAIN[:keep] + data)


@given(st.lists(st.tuples(st.integers(8, len(PLAIN) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_changed_model_is_read_or_a_gap(changes: list[tuple[int, int]]) -> None:
    data = bytearray(FILES["ort/subgraph.ort"])
    for place, value in changes:
        data[place] = value
    examine(bytes(data))


@given(st.binary(min_size=1, max_size=200).filter(lambda data: any(data[:8]) or any(data[8:])))
def test_bytes_that_nothing_refers_to_never_go_unnoticed(data: bytes) -> None:
    assert "ort-hole" in anomalies(facts_of(PLAIN + data))


@pytest.mark.parametrize("value", ['{"labels": ["cat", "dog"]}', "labels:\n  - cat\n  - dog\n", "# Card\n\nA model.\n"])
def test_metadata_may_be_a_document(value: str) -> None:
    facts = facts_of(session(MAIN, metadata={"card": value}))
    assert not anomalies(facts)
    assert not reasons(facts)


def test_names_do_not_cost_an_examination() -> None:
    names = [f"model.layers.{index}.attention" for index in range(200)]
    nodes = [node("Relu", attributes=[text_attribute("scope", name)]) for name in names]
    assert members(facts_of(session(graph(nodes)))) == []
