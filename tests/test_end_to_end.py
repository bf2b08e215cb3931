"""The installed command from a reference to loaded tensors, by real processes that have no network but 127.0.0.1."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed import CUT_OFF, ITSELF_ALONE, TIMEOUT, TREE, Person, at_home, can_be_cut_off, furnish

from fixtures.registry import models

BESIDE = {"approval.json", "approval.leaves", "weighbridge.lock", "report.json", "report.html"}
STRANGE = b"\x80\x04cmy_project.models\nConfig\n)\x81."
LINEAR, ADDER, SURPRISE = "hf://demo/linear", "hf://demo/adder", "hf://demo/surprise"
LOAD = """
import sys, weighbridge
for name, found in sorted(weighbridge.load(sys.argv[1]).items()):
    print(name, found.tolist())
"""
WEIGHTS = "bias [0.5, -0.5]\nweight [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]\n"


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the installed wheel, which the processes that share the tests share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "installed"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            furnish(folder)
            (folder / "done").touch()
    return folder


@pytest.fixture
def person(furnished: Path, tmp_path: Path) -> Iterator[Person]:
    with at_home(furnished, tmp_path / "home") as somebody:
        yield somebody


@pytest.fixture
def approved(person: Person) -> Path:
    """A model that has crossed."""
    done = person.run("gate", LINEAR, "--to", "linear")
    assert done.returncode == 0, done.stderr
    return person.home / "linear"


def held(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return the inode and the bytes of each file in a folder."""
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()}


def bodies(person: Person) -> int:
    """Return how often bytes of a file were asked for."""
    return sum(entry.asked != "" or "resolve" in entry.target for entry in person.hub.log)


def said_beside(done: subprocess.CompletedProcess[str]) -> str:
    """Return what stands on standard error, every line of which says who says it."""
    assert all(line.startswith("weighbridge: ") for line in done.stderr.splitlines()), done.stderr
    return done.stderr


def overwrite(file: Path) -> None:
    """Change one byte of a file that may only be read."""
    data = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    file.chmod(0o444)


# The environment


def test_the_command_is_that_of_the_wheel(person: Person) -> None:
    code = (
        "import sys, weighbridge, weighbridge.rules as r; print(weighbridge.__file__, r.rules_directory(), *sys.path)"
    )
    package, rules, *path = person.process(person.python, "-c", code).stdout.split()
    assert {Path(one).is_relative_to(person.python.parent.parent) for one in (package, rules)} == {True}
    assert not [one for one in path if Path(one).is_relative_to(TREE)]
    version = person.process(
        person.python, "-c", "from importlib.metadata import version as v; print(v('weighbridge'))"
    )
    assert person.run("--version").stdout == f"weighbridge, version {version.stdout}"


@pytest.mark.parametrize("code", ["socket.create_connection(('192.0.2.1', 80))", "socket.getaddrinfo('a.example', 80)"])
def test_the_network_is_refused(person: Person, code: str) -> None:
    done = person.process(person.python, "-c", f"import socket; {code}")
    assert "the test has no network" in done.stderr
    assert "socket." in person.refused.read_text()
    person.refused.unlink()


# From a reference to an approved folder


def test_three_models_at_the_gate(person: Person) -> None:
    before = (*CUT_OFF, *ITSELF_ALONE) if can_be_cut_off() else ()
    demo = [*before, sys.executable, "-m", "fixtures.demo", str(person.command)]
    environment = {**os.environ, "REFUSED": str(person.refused)}
    done = subprocess.run(demo, cwd=TREE, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert (done.returncode, done.stderr) == (0, "")
    verdicts = [line.partition(":")[0] for line in done.stdout.splitlines() if line.startswith(("pass", "fail", "inc"))]
    assert verdicts == ["pass", "pass", "fail"]
    assert "converted pytorch_model.bin to model.safetensors, every byte compared" in done.stdout
    assert "signed by publisher" in done.stdout
    assert "models/surprise is untouched" in done.stdout


def test_a_checkpoint_crosses_and_is_loaded_without_a_network(person: Person) -> None:
    done = person.run("gate", LINEAR, "--to", "models/linear")
    assert done.returncode == 0
    assert done.stdout.startswith("pass: 3 ")
    assert "weighbridge: " not in done.stdout
    assert "converted pytorch_model.bin to model.safetensors" in said_beside(done)
    place = person.home / "models/linear"
    assert {path.name for path in place.iterdir()} - BESIDE == {
        *("README.md", "config.json", "model.safetensors", "conversion.json", "model.conversion.json")
    }
    loaded = person.process(person.python, "-c", LOAD, "models/linear", cut_off=True)
    assert (loaded.stdout, loaded.stderr, loaded.returncode) == (WEIGHTS, "", 0)
    check = person.run("approve", "models/linear", "--check", cut_off=True)
    assert (check.returncode, check.stderr) == (0, "")
    assert "5 files" in check.stdout


def test_a_signed_model_crosses_as_it_is(person: Person) -> None:
    done = person.run("gate", ADDER, "--to", "adder")
    assert done.returncode == 0
    assert "signed by publisher (sha256:" in done.stdout
    found = {name: data for name, (_, data) in held(person.home / "adder").items() if name not in BESIDE}
    assert found == {name: data for name, data in models()["demo/adder"].items() if name != "model.sig"}


def test_a_signed_model_whose_bytes_differ_does_not(person: Person) -> None:
    files = models()["demo/adder"]
    person.hub.publish("demo/adder", {**files, "README.md": files["README.md"] + b"\n"})
    done = person.run("gate", ADDER, "--to", "adder")
    assert done.returncode == 1
    assert "[CONTENT_MISMATCH]" in done.stdout
    assert not (person.home / "adder").exists()


def test_a_booby_trapped_model_leaves_no_trace(person: Person) -> None:
    done = person.run("gate", SURPRISE, "--to", "models/surprise")
    assert done.returncode == 1
    assert done.stdout.startswith("fail: pytorch_model.bin: 1 finding at or above high\n")
    assert said_beside(done).endswith("weighbridge: models/surprise is untouched\n")
    assert not (person.home / "models").exists()


def test_a_revision_that_fails_does_not_replace_one_that_passed(person: Person, approved: Path) -> None:
    before = held(approved)
    person.hub.publish("demo/linear", models()["demo/surprise"])
    assert person.run("gate", LINEAR, "--to", "linear").returncode == 1
    assert held(approved) == before


def test_the_same_again_is_no_work(person: Person, approved: Path) -> None:
    before, fetched = held(approved), bodies(person)
    done = person.run("gate", LINEAR, "--to", "linear")
    assert done.returncode == 0
    assert "linear holds it already: 5 files, " in said_beside(done)
    assert held(approved) == before
    assert bodies(person) == fetched


def test_standard_output_is_the_report_and_nothing_else(person: Person) -> None:
    words = ("--format", "json", "--format", "sarif", "--output", "report.sarif")
    done = person.run("gate", SURPRISE, "--to", "surprise", *words)
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (1, "fail")
    assert json.loads((person.home / "report.sarif").read_text())["version"] == "2.1.0"
    assert "surprise is untouched" in said_beside(done)
    quiet = person.run("gate", SURPRISE, "--to", "surprise", "--quiet")
    assert (quiet.stdout.count("\n"), quiet.stderr) == (1, "")


# What was approved, and what became of it


def test_a_command_runs_over_what_was_approved(person: Person, approved: Path) -> None:
    code = "import os, sys; print(sys.argv[1]); print(*sorted(os.listdir(sys.argv[1]))); sys.exit(7)"
    done = person.run("run", "--approved", "linear", "--", person.python, "-c", code, "linear", cut_off=True)
    assert done.returncode == 7
    assert said_beside(done)
    place, files = done.stdout.splitlines()
    assert Path(place) != approved
    assert not BESIDE - {"approval.json", "approval.leaves"} & set(files.split())
    assert "model.safetensors" in files.split()


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "approval.json"])
def test_what_was_changed_is_refused(person: Person, approved: Path, file: str) -> None:
    overwrite(approved / file)
    run = person.run("run", "--approved", "linear", "--", "echo", "linear", cut_off=True)
    check = person.run("approve", "linear", "--check", cut_off=True)
    for done in (run, check):
        assert (done.returncode, done.stdout) == (1, "")
        assert said_beside(done).startswith("weighbridge: refused: ")
    loaded = person.process(person.python, "-c", LOAD, "linear", cut_off=True)
    assert (loaded.returncode, loaded.stdout) == (1, "")
    assert "weighbridge.refusals." in loaded.stderr


def test_what_somebody_changed_is_not_overwritten(person: Person, approved: Path) -> None:
    overwrite(approved / "model.safetensors")
    before = held(approved)
    done = person.run("gate", LINEAR, "--to", "linear")
    assert (done.returncode, done.stdout) == (2, "")
    assert "somebody has changed what was approved" in said_beside(done)
    assert held(approved) == before


def test_an_approval_counts_for_nobody_else(person: Person, approved: Path) -> None:
    person.environment |= {"WEIGHBRIDGE_TRUST": "", "HOME": str(approved.parent / "elsewhere")}
    check = person.run("approve", "linear", "--check", cut_off=True)
    assert (check.returncode, check.stdout) == (1, "")
    assert "nobody who may approve" in said_beside(check)


def test_what_is_in_the_store_crosses_without_a_network(person: Person, approved: Path) -> None:
    words = ("--locked", "--lock", "linear/weighbridge.lock", "--offline")
    done = person.run("gate", LINEAR, "--to", "again", *words, cut_off=True)
    assert (done.returncode, done.stdout[:6]) == (0, "pass: "), done.stderr
    loaded = person.process(person.python, "-c", LOAD, "again", cut_off=True)
    assert loaded.stdout == WEIGHTS
    unknown = person.run("gate", ADDER, "--to", "adder", "--offline", cut_off=True)
    assert (unknown.returncode, unknown.stdout) == (4, "")
    assert not (person.home / "adder").exists()


# Exit statuses: docs/exit-codes.md


@pytest.fixture
def shelf(person: Person) -> Path:
    """Some files to scan, and a policy with a mistake in it."""
    shutil.copytree(TREE / "fixtures/models", person.home / "models")
    (person.home / "strange.pkl").write_bytes(STRANGE)
    (person.home / "wrong.yaml").write_text("name: ours\nfail_at: hihg\n")
    return person.home


STATUSES = {
    "scan models/ordinary.pt": 0,
    "scan models": 1,
    "scan strange.pkl": 3,
    "scan": 2,
    "scan models/ordinary.pt --no-such-option": 2,
    "scan models/ordinary.pt --policy wrong.yaml": 2,
    "scan models/ordinary.pt --output no/such/folder": 2,
    **dict.fromkeys((f"{one} nowhere.pt" for one in ("scan", "inspect", "tensors", "bom", "sign", "verify")), 4),
    **dict.fromkeys(("approve nowhere", "approve --check nowhere", "lock check nowhere"), 4),
    "attest nowhere --output out": 4,
    "verify-attestation nowhere.json": 4,
    "run --approved nowhere -- echo": 4,
    "bundle export out --approved nowhere": 4,
    "gate models/ordinary.pt --to out --trust wrong.yaml": 2,
    "gate models/ordinary.pt --to models": 2,
    "gate strange.pkl --to out": 3,
    "gate hf://demo/nobody --to out": 4,
    "gate nowhere.pt --to out": 4,
    "approve models --check": 1,
    "run --approved models -- echo models": 1,
    "no-such-command": 2,
}


def test_every_documented_exit_status_is_reached() -> None:
    documented = re.findall(r"^\| (\d+) \|", (TREE / "docs/exit-codes.md").read_text(), re.MULTILINE)
    by_signals = {130, 135, 143}  # the shell's words for SIGINT, SIGBUS and SIGTERM
    assert {*map(int, documented)} == {*STATUSES.values(), 70, *by_signals}


@pytest.mark.parametrize("words", STATUSES)
@pytest.mark.usefixtures("shelf")
def test_exit_status(person: Person, words: str) -> None:
    person.environment |= {"WEIGHBRIDGE_TRUST": ""}
    done = person.run(*words.split())
    assert done.returncode == STATUSES[words], done.stderr
    if STATUSES[words] in (2, 4):
        assert done.stdout == ""
        assert done.stderr
    assert "Traceback" not in done.stderr
    assert not (person.home / "out").exists()


@pytest.mark.parametrize(
    ("words", "status"), [("models", 0), ("strange.pkl", 0), ("nowhere.pt", 4), ("models --policy wrong.yaml", 2)]
)
@pytest.mark.usefixtures("shelf")
def test_exit_zero_is_for_verdicts_alone(person: Person, words: str, status: int) -> None:
    done = person.run("scan", "--exit-zero", "--format", "json", *words.split())
    assert done.returncode == status
    assert bool(done.stdout) == (status == 0)
    assert not done.stdout or json.loads(done.stdout)["outcome"] in ("fail", "inconclusive")


@pytest.mark.parametrize("module", ["policy.py", "cli/group.py", "cli/plain.py"])
@pytest.mark.usefixtures("shelf")
def test_an_installation_that_is_broken_gives_no_verdict(person: Person, module: str) -> None:
    broken = person.home / "broken"
    package = person.process(person.python, "-c", "import weighbridge; print(weighbridge.__path__[0])").stdout.strip()
    shutil.copytree(package, broken / "weighbridge")
    (broken / "weighbridge" / module).write_text("raise RuntimeError('somebody broke it')\n")
    person.environment["PYTHONPATH"] = str(broken)
    done = person.run("scan", "models/ordinary.pt", *["--color=never"] * (module == "cli/group.py"))
    assert (done.returncode, done.stdout) == (70, "")
    said = "weighbridge: internal error: RuntimeError: somebody broke it; --verbose shows where\n"
    assert done.stderr == said


def test_an_interrupted_gate_leaves_nothing(person: Person) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        person.environment["HF_ENDPOINT"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        running = person.start("gate", LINEAR, "--to", "linear")
        silent.settimeout(TIMEOUT)
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1)
            running.send_signal(signal.SIGINT)
            said = running.communicate(timeout=TIMEOUT)
    assert (running.returncode, *said) == (130, "", "\nweighbridge: interrupted\n")
    assert not (person.home / "linear").exists()


# Where the output goes

TRAPPED = "scan models/booby_trapped.pt --verbose"
CLOSED = {
    f"{TRAPPED} | true": 1,
    f"{TRAPPED} 2>&1 | true": 1,
    f"{TRAPPED} --format json | true": 1,
    f"{TRAPPED} 2>&-": 1,
    f"{TRAPPED} 2>/dev/full": 1,
    f"{TRAPPED} >&-": 2,
    f"{TRAPPED} >/dev/full": 2,
    f"{TRAPPED} >/dev/full 2>/dev/full": 2,
    "scan nowhere.pt 2>&-": 4,
    "scan nowhere.pt 2>/dev/full": 4,
    "no-such-command 2>/dev/full": 2,
    "gate models/ordinary.pt --to out 2>&1 | true": 0,
    "gate models/ordinary.pt --to out 2>/dev/full": 0,
    "gate models/booby_trapped.pt --to out 2>&1 | true": 1,
    "--help | true": 0,
    "--version | true": 0,
}


@pytest.mark.parametrize("line", CLOSED)
@pytest.mark.usefixtures("shelf")
def test_streams_that_nobody_reads_change_no_status(person: Person, line: str) -> None:
    person.environment |= {"WEIGHBRIDGE_TRUST": ""}
    words, _, rest = line.partition(" | ")
    script = f'"$0" {words} {"| " + rest if rest else ""}; echo ${{PIPESTATUS[0]}} >status'
    done = person.process("bash", "-c", script, person.command)
    assert (person.home / "status").read_text() == f"{CLOSED[line]}\n", done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
