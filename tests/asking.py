"""What tests of registries ask with: a session and a registry that give up soon, and the one line they refuse with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers.fake_hub import TOKEN

from weighbridge.artifact import Artifact
from weighbridge.errors import SourceError, WeighbridgeError
from weighbridge.registries import registry
from weighbridge.registries.base import Settings
from weighbridge.registries.http import Session
from weighbridge.registries.hub import Hub

SECRET = "hf_very_secret"
WEIGHTS = bytes(range(256)) * 64
FILES: dict[str, bytes | Path] = {
    "config.json": b"{}",
    "empty.txt": b"",
    "model.safetensors": WEIGHTS,
    "unet/model.bin": WEIGHTS[::-1],
    "unet/a b#c?é%20.txt": b"odd",
}


def refused(work: Callable[[], object], kind: type[WeighbridgeError] = SourceError) -> str:
    """Return the one line that a piece of work is refused with."""
    with pytest.raises(kind) as caught:
        work()
    text = str(caught.value)
    assert text.isprintable()
    assert SECRET not in text
    assert TOKEN not in text
    return text


def session(*, waits: list[float] | None = None, **settings: Any) -> Session:
    """Return a session that does not wait and gives up soon."""
    sleep = (lambda _: None) if waits is None else waits.append
    return Session(Settings(**{"timeout": 5.0, "retries": 0, **settings}), credential="set A_TOKEN", sleep=sleep)


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
