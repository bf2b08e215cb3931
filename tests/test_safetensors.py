"""safetensors: the header contract, and the account of every byte."""

from __future__ import annotations

import json
import struct

import pytest
from examining import anomalies, examine, facts_of, members, reasons
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.facts import Inert, Metadata, Tensor
from weighbridge.formats.safetensors.parse import BITS


def pack(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(begin: int, end: int, dtype: str = "U8", shape: list[int] | None = None) -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def test_an_ordinary_file_is_tensors_metadata_and_inert_data() -> None:
    data = pack(
        {"__metadata__": {"format": "pt"}, "b": entry(8, 10), "a": entry(0, 8, "F32", [2, 1]), "s": entry(10, 10)},
        bytes(10),
    )
    facts, tally = examine(data + b"")
    assert [(f.name, f.dtype, f.shape, f.size) for f in facts if isinstance(f, Tensor)] == [
        ("a", "F32", (2, 1), 8),
        ("b", "U8", (2,), 2),
        ("s", "U8", (0,), 0),
    ]
    assert [(f.key, f.value) for f in facts if isinstance(f, Metadata)] == [("format", "pt")]
    assert [(f.location.offset, f.size) for f in facts if isinstance(f, Inert)] == [(len(data) - 10, 10)]
    assert (tally.inert, tally.unexamined, tally.parsed) == (10, 0, len(data) - 10)
    assert not anomalies(facts)
    assert not reasons(facts)


@pytest.mark.parametrize("dtype", BITS)
def test_every_type_of_the_reference_reader_is_known(dtype: str) -> None:
    size = BITS[dtype]
    facts = facts_of(pack({"a": entry(0, size, dtype, [8])}, bytes(size)))
    assert not anomalies(facts)
    assert not reasons(facts)


@pytest.mark.parametrize(
    ("header", "size", "code"),
    [
        ({"a": entry(0, 4), "b": entry(2, 6)}, 6, "safetensors-overlap"),
        ({"a": entry(0, 4), "b": entry(0, 4)}, 4, "safetensors-overlap"),
        ({"a": entry(0, 2), "b": entry(4, 6)}, 6, "safetensors-hole"),
        ({"a": entry(2, 4)}, 4, "safetensors-hole"),
        ({"a": entry(0, 2)}, 3, "safetensors-trailing"),
        ({}, 1, "safetensors-trailing"),
        ({"a": entry(0, 2, "F32", [1])}, 2, "safetensors-length"),
        ({"a": entry(0, 2, "F4", [3])}, 2, "safetensors-length"),
        (
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
            1,
            "safetensors-duplicate-key",
        ),
        (b'{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1, "safetensors-duplicate-key"),
        (b'{"__metadata__":{"a":"b","a":"c"}}', 0, "safetensors-duplicate-key"),
        (b"{}\n", 0, "safetensors-padding"),
    ],
)
def test_what_breaks_the_layout_is_an_anomaly(header: object, size: int, code: str) -> None:
    assert code in anomalies(facts_of(pack(header, bytes(size))))


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"{}x",
        b'{"a":NaN}',
        b'{"a":1.0}',
        b'{"a":"\xff"}',
        b'{"a":' + b"[" * 50_000,
        b'{"a":' + b"1" * 5000 + b"}",
        {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1], "more": 1}},
        {"a": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}},
        {"a": {"dtype": "U8", "shape": [-1], "data_offsets": [0, 1]}},
        {"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 0]}},
        {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 2]}},
        {"a": {"dtype": "O", "shape": [1], "data_offsets": [0, 1]}},
        {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 2]}},
        {"a": {"dtype": "U8", "shape": [1 << 62] * 65, "data_offsets": [0, 1]}},
        {"a": []},
        {"__metadata__": {"a": 1}},
        {"__metadata__": []},
    ],
)
def test_a_header_outside_the_specification_is_a_gap(header: object) -> None:
    assert "safetensors" in reasons(facts_of(pack(header, b"x")))


def test_bytes_that_no_tensor_covers_are_examined() -> None:
    inner = pack({}, b"")
    facts = facts_of(pack({"a": entry(0, 1), "b": entry(1 + len(inner), 2 + len(inner))}, b"x" + inner + b"y" + inner))
    assert [kind for kind, _ in members(facts)] == ["trailing", "trailing"]
    assert not reasons(facts)


def test_a_header_of_too_many_tensors_is_not_decoded() -> None:
    text = b"{" + b",".join(b'"%d":%b' % (n, b'{"dtype":"U8","shape":[],"data_offsets":[0,0]}') for n in range(250_001))
    assert "limit" in reasons(facts_of(pack(text + b"}")))


@given(st.binary(max_size=200))
def test_any_bytes_give_facts(data: bytes) -> None:
    facts_of(data)
    facts_of(pack(b"{" + data, data))


def test_every_truncation_leaves_a_gap() -> None:
    whole = pack({"__metadata__": {"a": "b"}, "a": entry(0, 4), "b": entry(4, 8)}, bytes(8))
    for size in range(1, len(whole)):
        assert reasons(facts_of(whole[:size]))
