"""The image and the manifests for Kubernetes, as far as they run without either."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

TREE = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
INITIALIZE = TREE / "deploy/kubernetes/initialize.sh"
MANIFESTS = sorted((TREE / "deploy/kubernetes").glob("*.yaml"))
GOOD, BAD = TREE / "fixtures/models/ordinary.pt", TREE / "fixtures/models/booby_trapped.pt"
FORBIDDEN = re.compile(r":latest\b|\b(curl|wget|ADD|sudo)\b")


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with their arguments, lines that go on joined."""
    text = re.sub(r"\\\n", " ", (TREE / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_image_is_slim_and_nobody_is_root_in_it() -> None:
    found = instructions()
    stages = [index for index, (name, _) in enumerate(found) if name == "FROM"]
    assert len(stages) == 2, "what builds is not in the image"
    last = dict(found[stages[-1] :])
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
    assert last["HEALTHCHECK"] == "NONE"
    assert last["ENTRYPOINT"] == '["weighbridge"]'
    assert not FORBIDDEN.search("\n".join(f"{name} {text}" for name, text in found))
    assert all("--no-cache-dir" in text for name, text in found if name == "RUN" and "pip install" in text)
    assert all(name != "RUN" or "pip install" not in text for name, text in found[stages[-1] :])


def context() -> Iterator[str]:
    """Yield what the build sees of the tree: `.dockerignore` leaves everything out and takes some of it back."""
    first, *rules = [line for line in (TREE / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")]
    assert first == "**"
    taken = [rule[1:] for rule in rules if rule.startswith("!")]
    left = [rule.removeprefix("**/") for rule in rules if not rule.startswith("!")]
    for path in taken:
        place = TREE / path
        assert place.exists(), path
        for file in [place] if place.is_file() else place.rglob("*"):
            name = file.relative_to(TREE).as_posix()
            if file.is_file() and not any(fnmatch.fnmatch(part, rule) for part in name.split("/") for rule in left):
                yield name


def test_the_context_of_the_build_is_enough_and_holds_no_more(tmp_path: Path) -> None:
    for name in context():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TREE / name, tmp_path / "source" / name)
    assert {path.name for path in (tmp_path / "source").iterdir()}.isdisjoint({"tests", "fixtures", ".git", "tools"})
    for name, text in instructions():
        if name == "COPY" and "--from" not in text:
            assert (tmp_path / "source" / text.split()[0]).exists(), text
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    done = subprocess.run(command, cwd=tmp_path / "source", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def containers(value: object) -> Iterator[dict[str, Any]]:
    """Yield everything with an image."""
    if isinstance(value, dict):
        if "image" in value:
            yield value
        for inner in value.values():
            yield from containers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from containers(inner)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_hold_to_the_schemas_of_kubernetes(path: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    known = 0
    for document in documents(path):
        if document["apiVersion"].startswith("serving.kserve.io/"):
            continue  # of KServe, whose schemas no package has; the pods in them are held to those of Kubernetes below
        validate.validate(document, "1.31", strict=True)
        known += 1
    for container in (one for document in documents(path) for one in containers(document)):
        pod = {"containers": [container]}
        validate.validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}, "1.31", strict=True
        )
        known += 1
    assert known


def test_the_admission_policy_that_the_page_shows_holds_to_the_schema() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    page = (TREE / "docs/kubernetes.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    validate.validate(yaml.safe_load(block), "1.31", strict=True)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_containers_are_pinned_confined_and_know_whom_to_trust(path: Path) -> None:
    for container in (one for document in documents(path) for one in containers(document)):
        confined = container["securityContext"]
        assert re.search(r"@sha256:[0-9a-f]{64}$", container["image"])
        assert confined["readOnlyRootFilesystem"] and not confined["allowPrivilegeEscalation"]
        assert confined["capabilities"] == {"drop": ["ALL"]}
        assert "limits" in container["resources"]
        words = [*container.get("command", ()), *container.get("args", ())]
        variables = {one["name"] for one in container.get("env", ())}
        assert "WEIGHBRIDGE_TRUST" in variables or "--trust" in words


def test_the_image_holds_the_command_that_the_manifests_call() -> None:
    copied = [text.split() for name, text in instructions() if name == "COPY"]
    assert ["deploy/kubernetes/initialize.sh", "/usr/local/bin/weighbridge-initialize"] in copied
    called = {one["command"][0] for path in MANIFESTS for d in documents(path) for one in containers(d)}
    assert called == {"weighbridge-initialize", "weighbridge"}
    assert os.access(INITIALIZE, os.X_OK)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an approved model, the trust policy that says so, and the key as Kubernetes mounts a secret."""
    folder = tmp_path_factory.mktemp("shelf")
    for command in (["key", "init"], ["trust", "init"], ["gate", str(GOOD), "--to", "approved", "--quiet"]):
        done = command_(folder, [BIN / "weighbridge", *command], {})
        assert done.returncode == 0, done.stderr
    shutil.copy(folder / "config/key.pem", folder / "mounted.pem")
    (folder / "mounted.pem").chmod(0o440)
    return folder


def command_(shelf: Path, words: list[Any], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(shelf),
        "WEIGHBRIDGE_CONFIG": str(shelf / "config"),
        "WEIGHBRIDGE_HOME": str(shelf / "store"),
        **variables,
    }
    return subprocess.run(words, cwd=shelf, env=environment, capture_output=True, text=True)


def initialize(shelf: Path, *words: Any, **variables: str) -> subprocess.CompletedProcess[str]:
    given = {"WEIGHBRIDGE_TRUST": str(shelf / "config/trust.toml")} | variables
    return command_(shelf, [INITIALIZE, *words], given)


@pytest.mark.parametrize("prefix", ["", "approved+file://"])
def test_an_approved_folder_is_copied_and_verified(shelf: Path, tmp_path: Path, prefix: str) -> None:
    (tmp_path / "model").mkdir()
    done = initialize(shelf, f"{prefix}{shelf / 'approved'}", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model/ordinary.safetensors").is_file()
    assert not list(tmp_path.glob("model/.*"))


def test_a_model_crosses_the_gate_and_a_restart_does_it_again(shelf: Path, tmp_path: Path) -> None:
    for _ in range(2):
        done = initialize(shelf, f"gate+file://{GOOD}", tmp_path, GATE_KEY=str(shelf / "mounted.pem"))
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "approval.json").is_file()


def test_several_models_have_a_folder_each(shelf: Path, tmp_path: Path) -> None:
    approved = shelf / "approved"
    assert initialize(shelf, approved, tmp_path / "one", approved, tmp_path / "two").returncode == 0
    assert (tmp_path / "one/approval.json").is_file() and (tmp_path / "two/approval.json").is_file()


def test_no_copy_of_the_key_stays_behind(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    words = [word for name in "ab" for word in (f"gate+file://{GOOD}", tmp_path / name)]
    given = {"GATE_KEY": str(shelf / "mounted.pem"), "TMPDIR": str(tmp_path / "temporary")}
    done = initialize(shelf, *words, **given)
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "temporary").iterdir())


def test_nothing_starts_over_what_is_not_approved(shelf: Path, tmp_path: Path) -> None:
    shutil.copytree(shelf / "approved", tmp_path / "changed")
    (tmp_path / "changed/conversion.json").chmod(0o644)
    (tmp_path / "changed/conversion.json").write_text("{}")
    assert initialize(shelf, tmp_path / "changed", tmp_path / "a").returncode == 1
    (tmp_path / "none").mkdir()
    assert initialize(shelf, tmp_path / "none", tmp_path / "b").returncode == 1
    key = str(shelf / "mounted.pem")
    assert initialize(shelf, f"gate+file://{BAD}", tmp_path / "c", GATE_KEY=key).returncode == 1
    assert not list((tmp_path / "c").iterdir())
    stranger = tmp_path / "stranger.toml"
    stranger.write_text("version = 1\n")
    assert initialize(shelf, shelf / "approved", tmp_path / "d", WEIGHBRIDGE_TRUST=str(stranger)).returncode == 1


def test_what_cannot_be_meant_is_wrong_usage(shelf: Path, tmp_path: Path) -> None:
    approved = shelf / "approved"
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    for words, variables in (
        ((approved,), {}),
        ((approved, tmp_path / "a", approved), {}),
        (("hf://org/name", tmp_path / "a"), {}),
        ((f"gate+file://{GOOD}", tmp_path / "a"), {}),
        ((approved, tmp_path / "a"), {"WEIGHBRIDGE_TRUST": ""}),
        ((approved, tmp_path / "full"), {}),
    ):
        assert initialize(shelf, *words, **variables).returncode == 2, words
    assert (tmp_path / "full/mine.txt").read_text() == "mine"


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("path", sorted((TREE / "deploy").rglob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
