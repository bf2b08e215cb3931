"""Rules match what they say, and nothing that is left over goes unreported."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from weighbridge.digest import Digest
from weighbridge.documents import Words
from weighbridge.errors import DocumentError
from weighbridge.facts import Anomaly, Fact, Gap, Inert, Member, Observed, Program, observe
from weighbridge.judgement import OCCURRENCES, Finding, Judgement, check, prove
from weighbridge.location import Location
from weighbridge.names import normalise
from weighbridge.rules import Examples, Match, Rule, RuleSet, Severity, rules_directory
from weighbridge.symbols import (
    Call,
    ComputedName,
    Dict,
    Event,
    Extension,
    Form,
    Global,
    Items,
    Key,
    Opaque,
    PersistentId,
    State,
)

HERE = Location(("model.pkl",))
NO_RULES = RuleSet(rules=(), digest=Digest("sha256", ""))


class TrustsNothing:
    def untrusted(self, program: Program) -> Iterator[tuple[Event, str]]:
        return ((event, "no trust entry") for event in program.events)


def rule(rule_id: str = "PKL001", severity: Severity = Severity.HIGH, **match: dict[str, str]) -> Rule:
    return Rule(
        id=rule_id,
        title="t",
        severity=severity,
        description="d",
        remediation="r",
        match=Match(
            names={module: Words(tuple(names.split())) for module, names in match.get("names", {}).items()},
            facts={kind: tuple(globs.split()) for kind, globs in match.get("facts", {}).items()},
        ),
        examples=Examples(match=("a",), no_match=("b",)),
    )


def rules(*members: Rule) -> RuleSet:
    return RuleSet(rules=members, digest=Digest("sha256", ""))


def imported(dotted: str, offset: int = 0) -> Global:
    module, _, name = dotted.partition(" ")
    return Global(HERE, offset, (module, name), *normalise(module, name))


def called(dotted: str, *arguments: object, offset: int = 0) -> Call:
    return Call(HERE, offset, imported(dotted), arguments, None, Form.REDUCE)


def program(*events: Event) -> Program:
    return Program(location=HERE, events=events, result=None, size=1, complete=True)


def judged(ruleset: RuleSet, *events: Event) -> Judgement:
    return check([program(*events)], ruleset, TrustsNothing())


@pytest.mark.parametrize(
    ("names", "spelled", "found"),
    [
        ({"os": "system"}, "os system", True),
        ({"os": "system"}, "posix system", True),
        ({"os": "system"}, "os systems", False),
        ({"os": "exec*"}, "os execvpe", True),
        ({"os": "exec*"}, "os path", False),
        ({"subprocess": "*"}, "subprocess Popen", True),
        ({"subprocess": "*"}, "subprocess.inner Popen", True),
        ({"subprocess": "*"}, "subprocessing Popen", False),
        ({"os": "system"}, "shutil os.system", True),
        ({"os": "system"}, "random _os.system", True),
        ({"os": "system"}, "os system.__call__", True),
        ({"builtins": "eval"}, "__builtin__ eval", True),
        ({"builtins": "eval"}, "numpy._core.numeric builtins.eval", True),
        ({"sys": "modules"}, "collections _sys.modules.get", True),
        ({"code": "*"}, "lab.code Layer", False),
        ({"code": "interact"}, "vendor.code interact", True),
        ({"subprocess": "*"}, "lab subprocess.Popen", True),
        ({"*": "__globals__"}, "statistics mean.__globals__", True),
        ({"*": "__globals__"}, "statistics mean", False),
    ],
)
def test_a_name_is_found_in_every_spelling(names: dict[str, str], spelled: str, found: bool) -> None:
    judgement = judged(rules(rule(names=names)), imported(spelled))
    assert len(judgement.findings) == found
    assert len(judgement.unknowns) == (not found)


@pytest.mark.parametrize(
    ("others", "winner"),
    [
        ({"names": {"os": "system"}}, "PKL002"),
        ({"names": {"os": "sys*"}}, "PKL001"),
        ({"names": {"os": "*"}}, "PKL001"),
        ({"facts": {"call": "*"}}, "PKL001"),
    ],
)
def test_the_closest_match_wins_then_the_worst_severity(others: dict[str, dict[str, str]], winner: str) -> None:
    both = rules(rule(names={"os": "system"}), rule("PKL002", Severity.CRITICAL, **others))
    assert [finding.rule.id for finding in judged(both, called("os system")).findings] == [winner]


def test_a_very_long_dotted_name_is_judged_by_its_last_steps() -> None:
    ruleset = rules(rule(names={"os": "system"}))
    assert judged(ruleset, imported("a " + "a." * 100_000 + "os.system")).findings


EVENTS: list[tuple[Event, str, str]] = [
    (imported("os system"), "import", "os.system"),
    (called("posix system", "id"), "call", "os.system('id')"),
    (Call(HERE, 0, called("os system"), (), None, Form.REDUCE), "call", "os.system()()"),
    (State(HERE, 0, called("uuid UUID"), Dict(["int", 1])), "state", "<uuid.UUID>.__setstate__({'int': 1})"),
    (State(HERE, 0, imported("os environ"), Dict()), "state", "os.environ.__setstate__({})"),
    (Items(HERE, 0, imported("sys modules"), ["os", None], "SETITEM"), "items", "sys.modules['os'] = None"),
    (Items(HERE, 0, called("a b"), [1, 2, 3, 4], "SETITEMS"), "items", "<a.b>[1] = 2, …"),
    (Items(HERE, 0, called("a b"), [1], "APPEND"), "items", "<a.b>.extend([1])"),
    (Items(HERE, 0, called("a b"), [1], "ADDITEMS"), "items", "<a.b>.update([1])"),
    (Key(HERE, 0, called("a b")), "key", "hash(a.b())"),
    (PersistentId(HERE, 0, ("storage",)), "persistent-id", "persistent_load(('storage',))"),
    (ComputedName(HERE, 0, "os", Opaque("joined")), "computed-name", "getattr(import_module('os'), <joined>)"),
    (Extension(HERE, 0, 7), "extension", "copyreg extension 7"),
]


@pytest.mark.parametrize(("event", "kind", "expression"), EVENTS)
def test_an_event_is_put_into_words(event: Event, kind: str, expression: str) -> None:
    fact = observe(event)
    assert (fact.kind, fact.expression) == (kind, expression)
    assert pickle.loads(pickle.dumps(fact)) == fact


@pytest.mark.parametrize(("event", "kind", "expression"), EVENTS)
def test_without_rules_every_event_is_unknown(event: Event, kind: str, expression: str) -> None:
    judgement = judged(NO_RULES, event)
    assert [(one.fact.kind, one.reason) for one in judgement.unknowns] == [(kind, "no trust entry")]
    assert not judgement.findings, expression


def test_an_observed_call_tells_its_form_and_spelling() -> None:
    fact = observe(called("posix system", "id"))
    assert (fact.name, fact.form, fact.spelled) == ("os.system", "REDUCE", "posix system")
    assert observe(called("os system")).spelled == ""


@pytest.mark.parametrize(("event", "kind", "expression"), EVENTS)
def test_an_event_matches_by_kind_and_subject(event: Event, kind: str, expression: str) -> None:
    assert judged(rules(rule(facts={kind: "*"})), event).findings, expression
    assert not judged(rules(rule(facts={"member": "*"})), event).findings


def test_a_call_of_a_computed_value_is_a_subject() -> None:
    event = Call(HERE, 0, called("os system"), (), None, Form.REDUCE)
    assert judged(rules(rule(facts={"call": "<computed>"})), event).findings


@pytest.mark.parametrize("target", [imported("torch dtype"), called("torch dtype")])
def test_a_change_in_place_is_a_subject_of_its_own(target: Event) -> None:
    ruleset = rules(rule(facts={"state": "<global>", "items": "<global>"}))
    events = State(HERE, 0, target, Dict()), Items(HERE, 1, target, [1, 2], "SETITEM")
    assert len(judged(ruleset, *events).findings) == (2 if isinstance(target, Global) else 0)


def test_an_import_is_not_told_twice() -> None:
    system = imported("os system")
    judgement = judged(rules(rule(names={"os": "system"})), system, Call(HERE, 9, system, (), None, Form.REDUCE))
    assert [finding.fact.kind for finding in judgement.findings] == ["call"]


def test_what_repeats_is_listed_a_few_times_and_counted() -> None:
    events = [called("os system", offset=index) for index in range(OCCURRENCES + 30)]
    findings = judged(rules(rule(names={"os": "system"})), *events).findings
    assert len(findings) == OCCURRENCES
    assert [finding.repeated for finding in findings] == [30] + [0] * (OCCURRENCES - 1)
    unknowns = judged(NO_RULES, *events).unknowns
    assert sum(1 + unknown.repeated for unknown in unknowns) == len(events)


def test_the_same_reading_twice_is_one_finding() -> None:
    once = program(called("os system"))
    assert len(check([once, once], rules(rule(names={"os": "system"})), TrustsNothing()).findings) == 1


def test_findings_have_one_order_whatever_order_the_facts_came_in() -> None:
    facts: list[Fact] = [
        Anomaly(location=HERE.at(5), code="polyglot", detail="zip and pickle"),
        Anomaly(location=HERE.at(5), code="polyglot", detail="zip and tar"),
        program(called("os system", offset=3)),
        Gap(location=HERE.at(9), reason="truncated"),
        Gap(location=HERE.at(1), reason="truncated"),
        Inert(location=HERE, size=1, reason="data"),
    ]
    ruleset = rules(rule(names={"os": "system"}), rule("PKL002", facts={"anomaly": "polyglot"}))
    judgement = check(facts, ruleset, TrustsNothing())
    assert check(facts[::-1], ruleset, TrustsNothing()) == judgement
    assert [finding.location.offset for finding in judgement.findings] == [3, 5, 5]
    assert [gap.location.offset for gap in judgement.gaps] == [1, 9]
    assert pickle.loads(pickle.dumps(judgement)) == judgement


@pytest.mark.parametrize(
    ("fact", "reviewed"),
    [
        (Anomaly(location=HERE, code="zip-odd", detail=""), True),
        (Inert(location=HERE, size=1, reason="data"), False),
        (Member(location=HERE, name="a", size=1), False),
    ],
)
def test_a_fact_that_must_be_spoken_for_is_unknown_without_a_rule(fact: Fact, reviewed: bool) -> None:
    assert len(check([fact], NO_RULES, TrustsNothing()).unknowns) == reviewed
    assert check([fact], rules(rule(facts={fact.kind: "*"})), TrustsNothing()).findings


def test_prove_names_the_examples_that_do_not_hold() -> None:
    system = rule(names={"os": "system"})
    fact = Observed(location=HERE, kind="call", name="os.system", expression="os.system()")
    found = Judgement(findings=(Finding(rule=system, fact=fact),))
    assert not list(prove(system, {"a": found, "b": Judgement()}.__getitem__))
    assert list(prove(system, {"a": Judgement(), "b": found}.__getitem__)) == [
        "PKL001 does not report a",
        "PKL001 reports b",
    ]


RULE = """\
id: PKL001
title: t
severity: high
description: d
remediation: r
match: {names: {os: system}}
examples: {match: [a], no_match: [b]}
references: {cwe: [502], atlas: [AML.T0011.000]}
"""


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, "utf-8")
    return directory


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"pickle/PKL001-a.yaml": RULE.replace("high", "hgih")},
            "PKL001-a.yaml:3:11: 'hgih' is not one of low, medium",
        ),
        ({"pickle/PKL001-a.yaml": RULE.replace("title", "tilte")}, "unknown key 'tilte', did you mean 'title'"),
        ({"pickle/PKL001-a.yaml": RULE.replace("{names: {os: system}}", "{}")}, ":6:8: a rule needs names or facts"),
        ({"pickle/PKL001-a.yaml": RULE.replace("[b]", "[]")}, "a rule needs an example that it reports and one that"),
        ({"pickle/PKL001-a.yaml": RULE.replace("PKL001", "pickle1")}, "'pickle1' is not a rule id such as PKL001"),
        ({"pickle/PKL002-a.yaml": RULE}, "the file of PKL001 must be named PKL001-<slug>.yaml"),
        ({"a/PKL001-a.yaml": RULE, "b/PKL001-b.yaml": RULE}, "PKL001 is already the id of a/PKL001-a.yaml"),
    ],
)
def test_a_wrong_rule_file_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        RuleSet.load(write(tmp_path, files))
    assert message in str(caught.value)


def test_the_digest_covers_names_and_bytes_of_rules_and_trust_but_not_of_policies(tmp_path: Path) -> None:
    def digest(name: str, files: dict[str, str]) -> Digest:
        return RuleSet.load(write(tmp_path / name, files)).digest

    files = {"pickle/PKL001-a.yaml": RULE, "trust/torch.yaml": "framework: torch"}
    same = digest("a", files)
    assert digest("b", {**files, "policies/default.yaml": "x"}) == same
    assert digest("c", {**files, "trust/torch.yaml": "framework: numpy"}) != same
    assert digest("d", {"pickle/PKL001-b.yaml": RULE, "trust/torch.yaml": "framework: torch"}) != same


def test_a_retired_rule_matches_nothing(tmp_path: Path) -> None:
    ruleset = RuleSet.load(write(tmp_path, {"pickle/PKL001-a.yaml": RULE + "retired: true\n"}))
    assert not judged(ruleset, called("os system")).findings
    assert len(ruleset.rules) == 1


def test_the_shipped_rules_are_found() -> None:
    assert rules_directory().is_dir()
