"""What a class asks its state, a dict its keys and an array its items for: nothing of the file's choice is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from examining import facts_of

from benchmarks.corpus.hook_abuse import (
    ABUSES,
    CLASS,
    FUNCTION,
    MOMENT,
    NUMBER,
    NUMBERS,
    OBJECT,
    PARAMETER,
    STRINGS,
    array,
    attributes,
    holder,
    index,
    keyed,
    layer,
    made,
    optimizer,
    record,
    stream,
    wrapped,
)
from fixtures.assemble import P4, Ops
from weighbridge.facts import Program
from weighbridge.trust import Trust

TRUST = Trust(Path(__file__).parents[1] / "rules" / "trust")
ZONE = made("dateutil.tz.tz:tzoffset", {"_name": "X", "_offset": P4.call("datetime:timedelta", 0, 3600, 0)})


def reasons(body: Ops) -> list[str]:
    """Return why what a stream does is not trusted."""
    programs = [fact for fact in facts_of(stream(body)) if isinstance(fact, Program)]
    assert programs
    return [reason for program in programs for _, reason in TRUST.untrusted(program)]


@pytest.mark.parametrize("body", ABUSES.values(), ids=ABUSES.keys())
def test_what_loading_would_call_by_a_stored_name_is_not_trusted(body: Ops) -> None:
    assert reasons(body)


ORDINARY = {
    "optimiser": optimizer(
        "adam:Adam",
        state=P4.set_item(P4.call("collections:defaultdict", P4.name("builtins", "dict")), PARAMETER, {"step": 3}),
        param_groups=[{"params": [PARAMETER], "lr": 0.1, "betas": (0.9, 0.999), "foreach": None}],
    ),
    "optimiser with a dict": optimizer("sgd:SGD", state={PARAMETER: {"momentum_buffer": PARAMETER}}),
    "module with tables": layer(
        _parameters=P4.call("collections:OrderedDict"),
        _buffers=P4.set_item(P4.call("collections:OrderedDict"), "running_mean", PARAMETER),
        _modules=P4.call("collections:OrderedDict", [P4.list_of("0", layer())]),
    ),
    "estimator": made("sklearn.preprocessing._data:StandardScaler", {"with_mean": True, "_sklearn_version": "1.7.0"}),
    "isotonic regression": made(
        "sklearn.isotonic:IsotonicRegression",
        {"X_thresholds_": [0.0, 1.0], "y_thresholds_": [0.0, 1.0], "increasing": True},
    ),
    "distribution": made("scipy.stats._continuous_distns:norm_gen", {"_ctor_param": None, "a": 0.0}),
    "result of an optimisation": attributes({"x": 1, "success": True, "message": "done"}),
    "dict with attributes": P4.build(P4.call("collections:OrderedDict"), {"_metadata": {}}),
    "records": array(record(NUMBERS, 16), [("name", array(NUMBER, bytes(8)))]),
    "objects": array(OBJECT, [layer()]),
    "strings": array(STRINGS, ["a"]),
    "times": keyed(P4.call("datetime:datetime", MOMENT, ZONE)),
    "tensor for a key": keyed(PARAMETER),
    "set": P4.call("builtins:frozenset", ["a", (1, P4.call("decimal:Decimal", "1.5"))]),
    "pairs": P4.call("collections:OrderedDict", [P4.list_of("a", layer())]),
    "name of an index": P4.call(
        "pandas.core.indexes.base:_new_Index",
        P4.name("pandas", "Index"),
        {"data": array(OBJECT, [1]), "name": ("a", 1)},
    ),
    "values of an index": index(array(OBJECT, ["a", ("b", 1), P4.call("datetime:datetime", MOMENT)])),
    "values of an index in joblib": index(wrapped(array(OBJECT, ["a"]))),
    "objects in a block": P4.call(
        "pandas._libs.internals:_unpickle_block", array(OBJECT, [layer()]), P4.call("builtins:slice", 0, 1, 1), 2
    ),
    "function stored": layer(activation=FUNCTION),
    "class of a layer stored": layer(_norm_layer=P4.name("torch.nn.modules.batchnorm", "BatchNorm2d")),
    "class of a splitter stored": P4.list_of(P4.name("sklearn.model_selection._split", "KFold")),
    "class of a mapped array": P4.build(
        P4.newobj("joblib.numpy_pickle:NumpyArrayWrapper"),
        {"subclass": P4.name("numpy", "memmap"), "shape": (0,), "order": "C", "dtype": NUMBER, "allow_mmap": True},
    ),
}


@pytest.mark.parametrize("body", ORDINARY.values(), ids=ORDINARY.keys())
def test_ordinary_states_keys_and_items_are_trusted(body: Ops) -> None:
    assert reasons(body) == []


def test_a_class_is_made_where_it_may_not_be_stored() -> None:
    assert reasons(P4.newobj(CLASS)) == []
    assert reasons(P4.list_of(P4.newobj(CLASS), CLASS)) == [
        "may be called with reviewed arguments, but is stored or passed along here"
    ]


def test_an_object_that_answers_to_any_name_is_data_by_itself() -> None:
    assert reasons(holder(get=FUNCTION)) == []


def test_a_state_is_given_once() -> None:
    once = made("torch.nn.modules.linear:Linear", {"training": True})
    assert reasons(once) == []
    assert reasons(P4.build(once, {"training": False})) == ["the object has a state already"]


def stored_array(text: str) -> bytes:
    """Return an array of objects of joblib, in which plain pickle takes `text` for the module that has `dtype`."""
    texts = b"(" + b"".join(P4.text(one) + b"\x94" for one in ("a", "b", text)) + b"t0"
    head = P4.text("numpy._core.multiarray") + b"\x94" + P4.text("_reconstruct") + b"\x94\x93"
    empty = head + P4.text("numpy") + b"\x94" + P4.text("ndarray") + b"\x93" + P4.tuple_of((0,), b"b")[:-1] + b"\x87R"
    kind = b"h\x02" + P4.text("dtype") + b"\x93" + P4.tuple_of("O8", False, True) + b"R"
    state = P4.tuple_of(3, "|", None, None, None, -1, -1, 63)
    inner = b"\x80\x04" + empty + b"(K\x01K\x01\x85" + kind + state + b"b\x89](Netb."
    return texts + wrapped(Ops(b""))[: -len(P4.stream(Ops(b""), framed=False))] + inner


@pytest.mark.parametrize("text", ["antigravity", "evil", "evil.sub", "idlelib.idle", "sklearn.__check_build", "_evil"])
def test_a_text_that_plain_pickle_takes_for_a_module_is_no_module_of_the_files_choice(text: str) -> None:
    assert "no trust entry names it" in reasons(Ops(stored_array(text)))


@pytest.mark.parametrize("text", ["numpy", "estimator", "RandomForestClassifier", "2026-01-01", "sklearn.svm._classes"])
def test_a_text_of_an_ordinary_pickle_in_the_place_of_a_module_is_trusted(text: str) -> None:
    assert reasons(Ops(stored_array(text))) == []
