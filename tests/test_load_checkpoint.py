"""Checkpoints read from the symbolic machine: tensors and plain data, anything else refused by its name."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint, values
from hypothesis import given, settings
from hypothesis import strategies as st
from loading import approved_folder
from torch_pickles import DATA, legacy, storage, tar, view

import weighbridge
from fixtures.archives import torch_zip
from fixtures.assemble import P2, Ops
from weighbridge.errors import SourceError, UsageError
from weighbridge.load.checkpoint import load_checkpoint
from weighbridge.refusals import ApprovalMissing, DigestMismatch, UnsafeEntry, UnsupportedFormat

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("WEIGHBRIDGE_TRUST", raising=False)


def write(folder: Path, value: object, storages: dict[str, bytes] | None = None) -> Path:
    path = folder / "model.pt"
    path.write_bytes(torch_zip(P2.stream(value), {"0": DATA} if storages is None else storages))
    return path


def loaded(path: Path, **options: Any) -> Any:
    return load_checkpoint(path, unapproved=True, **options)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(UnsupportedFormat) as caught:
        loaded(path, **options)
    return str(caught.value)


def test_an_approved_checkpoint_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    approved_folder(folder, {"pytorch_model.bin": checkpoint({"a": (2, 3), "b": (4,)}, {"c": "a"})})
    found = weighbridge.load_checkpoint(folder / "pytorch_model.bin")
    assert list(found) == ["a", "b", "c"]
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["b"].tolist() == [1000, 1001, 1002, 1003]
    assert np.shares_memory(found["a"], found["c"])


def test_what_the_package_offers_is_listed_without_being_imported() -> None:
    assert set(weighbridge.__all__) <= set(dir(weighbridge))
    for name in weighbridge.__all__:
        assert getattr(weighbridge, name) is not None


def test_without_an_approval_nothing_is_loaded(tmp_path: Path) -> None:
    path = write(tmp_path, {"w": view()})
    with pytest.raises(ApprovalMissing):
        load_checkpoint(path)
    assert loaded(path)["w"].tolist() == list(range(12))


def test_a_changed_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    data = checkpoint({"a": (64,)})
    approved_folder(folder, {"model.pt": data})
    place = data.index(values(64))
    (folder / "model.pt").write_bytes(data[:place] + b"\1" + data[place + 1 :])
    with pytest.raises(DigestMismatch):
        load_checkpoint(folder / "model.pt")
    (folder / "model.pt").write_bytes(data + b"\0")
    with pytest.raises(DigestMismatch):
        load_checkpoint(folder / "model.pt")
    with pytest.raises(UsageError, match="name the checkpoint"):
        load_checkpoint(folder)


def test_links_and_missing_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"w": view()}).rename(tmp_path / "there.pt")
    (tmp_path / "model.pt").symlink_to("there.pt")
    with pytest.raises(UnsafeEntry):
        loaded(tmp_path / "model.pt")
    with pytest.raises(SourceError, match=r"none\.pt: no such file"):
        loaded(tmp_path / "none.pt")


def test_a_write_after_the_load_changes_no_tensor(tmp_path: Path) -> None:
    path = write(tmp_path, {"w": view()})
    found = loaded(path)["w"]
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    path.write_bytes(b"")
    assert found.tolist() == list(range(12))


def test_containers_and_plain_data_are_exact(tmp_path: Path) -> None:
    ordered = Ops(P2.call("collections:OrderedDict") + b"(" + P2.value("k") + P2.value(1) + b"u")
    value: dict[Any, Any] = {
        "epoch": 3,
        "rate": 1e-3,
        "infinite": float("inf"),
        "name": "x" * 5000,
        "none": None,
        "flags": [True, False, (1, (2.5, "y"))],
        7: {"nested": {"w": view((3, 4), (4, 1))}},
        "ordered": ordered,
        "size": P2.call("torch:Size", [1, 2]),
        "device": P2.call("torch:device", "cuda", 1),
        "dtype": P2.name("torch", "float16"),
        "bytes": P2.call("_codecs:encode", "\x00ÿ", "latin1"),
        "set": P2.call("__builtin__:set", [1, 2]),
        "complex": P2.call("builtins:complex", 1.0, -2.0),
        "large": 1 << 80,
        "empty": P2.call("collections:defaultdict", P2.name("builtins", "list")),
    }
    found = loaded(write(tmp_path, value))
    assert found[7]["nested"].pop("w").tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    wanted: dict[Any, Any] = {
        **{key: value[key] for key in ("epoch", "rate", "infinite", "name", "none", "flags", "large")},
        7: {"nested": {}},
        "ordered": {"k": 1},
        "size": (1, 2),
        "device": "cuda:1",
        "dtype": "torch.float16",
        "bytes": b"\x00\xff",
        "set": {1, 2},
        "complex": 1 - 2j,
        "empty": {},
    }
    assert found == wanted
    assert type(found["flags"][2]) is tuple


def test_what_is_one_object_twice_stays_one(tmp_path: Path) -> None:
    shared = Ops(P2.list_of(1) + b"q\x05")
    found = loaded(write(tmp_path, {"a": shared, "b": Ops(b"h\x05")}))
    found["a"].append(2)
    assert found["b"] == [1, 2]


def test_views_in_another_order_are_copied(tmp_path: Path) -> None:
    found = loaded(
        write(tmp_path, {"t": view((4, 3), (1, 4)), "part": view((2, 2), (4, 2), 1), "none": view((0, 3), (3, 1))})
    )
    assert found["t"].tolist() == np.arange(12).reshape(3, 4).T.tolist()
    assert found["part"].tolist() == [[1, 3], [5, 7]]
    assert found["none"].shape == (0, 3)


def test_one_number_repeated_a_billion_times_is_refused(tmp_path: Path) -> None:
    assert "repeat their numbers" in refusal(write(tmp_path, {"w": view((1 << 30,), (0,))}))


def test_older_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(legacy({"w": view((3, 4), (4, 1))}, ["0"], struct.pack("<q", 12) + DATA))
    assert loaded(path)["w"].tolist() == np.arange(12).reshape(3, 4).tolist()
    path.write_bytes(tar({"w": Ops(P2.value("7") + b"Q")}))
    assert loaded(path)["w"].shape == (3, 4)
    found = loaded(FIXTURES / "torch" / "state_dict.pt")
    assert found


OF_A_CLASS = P2.call(
    "torch._tensor:_rebuild_from_type_v2",
    P2.name("torch._utils", "_rebuild_tensor_v2"),
    P2.name("evil", "T"),
    (storage(), 0, (12,), (1,), False, None),
    None,
)
HOSTILE = {
    "a call": ({"w": view(), "x": P2.call("os:system", "true")}, "an object of os.system"),
    "a call that is dropped": (Ops(P2.call("os:system", "true") + b"0" + P2.value({"w": view()})), "os.system"),
    "a call among the hooks": (
        {"w": P2.call("torch._utils:_rebuild_tensor_v2", storage(), 0, (12,), (1,), False, P2.call("os:system", "a"))},
        "os.system",
    ),
    "an object": ({"w": view(), "x": P2.newobj("argparse:Namespace")}, "argparse.Namespace"),
    "a name": ({"w": view(), "x": P2.name("os", "system")}, "os.system"),
    "a numpy scalar": ({"x": P2.call("numpy.core.multiarray:scalar", P2.call("numpy:dtype", "f8"), "1234")}, "numpy"),
    "code for a key": ({P2.call("os:system", "true"): 1}, "os.system"),
    "a list for a key": (Ops(b"}(" + P2.value([1]) + P2.value(1) + b"u"), "a key that is a list"),
    "an extension": ({"x": Ops(b"\x82\xf0")}, "extension"),
    "a container in itself": (Ops(b"]q\x07h\x07a"), "holds itself"),
    "a storage": ({"x": storage()}, "persistent id"),
    "a sparse tensor": ({"x": P2.call("torch._utils:_rebuild_sparse_tensor", 0, ())}, "sparse"),
    "a sparse tensor and its layout": (
        {"x": P2.call("torch._utils:_rebuild_sparse_tensor", P2.call("torch.serialization:_get_layout", "s"), ())},
        "a sparse tensor; save its to_dense",
    ),
    "a class of tensor": ({"x": OF_A_CLASS}, "class evil.T"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "named"), HOSTILE.values(), ids=HOSTILE)
def test_anything_else_is_refused_by_its_name(value: object, named: str, tmp_path: Path) -> None:
    text = refusal(write(tmp_path, value))
    assert named in text
    assert text.startswith(f"{tmp_path.as_posix()}/model.pt: ")
    assert "[LOAD_FORMAT]" in text


def test_a_group_of_tensors_can_be_had_alone(tmp_path: Path) -> None:
    value = {"model": {"a": view(), "b": view((3, 4), (4, 1))}, "arguments": P2.newobj("argparse:Namespace")}
    path = write(tmp_path, value)
    assert "argparse.Namespace" in refusal(path)
    found = loaded(path, state_dict="model")
    assert {name: one.shape for name, one in found.items()} == {"a": (12,), "b": (3, 4)}
    assert "there is nothing at" in refusal(path, state_dict="none")
    path = write(tmp_path, {"model": {"a": P2.call("torch._utils:_rebuild_sparse_tensor")}})
    assert "sparse" in refusal(path, state_dict="model")


@pytest.mark.parametrize("name", ["safetensors/plain.safetensors", "pickle/os_system.pkl", "torch/torchscript.pt"])
def test_other_files_are_no_checkpoints(name: str, tmp_path: Path) -> None:
    known = FIXTURES / name
    if not known.exists():
        known = next(known.parent.iterdir())
    assert refusal(known)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_give_tensors_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = checkpoint({"a": (2, 3), "b": (5,)}, beside={"epoch": 1})
    place = data.draw(st.integers(0, len(whole) - 1))
    broken = whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + data.draw(st.integers(0, 4)) :]
    path = tmp_path_factory.mktemp("damaged") / "model.pt"
    path.write_bytes(broken)
    try:
        loaded(path)
    except UnsupportedFormat as error:
        assert str(error).isprintable()


def test_torch_agrees(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    value: dict[str, Any] = {
        "model": {
            "w": base,
            "t": base.t(),
            "part": base[1:3, 2:5],
            "bf16": base.to(torch.bfloat16),
            "f8": base.to(torch.float8_e4m3fn),
            "u16": torch.arange(6).to(torch.uint16),
            "bool": base > 3,
            "scalar": torch.tensor(2.5),
            "empty": torch.empty(0, 3),
            "parameter": torch.nn.Parameter(base[0].clone()),
        },
        "optimizer": torch.optim.Adam([torch.nn.Parameter(base.clone())]).state_dict(),
        "plain": {"epoch": 3, "rates": [0.1, 0.2], "betas": (0.9, 0.999), "name": None},
    }
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        if options:
            del value["model"]["u16"], value["model"]["f8"]  # torch writes them so, and cannot read them
        path = tmp_path / "model.pt"
        torch.save(value, path, **options)
        mine = loaded(path, framework="torch")
        theirs = torch.load(path, weights_only=True)
        _assert_same(torch, mine, theirs)
        assert mine["model"]["w"].untyped_storage().nbytes() >= 96


def _assert_same(torch: Any, mine: Any, theirs: Any) -> None:
    if isinstance(theirs, torch.Tensor):
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine.to(torch.float64), theirs.to(torch.float64))
    elif isinstance(theirs, dict):
        assert list(mine) == list(theirs)
        for key in theirs:
            _assert_same(torch, mine[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert type(mine) is type(theirs)
        for one, other in zip(mine, theirs, strict=True):
            _assert_same(torch, one, other)
    else:
        assert mine == theirs
