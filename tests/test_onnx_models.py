"""No hostile graph passes, wherever in a model it hides; ordinary ones do, and what is worth a look is told."""

from __future__ import annotations

import random
from pathlib import Path

import onnx
import pytest
from examining import formats_of

from benchmarks.corpus import graphs
from benchmarks.corpus.payloads import Sample
from fixtures import onnx_models
from fixtures import protobuf as pb
from weighbridge.digest import Digest
from weighbridge.pipeline import scan
from weighbridge.policy import Outcome, Verdict
from weighbridge.rules import RuleSet, Severity, rules_directory
from weighbridge.trust import Trust

RULES = RuleSet.load(rules_directory())
TRUST = Trust(rules_directory() / "trust")
TABLE_ALONE = RuleSet(rules=(), digest=Digest("sha256", "0" * 64))
TABLE_ALONE.operators = RULES.operators


def verdict_on(folder: Path, samples: list[Sample], rules: RuleSet = RULES) -> Verdict:
    """Return the verdict on samples written into a folder each of its own, where no file speaks for another."""
    for index, sample in enumerate(samples):
        path = folder / f"{index:04}" / Path(sample.name).name
        path.parent.mkdir()
        path.write_bytes(sample.make())
    verdict = scan([folder], rules=rules, trust=TRUST, digest=False)
    assert len(verdict.files) == len(samples)
    return verdict


def passing(verdict: Verdict, samples: list[Sample]) -> list[str]:
    """Return the techniques whose files pass."""
    outcomes = {Path(file.path).parent.name: file.outcome for file in verdict.files}
    return [one.label for index, one in enumerate(samples) if outcomes[f"{index:04}"] is Outcome.PASS]


def test_no_hostile_graph_passes(tmp_path: Path) -> None:
    samples = graphs.samples()
    assert passing(verdict_on(tmp_path, samples), samples) == []


def test_no_hostile_graph_passes_when_no_rule_names_it(tmp_path: Path) -> None:
    samples = graphs.samples()
    assert passing(verdict_on(tmp_path, samples, TABLE_ALONE), samples) == []


def test_what_is_a_matter_of_degree_passes_with_a_finding(tmp_path: Path) -> None:
    samples = graphs.review()
    verdict = verdict_on(tmp_path, samples)
    assert verdict.outcome is Outcome.PASS
    told = {finding.location.path[0] for finding in verdict.findings}
    assert told == {file.path for file in verdict.files}


def test_the_corpus_has_every_technique_once_and_the_same_bytes_at_every_build() -> None:
    everything = [*graphs.samples(), *graphs.review()]
    assert len({sample.name for sample in everything}) == len(everything)
    again = [*graphs.samples(), *graphs.review()]
    assert [one.make() for one in everything[::7]] == [one.make() for one in again[::7]]


@pytest.mark.parametrize("name", onnx_models.ordinary())
def test_ordinary_models_pass_and_the_library_agrees_that_they_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(onnx_models.ordinary()[name])
    onnx.checker.check_model(path)
    verdict = scan([path], rules=RULES, trust=TRUST)
    assert verdict.outcome is Outcome.PASS
    assert all(finding.rule.severity is Severity.LOW for finding in verdict.findings)


@pytest.mark.parametrize("seed", range(40))
def test_random_weights_at_the_end_are_nothing_else(seed: int) -> None:
    """Formats look at both ends of a file, and here no zero is in the first, nor anything but noise in the second."""
    nodes = [pb.node("Add", [f"v{index}", "w"], [f"v{index + 1}"]) for index in range(300)]
    weights = pb.tensor("w", [1 << 15], random.Random(seed).randbytes(1 << 17))
    graph = pb.graph(nodes, [weights], [pb.value("v0")], [pb.value("v300")])
    assert formats_of(pb.model(graph)) == {"onnx"}


def test_an_unknown_domain_is_a_medium_finding_and_never_a_pass(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_models.files()["onnx/unknown_domain.onnx"])
    verdict = scan([path], rules=RULES, trust=TRUST)
    assert [finding.rule.severity for finding in verdict.findings] == [Severity.MEDIUM]
    assert [unknown.fact.subject for unknown in verdict.unknowns] == ["example.stranger::Layer"]
    assert verdict.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("suffix", ["onnxtxt", "textproto", "json", "onnx", "bin"])
@pytest.mark.parametrize("name", ["as-text", "as-json", "as-syntax"])
def test_a_model_in_a_text_form_is_a_gap_whatever_it_is_called(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(graphs.WHOLE[name]())
    verdict = scan([path], rules=RULES, trust=TRUST)
    assert verdict.gaps
    assert verdict.outcome is Outcome.INCONCLUSIVE
