"""Attacks on what is trusted because it was there before: the store, folders that share its files, old digests."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from checkpoints import checkpoint
from loading import Part, packed

import weighbridge
from weighbridge import cli
from weighbridge.approve import check
from weighbridge.cli import group
from weighbridge.convert.directory import convert_folder
from weighbridge.errors import Refusal, WeighbridgeError
from weighbridge.evidence import trust_policy
from weighbridge.refusals import ApprovalMalformed, NotApproved
from weighbridge.store.materialise import fill

WEIGHTS = packed({"w": Part("F32", (4,), bytes(16))})
OTHER = packed({"w": Part("F32", (4,), b"\1" * 16)})
CONFIG = b'{"model_type": "bert"}'


@pytest.fixture(autouse=True)
def model(work: None) -> Path:
    """A folder with a model, in an empty place, with settings and a store of its own."""
    folder = Path("model")
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "config.json").write_bytes(CONFIG)
    return folder


def run(*arguments: str) -> int:
    return cli._run(group.run, list(arguments))


def through(place: Path, data: bytes) -> None:
    """Write to a file as its owner can, in place and without a trace but the time of the change."""
    status = place.stat()
    place.chmod(0o644)
    with place.open("r+b") as file:
        file.write(data)
    place.chmod(0o444)
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("first", ["pull", "gate"])
@pytest.mark.parametrize("then", [["pull"], ["gate"], ["gate", "--anew"]])
def test_what_is_written_through_a_folder_into_the_store_comes_out_nowhere(first: str, then: list[str]) -> None:
    assert run(first, "model", "--to", "one", "-q") == 0
    through(Path("one/model.safetensors"), OTHER)
    command, *more = then
    status = run(command, "model", "--to", "two", "-q", *more)
    found = Path("two/model.safetensors")
    assert (status, found.exists()) == (4, False) or found.read_bytes() == WEIGHTS
    assert run(command, "model", "--to", "two", "-q", *more) == 0
    assert found.read_bytes() == WEIGHTS


def test_what_is_written_into_an_approved_folder_is_noticed_by_all() -> None:
    assert run("gate", "model", "--to", "out", "-q") == 0
    through(Path("out/model.safetensors"), OTHER)
    assert run("approve", "out", "--check") == 1
    assert run("gate", "model", "--to", "out", "-q") in (2, 4)
    with pytest.raises(Refusal):
        weighbridge.load("out")


def test_a_lock_whose_bytes_were_changed_in_the_store_gives_none_of_them() -> None:
    assert run("pull", "model", "--to", "one", "-q") == 0
    lock = Path("one/weighbridge.lock").read_bytes()
    through(Path("one/model.safetensors"), OTHER)
    Path("weighbridge.lock").write_bytes(lock)
    assert run("pull", "model", "--to", "two", "-q", "--locked") == 4
    assert not Path("two").exists()


def _while_approving(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something after the scan and before the files are measured."""
    from weighbridge import allowances as module

    before = module.allowances

    def after(*arguments: Any) -> Any:
        found = before(*arguments)
        act()
        return found

    monkeypatch.setattr(module, "allowances", after)


@pytest.mark.parametrize("data", [OTHER, WEIGHTS[:-1], WEIGHTS + b"\0", b""])
def test_what_changes_between_scan_and_signature_is_not_approved(
    model: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    _while_approving(monkeypatch, lambda: (model / "model.safetensors").write_bytes(data))
    assert run("approve", "model", "-q") == 1
    assert not (model / "approval.json").exists()


def test_a_link_that_takes_the_place_of_a_file_is_not_approved(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def swap() -> None:
        (model / "model.safetensors").rename("elsewhere")
        (model / "model.safetensors").symlink_to(Path("elsewhere").absolute())

    _while_approving(monkeypatch, swap)
    assert run("approve", "model", "-q") != 0
    assert not (model / "approval.json").exists()


def test_what_is_added_while_it_is_approved_is_not_approved(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _while_approving(monkeypatch, lambda: (model / "stray.safetensors").write_bytes(OTHER))
    assert run("approve", "model", "-q") == 0
    found = {one.path for one in check_signed(model).files}
    assert found == {"config.json", "model.safetensors"}
    assert run("approve", "model", "--check") == 1


def check_signed(folder: Path) -> Any:
    from weighbridge import approval

    raw = (folder / "approval.json").read_bytes()
    return approval.verify(raw, trust=trust_policy.default(), now=datetime.now(UTC), where="test")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b"9" * 5_000_000,
        b'{"mediaType": 1}',
        b"\xff" * 100,
        b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": null}',
    ],
)
def test_what_is_no_approval_says_so_at_once(model: Path, raw: bytes) -> None:
    run("key", "init")
    (model / "approval.json").write_bytes(raw)
    with pytest.raises(ApprovalMalformed):
        weighbridge.load("model")


def test_an_approval_that_waits_for_a_writer_is_none(model: Path) -> None:
    run("key", "init")
    os.mkfifo(model / "approval.json")
    with pytest.raises(WeighbridgeError):
        weighbridge.load("model")
    with pytest.raises(NotApproved):
        check(model, trust=trust_policy.default(), now=datetime.now(UTC))


def test_many_files_are_approved_and_loaded_in_their_number(model: Path) -> None:
    for number in range(1500):
        (model / f"{number}.json").write_bytes(b"{}")
    assert run("approve", "model", "-q") == 0
    assert weighbridge.load("model")["w"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("when", ["before", "after"])
def test_weights_that_change_while_they_are_converted_are_not_approved(
    model: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(checkpoint({"a.weight": (3, 4)}))
    assert run("pull", "model", "--to", "one", "-q") == 0
    shared = Path("one/pytorch_model.bin").absolute()
    data = bytearray(shared.read_bytes())
    data[data.index(b"\0\0\x80?") + 3] ^= 0x80  # 1.0 becomes -1.0

    def poisoned(folder: Path, manifest: Any, store: Any, **options: Any) -> None:
        fill(folder, manifest, store, **options)
        if when == "before":
            through(shared, bytes(data))

    def converted(*arguments: Any, **options: Any) -> Any:
        if when == "after":
            through(shared, bytes(data))
        return convert_folder(*arguments, **options)

    monkeypatch.setattr("weighbridge.gate.fill", poisoned)
    monkeypatch.setattr("weighbridge.convert.directory.convert_folder", converted)
    status = run("gate", "model", "--to", "out", "-q")
    assert status == (4 if when == "before" else 0)
    assert not Path("out").exists() or weighbridge.load("out")["a.weight"].min() >= 0
