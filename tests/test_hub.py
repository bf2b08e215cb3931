"""The registry of the Hugging Face Hub, against a Hub that its own client works with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from asking import FILES, WEIGHTS, read, refused, resolve, settings
from servers.fake_hub import TOKEN, FakeHub
from servers.serving import Blob

from weighbridge.errors import UsageError
from weighbridge.registries import is_reference
from weighbridge.registries.base import Settings
from weighbridge.registries.hub import Hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
AT_ROOT_TOO = pytest.mark.parametrize("hub", ["", "/artifactory/hub"], indirect=True, ids=["root", "path"])
pytestmark = pytest.mark.usefixtures("hub_environment")


@AT_ROOT_TOO
def test_a_model_is_resolved_to_a_commit_with_digests_of_its_bytes(hub: FakeHub) -> None:
    notices: list[str] = []
    artifact = resolve("hf://acme/m", notice=notices.append)
    commit = hub.models["acme/m"].refs["main"]
    assert (artifact.pinned, artifact.requested, artifact.moving) == (f"hf://acme/m@{commit}", "", True)
    assert notices == [f"hf://acme/m: main is {commit} now"]
    assert {file.path for file in artifact.files} == FILES.keys()
    for file in artifact.files:
        blob = Blob(FILES[file.path])
        (claim,) = file.claims
        assert file.size == blob.size
        assert claim.value == (blob.sha256 if claim.algorithm == "sha256" else blob.git_sha1)
        assert (claim.algorithm == "sha256") == file.path.endswith((".safetensors", ".bin"))


def test_a_pinned_model_is_not_said_to_move(hub: FakeHub) -> None:
    notices: list[str] = []
    artifact = resolve("hf://acme/m", notice=lambda _: None)
    assert resolve(artifact.pinned, notice=notices.append).files == artifact.files
    assert not notices


@AT_ROOT_TOO
def test_every_file_is_read_from_where_the_hub_says(hub: FakeHub) -> None:
    registry = Hub(settings(token=TOKEN))
    artifact = registry.resolve("hf://acme/m")
    for file in artifact.files:
        remote = registry.open(artifact, file)
        assert remote.read(0, file.size) == b"".join(remote.stream(0, file.size)) == FILES[file.path]
    assert all(entry.authorised == ("signature" not in entry.target) for entry in hub.log)


def test_a_large_file_is_resolved_once(hub: FakeHub) -> None:
    registry = Hub(settings())
    artifact = registry.resolve("hf://acme/m:model.safetensors")
    remote = registry.open(artifact, artifact.files[0])
    assert b"".join(remote.read(at, 100) for at in range(0, 500, 100)) == WEIGHTS[:500]
    assert [entry.status for entry in hub.log[2:]] == [302] + [206] * 5
    hub.expire()
    assert remote.read(0, 3) == WEIGHTS[:3]
    assert [entry.status for entry in hub.log if "signature" in entry.target] == [206] * 5 + [403, 206]


@pytest.mark.parametrize(
    ("reference", "paths"),
    [
        ("hf://acme/m:unet", {"unet/model.bin", "unet/a b#c?é%20.txt"}),
        ("hf://acme/m:unet/model.bin", {"unet/model.bin"}),
        ("hf://acme/m@main:config.json", {"config.json"}),
    ],
)
def test_a_path_selects_files(hub: FakeHub, reference: str, paths: set[str]) -> None:
    assert {file.path for file in resolve(reference).files} == paths


@pytest.mark.parametrize("path", ["une", "unet/model.bi", "absent"])
def test_a_path_that_is_not_there_is_refused(hub: FakeHub, path: str) -> None:
    assert f"no file or folder '{path}' at " in refused(lambda: resolve(f"hf://acme/m:{path}"))


@AT_ROOT_TOO
def test_pages_of_the_endpoint_are_references(hub: FakeHub) -> None:
    page = f"{hub.url}/acme/m/blob/main/config.json"
    assert is_reference(page)
    assert resolve(page).reference == "hf://acme/m:config.json"


@pytest.mark.parametrize("revision", ["refs/pr/1", "v1.0", "feature/x"])
def test_revisions_may_have_slashes(hub: FakeHub, revision: str) -> None:
    commit = hub.publish("acme/m", {"a": b"1"}, ref=revision)
    artifact = resolve(f"hf://acme/m@{revision}")
    assert (artifact.revision, artifact.requested) == (commit, revision)
    assert read(f"hf://acme/m@{revision}", "a") == b"1"


@AT_ROOT_TOO
def test_a_model_may_have_one_name(hub: FakeHub) -> None:
    hub.publish("gpt2", {"a.bin": b"1"})
    assert read("hf://gpt2", "a.bin") == b"1"


def test_a_listing_has_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHub(page=3, prefix="/p") as hub:
        monkeypatch.setenv("HF_ENDPOINT", f"{hub.url}/")
        hub.publish("acme/m", {f"d/{n:02}.txt": b"%d" % n for n in range(10)})
        assert [file.path for file in resolve("hf://acme/m").files] == [f"d/{n:02}.txt" for n in range(10)]
        assert len(hub.log) == 1 + 4


CLIENT = """
import json, sys
from huggingface_hub import HfApi, snapshot_download
api, (name, folder) = HfApi(), sys.argv[1:]
info = api.model_info(name)
tree = api.list_repo_tree(name, recursive=True, revision=info.sha)
files = {f.path: [f.size, f.lfs.sha256 if f.lfs else f.blob_id] for f in tree if hasattr(f, "size")}
paths = [p.path for p in api.get_paths_info(name, ["config.json", "absent"], revision=info.sha)]
snapshot_download(name, local_dir=folder)
print(json.dumps([info.sha, files, paths, api.whoami()["name"], api.list_repo_refs(name).branches[0].name]))
"""


def client(hub: FakeHub, script: str, *arguments: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run a program with huggingface_hub and a Hub."""
    given = {"HF_ENDPOINT": hub.url, "HF_TOKEN": token, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_DISABLE_IMPLICIT_TOKEN"}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=environment | given, capture_output=True, text=True, check=False)


@AT_ROOT_TOO
@pytest.mark.parametrize("access", [{"private": True}, {"gated": True}])
def test_the_hub_is_one_to_its_own_client(hub: FakeHub, tmp_path: Path, access: dict[str, Any]) -> None:
    commit = hub.publish("acme/m", FILES, **access)
    ran = client(hub, CLIENT, "acme/m", str(tmp_path / "out"))
    assert not ran.returncode, ran.stderr
    sha, files, paths, user, branch = json.loads(ran.stdout)
    assert (sha, paths, user, branch) == (commit, ["config.json"], "tester", "main")
    ours = {file.path: [file.size, file.claims[0].value] for file in resolve("hf://acme/m", token=TOKEN).files}
    assert ours == files
    assert {path: (tmp_path / "out" / path).read_bytes() for path in FILES} == FILES


@pytest.mark.parametrize(
    ("access", "error"), [({"private": True}, "RepositoryNotFoundError"), ({"gated": True}, "GatedRepoError")]
)
def test_the_hub_denies_its_own_client(hub: FakeHub, tmp_path: Path, access: dict[str, Any], error: str) -> None:
    hub.publish("acme/m", FILES, **access)
    script = "import sys, huggingface_hub as h\nh.snapshot_download(sys.argv[1], cache_dir=sys.argv[2], token=False)"
    assert error in client(hub, script, "acme/m", str(tmp_path / "cache")).stderr


OURS = "from weighbridge.registries import registry; from weighbridge.registries.base import Settings\n"


@pytest.mark.parametrize("where", ["HF_TOKEN", "file"])
def test_the_token_is_found_where_the_hubs_client_finds_it(hub: FakeHub, tmp_path: Path, where: str) -> None:
    hub.publish("acme/m", FILES, private=True)
    (tmp_path / "hf").mkdir()
    if where == "file":
        (tmp_path / "hf" / "token").write_text(f"{TOKEN}\n")
    script = f"{OURS}a = registry('hf://', Settings()).resolve('hf://acme/m'); print(len(a.files))"
    ran = client(hub, script, token=TOKEN if where == "HF_TOKEN" else "")
    assert (ran.stdout, ran.stderr) == ("5\n", "")


def test_a_token_of_the_settings_comes_first(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish("acme/m", FILES, private=True)
    monkeypatch.delenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert resolve("hf://acme/m", token=TOKEN).files
    assert "the token is refused" in refused(lambda: resolve("hf://acme/m"))
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    assert "no such model, or a private one" in refused(lambda: resolve("hf://acme/m"))


def test_a_token_that_cannot_be_had_is_said(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")
    monkeypatch.setenv("HF_OIDC_RESOURCE", "acme/m")
    assert "the Hub's token cannot be had: HF_OIDC_RESOURCE is set but" in refused(lambda: Hub(settings()))


@pytest.mark.parametrize("address", ["hf-mirror.com", "ftp://hub", "https://me:x@hub", "https://[::1"])
def test_an_endpoint_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert "HF_ENDPOINT: " in refused(lambda: Hub(Settings()), UsageError)


@pytest.mark.parametrize("how", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "settings"])
def test_offline_asks_nobody(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how != "settings":
        monkeypatch.setenv(how, "1")
    monkeypatch.delenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")
    monkeypatch.setenv("HF_OIDC_RESOURCE", "acme/m")  # asking for a token would connect as well
    assert "connections are switched off" in refused(lambda: resolve("hf://acme/m", offline=how == "settings"))
    assert not hub.log


@pytest.mark.parametrize(
    ("reference", "token", "said"),
    [
        ("hf://acme/absent", "", "hf://acme/absent: no such model, or a private one; check the name, or give a token"),
        ("hf://acme/absent", TOKEN, "hf://acme/absent: no such model, or the token may not read it; check the name"),
        ("hf://acme/private", "", "hf://acme/private: no such model, or a private one"),
        ("hf://acme/m", "bad", "hf://acme/m: the token is refused (Invalid credentials in Authorization header)"),
        ("hf://acme/m@absent", "", "hf://acme/m: there is no revision 'absent'"),
        ("hf://acme/m@" + COMMIT, "", f"hf://acme/m: there is no revision '{COMMIT}'"),
        ("hf://acme/old", "", "hf://acme/old: the model is called acme/m there; ask for hf://acme/m if you mean it"),
        ("hf://acme/off", "", "hf://acme/off: the Hub has disabled it (Access to this resource is disabled.)"),
        ("hf://acme/none", "", "hf://acme/none: no files at "),
    ],
)
def test_what_the_hub_denies_is_said_with_what_to_do(hub: FakeHub, reference: str, token: str, said: str) -> None:
    hub.publish("acme/private", FILES, private=True)
    hub.publish("acme/off", FILES, disabled=True)
    hub.publish("acme/none", {})
    hub.renamed["acme/old"] = "acme/m"
    assert refused(lambda: resolve(reference, token=token)).startswith(said)


def test_a_gated_model_is_listed_and_its_files_are_denied(hub: FakeHub) -> None:
    hub.publish("acme/gated", FILES, gated=True)
    said = f"hf://acme/gated: gated: ask its authors for access at {hub.url}/acme/gated, then give a token"
    for path in ("config.json", "model.safetensors"):
        assert refused(lambda path=path: read("hf://acme/gated", path)).startswith(said)  # type: ignore[misc]
        assert read("hf://acme/gated", path, token=TOKEN) == FILES[path]


def test_a_file_that_is_gone_is_said(hub: FakeHub) -> None:
    registry = Hub(settings())
    artifact = registry.resolve("hf://acme/m")
    hub.models["acme/m"].commits[artifact.revision].clear()
    file = next(file for file in artifact.files if file.path == "model.safetensors")
    assert "there is no file 'model.safetensors' at " in refused(lambda: registry.open(artifact, file).read(0, 1))
