"""The hooks for pre-commit, run by pre-commit over a repository as a user has it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

TREE = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
HOOKS: dict[str, dict[str, Any]] = {
    hook["id"]: hook for hook in yaml.safe_load((TREE / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
}

pytestmark = pytest.mark.skipif(
    not shutil.which("git") or not (BIN / "pre-commit").exists(), reason="git or pre-commit is not installed"
)


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder.parent),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "PRE_COMMIT_HOME": str(folder.parent / "cache"),
    }
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository that uses the hooks, with the command that is installed here instead of one that is fetched."""
    folder = tmp_path / "repository"
    folder.mkdir()
    scan = {key: value for key, value in HOOKS["weighbridge"].items() if key != "description"}
    local = scan | {"language": "system", "entry": f"{shlex.quote(str(BIN))}/{scan['entry']}"}
    text = yaml.safe_dump({"repos": [{"repo": "local", "hooks": [local]}]})
    (folder / ".pre-commit-config.yaml").write_text(text)
    assert run("git", "init", "--quiet", folder=folder).returncode == 0
    return folder


def hooked(folder: Path) -> subprocess.CompletedProcess[str]:
    assert run("git", "add", ".", folder=folder).returncode == 0
    return run(BIN / "pre-commit", "run", "--all-files", "--verbose", folder=folder)


def test_the_manifest_is_one_for_pre_commit(tmp_path: Path) -> None:
    done = run(BIN / "pre-commit", "validate-manifest", TREE / ".pre-commit-hooks.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stdout


def test_a_commit_with_a_booby_trapped_model_is_stopped(repository: Path) -> None:
    shutil.copy(TREE / "fixtures/models/ordinary.pt", repository / "good.pt")
    (repository / "notes.md").write_text("no model")
    done = hooked(repository)
    assert done.returncode == 0, done.stdout
    assert "pass: good.pt" in done.stdout
    shutil.copy(TREE / "fixtures/models/booby_trapped.pt", repository / "two words.pt")
    done = hooked(repository)
    assert done.returncode == 1
    assert "PKL001" in done.stdout and "exit code: 1" in done.stdout


@pytest.mark.parametrize(
    ("path", "looked_at"),
    [
        ("model.pt", True),
        ("a/b/Model.SAFETENSORS", True),
        ("pytorch_model.bin", True),
        ("model.onnx", True),
        ("config.json", True),
        ("models/tokenizer_config.json", True),
        ("MLmodel", True),
        ("package.json", False),
        ("my_config.json", False),
        ("notes.md", False),
        ("script.py", False),
        ("pt", False),
    ],
)
def test_files_are_chosen_by_name(path: str, looked_at: bool) -> None:
    assert bool(re.search(HOOKS["weighbridge"]["files"], path)) == looked_at


@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
def test_every_hook_calls_a_command_that_there_is(hook: dict[str, Any]) -> None:
    program, *words = shlex.split(hook["entry"])
    done = subprocess.run([BIN / program, *words, "--help"], capture_output=True)
    assert done.returncode == 0


def test_what_the_page_shows_is_a_configuration(tmp_path: Path) -> None:
    page = (TREE / "docs/ci.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(repos:.*?)```", page, re.DOTALL)
    (tmp_path / "config.yaml").write_text(block)
    done = run(BIN / "pre-commit", "validate-config", tmp_path / "config.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert {hook["id"] for hook in yaml.safe_load(block)["repos"][0]["hooks"]} == HOOKS.keys()
