"""`weighbridge run`: real commands over private copies of approved folders."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from approving import approved
from hypothesis import given
from hypothesis import strategies as st
from loading import Part, approved_folder, packed

from weighbridge.allowances import allowances
from weighbridge.approval import Allowed
from weighbridge.errors import SourceError, UsageError
from weighbridge.evidence.keys import pem_digest
from weighbridge.evidence.trust_policy import OWN_VERIFIER
from weighbridge.load.config_gate import digest_of
from weighbridge.load.folder import Folder
from weighbridge.load.opening import Anchor
from weighbridge.refusals import (
    ApprovalMismatch,
    ApprovalMissing,
    ConfigRefused,
    ContentMismatch,
    DigestMismatch,
    UnsafeEntry,
)
from weighbridge.serve import run
from weighbridge.serve.arguments import Rewriter, check
from weighbridge.serve.exposure import expose, private_folder
from weighbridge.serve.servers import SERVERS

WEIGHTS = packed({"w": Part("F32", (2,), bytes(8))})
FILES = {"config.json": b'{"model_type": "llama"}', "sub/model.safetensors": WEIGHTS}
SHOW = """
import json, os, resource, stat, sys
place = sys.argv[1]
found = {"place": place, "arguments": sys.argv[1:], "files": {}, "environment": dict(os.environ), "cwd": os.getcwd()}
for folder, _, names in os.walk(place):
    for name in names:
        path = os.path.join(folder, name)
        status = os.stat(path)
        found["files"][os.path.relpath(path, place)] = [stat.S_IMODE(status.st_mode), status.st_size]
found["parent"] = stat.S_IMODE(os.stat(os.path.dirname(place)).st_mode)
found["core"] = resource.getrlimit(resource.RLIMIT_CORE)
found["pid"] = os.getpid()
print(json.dumps(found))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("WEIGHBRIDGE_TRUST", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "place"))
    (tmp_path / "place").mkdir()
    found = tmp_path / "model"
    approved_folder(found, FILES)
    return found


def start(folder: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "weighbridge", "run", "--approved", str(folder), "--", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def finish(running: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = running.communicate(timeout=60)
    return running.returncode, out, err


def show(folder: Path, *words: str, **options: Any) -> dict[str, Any]:
    status, out, err = finish(start(folder, sys.executable, "-c", SHOW, *words, **options))
    assert status == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_command_sees_the_approved_files_and_nothing_else(folder: Path) -> None:
    (folder / "stray.bin").write_bytes(b"not approved")
    (folder / "report.json").write_text("{}")
    found = show(folder, str(folder))
    assert Path(found["place"]).name == "model"
    assert found["place"] != str(folder)
    assert {name: one for name, one in found["files"].items() if not name.startswith("approval.")} == {
        name: [0o444, len(data)] for name, data in FILES.items()
    }
    assert {name for name in found["files"] if name.startswith("approval.")} == {"approval.json", "approval.leaves"}
    assert found["parent"] == 0o700
    assert found["core"] == [0, 0]


def test_the_environment_is_offline_and_loads_weights_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("WEIGHBRIDGE_KEY_PASSWORD", "secret")
    monkeypatch.setenv("MODEL_ID", str(folder))
    found = show(folder, str(folder))
    environment = found["environment"]
    assert {
        environment[name] for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    } == {"1"}
    assert not environment.keys() & {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "HF_TOKEN", "WEIGHBRIDGE_KEY_PASSWORD"}
    assert environment["MODEL_ID"] == environment["WEIGHBRIDGE_MODEL"] == found["place"]


def test_a_program_can_verify_the_copy_once_more(folder: Path, tmp_path: Path) -> None:
    digest = pem_digest((tmp_path / "config" / "key.pub.pem").read_bytes(), "key").value
    policy = tmp_path / "trust.toml"
    policy.write_text(
        f'version = 1\n[signers.mine]\nmethod = "key"\npublic_key = "config/key.pub.pem"\nsha256_spki = "{digest}"\n'
        f'[approvers]\nhere = {{ signer = "mine", verifier_id = "{OWN_VERIFIER}" }}\n'
    )
    program = "import os, sys, weighbridge; print(list(weighbridge.load(sys.argv[1])), os.environ['WEIGHBRIDGE_TRUST'])"
    command = [sys.executable, "-m", "weighbridge", "run", "--approved", str(folder), "--trust", "trust.toml", "--"]
    done = subprocess.run(
        [*command, sys.executable, "-c", program, f"{folder}/sub"],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == f"['w'] {policy}\n", done.stderr
    assert "approved by mine" in done.stderr


def test_the_copy_goes_with_the_command(folder: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    running = start(folder, sys.executable, "-c", SHOW, str(folder), pass_fds=(writer,))
    os.close(writer)
    status, out, _ = finish(running)
    assert status == 0
    assert os.read(reader, 1) == b""  # whoever removes the copy has ended too
    os.close(reader)
    assert json.loads(out)["pid"] == running.pid
    assert list((tmp_path / "place").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
def test_the_copy_goes_with_a_command_that_is_killed(folder: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    running = start(folder, sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", str(folder),
                    stdin=subprocess.PIPE, pass_fds=(writer,))  # fmt: skip
    os.close(writer)
    assert running.stdout is not None
    running.stdout.readline()
    assert len(list((tmp_path / "place").iterdir())) == 1
    running.send_signal(signal.SIGKILL)
    finish(running)
    assert os.read(reader, 1) == b""
    os.close(reader)
    assert list((tmp_path / "place").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
def test_the_copy_goes_when_copying_is_ended(folder: Path, tmp_path: Path) -> None:
    program = """if True:
    import os, signal, sys
    import weighbridge.serve as serve
    serve.expose = lambda folder, place: (place.mkdir(), os.kill(os.getpid(), signal.SIGTERM))
    serve.run(sys.argv[1], ["echo", sys.argv[1]])"""
    reader, writer = os.pipe()
    done = subprocess.Popen([sys.executable, "-c", program, str(folder)], pass_fds=(writer,))
    os.close(writer)
    assert done.wait(60) == -signal.SIGTERM
    assert os.read(reader, 1) == b""
    os.close(reader)
    assert list((tmp_path / "place").iterdir()) == []


def test_the_status_and_signals_are_those_of_the_command(folder: Path) -> None:
    assert finish(start(folder, sys.executable, "-c", "import sys; sys.exit(7)", str(folder)))[0] == 7
    # Python ignores this signal, and a command would go on to.
    assert finish(start(folder, "sh", "-c", "kill -PIPE $$", str(folder)))[0] == -signal.SIGPIPE


def test_a_name_of_a_file_in_the_folder_is_replaced_too(folder: Path) -> None:
    found = show(folder, str(folder), f"{folder}/config.json", f"--model={folder}/sub", "--other=x", cwd=folder.parent)
    place = found["place"]
    assert found["arguments"] == [place, f"{place}/config.json", f"--model={place}/sub", "--other=x"]


def test_a_command_in_the_folder_itself_works_in_the_copy(folder: Path) -> None:
    running = subprocess.run(
        [sys.executable, "-m", "weighbridge", "run", "--approved", ".", "-q", "--", sys.executable, "-c", SHOW, "."],
        capture_output=True, text=True, cwd=folder, timeout=60, check=True,
    )  # fmt: skip
    found = json.loads(running.stdout)
    assert found["cwd"] == found["place"]
    assert running.stderr == ""


def test_a_place_that_is_named_from_the_current_folder_is_the_same_place(folder: Path) -> None:
    (folder.parent / "bin").mkdir()
    stub = folder.parent / "bin/vllm"
    stub.write_text('#!/bin/sh\necho "$@"\n')
    stub.chmod(0o755)
    command = ["run", "--approved", folder.name, "--place", "place", "-q", "--", "vllm", "serve", folder.name]
    path = f"{stub.parent}{os.pathsep}{os.environ['PATH']}"
    running = subprocess.run(
        [sys.executable, "-m", "weighbridge", *command],
        capture_output=True, text=True, cwd=folder.parent, timeout=60, env=os.environ | {"PATH": path},
    )  # fmt: skip
    assert running.returncode == 0, running.stderr
    assert running.stdout.startswith(f"serve {folder.parent / 'place'}/weighbridge-")


def refused(folder: Path, *words: str, status: int = 1) -> str:
    found, out, err = finish(start(folder, *words))
    assert (found, out) == (status, ""), err
    assert list(Path(os.environ["TMPDIR"]).iterdir()) == []
    return err


def test_what_is_not_as_approved_is_not_run(folder: Path) -> None:
    (folder / "sub/model.safetensors").write_bytes(WEIGHTS[:-1] + b"\1")
    assert "[LOAD_DIGEST]" in refused(folder, "echo", str(folder))
    (folder / "sub/model.safetensors").unlink()
    with pytest.raises(ContentMismatch):
        run(folder, ["echo", str(folder)])
    (folder / "sub/model.safetensors").symlink_to("/etc/passwd")
    with pytest.raises(UnsafeEntry):
        run(folder, ["echo", str(folder)])
    (folder / "approval.json").unlink()
    with pytest.raises(ApprovalMissing):
        run(folder, ["echo", str(folder)])


def test_wrong_usage(folder: Path) -> None:
    assert "does not name" in refused(folder, "echo", "elsewhere", status=2)
    for words, reason in (
        (["no-such-command", str(folder)], "no such command"),
        (["sh", "-c", f"echo {folder}"], "inside of a word"),
        ([], "no command"),
    ):
        with pytest.raises(UsageError, match=reason):
            run(folder, words)
    with pytest.raises(ApprovalMismatch):
        run(folder, ["echo", f"{folder}/stray.bin"])
    with pytest.raises(UsageError, match="name that folder"):
        run(folder / "sub", ["echo", str(folder)])


def test_options_that_let_a_model_run_code_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    server = tmp_path / "bin" / "vllm"
    server.write_text('#!/bin/sh\necho "$@"\n')
    server.chmod(0o755)
    text = refused(folder, str(server), "serve", str(folder), "--trust-remote-code")
    assert "vLLM: --trust-remote-code: it runs code that the model brings [LOAD_CONFIG]" in text
    status, out, err = finish(start(folder, str(server), "serve", str(folder), "--load-format", "safetensors"))
    assert (status, out.split()[0], out.split()[2:]) == (0, "serve", ["--load-format", "safetensors"])
    assert "running vLLM" in err


PLACE = Path("/private/model")
REFUSED = {
    "vllm": [
        ("vllm serve {} --trust-remote-code", "--trust-remote-code"),
        ("vllm serve {} --trust_remote_code", "--trust-remote-code"),
        ("vllm serve {} --trust-rem", "--trust-remote-code"),
        ("vllm serve {} --load-format pt", "--load-format pt"),
        ("vllm serve {} --load-format=pt", "--load-format pt"),
        ("vllm serve {} --load-f npcache", "--load-format npcache"),
        ("vllm serve {} --tokenizer org/other", "--tokenizer org/other"),
        ("vllm serve {} --lora-modules a={}/a b=/b", "--lora-modules b=/b"),
        ("vllm serve {} --config x.yaml", "--config"),
        ("python3 -m vllm.entrypoints.openai.api_server --model org/other", "--model org/other"),
        ("env A=1 vllm serve {} --trust-remote-code", "--trust-remote-code"),
    ],
    "sglang": [
        ("python -m sglang.launch_server --model-path {} --trust-remote-code", "--trust-remote-code"),
        ("python -m sglang.launch_server --model-path org/other", "--model-path org/other"),
    ],
    "tgi": [
        ("text-generation-launcher --model-id {} --trust-remote-code", "--trust-remote-code"),
        ("text-generation-launcher --model-id org/other", "--model-id org/other"),
    ],
    "triton": [("tritonserver --model-repository={} --model-repository=/else", "--model-repository /else")],
    "llama.cpp": [
        ("/opt/llama-server -m /else.gguf", "--model /else.gguf"),
        ("llama-server -m {}/m.gguf --lora /else.gguf", "--lora /else.gguf"),
        ("llama-server -hf org/model", "--hf-repo"),
        ("llama-server -m {}/m.gguf --mmproj-url http://x", "--mmproj-url"),
    ],
    "mlflow": [
        ("mlflow models serve -m {}", "--env-manager"),
        ("mlflow models serve -m {} --env-manager=conda", "--env-manager"),
        ("mlflow models serve -m models:/other/1 --env-manager local", "--model-uri models:/other/1"),
        ("python -m mlflow models serve -m /other --env-manager local", "--model-uri /other"),
    ],
}
ACCEPTED = [
    "vllm serve {} --load-format weighbridge --served-model-name llama-3 --tokenizer {} --port 8000",
    "python3 -m vllm.entrypoints.openai.api_server --model {} --load-format auto",
    "vllm serve {} --lora-modules a={}/a b={}/b",
    "text-generation-launcher --model-id {} --port 80",
    "tritonserver --model-repository={}",
    "llama-server -m {}/m.gguf --lora {}/l.gguf -c 4096 --lora-scaled {}/x.gguf 0.5",
    "mlflow models serve -m {} --env-manager local",
    "python -m mlflow models serve -m {} --env-manager=local",
    "python serve.py {} --trust-remote-code",
]


def words(text: str) -> Sequence[str]:
    return text.replace("{}", str(PLACE)).split()


@pytest.mark.parametrize(("text", "key"), [one for group in REFUSED.values() for one in group])
def test_what_a_known_server_must_not_say(text: str, key: str) -> None:
    with pytest.raises(ConfigRefused) as caught:
        check(words(text), approved(FILES), PLACE)
    assert caught.value.key == key


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_a_known_server_may_say(text: str) -> None:
    check(words(text), approved(FILES), PLACE)


def test_an_approval_can_allow_an_option() -> None:
    flag = Allowed(path="", key="--trust-remote-code", digest=digest_of(True))
    value = Allowed(path="", key="--load-format", digest=digest_of("pt"))
    check(words("vllm serve {} --trust-remote-code"), approved(FILES, [flag]), PLACE)
    check(words("vllm serve {} --load-format pt"), approved(FILES, [value]), PLACE)
    with pytest.raises(ConfigRefused):
        check(words("vllm serve {} --load-format npcache"), approved(FILES, [value, flag]), PLACE)
    with pytest.raises(ConfigRefused):
        other = Allowed(path="config.json", key="--trust-remote-code", digest=digest_of(True))
        check(words("vllm serve {} --trust-remote-code"), approved(FILES, [other]), PLACE)


def test_who_approves_allows_options_by_name() -> None:
    named = [":--trust-remote-code", ":--load-format=pt"]
    found = allowances([], lambda path: pytest.fail(path), named)
    check(words("vllm serve {} --trust-remote-code --load-format pt"), approved(FILES, found.allowed), PLACE)
    with pytest.raises(ConfigRefused):
        check(words("vllm serve {} --load-format npcache"), approved(FILES, found.allowed), PLACE)
    with pytest.raises(UsageError, match="no server"):
        allowances([], lambda path: pytest.fail(path), [":--none"])


def test_every_rule_is_of_an_option_in_full() -> None:
    for server in SERVERS:
        assert all(option.startswith("--") for option in server.options)
        assert set(server.short.values()) <= server.options.keys()


def test_words_that_only_look_like_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rewriter = Rewriter(Path(), approved(FILES), PLACE)
    assert rewriter.words(["vllm", "serve", ".", "config.json"]) == [
        "vllm",
        "serve",
        "/private/model",
        "/private/model/config.json",
    ]
    with pytest.raises(ApprovalMismatch):
        rewriter.words([str(tmp_path / "other")])
    with pytest.raises(UsageError, match="does not name"):
        rewriter.words(["vllm", "serve"])


def test_a_script_can_ask_the_environment(folder: Path) -> None:
    status, out, err = finish(start(folder, "sh", "-c", 'cat "$WEIGHBRIDGE_MODEL/config.json"'))
    assert (status, out) == (0, FILES["config.json"].decode()), err


def test_where_no_process_can_be_watched_this_one_waits(folder: Path, tmp_path: Path) -> None:
    program = "import os, sys, weighbridge.serve; del os.pidfd_open; weighbridge.serve.run(sys.argv[1], sys.argv[2:])"
    command = [sys.executable, "-c", program, str(folder)]
    for script, status in (
        ("exit 7", 7),
        ("kill -KILL $$", 128 + signal.SIGKILL),
        ("kill -TERM $PPID; sleep 30", 128 + 15),
    ):
        done = subprocess.run([*command, "sh", "-c", script, str(folder)], timeout=60, check=False)
        assert done.returncode == status
        assert list((tmp_path / "place").iterdir()) == []


@given(st.lists(st.sampled_from(["{}", "/config.json", "=", "--a", ",", " ", "sub", "/", "'", "..", "x"]), max_size=6))
def test_no_word_leads_to_the_folder_itself(parts: list[str]) -> None:
    word = "".join(parts).replace("{}", "/approved/model")
    try:
        found = Rewriter(Path("/approved/model"), approved(FILES), PLACE).word(word)
    except (UsageError, ApprovalMismatch):
        return
    assert "/approved/model" not in found


def test_a_link_to_the_folder_is_the_folder(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to("model")
    rewriter = Rewriter(tmp_path / "model", approved(FILES), PLACE)
    assert rewriter.words(["x", str(tmp_path / "link")])[1] == str(PLACE)
    assert rewriter.environment({"A": str(tmp_path / "link"), "PWD": str(tmp_path / "model")})["A"] == str(PLACE)


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "model"
    for name, data in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    (source / "sub/model.safetensors").write_bytes(bytes(len(WEIGHTS)))
    (tmp_path / "place").mkdir()
    with (
        pytest.raises(DigestMismatch),
        Folder(Anchor(source), approved(FILES)) as folder,
        private_folder(tmp_path / "place") as root,
    ):
        expose(folder, root / "model")
    assert list((tmp_path / "place").iterdir()) == []
    with pytest.raises(SourceError), private_folder(tmp_path / "none"):
        pass


def test_no_room_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with (
        Folder(Anchor(tmp_path), approved(FILES)) as folder,
        private_folder(tmp_path) as root,
        pytest.raises(SourceError, match="are needed"),
    ):
        expose(folder, root / "model")
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
