"""What one stream makes and another uses is judged as what it is: behind joblib's wrappers, in literals, in torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from examining import facts_of

from benchmarks.corpus.flows import (
    ABUSES,
    CALLED_ONLY,
    FLOAT,
    FLOATS,
    MEMOS,
    STORABLE,
    first_format,
    from_bytes,
    legacy,
    persistent,
    tensor,
)
from benchmarks.corpus.hook_abuse import CLASS, OBJECT, array, index, layer, made, stream, wrapped
from benchmarks.corpus.payloads import SYSTEM, Payload
from fixtures.assemble import P2, P4, STOP, Ops, Spelling, proto
from weighbridge.facts import Gap, Program
from weighbridge.trust import Trust

TRUST = Trust(Path(__file__).parents[1] / "rules" / "trust")
STORED = "may be called with reviewed arguments, but is stored or passed along here"


def reasons(data: bytes) -> list[str]:
    """Return why what the bytes do is not trusted, and what was not understood."""
    facts = facts_of(data)
    untrusted = [why for fact in facts if isinstance(fact, Program) for _, why in TRUST.untrusted(fact)]
    return untrusted + [fact.reason for fact in facts if isinstance(fact, Gap)]


@pytest.mark.parametrize("data", ABUSES.values(), ids=ABUSES.keys())
def test_a_result_is_not_trusted_as_something_else(data: bytes) -> None:
    assert reasons(data)


@pytest.mark.parametrize("technique", MEMOS.values(), ids=MEMOS.keys())
def test_no_reading_of_an_array_is_left_out(technique: Callable[[Payload, Spelling], bytes]) -> None:
    assert reasons(technique(SYSTEM, P4))


def numbers(objects: Ops) -> Ops:
    """Return an estimator that wants arrays, and gets a list and an array of objects."""
    return made("sklearn.isotonic:IsotonicRegression", {"X_thresholds_": [0.0], "labels": objects, "increasing": True})


ORDINARY = {
    "objects": stream(wrapped(array(OBJECT, ["a", 1, None]))),
    "objects of an estimator": stream(numbers(wrapped(array(OBJECT, ["a", layer()])))),
    "objects of an index": stream(index(wrapped(array(OBJECT, ["a"])))),
    "several": stream(P4.list_of(wrapped(array(OBJECT, ["a"])), wrapped(array(OBJECT, ["b"])))),
    "class that may be stored": stream(wrapped(array(OBJECT, [P4.name("numpy", "float64")]))),
    "storage in a literal": P4.stream(tensor(from_bytes(FLOATS))),
    "storage in a literal by itself": P4.stream(P4.list_of(from_bytes(FLOATS))),
    "torch's first format": first_format((1, "cpu", FLOAT), views=((2, 1, 0, 0),), tensors=((3, 2, FLOAT),)),
    "class of a layer by persistent id": legacy(
        P2.list_of(persistent("module", STORABLE, "linear.py", "class Linear"))
    ),
    "object of a class by persistent id": legacy(
        P2.build(P2.newobj(persistent("module", STORABLE, "linear.py", "class Linear")), {"training": True})
    ),
    "object of a class that is not stored": legacy(
        P2.build(P2.newobj(persistent("module", CALLED_ONLY, "scaler.py", "class GradScaler")), {"_enabled": True})
    ),
}


@pytest.mark.parametrize("data", ORDINARY.values(), ids=ORDINARY.keys())
def test_a_result_is_trusted_as_what_it_is(data: bytes) -> None:
    assert reasons(data) == []


@pytest.mark.parametrize("objects", [P4.list_of(CLASS), array(OBJECT, [CLASS]), CLASS], ids=["list", "array", "class"])
def test_a_name_is_kept_behind_a_wrapper_as_in_the_stream_itself(objects: Ops) -> None:
    assert STORED in reasons(stream(P4.list_of(objects)))
    assert STORED in reasons(stream(P4.list_of(wrapped(objects))))


def written_by_joblib(fourth: object) -> bytes:
    """Return a dict with an array of objects as joblib 1.6 writes it.

    For the `numpy` of the array's dtype, plain pickle takes the fourth entry of the memo of the dict.
    """
    head = b"}\x94" + P4.value("key") + b"\x94" + P4.value("text") + b"\x940" + P4.value(fourth) + b"\x940"
    names = ("numpy._core.multiarray", "_reconstruct", b"\x93"), ("numpy", "ndarray", b"\x93")
    classes = [b"\x94".join((P4.value(module), P4.value(name), opcode, b"")) for module, name, opcode in names]
    empty = b"".join(classes) + P4.tuple_of(0) + P4.value(b"b") + b"\x87R"
    dtype = P4.build(P4.call(Ops(b"h\3" + P4.value("dtype") + b"\x93"), "O8", False, True), OBJECT_STATE)
    inner = proto(5) + P4.build(Ops(empty), (1, (1,), dtype, False, ["a"])) + STOP
    return proto(4) + head + wrapped(Ops(b""))[:WRAPPER] + inner + b"s" + STOP


OBJECT_STATE = (3, "|", None, None, None, -1, -1, 63)
WRAPPER = len(wrapped(Ops(b""))) - len(P4.stream(Ops(b""), framed=False))


@pytest.mark.parametrize(
    "fourth", ["model", "joblib.numpy_pickle", "pandas", "subclass", [], 1, P4.call("collections:OrderedDict")]
)
def test_plain_pickle_that_cannot_read_an_array_is_no_reason(fourth: object) -> None:
    assert reasons(written_by_joblib(fourth)) == []


@pytest.mark.parametrize(
    "fourth", ["torch", "weighbridge_unlisted", P4.name("string", "digits"), P4.call("weighbridge_unlisted:text")]
)
def test_plain_pickle_that_may_read_on_is_followed(fourth: object) -> None:
    assert len(reasons(written_by_joblib(fourth))) > len(reasons(stream(P4.list_of(fourth))))
