"""No hostile file passes, with or without the rules that name danger; ordinary files do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.corpus import malicious
from weighbridge.digest import Digest
from weighbridge.pipeline import scan
from weighbridge.policy import Outcome
from weighbridge.rules import RuleSet, rules_directory
from weighbridge.trust import Trust

PART = 260
BENIGN = Path(__file__).parent.parent / "fixtures" / "benign"
NO_RULES = RuleSet(rules=(), digest=Digest("sha256", "0" * 64))
# A folder is scanned at once, as a user would; the outcome of each file is what it would be alone.
RULES = RuleSet.load(rules_directory())
TRUST = Trust(rules_directory() / "trust")


@dataclass(frozen=True)
class Corpus:
    """Files and the technique of each."""

    folder: Path
    labels: dict[str, str]

    def passing(self, rules: RuleSet) -> list[str]:
        """Return the techniques whose files pass."""
        verdict = scan([self.folder], rules=rules, trust=TRUST, digest=False)
        assert len(verdict.files) == len(self.labels)
        return [self.labels[Path(file.path).name] for file in verdict.files if file.outcome is Outcome.PASS]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("hostile")
    labels = {}
    for index, sample in enumerate(malicious.choose(malicious.samples(), malicious.SEED, PART)):
        name = f"{index:03}{Path(sample.name).suffix}"
        (folder / name).write_bytes(sample.make())
        labels[name] = f"{sample.label} ({sample.name})"
    return Corpus(folder, labels)


def test_no_hostile_file_passes(hostile: Corpus) -> None:
    assert hostile.passing(RULES) == []


def test_no_hostile_file_passes_when_no_rule_names_it(hostile: Corpus) -> None:
    """Soundness rests on default deny; rules only give what is not trusted a name."""
    assert hostile.passing(NO_RULES) == []


@pytest.mark.parametrize("folder", sorted(path.name for path in BENIGN.iterdir()))
def test_files_of_real_libraries_pass(folder: str) -> None:
    verdict = scan([BENIGN / folder], rules=RULES, trust=TRUST, digest=False)
    assert {file.path: file.outcome for file in verdict.files if file.outcome is not Outcome.PASS} == {}
    assert verdict.files


def test_the_corpus_has_every_technique_once_and_the_same_bytes_at_every_build() -> None:
    everything = malicious.samples()
    assert len({sample.name for sample in everything}) == len(everything)
    labels = Counter(sample.label for sample in malicious.choose(everything, 1, 2000))
    assert labels.keys() == {sample.label for sample in everything}
    sampled = malicious.choose(everything, 1, 100)
    assert [one.make() for one in sampled] == [one.make() for one in malicious.choose(malicious.samples(), 1, 100)]
