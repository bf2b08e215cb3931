"""Runs of values of one shape, taken in one step: nothing of what a stream does is lost by it."""

from __future__ import annotations

import collections
import datetime
import decimal
import pickle
import struct

import pytest
from pickles import SYSTEM, calls, programs, run

from weighbridge.facts import Program
from weighbridge.formats.pickle.machine import Machine
from weighbridge.judgement import check
from weighbridge.rule_files import shipped_folder
from weighbridge.rules import RuleSet
from weighbridge.symbols import Dict, Run, Value
from weighbridge.trust import Trust


def test_runs_of_numbers_keep_their_values_or_count() -> None:
    numbers = [*range(300), *range(60_000, 60_300), *range(1 << 20, (1 << 20) + 300)]
    assert run(pickle.dumps(numbers, 4)).result == numbers
    floats = run(pickle.dumps([0.5] * 1000, 4)).result
    assert isinstance(floats, list)
    assert len(floats) == 1000


def row(index: int) -> dict[str, object]:
    return {"id": index, "name": f"n{index}", "score": index / 2, "flag": index % 2 == 0, "none": None}


@pytest.mark.parametrize(
    "rows",
    [
        [row(i) for i in range(5000)],
        [(i, f"n{i}", i / 2) for i in range(5000)],
        [[i, i + 1, i + 2, f"n{i}", None] for i in range(5000)],
        [(i, f"n{i}", i / 2, True, i) for i in range(5000)],
        [(i, "x" * (i % 40)) for i in range(5000)],
        [row(i) for i in range(70_000, 70_100)] * 50,
        [{"shared": "a" if i < 300 else "bb", "i": i} for i in range(5000)],
    ],
    ids=["dicts", "triples", "lists", "tuples", "long-texts", "repeated", "shared-values"],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_runs_of_records_are_what_the_machine_would_make_of_them(rows: list[object], protocol: int) -> None:
    data = pickle.dumps([rows, "end", collections.OrderedDict(a=1)], protocol)
    fast, slow = run(data), run(data, records=False)
    assert fast.complete
    assert slow.complete
    assert [shape(value) for value in parts(fast.result)] == [shape(value) for value in parts(slow.result)]
    assert [event.kind for event in fast.events] == [event.kind for event in slow.events]


class Thing:
    """A class of this module, which no trust entry names."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.text = f"row {number}"


def verdict(program: Program) -> list[tuple[str, int, str]]:
    """Return what the shipped rules and trust say of a program: names, counts and reasons."""
    judgement = check([program], RuleSet.shipped(), Trust(f"{shipped_folder()}/trust"))
    return [(one.fact.subject, one.repeated, one.reason) for one in judgement.unknowns]


@pytest.mark.parametrize(
    "values",
    [
        [Thing(i) for i in range(3000)],
        {f"key {i}": Thing(i) for i in range(3000)},
        [datetime.date(2020, 1, 1 + i % 28) for i in range(3000)],
        [decimal.Decimal(i) / 7 for i in range(3000)],
        [{"inner": [i, i + 1], "more": {"x": i / 2}} for i in range(3000)],
        [collections.OrderedDict(a=i, b=-i) for i in range(3000)],
        [[i % 7] * (2 + i % 5) for i in range(3000)],
        [(f"a{i}", b"12345678" + bytes((i % 256,))) for i in range(3000)],
        {(f"a{i}", f"b{i}"): i for i in range(3000)},
        [f"text {i} é" if i % 100 == 0 else f"text {i}" for i in range(3000)],
        [1 << 40 | i for i in range(3000)],
        [None if i % 3 else f"text {i % 4}" for i in range(3000)],
        [f"text {i}".encode() for i in range(3000)],
        ["" if i == 700 else "a\0\0\0b" if i == 900 else f"text {i}" for i in range(3000)],
        [i / 7 if i % 2 else f"a text of more than forty bytes, number {i}" for i in range(3000)],
    ],
    ids=lambda values: type(values).__name__,
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_report_is_the_same_whether_runs_are_taken_or_not(values: object, protocol: int) -> None:
    (program,) = programs(pickle.dumps([values, "end"], protocol))
    assert program.complete
    if program.exactly is not None:
        exact = program.exactly()
        assert exact is not None
        assert not any(isinstance(event, Run) for event in exact.events)
        assert verdict(program) == verdict(exact)


def test_values_of_a_run_that_are_changed_are_told_one_by_one() -> None:
    """After the run, POP uncovers a list that stands for many, and APPEND changes one of them."""
    padding = b"B\0\x20\0\0" + bytes(1 << 13) + b"0"
    rows = b"](K\x01\x8c\x01xe" * 20
    assert run(b"\x80\x04](" + rows + b"e" + padding + b".").elided
    changed = run(b"\x80\x04](" + rows + b"0K\x07ae" + padding + b".")
    assert not changed.elided
    assert isinstance(changed.result, list)
    assert [len(row) for row in changed.result] == [2] * 18 + [3]


def test_a_memo_entry_in_the_place_of_one_left_out_is_found_again() -> None:
    """BINPUT between MEMOIZEs, where the entries of a run were left out, shifts no index."""
    padding = b"B\0\x20\0\0" + bytes(1 << 13) + b"0"
    rows = b"](K\x01\x8c\x01xe\x94" * 20
    data = b"\x80\x04](" + rows + b"e" + padding + b"q\x03" + b"\x8c\x02os\x94" + b"h\x14\x86."
    assert run(data).result == run(data, records=False).result
    assert type(run(data).result) is tuple


NAMED = [b"](K\1X\1\0\0\0xr%be" % struct.pack("<I", n) for n in range(2, 402)]


def named(rows: list[bytes], behind: bytes = b"") -> bytes:
    """Return a list of rows whose memo entries are named by number, and something behind it."""
    return b"\x80\x02]q\0]q\1(" + b"".join(rows) + b"e" + b"B\0\x20\0\0" + bytes(1 << 13) + b"0" + behind + b"."


@pytest.mark.parametrize(
    ("data", "elided"),
    [
        (named(NAMED), True),
        (named(NAMED, b"X\2\0\0\0osr" + struct.pack("<I", 402)), True),
        (named(NAMED, b"X\2\0\0\0osr" + struct.pack("<I", 403)), False),
        (named(NAMED, b"X\2\0\0\0osr" + struct.pack("<I", 77) + b"j" + struct.pack("<I", 77) + b"\x86"), False),
        (named(NAMED, b"j" + struct.pack("<I", 77) + b"\x86"), False),
        (named([*NAMED[:300], *NAMED[:300]]), False),
        (named([*NAMED[:300], *NAMED[301:]]), False),
    ],
    ids=["in order", "goes on", "one left out behind", "one again behind", "asked for", "all again", "one left out"],
)
def test_memo_entries_by_number_are_left_out_only_where_they_run_on(data: bytes, elided: bool) -> None:
    fast, slow = run(data), run(data, records=False)
    assert fast.complete == slow.complete
    assert fast.complete
    assert fast.elided is elided
    if not elided:
        assert fast.result == slow.result


def test_what_comes_before_a_break_inside_a_run_is_told() -> None:
    call = b"cm\nf\nq\2X\1\0\0\0aq\3(h\2h\3\x85RX\3\0\0\0keyh\2h\3\x85R"
    rows = b"".join(b"X\4\0\0\0k%03dh\2h\3\x85R" % n for n in range(300))
    data = b"\x80\x02}q\0(K\1" + call + rows + b"X\4\0\0\0k\xff\xff1h\2h\3\x85R" + rows
    assert not run(data).complete
    assert shape_of(run(data)) == shape_of(run(data, records=False))


@pytest.mark.parametrize("opcode", [b"\x8c\x04", b"X\4\0\0\0"])
def test_a_text_that_is_no_utf_8_breaks_a_run_too(opcode: bytes) -> None:
    row = b"](K\1%bgoode" % opcode
    data = b"\x80\x04](" + row * 500 + row.replace(b"good", b"b\xff\xffd") + row * 500 + b"e."
    assert run(b"\x80\x04](" + row * 1000 + b"e.").elided
    assert "utf-8" in run(data).broken
    assert shape_of(run(data)) == shape_of(run(data, records=False))


def test_a_program_among_encoded_texts_is_found() -> None:
    """Protocol 2 writes bytes as Latin-1 text; one of a run of them is a program that its callable is given."""
    inner = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."
    payloads = [b"harmless bytes, %03d" % n for n in range(600)]
    payloads[400] = inner
    texts = [payload.decode("latin-1").encode() for payload in payloads]
    rows = b"".join(b"h\1h\2X" + struct.pack("<I", len(text)) + text + b"h\3\x86R\x85R" for text in texts)
    head = b"\x80\x02cm\nkeep\nq\1c_codecs\nencode\nq\2X\6\0\0\0latin1q\3](" + rows + b"e."
    assert "os.system('id')" in calls(head)


def shape_of(machine: Machine) -> object:
    return machine.complete, machine.broken, machine.position, [(one.kind, one.offset) for one in machine.events]


def parts(value: Value) -> list[Value]:
    assert isinstance(value, list)
    assert isinstance(value[0], list)
    return value[0]


def shape(value: Value) -> object:
    """Return the types of a record's values, and its keys."""
    if isinstance(value, Dict):
        return [(key, kind(part)) for key, part in zip(value[::2], value[1::2], strict=True)]
    assert isinstance(value, list | tuple)
    return type(value), [kind(part) for part in value]


def kind(value: Value) -> str:
    name = type(value).__name__.removeprefix("Elided").lower()
    same = {"text": "str", "uint": "int", "bool": "constant", "nonetype": "constant", "elided": "float", "": "float"}
    return same.get(name, name)


def test_a_stream_that_asks_for_a_memo_entry_of_a_run_is_run_again() -> None:
    rows: list[object] = [(i, f"n{i}", i / 2) for i in range(2000)]
    data = pickle.dumps([rows, rows[1500], [rows[700]]], 4)
    machine = run(data)
    assert machine.complete
    assert isinstance(machine.result, list)
    assert machine.result[1:] == [rows[1500], [rows[700]]]


def test_what_follows_a_run_cannot_change_the_records_of_it() -> None:
    record = b"}(\x8c\x01aJ\x01\x01\x01\x01\x8c\x01bG" + b"?" * 8 + b"u"
    data = b"\x80\x04](" + record * 400 + SYSTEM + b"K\x01s" + b"e."
    result = run(data).result
    assert isinstance(result, list)
    assert [len(value) for value in result if isinstance(value, Dict)] == [4] * 399 + [6]
