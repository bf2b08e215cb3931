"""Columns of Arrow in pickles: covered when their buffers are there, as pandas writes its texts where pyarrow is."""

from __future__ import annotations

from pathlib import Path

import pytest
from examining import facts_of
from hypothesis import given
from hypothesis import strategies as st

from fixtures.assemble import P2, P4, Ops, Spelling
from weighbridge.columns import fills_its_buffers
from weighbridge.facts import Program
from weighbridge.location import Location
from weighbridge.symbols import Call, Form, Global, Span
from weighbridge.trust import Trust

TRUST = Trust(Path(__file__).parents[1] / "rules" / "trust")
HERE = Location(path=("column.pkl",))
WIDTHS = {"bool": 1, "int8": 8, "halffloat": 16, "float": 32, "int64": 64, "double": 64}
TEXTS = bytes(8) + (1).to_bytes(8, "little") + (2).to_bytes(8, "little")


def untrusted(data: bytes) -> list[str]:
    """Return the subjects of what no entry covers."""
    programs = [fact for fact in facts_of(data) if isinstance(fact, Program)]
    return [event.subject for program in programs for event, _ in TRUST.untrusted(program)]


def called(name: str, *arguments: object) -> Call:
    """Return the result of a call."""
    module, _, last = name.rpartition(".")
    return Call(HERE, 0, Global(HERE, 0, (module, last), module, last), arguments, None, Form.REDUCE)


def column(
    name: str, length: int, buffers: list[object], nulls: int = 0, offset: int = 0, children: object = None
) -> tuple[object, ...]:
    """Return the data of a column."""
    held = [None if one is None else called("pyarrow.lib.py_buffer", one) for one in buffers]
    kind = called("pyarrow.lib.type_for_alias", name)
    return kind, length, nulls, offset, held, [] if children is None else children, None


@given(
    st.sampled_from(sorted(WIDTHS)),
    st.integers(0, 100),
    st.integers(0, 20),
    st.integers(-3, 3),
    st.sampled_from(["kept", "span"]),
)
def test_a_column_of_numbers_has_the_bytes_that_it_names(
    name: str, length: int, offset: int, off: int, form: str
) -> None:
    needed = -(-(length + offset) * WIDTHS[name] // 8)
    size = max(0, needed + off)
    data: object = bytes(size) if form == "kept" else Span(0, size, "bytes")
    assert fills_its_buffers(column(name, length, [None, data], offset=offset)) == (size >= needed)


@given(st.integers(0, 60), st.integers(-9, 9), st.sampled_from([("string", 4), ("large_string", 8)]))
def test_a_column_of_texts_has_its_offsets(length: int, off: int, kind: tuple[str, int]) -> None:
    name, width = kind
    needed = (length + 1) * width if length else 0
    size = max(0, needed + off)
    assert fills_its_buffers(column(name, length, [None, bytes(size), b""])) == (size >= needed)


@pytest.mark.parametrize(
    "data",
    [
        column("int64", 2, [None, bytes(16)], nulls=1),
        column("int64", 9, [bytes(1), bytes(72)], nulls=1),
        column("int64", 2, [None, bytes(16)], nulls=3),
        column("int64", 2, [bytes(16)]),
        column("int64", 2, [None, bytes(16), bytes(16)]),
        column("int64", -1, [None, bytes(16)]),
        column("int64", 1, [None, bytes(16)], offset=-1),
        column("int64", 1 << 61, [None, bytes(16)]),
        column("int64", True, [None, bytes(16)]),
        column("int64", 2, [None, bytes(16)], children=[column("int64", 2, [None, bytes(16)])]),
        column("int64", 2, [None, None]),
        column("int64", 2, [None, Span(0, 16, "str")]),
        column("list<item: string>", 2, [None, bytes(16)]),
        column("string_view", 2, [None, bytes(32)]),
        (*column("int64", 2, [None, bytes(16)])[:6], column("int64", 2, [None, bytes(16)])),
        ("int64", 2, 0, 0, [None, bytes(16)], [], None),
        (),
        None,
    ],
)
def test_what_pyarrow_would_not_write_does_not_fit(data: object) -> None:
    assert not fills_its_buffers(data)


def buffer(write: Spelling, data: bytes) -> Ops:
    """Return a buffer as pyarrow writes it."""
    return write.call("pyarrow.lib:py_buffer", write.call("builtins:bytearray", data))


def texts(write: Spelling, length: object = 2, offsets: bytes = TEXTS, kind: str = "large_string") -> Ops:
    """Return the array of texts `a` and `b` as pandas writes it."""
    made = write.call("pyarrow.lib:type_for_alias", kind)
    data: object = (made, length, 0, 0, [None, buffer(write, offsets), buffer(write, b"ab")], [], None)
    dtype = write.call("pandas:StringDtype", "pyarrow", 1.5)
    state = {"_pa_array": write.call("pyarrow.lib:_restore_array", data), "_dtype": dtype, "_cache": {}}
    return write.build(write.newobj("pandas.arrays:ArrowStringArray"), state)


def index(write: Spelling, kind: str, values: object) -> Ops:
    """Return an index of values."""
    return write.call("pandas.core.indexes.base:_new_Index", write.name("pandas", kind), {"data": values, "name": None})


@pytest.mark.parametrize("write", [P2, P4], ids=["protocol 2", "protocol 4"])
def test_the_names_of_the_columns_of_a_frame_are_covered(write: Spelling) -> None:
    assert untrusted(write.stream(index(write, "Index", texts(write)))) == []


@pytest.mark.parametrize(
    "made",
    [
        index(P4, "DatetimeIndex", texts(P4)),
        index(P4, "Index", texts(P4, length=3)),
        index(P4, "Index", texts(P4, offsets=b"")),
        index(P4, "Index", texts(P4, kind="int64")),
        P4.build(P4.newobj("pandas.arrays:ArrowStringArray"), {"_pa_array": [texts(P4)], "_dtype": None}),
        P4.call("pyarrow.lib:py_buffer", P4.name("os", "system")),
        P4.call("pyarrow.lib:foreign_buffer", 0, 16),
        P4.call("pyarrow.lib:_restore_array", (1, 2)),
    ],
)
def test_a_column_that_would_be_read_or_does_not_fit_is_not(made: Ops) -> None:
    assert untrusted(P4.stream(made))


@pytest.mark.parametrize("form", ["R", "o", "i"])
def test_a_column_is_measured_as_it_is_when_it_is_made(form: str) -> None:
    kind = P4.call("pyarrow.lib:type_for_alias", "int64")
    buffers = Ops(b"(" + P4.value(None) + P4.call("pyarrow.lib:py_buffer", bytes(8)) + b"e")
    data = Ops(b"(" + kind + b"K\x01K\0K\0" + b"]\x94]Nt")
    forms = {
        "R": P4.name("pyarrow.lib", "_restore_array") + data + b"\x85R",
        "o": b"(" + P4.name("pyarrow.lib", "_restore_array") + data + b"o",
        "i": b"(" + data + b"ipyarrow.lib\n_restore_array\n",
    }
    # the only memo entry is the list of buffers, empty when the column is made and filled afterwards
    late = b"\x80\x04" + forms[form].replace(b"\x94]N", b"q\x07]N") + b"h\x07" + buffers + b"\x86."
    early = b"\x80\x04" + forms[form].replace(b"]\x94]N", b"]" + buffers + b"]N") + b"."
    assert [fact.complete for fact in facts_of(early) + facts_of(late) if isinstance(fact, Program)] == [True, True]
    assert untrusted(early) == []
    assert untrusted(late) == ["pyarrow.lib._restore_array"]
