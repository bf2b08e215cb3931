"""Sessions of ONNX Runtime from approved bytes alone."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from approving import approved
from loading import approved_folder
from onnx import TensorProto, helper

import weighbridge
from fixtures.external import WEIGHTS, model
from fixtures.onnx_models import PLAIN
from weighbridge.errors import UsageError
from weighbridge.load.folder import Folder
from weighbridge.load.onnx import _outside, load_onnx
from weighbridge.load.opening import Anchor
from weighbridge.refusals import ApprovalMissing, ConfigRefused, DigestMismatch, UnsupportedFormat

PARAMETERS = struct.pack("<4f", 1, 2, 3, 4)


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("WEIGHBRIDGE_TRUST", raising=False)
    monkeypatch.delenv("ORT_LOAD_CONFIG_FROM_MODEL", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "model"
    approved_folder(found, {"net/model.onnx": model(), "net/weights.bin": PARAMETERS})
    return found


def outside(files: dict[str, bytes], path: str, folder: Path) -> list[str]:
    """Return which files a model gets its tensors from, when all of these are approved."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    with Folder(Anchor(folder), approved(files)) as opened:
        return list(_outside(opened, path, memoryview(files[path])))


def test_external_data_are_of_approved_files(tmp_path: Path) -> None:
    assert outside({"a/m.onnx": model(), "a/weights.bin": WEIGHTS}, "a/m.onnx", tmp_path / "one") == ["weights.bin"]
    assert outside({"m.onnx": model("d/w.bin"), "d/w.bin": WEIGHTS}, "m.onnx", tmp_path / "two") == ["d/w.bin"]


@pytest.mark.parametrize(
    "target", ["other.bin", "../w.bin", "./weights.bin", "/etc/passwd", "*/_ORT_MEM_ADDR_/*", "a//w.bin"]
)
def test_external_data_elsewhere_are_refused(target: str, tmp_path: Path) -> None:
    files = {"a/m.onnx": model(target), "a/weights.bin": WEIGHTS, "w.bin": WEIGHTS, "a/a/w.bin": WEIGHTS}
    with pytest.raises(UnsupportedFormat, match="not among the approved files"):
        outside(files, "a/m.onnx", tmp_path)


def test_changed_external_data_are_refused(tmp_path: Path) -> None:
    files = {"m.onnx": model(), "weights.bin": WEIGHTS}
    assert outside(files, "m.onnx", tmp_path)
    (tmp_path / "weights.bin").write_bytes(WEIGHTS[::-1])
    with Folder(Anchor(tmp_path), approved(files)) as opened, pytest.raises(DigestMismatch):
        _outside(opened, "m.onnx", memoryview(files["m.onnx"]))


@pytest.mark.parametrize("data", [b"{}", b"\x08\x08", b"#!/bin/sh\n"])
def test_other_formats_are_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat):
        outside({"m.onnx": data}, "m.onnx", tmp_path)


def test_a_session_gives_what_the_weights_say(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    decoy = folder.parent / "decoy"
    decoy.mkdir()
    (decoy / "weights.bin").write_bytes(bytes(16))
    monkeypatch.chdir(decoy)
    session = weighbridge.load_onnx(folder / "net/model.onnx", threads=1)
    (folder / "net/weights.bin").write_bytes(bytes(16))
    assert session.run(None, {"x": np.zeros(4, np.float32)})[0].tolist() == [1, 2, 3, 4]
    options = session.get_session_options()
    assert (options.optimized_model_filepath, options.enable_profiling) == ("", False)
    assert session.get_providers() == ["CPUExecutionProvider"]


def test_a_model_that_holds_its_weights(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    approved_folder(tmp_path / "model", {"model.onnx": PLAIN})
    session: Any = load_onnx(tmp_path / "model" / "model.onnx")
    assert session.get_inputs()[0].name == "x"


def test_changed_bytes_and_missing_approvals_are_refused(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (folder / "net/weights.bin").write_bytes(bytes(16))
    with pytest.raises(DigestMismatch):
        load_onnx(folder / "net/model.onnx")
    (tmp_path / "model.onnx").write_bytes(PLAIN)
    with pytest.raises(ApprovalMissing):
        load_onnx(tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="name the model"):
        load_onnx(folder)


def test_another_provider_does_not_take_the_place_of_a_missing_one(folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(UsageError, match="has no NoSuchProvider here"):
        load_onnx(folder / "net/model.onnx", providers=["NoSuchProvider"])


def test_what_the_runtime_refuses_is_our_error(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    wrong = helper.make_node("Add", ["x", "none"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph([wrong], "graph", values[:1], values[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    approved_folder(tmp_path / "model", {"model.onnx": made.SerializeToString()})
    with pytest.raises(UnsupportedFormat, match="ONNX Runtime refuses it"):
        load_onnx(tmp_path / "model" / "model.onnx")


def test_settings_in_the_model_are_not_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("ORT_LOAD_CONFIG_FROM_MODEL", "1")
    with pytest.raises(ConfigRefused, match="ORT_LOAD_CONFIG_FROM_MODEL"):
        load_onnx(folder / "net/model.onnx")


def test_without_the_runtime_it_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UsageError, match="needs the package onnxruntime"):
        load_onnx(folder / "net/model.onnx")
