"""What `weighbridge doctor` says of ordinary and of broken installations."""

from __future__ import annotations

import json
import os
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from weighbridge import cli, doctor
from weighbridge.cli import group
from weighbridge.evidence import home
from weighbridge.isolation import LAYERS
from weighbridge.store import Store

TREE = Path(__file__).resolve().parent.parent
CONFIG, HOME = "config", "home"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("HF_", "WEIGHBRIDGE_", "MLFLOW_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / CONFIG))
    monkeypatch.setenv("WEIGHBRIDGE_HOME", str(tmp_path / HOME))


def run(*arguments: str) -> int:
    return cli._run(group.run, list(arguments))


def examined(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit status, and what was found by its name."""
    capsys.readouterr()
    status = run("doctor", "--format", "json")
    document = json.loads(capsys.readouterr().out)
    assert document["version"] == 1
    assert (document["errors"] > 0) == (status == 1)
    return status, {one["name"]: one for one in document["checks"]}


def test_a_new_installation_has_no_errors_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, found = examined(capsys)
    assert status == 0
    assert found["own key"]["status"] == found["policy"]["status"] == "missing"
    assert "not there yet" in found["store"]["text"]
    assert found["rules"]["text"].count("sha256:") == 1
    assert list(tmp_path.iterdir()) == []
    assert {layer for layer in LAYERS if layer in found} == set(LAYERS)


def test_a_home_that_nobody_has_is_an_error_beside_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", "~nobody-has-this-name")
    status, found = examined(capsys)
    assert status == 1
    assert "name a folder with WEIGHBRIDGE_CONFIG" in found["folder"]["text"]
    assert found["store"]["status"] == "ok"


def test_every_extra_is_spoken_for() -> None:
    declared = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    extras = declared["optional-dependencies"]
    assert doctor.EXTRAS.keys() == extras.keys() - {"all", "dev"}
    assert all(text for one in doctor.EXTRAS.values() for text in (one.module, one.without))


def test_an_extra_that_is_missing_says_what_is_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "lz4":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    status, found = examined(capsys)
    assert status == 0
    assert found["lz4"]["status"] == "missing"
    assert "inconclusive" in found["lz4"]["text"]
    assert found["lz4"]["fix"] == "pip install 'weighbridge[lz4]'"


def test_key_store_and_policy_are_described(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("key", "init") == 0
    assert run("trust", "init") == 0
    with Store(tmp_path / HOME) as store, store.incoming() as path:
        path.write_bytes(b"bytes")
        store.add(path, "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9")
    status, found = examined(capsys)
    assert status == 0
    assert "1 file, 5 B" in found["store"]["text"] and "mode 0700" in found["store"]["text"]
    assert "1 approver" in found["policy"]["text"]
    assert "sha256:" in found["own key"]["text"]


ROOT = """
version = 1
[roots.mine]
type = "sigstore"
trusted_root = "root.json"
sha256 = "{digest}"
updated = 2020-01-01
max_age_days = 30
[signers.ci]
method = "sigstore"
root = "mine"
issuer = "https://issuer.example"
identity = "ci@acme.example"
[[rules]]
source = "hf://acme/**"
require = ["ci"]
"""


def _others_read_the_key(folder: Path) -> None:
    run("key", "init")
    home.key_path().chmod(0o644)


def _public_half_of_another(folder: Path) -> None:
    run("key", "init")
    run("key", "init", str(folder / "other.pem"))
    home.public_key_path().write_bytes((folder / "other.pub.pem").read_bytes())


def _shared_store(folder: Path) -> None:
    (folder / HOME).mkdir()
    (folder / HOME).chmod(0o777)


def _store_of_another_version(folder: Path) -> None:
    (folder / HOME).mkdir()
    (folder / HOME / "format").write_text("weighbridge store 9\n")


def _wrong_policy(folder: Path) -> None:
    (folder / CONFIG).mkdir()
    (folder / CONFIG / "trust.toml").write_text("version = 1\nrulez = []\n")


def _stale_root(folder: Path) -> None:
    (folder / CONFIG).mkdir()
    (folder / CONFIG / "trust.toml").write_text(ROOT.format(digest="0" * 64))
    (folder / CONFIG / "root.json").write_text("{}")


@pytest.mark.parametrize(
    ("breakage", "name", "said"),
    [
        (_others_read_the_key, "own key", "chmod 600"),
        (_public_half_of_another, "own key", "another key's"),
        (_shared_store, "store", "chmod go-w"),
        (_store_of_another_version, "store", "another version"),
        (_wrong_policy, "policy", "did you mean"),
        (_stale_root, "lint", "pins"),
    ],
)
def test_what_is_wrong_is_an_error(
    breakage: Any, name: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    breakage(tmp_path)
    status, found = examined(capsys)
    assert status == 1
    assert found[name]["status"] == "error"
    assert said in found[name]["text"]


def test_the_policy_that_holds_here_is_named_and_waivers_that_ended(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    _, found = examined(capsys)
    assert found["judging"]["text"].startswith("default, as it ships: 0 waivers, sha256:")
    waiver = f'rule = "PKL001"\ndigest = "sha256:{"0" * 64}"\nreason = "x"\napprover = "y"\nexpires = 2020-01-01\n'
    Path("weighbridge.toml").write_text(f"[[waivers]]\n{waiver}")
    status, found = examined(capsys)
    assert status == 0
    assert "weighbridge.toml: 1 waiver" in found["judging"]["text"]
    assert (found["waiver"]["status"], "2020-01-01" in found["waiver"]["text"]) == ("warning", True)
    Path("weighbridge.toml").write_text("fail_on = 'high'\n")
    assert examined(capsys)[1]["judging"]["status"] == "error"


def test_the_age_and_the_digest_of_a_root_are_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _stale_root(tmp_path)
    _, found = examined(capsys)
    assert "days old, 30 are allowed, sha256:0000" in found["root mine"]["text"]


def test_no_secret_of_the_environment_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://user:hunter2/@proxy.example:3128")
    monkeypatch.setenv("HF_ENDPOINT", "user:hunter2@hub.example")
    for name in ("HF_TOKEN", "MLFLOW_TRACKING_TOKEN", "WEIGHBRIDGE_KEY_PASSWORD"):
        monkeypatch.setenv(name, "hunter2")
    assert run("doctor") == 0
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    assert "proxy.example:3128" in shown and "HF_TOKEN: is set" in shown
