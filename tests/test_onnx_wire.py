"""The wire format under an ONNX model: what no writer produces, places of what is told, and limits."""

from __future__ import annotations

import sys

import pytest
from examining import anomalies, examine, facts_of, reasons
from hypothesis import given
from hypothesis import strategies as st

from fixtures import protobuf as pb
from weighbridge.errors import ArtifactError
from weighbridge.facts import Anomaly, Gap, Inert, Member, Operator, Tensor
from weighbridge.formats.onnx import walker, wire
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location
from weighbridge.reader import Reader, from_bytes

NODE = pb.node("Relu")
PLAIN = pb.model(pb.graph([NODE]))


def reader(data: bytes) -> Reader:
    return from_bytes(data, Location(("file",)))


def inside(extra: bytes, padding: int) -> list[bytes]:
    """Return models with a field put into a message of each kind, in small messages or large ones."""
    pad = pb.field(6, "a" * padding) if padding else b""
    tensor = pb.tensor("t", [2], bytes(8)) + pb.field(12, "a" * padding) + extra
    value = pb.value("v") + pb.field(3, "a" * padding) + extra
    attribute = pb.attribute("a", 1) + pb.field(13, "a" * padding) + extra
    return [
        PLAIN + extra,
        pb.model(pb.graph([NODE], extra=pb.field(10, "a" * padding) + extra)),
        pb.model(pb.graph([pb.node("Relu", extra=pad + extra)])),
        pb.model(pb.graph([pb.node("Relu", attributes=[attribute])])),
        pb.model(pb.graph([NODE], [tensor])),
        pb.model(pb.graph([NODE], inputs=[value])),
        pb.model(pb.graph([NODE]), functions=[pb.function("f", [NODE]) + extra]),
        pb.model(pb.graph([NODE]), training=[pb.field(1, pb.graph([NODE])) + extra]),
        pb.model(pb.graph([NODE]), extra=pb.field(8, pb.message({1: "d", 2: 1}) + extra)),
        pb.model(pb.graph([NODE]), extra=pb.field(14, pb.message({1: "k", 2: "v" * padding}) + extra)),
        pb.model(pb.graph([pb.node("If", attributes=[pb.attribute("g", graph=pb.graph([NODE], extra=extra))])])),
    ]


@pytest.mark.parametrize("padding", [0, 5000, 70_000], ids=["small", "large", "larger"])
@pytest.mark.parametrize("place", range(11))
def test_a_field_that_is_not_known_is_an_anomaly_and_a_gap_wherever_it_is(place: int, padding: int) -> None:
    for extra in (pb.field(99, b"content"), pb.field(500, 7), pb.varint(99 << 3 | 5) + bytes(4)):
        data = inside(extra, padding)[place]
        facts = facts_of(data)
        (found,) = (fact for fact in facts if isinstance(fact, Anomaly) and fact.code == "onnx-unknown-field")
        assert data[found.location.offset :].startswith(extra)
        assert "does not have" in reasons(facts)
        assert "ai.onnx::Relu" in {fact.subject for fact in facts} or place == 3


@pytest.mark.parametrize("padding", [0, 5000], ids=["small", "large"])
@pytest.mark.parametrize("place", range(11))
def test_a_group_is_an_anomaly_wherever_it_is(place: int, padding: int) -> None:
    group = pb.varint(60 << 3 | 3) + pb.field(1, b"content") + pb.varint(60 << 3 | 4)
    facts = facts_of(inside(group, padding)[place])
    assert {"onnx-wire", "onnx-unknown-field"} <= anomalies(facts)
    assert reasons(facts)


@pytest.mark.parametrize(
    ("place", "repeated"),
    [
        (0, pb.field(7, pb.graph([NODE]))),
        (0, pb.field(1, 8)),
        (1, pb.field(2, "name")),
        (2, pb.field(4, "Other")),
        (3, pb.field(3, 1)),
        (4, pb.field(2, 7)),
        (4, pb.field(9, bytes(8))),
        (5, pb.field(1, "other")),
        (6, pb.field(10, "domain")),
        (7, pb.field(1, pb.graph([NODE]))),
        (8, pb.field(2, 3)),
        (9, pb.field(1, "other")),
        (10, pb.field(2, "name")),
    ],
)
@pytest.mark.parametrize("padding", [0, 5000], ids=["small", "large"])
def test_a_field_that_comes_twice_is_an_anomaly(place: int, repeated: bytes, padding: int) -> None:
    assert "onnx-duplicate-field" in anomalies(facts_of(inside(repeated, padding)[place]))


def test_two_models_behind_each_other_are_told_as_the_one_that_readers_make_of_them() -> None:
    other = pb.model(pb.graph([pb.node("Other")], [pb.tensor("t", [2000], bytes(8000))]))
    facts = facts_of(PLAIN + other)
    assert "onnx-duplicate-field" in anomalies(facts)
    assert {fact.name for fact in facts if isinstance(fact, Operator)} == {"Relu", "Other"}
    assert [fact.size for fact in facts if isinstance(fact, Tensor)] == [8000]


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.replace(b"\x08\x08", b"\x08\x88\x00", 1),
        b"\x88\x00\x08" + PLAIN[2:],
        pb.message({1: 8}) + b"\x3a" + bytes([len(pb.graph([NODE])) | 128, 0]) + pb.graph([NODE]),
        pb.message({1: 8, 7: b"\x0a" + bytes([len(NODE) | 128, 0]) + NODE}),
        pb.message({1: 8, 7: pb.field(1, b"\x22\x84\x00Relu")}),
        pb.message({1: 8, 7: pb.field(1, pb.field(5, b"\x18\x81\x80\x00") + pb.field(4, "Relu"))}),
    ],
)
def test_a_number_that_takes_more_bytes_than_it_needs_is_an_anomaly(data: bytes) -> None:
    facts = facts_of(data)
    assert anomalies(facts) == {"onnx-wire"}
    assert [fact.name for fact in facts if isinstance(fact, Operator)] == ["Relu"]


@pytest.mark.parametrize(
    "broken",
    [
        b"\x0a\x7f",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x08" + b"\xff" * 9 + b"\x7f",
        b"\x06\x01",
        b"\x07\x01",
        b"\x00\x01",
        b"\x0c",
        b"\x0b\x14",
        b"\x0b",
        b"\x0d\x01",
        b"\x09\x01",
        b"\x80",
        b"\x9b\x06" * 101,
    ],
)
@pytest.mark.parametrize("padding", [0, 5000])
def test_what_cannot_be_read_is_a_gap(broken: bytes, padding: int) -> None:
    for data in inside(broken, padding)[1:8]:
        assert reasons(facts_of(data))


@pytest.mark.parametrize("junk", [b"\0" * 16, b"\xff" * 16, b"\x00junk", b"\x0c\x01", b"\x80"])
def test_bytes_behind_a_model_that_are_no_fields_are_a_member(junk: bytes) -> None:
    facts, tally = examine(PLAIN + junk)
    assert "onnx-trailing" in anomalies(facts)
    (member,) = (fact for fact in facts if isinstance(fact, Member))
    assert (member.location.offset, member.size) == (len(PLAIN), len(junk))
    assert {fact.name for fact in facts if isinstance(fact, Operator)} == {"Relu"}
    assert tally.unexamined == len(junk)


def test_graphs_nested_deeper_than_protobuf_reads_are_a_gap() -> None:
    graph = pb.graph([NODE])
    for _ in range(40):
        graph = pb.graph([pb.node("If", attributes=[pb.attribute("then_branch", graph=graph)])])
    assert "deeper" in reasons(facts_of(pb.model(graph)))


@pytest.mark.parametrize(
    ("name", "value", "data"),
    [
        ("MAX_FIELDS", 4, PLAIN),
        ("MAX_COPY", 100, pb.model(pb.graph([NODE], extra=pb.field(10, "a" * 200)))),
        ("MAX_KINDS", 3, pb.model(pb.graph([pb.node(str(n)) for n in range(5)]))),
    ],
)
def test_a_limit_that_is_hit_is_a_gap(name: str, value: int, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not reasons(facts_of(data))
    monkeypatch.setattr(walker, name, value)
    assert str(value) in reasons(facts_of(data))


def test_a_copy_of_nothing_but_short_fields_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not reasons(facts_of(PLAIN))
    monkeypatch.setattr(sys.modules["weighbridge.formats.onnx.parse"], "MAX_SHORT", 20)
    assert "20 short fields" in reasons(facts_of(PLAIN))


def test_a_model_that_takes_too_long_is_a_gap() -> None:
    nodes = b"".join(pb.field(1, pb.field(4, "Relu")) for _ in range(70_000))
    facts = facts_of(pb.message({1: 8, 7: nodes}), Limits(max_seconds=0))
    assert [fact.limit for fact in facts if isinstance(fact, Gap)] == ["max_seconds"]


def test_the_copy_has_the_structure_and_not_the_weights() -> None:
    weights = [pb.tensor(f"w{n}", [25_000], bytes([n]) * 100_000) for n in range(8)]
    data = pb.model(pb.graph([NODE], weights))
    walk = walker.Walk(reader(data), Budget(Limits()), thorough=False)
    assert len(walk.copy) < 400
    assert sum(fact.size for fact in facts_of(data) if isinstance(fact, Inert)) == 800_000


def test_numbers_written_one_by_one_are_stepped_over_and_counted() -> None:
    tensors = [
        pb.message({1: [5000], 2: 1, 8: "f", 4: [0.5] * 5000}),
        pb.message({1: [5000], 2: 7, 8: "i", 7: [1, -1] * 2500}),
        pb.message({1: [5000], 2: 11, 8: "d"}) + (b"\x51" + bytes(8)) * 5000,
        pb.message({1: [200_000], 2: 13, 8: "u", 11: [300] * 200_000}),
    ]
    trees = pb.node("Trees", attributes=[pb.attribute("ints", [1, 2, 3] * 3000), pb.field(7, [0.5] * 3000)])
    data = pb.model(pb.graph([trees], tensors))
    facts = facts_of(data)
    assert not anomalies(facts)
    assert not reasons(facts)
    assert sum(fact.size for fact in facts if isinstance(fact, Inert)) > 0.95 * len(data)


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=3))
def test_a_number_is_read_back(value: int, more: bytes) -> None:
    data = wire.encoded(value)
    assert wire.varint(reader(data + more), 0, len(data + more)) == (value, len(data))
    with pytest.raises(ArtifactError):
        wire.varint(reader(data[:-1] + b"\x80"), 0, len(data))


@given(st.lists(st.integers(0, 1 << 40), max_size=40), st.sampled_from([0, 1, 5]), st.binary(max_size=9))
def test_a_run_ends_where_its_fields_do(values: list[int], kind: int, more: bytes) -> None:
    size = {1: 8, 5: 4}.get(kind)
    one = [wire.encoded(v) if size is None else (v % (1 << 32)).to_bytes(size, "little") for v in values]
    data = b"".join(bytes([0x38 | kind]) + part for part in one)
    view = memoryview(data + b"\0" + more)
    assert wire.run(view, 0x38 | kind, 0, len(view)) == len(data)
