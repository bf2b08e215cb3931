"""The load format of vLLM, against its published interface; numpy stands in for torch where that is not installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import standing_in_for_vllm as vllm
from loading import Part, approved_folder, packed

from weighbridge.errors import UsageError, WeighbridgeError
from weighbridge.load.frameworks import framework
from weighbridge.load.vllm import register
from weighbridge.refusals import ApprovalMissing, DigestMismatch, UnsupportedFormat

Get = Callable[[vllm.LoadConfig], Any]
MODEL = {
    "config.json": b"{}",
    "a.safetensors": packed({"w": Part("F32", (2,), b"\0\0\x80\x3f" * 2)}),
    "b.safetensors": packed({"v": Part("F32", (1,), b"\0\0\0\x40")}),
}


@pytest.fixture
def get(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Get]:
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("WEIGHBRIDGE_TRUST", raising=False)
    modules, found = vllm.modules()
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    if find_spec("torch") is None:
        monkeypatch.setattr("weighbridge.load.loading.framework_of", lambda _, device: framework("numpy", device))
    register()
    yield found


def load(get: Get, folder: Path, model: vllm.Module | None = None, **extra: Any) -> dict[str, Any]:
    config = vllm.LoadConfig(load_format="weighbridge", model_loader_extra_config=extra)
    model = model or vllm.Module()
    loader = get(config)
    loader.load_weights(model, vllm.ModelConfig(model=str(folder)))
    return {name: one.tolist() for name, one in model.weights.items()}


def test_a_worker_gets_the_approved_tensors(get: Get, tmp_path: Path) -> None:
    approved_folder(tmp_path / "model", MODEL)
    assert load(get, tmp_path / "model") == {"w": [1, 1], "v": [2]}
    assert load(get, tmp_path / "model", mode="stream", enable_multithread_load=True) == {"w": [1, 1], "v": [2]}


def test_a_trust_policy_can_be_given(get: Get, tmp_path: Path) -> None:
    approved_folder(tmp_path / "model", MODEL)
    with pytest.raises(WeighbridgeError, match=r"none\.toml"):
        load(get, tmp_path / "model", trust=str(tmp_path / "none.toml"))


def test_secondary_weights_have_to_be_approved_too(get: Get, tmp_path: Path) -> None:
    approved_folder(tmp_path / "model", MODEL)
    approved_folder(tmp_path / "other", {"x/c.safetensors": packed({"u": Part("U8", (1,), b"\7")})})
    model = vllm.Module()
    source = vllm.DefaultModelLoader.Source(str(tmp_path / "other"), None, subfolder="x", prefix="head.")
    model.secondary_weights = (source,)
    assert load(get, tmp_path / "model", model)["head.u"] == [7]
    (tmp_path / "other" / "approval.json").unlink()
    with pytest.raises(ApprovalMissing):
        load(get, tmp_path / "model", model)


def test_nothing_else_is_loaded(get: Get, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    approved_folder(folder, MODEL)
    (folder / "c.safetensors").write_bytes(packed({"stray": Part("U8", (1,), b"\7")}))
    assert "stray" not in load(get, folder)
    (folder / "b.safetensors").write_bytes(MODEL["b.safetensors"][:-1] + b"\x41")
    with pytest.raises(DigestMismatch):
        load(get, folder)
    with pytest.raises(UsageError, match="not a folder"):
        load(get, Path("org/model"))
    model = vllm.Module()
    model.allow_patterns_overrides = ["original/*.pth"]
    with pytest.raises(UnsupportedFormat, match="pth"):
        load(get, folder, model)


def test_downloading_is_looking_at_the_approval(get: Get, tmp_path: Path) -> None:
    loader = get(vllm.LoadConfig(load_format="weighbridge"))
    approved_folder(tmp_path / "model", MODEL)
    loader.download_model(vllm.ModelConfig(model=str(tmp_path / "model")))
    (tmp_path / "model" / "approval.json").unlink()
    with pytest.raises(ApprovalMissing):
        loader.download_model(vllm.ModelConfig(model=str(tmp_path / "model")))
    with pytest.raises(UnsupportedFormat):
        loader._prepare_weights("org/model", None, None, True, None)


def test_options_of_vllm_are_its_own_to_check(get: Get) -> None:
    with pytest.raises(ValueError, match="Unexpected extra config keys"):
        get(vllm.LoadConfig(load_format="weighbridge", model_loader_extra_config={"none": 1}))
    with pytest.raises(UsageError, match="not an object"):
        get(vllm.LoadConfig(load_format="weighbridge", model_loader_extra_config="text"))


def test_the_configuration_of_the_caller_stays_as_it_is(get: Get) -> None:
    config = vllm.LoadConfig(load_format="weighbridge", model_loader_extra_config={"mode": "lazy"})
    get(config)
    assert config.model_loader_extra_config == {"mode": "lazy"}


def test_vllm_finds_the_plugin() -> None:
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    assert '[project.entry-points."vllm.general_plugins"]\nweighbridge = "weighbridge.load.vllm:register"' in project
    points = [one for one in metadata.entry_points(group="vllm.general_plugins") if one.name == "weighbridge"]
    assert all(one.load() is register for one in points)
