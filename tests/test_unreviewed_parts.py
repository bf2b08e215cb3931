"""A reviewed call that is given a name nobody has reviewed is as doubtful as that name, and no worse."""

from __future__ import annotations

from pathlib import Path

import pytest
from examining import facts_of

from benchmarks.corpus.hook_abuse import stream
from fixtures.assemble import P4, Ops
from weighbridge.facts import UNREVIEWED_PART
from weighbridge.judgement import Judgement, check
from weighbridge.rules import RuleSet
from weighbridge.session import NO_ENTRY
from weighbridge.trust import Trust

TREE = Path(__file__).resolve().parent.parent / "rules"
RULES, TRUST = RuleSet.load(TREE), Trust(TREE / "trust")
OURS = P4.name("my_project.models", "Meter")
SYSTEM = P4.name("os", "system")


def judged(body: Ops) -> Judgement:
    return check(facts_of(stream(body)), RULES, TRUST)


DOUBTFUL = {
    "factory": P4.call("collections:defaultdict", OURS),
    "partial": P4.call("functools:partial", OURS),
    "partial with a state": P4.build(P4.call("functools:partial", OURS), (OURS, (), {"lr": 0.1}, None)),
    "method": P4.call("builtins:getattr", P4.call("my_project.models:Meter"), "update"),
    "method in a partial": P4.call(
        "functools:partial", P4.call("builtins:getattr", P4.call("my_project.models:Meter"), "_update")
    ),
    "factory of a partial": P4.call("collections:defaultdict", P4.call("functools:partial", OURS)),
}


@pytest.mark.parametrize("body", DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_an_ordinary_call_with_a_class_of_ones_own_is_doubtful(body: Ops) -> None:
    found = judged(body)
    assert not found.findings
    assert {one.reason for one in found.unknowns} >= {NO_ENTRY, UNREVIEWED_PART}


@pytest.mark.parametrize(
    "body",
    [
        P4.call("collections:defaultdict", SYSTEM),
        P4.call("functools:partial", SYSTEM),
        P4.call("functools:partial", OURS, SYSTEM),
        P4.call("collections:defaultdict", P4.name("builtins", "getattr")),
        P4.call("functools:partial", P4.name("builtins", "getattr")),
        P4.call("functools:reduce", OURS, [1, 2]),
        P4.call("builtins:getattr", P4.call("my_project.models:Meter"), "__globals__"),
        P4.call("builtins:getattr", OURS, "update"),
        P4.call("builtins:getattr", P4.call("os:popen", "id"), "read"),
        P4.call("builtins:getattr", P4.call("importlib:import_module", "x"), "run"),
        P4.call(P4.call("builtins:getattr", P4.call("my_project.models:Meter"), "update")),
        P4.call("builtins:map", OURS, [1]),
        P4.call("collections:defaultdict", P4.call("functools:partial", SYSTEM)),
    ],
)
def test_what_is_dangerous_is_told_whatever_it_is_given_to(body: Ops) -> None:
    assert judged(body).findings
