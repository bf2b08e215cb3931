"""The abstract pickle machine: what a stream does, however it is written and wherever it breaks."""

from __future__ import annotations

import bz2
import collections
import datetime
import decimal
import io
import pickle
import random
import re
import struct
import zlib
from collections.abc import Callable

import pytest
from examining import anomalies, facts_of, formats_of, members, reasons
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.expression import express
from weighbridge.facts import Fact, Gap, Program
from weighbridge.formats.pickle.embedded import BASE64, BEGINNING, HEXADECIMAL, PROGRAM_STARTS, RAW
from weighbridge.formats.pickle.machine import Machine
from weighbridge.formats.pickle.recorder import FRAMES, OLD_FRAMES, WINDOW
from weighbridge.judgement import check
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location
from weighbridge.rule_files import shipped_folder
from weighbridge.rules import RuleSet
from weighbridge.symbols import (
    Call,
    Dict,
    Event,
    Global,
    Items,
    Key,
    PersistentId,
    Run,
    Set,
    Span,
    State,
    Value,
)
from weighbridge.trust import Trust

SYSTEM = b"\x8c\x02os\x8c\x06system\x93"
CALL = SYSTEM + b"\x8c\x02id\x85R"
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=300),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner) | st.tuples(inner, inner),
    max_leaves=30,
)


def run(data: bytes, *, records: bool = True) -> Machine:
    """Run one stream."""
    machine = Machine(memoryview(data), 0, Location(("x.pkl",)), Budget(Limits()), records=records)
    machine.run()
    return machine


def programs(data: bytes) -> list[Program]:
    return [fact for fact in facts_of(data) if isinstance(fact, Program)]


def events(data: bytes) -> list[Event]:
    return [event for program in programs(data) for event in program.events]


def calls(data: bytes) -> list[str]:
    return [express(event) for event in events(data) if isinstance(event, Call)]


def names(data: bytes) -> set[str]:
    return {event.dotted for event in events(data) if isinstance(event, Global)}


def concrete(value: Value) -> object:
    """Turn a symbolic value of plain data back into the data."""
    if isinstance(value, Dict):
        return {concrete(k): concrete(v) for k, v in zip(value[::2], value[1::2], strict=True)}
    if isinstance(value, Set):
        return {concrete(item) for item in value}
    if isinstance(value, list | tuple):
        return type(value)(concrete(item) for item in value)
    return value


@given(value=PLAIN, protocol=st.integers(3, 5))
def test_plain_data_is_understood_and_does_nothing(value: object, protocol: int) -> None:
    machine = run(pickle.dumps(value, protocol))
    assert machine.complete
    assert not machine.events
    assert not machine.anomalies


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=40),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner) | st.tuples(inner, inner),
        max_leaves=20,
    ),
    protocol=st.integers(0, 5),
)
def test_the_symbolic_result_is_the_data(value: object, protocol: int) -> None:
    assert concrete(run(pickle.dumps(value, protocol)).result) == value


@given(data=st.binary(max_size=300))
def test_any_bytes_give_facts(data: bytes) -> None:
    for prefix in (b"", b"\x80\x04", b"\x80\x02", CALL):
        assert all(isinstance(fact, Fact) for fact in facts_of(prefix + data))


@given(value=PLAIN, protocol=st.integers(2, 5), cut=st.integers(1, 400))
def test_a_truncated_stream_is_a_gap(value: object, protocol: int, cut: int) -> None:
    data = pickle.dumps(value, protocol)
    facts = facts_of(data[: min(cut, len(data) - 1)])
    assert any(isinstance(fact, Gap) for fact in facts)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04" + CALL + b".",
        b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.",
        b"cos\nsystem\n(S'id'\ntR.",
        b"(S'id'\nios\nsystem\n.",
        b"(cos\nsystem\nS'id'\no.",
        b"cposix\nsystem\n(Vid\ntR.",
        b"\x80\x04" + CALL + b"0N.",
        b"\x80\x04(" + CALL + b"1N.",
        b"\x80\x04" + CALL,
        b"\x80\x04" + CALL + b"\xff",
        b"\x80\x04" + CALL + b"h\x63.",
        b"\x80\x04" + CALL + b"\x8c\x50abc",
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94" + b"h\x00h\x01\x93\x8c\x02id\x85R.",
    ],
)
def test_a_call_is_seen_in_every_form_and_before_every_break(data: bytes) -> None:
    assert calls(data) == ["os.system('id')"]


@pytest.mark.parametrize(
    ("opcodes", "kind"),
    [
        (SYSTEM + b")\x81", "call"),
        (SYSTEM + b")}\x92", "call"),
        (SYSTEM + b"}b", "state"),
        (SYSTEM + b"K\x01K\x02s", "items"),
        (SYSTEM + b"(K\x01K\x02K\x03u", "items"),
        (SYSTEM + b"K\x01a", "items"),
        (SYSTEM + b"(K\x01e", "items"),
        (b"}" + SYSTEM + b"K\x01s", "key"),
        (b"\x8f(" + SYSTEM + b"\x90", "key"),
        (b"(" + SYSTEM + b"\x91", "key"),
        (b"K\x01Q", "persistent-id"),
        (b"Pabc\n", "persistent-id"),
        (b"\x82\x01", "extension"),
        (b"\x83\x01\x00", "extension"),
        (b"\x84\x01\x00\x00\x00", "extension"),
        (b"NN\x93", "computed-name"),
        (b"C\x02osC\x06system\x93", "computed-name"),
    ],
)
def test_everything_that_loading_would_do_is_an_event(opcodes: bytes, kind: str) -> None:
    assert kind in {event.kind for event in events(b"\x80\x04" + opcodes + b".")}


def test_ghsa_9gvj_stack_global_at_position_zero() -> None:
    assert names(b"\x8c\x02os\x8c\x06system\x93.") == {"os.system"}


def test_memo_is_fresh_for_every_stacked_pickle() -> None:
    first = b"\x80\x04\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93."
    second = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94h\x00h\x01\x93\x8c\x02id\x85R."
    assert calls(first + second) == ["os.system('id')"]


def test_put_over_an_existing_memo_entry_replaces_it() -> None:
    data = b"\x80\x02X\x02\x00\x00\x00osq\x00X\x06\x00\x00\x00systemq\x01X\x04\x00\x00\x00evilq\x010h\x00h\x01\x93."
    assert names(data.replace(b"0h\x00", b"00h\x00")) == {"os.evil"}


@pytest.mark.parametrize(
    "operand", [b"I0x10\n", b"I0o17\n", b"I010\n", b"L0x10L\n", b"L5\n", b"I1\0z\n", b"I\0z\n", b"F 1.0\n", b"p+1\n"]
)
def test_text_operands_that_c_accepts_do_not_stop_the_machine(operand: bytes) -> None:
    facts = facts_of(b"\x80\x02N" + operand + b"0" + b"cos\nsystem\n(Vid\ntR.")
    assert anomalies(facts) & {"pickle-noncanonical", "pickle-nul-operand"}
    assert any(isinstance(fact, Program) and fact.events for fact in facts)


@pytest.mark.parametrize(
    "data", [b"I7\n.", b"I00\n.", b"I-3\n.", b"L12L\n.", b"F1.5\n.", b"F1e+100\n.", b"S'a'\n.", b"Va\n."]
)
def test_what_picklers_write_is_no_anomaly(data: bytes) -> None:
    machine = run(data)
    assert machine.complete
    assert not machine.anomalies


@pytest.mark.parametrize(("opcode", "reading"), [(b"B", OLD_FRAMES), (b"X", FRAMES), (b"X", OLD_FRAMES)])
def test_cpython_154848_bytes_behind_a_straddling_operand_are_run(opcode: bytes, reading: str) -> None:
    """An operand that crosses the end of its frame makes the C unpickler drop the frame's rest."""
    body = opcode + struct.pack("<I", 200)
    frame = b"\x80\x04\x95" + struct.pack("<Q", len(body) + 4) + body + b"AAAA"
    data = frame + b"B" * 196 + b"B" * 4 + b"0" + CALL + b"0N."
    facts = facts_of(data)
    assert "pickle-frame-straddle" in anomalies(facts)
    assert reading in {fact.reading for fact in facts if isinstance(fact, Program)}
    assert "os.system('id')" in calls(data)


@pytest.mark.parametrize(
    ("body", "behind"),
    [(b"cos\npo", b"system\n(Vid\ntR."), (b"(Vid\nios\npo", b"system\n."), (b"cxx", b"os\nsystem\n(Vid\ntR.")],
)
def test_a_line_that_crosses_the_end_of_its_frame_is_the_one_behind_it(body: bytes, behind: bytes) -> None:
    """C keeps the first of two lines when it stands in the frame, and drops the beginning of the other."""
    data = b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body + behind
    assert "os.system('id')" in calls(data)


def test_a_memo_index_that_crosses_the_end_of_its_frame_is_the_one_behind_it() -> None:
    """Read as a whole, PUT hides the name that C finds again in entry 15."""
    hidden = b"".join(b"Va\np%d\n0" % n for n in range(15)) + b"Vsystem\np15\n0"
    body = b"Vgetpid\np1"
    data = b"\x80\x04" + hidden + b"\x95" + struct.pack("<Q", len(body)) + body + b"5\n0Vos\ng15\n\x93Vid\n\x85R."
    assert "os.system('id')" in calls(data)
    body = b"X\1\0\0\0ar\x0f\0\0"
    data = b"\x80\x04" + hidden + b"\x95" + struct.pack("<Q", len(body)) + body
    assert "os.system('id')" in calls(data + b"\0\1\0\0" + b"0Vos\ng15\n\x93Vid\n\x85R.")


def test_bytes_that_c_reads_across_the_end_of_a_frame_are_read_on() -> None:
    body = b"C\x0a12345"
    data = b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body + b"67890" + CALL + b"."
    readings = {fact.reading: fact for fact in facts_of(data) if isinstance(fact, Program)}
    assert readings[FRAMES].complete
    assert [event.kind for event in readings[FRAMES].events] == [event.kind for event in readings[""].events]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x80\x04N0\x80\x02N.", "pickle-proto"),
        (b"\x80\x04\x95\xff\x00\x00\x00\x00\x00\x00\x00N.", "pickle-frame-length"),
        (b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x95\x02\0\0\0\0\0\0\0N.", "pickle-frame-nested"),
        (b"\x80\x04\x8c\x03\xd0\xbes\x8c\x01a\x93.", "pickle-name-encoding"),
        (b"\x80\x04N.\x80\x04N.", "pickle-stacked"),
        (b"\x80\x04N.\xff\xfe\xfd", "pickle-trailing-data"),
        (b"\x80\x05\x970N.", "pickle-out-of-band"),
        (b"\x80\x02Nr\xff\xff\xff\xff.", "pickle-memo-index"),
        (b"\x80\x04\x8b\x00\x00\x02\x00" + bytes(1 << 17) + b".", "pickle-huge-int"),
    ],
)
def test_what_no_pickler_writes_is_an_anomaly(data: bytes, code: str) -> None:
    assert code in anomalies(facts_of(data))


def test_a_hash_bomb_is_named_and_does_not_explode() -> None:
    opcodes = b"\x80\x04}K\x01" + b"\x8520\x86"[:1] * 1 + b"2\x86" * 40 + b"K\x01s."
    assert "pickle-hash-bomb" in anomalies(facts_of(opcodes))


@pytest.mark.parametrize(
    "opcodes",
    [
        b"]" + b"\x85" * 1_000_000,
        b"N" + b"2\x86" * 100_000,
        b"(" * 1_000_000 + b"N",
        b"]\x94h\x00a" * 100_000 + b"N",
        b"}\x94" * 10 + b"h\x00h\x01h\x00s" * 10_000,
    ],
)
def test_deep_and_shared_structures_neither_crash_nor_blow_up(opcodes: bytes) -> None:
    machine = run(b"\x80\x04" + opcodes + b".")
    assert express(machine.result)


@pytest.mark.parametrize("opcode", [b"\x8e", b"\x8d", b"\x96", b"\x8b", b"B", b"X", b"T"])
def test_a_length_beyond_the_file_is_a_gap(opcode: bytes) -> None:
    facts = facts_of(b"\x80\x04" + CALL + opcode + b"\xff\xff\xff\x7f\x00\x00\x00\x00abc")
    assert "before STOP" in reasons(facts)
    assert calls(b"\x80\x04" + CALL + opcode + b"\xff\xff\xff\x7f\x00\x00\x00\x00abc") == ["os.system('id')"]


def test_long_literals_stay_in_the_file() -> None:
    data = pickle.dumps({"a": bytes(1 << 20), "b": "x" * 10_000, "c": bytearray(10)}, 5)
    result = run(data).result
    assert isinstance(result, Dict)
    spans = [value for value in result if isinstance(value, Span)]
    assert [(span.kind, span.size) for span in spans] == [("bytes", 1 << 20), ("str", 10_000), ("bytearray", 10)]
    assert data[spans[0].offset :][: spans[0].size] == bytes(1 << 20)


@pytest.mark.parametrize("protocol", [2, 4])
def test_streams_longer_than_a_window_are_read_exactly(protocol: int) -> None:
    value = [{"key": i, "text": f"text {i}", "score": i / 7, "none": None} for i in range(60_000)]
    data = pickle.dumps([value, collections.OrderedDict(a=1)], protocol)
    assert len(data) < WINDOW
    data = pickle.dumps(
        [value, value[:], [dict(x) for x in value], list(range(100_000)), b"x" * WINDOW, "end"], protocol
    )
    assert len(data) > WINDOW
    machine = run(data)
    assert machine.complete
    assert isinstance(machine.result, list)
    assert concrete(machine.result[0]) == value
    assert machine.result[5] == "end"


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


@pytest.mark.parametrize(
    "encode",
    [
        bytes,
        lambda data: b"\x80\x02" + data,
        lambda data: data.hex(),
        lambda data: __import__("base64").b64encode(data).decode(),
        lambda data: __import__("base64").b64encode(data),
        zlib.compress,
    ],
    ids=["raw", "with-proto", "hex", "base64", "base64-bytes", "zlib"],
)
def test_a_program_in_a_literal_is_found(encode: Callable[[bytes], object]) -> None:
    inner = b"\x80\x04" + SYSTEM + b"\x8c\x10echo a long line\x85R."
    data = pickle.dumps({"weights": encode(inner)}, 4)
    assert "os.system('echo a long line')" in calls(data)
    assert ("literal" in {kind for kind, _ in members(facts_of(data))}) is True


@pytest.mark.parametrize(
    "encode", [bytes.hex, lambda data: __import__("base64").b64encode(data).decode(), bytes.decode]
)
@pytest.mark.parametrize(
    "inner",
    [
        b"cos\nsystem\n(S'echo a long line'\ntR.",
        b"(cos\nsystem\nS'echo a long line'\no.",
        b"(S'echo a long line'\nios\nsystem\n.",
        b"ios\nsystem\n.cos\nsystem\n(S'echo a long line'\ntR.",
    ],
)
def test_a_text_pickle_in_a_literal_is_looked_at(encode: Callable[[bytes], str], inner: bytes) -> None:
    """However it begins: whether it is told depends on what the pattern of such beginnings knows."""
    text = encode(inner)
    machine = run(pickle.dumps({"weights": text}, 4))
    known = re.match(RAW.decode(), text) or re.match(BASE64, text) or re.match(HEXADECIMAL, text)
    assert bool(known) == any(value == text for _, _, value in machine.literals)


def test_every_beginning_of_a_program_has_a_first_byte_that_is_looked_for() -> None:
    begins_so = [BEGINNING, RAW, BASE64.encode(), HEXADECIMAL.encode()]
    ends = [b"\x02", b"K\x03\x04", b"\x8b\x08", b"\x9c", b"NUMPY", b"AI", b"EsDB", b"4sI", b"a", b"M", b"0 04", b"3"]
    ends += [b"8 63", b"os\nsystem", b"cos\nsystem", b"ios\nsystem"]
    found = {
        n for n in range(256) if any(re.match(one, bytes((n,)) + end + b"41" * 20) for one in begins_so for end in ends)
    }
    assert found == PROGRAM_STARTS


def test_a_text_pickle_passed_to_a_loader_is_run() -> None:
    data = b"\x80\x04\x8c\x06pickle\x8c\x05loads\x93C\x15cos\nsystem\n(S'id'\ntR.\x85R."
    assert "os.system('id')" in calls(data)


def test_protocol_two_bytes_passed_to_a_loader_are_decoded() -> None:
    inner = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."
    text = inner.decode("latin-1").encode()
    data = b"\x80\x02ctorch.storage\n_load_from_bytes\nc_codecs\nencode\nX" + struct.pack("<I", len(text)) + text
    data += b"X\x06\x00\x00\x00latin1\x86R\x85R."
    assert "os.system('id')" in calls(data)


@pytest.mark.parametrize("start", [b"\x80\x02", b"\x80\x05\x14", b"x\x9c\0", b"\x80\x04\x95\0\0\0\0\0\0\0"])
def test_a_number_of_numpy_that_begins_as_a_program_is_no_gap(start: bytes) -> None:
    data = start.ljust(16, b"\0")
    scalar = b"\x80\x04\x8c\x16numpy._core.multiarray\x8c\x06scalar\x93\x8c\x01ZC\x10" + data + b"\x86R."
    assert not reasons(facts_of(scalar))
    loaded = b"\x80\x04\x8c\x06pickle\x8c\x05loads\x93C\x10" + data + b"\x85R."
    assert reasons(facts_of(loaded))


def test_a_literal_that_two_calls_get_is_examined_for_the_one_that_loads() -> None:
    data = (
        b"\x80\x04C\x08\x80\x02\0\0\0\0\0\0\x940\x8c\x01m\x8c\x01f\x93h\0\x85R0\x8c\x06pickle\x8c\x05loads\x93h\0\x85R."
    )
    assert reasons(facts_of(data))


@pytest.mark.parametrize("pack", [bytes, zlib.compress], ids=["raw", "zlib"])
def test_a_program_that_a_call_of_another_name_gets_is_told(pack: Callable[[bytes], bytes]) -> None:
    inner = pack(b"\x80\x04" + SYSTEM + b"\x8c\x10echo a long line\x85R.")
    data = b"\x80\x04\x8c\x01m\x8c\x01f\x93C" + bytes([len(inner)]) + inner + b"\x85R."
    assert "os.system('echo a long line')" in calls(data)


def test_a_pickle_of_letters_that_holds_a_prompt_is_both_and_no_polyglot() -> None:
    facts = facts_of(pickle.dumps({"prompt": "Hello {{ name }}"}, 0))
    assert {fact.subject for fact in facts if fact.kind == "format"} == {"pickle", "jinja"}
    assert not anomalies(facts) and not reasons(facts)


def test_a_prompt_before_many_other_texts_is_found() -> None:
    data = pickle.dumps(["{{ ''.__class__ }}", *(f"text {index}" for index in range(9000))], 0)
    assert len(data) > 1 << 16 and {"pickle", "jinja"} <= formats_of(data)


def test_data_that_looks_like_a_pickle_is_no_gap() -> None:
    facts = facts_of(pickle.dumps({"weights": b"\x80\x04" + bytes(range(200, 256)) * 4}, 4))
    assert not [fact for fact in facts if isinstance(fact, Gap)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"# A model\n\nThis is a text.\n", set()),
        (b"(c) 2020 somebody\nall rights reserved\n", set()),
        (b"I am a text\n", set()),
        (b"[PAD]\n[UNK]\nthe\n", set()),
        (b"cos\nsystem\n(S'id'\ntR.", {"pickle"}),
        (pickle.dumps([1, 2], 0), {"pickle"}),
        (pickle.dumps({"a": list(range(5000))}, 0), {"pickle"}),
        (pickle.dumps([1, 2], 1), {"pickle"}),
        (pickle.dumps(["a", "b" * 10_000], 0), {"pickle"}),
        (pickle.dumps(["a", "b" * 10_000], 1), {"pickle"}),
        (bz2.compress(random.Random(1).randbytes(5000)), set()),
        (b"T" * 5000, set()),
    ],
)
def test_a_pickle_without_proto_is_told_from_text(text: bytes, expected: set[str]) -> None:
    assert formats_of(text) & {"pickle"} == expected


def test_torch_legacy_files_account_for_their_storages() -> None:
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    pid = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02NtQ"
    data = magic + b"\x80\x02" + pid + b"." + pickle.dumps(["0"], 2) + struct.pack("<q", 2) + bytes(8)
    facts = facts_of(data)
    assert {"pickle", "torch-legacy"} <= {fact.subject for fact in facts if fact.kind == "format"}
    assert not anomalies(facts)
    assert not reasons(facts)
    assert "before" in reasons(facts_of(data[:-1])) or "want" in reasons(facts_of(data[:-1]))
    assert "pickle-trailing-data" in anomalies(facts_of(data + b"\xff" * 10))
    for count in (0, -1, 3, 1 << 40):
        assert "torch-storage-size" in anomalies(facts_of(data[:-16] + struct.pack("<q", count) + bytes(8)))


def test_a_payload_in_the_third_pickle_of_a_legacy_file_is_seen() -> None:
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    assert "os.system('id')" in calls(magic + b"\x80\x04" + CALL + b"." + pickle.dumps([], 2))


WRAPPER = (
    b"\x8c\x13joblib.numpy_pickle\x8c\x11NumpyArrayWrapper\x93)\x81}(\x8c\x08subclass\x8c\x05numpy\x8c\x07ndarray\x93"
    b"\x8c\x05shapeK\x04\x85\x8c\x05order\x8c\x01C\x8c\x05dtype\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02%b\x89\x88\x87R"
    b"(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x8c\nallow_mmap\x88ub"
)


def test_arrays_behind_joblib_wrappers_are_stepped_over() -> None:
    machine = run(b"\x80\x04" + WRAPPER % b"u1" + b"\xff\xff\xff\xff" + b".")
    assert machine.complete
    assert machine.arrays == [(len(b"\x80\x04" + WRAPPER % b"u1"), 4)]


def test_array_bytes_are_also_read_as_the_opcodes_plain_pickle_would_run() -> None:
    payload = b"0" + CALL + b"."
    wrapper = (WRAPPER % b"u1").replace(b"K\x04\x85", b"K" + bytes([len(payload)]) + b"\x85")
    data = b"\x80\x04" + wrapper + payload + b"."
    assert "os.system('id')" in calls(data)
    assert {program.reading for program in programs(data)} == {"", "arrays as opcodes"}


def test_object_arrays_of_joblib_run_their_inner_pickle() -> None:
    data = b"\x80\x04" + WRAPPER % b"O8" + b"\x80\x04" + CALL + b"." + b"."
    assert calls(data)[-1] == "os.system('id')"
    assert run(data).complete


def test_limits_leave_the_events_before_them_and_a_named_gap() -> None:
    data = b"\x80\x04" + CALL + b"]" * (3 << 20) + b"."
    facts = facts_of(data, Limits(max_values=1000))
    gaps = [fact for fact in facts if isinstance(fact, Gap)]
    assert [gap.limit for gap in gaps] == ["max_values"]
    assert any(isinstance(fact, Program) and fact.events for fact in facts)


def test_sets_and_events_express_themselves() -> None:
    machine = run(b"\x80\x04\x8f(K\x01\x8c\x01a\x90.")
    assert express(machine.result) == "{*(1, 'a')}"
    shown = [express(e) for e in events(b"\x80\x04" + SYSTEM + b")\x81}b.")]
    assert shown[:2] == ["os.system", "os.system.__new__()"]


@pytest.mark.parametrize("kind", [Call, State, Items, Key, PersistentId])
def test_subjects_name_what_is_touched(kind: type[Event]) -> None:
    data = b"\x80\x04" + SYSTEM + b")R}b" + SYSTEM + b"K\x01K\x02s0}" + SYSTEM + b"K\x01s0" + b"K\x01Q0."
    found = [event for event in events(data) if type(event) is kind]
    assert found
    assert all(event.subject in ("os.system", "persistent-id") for event in found)


def test_nothing_is_imported(capsys: pytest.CaptureFixture[str]) -> None:
    data = io.BytesIO(b"\x80\x04\x8c\x04this\x8c\x01s\x93.").getvalue()
    assert names(data) == {"this.s"}
    assert capsys.readouterr().out == ""


def test_encoded_text_that_is_no_utf8_is_no_crash() -> None:
    text = b"x" * 5000 + b"\xff"
    data = b"\x80\x02c_codecs\nencode\nX" + struct.pack("<I", len(text)) + text + b"X\x06\x00\x00\x00latin1\x86R."
    assert calls(data)[0].startswith("_codecs.encode(<str, 5001 bytes")
