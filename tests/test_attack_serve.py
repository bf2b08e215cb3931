"""Attacks on `weighbridge run`: words, variables and programs that lead to the folder, and what the copy takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from approving import approved
from loading import Part, approved_folder, packed

from weighbridge.errors import Refusal, UsageError
from weighbridge.load.folder import open_folder
from weighbridge.refusals import ApprovalMismatch, ConfigRefused, DigestMismatch
from weighbridge.serve.arguments import Rewriter, check
from weighbridge.serve.exposure import expose

WEIGHTS = packed({"w": Part("F32", (2,), bytes(8))})
FILES = {"config.json": b'{"model_type": "llama"}', "sub/model.safetensors": WEIGHTS}
COPY = Path("/copy/name")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("WEIGHBRIDGE_TRUST", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "place"))
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path)
    found = Path("models/name")
    approved_folder(found, FILES)
    return found


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "weighbridge", "run", "--approved", "models/name", "--", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("given", ["models/name", "./models/name/", "models/../models/name", "{}/models/name"])
@pytest.mark.parametrize(
    "word",
    [
        "--adapter=one=models/name",
        "--adapters=a:models/name,b:other",
        "models/name:1",
        "@models/name/config.json",
        "-Imodels/name",
        "-mmodels/name/sub/model.safetensors",
        "file:models/name",
        '{"model": "models/name"}',
        '{"model": "{}/models//name"}',
        "a:{}/models/./name",
        "a,/proc/self/cwd/models/name",
        "--model=x=./models/name/sub",
        "file://{}/models/name",
    ],
)
def test_no_part_of_a_word_leads_to_the_folder_itself(folder: Path, given: str, word: str) -> None:
    rewriter = Rewriter(Path(given.replace("{}", str(Path.cwd()))), approved(FILES), COPY)
    with pytest.raises((UsageError, ApprovalMismatch)):
        rewriter.word(word.replace("{}", str(Path.cwd())))


@pytest.mark.parametrize("word", ["the model/name of it", "--a=org/name", "--prompt=models? name it", "-tp", "a/b,c"])
def test_other_words_stay(folder: Path, word: str) -> None:
    assert Rewriter(folder, approved(FILES), COPY).word(word) == word


def test_in_the_folder_itself_relative_paths_mean_the_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    rewriter = Rewriter(Path.cwd(), approved(FILES), COPY)
    assert rewriter.word("org/name,sub/model.safetensors") == "org/name,sub/model.safetensors"
    assert rewriter.environment({"A": "linux/x86"})["A"] == "linux/x86"
    with pytest.raises(UsageError):
        rewriter.word(f"org/name,{Path.cwd()}//sub")


@pytest.mark.parametrize("value", ["models/name", "./models/name/", "{}/models/name"])
def test_no_variable_leads_to_the_folder_itself(folder: Path, value: str) -> None:
    value = value.replace("{}", str(Path.cwd()))
    found = Rewriter(folder, approved(FILES), COPY).environment({"MODEL_ID": value, "USER": "name"})
    assert (found["MODEL_ID"], found["USER"]) == (str(COPY), "name")


@pytest.mark.parametrize("word", ["models/name/tool", "{}/models/name/tool", "tool", "link"])
def test_no_program_of_the_folder_is_run(folder: Path, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = folder / "tool"
    tool.write_text("#!/bin/sh\necho ran\n")
    tool.chmod(0o755)
    Path("link").symlink_to(tool)
    monkeypatch.setenv("PATH", f"{folder.absolute()}:{Path.cwd()}:{os.environ['PATH']}")
    done = run(word.replace("{}", str(Path.cwd())), "models/name")
    assert done.returncode != 0
    assert "ran" not in done.stdout


def test_what_lies_beside_the_files_is_not_copied_without_end(folder: Path, tmp_path: Path) -> None:
    with (folder / "approval.leaves").open("r+b") as file:
        file.truncate(1 << 40)
    found, _ = open_folder(folder, None)
    with found, pytest.raises(Refusal):
        expose(found, tmp_path / "place" / "copy")


def test_a_file_that_changes_after_the_gate_is_not_served(folder: Path, tmp_path: Path) -> None:
    found, _ = open_folder(folder, None)
    (folder / "config.json").write_bytes(b'{"model_type": "other"}')
    with found, pytest.raises(DigestMismatch):
        expose(found, tmp_path / "place" / "copy")


@pytest.mark.parametrize(
    "command",
    [
        "vllm serve org/other --lora-modules a={}",
        "vllm serve {}/../other",
        "vllm serve {}x",
        "vllm serve {} --speculative-config.model org/other",
        "vllm serve {} --speculative_config.model=org/other",
        "vllm serve {} --load_f PT",
        "vllm serve {} -- --trust-remote-code",
        "python -mvllm.entrypoints.openai.api_server --model org/other --tokenizer {}",
        "mlflow models serve -mruns:/other --env-manager local {}",
        "text-generation-launcher --model-id={}x",
        "llama-server -m {}/../../other.gguf",
        "llama-server -m {} -m /other.gguf",
        "tritonserver --model-repository={} --model_repository /other",
    ],
)
def test_no_way_to_write_an_option_hides_it(command: str) -> None:
    with pytest.raises(ConfigRefused):
        check(command.replace("{}", str(COPY)).split(), approved(FILES), COPY)


@pytest.mark.parametrize(
    "command",
    [
        "vllm serve {}",
        "vllm serve --port 1 {}",
        "vllm serve {}/sub --seed 1",
        "python -mmlflow models serve -m{} --env-manager local",
    ],
)
def test_what_names_the_copy_is_no_attack(command: str) -> None:
    assert check(command.replace("{}", str(COPY)).split(), approved(FILES), COPY) is not None
