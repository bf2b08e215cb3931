"""The abstract pickle machine: what a stream does, however it is written and wherever it breaks."""

from __future__ import annotations

import collections
import io
import pickle
import struct

import pytest
from examining import anomalies, facts_of, reasons
from hypothesis import given
from hypothesis import strategies as st
from pickles import CALL, SYSTEM, calls, events, names, run

from weighbridge.expression import express
from weighbridge.facts import Fact, Gap, Program
from weighbridge.formats.pickle.recorder import FRAMES, OLD_FRAMES, WINDOW
from weighbridge.limits import Limits
from weighbridge.symbols import Call, Dict, Event, Items, Key, PersistentId, Set, Span, State, Value

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
