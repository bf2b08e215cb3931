"""The loader's own reading of safetensors headers: stricter than the library, and never of another opinion."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

from weighbridge.header import BITS, HEADER_LIMIT, MAX_DIMENSIONS, MAX_TENSORS, NAME_LIMIT, Header, length, parse
from weighbridge.refusals import MalformedHeader


def entry(begin: int, end: int, dtype: str = "U8", shape: list[int] | None = None) -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def read(header: object, data: bytes = b"") -> Header:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = 8 + len(text) + len(data)
    assert length(struct.pack("<Q", len(text)), size, "m") == 8 + len(text)
    return parse(text, size, "m")


def test_an_ordinary_header_is_metadata_and_tensors_in_the_order_of_the_file() -> None:
    header = {"__metadata__": {"format": "pt"}, "b": entry(8, 10), "a": entry(0, 8, "F32", [2, 1]), "e": entry(8, 8)}
    found = read(header, bytes(10))
    assert found.metadata == {"format": "pt"}
    assert [(one.name, one.dtype, one.shape, one.size) for one in found.tensors] == [
        ("a", "F32", (2, 1), 8),
        ("e", "U8", (0,), 0),
        ("b", "U8", (2,), 2),
    ]
    assert (found.data, found.tensors[-1].end) == (found.tensors[0].begin, found.data + 10)


@pytest.mark.parametrize("dtype", BITS)
def test_every_type_of_the_library_is_known(dtype: str) -> None:
    assert read({"a": entry(0, BITS[dtype], dtype, [8])}, bytes(BITS[dtype])).tensors[0].dtype == dtype


ONE = b'{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'


@pytest.mark.parametrize(
    ("rule", "header"),
    [
        ("duplicate", b'{"a":%b,"a":%b}' % (ONE, ONE)),
        ("duplicate", b'{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}'),
        ("duplicate", b'{"__metadata__":{"a":"b","a":"b"},"a":%b}' % ONE),
        ("duplicate", b'{"__metadata__":{},"__metadata__":{},"a":%b}' % ONE),
        ("duplicate", b'{"a":%b,"\\u0061":%b}' % (ONE, ONE)),
        ("padding", b' {"a":%b}' % ONE),
        ("padding", b'{"a":%b}\n' % ONE),
        ("padding", b'{"a":%b}\0\0' % ONE),
        ("padding", b"[1]"),
        ("json", b"{}{}"),
        ("json", b'{"a":NaN}'),
        ("json", b'{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}'),
        ("json", b'{"\xff":%b}' % ONE),
        ("json", b'{"a":' + b"[" * 50_000 + b"}"),
        ("json", b'{"a":' + b"1" * 5000 + b"}"),
        ("metadata", b'{"__metadata__":{"a":1},"a":%b}' % ONE),
        ("metadata", b'{"__metadata__":[],"a":%b}' % ONE),
        ("entry", {"a": entry(0, 1) | {"more": 1}}),
        ("entry", {"a": {"dtype": "U8", "shape": [1]}}),
        ("entry", {"a": {"dtype": 1, "shape": [1], "data_offsets": [0, 1]}}),
        ("entry", {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 2]}}),
        ("entry", {"a": []}),
        ("dtype", {"a": entry(0, 1, "Q4")}),
        ("shape", {"a": entry(0, 1, shape=[True])}),
        ("shape", {"a": entry(0, 1, shape=[-1])}),
        ("shape", {"a": entry(0, 1, shape=[1 << 62] * 4)}),
        ("shape", {"a": entry(0, 1, shape=[1] * (MAX_DIMENSIONS + 1))}),
        ("shape", {"a": entry(0, 1), "z": entry(1, 1, shape=[0, 1 << 62, 1 << 62])}),
        ("shape", {"a": entry(0, 1, "F32", [1])}),
        ("shape", {"a": entry(0, 1, "F4", [1])}),
        ("offsets", {"a": {"dtype": "U8", "shape": [1], "data_offsets": [-1, 0]}}),
        ("offsets", {"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 0]}}),
        ("offsets", {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, True]}}),
        ("offsets", {"a": entry(1, 2)}),
        ("offsets", {"a": entry(0, 2)}),
        ("offsets", {"a": entry(0, 1), "b": entry(0, 1)}),
        ("offsets", {"a": entry(0, 0)}),
        ("offsets", {}),
        *(("name", {name: entry(0, 1)}) for name in ("", "a\0", "a\n", "\u202ea", "n" * (NAME_LIMIT + 1))),
        *(("name", {name: entry(0, 1)}) for name in ("/etc/passwd", "a/../b", "..", "..\\a", "C:\\a")),
    ],
)
def test_what_readers_differ_about_is_refused_by_its_rule(rule: str, header: object) -> None:
    with pytest.raises(MalformedHeader) as caught:
        read(header, b"x")
    assert caught.value.rule == rule
    assert caught.value.code == "LOAD_HEADER"


@pytest.mark.parametrize("name", ["a..b", "model/layers.0/kernel:0", "naïve", "a b", "{[(\\"])
def test_names_that_writers_give_are_taken(name: str) -> None:
    assert read({name: entry(0, 1)}, b"x").tensors[0].name == name


def test_a_header_of_millions_of_tensors_is_refused_by_its_length() -> None:
    with pytest.raises(MalformedHeader, match=str(HEADER_LIMIT)):
        length(struct.pack("<Q", 88_900_000), 100_000_000, "m")


def test_a_header_of_too_many_tensors_is_not_decoded() -> None:
    text = b'"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},' * (MAX_TENSORS + 1)
    with pytest.raises(MalformedHeader, match=f"limit is {MAX_TENSORS}"):
        read(b"{" + text[:-1] + b"}")  # the names are all the same, which would be found first
    with pytest.raises(MalformedHeader, match="tokens"):
        read(b'{"a":[' + b"[]," * 4_000_000 + b"[]]}")


@pytest.mark.parametrize(("prefix", "size"), [(b"", 0), (b"\2\0", 2), (struct.pack("<Q", 0), 8), (b"\xff" * 8, 99)])
def test_a_length_that_cannot_be_is_refused(prefix: bytes, size: int) -> None:
    with pytest.raises(MalformedHeader):
        length(prefix, size, "m")


SIDES = st.lists(st.integers(0, 4), max_size=3)
NAMES = st.text(st.characters(codec="utf-8"), max_size=6)


@given(st.dictionaries(NAMES, st.tuples(st.sampled_from(sorted(BITS)), SIDES), max_size=4), st.data())
def test_what_is_taken_the_library_takes_and_reads_alike(
    wanted: dict[str, tuple[str, list[int]]], data: st.DataObject
) -> None:
    header: dict[str, object] = {}
    offset = 0
    for name, (dtype, shape) in wanted.items():
        bits = BITS[dtype]
        for side in shape:
            bits *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + bits // 8]}
        offset += bits // 8
    text = bytearray(json.dumps(header).encode())
    if data.draw(st.booleans()):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(text), bytes(offset))
    except MalformedHeader:
        return
    theirs = deserialize(struct.pack("<Q", len(text)) + text + bytes(offset))  # type: ignore[no-untyped-call]
    assert {one.name: (one.dtype, list(one.shape), one.size) for one in found.tensors} == {
        name: (one["dtype"], list(one["shape"]), len(one["data"])) for name, one in theirs
    }


@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_of_the_library_or_refused(data: bytes) -> None:
    try:
        read(b"{" + data + b"}")
    except MalformedHeader:
        return
    try:
        deserialize(struct.pack("<Q", len(data) + 2) + b"{" + data + b"}")  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise AssertionError("taken here and refused by the library") from error
