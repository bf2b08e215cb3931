"""What nobody knows is not acceptable because a rule has a word for it, and what the table vouches for is silent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from weighbridge.digest import Digest
from weighbridge.errors import DocumentError
from weighbridge.facts import Operator, Program
from weighbridge.judgement import Judgement, check
from weighbridge.location import Location
from weighbridge.operators import TABLE, Operators, Standing, read
from weighbridge.rule_files import rules_directory
from weighbridge.rules import Examples, Match, Rule, RuleSet, Severity
from weighbridge.symbols import Event

HERE = Location(("model.onnx",))
SHIPPED = RuleSet.load(rules_directory())
KNOWN = SHIPPED.operators


class TrustsNothing:
    def untrusted(self, program: Program) -> Iterator[tuple[Event, str]]:
        return iter(())


def operator(subject: str, version: int = 17, *, defined: bool = False) -> Operator:
    domain, _, name = subject.rpartition("::")
    return Operator(location=HERE, domain=domain, name=name, version=version, defined=defined)


def rule(rule_id: str, severity: Severity, *subjects: str) -> Rule:
    return Rule(
        id=rule_id,
        title="t",
        severity=severity,
        description="d",
        remediation="r",
        match=Match(facts={"operator": subjects}),
        examples=Examples(match=("a",), no_match=("b",)),
    )


def judged(found: Operator, *rules: Rule) -> Judgement:
    ruleset = RuleSet(rules=rules, digest=Digest("sha256", ""))
    ruleset.operators = Operators(
        {"ai.onnx": {"Add": [1, 14], "LayerNormalization": [17]}, "lab": {"Known": [1]}}, {"lab": ["Runs"], "x": ["Y"]}
    )
    return check([found], ruleset, TrustsNothing())


@pytest.mark.parametrize(
    ("subject", "version", "standing"),
    [
        ("::Conv", 17, Standing.KNOWN),
        ("ai.onnx::Conv", 0, Standing.KNOWN),
        ("ai.onnx.ml::TreeEnsembleRegressor", 1, Standing.KNOWN),
        ("com.microsoft::FusedMatMul", 1, Standing.KNOWN),
        ("com.microsoft.nchwc::Conv", 1, Standing.KNOWN),
        ("com.ms.internal.nhwc::Conv", 17, Standing.KNOWN),
        ("ai.onnx.contrib::SentencepieceTokenizer", 1, Standing.KNOWN),
        ("::GroupNormalization", 9, Standing.EARLY),
        ("::conv", 17, Standing.UNKNOWN_OPERATOR),
        ("AI.ONNX::Conv", 17, Standing.UNKNOWN_DOMAIN),
        ("com.microsoft::Payload", 1, Standing.UNKNOWN_OPERATOR),
        ("com.microsoft::EPContext", 1, Standing.WITHHELD),
        ("org.pytorch.aten::ATen", 1, Standing.WITHHELD),
        ("org.pytorch.aten::other", 1, Standing.UNKNOWN_OPERATOR),
        ("lab.example::Conv", 1, Standing.UNKNOWN_DOMAIN),
    ],
)
def test_the_shipped_table_knows_public_domains(subject: str, version: int, standing: Standing) -> None:
    domain, _, name = subject.rpartition("::")
    assert KNOWN.standing(domain, name, version) is standing


def test_the_shipped_table_has_every_operator_of_the_installed_onnx() -> None:
    names = {f"{one.domain or 'ai.onnx'}::{one.name}" for one in onnx.defs.get_all_schemas_with_history()}
    assert names <= KNOWN.names()


def test_every_withheld_operator_is_named_by_a_rule() -> None:
    withheld = json.loads((rules_directory() / TABLE).read_text("utf-8"))["withheld"]
    for domain, names in withheld.items():
        for name in names:
            found = SHIPPED.about("operator", f"{domain}::{name}")
            assert found is not None, f"{domain}::{name}"
            assert found.severity.rank >= Severity.HIGH.rank


@pytest.mark.parametrize("standing", [Standing.EARLY, Standing.UNKNOWN_DOMAIN, Standing.UNKNOWN_OPERATOR])
def test_the_shipped_rules_speak_for_every_other_standing(standing: Standing) -> None:
    assert SHIPPED.about("operator", standing) is not None
    assert SHIPPED.about("operator", Standing.KNOWN) is None


@pytest.mark.parametrize("subject", ["ai.onnx::Add", "::Add", "lab::Known", "ai.onnx::LayerNormalization"])
def test_a_known_operator_is_silent(subject: str) -> None:
    assert judged(operator(subject)) == Judgement()


def test_an_operator_that_came_later_is_no_danger() -> None:
    early = operator("ai.onnx::LayerNormalization", 11)
    assert judged(early) == Judgement()
    found = judged(early, rule("ONX001", Severity.LOW, "<early-operator>"))
    assert len(found.findings) == 1
    assert not found.unknowns


@pytest.mark.parametrize("subject", ["lab::Other", "x::Other", "stranger::Add", "lab::Runs", "ai.onnx::add"])
def test_without_rules_nothing_unknown_is_acceptable(subject: str) -> None:
    found = judged(operator(subject))
    assert [one.fact.subject for one in found.unknowns] == [subject]
    assert found.unknowns[0].reason


def test_a_function_of_the_model_makes_its_operator_known() -> None:
    assert judged(operator("stranger::Layer", defined=True)) == Judgement()


def test_a_rule_that_names_an_operator_counts_even_when_the_model_defines_it() -> None:
    named = rule("ONX001", Severity.HIGH, "lab::Runs")
    assert judged(operator("lab::Runs", defined=True), named).findings


@pytest.mark.parametrize("subject", ["<unknown-domain>", "stranger::*"])
def test_a_rule_about_strangers_leaves_them_unknown(subject: str) -> None:
    found = judged(operator("stranger::Layer"), rule("ONX001", Severity.MEDIUM, subject))
    assert (len(found.findings), len(found.unknowns)) == (1, 1)


def test_of_a_rule_for_the_name_and_one_for_the_standing_the_worse_is_told() -> None:
    high, low = rule("ONX001", Severity.HIGH, "<unknown-operator>"), rule("ONX002", Severity.LOW, "lab::*")
    assert [one.rule.id for one in judged(operator("lab::Other"), high, low).findings] == ["ONX001"]
    assert [one.rule.id for one in judged(operator("lab::Known"), high, low).findings] == ["ONX002"]
    same = rule("ONX003", Severity.HIGH, "lab::Other")
    assert [one.rule.id for one in judged(operator("lab::Other"), high, same).findings] == ["ONX003"]


def test_a_rule_that_names_a_withheld_operator_speaks_for_it() -> None:
    found = judged(operator("lab::Runs"), rule("ONX001", Severity.HIGH, "lab::Runs"))
    assert (len(found.findings), len(found.unknowns)) == (1, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\xff",
        "[]",
        "{}",
        '{"domains": {}}',
        '{"domains": {"a": 1}, "withheld": {}}',
        '{"domains": {"a": {"B": []}}, "withheld": {}}',
        '{"domains": {"a": {"B": [2, 1]}}, "withheld": {}}',
        '{"domains": {"a": {"B": ["1"]}}, "withheld": {}}',
        '{"domains": {}, "withheld": {"a": "B"}}',
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DocumentError):
        read(text.encode("latin-1"), "operators.json")
    (tmp_path / "onnx").mkdir()
    (tmp_path / TABLE).write_bytes(text.encode("latin-1"))
    with pytest.raises(DocumentError, match=r"onnx/operators\.json"):
        RuleSet.load(tmp_path)


def test_the_digest_of_the_rules_changes_with_the_table(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    digests = set()
    for since in ([1], [1, 2]):
        table = {"domains": {"a": {"B": since}}, "withheld": {}}
        (tmp_path / TABLE).write_text(json.dumps(table), "utf-8")
        digests.add(RuleSet.load(tmp_path).digest)
    assert len(digests) == 2
