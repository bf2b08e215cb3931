"""Attacks on the loader: by what a publisher puts into a folder, and by where the person who loads it stands."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from loading import Part, approved_folder, packed

import weighbridge
from weighbridge import cli
from weighbridge.cli import group
from weighbridge.errors import Refusal, UsageError, WeighbridgeError
from weighbridge.evidence import home
from weighbridge.evidence.keys import pem_digest
from weighbridge.evidence.trust_policy import OWN_VERIFIER
from weighbridge.load.loading import Mode
from weighbridge.refusals import ApprovalMismatch, ApprovalUntrusted, UnsafeEntry

WEIGHTS = packed({"w": Part("F32", (2,), bytes(8))})
OTHER = packed({"w": Part("F32", (2,), b"\1" * 8)})
FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": WEIGHTS, "part/model.safetensors": WEIGHTS}


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("WEIGHBRIDGE_TRUST", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model() -> Path:
    folder = Path("models/name")
    approved_folder(folder, FILES)
    return folder


def publishers(folder: Path) -> None:
    """Approve a folder as its publisher, and put the trust policy that says so into it."""
    approved_folder(folder, FILES, config=Path("publisher"), verifier=OWN_VERIFIER)
    key = Path("publisher/key.pub.pem").read_bytes()
    (folder / "key.pub.pem").write_bytes(key)
    (folder / "trust.toml").write_text(
        f"""version = 1
[signers.me]
method = "key"
public_key = "key.pub.pem"
sha256_spki = "{pem_digest(key, "key").value}"
[approvers.me]
signer = "me"
verifier_id = "{OWN_VERIFIER}"
"""
    )


@pytest.mark.parametrize("where", ["the folder", "a part of it"])
def test_no_trust_policy_of_the_model_itself_counts(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("models").mkdir()
    publishers(Path("models/name"))
    monkeypatch.setenv("WEIGHBRIDGE_TRUST", "trust.toml" if where == "the folder" else "../trust.toml")
    monkeypatch.chdir("models/name" if where == "the folder" else "models/name/part")
    for trust in (None, os.environ["WEIGHBRIDGE_TRUST"]):
        with pytest.raises(UsageError, match="came with the model"):
            weighbridge.load(".", trust=trust)
    assert cli._run(group.run, ["approve", str(tmp_path / "models/name"), "--check"]) == 2
    monkeypatch.delenv("WEIGHBRIDGE_TRUST")
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "models/name"))
    with pytest.raises(UsageError, match="came with the model"):
        weighbridge.load(".")


def test_a_publishers_approval_is_none_here(model: Path) -> None:
    publishers(Path("models/theirs"))
    with pytest.raises(ApprovalUntrusted):
        weighbridge.load("models/theirs")


def _swap(model: Path) -> None:
    (model / "model.safetensors").write_bytes(OTHER)


def _move(model: Path) -> None:
    shutil.copy(model / "part/model.safetensors", model / "more.safetensors")


def _link_part(model: Path) -> None:
    shutil.rmtree(model / "part")
    Path("elsewhere").mkdir()
    Path("elsewhere/model.safetensors").write_bytes(OTHER)
    (model / "part").symlink_to(Path("elsewhere").absolute())


def _hollow(model: Path) -> None:
    (model / "part" / "approval.json").write_bytes(b"{}")


def _below(model: Path) -> None:
    approved_folder(model / "part", {"model.safetensors": OTHER}, config=Path("publisher"))


@pytest.mark.parametrize("attack", [_swap, _link_part, _hollow, _below])
@pytest.mark.parametrize("mode", ["stream", "lazy", "shared"])
def test_nothing_else_is_loaded(model: Path, attack: Callable[[Path], None], mode: Mode) -> None:
    attack(model)
    place = model / "model.safetensors" if attack is _swap else model / "part"
    with pytest.raises(WeighbridgeError):
        numpy.testing.assert_array_equal(weighbridge.load(place, mode=mode)["w"], [0, 0])


def test_a_file_that_was_not_approved_is_not_loaded_beside_the_others(model: Path) -> None:
    _move(model)
    assert weighbridge.load(model)["w"].tolist() == [0, 0]
    with pytest.raises(ApprovalMismatch):
        weighbridge.load(model / "more.safetensors")


def test_links_to_the_approved_bytes_are_not_followed(model: Path) -> None:
    (model / "model.safetensors").rename("moved.safetensors")
    (model / "model.safetensors").symlink_to(Path("moved.safetensors").absolute())
    with pytest.raises(UnsafeEntry):
        weighbridge.load(model)


def test_an_index_that_names_nothing_is_no_model(tmp_path: Path) -> None:
    approved_folder(
        Path("empty"), {"model.safetensors": WEIGHTS, "model.safetensors.index.json": b'{"weight_map": {}}'}
    )
    with pytest.raises(Refusal):
        weighbridge.load("empty")


def test_an_index_that_promises_what_no_file_has_is_no_model() -> None:
    index = b'{"weight_map": {"w": "model.safetensors", "v": "model.safetensors"}}'
    approved_folder(Path("short"), {"model.safetensors": WEIGHTS, "model.safetensors.index.json": index})
    with pytest.raises(Refusal):
        weighbridge.load("short")


def test_the_users_own_key_is_not_looked_for_where_the_model_lies(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model / ".config" / "weighbridge").mkdir(parents=True)
    shutil.copy(home.public_key_path(), model / ".config/weighbridge/key.pub.pem")
    (model / ".env").write_text("WEIGHBRIDGE_TRUST=trust.toml\n")
    monkeypatch.chdir(model)
    assert weighbridge.load(".")["w"].tolist() == [0, 0]


@pytest.mark.parametrize(
    "command", [["gate", "models/theirs", "--to", "out"], ["pull", "models/theirs", "--to", "out"]]
)
def test_no_trust_policy_of_a_source_counts_at_the_gate(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    publishers(Path("models/theirs"))
    assert cli._run(group.run, [*command, "--trust", "models/theirs/trust.toml"]) == 2
    monkeypatch.setenv("WEIGHBRIDGE_TRUST", "models/theirs/trust.toml")
    assert cli._run(group.run, command) == 2
