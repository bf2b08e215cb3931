"""What every test shares: the same generated examples on every machine, and golden files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from servers.fake_hub import FakeHub
    from servers.serving import Answer, Server

settings.register_profile("weighbridge", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("weighbridge")

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update`, which writes the golden files instead of comparing with them."""
    parser.addoption("--update", action="store_true", help="write the golden files anew")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Return what compares a text with the golden file of a name."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    """Return what starts a server that answers with a function."""
    from servers.serving import Faults, Server

    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(answer, Faults()))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what the person has on the machine out of a test: its settings, keys, store and notes are its own."""
    for name in list(os.environ):
        if name.startswith(("HF_", "WEIGHBRIDGE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("WEIGHBRIDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def work(own_places: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stand in an empty folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def hub_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what the person has for the Hub on the machine out of a test."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING_FACE_", "TRANSFORMERS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")


@pytest.fixture
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, hub_environment: None) -> Iterator[FakeHub]:
    """Return a Hub with one model, below a path of its server as mirrors are unless a test says otherwise."""
    from asking import FILES
    from servers.fake_hub import FakeHub

    with FakeHub(prefix=getattr(request, "param", "/artifactory/hub")) as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        fake.publish("acme/m", FILES)
        yield fake
        assert not fake.leaks
