"""`weighbridge policy`, and the policy that scans take, as users meet them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from weighbridge import cli
from weighbridge.cli import group

HOSTILE = b"\x80\x04cos\nsystem\n(X\x07\x00\x00\x00echo hitR."
PLAIN = b"\x80\x04N."


@pytest.fixture(autouse=True)
def environment(own_places: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stand in an empty folder with a model in it, without the person's settings."""
    folder = tmp_path / "project"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "hostile.pkl").write_bytes(HOSTILE)
    (folder / "models" / "plain.pkl").write_bytes(PLAIN)
    monkeypatch.chdir(folder)


def run(*arguments: str) -> int:
    return cli._run(group.run, list(arguments))


def test_init_begins_a_file_that_changes_nothing_and_never_replaces_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("policy", "init") == 0
    text = Path("weighbridge.toml").read_text()
    assert run("policy", "init") == 2
    assert "is there already" in capfd.readouterr().err and Path("weighbridge.toml").read_text() == text
    assert run("policy", "lint") == 0
    assert "nothing is wrong" in capfd.readouterr().out
    assert run("scan", "models/hostile.pkl") == 1 and run("scan", "models/plain.pkl") == 0
    assert "policy weighbridge.toml ·" in capfd.readouterr().out


def test_every_line_of_the_beginning_is_right_when_its_mark_is_taken_away() -> None:
    run("policy", "init")
    path = Path("weighbridge.toml")
    lines = path.read_text().splitlines()
    settings = [line.removeprefix("# ") if "=" in line or line.startswith("# [") else line for line in lines[3:]]
    text = "\n".join(settings).replace("sha256:…", "sha256:" + "0" * 64)
    path.write_text("\n".join(line for line in text.splitlines() if "trust =" not in line and "A waiver" not in line))
    assert run("policy", "lint") == 0, path.read_text()


def test_lint_names_every_wrong_file(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("policy", "lint") == 2
    assert "weighbridge policy init" in capfd.readouterr().err
    with monkeypatch.context() as variables:
        variables.setenv("WEIGHBRIDGE_POLICY", "strict")
        assert run("policy", "lint") == 0
    assert capfd.readouterr().out == "strict: nothing is wrong\n"
    Path("a.toml").write_text("fail_at = 'low'\n")
    Path("b.toml").write_text("\n  fail_att = 'low'\n")
    Path("c.yaml").write_text("require:\n  pinned: maybe\n")
    Path("d.toml").write_text("trust = ['t.yaml']\n")
    Path("t.yaml").write_text("framework: x\npackages: [torch]\nreviewed: no\n")
    Path("e.toml").write_text("trust = ['u.yaml']\n")
    Path("u.yaml").write_text("framework: x\npackages: [mine]\nreviewed: no\ncal:\n  mine.x: any\n")
    assert run("policy", "lint", "a.toml", "b.toml", "c.yaml", "d.toml", "e.toml") == 2
    assert capfd.readouterr().out.splitlines() == [
        "a.toml: nothing is wrong",
        "error: ./b.toml:2:3: fail_att: unknown key 'fail_att', did you mean 'fail_at'?",
        "error: ./c.yaml:2:11: 'maybe' is not true or false",
        "error: ./t.yaml: torch speaks for 'torch' already; --rules names a folder in which both can be one file",
        "error: ./u.yaml:5:3: unknown key 'cal', did you mean 'call'?",
    ]


def test_explain_says_what_holds_and_where_it_is_from(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("pyproject.toml").write_text(
        '[tool.weighbridge]\nprofile = "strict"\ngaps = "inconclusive"\n'
        '[tool.weighbridge.require]\nformats = ["json"]\n'
    )
    monkeypatch.setenv("WEIGHBRIDGE_REQUIRE_SIGNATURE", "true")
    assert run("policy", "explain", "--fail-at", "medium", "--set", "require.max_size=50GB") == 0
    out = capfd.readouterr().out
    file = Path("pyproject.toml").absolute()
    assert out.startswith(f"policy pyproject.toml ({file}, found from the current folder upward)\nsha256:")
    for line in (
        "A finding of severity medium or worse fails.",
        "A name that nobody has reviewed fails.",
        "What could not be read is inconclusive, which is no pass.",
        "Files may only be json.",
        "All files together have at most 46.6 GiB (50000000000 bytes).",
        "Somebody whom the trust policy names has signed.",
    ):
        assert f"\n{line}\n" in out
    table = {line.split()[0]: line.split(maxsplit=2)[1:] for line in out.splitlines() if "  " in line}
    assert table["fail_at"] == ["medium", "--fail-at"]
    assert table["unknown"] == ["fail", "the shipped policy strict"]
    assert table["gaps"] == ["inconclusive", str(file)]
    assert table["require.signature"] == ["true", "WEIGHBRIDGE_REQUIRE_SIGNATURE"]
    assert table["require.pinned"] == ["false", "default"]


def test_a_scan_takes_the_nearest_policy_and_says_so_when_asked(capfd: pytest.CaptureFixture[str]) -> None:
    Path("weighbridge.toml").write_text('name = "ours"\n[require]\nformats = ["json"]\n')
    assert run("scan", "models/plain.pkl", "--verbose") == 1
    told = capfd.readouterr()
    assert "FORMAT" in told.out and "policy ours" in told.out
    assert told.err.startswith(f"weighbridge: policy {Path('weighbridge.toml').absolute()} (found from")
    assert run("scan", "models/plain.pkl", "--policy", "default") == 0
    assert run("scan", "models/plain.pkl", "--set", "require.formats=pickle,text") == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("require.pined=true", "--set require.pined: no setting is named 'require.pined', did you mean"),
        ("fail_at", "--set fail_at: write KEY=VALUE"),
        ("fail_at=no", "--set fail_at: 'no' is not one of low"),
    ],
)
def test_a_wrong_setting_is_an_error(option: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("scan", "models/plain.pkl", "--set", option) == 2
    assert capfd.readouterr().err.startswith(f"weighbridge: error: {message}")


@pytest.mark.parametrize("plain", [[], ["--no-digest"]])
def test_the_short_way_through_the_command_line_sees_settings_too(plain: list[str]) -> None:
    """A scan without options does without click, and must not do without the policy."""

    def status(**environ: str) -> int:
        command = [sys.executable, "-m", "weighbridge", "scan", *plain, "models/hostile.pkl"]
        return subprocess.run(command, check=False, capture_output=True, env=dict(os.environ) | environ).returncode

    assert status() == 1
    assert status(WEIGHBRIDGE_FAIL_AT="low") == 1
    assert status(WEIGHBRIDGE_FAIL_AT="bad") == 2
    assert status(WEIGHBRIDGE_REQUIRE_NOTHING="bad") == 2
    Path("weighbridge.toml").write_text("fail_at = 1\n")
    assert status() == 2
    Path("weighbridge.toml").unlink()
    Path("pyproject.toml").write_text("[tool.weighbridge]\nfail = 1\n")
    assert status() == 2


def test_a_model_cannot_bring_its_policy(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    Path("models/weighbridge.toml").write_text('fail_at = "critical"\nunknown = "inconclusive"\n')
    assert run("scan", "models") == 1  # it is scanned, and not read
    assert "policy default" in capfd.readouterr().out
    for arguments in (["scan", "models", "--policy", "models/weighbridge.toml"], ["gate", "models", "--to", "out"]):
        monkeypatch.setenv("WEIGHBRIDGE_POLICY", "./models/weighbridge.toml")
        assert run(*arguments) == 2
        assert "came with what is scanned" in capfd.readouterr().err
    monkeypatch.delenv("WEIGHBRIDGE_POLICY")
    monkeypatch.chdir("models")
    for one in (".", "plain.pkl", f"file://{Path.cwd()}"):
        assert run("scan", one) == 2
        assert "came with what is scanned" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ("require.sources=hf://acme/*", "SOURCE"),
        ("require.max_size=10", "SIZE"),
        ("require.licences=mit", "LICENCE"),
        ("require.forbidden=pickle", "FORMAT"),
    ],
)
def test_a_reference_is_held_against_what_is_required(
    setting: str, code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("models/hostile.pkl").unlink()
    reference = f"file://{Path('models').absolute()}"
    (Path("models") / "big.txt").write_text("words and words\n")
    assert run("scan", reference) == 0
    assert run("scan", reference, "--set", setting) == 1
    assert code in capfd.readouterr().out


def test_a_current_folder_that_was_removed_has_no_policy(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    model = Path("models/plain.pkl").absolute()
    for more in ("", "--quiet"):
        script = f"rmdir {gone}; exec {sys.executable} -m weighbridge scan {model} {more}"
        gone.mkdir(exist_ok=True)
        assert subprocess.run(["sh", "-c", script], check=False, cwd=gone, capture_output=True).returncode == 0
