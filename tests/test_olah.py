"""The Hub's registry against olah, which knows nothing of these tests and does not do ranges."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.olah import commit, olah

from weighbridge.artifact import Artifact
from weighbridge.errors import SourceError
from weighbridge.registries.base import Settings
from weighbridge.registries.hub import Hub

SMALL = {"config.json": b"{}", "unet/a b.txt": b"odd"}
LARGE = {"model.safetensors": bytes(range(256)) * 1024}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Hub, Artifact]]:
    """Return the registry and a model that olah serves."""
    revision = commit(tmp_path, "acme/m", SMALL, LARGE)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    with olah(tmp_path) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        registry = Hub(Settings(retries=0))
        artifact = registry.resolve("hf://acme/m")
        assert artifact.pinned == f"hf://acme/m@{revision}"
        yield registry, artifact


def test_olah_serves_what_it_declares(hub: tuple[Hub, Artifact]) -> None:
    registry, artifact = hub
    assert {file.path for file in artifact.files} == SMALL.keys() | LARGE.keys()
    for file in artifact.files:
        data = b"".join(registry.open(artifact, file).stream(0, file.size))
        assert data == (SMALL | LARGE)[file.path]
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        assert file.claims[0].value == (hashlib.sha256(data).hexdigest() if file.path in LARGE else blob)
    assert registry.resolve(artifact.pinned).files == artifact.files


def test_olah_ignores_ranges_and_is_refused(hub: tuple[Hub, Artifact]) -> None:
    registry, artifact = hub
    file = next(file for file in artifact.files if file.path in LARGE)
    remote = registry.open(artifact, file)
    with pytest.raises(SourceError, match="the server ignores Range and would send the whole file"):
        remote.read(file.size - 22, 22)
    assert remote.received == 0


@pytest.mark.parametrize("reference", ["hf://acme/absent", "hf://acme/m@absent"])
def test_olah_says_what_it_does_not_have(hub: tuple[Hub, Artifact], reference: str) -> None:
    with pytest.raises(SourceError, match="no such model, or a private one"):
        hub[0].resolve(reference)
