"""`weighbridge waive` writes what lets one finding pass, and changes nothing else."""

from __future__ import annotations

import json
import os
import stat
from datetime import date, timedelta
from pathlib import Path

import pytest

from weighbridge import cli, waivers
from weighbridge.cli import group
from weighbridge.errors import DocumentError, UsageError
from weighbridge.policy import Waiver
from weighbridge.policy_file import load_policy

HOSTILE = b"\x80\x04cos\nsystem\n(X\x07\x00\x00\x00echo hitR."
STRANGE = b"\x80\x04cmine.a\nB\n)\x81cmine.a\nC\n)\x81\x86."
SOON = date.today() + timedelta(days=30)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stand in a folder with models, a policy beside them and a report on them."""
    for name in list(os.environ):
        if name.startswith("WEIGHBRIDGE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    for name, data in (("a.pkl", HOSTILE), ("b.pkl", STRANGE), ("c.pkl", HOSTILE + b"N.")):
        (Path("models") / name).write_bytes(data)
    Path("weighbridge.toml").write_text("# ours\nfail_at = 'low'\n")
    assert run("scan", "models", "--format", "json", "--output", "report.json") == 1


def run(*arguments: str) -> int:
    return cli._run(group.run, list(arguments))


def waive(finding: str, *more: str, expires: str = "30d") -> int:
    return run("waive", "report.json", finding, "--reason", "read", "--expires", expires, "--approver", "me", *more)


def test_nobody_without_a_name_accepts_anything(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", unknown)
    assert run("waive", "report.json", "1", "--reason", "read", "--expires", "3d") == 2
    assert "--approver: say who accepts it" in capfd.readouterr().err


@pytest.mark.parametrize("finding", ["1", "models/a.pkl@0x1b"])
def test_a_waived_finding_passes_until_the_day_and_stays_in_the_report(
    finding: str, capfd: pytest.CaptureFixture[str]
) -> None:
    found = waivers.reported(Path("report.json"))
    assert found[0].place == "models/a.pkl@0x1b" and found[0].rule == "PKL001"
    before = Path("weighbridge.toml").read_text()
    assert waive(finding) == 0
    assert capfd.readouterr().out.endswith(f"until {SOON}, by me\n")
    assert Path("weighbridge.toml").read_text().startswith(before)
    assert run("scan", "models/a.pkl") == 0
    assert f"accepted by me until {SOON}: read" in capfd.readouterr().out
    assert run("scan", "models/c.pkl") == 1  # other bytes


def test_a_rule_means_all_of_it_in_one_file_and_each_name_gets_its_own_waiver(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert waive("unknown") == 0
    made = load_policy("weighbridge.toml").waivers
    assert [(one.rule, one.subject) for one in made] == [("unknown", "mine.a.B"), ("unknown", "mine.a.C")]
    assert run("scan", "models/b.pkl") == 0
    assert waive("PKL001") == 2
    assert "in several files; name one of\n  1: PKL001 models/a.pkl@0x1b" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("finding", "more", "expires", "message"),
    [
        ("PKL999", [], "30d", "no number, place or rule of a finding"),
        ("1", [], "181d", "181 days are more than the 180 that max_waiver_days allows"),
        ("1", [], "2020-01-01", "that is over"),
        ("1", [], "soon", "neither days, as 90d, nor a date"),
        ("1", ["--to", "report.json"], "30d", "report.json"),
        ("1", ["--approver", " "], "30d", "a waiver needs an approver"),
        ("1", ["--reason", ""], "30d", "a waiver needs a reason"),
    ],
)
def test_nothing_is_written_when_anything_is_wrong(
    finding: str, more: list[str], expires: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in Path().glob("*.*")}
    assert waive(finding, *more, expires=expires) == 2
    assert message in capfd.readouterr().err
    assert {path: path.read_bytes() for path in Path().glob("*.*")} == before


@pytest.mark.parametrize(
    "report",
    [
        "",
        "[]",
        "{}",
        '{"schema": "urn:weighbridge:verdict:1"}',
        "[" * 100_000,
        '{"schema": "urn:weighbridge:verdict:2"}',
    ],
)
def test_what_is_no_report_is_refused(report: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("report.json").write_text(report)
    assert waive("1") == 2
    assert capfd.readouterr().err.startswith("weighbridge: error: report.json: ")


def test_a_report_without_digests_or_with_names_it_could_not_show_has_nothing_to_waive(
    capfd: pytest.CaptureFixture[str],
) -> None:
    document = json.loads(Path("report.json").read_text())
    document["findings"][0]["fact"]["subject"] = "a\\u202e"
    Path("report.json").write_text(json.dumps(document))
    assert waive("1") == 2
    assert "characters that reports cannot show" in capfd.readouterr().err
    document["files"][0]["digest"] = None
    Path("report.json").write_text(json.dumps(document))
    assert waive("1") == 2
    assert "scan it without --no-digest" in capfd.readouterr().err


def test_a_file_of_waivers_is_begun_and_goes_on() -> None:
    assert waive("1", "--to", "w.yaml") == 0 and waive("unknown", "--to", "w.yaml") == 0
    assert run("scan", "models/a.pkl", "models/b.pkl", "--waivers", "w.yaml") == 0
    assert run("scan", "models/a.pkl") == 1


MADE = Waiver(
    rule="PKL001", digest="sha256:" + "0" * 64, subject="a[*]b", reason='a "b" \\ é', approver="é\t", expires=SOON
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.toml", ""),
        ("p.toml", "fail_at = 'low'"),
        ("p.toml", "# a\n[require]\npinned = true # b\n\n\n"),
        ("pyproject.toml", "[project]\nname = 'x'\n[tool.weighbridge]\nfail_at = 'low'\n[tool.other]\nwaivers = 1\n"),
        ("p.yaml", "name: ours\n"),
        ("p.yaml", "name: ours\nrequire: {pinned: true}\n# end"),
        ("w.yaml", ""),
    ],
)
def test_the_rest_of_the_file_stays_byte_for_byte(name: str, text: str) -> None:
    once = waivers.added(text, [MADE], name)
    twice = waivers.added(once, [MADE, MADE], name)
    assert once.startswith(text) and twice.startswith(once)
    Path(name).write_text(twice)
    assert load_policy(name).waivers == (MADE, MADE, MADE)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.toml", "waivers = []\n"),
        ("p.yaml", "waivers: []\n"),
        ("p.yaml", "waivers:\n  - {}\nname: ours\n"),
        ("p.json", "{}"),
        ("p.json", '{"waivers": []}'),
    ],
)
def test_where_the_end_is_no_place_the_entry_for_the_list_is_shown_instead(name: str, text: str) -> None:
    entry = waivers._in_line(MADE, name)
    text = text.replace("{}\n", f"{entry}\n")
    with pytest.raises(UsageError) as refused:
        waivers.added(text, [MADE], name)
    assert str(refused.value).endswith(f"add this to its list `waivers`:\n  {entry}")
    Path(name).write_text(f"waivers = [{entry}]" if name.endswith(".toml") else f'{{"waivers": [{entry}]}}')
    assert load_policy(name).waivers == (MADE,), "what is shown is what may stand there"


@pytest.mark.parametrize(("name", "text"), [("p.yaml", "- a\n"), ("p.yaml", "a"), ("p.toml", "a")])
def test_a_file_that_is_wrong_is_not_written_to(name: str, text: str) -> None:
    with pytest.raises(DocumentError):
        waivers.added(text, [MADE], name)


@pytest.mark.parametrize("indent", ["", "  ", "    "])
def test_an_entry_stands_where_the_earlier_ones_do(indent: str) -> None:
    text = f"name: ours\nwaivers:\n{waivers._entry(MADE, indent)}"
    assert waivers.added(text, [MADE], "p.yaml") == text + waivers._entry(MADE, indent)


def test_a_link_and_the_mode_of_the_file_stay() -> None:
    Path("weighbridge.toml").rename("real.toml")
    Path("real.toml").chmod(0o640)
    Path("weighbridge.toml").symlink_to("real.toml")
    assert waive("1") == 0
    assert Path("weighbridge.toml").is_symlink() and "PKL001" in Path("real.toml").read_text()
    assert stat.S_IMODE(Path("real.toml").stat().st_mode) == 0o640
