"""ONNX graphs: functions, constants that decide on time and memory, and branches that an input throws."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from examining import anomalies, facts_of, reasons

from fixtures import protobuf as pb
from weighbridge.facts import Anomaly, Operator

LARGEST = (1 << 63) - 1
CALL = {"domain": "local"}


def chain(length: int, calls: int, *, back: bool = False) -> bytes:
    """Return a model whose functions each call the next one; with `back` the last calls the first."""
    last = pb.node("f0", domain="local") if back else pb.node("Relu")
    bodies = [[pb.node(f"f{n + 1}", domain="local")] * calls for n in range(length - 1)] + [[last]]
    functions = [pb.function(f"f{n}", body) for n, body in enumerate(bodies)]
    return pb.model(pb.graph([pb.node("f0", domain="local")]), {"": 17, "local": 1}, functions)


def test_functions_that_double_each_other_are_counted_and_not_written_out() -> None:
    (found,) = (fact for fact in facts_of(chain(26, 2)) if isinstance(fact, Anomaly))
    assert (found.code, found.detail.split()[0]) == ("onnx-function-expansion", str(1 << 25))
    assert "onnx-function-expansion" in anomalies(facts_of(chain(3000, 7)))
    assert not anomalies(facts_of(chain(26, 1)))
    assert not anomalies(facts_of(chain(10, 2)))


@pytest.mark.parametrize("length", [1, 2, 300])
def test_a_function_that_leads_back_to_itself_is_an_anomaly(length: int) -> None:
    assert anomalies(facts_of(chain(length, 1, back=True))) == {"onnx-function-recursion"}


def test_a_call_within_a_subgraph_counts() -> None:
    subgraph = pb.attribute("then_branch", graph=pb.graph([pb.node("f", domain="local")]))
    body = [pb.node("If", attributes=[subgraph])]
    facts = facts_of(pb.model(pb.graph([]), functions=[pb.function("f", body)]))
    assert "onnx-function-recursion" in anomalies(facts)


def test_a_function_in_a_domain_of_others_is_an_anomaly_and_its_own_none() -> None:
    for domain in ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"):
        assert "onnx-function-shadows" in anomalies(facts_of(shadowing(domain)))
    for domain in ("local", "pkg.onnxscript.torch_lib", "com.microsofter"):
        assert not anomalies(facts_of(shadowing(domain)))


def shadowing(domain: str) -> bytes:
    return pb.model(pb.graph([pb.node("Relu")]), functions=[pb.function("Relu", [pb.node("Neg")], domain)])


@pytest.mark.parametrize(
    ("called", "overload", "defined"), [("", "", True), ("a", "a", True), ("", "a", False), ("a", "", False)]
)
def test_a_call_of_an_overload_that_there_is_not_is_no_call_of_the_function(
    called: str, overload: str, defined: bool
) -> None:
    function = pb.function("f", [pb.node("Neg")]) + pb.field(13, overload)
    call = pb.node("f", domain="local", extra=pb.field(8, called))
    data = pb.model(pb.graph([call]), {"": 17, "local": 1}, [function])
    assert [fact.defined for fact in facts_of(data) if isinstance(fact, Operator) and fact.name == "f"] == [defined]


def test_two_functions_of_one_name_are_an_anomaly_but_for_overloads() -> None:
    one, other = (pb.function("f", [pb.node("Neg")]) + pb.field(13, overload) for overload in "ab")
    assert "onnx-function-duplicate" in anomalies(facts_of(pb.model(pb.graph([]), functions=[one, one])))
    assert not anomalies(facts_of(pb.model(pb.graph([]), functions=[one, other])))


def shaped(op: str, *inputs: Sequence[int], position: int = 0, attributes: Sequence[bytes] = ()) -> bytes:
    names = ["x"] * position + [f"c{n}" for n in range(len(inputs))]
    constants = [pb.integers(f"c{n}", value) for n, value in enumerate(inputs)]
    return pb.model(pb.graph([pb.node(op, names, attributes=attributes)], constants))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (shaped("ConstantOfShape", [1 << 20, 1 << 20]), True),
        (shaped("ConstantOfShape", [1, 1, 4096, 4096]), False),
        (shaped("ConstantOfShape", [1 << 40, 0]), True),
        (shaped("Expand", [1 << 40], position=1), True),
        (shaped("Expand", [1, -1, 512], position=1), False),
        (shaped("Tile", [1 << 33], position=1), True),
        (shaped("Range", [0], [1 << 40], [1]), True),
        (shaped("Range", [0], [1 << 40], [1 << 35]), False),
        (shaped("Range", [0], [1], [0]), False),
        (shaped("Pad", [0, 0, 1 << 40, 0], position=1), True),
        (shaped("Resize", [1 << 20, 1 << 20], position=3), True),
        (shaped("HannWindow", [1 << 40]), True),
        (shaped("RandomNormal", attributes=[pb.attribute("shape", [1 << 20, 1 << 20])]), True),
        (shaped("RandomNormal", attributes=[pb.attribute("shape", [10])]), False),
        (shaped("Reshape", [1 << 40], position=1), False),
    ],
)
def test_a_tensor_too_large_for_any_machine_is_an_anomaly(data: bytes, found: bool) -> None:
    assert ("onnx-resource-shape" in anomalies(facts_of(data))) == found
    assert not reasons(facts_of(data))


def constant(name: str, values: Sequence[int]) -> bytes:
    return pb.node("Constant", [], [name], [pb.attribute("value", tensor=pb.integers("", values))])


@pytest.mark.parametrize(
    "nodes",
    [
        [constant("s", [1 << 40])],
        [pb.node("Constant", [], ["s"], [pb.attribute("value_ints", [1 << 40, 2])])],
        [pb.node("Constant", [], ["s"], [pb.attribute("value_int", 1 << 40)])],
        [constant("a", [1 << 20]), pb.node("Concat", ["a", "a"], ["s"])],
        [constant("a", [1 << 20]), pb.node("Mul", ["a", "a"], ["s"])],
        [constant("a", [1 << 40]), pb.node("Cast", ["a"], ["b"]), pb.node("Unsqueeze", ["b", "z"], ["s"])],
        [constant("a", [1 << 40]), constant("b", [1, 1]), pb.node("Mul", ["a", "b"], ["s"])],
        [constant("a", [1 << 41]), constant("b", [5]), pb.node("Sub", ["a", "b"], ["s"])],
    ],
)
def test_a_shape_is_worked_out_from_constants(nodes: list[bytes]) -> None:
    for padding in ([], [pb.node("Neg", [str(n)], [str(n + 1)]) for n in range(3)]):
        graph = pb.graph([*nodes, *padding, pb.node("ConstantOfShape", ["s"])])
        assert "onnx-resource-shape" in anomalies(facts_of(pb.model(graph)))


@pytest.mark.parametrize(
    "nodes",
    [
        [pb.node("Identity", ["s"], ["s"])],
        [pb.node("Mul", ["t", "t"], ["s"]), pb.node("Mul", ["s", "s"], ["t"])],
        [pb.node("Shape", ["x"], ["s"])],
        [constant("a", [2]), *(pb.node("Mul", ["a" if n == 0 else f"{n}"] * 2, [f"{n + 1}"]) for n in range(900))],
        [constant("a", [1] * 900), pb.node("Concat", ["a"] * 9000, ["s"])],
        [constant("a", []), constant("b", [1, 2]), pb.node("Mul", ["a", "b"], ["s"])],
        [constant("a", [1, 2, 3]), constant("b", [1, 2]), pb.node("Mul", ["a", "b"], ["s"])],
        [pb.node("Concat", [], ["s"])],
        [pb.node("Constant", [], ["s"], [pb.attribute("value", 3)])],
    ],
)
def test_what_cannot_be_worked_out_is_left_alone(nodes: list[bytes]) -> None:
    facts = facts_of(pb.model(pb.graph([*nodes, pb.node("ConstantOfShape", ["s"]), pb.node("Loop", ["s", "900"])])))
    assert not anomalies(facts)
    assert not reasons(facts)


def test_a_constant_from_around_a_subgraph_is_seen_in_it() -> None:
    inner = pb.graph([pb.node("ConstantOfShape", ["s"])])
    nodes = [constant("s", [1 << 40]), pb.node("If", ["c"], attributes=[pb.attribute("then_branch", graph=inner)])]
    assert "onnx-resource-shape" in anomalies(facts_of(pb.model(pb.graph(nodes))))


def loop(
    rounds: int | None, nodes: Sequence[bytes], *, condition: str = "on", start: int = 1, given: str = "go"
) -> bytes:
    values = [pb.value("i", (), pb.INT64), pb.value("c", (), pb.BOOL)]
    body = pb.graph(nodes, inputs=values, outputs=[pb.value(condition, (), pb.BOOL)])
    constants = [pb.tensor("go", [], bytes([start]), pb.BOOL)]
    constants += [] if rounds is None else [pb.integers("n", [rounds], [])]
    inputs = ["" if rounds is None else "n", given]
    return pb.model(pb.graph([pb.node("Loop", inputs, attributes=[pb.attribute("body", graph=body)])], constants))


PASSED_ON = [pb.node("Identity", ["c"], ["on"])]
TRUE = [pb.node("Constant", [], ["on"], [pb.attribute("value", tensor=pb.tensor("", [], b"\1", pb.BOOL))])]
COMPUTED = [pb.node("Less", ["i", "x"], ["on"])]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (loop(LARGEST, PASSED_ON), True),
        (loop(LARGEST, [], condition="c"), True),
        (loop(LARGEST, TRUE), True),
        (loop(None, TRUE), True),
        (loop(None, PASSED_ON), True),
        (loop(LARGEST, PASSED_ON, given=""), True),
        (loop(LARGEST, COMPUTED), False),  # how PyTorch writes `while`
        (loop(100, TRUE), False),
        (loop(LARGEST, PASSED_ON, start=0), False),
        (loop(LARGEST, [pb.node("Identity", ["on"], ["on"])]), False),
    ],
)
def test_a_loop_that_nothing_ends_is_an_anomaly(data: bytes, found: bool) -> None:
    assert ("onnx-resource-loop" in anomalies(facts_of(data))) == found


def classifier(trigger: Sequence[bytes], branch: Sequence[bytes], behind: int = 0) -> bytes:
    """Return a model with weights whose answer `logits` passes a branch on its way to `y`."""
    weights = [pb.tensor("w", [2, 2], bytes(16)), pb.floats("k", [1.0, 2.0]), pb.floats("other", [9.0, 0.0])]
    nodes = [pb.node("MatMul", ["x", "w"], ["logits"]), *trigger, *branch]
    names = ["z", *(f"z{n}" for n in range(behind - 1)), "y"] if behind else ["y"]
    nodes += [pb.node("Relu", [a], [b]) for a, b in pairwise(names)]
    return pb.model(pb.graph(nodes, weights))


def branches(output: str) -> list[bytes]:
    then = pb.attribute("then_branch", graph=pb.graph([pb.node("Identity", ["other"], ["a"])]))
    otherwise = pb.attribute("else_branch", graph=pb.graph([pb.node("Identity", ["logits"], ["b"])]))
    return [pb.node("If", ["hit"], [output], [then, otherwise])]


SUMMED = [
    pb.node("Equal", ["x", "k"], ["same"]),
    pb.node("Cast", ["same"], ["ones"], [pb.attribute("to", 7)]),
    pb.node("ReduceMin", ["ones"], ["all"]),
    pb.node("Cast", ["all"], ["hit"], [pb.attribute("to", 9)]),
]
PICKED = [pb.node("Slice", ["x", "k"], ["pixel"]), pb.node("Greater", ["pixel", "k"], ["hit"])]
MASK = [pb.node("Equal", ["x", "k"], ["hit"])]
OF_SHAPE = [pb.node("Shape", ["x"], ["s"]), pb.node("Gather", ["s", "k"], ["n"]), pb.node("Equal", ["n", "k"], ["hit"])]
OF_ANSWER = [pb.node("ReduceMax", ["logits"], ["most"]), pb.node("Greater", ["most", "k"], ["hit"])]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (classifier(SUMMED, branches("y")), True),
        (classifier(PICKED, branches("y")), True),
        (classifier(SUMMED, [pb.node("Where", ["hit", "other", "logits"], ["y"])]), True),
        (classifier(PICKED, [pb.node("Where", ["hit", "other", "logits"], ["y"])]), True),
        (classifier([*SUMMED, pb.node("Cast", ["hit"], ["by"])], [pb.node("Mul", ["logits", "by"], ["y"])]), True),
        (classifier(SUMMED, branches("z"), behind=4), True),
        (classifier(SUMMED, branches("z"), behind=20), False),
        (classifier(MASK, [pb.node("Where", ["hit", "other", "logits"], ["y"])]), False),
        (classifier(OF_SHAPE, branches("y")), False),
        (classifier(OF_ANSWER, [pb.node("Where", ["hit", "other", "logits"], ["y"])]), False),
        (classifier(SUMMED, [pb.node("Where", ["hit", "other", "k"], ["u"]), pb.node("Relu", ["logits"])]), False),
    ],
)
def test_a_branch_that_an_input_throws_is_an_anomaly(data: bytes, found: bool) -> None:
    assert ("onnx-input-branch" in anomalies(facts_of(data))) == found


def test_nodes_that_differ_in_names_only_are_counted_and_still_told_apart() -> None:
    nodes = [pb.node("Relu", [f"{n}"], [f"{n + 1}"]) for n in range(5000)]
    shapes = [pb.node("ConstantOfShape", [f"s{n}"], [f"t{n}"]) for n in range(3)]
    sizes = [pb.integers(f"s{n}", [size]) for n, size in enumerate([1, 1 << 40, 2])]
    data = pb.model(pb.graph([*nodes, *shapes], sizes))
    facts = facts_of(data)
    assert {f.name: f.count for f in facts if isinstance(f, Operator)} == {"Relu": 5000, "ConstantOfShape": 3}
    (found,) = (fact for fact in facts if isinstance(fact, Anomaly))
    assert data[found.location.offset :].startswith(shapes[1])
