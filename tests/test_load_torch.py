"""Loading approved models for torch: bit for bit what the library gives. Skipped where torch is not installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from loading import Part, approved_folder, packed

import weighbridge
from weighbridge.convert.dtypes import BITS, TORCH
from weighbridge.errors import UsageError
from weighbridge.leaves import CHUNK
from weighbridge.load.folder import open_folder
from weighbridge.load.loading import Mode
from weighbridge.refusals import ChangedDuringLoad, DigestMismatch, MalformedHeader, UnsupportedFormat
from weighbridge.safetensors import safe_open
from weighbridge.safetensors.torch import load_file

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("safetensors.torch")

MODES: tuple[Mode, ...] = ("stream", "lazy", "shared")
KNOWN = sorted(word for name, word in TORCH.items() if hasattr(torch, name))


pytestmark = pytest.mark.usefixtures("own_places")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An approved file with a tensor of every dtype that this torch has, one of them of many chunks."""
    parts = {"big": Part("BF16", [3, CHUNK // 2], os.urandom(3 * CHUNK))}
    for word in KNOWN:
        size = 6 * BITS[word]
        parts[word] = Part(word, [2, 24], bytes(n % 2 for n in range(size)) if word == "BOOL" else os.urandom(size))
    parts |= {"none": Part("F32", [0, 3], b""), "one": Part("I64", [], bytes(8))}
    approved_folder(tmp_path / "m", {"m.safetensors": packed(parts, {"format": "pt"})})
    return tmp_path / "m" / "m.safetensors"


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        one, two = (each.reshape(-1).view(torch.uint8) for each in (found[name], tensor))
        assert torch.equal(one, two), name


@pytest.mark.parametrize("mode", MODES)
def test_every_dtype_is_what_the_library_makes_of_it(path: Path, mode: Mode) -> None:
    assert_same(weighbridge.load(path, framework="torch", mode=mode), theirs.load_file(path))


def test_the_drop_in_gives_what_the_library_gives(path: Path) -> None:
    assert_same(load_file(path, device="cpu"), theirs.load_file(path))
    with safe_open(path, framework="pt") as handle:
        assert handle.metadata() == {"format": "pt"}
        assert_same({name: handle.get_tensor(name) for name in handle.offset_keys()}, theirs.load_file(path))
        part = handle.get_slice("big")[1:, -7:]
        assert torch.equal(
            part.view(torch.uint8), theirs.load_file(path)["big"][1:, -7:].contiguous().view(torch.uint8)
        )
        assert part.untyped_storage().nbytes() == part.nbytes
        with pytest.raises(UnsupportedFormat):
            handle.get_slice("F4")


def test_a_tensor_is_writable_and_its_own(path: Path) -> None:
    found = load_file(path)
    found["big"].zero_()
    assert_same(load_file(path), theirs.load_file(path))


def test_a_device_that_is_none_is_refused(path: Path) -> None:
    with pytest.raises(UsageError):
        weighbridge.load(path, framework="torch", device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="none here"):
            weighbridge.load(path, framework="torch", device="cuda")


def test_the_meta_device_has_shapes_and_no_bytes(path: Path) -> None:
    found = weighbridge.load(path, framework="torch", device="meta")
    assert found["big"].shape == (3, CHUNK // 2)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_goes_to_a_device_is_verified_on_its_way(path: Path, device: str) -> None:
    from weighbridge.load.device import OnDevice
    from weighbridge.load.frameworks import framework

    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no GPU here")
    made, wanted = framework("torch", device), theirs.load_file(path)
    opened, rest = open_folder(path, None)
    with opened:
        held = OnDevice(opened, rest, torch.device(device))
        assert_same({one.name: made.tensor(held.view(one), one).cpu() for one in held.header.tensors}, wanted)
        with path.open("r+b") as file:
            file.seek(-9 - CHUNK, os.SEEK_END)
            file.write(b"\xff\xfe")
        with pytest.raises((DigestMismatch, ChangedDuringLoad)):
            OnDevice(opened, rest, torch.device(device))


def test_booleans_are_checked_on_their_way(tmp_path: Path) -> None:
    from weighbridge.load.device import OnDevice

    approved_folder(tmp_path / "b", {"m.safetensors": packed({"a": Part("BOOL", [3], b"\0\1\2")})})
    opened, _ = open_folder(tmp_path / "b", None)
    with opened, pytest.raises(MalformedHeader):
        OnDevice(opened, "m.safetensors", torch.device("cpu"))


def test_what_torch_has_not_is_refused(tmp_path: Path) -> None:
    approved_folder(tmp_path / "f", {"m.safetensors": packed({"a": Part("F6_E2M3", [4], b"abc")})})
    with pytest.raises(UnsupportedFormat, match="torch has no F6_E2M3"):
        weighbridge.load(tmp_path / "f", framework="torch")


def test_a_module_takes_what_was_verified(path: Path) -> None:
    linear = torch.nn.Linear(24, 2, bias=False)
    linear.load_state_dict({"weight": load_file(path)["F32"]})
    assert linear.weight.shape == (2, 24)
