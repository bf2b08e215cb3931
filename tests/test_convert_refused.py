"""What conversions of torch's files refuse, with the tensor and the member that it is about."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from converting import convert_to
from torch_pickles import DATA, refusal, storage, view, write

from fixtures.archives import Entry, torch_entries, torch_zip, zip_archive
from fixtures.assemble import P2, Ops
from weighbridge.convert.conversion import convert


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (view((12,), (1,), 1), "reaches to byte 52 of archive/data/0, which has 48"),
        (view((4, 4), (4, 1)), "reaches to byte 64"),
        (view((12,), (-1,), 11), "not numbers from 0 on"),
        (view((12,), (1,), -1), "not numbers from 0 on"),
        (view((-12,), (1,)), "not numbers from 0 on"),
        (view((12,), (1, 1)), "not numbers from 0 on"),
        (view((1 << 63,), (1,)), "not numbers from 0 on"),
        (view((12.0,), (1,)), "not numbers from 0 on"),
        (view((True,), (1,)), "not numbers from 0 on"),
        (view("12", (1,)), "without a storage, offset, shape and strides"),
        (view(of=P2.call("torch:FloatStorage")), "without a storage, offset, shape and strides"),
        (view(of=storage("7")), "its storage '7' is not in the file"),
        (view(of=storage("1", 11)), "archive/data/1 has 48 bytes, the pickle says 44"),
        (view(of=storage("1", 13)), "archive/data/1 has 48 bytes, the pickle says 52"),
        (view(of=storage("1", 3, "ComplexDoubleStorage")), "complex128 has no equivalent.*view_as_real"),
        (view(of=storage("1", 48, "QInt8Storage")), "qint8 has no equivalent.*dequantize"),
        (P2.call("torch._utils:_rebuild_sparse_tensor", 0, 0), "a sparse tensor; save its to_dense"),
        (P2.call("torch._utils:_rebuild_qtensor", 0), "a quantised tensor; dequantize"),
        (P2.call("torch._utils:_rebuild_nested_tensor", 0), "a nested tensor; save its parts"),
        (P2.call("torch._utils:_rebuild_wrapper_subclass", 0), "a tensor subclass around other tensors"),
        (P2.call("torch._utils:_rebuild_meta_tensor_no_storage", 0), "a meta tensor, which has no data"),
        (P2.call("torch._utils:_rebuild_of_tomorrow", 0), "a tensor that torch rebuilds with _rebuild_of_tomorrow"),
        (P2.call("os:system", "true"), "an object among the tensors: os.system"),
        (P2.call("models:Thing", view()), "an object among the tensors: models.Thing"),
        (Ops(view() + P2.tuple_of(view((6,), (1,)), 1) + b"b"), "a state that may replace its data"),
        (Ops(view() + b"K\x00K\x01s"), "items are set on the tensor"),
    ],
)  # fmt: skip
def test_a_tensor_that_cannot_be_taken_is_named(value: object, reason: str, tmp_path: Path) -> None:
    told = refusal(write(tmp_path, {"fine": view(), "bad": value}, {"0": DATA, "1": DATA}))
    assert re.search(reason, told)
    assert "'bad'" in told
    assert "model.pt!archive/data.pkl@0x" in told


@pytest.mark.parametrize("kind", ["int4", "uint3", "bits8", "complex32", "qint8", "float999"])
def test_dtypes_without_a_form_are_named(kind: str, tmp_path: Path) -> None:
    of = storage(count=48, kind="UntypedStorage", module="torch.storage")
    value = P2.call("torch._utils:_rebuild_tensor_v3", of, 0, (2,), (1,), False, P2.dict_of({}), P2.name("torch", kind))
    assert f"'w' ({kind}): dtype {kind} has no equivalent" in refusal(write(tmp_path, {"w": value}))


def test_conjugate_views_are_refused(tmp_path: Path) -> None:
    of = storage(count=6, kind="ComplexFloatStorage")
    hooks, mark = P2.dict_of({}), P2.dict_of({"conj": True})
    value = P2.call("torch._utils:_rebuild_tensor_v2", of, 0, (6,), (1,), False, hooks, mark)
    assert "conjugate" in refusal(write(tmp_path, {"w": value}))


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({0: view(), "0": view((3,), (1,))}, "two tensors would have this name"),
        ({"a.b": view(), "a": {"b": view((3,), (1,))}}, "two tensors would have this name"),
        ({"__metadata__": view()}, "reserved"),
        ({"": view(), "a": view()}, "empty or cannot be printed"),
        ({"a\nb": view()}, "cannot be printed"),
        ({"x" * 513: view()}, "more than 512 bytes"),
        ({"../x": view()}, "a path out of a folder"),
        ({(1, 2): view(), "a": view()}, "neither a text nor a number"),
        ({None: view(), "a": view()}, "neither a text nor a number"),
    ],
)
def test_names_that_clash_or_make_no_sense_are_refused(
    state: dict[object, object], reason: str, tmp_path: Path
) -> None:
    assert reason in refusal(write(tmp_path, state), state_dict=".")


def test_many_refusals_are_listed(tmp_path: Path) -> None:
    told = refusal(write(tmp_path, {f"t{index}": view((12,), (1,), 1) for index in range(30)}))
    assert "30 things stand in the way" in told
    assert "'t19'" in told
    assert "and 10 more" in told


def test_a_small_file_does_not_become_a_large_one(tmp_path: Path) -> None:
    path = write(tmp_path, {"bomb": view((1 << 40,), (0,)), "w": view()})
    told = refusal(path)
    assert "bomb alone takes 4398046511104" in told
    path = write(tmp_path, {"wide": view((1 << 23,), (0,))})
    assert "--max-output" in refusal(path)
    made = convert(path, tmp_path / "out.safetensors", max_output=1 << 25)
    assert made.size == 1 << 25


def archive(**changes: Any) -> bytes:
    """Return a checkpoint whose storage member has other fields."""
    entries = torch_entries(P2.stream({"w": view()}), {})
    return zip_archive(*entries, Entry(**{"name": "archive/data/0", "data": DATA, "align": 64, **changes}))


ODD = {
    "deflated": (archive(method=8), "'w'.*archive/data/0: it is compressed"),
    "short": (archive(data=DATA[:40]), "'w'.*archive/data/0 has 40 bytes, the pickle says 48"),
    "long": (archive(data=DATA + b"more"), "'w'.*archive/data/0 has 52 bytes, the pickle says 48"),
    "crc": (archive(crc=1, local_crc=1), "'w'.*archive/data/0 has CRC [0-9a-f]{8}, said to be 00000001"),
    "local crc": (archive(local_crc=1), "readers of zip files differ on it: 'archive/data/0'"),
    "size": (archive(size=40), "readers of zip files differ on it: 'archive/data/0'"),
    "encrypted": (archive(flags=1), "'archive/data/0' is marked as encrypted"),
    "local name": (archive(local_name="archive/data/9"), "'archive/data/0' in the directory"),
    "missing": (torch_zip(P2.stream({"w": view()})), "'w'.*its storage '0' is not in the file"),
    "twice": (
        zip_archive(*torch_entries(P2.stream({"w": view()}), {"0": DATA}), Entry(name="archive/data/0", data=DATA)),
        "'archive/data/0' is in the archive",
    ),
    "two pickles": (
        zip_archive(*torch_entries(P2.stream({"w": view()}), {"0": DATA}), Entry(name="b/data.pkl", data=P2.stream(1))),
        "there is not one pickle in one folder",
    ),
    "another folder": (
        zip_archive(*torch_entries(P2.stream({"w": view()}), {"0": DATA}), Entry(name="b/data/0", data=DATA)),
        "'b/data/0' is outside the folder 'archive'",
    ),
    "gap": (zip_archive(*torch_entries(P2.stream({"w": view()}), {"0": DATA}), gap=b"x"), "belong to no member"),
    "prefix": (
        zip_archive(*torch_entries(P2.stream({"w": view()}), {"0": DATA}), prefix=b"PK\x03\x04"),
        "belong to no member",
    ),
    "big-endian": (
        zip_archive(*[one for one in torch_entries(P2.stream({"w": view()}), {"0": DATA}) if "order" not in one.name],
                    Entry(name="archive/byteorder", data=b"big")),
        "big-endian",
    ),
    "behind the pickle": (torch_zip(P2.stream({"w": view()}) + b"x", {"0": DATA}), "1 bytes behind the pickle"),
    "broken pickle": (torch_zip(P2.stream({"w": view()})[:-1], {"0": DATA}), "the pickle does not end"),
    "storage conflict": (
        torch_zip(P2.stream({"w": view(), "v": view(of=storage(kind="IntStorage"))}), {"0": DATA}),
        "storage '0' is 48 bytes of float32, and 48 of int32",
    ),
    "unknown storage": (
        torch_zip(P2.stream({"w": view(), "v": storage(kind="OddStorage")}), {"0": DATA}),
        "names no storage that torch knows",
    ),
    "torchscript": (
        zip_archive(*torch_entries(P2.stream({"w": view()}), {"0": DATA}), Entry(name="archive/code/m.py", data=b"")),
        "TorchScript",
    ),
    "no tensors": (torch_zip(P2.stream({"a": 1})), "there are no tensors in it"),
    "not weights": (b"GGUF" + bytes(100), "no container that is known here"),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_a_container_that_readers_take_differently_is_refused(what: str, tmp_path: Path) -> None:
    data, reason = ODD[what]
    path = tmp_path / "model.pt"
    path.write_bytes(data)
    assert re.search(reason, refusal(path))


def test_archives_without_checksums_are_taken(tmp_path: Path) -> None:
    entries = torch_entries(P2.stream({"w": view()}), {"0": DATA})
    silent = [Entry(name=one.name, data=one.data, align=64, crc=0, local_crc=0) for one in entries]
    path = tmp_path / "model.pt"
    path.write_bytes(zip_archive(*silent))
    _, found = convert_to(path)
    assert found["w"][1].tolist() == list(range(12))
