"""What the build composes of the shipped documents (`python hatch_build.py` writes it) says what the YAML says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import hatch_build
from weighbridge import nodes
from weighbridge.policy_file import shipped_policy
from weighbridge.rule_files import names, rules_directory
from weighbridge.rules import Rule, RuleSet
from weighbridge.trust_files import Entry, TrustFile, read

RULES = rules_directory()


@pytest.fixture
def composed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use freshly composed documents, and none that lie about in the checkout."""
    monkeypatch.setattr(nodes, "COMPOSED", str(tmp_path / "composed.txt"))
    nodes._composed.cache_clear()
    hatch_build.compose()
    nodes._composed.cache_clear()
    yield
    nodes._composed.cache_clear()


def rules() -> tuple[Rule, ...]:
    return RuleSet.load(RULES).rules


def trust(name: str) -> TrustFile:
    return read((RULES / "trust" / f"{name}.yaml").read_text(encoding="utf-8"), name)


def entries(file: TrustFile) -> dict[str, tuple[object, ...]]:
    return {name: told(entry) for name, entry in file.entries.items()}


def told(entry: Entry) -> tuple[object, ...]:
    signatures = [[(one.text, one.result) for one in several] for several in (entry.call, entry.new)]
    return (*signatures, entry.plain, entry.reference)


def test_no_composed_document_needs_yaml(composed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "compose_yaml", lambda text, name: pytest.fail(f"{name} is not composed"))
    assert rules()
    assert [trust(name) for name in names(str(RULES / "trust"))]
    assert [shipped_policy(name) for name in names(str(RULES / "policies"))]


def test_rules_and_policies_are_those_of_the_yaml(
    composed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rules(), [shipped_policy(name) for name in names(str(RULES / "policies"))]
    monkeypatch.setattr(nodes, "COMPOSED", str(tmp_path / "nothing"))
    nodes._composed.cache_clear()
    assert found == (rules(), [shipped_policy(name) for name in names(str(RULES / "policies"))])


@pytest.mark.parametrize("name", names(str(RULES / "trust")))
def test_trust_entries_are_those_of_the_yaml(
    name: str, composed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = trust(name)
    monkeypatch.setattr(nodes, "COMPOSED", str(tmp_path / "nothing"))
    nodes._composed.cache_clear()
    wanted = trust(name)
    assert entries(found) == entries(wanted)
    assert [*found.state] == [*wanted.state]
    assert [*found.items] == [*wanted.items]
    assert (found.framework, found.packages, found.reviewed) == (wanted.framework, wanted.packages, wanted.reviewed)


def test_the_shipped_rules_know_which_facts_they_match(composed: None) -> None:
    later, now = RuleSet.shipped(), RuleSet.load(RULES)
    assert "rules" not in vars(later)
    assert later.subjects == now.subjects
    assert later.about("operator", "ai.onnx::Conv") is None
    assert "rules" not in vars(later)
    assert later.digest == now.digest
    assert later.rules == now.rules


def test_an_edited_document_is_read_as_yaml(composed: None) -> None:
    text = (RULES / "policies" / "default.yaml").read_text(encoding="utf-8")
    assert nodes.composed(nodes._digest(text)) is not None
    assert nodes.composed(nodes._digest(text + "\n")) is None
