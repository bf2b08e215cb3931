"""The registry of the Hugging Face Hub, against a Hub that is honest and one that is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.fake_hub import TOKEN, FakeHub
from servers.serving import Blob, Faults
from servers.tls import certificate

from weighbridge.artifact import Artifact
from weighbridge.errors import SourceError, UnavailableError, UsageError, WeighbridgeError
from weighbridge.registries import is_reference, registry
from weighbridge.registries.base import Settings
from weighbridge.registries.hub import Hub
from weighbridge.registries.hub_reference import HubReference, parse

WEIGHTS = bytes(range(256)) * 64
FILES: dict[str, bytes | Path] = {
    "config.json": b"{}",
    "empty.txt": b"",
    "model.safetensors": WEIGHTS,
    "unet/model.bin": WEIGHTS[::-1],
    "unet/a b#c?é%20.txt": b"odd",
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what the person has on the machine out of the tests."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING_FACE_", "TRANSFORMERS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")


AT_ROOT_TOO = pytest.mark.parametrize("hub", ["", "/artifactory/hub"], indirect=True, ids=["root", "path"])


@pytest.fixture
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Return a Hub with one model, below a path of its server as mirrors are unless a test says otherwise."""
    with FakeHub(prefix=getattr(request, "param", "/artifactory/hub")) as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        fake.publish("acme/m", FILES)
        yield fake
        assert not fake.leaks


def settings(*, token: str = "", **given: Any) -> Settings:
    """Return settings that give up soon and hold a token for the Hub of the environment."""
    tokens = {os.environ["HF_ENDPOINT"]: token} if token else {}
    return Settings(**{"timeout": 5.0, "retries": 0, "tokens": tokens, **given})


def resolve(reference: str, **given: Any) -> Artifact:
    """Return what a reference means."""
    return registry(reference, settings(**given)).resolve(reference)


def read(reference: str, path: str, **given: Any) -> bytes:
    """Return the bytes of a file of what a reference means."""
    hub = Hub(settings(**given))
    artifact = hub.resolve(reference)
    file = next(file for file in artifact.files if file.path == path)
    return hub.open(artifact, file).read(0, file.size)


def refused(work: Callable[[], object], kind: type[WeighbridgeError] = SourceError) -> str:
    """Return the one line that a piece of work is refused with."""
    with pytest.raises(kind) as caught:
        work()
    text = str(caught.value)
    assert text.isprintable()
    assert TOKEN not in text
    return text


REFERENCES = {
    "hf://acme/m": HubReference(model="acme/m"),
    "HF://acme/m": HubReference(model="acme/m"),
    "hf://gpt2": HubReference(model="gpt2"),
    "hf://models/acme/m": HubReference(model="acme/m"),
    "hf://acme/m@v1.0": HubReference(model="acme/m", revision="v1.0"),
    "hf://acme/m@refs/pr/1": HubReference(model="acme/m", revision="refs/pr/1"),
    "hf://acme/m@feature/x:a/b.bin": HubReference(model="acme/m", revision="feature/x", path="a/b.bin"),
    "hf://acme/m:unet/": HubReference(model="acme/m", path="unet"),
    "hf://acme/m:a@b.bin": HubReference(model="acme/m", path="a@b.bin"),
    f"hf://acme/m:a@{COMMIT}": HubReference(model="acme/m", revision=COMMIT, path="a"),
    f"hf://acme/m@main:a@{COMMIT}": HubReference(model="acme/m", revision="main", path=f"a@{COMMIT}"),
    "https://huggingface.co/acme/m": HubReference(model="acme/m"),
    "https://huggingface.co/gpt2/": HubReference(model="gpt2"),
    "https://hf.co/gpt2/tree/main": HubReference(model="gpt2", revision="main"),
    "https://huggingface.co/acme/m/tree/main/unet": HubReference(model="acme/m", revision="main", path="unet"),
    "https://huggingface.co/acme/m/blob/v1/a%20b.bin?x=1#L2": HubReference(
        model="acme/m", revision="v1", path="a b.bin"
    ),
    "https://huggingface.co/acme/m/resolve/refs%2Fpr%2F1/a": HubReference(
        model="acme/m", revision="refs/pr/1", path="a"
    ),
    "https://huggingface.co/acme/m/tree/refs/pr/12/a": HubReference(model="acme/m", revision="refs/pr/12", path="a"),
    "https://mirror.example/hub/acme/m/tree/main": HubReference(model="acme/m", revision="main"),
}


@pytest.mark.parametrize("text", REFERENCES)
def test_references(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/hub/")
    assert is_reference(text)
    assert parse(text) == REFERENCES[text]


@pytest.mark.parametrize(
    "text",
    [
        "hf://",
        "hf:///m",
        "hf://acme/",
        "hf://acme/m@",
        "hf://acme/m@:a",
        "hf://a/b/c",
        "hf://../m",
        "hf://acme/..",
        "hf://acme/m--n",
        "hf://acme/m?x",
        "hf://acme/m%2f..",
        "hf://acme/m\x1b[2J",
        "hf://acme/m@a..b/../c",
        "hf://acme/m@a b",
        "hf://acme/m:../x",
        "hf://acme/m:/../x",
        "hf://acme/m:a\\b",
        "hf://acme/m:con",
        "hf://acme/" + "m" * 97,
        "https://huggingface.co",
        "https://huggingface.co/datasets/acme/d",
        "https://huggingface.co/acme/m/tree",
        "https://huggingface.co/acme/m/commit/" + COMMIT,
        "https://huggingface.co/acme/m/discussions/1",
        "https://huggingface.co/acme/m/blob/main/%2e%2e/x",
    ],
)
def test_what_cannot_be_a_reference_is_refused(text: str) -> None:
    assert is_reference(text)
    refused(lambda: parse(text), UsageError)


@pytest.mark.parametrize("text", ["acme/m", "./hf:/x", "hf:/acme/m", "C:\\models", "hfx://acme/m", "model.pt"])
def test_what_is_a_path_is_no_reference(text: str) -> None:
    assert not is_reference(text)


@pytest.mark.parametrize("text", ["https://huggingface.co.evil.example/a/b", "https://evil.example/https://hf.co/a/b"])
def test_another_host_is_not_the_hub(text: str) -> None:
    assert registry(text, Settings()).__class__ is not Hub


NAME = st.from_regex(r"[A-Za-z0-9]{1,5}([._-][A-Za-z0-9]{1,3})?", fullmatch=True)


@given(NAME, NAME, st.from_regex(r"[a-z@.]{0,5}[a-z]", fullmatch=True) | st.just(""))
def test_a_pinned_reference_means_the_same(owner: str, name: str, path: str) -> None:
    wanted = HubReference(model=f"{owner}/{name}", path=path)
    artifact = Artifact(reference=wanted.canonical, requested="", revision=COMMIT, files=())
    assert parse(artifact.pinned) == HubReference(model=wanted.model, path=path, revision=COMMIT)


@given(st.text())
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    for start in ("hf://", "https://huggingface.co/"):
        try:
            assert parse(start + text).canonical.isprintable()
        except UsageError as error:
            assert str(error).isprintable()


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


def test_asking_for_the_kind_of_an_argument_imports_no_client() -> None:
    script = (
        "import sys; from weighbridge.registries import is_reference\n"
        "assert is_reference('hf://a/b') and not is_reference('a/b')\n"
        "assert is_reference('https://huggingface.co/a/b')\n"
        "print([name for name in ('httpx2', 'huggingface_hub', 'ssl', 'asyncio') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


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


@pytest.mark.parametrize("sha", ["main", "0" * 39, "0" * 41, "A" * 40, "../../../../etc/passwd", "0" * 39 + "\n"])
def test_a_commit_that_is_none_is_refused(hub: FakeHub, sha: str) -> None:
    hub.lies.sha = sha
    assert "the answer names no commit; is HF_ENDPOINT a Hub?" in refused(lambda: resolve("hf://acme/m"))


def test_another_commit_than_the_one_asked_for_is_refused(hub: FakeHub) -> None:
    pinned = resolve("hf://acme/m").pinned
    hub.lies.sha = hub.publish("acme/m", {})
    assert f"the server answers with {hub.lies.sha}" in refused(lambda: resolve(pinned))


@pytest.mark.parametrize("commit", ["f" * 40, "main", "../x\x1b"])
@pytest.mark.parametrize("path", ["config.json", "model.safetensors"])
def test_a_file_of_another_commit_is_refused(hub: FakeHub, commit: str, path: str) -> None:
    hub.lies.commit = commit
    assert "the server answers with " in refused(lambda: read("hf://acme/m", path))
    assert not any(entry.status == 206 for entry in hub.log)


def test_a_file_whose_commit_is_not_said_is_taken_for_the_one_of_the_listing(hub: FakeHub) -> None:
    hub.lies.commit = ""
    assert read("hf://acme/m", "config.json") == b"{}"


@pytest.mark.parametrize(
    "path", ["../a", "/etc/passwd", "a/../b", "a\\..\\b", "C:a", "con", "a\x00b", "a//b", "x" * 300]
)
def test_a_path_that_leaves_its_folder_is_refused(hub: FakeHub, path: str) -> None:
    hub.lies.entries = [{"type": "file", "oid": "0" * 40, "size": 1, "path": path}]
    assert "is refused: " in refused(lambda: resolve("hf://acme/m"))


@pytest.mark.parametrize(
    "entry",
    [
        1,
        {},
        {"type": "submodule", "path": "a", "oid": "0" * 40, "size": 1},
        {"type": "file", "path": "a", "oid": "0" * 40},
        {"type": "file", "path": "a", "oid": "0" * 40, "size": -1},
        {"type": "file", "path": "a", "oid": "0" * 40, "size": True},
        {"type": "file", "path": "a", "oid": "0" * 40, "size": 1 << 60},
        {"type": "file", "path": 1, "oid": "0" * 40, "size": 1},
        {"type": "file", "path": "a", "oid": "0" * 39, "size": 1},
        {"type": "file", "path": "a", "oid": "0" * 40, "size": 1, "lfs": {"oid": "0" * 63, "size": 1}},
        {"type": "file", "path": "a", "oid": "0" * 40, "size": 1, "lfs": {"oid": "0" * 64, "size": 2}},
        {"type": "file", "path": "a", "oid": "0" * 40, "size": 1, "lfs": {}},
        {"type": "file", "path": "config.json", "oid": "0" * 40, "size": 1},
        {"type": "file", "path": "CONFIG.json", "oid": "0" * 40, "size": 1},
        {"type": "file", "path": "unet", "oid": "0" * 40, "size": 1},
    ],
)
def test_an_impossible_entry_of_a_listing_is_refused(hub: FakeHub, entry: object) -> None:
    hub.lies.entries = [entry]
    refused(lambda: resolve("hf://acme/m"))


@pytest.mark.parametrize("listing", [{}, "main", 7, {"error": "no"}])
def test_a_listing_that_is_no_list_is_refused(hub: FakeHub, listing: object) -> None:
    hub.lies.listing = listing
    assert "the listing is not a list; is HF_ENDPOINT a Hub?" in refused(lambda: resolve("hf://acme/m"))


def test_a_listing_of_too_many_files_is_refused(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.registries.hub.MAX_FILES", len(FILES))
    assert len(resolve("hf://acme/m").files) == len(FILES)
    monkeypatch.setattr("weighbridge.registries.hub.MAX_FILES", len(FILES) - 1)
    assert "more than 4 files" in refused(lambda: resolve("hf://acme/m"))


def test_a_listing_that_goes_on_elsewhere_is_refused_and_gets_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHub(page=2) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.publish("acme/m", FILES)
        hub.lies.elsewhere = True
        said = refused(lambda: resolve("hf://acme/m", token=TOKEN))
        assert f"the listing goes on at {hub.elsewhere}/api/models/acme/m/tree/" in said
        assert not hub.reached_elsewhere
        assert not hub.leaks


def test_a_listing_that_does_not_end_is_refused(hub: FakeHub) -> None:
    hub.lies.endless = True
    assert "the listing does not end" in refused(lambda: resolve("hf://acme/m"))
    assert len(hub.log) <= 3


@pytest.mark.parametrize("tag", ['"../../../escaped"', '"/etc/passwd"', '"' + "x" * 2000 + '"', "", "\\x00"])
def test_a_tag_is_never_a_path(hub: FakeHub, tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub.lies.linked = {"X-Linked-Etag": tag, "ETag": tag}
    hub.faults.etag = tag
    assert read("hf://acme/m", "model.safetensors") == WEIGHTS
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize(
    ("linked", "said"),
    [
        ({"X-Linked-Size": "7"}, "bytes in the listing, not '7'"),
        ({"X-Linked-Etag": f'"{"0" * 64}"'}, "in the listing, not 000"),
    ],
)
def test_a_file_that_is_not_the_one_of_the_listing_is_refused(hub: FakeHub, linked: dict[str, str], said: str) -> None:
    hub.lies.linked = linked
    assert said in refused(lambda: read("hf://acme/m", "model.safetensors"))


FAULTS = {
    "ignores_range": Faults(ignores_range=True),
    "content_range": Faults(content_range="bytes 5-9/16384"),
    "truncated": Faults(withheld=1),
    "overlong": Faults(surplus=1),
    "encoded": Faults(encoding="gzip"),
    "stalls": Faults(stalls=True),
    "etag": Faults(etag='"changed"'),
}


@pytest.mark.parametrize("path", ["unet/a b#c?é%20.txt", "model.safetensors"])
@pytest.mark.parametrize("fault", FAULTS)
def test_bytes_that_are_not_those_asked_for_are_refused(hub: FakeHub, fault: str, path: str) -> None:
    registry = Hub(settings(token=TOKEN, timeout=0.3))
    artifact = registry.resolve("hf://acme/m")
    remote = registry.open(artifact, next(file for file in artifact.files if file.path == path))
    assert remote.read(1, 1) == bytes(FILES[path])[1:2]
    hub.set_faults(FAULTS[fault])
    assert "127.0.0.1" in refused(lambda: remote.read(0, 2))


def test_files_that_redirect_for_ever_are_refused(hub: FakeHub) -> None:
    hub.lies.loop = True
    assert "more than 5 redirects" in refused(lambda: read("hf://acme/m", "config.json", token=TOKEN))


def test_the_token_stays_when_a_file_is_elsewhere(hub: FakeHub) -> None:
    hub.lies.target = f"{hub.elsewhere}/x"
    assert f"{hub.elsewhere}/x: access is refused, 401" in refused(
        lambda: read("hf://acme/m", "model.safetensors", token=TOKEN)
    )
    assert hub.reached_elsewhere


def test_a_file_is_not_fetched_over_http_from_a_hub_with_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with FakeHub(tls=context) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.publish("acme/m", FILES)
        assert read("hf://acme/m", "config.json", token=TOKEN) == b"{}"
        assert "redirects from https to http://" in refused(
            lambda: read("hf://acme/m", "model.safetensors", token=TOKEN)
        )
        assert not hub.leaks


@pytest.mark.parametrize(
    ("status", "headers"), [(429, {"Retry-After": "0"}), (503, {}), (429, {"RateLimit": '"api";r=5;t=1'})]
)
def test_a_storm_passes_or_is_said(
    hub: FakeHub, status: int, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.registries.pacing.backoff", lambda _: 0.0)
    hub.lies.busy, hub.lies.busy_status, hub.lies.busy_headers = 3, status, headers
    assert resolve("hf://acme/m", retries=3).files
    hub.lies.busy = 1 << 30
    with pytest.raises(UnavailableError, match=f"the server answers {status}"):
        resolve("hf://acme/m", retries=3)


def test_a_hub_that_says_nothing_is_given_up(hub: FakeHub) -> None:
    hub.lies.silent = True
    assert "no answer in time" in refused(lambda: resolve("hf://acme/m", timeout=0.2))


@pytest.mark.parametrize("body", ["[]", "{}", '{"sha": 1}', "<html>", '{"id": "acme/m"}'])
def test_a_server_that_is_no_hub_is_said(hub: FakeHub, body: str) -> None:
    hub.instead = body.encode()
    refused(lambda: resolve("hf://acme/m"))


JSON = (
    st.none() | st.booleans() | st.integers(-5, 1 << 70) | st.text(max_size=5) | st.just("0" * 40) | st.just("0" * 64)
)
ENTRY = st.dictionaries(st.sampled_from(["type", "oid", "size", "path", "x"]), JSON | st.just("file")) | JSON
LFS = st.dictionaries(st.sampled_from(["oid", "size", "pointerSize"]), JSON) | JSON


@pytest.fixture(scope="module")
def lying() -> Iterator[tuple[FakeHub, Hub]]:
    """Return a Hub and its registry for many examples."""
    with FakeHub() as fake, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", fake.url)
        patch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
        fake.publish("acme/m", FILES)
        yield fake, Hub(settings())


@given(ENTRY, LFS)
def test_any_entry_of_a_listing_is_a_file_or_refused(lying: tuple[FakeHub, Hub], entry: Any, lfs: Any) -> None:
    fake, registry = lying
    fake.lies.entries = [entry, {"type": "file", "path": "a", "size": 1, "oid": "0" * 40, "lfs": lfs}]
    try:
        artifact = registry.resolve("hf://acme/m")
    except SourceError as error:
        assert str(error).isprintable()
    else:
        assert len(artifact.files) in (len(FILES) + 1, len(FILES) + 2)
        assert all(len(file.claims) == 1 for file in artifact.files)
