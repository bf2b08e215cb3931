"""The command as a user or a script meets it: exit status, what goes where, and what is refused."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from datetime import date, timedelta
from pathlib import Path

import pytest

from weighbridge import cli
from weighbridge.cli.group import COMMANDS, run
from weighbridge.cli.output import use_color
from weighbridge.digest import Digest
from weighbridge.errors import DocumentError, SourceError, UsageError
from weighbridge.limits import Limits

PLAIN = b"\x80\x04]\x94(K\x01K\x02e."
HOSTILE = b"\x80\x04cos\nsystem\n(X\x07\x00\x00\x00echo hitR."
STRANGE = b"\x80\x04cmy_project.models\nConfig\n)\x81."
UNREADABLE = b"\x00\x01\x02\x03 no format at all"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put one file of each kind into a folder and stand beside it."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name, data in {"plain": PLAIN, "hostile": HOSTILE, "strange": STRANGE, "unreadable": UNREADABLE}.items():
        (folder / f"{name}.bin").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return folder


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weighbridge", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["scan", "models/plain.bin"], 0),
        (["scan", "models/hostile.bin"], 1),
        (["scan", "models/strange.bin"], 3),
        (["scan", "models/unreadable.bin"], 3),
        (["scan", "models"], 1),
        (["scan", "models/hostile.bin", "--exit-zero"], 0),
        (["scan", "models/unreadable.bin", "--policy", "strict"], 1),
        (["scan", "models/strange.bin", "--policy", "strict"], 1),
        (["rules", "list"], 0),
        (["rules", "show", "PKL001"], 0),
        (["rules", "test"], 0),
        (["inspect", "models/hostile.bin", "--no-listing"], 0),
        (["--help"], 0),
        (["--version"], 0),
    ],
)
@pytest.mark.usefixtures("models")
def test_exit_status(arguments: list[str], status: int) -> None:
    assert run(arguments) == status


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan"],
        ["scan", "models", "--no-such-option"],
        ["scan", "models", "--format", "pdf"],
        ["scan", "models", "--format", "json", "--format", "sarif"],
        ["scan", "models", "--output", "a", "--output", "b"],
        ["scan", "models", "--jobs", "0"],
        ["scan", "models", "--max-depth", "-1"],
        ["scan", "models", "--rules", "nowhere"],
        ["nonsense"],
    ],
)
@pytest.mark.usefixtures("models")
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    assert run(arguments) == 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["scan", "nowhere.bin"], SourceError),
        (["scan", "models/plain.bin", "nowhere"], SourceError),
        (["inspect", "nowhere.bin"], SourceError),
        (["inspect", "models"], SourceError),
        (["scan", "models", "--policy", "lenient"], DocumentError),
        (["scan", "models", "--policy", "nowhere.yaml"], DocumentError),
        (["scan", "models", "--waivers", "nowhere.yaml"], DocumentError),
        (["scan", "models", "--rules", "models"], UsageError),
        (["scan", "models", "--format", "json", "--output", "no/such/folder"], UsageError),
        (["rules", "show", "XXX999"], UsageError),
        (["scan", "ftp://somewhere/model.pt"], UsageError),
    ],
)
@pytest.mark.usefixtures("models")
def test_what_cannot_be_done_is_one_error_of_ours(arguments: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        run(arguments)


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (UsageError("x"), 2),
        (DocumentError("policy.yaml:1:1", "x"), 2),
        (SourceError("x"), 4),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("x"), 70),
        (MemoryError(), 70),
    ],
)
def test_an_error_is_one_line_and_never_a_verdict(
    failure: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: list[str]) -> int:
        raise failure

    assert cli._run(fail, ["scan"]) == status
    assert capsys.readouterr().err.count("\n") == 1


def test_a_crash_shows_its_traceback_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: list[str]) -> int:
        raise ZeroDivisionError("\x1b[2J")

    cli._run(fail, ["scan"])
    assert (
        capsys.readouterr().err == "weighbridge: internal error: ZeroDivisionError: \\x1b[2J; --verbose shows where\n"
    )
    cli._run(fail, ["scan", "--verbose"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.usefixtures("models")
def test_the_real_command_keeps_the_report_on_standard_output() -> None:
    done = command("scan", "models/hostile.bin")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("fail: models/hostile.bin: 1 finding at or above high\n")
    assert "\x1b" not in done.stdout
    missing = command("scan", "nowhere.bin")
    assert (missing.returncode, missing.stdout) == (4, "")
    assert missing.stderr == "weighbridge: error: nowhere.bin: No such file or directory\n"


@pytest.mark.usefixtures("models")
def test_a_reader_that_leaves_early_does_not_change_the_status() -> None:
    scan = f"{sys.executable} -m weighbridge scan models --verbose --format json"
    script = f"{scan} | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.usefixtures("models")
def test_a_scan_imports_nothing_that_it_does_not_use() -> None:
    code = (
        "import sys; sys.argv = ['weighbridge', 'scan', 'models/plain.bin', '--quiet']\n"
        "import atexit, weighbridge.cli\n"
        "atexit.register(lambda: print(*sorted(sys.modules)))\n"
        "weighbridge.cli.main()"
    )
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=unmeasured
    )
    loaded = set(done.stdout.split())
    heavy = (
        "fickling onnx sigstore huggingface_hub numpy cryptography multiprocessing subprocess tarfile zipfile lz4 py7zr"
    )
    assert not loaded & {
        *heavy.split(),
        "weighbridge.report.sarif",
        "weighbridge.report.json",
        "weighbridge.inspection",
    }


@pytest.mark.usefixtures("models")
def test_several_reports_at_once(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    arguments = "scan models/hostile.bin --format json --output r.json --format text --format=sarif --output=r.sarif"
    assert run(arguments.split()) == 1
    assert capfdbinary.readouterr().out.startswith(b"fail: ")
    assert json.loads(Path("r.json").read_text())["outcome"] == "fail"
    assert json.loads(Path("r.sarif").read_text())["version"] == "2.1.0"


@pytest.mark.usefixtures("models")
def test_an_output_without_a_format_is_the_text(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["scan", "models/plain.bin", "--output", "r.txt"]) == 0
    assert capfdbinary.readouterr().out == b""
    assert Path("r.txt").read_text().startswith("pass: models/plain.bin: ")


@pytest.mark.usefixtures("models")
def test_quiet_is_one_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    run(["scan", "models", "--quiet"])
    assert capfdbinary.readouterr().out.count(b"\n") == 1


def test_an_excluded_file_is_told_and_no_file_is_no_pass(
    models: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(["scan", "models", "--include", "plain*", "--format", "json"]) == 0
    document = json.loads(capfdbinary.readouterr().out)
    assert document["excluded"] == ["models/hostile.bin", "models/strange.bin", "models/unreadable.bin"]
    assert run(["scan", "models", "--exclude", "*"]) == 3
    assert run(["scan", "models/hostile.bin", "--exclude", "*"]) == 1  # the user named it
    assert capfdbinary.readouterr().out.startswith(b"inconclusive: there was no file to scan\n")


def test_a_waiver_accepts_the_exact_file_only(models: Path) -> None:
    waivers = Path("waivers.yaml")
    for data, status in ((HOSTILE, 0), (PLAIN, 1)):
        waivers.write_text(
            f"waivers:\n  - rule: PKL001\n    digest: {Digest.of(data)}\n    reason: a test\n"
            f"    approver: the tests\n    expires: {date.today() + timedelta(days=30)}\n"
        )
        assert run(["scan", "models/hostile.bin", "--waivers", "waivers.yaml"]) == status
    with pytest.raises(UsageError):
        run(["scan", "models/hostile.bin", "--waivers", "waivers.yaml", "--no-digest"])


def test_processes_give_the_same_bytes_as_one(models: Path) -> None:
    for number in range(8):
        (models / f"more-{number}.bin").write_bytes(HOSTILE if number % 3 else PLAIN)
    assert run(["scan", "models", "--format", "json", "--output", "one.json"]) == 1
    assert run(["scan", "models", "--jobs", "2", "--format", "json", "--output", "two.json"]) == 1
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()


@pytest.mark.usefixtures("models")
def test_every_limit_is_an_option_with_help(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    run(["scan", "--help"])
    text = capfdbinary.readouterr().out.decode()
    for limit in fields(Limits):
        assert f"--{limit.name.replace('_', '-')} " in text
    assert run(["scan", "models/plain.bin", "--max-opcodes", "1"]) == 3
    assert b"--max-opcodes" in capfdbinary.readouterr().out


@pytest.mark.parametrize("name", [*COMMANDS, "rules list", "rules show", "rules test"])
def test_every_command_has_help_with_examples(name: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run([*name.split(), "--help"]) == 0
    assert b"Example" in capfdbinary.readouterr().out


def test_a_rule_whose_examples_do_not_hold_is_named(models: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (models / "TST001-odd.yaml").write_text(
        "id: TST001\ntitle: t\nseverity: low\ndescription: d\nremediation: r\nmatch: {names: {os: system}}\n"
        "examples: {match: [plain.bin], no_match: [hostile.bin]}\n"
    )
    assert run(["rules", "test", "--rules", "models", "--fixtures", "models"]) == 1
    assert capfdbinary.readouterr().out == b"TST001 does not report plain.bin\nTST001 reports hostile.bin\n"


def test_a_wrong_trust_entry_is_named_though_no_example_needs_it(
    models: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (models / "TST001-odd.yaml").write_text(
        "id: TST001\ntitle: t\nseverity: low\ndescription: d\nremediation: r\nmatch: {names: {os: system}}\n"
        "examples: {match: [hostile.bin], no_match: [plain.bin]}\n"
    )
    (models / "trust").mkdir()
    mine = models / "trust/mine.yaml"
    mine.write_text("framework: mine\npackages: [mine]\nreviewed: 2026-01-31\n")
    words = ["rules", "test", "--rules", "models", "--fixtures", "models"]
    assert run(words) == 0
    assert capfd.readouterr().out == "1 rule, trust entries for 1 package: all hold\n"
    mine.write_text("framework: mine\npackages: [mine]\nreviewed: 2026-01-31\ncal:\n  mine.run: any\n")
    assert cli._run(run, words) == 2
    assert "trust/mine.yaml:5:3: unknown key 'cal', did you mean 'call'?" in capfd.readouterr().err


def test_inspect_shows_what_is_known_of_each_name(models: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (models / "three.bin").write_bytes(
        b"\x80\x04(cos\nsystem\n(X\x02\x00\x00\x00lstRcmy_project.models\nConfig\n)\x81ccollections\nOrderedDict\n)Rt."
    )
    assert run(["inspect", "models/three.bin", "--format", "json"]) == 0
    document = json.loads(capfdbinary.readouterr().out)
    assert [(one["name"], one["status"]) for one in document["imports"]] == [
        ("os.system", "dangerous"),
        ("my_project.models.Config", "unknown"),
        ("collections.OrderedDict", "trusted"),
    ]
    assert document["pickles"][0]["decompiled"]
    assert run(["inspect", "models/three.bin"]) == 0
    assert b"system('ls')" in capfdbinary.readouterr().out


@pytest.mark.usefixtures("models")
def test_a_second_opinion_stands_beside_the_verdict(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["scan", "models/plain.bin", "models/hostile.bin", "--second-opinion"]) == 1
    text = capfdbinary.readouterr().out.decode()
    assert "second opinion: models/plain.bin: fickling" in text
    assert run(["scan", "models/unreadable.bin", "--second-opinion"]) == 3
    assert b"says no answer" in capfdbinary.readouterr().out


@pytest.mark.parametrize(
    ("choice", "no_color", "terminal", "colored"),
    [
        ("auto", "", True, True),
        ("auto", "", False, False),
        ("auto", "1", True, False),
        ("always", "1", False, True),
        ("never", "", True, False),
    ],
)
def test_color(choice: str, no_color: str, terminal: bool, colored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    assert use_color(choice, stream) is colored


def test_progress_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from weighbridge.cli.progress import scanned

    assert scanned(quiet=False) is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    show: Callable[[int, int], None] | None = scanned(quiet=False)
    assert show is not None
    show(1, 2)
    show(2, 2)
    assert "1 of 2 files" in capsys.readouterr().err
    assert scanned(quiet=True) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["models"],
        ["models/plain.bin", "--no-digest"],
        ["models/hostile.bin", "models/strange.bin"],
        ["models/unreadable.bin"],
        ["models", "-q"],
        ["models/hostile.bin", "--quiet", "--no-digest"],
    ],
)
@pytest.mark.usefixtures("models")
def test_a_scan_without_options_is_what_it_is_with_them(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    from weighbridge.cli import plain

    assert cli.is_plain(["scan", *arguments])
    status = plain.run(["scan", *arguments])
    said = capfd.readouterr()
    assert run(["scan", *arguments]) == status
    assert capfd.readouterr() == said


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["scan"],
        ["scan", "--no-digest"],
        ["scan", "-h"],
        ["scan", "a", "-v"],
        ["scan", "-q"],
        ["scan", "hf://a/b"],
        ["inspect", "a"],
        ["--help"],
    ],
)
def test_any_other_command_line_is_left_to_click(arguments: list[str]) -> None:
    assert not cli.is_plain(arguments)


@pytest.mark.usefixtures("models")
def test_a_scan_without_options_does_not_import_click() -> None:
    script = "import sys, atexit; sys.argv = ['weighbridge', 'scan', 'models/plain.bin']\n"
    script += "atexit.register(lambda: print(*sorted(sys.modules)))\nimport weighbridge.cli; weighbridge.cli.main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "weighbridge.pipeline" in done.stdout.split() and "click" not in done.stdout.split()


def test_a_path_that_is_not_there_ends_a_plain_scan_as_any_other() -> None:
    done = command("scan", "no-such-file")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == command("scan", "no-such-file", "-q").stderr


@pytest.mark.parametrize("arguments", [["gate", "{}", "--to", "out"], ["convert", "{}", "out"], ["doctor"]])
def test_a_current_folder_that_was_removed_is_no_internal_error(
    arguments: list[str], models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    status = cli._run(run, [word.format(models) for word in arguments])
    assert status == (0 if arguments == ["doctor"] else 2)
