"""NEWOBJ_EX as protocols 2 and 3 write it: told as what it is, and anything that is nearly that as what it does."""

from __future__ import annotations

import copyreg
import datetime
import io
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from examining import facts_of
from hypothesis import given
from hypothesis import strategies as st
from pickles import calls, events, names, programs, run

from benchmarks.corpus.constructions import (
    ANOTHER,
    GETATTR,
    KEYWORDS,
    NEAR_MISSES,
    NEW,
    PARTIAL,
    Bend,
    Construction,
    get,
    put,
)
from fixtures.assemble import P2, P3, P4, STOP, Ops, proto
from weighbridge.expression import express_event
from weighbridge.judgement import Judgement, check
from weighbridge.rules import RuleSet
from weighbridge.symbols import Call, Dict, Form, Global, State
from weighbridge.trust import Trust

RULES_FOLDER = Path(__file__).parents[1] / "rules"
RULES = RuleSet.load(RULES_FOLDER)
TRUST = Trust(RULES_FOLDER / "trust")
SYMBOL = P2.name("sympy.core.symbol", "Symbol")
REAL = Construction(SYMBOL, ("x",), {"positive": True})


class Kept:
    """Gives `__new__` whatever it was made with."""

    given: tuple[tuple[object, ...], dict[str, object]]

    def __new__(cls, *arguments: object, **keywords: object) -> Kept:
        made = super().__new__(cls)
        made.given = arguments, keywords
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[object, ...], dict[str, object]]:
        return self.given

    def __getstate__(self) -> object:
        return {"more": [1]} if self.given[0] else None


class Heir(Kept):
    """Inherits `__new__`, which is looked up on the other class."""


class Outer:
    """Has a class inside."""

    class Inner(Kept):
        """Is written as an attribute of the other class."""

        def __new__(cls, *arguments: object, **keywords: object) -> Any:
            return super().__new__(cls, *arguments, **keywords)


def _write_in_c(value: object, protocol: int) -> bytes:
    return pickle.dumps(value, protocol)


def _write_in_python(value: object, protocol: int) -> bytes:
    written = io.BytesIO()
    pickle._Pickler(written, protocol).dump(value)
    return written.getvalue()


PICKLERS = [_write_in_c, _write_in_python]


def judged(data: bytes) -> Judgement:
    return check(facts_of(data), RULES, TRUST)


def told(data: bytes) -> list[tuple[str, str]]:
    """Return what a stream does beside importing: the form or kind of each event, and what it is."""
    return [
        (event.form if isinstance(event, Call) else event.kind, express_event(event))
        for event in events(data)
        if not isinstance(event, Global)
    ]


WORDS = st.sampled_from(["a", "b_c", "größe"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(WORDS, inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(lambda a, b, k: Kept(a, b, **k), inner, inner, st.dictionaries(WORDS, inner, min_size=1))
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("write", PICKLERS)
@given(value=VALUES, protocol=st.sampled_from([2, 3]))
def test_protocols_2_and_3_are_told_as_protocol_4_is(
    write: Callable[[object, int], bytes], value: object, protocol: int
) -> None:
    data, newer = write(value, protocol), write(value, 4)
    assert told(data) == told(newer)
    assert names(data) - {"builtins.getattr", "functools.partial"} == names(newer)


@pytest.mark.parametrize("write", PICKLERS)
@pytest.mark.parametrize("protocol", [2, 3])
def test_the_imports_of_the_steps_are_told(write: Callable[[object, int], bytes], protocol: int) -> None:
    data = write([Kept(1, a=2), Kept(b=3)], protocol)
    assert names(data) == {"builtins.getattr", "functools.partial", f"{Kept.__module__}.Kept"}
    assert [event.form for event in events(data) if isinstance(event, Call)] == [Form.NEWOBJ_EX] * 2


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_class_written_in_c_is_told_alike(protocol: int) -> None:
    class Pickler(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            if type(value) is datetime.timedelta:
                return copyreg.__newobj_ex__, (type(value), (value.days,), {"seconds": value.seconds})  # type: ignore[attr-defined]
            return NotImplemented

    written = io.BytesIO()
    Pickler(written, protocol).dump(datetime.timedelta(2, 5))
    assert told(written.getvalue()) == [("NEWOBJ_EX", "datetime.timedelta.__new__(2, **{'seconds': 5})")]


@pytest.mark.parametrize("value", [Heir(1, a=2), Outer.Inner(1, a=2)], ids=["inherited", "class in a class"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_a_constructor_of_another_class_or_of_a_computed_one_is_told_step_by_step(value: object, protocol: int) -> None:
    forms = [form for form, _ in told(pickle.dumps(value, protocol))]
    assert "NEWOBJ_EX" not in forms
    assert forms.count("REDUCE") >= 3


@pytest.fixture
def sympy_symbol(monkeypatch: pytest.MonkeyPatch) -> type[Kept]:
    """Stand in for sympy's class, which picklers find where they look for it."""
    module = types.ModuleType("sympy.core.symbol")
    members = {"__module__": module.__name__, "__new__": _new_symbol, "__getstate__": lambda self: None}
    symbol = type("Symbol", (), {**vars(Kept), **members})
    module.Symbol = symbol  # type: ignore[attr-defined]
    for name in ("sympy", "sympy.core"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return symbol


def _new_symbol(cls: type[Kept], *arguments: object, **keywords: object) -> Kept:
    made = object.__new__(cls)
    made.given = arguments, keywords
    return made


_new_symbol.__module__, _new_symbol.__qualname__ = "sympy.core.symbol", "Symbol.__new__"


@pytest.mark.parametrize("write", PICKLERS)
@pytest.mark.parametrize("protocol", [2, 3])
def test_symbols_with_assumptions_pass_in_every_protocol(
    sympy_symbol: Any, write: Callable[[object, int], bytes], protocol: int
) -> None:
    x, y = sympy_symbol("x", positive=True), sympy_symbol("y", integer=None, real=True)
    data = write([x, y, x, {"symbols": (y,)}], protocol)
    assert b"functools" in data
    assert judged(data) == Judgement()
    assert judged(write(sympy_symbol("1 + 1", positive=True), protocol)).unknowns


def test_arguments_are_judged_as_those_of_newobj_ex() -> None:
    for one in (
        REAL,
        Construction(SYMBOL, ("__import__('os')",), {"positive": True}),
        Construction(SYMBOL, ("x",), {"__class__": True}),
        Construction(SYMBOL, (P2.name("os", "system"),)),
        Construction(P2.name("subprocess", "Popen"), (("true",),), {"shell": True}),
        Construction(P2.name("functools", "partial"), (P2.name("os", "system"), "id")),
        Construction(P2.name("builtins", "type"), ("T", (), {})),
        Construction(P2.name("nobody.knows", "Class"), (1,)),
    ):
        here, direct = judged(P2.stream(one.code())), judged(P4.stream(one.direct()))
        assert [finding.rule.id for finding in here.findings] == [finding.rule.id for finding in direct.findings]
        assert [unknown.reason for unknown in here.unknowns] == [unknown.reason for unknown in direct.unknowns]
        assert here.gaps == direct.gaps == ()
    assert judged(P2.stream(REAL.code())) == Judgement()


@pytest.mark.parametrize("write", [P2, P3])
@pytest.mark.parametrize("name", NEAR_MISSES)
def test_what_is_nearly_that_is_told_step_by_step_and_never_passes(name: str, write: Any) -> None:
    code = NEAR_MISSES[name](REAL)
    data = write.stream(code)
    assert judged(data).findings
    assert told(data) == told(proto(4) + code + STOP)  # where no opcode is missing, nothing stands for one


@pytest.mark.parametrize("head", [b"", proto(0), proto(1), proto(4), proto(5), proto(2) + proto(4)])
def test_other_protocols_write_none(head: bytes) -> None:
    data = head + REAL.code() + STOP
    assert "builtins.getattr(sympy.core.symbol.Symbol, '__new__')" in calls(data)
    assert judged(data).findings


def test_python_3_14_imports_the_class_again() -> None:
    data = P2.stream([REAL.code(), Construction(SYMBOL, ("y",), {"real": None}).code()])
    assert data.count(b"csympy") == 4
    assert judged(data) == Judgement()


def test_keywords_may_be_none_and_arguments_missing() -> None:
    code = REAL.code(state=P2.tuple_of(get(NEW), (SYMBOL,), None, None))
    (call,) = (event for event in events(P2.stream(code)) if isinstance(event, Call))
    assert call.arguments == ()
    assert type(call.keywords) is Dict
    assert not call.keywords


@pytest.mark.parametrize(
    "one",
    [
        REAL,
        Construction(P2.name("sympy.core.numbers", "Float"), ((0, "3", -1, 2),), {"precision": 53}),
        Construction(P2.name("scipy.stats._stats_py", "LinregressResult"), (1.0, 2.0, 0.5, 0.1, 0.2), {"stderr": 0.1}),
        Construction(P2.name("collections", "Counter")),
    ],
)
def test_objects_of_trusted_classes_pass(one: Construction) -> None:
    assert [form for form, _ in told(P2.stream(one.code()))] == ["NEWOBJ_EX"]
    assert judged(P2.stream(one.code())) == judged(P3.stream({"a": [one.code()]})) == Judgement()


def test_the_state_of_the_object_stays_its_own() -> None:
    data = P2.stream(P2.build(REAL.code(), {"a": 1}))
    assert [type(event) for event in events(data) if not isinstance(event, Global)] == [Call, State]
    assert events(data)[-1].subject == "sympy.core.symbol.Symbol"


def test_what_ran_before_a_stream_broke_is_told_alike() -> None:
    data = proto(2) + REAL.code() + b"0\xff"
    assert [form for form, _ in told(data)] == ["NEWOBJ_EX"]
    assert not programs(data)[0].complete


def test_one_that_is_bent_leaves_those_of_other_classes_alone() -> None:
    other = put(P2.call(GETATTR, ANOTHER, "__new__"), KEYWORDS + 5)
    bent = Ops(P2.call(PARTIAL, other))
    assert "NEWOBJ_EX" in [form for form, _ in told(P2.stream([REAL.code(), bent]))]


def test_a_wrapper_whose_array_joblib_reads_is_never_made_like_this() -> None:
    wrapper = Construction(P2.name("joblib.numpy_pickle", "NumpyArrayWrapper"))
    code = P2.build(wrapper.code(), {"shape": (4,)})
    assert judged(P2.stream(code)).findings
    assert "builtins.getattr(joblib.numpy_pickle.NumpyArrayWrapper, '__new__')" in calls(P2.stream(code))


DTYPE = P4.build(P4.call("numpy:dtype", "O8", False, True), (3, "|", None, None, None, -1, -1, 63))
OBJECTS = P4.build(
    P4.newobj("joblib.numpy_pickle:NumpyArrayWrapper"),
    {"subclass": P4.name("numpy", "ndarray"), "shape": (1,), "order": "C", "dtype": DTYPE, "allow_mmap": False},
)


@pytest.mark.parametrize("outer", [2, 4])
def test_object_arrays_of_joblib_hold_them_in_a_pickle_of_protocol_2(outer: int) -> None:
    kept: Bend = NEAR_MISSES["partial-in-result"]
    for code, forms in ((REAL.code(), ["NEWOBJ_EX"]), (kept(REAL), ["REDUCE", "REDUCE", "state", "REDUCE"])):
        machine = run(proto(outer) + OBJECTS + P2.stream(code) + STOP)
        assert machine.complete
        steps = [event for event in machine.events if isinstance(event, Call | State)][-len(forms) :]
        assert [event.form if isinstance(event, Call) else event.kind for event in steps] == forms


def test_a_program_among_the_arguments_is_examined() -> None:
    program = pickle.dumps(print, 2)
    data = P3.stream(Construction(ANOTHER, (program,), {"a": program}).code())
    assert len(programs(data)) == 3


@pytest.mark.parametrize("protocol", [2, 3])
def test_long_lists_of_them_are_told_one_by_one(sympy_symbol: Any, protocol: int) -> None:
    data = pickle.dumps([sympy_symbol(f"x{n}", positive=bool(n % 3)) for n in range(300)], protocol)
    assert [form for form, _ in told(data)] == ["NEWOBJ_EX"] * 300
    assert judged(data) == Judgement()
    part = put(P2.call(PARTIAL, get(6)), KEYWORDS)  # entry 6 is what `getattr` returned
    bent = data[:-2] + part + STOP
    assert len(judged(bent).findings) > 1
    assert [form for form, _ in told(bent)].count("NEWOBJ_EX") == 0


def test_a_large_stream_is_gone_through_once() -> None:
    doubled = Ops(P2.value((1, 2)) + b"".join(b"2\x86" for _ in range(60)))
    data = P2.stream([doubled, REAL.code()])
    assert [form for form, _ in told(data)] == ["NEWOBJ_EX"]
