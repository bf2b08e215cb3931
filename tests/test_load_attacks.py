"""Attacks on an approved folder: each ends in its typed error, and never in other tensors or a dead process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loading import approved_folder
from safetensors.numpy import save

import weighbridge
from weighbridge import reading
from weighbridge.errors import Refusal, SourceError
from weighbridge.evidence.keys import pem_digest
from weighbridge.leaves import CHUNK
from weighbridge.load.folder import open_folder
from weighbridge.load.loading import Mode, open_approved
from weighbridge.load.opening import Anchor, walk
from weighbridge.refusals import (
    ApprovalExpired,
    ApprovalMalformed,
    ApprovalMissing,
    ApprovalRevoked,
    ApprovalUntrusted,
    ChangedDuringLoad,
    ContentMismatch,
    DigestMismatch,
    LoadError,
    UnsafeEntry,
)

MODES: tuple[Mode, ...] = ("stream", "lazy", "shared")
GOOD: dict[str, Any] = {"w": np.arange(CHUNK, dtype="i4"), "v": np.ones(9)}
EVIL: dict[str, Any] = {"w": np.arange(CHUNK, dtype="i4")[::-1].copy(), "v": np.ones(9)}
NAME = "unet/model.safetensors"


pytestmark = pytest.mark.usefixtures("own_places")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An approved folder with a file in a folder of it, and a wicked file of the same size elsewhere."""
    approved_folder(tmp_path / "model", {NAME: save(GOOD), "config.json": b'{"a": 1}'})
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "model.safetensors").write_bytes(save(EVIL))
    return tmp_path / "model"


def write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        file.write(data)


def swap(model: Path) -> None:
    """Put another file in the place of the approved one in one step."""
    (model.parent / "evil" / "model.safetensors").rename(model / NAME)


def in_place(model: Path) -> None:
    write(model / NAME, -100, b"\xff")


def in_header(model: Path) -> None:
    write(model / NAME, 12, b"x")


def header_length(model: Path) -> None:
    write(model / NAME, 0, b"\xff" * 8)


def truncate(model: Path) -> None:
    os.truncate(model / NAME, 1000)


def empty(model: Path) -> None:
    os.truncate(model / NAME, 0)


def grow(model: Path) -> None:
    """Make it a petabyte with a hole."""
    os.truncate(model / NAME, 1 << 43)


def hard_link(model: Path) -> None:
    (model / NAME).unlink()
    (model / NAME).hardlink_to(model.parent / "evil" / "model.safetensors")


def symlink(model: Path) -> None:
    (model / NAME).unlink()
    (model / NAME).symlink_to(model.parent / "evil" / "model.safetensors")


def symlink_inside(model: Path) -> None:
    (model / NAME).rename(model / "moved.safetensors")
    (model / NAME).symlink_to("../moved.safetensors")


def symlink_parent(model: Path) -> None:
    shutil.rmtree(model / "unet")
    (model / "unet").symlink_to(model.parent / "evil")


def fifo(model: Path) -> None:
    (model / NAME).unlink()
    os.mkfifo(model / NAME)


def folder_there(model: Path) -> None:
    (model / NAME).unlink()
    (model / NAME).mkdir()


def file_for_folder(model: Path) -> None:
    shutil.rmtree(model / "unet")
    (model / "unet").write_bytes(b"")


def gone(model: Path) -> None:
    (model / NAME).unlink()


ATTACKS: list[tuple[Callable[[Path], None], type[Refusal]]] = [
    (swap, DigestMismatch),
    (in_place, DigestMismatch),
    (in_header, DigestMismatch),
    (truncate, DigestMismatch),
    (empty, DigestMismatch),
    (grow, DigestMismatch),
    (hard_link, DigestMismatch),
    (symlink, UnsafeEntry),
    (symlink_inside, UnsafeEntry),
    (symlink_parent, UnsafeEntry),
    (fifo, UnsafeEntry),
    (folder_there, UnsafeEntry),
    (file_for_folder, UnsafeEntry),
    (gone, ContentMismatch),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("attack", "error"), ATTACKS)
def test_what_was_done_before_is_refused(
    model: Path, mode: Mode, attack: Callable[[Path], None], error: type[Refusal]
) -> None:
    attack(model)
    with pytest.raises(error) as caught:
        weighbridge.load(model / NAME, mode=mode)
    assert caught.value.code in str(caught.value)


def test_a_length_of_a_header_beyond_the_limit_is_refused_unread(model: Path) -> None:
    header_length(model)
    with pytest.raises(LoadError):
        weighbridge.load(model / NAME)


def test_the_message_names_the_tensor_and_the_chunk(model: Path) -> None:
    write(model / NAME, -2 * CHUNK, b"\xff")
    with pytest.raises(DigestMismatch) as caught:
        weighbridge.load(model / NAME)
    assert (caught.value.tensor, caught.value.chunk) == ("w", 2)


AFTER = [in_place, truncate, empty, grow, swap, gone, fifo, symlink_parent]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("attack", AFTER)
def test_what_is_done_after_changes_no_tensor(model: Path, mode: Mode, attack: Callable[[Path], None]) -> None:
    found = weighbridge.load(model / NAME, mode=mode)
    attack(model)
    assert all(np.array_equal(found[name], array) for name, array in GOOD.items())


@pytest.mark.parametrize("attack", [in_place, truncate, empty])
def test_a_file_that_is_written_to_between_open_and_use_is_refused(model: Path, attack: Callable[[Path], None]) -> None:
    with weighbridge.open(model / NAME) as handle:
        attack(model)
        with pytest.raises(ChangedDuringLoad):
            handle.get_tensors()


@pytest.mark.parametrize("attack", [swap, gone, fifo, symlink_parent])
def test_a_file_that_is_replaced_between_open_and_use_is_still_the_approved_one(
    model: Path, attack: Callable[[Path], None]
) -> None:
    with weighbridge.open(model / NAME) as handle:
        attack(model)
        assert np.array_equal(handle.get_tensor("w"), GOOD["w"])


def test_a_folder_that_is_replaced_is_still_the_approved_one(model: Path) -> None:
    opened, rest = open_folder(model / NAME, None)
    model.rename(model.parent / "old")
    (model / "unet").mkdir(parents=True)
    (model / NAME).write_bytes(save(EVIL))
    with open_approved(opened, rest) as handle:
        assert np.array_equal(handle.get_tensor("w"), GOOD["w"])


WRITER = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
size = os.fstat(descriptor).st_size
last = os.pread(descriptor, 4096, size - 4096)
print("ready", flush=True)
while True:
    os.pwrite(descriptor, bytes(4096), size - 4096)
    os.pwrite(descriptor, last, size - 4096)
    os.ftruncate(descriptor, size - 4096)
    os.pwrite(descriptor, last, size - 4096)
"""


@pytest.mark.parametrize("mode", MODES)
def test_whoever_writes_all_the_time_gets_nothing_but_refusals_in(model: Path, mode: Mode) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(model / NAME)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout
        writer.stdout.readline()
        for _ in range(20):
            try:
                found = weighbridge.load(model / NAME, mode=mode)
            except LoadError:
                continue
            assert all(np.array_equal(found[name], array) for name, array in GOOD.items())
    finally:
        writer.kill()
        writer.communicate()


def test_an_approval_that_was_written_to_is_not_signed(model: Path) -> None:
    path = model / "approval.json"
    bundle = json.loads(path.read_bytes())
    payload = b64decode(bundle["dsseEnvelope"]["payload"])
    changed = payload.replace(b'"PASSED"', b'"FAILED"')
    assert changed != payload
    bundle["dsseEnvelope"]["payload"] = b64encode(changed).decode()
    path.write_text(json.dumps(bundle))
    with pytest.raises(ApprovalUntrusted):
        weighbridge.load(model / NAME)
    path.write_bytes(b"{")
    with pytest.raises(ApprovalMalformed):
        weighbridge.load(model / NAME)


def test_leaves_that_were_written_to_are_none(model: Path) -> None:
    write(model / "approval.leaves", -1, b"\0\0")
    with pytest.raises(ApprovalMalformed):
        weighbridge.load(model / NAME)
    (model / "approval.leaves").unlink()
    with pytest.raises(ApprovalMissing):
        weighbridge.load(model / NAME)


@pytest.mark.parametrize("name", ["approval.json", "approval.leaves"])
def test_an_approval_is_a_file_in_the_folder(model: Path, name: str) -> None:
    (model / name).rename(model.parent / name)
    (model / name).symlink_to(model.parent / name)
    with pytest.raises(UnsafeEntry):
        weighbridge.load(model / NAME)
    (model / name).unlink()
    os.mkfifo(model / name)
    with pytest.raises(UnsafeEntry):
        weighbridge.load(model / NAME)


def test_an_old_approval_of_the_same_files_does_not_come_back(model: Path) -> None:
    long_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(days=60)
    data = (model / NAME).read_bytes()
    shutil.rmtree(model)
    approved_folder(model, {NAME: data}, at=long_ago)
    with pytest.raises(ApprovalExpired):
        weighbridge.load(model / NAME)


def test_a_revoked_approval_loads_nothing(model: Path, tmp_path: Path) -> None:
    opened, _ = open_folder(model, None)
    opened.close()
    key = tmp_path / "config" / "key.pub.pem"
    trust = tmp_path / "trust.toml"
    policy = f"""
version = 1
[signers.me]
method = "key"
public_key = "{key}"
sha256_spki = "{pem_digest(key.read_bytes(), "key").value}"
[approvers]
gate = {{ signer = "me", verifier_id = "{opened.approval.verifier}" }}
"""
    trust.write_text(policy)
    assert weighbridge.load(model / NAME, trust=trust)
    for kind, digest in (("tree_sha256", opened.approval.tree), ("approval_sha256", opened.approval.digest)):
        trust.write_text(f'{policy}\n[deny]\n{kind} = ["{digest.removeprefix("sha256:")}"]\n')
        with pytest.raises(ApprovalRevoked):
            weighbridge.load(model / NAME, trust=trust)


def test_the_approval_of_another_model_is_none_of_this(model: Path, tmp_path: Path) -> None:
    approved_folder(tmp_path / "other", {NAME: save(EVIL), "config.json": b'{"a": 1}'})
    for name in ("approval.json", "approval.leaves"):
        shutil.copy(tmp_path / "other" / name, model / name)
    for mode in MODES:
        with pytest.raises(DigestMismatch):
            weighbridge.load(model / NAME, mode=mode)
    with pytest.raises(DigestMismatch):  # leaves of the one, signature of the other
        shutil.copy(model / NAME, tmp_path / "other" / NAME)
        weighbridge.load(tmp_path / "other" / NAME)


def test_somebody_elses_approval_is_not_trusted(model: Path, tmp_path: Path) -> None:
    data = (model / NAME).read_bytes()
    shutil.rmtree(model)
    approved_folder(model, {NAME: data}, config=tmp_path / "stranger")
    with pytest.raises(ApprovalUntrusted):
        weighbridge.load(model / NAME)


def test_a_configuration_that_changed_is_not_read(tmp_path: Path) -> None:
    approved_folder(tmp_path / "m", {"m.safetensors": save(GOOD), "config.json": b'{"a": 2}'})
    (tmp_path / "m" / "config.json").write_bytes(b'{"b": 2}')
    with pytest.raises(DigestMismatch):
        weighbridge.load(tmp_path / "m")


@pytest.mark.parametrize("name", ["", ".", "..", "../model", "/etc/passwd", "a//b", "unet/../../evil/x", "a\0b"])
def test_names_that_lead_out_are_not_opened(model: Path, name: str) -> None:
    with Anchor(model) as anchor, pytest.raises(UnsafeEntry):
        anchor.open(name)


WALKED = [
    (symlink, OSError),
    (symlink_inside, OSError),
    (symlink_parent, OSError),
    (file_for_folder, NotADirectoryError),
    (gone, FileNotFoundError),
]


@pytest.mark.parametrize(("attack", "error"), WALKED)
def test_without_the_system_call_the_walk_refuses_the_same(
    model: Path, attack: Callable[[Path], None], error: type[OSError]
) -> None:
    with Anchor(model) as anchor:
        os.close(walk(anchor.fileno(), NAME.split("/")))
        attack(model)
        with pytest.raises(error):
            walk(anchor.fileno(), NAME.split("/"))


def test_a_system_without_the_call_loads_and_refuses_alike(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.load.opening._openat2", lambda: None)
    assert weighbridge.load(model / NAME)
    fifo(model)
    with pytest.raises(UnsafeEntry):
        weighbridge.load(model / NAME)
    gone(model)
    symlink_parent(model)
    with pytest.raises(UnsafeEntry):
        weighbridge.load(model / NAME)


def test_a_system_that_filters_the_call_walks(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def filtered(folder: int, name: str) -> int:
        raise PermissionError(1, "filtered")

    monkeypatch.setattr("weighbridge.load.opening._openat2", lambda: filtered)
    assert weighbridge.load(model / NAME)


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        Anchor(tmp_path / "nowhere")


def test_a_system_whose_folders_have_no_descriptors_refuses_the_same(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.load.opening._ANCHORED", False)
    monkeypatch.setattr("weighbridge.reading._preadv", reading._seek_and_read)
    found = weighbridge.load(model / NAME, mode="lazy")
    assert all(np.array_equal(found[name], array) for name, array in GOOD.items())
    for attack, error in ((in_place, DigestMismatch), (fifo, UnsafeEntry), (gone, ContentMismatch)):
        attack(model)
        with pytest.raises(error):
            weighbridge.load(model / NAME)
    symlink_parent(model)
    with pytest.raises(UnsafeEntry):
        weighbridge.load(model / NAME)
