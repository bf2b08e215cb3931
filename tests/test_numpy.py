"""numpy arrays: the header is read, never evaluated; objects are a pickle to examine."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from examining import anomalies, examine, facts_of, members, reasons
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from weighbridge.facts import Inert, Tensor
from weighbridge.formats import numpy

ARRAYS = [
    np.arange(6, dtype="<f8").reshape(2, 3),
    np.asfortranarray(np.ones((2, 3), dtype=">i2")),
    np.array(3.0),
    np.zeros((0, 4), dtype="c16"),
    np.array(["ab", "c"]),
    np.array([b"abc"]),
    np.array(["2020-01-01"], dtype="M8[D]"),
    np.array([1], dtype="m8[25us]"),
    np.array([True]),
    np.zeros(3, dtype=[("a", "<i4"), ("b", "<f8", (2, 2)), ("c", [("d", "u1")])]),
    np.zeros(2, dtype=[(("title", "name"), "<i4")]),
    np.zeros(2, dtype=np.dtype([("a", "u1"), ("b", "<f8")], align=True)),
    np.zeros(2, dtype=[("ä", "<i4"), ("日", "<i4")]),
    np.zeros(2, dtype="V7"),
]


def save(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def pack(header: str, data: bytes = b"", version: int = 1) -> bytes:
    text = header.encode()
    return numpy.MAGIC + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + data


@pytest.mark.filterwarnings("ignore:Stored array in format")
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_plain_arrays_are_inert_to_the_last_byte(array: np.ndarray) -> None:
    data = save(array)
    facts, tally = examine(data)
    assert [(f.shape, f.size) for f in facts if isinstance(f, Tensor)] == [(array.shape, array.nbytes)]
    assert (tally.inert, tally.unexamined) == (array.nbytes, 0)
    assert not anomalies(facts)
    assert not reasons(facts)


@pytest.mark.parametrize("dtype", [object, [("a", "<i4"), ("b", object)]])
def test_an_array_of_objects_is_examined_as_a_member(dtype: DTypeLike) -> None:
    facts = facts_of(save(np.zeros(2, dtype=dtype)))
    assert members(facts) == [("file", "objects")]
    assert not any(isinstance(f, Inert) and f.reason == "array data" for f in facts)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': 'i4,O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': 'object', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f8', 'fortran_order': 0, 'shape': (1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': [1], }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        "{'descr': '<f8', 'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': __import__('os'), 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1,)} + 1",
        "{'descr': " + "[" * 5000,
        "",
    ],
)
def test_a_header_that_numpy_does_not_write_is_a_gap_and_the_rest_is_examined(header: str) -> None:
    facts = facts_of(pack(header, b"\x93NUMPY"))
    assert "npy header" in reasons(facts)
    assert members(facts) == [("file", "data")]


def test_python_2_integers_and_later_versions_are_read() -> None:
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2L, 1L), }    \n"
    assert not reasons(facts_of(pack(header, bytes(16))))
    for version in (2, 3):
        assert not reasons(facts_of(pack(header, bytes(16), version)))
    assert "version 4" in reasons(facts_of(pack(header, bytes(16), 4)))


def test_bytes_behind_the_array_are_an_anomaly_and_examined() -> None:
    facts = facts_of(save(np.arange(3)) + save(np.arange(3)))
    assert anomalies(facts) == {"numpy-trailing"}
    assert members(facts) == [("trailing", "trailing")]
    assert not reasons(facts)


@given(st.binary(max_size=200))
def test_any_bytes_give_facts(data: bytes) -> None:
    facts_of(numpy.MAGIC + data)
    facts_of(pack("{'descr': " + data.decode("latin-1")))


def test_every_truncation_leaves_a_gap() -> None:
    whole = save(np.arange(4))
    for size in range(1, len(whole)):
        assert reasons(facts_of(whole[:size]))
