"""Scanning files and folders: what is followed, what is left out, and what cannot be read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

import weighbridge
from weighbridge import pipeline
from weighbridge.desk import DIGEST_INLINE, Desk
from weighbridge.digest import Digest
from weighbridge.errors import SourceError
from weighbridge.examination import Examination, Tally
from weighbridge.facts import Fact, Gap
from weighbridge.limits import Limits
from weighbridge.location import Location
from weighbridge.pipeline import scan
from weighbridge.policy import Outcome, Policy, Verdict
from weighbridge.reader import Reader
from weighbridge.rules import RuleSet, rules_directory
from weighbridge.trust import Trust
from weighbridge.walk import Target

PLAIN = b"\x80\x04K\x01."
HOSTILE = b"\x80\x04cos\nsystem\n(X\x02\x00\x00\x00lstR."
POLICY = Policy(name="test")
RULES = RuleSet.load(rules_directory())
TRUST = Trust(rules_directory() / "trust")

root_reads_everything = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read every file"
)


def weigh(*paths: Path | str, **options: object) -> Verdict:
    return scan(paths, policy=POLICY, rules=RULES, trust=TRUST, **options)  # type: ignore[arg-type]


def paths_of(verdict: Verdict) -> list[str]:
    return [file.path for file in verdict.files]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder `m` below the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    return Path("m")


def test_the_package_offers_scan(folder: Path) -> None:
    (folder / "a.pkl").write_bytes(PLAIN)
    assert weighbridge.scan([folder]).outcome is Outcome.PASS
    with pytest.raises(AttributeError):
        weighbridge.unload  # noqa: B018


def test_files_come_in_the_order_of_their_names_whatever_the_disk_says(folder: Path) -> None:
    for name in ("b/2.pkl", "a.pkl", "b/10.pkl", "c.pkl", "B.pkl"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(PLAIN)
    assert paths_of(weigh(folder)) == ["m/B.pkl", "m/a.pkl", "m/b/10.pkl", "m/b/2.pkl", "m/c.pkl"]


def test_a_file_named_twice_is_scanned_once(folder: Path) -> None:
    (folder / "a.pkl").write_bytes(PLAIN)
    assert paths_of(weigh(folder, folder / "a.pkl", "m/../m/a.pkl")) == ["m/a.pkl"]


@pytest.mark.parametrize("size", [len(PLAIN), DIGEST_INLINE + 1])
def test_the_digest_is_that_of_the_whole_file(folder: Path, size: int) -> None:
    data = PLAIN.ljust(size, b"\0")
    (folder / "a.pkl").write_bytes(data)
    assert weigh(folder).files[0].digest == Digest.of(data)
    assert weigh(folder, digest=False).files[0].digest is None


def test_a_link_out_of_the_folder_is_told_and_not_followed(folder: Path) -> None:
    Path("outside.pkl").write_bytes(PLAIN)
    (folder / "a.pkl").symlink_to("../outside.pkl")
    verdict = weigh(folder)
    assert verdict.outcome is not Outcome.PASS
    (said,) = verdict.findings or verdict.unknowns
    assert said.fact.subject == "link-escapes"


@pytest.mark.parametrize("target", ["inner.pkl", "sub", "."])
def test_a_link_to_what_the_walk_meets_anyway_adds_nothing(folder: Path, target: str) -> None:
    (folder / "sub").mkdir()
    (folder / "inner.pkl").write_bytes(PLAIN)
    (folder / "link").symlink_to(target)
    verdict = weigh(folder)
    assert (verdict.outcome, paths_of(verdict)) == (Outcome.PASS, ["m/inner.pkl"])


@pytest.mark.parametrize("target", ["missing.pkl", "link"])
def test_a_link_that_leads_nowhere_is_a_gap(folder: Path, target: str) -> None:
    (folder / "link").symlink_to(target)
    assert weigh(folder).outcome is Outcome.INCONCLUSIVE


def test_a_named_link_is_followed(folder: Path) -> None:
    Path("outside.pkl").write_bytes(HOSTILE)
    (folder / "a.pkl").symlink_to("../outside.pkl")
    assert weigh(folder / "a.pkl").outcome is Outcome.FAIL


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_a_gap_in_a_folder_and_an_error_when_named(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    verdict = weigh(folder)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "device, pipe or socket" in verdict.gaps[0].reason
    with pytest.raises(SourceError):
        weigh(folder / "pipe")
    replaced = Target(name="pipe", path=str(folder / "pipe"))  # as if it took a file's place since the walk
    assert "no longer a file" in desk().examine(replaced).judgement.gaps[0].reason


@root_reads_everything
def test_what_may_not_be_read_is_a_gap_in_a_folder_and_an_error_when_named(folder: Path) -> None:
    for name in ("a.pkl", "b.pkl"):
        (folder / name).write_bytes(PLAIN)
    (folder / "a.pkl").chmod(0)
    (folder / "closed").mkdir(mode=0)
    verdict = weigh(folder)
    assert [gap.location.name for gap in verdict.gaps] == ["m/a.pkl", "m/closed"]
    for name in ("a.pkl", "closed"):
        with pytest.raises(SourceError):
            weigh(folder / name)
    (folder / "closed").chmod(stat.S_IRWXU)


def desk(limits: Limits = Limits()) -> Desk:  # noqa: B008 - frozen
    return Desk(rules=RULES, trust=TRUST, limits=limits, digest=True)


def test_a_file_that_vanished_since_the_walk_is_a_gap_unless_named() -> None:
    gone = Target(name="gone", path="no/such/file")
    assert "cannot be read" in desk().examine(gone).judgement.gaps[0].reason
    with pytest.raises(SourceError, match="gone: No such file"):
        desk().examine(replace(gone, named=True))


def test_a_link_that_took_a_files_place_is_not_followed(folder: Path) -> None:
    Path("outside.pkl").write_bytes(PLAIN)
    (folder / "a.pkl").symlink_to("../outside.pkl")
    swapped = Target(name="m/a.pkl", path="m/a.pkl")
    assert desk().examine(swapped).judgement.gaps


def test_a_file_that_changes_while_it_is_read_is_a_gap(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.pkl").write_bytes(PLAIN)

    def run(self: Examination, reader: Reader) -> tuple[list[Fact], Tally]:
        (folder / "a.pkl").write_bytes(PLAIN + b"\0")
        return [], Tally(reader.size)

    monkeypatch.setattr(Examination, "run", run)
    verdict = weigh(folder)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert [gap.reason for gap in verdict.gaps] == ["the file changed while it was read"]
    assert verdict.coverage.unexamined == len(PLAIN)


@pytest.mark.parametrize("failure", [MemoryError, RecursionError])
def test_a_file_too_large_for_memory_is_a_gap_and_stops_no_other(
    folder: Path, failure: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.pkl").write_bytes(PLAIN)
    (folder / "b.pkl").write_bytes(HOSTILE)
    real = Examination.run

    def run(self: Examination, reader: Reader) -> tuple[list[Fact], Tally]:
        if reader.origin.name == "m/a.pkl":
            raise failure
        return real(self, reader)

    monkeypatch.setattr(Examination, "run", run)
    verdict = weigh(folder)
    assert [gap.location.name for gap in verdict.gaps] == ["m/a.pkl"]
    assert [finding.location.name for finding in verdict.findings] == ["m/b.pkl"]


def test_a_worker_that_dies_leaves_gaps_and_no_verdict_of_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.pkl", "b.pkl", "c.pkl"):
        (folder / name).write_bytes(PLAIN)

    def die(self: Examination, reader: Reader) -> Iterator[Fact]:
        os._exit(1)

    monkeypatch.setattr(Examination, "run", die)
    verdict = weigh(folder, jobs=2)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert len(verdict.gaps) == 3


def test_processes_find_what_one_finds(folder: Path) -> None:
    for number in range(6):
        (folder / f"{number}.pkl").write_bytes(HOSTILE if number % 2 else PLAIN)
    today = date(2026, 1, 31)
    assert weigh(folder, jobs=3, today=today) == weigh(folder, today=today)


def test_an_error_in_a_worker_is_the_same_error(folder: Path) -> None:
    (folder / "a.pkl").write_bytes(PLAIN)
    broken = pipeline._examine_all(desk(), [Target(name=n, path=f"no/{n}", named=True) for n in "xy"], 2)
    with pytest.raises(SourceError, match="x: No such file"):
        list(broken)


@pytest.mark.parametrize(
    ("include", "exclude", "scanned", "excluded"),
    [
        ((), (), ["m/a.pkl", "m/b.md", "m/s/c.pkl"], []),
        (("*.pkl",), (), ["m/a.pkl", "m/s/c.pkl"], ["m/b.md"]),
        ((), ("*.md",), ["m/a.pkl", "m/s/c.pkl"], ["m/b.md"]),
        ((), ("s/*",), ["m/a.pkl", "m/b.md"], ["m/s/c.pkl"]),
        (("*.pkl",), ("a.*",), ["m/s/c.pkl"], ["m/a.pkl", "m/b.md"]),
    ],
)
def test_patterns_choose_files_and_leave_a_trace(
    folder: Path, include: tuple[str, ...], exclude: tuple[str, ...], scanned: list[str], excluded: list[str]
) -> None:
    (folder / "s").mkdir()
    for name in ("a.pkl", "b.md", "s/c.pkl"):
        (folder / name).write_bytes(PLAIN)
    verdict = weigh(folder, include=include, exclude=exclude)
    assert (paths_of(verdict), list(verdict.excluded)) == (scanned, excluded)


def test_only_exclude_drops_what_is_no_file(folder: Path) -> None:
    (folder / "link").symlink_to("missing")
    assert weigh(folder, include=("*.pkl",)).outcome is Outcome.INCONCLUSIVE
    assert weigh(folder, exclude=("link",)).excluded == ("m/link",)


def test_an_empty_folder_does_not_pass(folder: Path) -> None:
    assert weigh(folder).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("path", ["nowhere", "m\0"])
def test_a_path_that_does_not_exist_is_the_users_error(folder: Path, path: str) -> None:
    with pytest.raises(SourceError):
        weigh(path)


def test_progress_counts_every_file(folder: Path) -> None:
    for number in range(3):
        (folder / f"{number}.pkl").write_bytes(PLAIN)
    steps: list[tuple[int, int]] = []
    weigh(folder, progress=lambda done, of: steps.append((done, of)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_a_limit_that_is_hit_is_a_gap_that_names_it(folder: Path) -> None:
    (folder / "a.pkl").write_bytes(PLAIN)
    verdict = weigh(folder, limits=Limits(max_opcodes=1))
    assert (verdict.outcome, verdict.gaps[0].limit) == (Outcome.INCONCLUSIVE, "max_opcodes")


def test_a_gap_of_the_walk_is_the_location_of_the_file(folder: Path) -> None:
    (folder / "link").symlink_to("missing")
    (gap,) = weigh(folder).gaps
    assert gap == Gap(location=Location(("m/link",)), reason=gap.reason, size=0)
