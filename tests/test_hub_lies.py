"""The registry of the Hugging Face Hub, against a Hub that lies, stalls and redirects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import FILES, WEIGHTS, read, refused, resolve, settings
from hypothesis import given
from hypothesis import strategies as st
from servers.fake_hub import TOKEN, FakeHub
from servers.serving import Faults
from servers.tls import certificate

from weighbridge.errors import SourceError, UnavailableError
from weighbridge.registries.hub import Hub

pytestmark = pytest.mark.usefixtures("hub_environment")


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
