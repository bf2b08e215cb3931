"""`weighbridge convert` and `weighbridge tensors` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch_pickles import DATA, view, write

from weighbridge import cli
from weighbridge.cli.group import run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    optimizer = {"state": {0: {"m": view((3,), (1,))}}, "param_groups": []}
    write(tmp_path, {"weights": {"a": view((3, 4), (4, 1)), "b": view((3, 4), (4, 1))}, "opt": optimizer, "epoch": 7})
    return tmp_path


def test_a_conversion_says_what_it_did(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["convert", "model.pt", "out.safetensors"]) == 0
    assert capfdbinary.readouterr().out.decode().splitlines() == [
        "out.safetensors: 2 tensors, 96 B, from torch-zip model.pt at weights",
        "  every byte compared; 2 digests and 1 value in out.conversion.json",
        "  tied, written as often as named; --drop-aliases writes it once:",
        "    b = a",
        "  left out:",
        "    opt: optimizer state",
    ]
    assert run(["convert", "--verify", "model.pt", "out.safetensors"]) == 0
    told = capfdbinary.readouterr().out.decode()
    assert told == "out.safetensors has the 2 tensors of model.pt at weights: every byte compared\n"


def test_the_record_as_a_document(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["convert", "model.pt", "out.safetensors", "--format", "json", "--drop-aliases"]) == 0
    document = json.loads(capfdbinary.readouterr().out)
    assert document == json.loads((folder / "out.conversion.json").read_text())
    assert (document["aliases"], document["aliases_dropped"], document["scalars"]) == ({"b": "a"}, True, {"epoch": 7})
    assert run(["convert", "--verify", "model.pt", "out.safetensors", "--format", "json"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["verified"] is True


@pytest.mark.parametrize(
    "option", [("--policy", "strict"), ("--fail-at", "low"), ("--set", "gaps=fail"), ("--waivers", "w.yaml")]
)
def test_no_policy_is_passed_over_for_a_file(
    folder: Path, option: tuple[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli._run(run, ["convert", "model.pt", "out.safetensors", *option]) == 2
    assert "a policy is for folders" in capfd.readouterr().err


def test_exit_statuses(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", "model.pt", "out.safetensors", "--copy-only"]) == 0
    assert "nothing compared" in capfd.readouterr().out
    data = (folder / "out.safetensors").read_bytes()
    (folder / "out.safetensors").write_bytes(data[:-1] + b"x")
    assert run(["convert", "--verify", "model.pt", "out.safetensors"]) == 1
    assert "differs: out.safetensors@" in capfd.readouterr().err
    for other in (b"", b"{}", b"\x80\x04N."):
        (folder / "out.safetensors").write_bytes(other)
        assert run(["convert", "--verify", "model.pt", "out.safetensors"]) == 1
        assert "differs: out.safetensors@" in capfd.readouterr().err
    assert run(["convert", "model.pt", "other.safetensors", "--state-dict", "nothing"]) == 3
    assert "cannot convert: model.pt!archive/data.pkl@0x0: there is nothing at" in capfd.readouterr().err
    write(folder, {f"t{index}": view((13,), (1,)) for index in range(3)})
    assert run(["convert", "model.pt", "other.safetensors"]) == 3
    assert [line.split(": ")[3] for line in capfd.readouterr().err.splitlines()] == [
        f"tensor 't{index}' (float32)" for index in range(3)
    ]
    assert not (folder / "other.safetensors").exists()


def test_a_listing(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["tensors", "model.pt", "--stats"]) == 0
    assert capfdbinary.readouterr().out.decode().splitlines() == [
        "weights.a      F32  3x4  48 B  min 0  max 11  mean 5.5  zero 1  nan 0",
        "weights.b      F32  3x4  48 B  min 0  max 11  mean 5.5  zero 1  nan 0  = weights.a",
        "opt.state.0.m  F32  3    12 B  min 0  max 2  mean 1  zero 1  nan 0",
    ]
    assert run(["tensors", "model.pt", "--digest", "--format", "json"]) == 0
    document = json.loads(capfdbinary.readouterr().out)
    assert [one["name"] for one in document["tensors"]] == ["weights.a", "weights.b", "opt.state.0.m"]
    assert document["tensors"][0]["digest"] == document["tensors"][1]["digest"]
    (folder / "text").write_bytes(DATA)
    assert run(["tensors", "text"]) == 3
