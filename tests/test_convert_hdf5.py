"""HDF5 as a source: Keras' files, every layout, and everything in the format that leads out of a file."""

from __future__ import annotations

import shutil
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converting import assert_equal, convert_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weighbridge.convert.conversion import convert, listing
from weighbridge.convert.dtypes import NUMPY
from weighbridge.convert.plan import Range
from weighbridge.errors import ArtifactError, MissingExtraError, UnconvertibleError

h5py = pytest.importorskip("h5py")

FILES = Path(__file__).parent / "checkpoint_files"
VALUES = np.arange(24, dtype="f4").reshape(4, 6)


def keras() -> list[bytes]:
    """Return the bytes of the weights that Keras says its files have."""
    with np.load(FILES / "keras.npz") as found:
        return sorted(array.tobytes() for array in found.values())


@pytest.mark.parametrize(
    ("name", "first", "chosen"),
    [
        ("model.keras", "layers/batch_normalization/vars/0", ""),
        ("model.weights.h5", "layers/batch_normalization/vars/0", ""),
        ("legacy.h5", "batch_normalization/sequential/batch_normalization/beta", "model_weights"),
    ],
)
def test_keras(tmp_path: Path, name: str, first: str, chosen: str) -> None:
    shutil.copy(FILES / name, tmp_path)
    made, found = convert_to(tmp_path / name)
    assert sorted(array.tobytes() for _, array in found.values()) == keras()
    assert (min(found), made.state_dict) == (first, chosen)
    assert all(isinstance(one.data, tuple) and one.data[0].store == 0 for one in made.tensors)


def write(place: Path, **datasets: Any) -> Any:
    """Return an open file with these datasets."""
    file = h5py.File(place, "w")
    for name, data in datasets.items():
        file.create_dataset(name, data=data)
    return file


@pytest.mark.parametrize("kind", sorted({kind for kind in NUMPY if kind != "?"}))
@pytest.mark.parametrize("order", "<>")
def test_every_type_in_either_order_of_bytes(tmp_path: Path, kind: str, order: str) -> None:
    values = np.arange(6).reshape(2, 3).astype(f"{order}{kind}")
    with write(tmp_path / "a.h5", values=values, scalar=values[1, 2], empty=values[:0]) as file:
        file.create_dataset("packed", data=values, compression="gzip", shuffle=True)
    _, found = convert_to(tmp_path / "a.h5")
    assert_equal(found, {"values": values, "scalar": values[1, 2], "empty": values[:0], "packed": values})


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (3, 2)},
        {"chunks": (3, 2), "compression": "gzip"},
        {"chunks": (3, 2), "compression": "lzf", "fletcher32": True},
        {"chunks": True, "maxshape": (None, None)},
        {"chunks": (3, 2), "scaleoffset": 0, "dtype": "i4"},
    ],
)
def test_what_does_not_lie_in_one_piece_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    with write(tmp_path / "a.h5") as file:
        file.create_dataset("x", data=VALUES.astype(options.get("dtype", "f4")), **options)
    made, found = convert_to(tmp_path / "a.h5")
    assert_equal(found, {"x": VALUES.astype(options.get("dtype", "f4"))})
    (tensor,) = made.tensors
    assert isinstance(tensor.data, tuple)
    assert [type(one) is Range and one.store for one in tensor.data] == [1]


def test_a_dataset_larger_than_a_piece(tmp_path: Path) -> None:
    values = np.arange(3 << 20, dtype="i4").reshape(3, 1 << 20)
    with write(tmp_path / "a.h5") as file:
        file.create_dataset("x", data=values, chunks=(1, 1 << 18))
    _, found = convert_to(tmp_path / "a.h5")
    assert_equal(found, {"x": values})


def test_texts_and_attributes_go_to_the_record_and_groups_become_paths(tmp_path: Path) -> None:
    with write(tmp_path / "a.h5", text="hello", names=["a", "b"]) as file:
        file.create_dataset("layers/dense/kernel:0", data=VALUES)
        file.attrs["model_config"] = '{"a": 1}'
        file.attrs["count"] = 3
    made, found = convert_to(tmp_path / "a.h5")
    assert_equal(found, {"layers/dense/kernel:0": VALUES})
    assert made.scalars == {"@model_config": '{"a": 1}', "text": "hello", "names": ["a", "b"]}


def test_an_optimizer_is_left_out_and_can_be_asked_for(tmp_path: Path) -> None:
    with write(tmp_path / "a.h5") as file:
        file.create_dataset("layers/w", data=VALUES)
        file.create_dataset("optimizer/vars/0", data=np.int64(3))
    made, found = convert_to(tmp_path / "a.h5")
    assert list(found) == ["layers/w"]
    assert [(one.path, one.what) for one in made.dropped] == [("optimizer", "variables of an optimizer")]
    assert made.state_dict == ""
    made, found = convert_to(tmp_path / "a.h5", state_dict="optimizer", overwrite=True)
    assert list(found) == ["vars/0"]
    _, found = convert_to(tmp_path / "a.h5", state_dict=".", overwrite=True)
    assert sorted(found) == ["layers/w", "optimizer/vars/0"]
    with pytest.raises(UnconvertibleError, match="nothing at --state-dict ema; groups are at: layers, optimizer"):
        convert(tmp_path / "a.h5", tmp_path / "out.safetensors", state_dict="ema")


def test_bfloat16_as_keras_keeps_it(tmp_path: Path) -> None:
    with write(tmp_path / "a.h5") as file:
        file.create_dataset("x", data=np.array([1, 2], "u2").view("V2")).attrs["dtype"] = "bfloat16"
    _, found = convert_to(tmp_path / "a.h5")
    assert (found["x"][0], found["x"][1].tolist()) == ("BF16", [1, 2])


def test_one_dataset_under_two_names_is_an_alias(tmp_path: Path) -> None:
    with write(tmp_path / "a.h5", a=VALUES) as file:
        file["b"] = file["a"]
    made, found = convert_to(tmp_path / "a.h5")
    assert_equal(found, {"a": VALUES, "b": VALUES})
    assert made.aliases == {"b": "a"}


def _external_link(file: Any, folder: Path) -> None:
    write(folder / "other.h5", secret=VALUES).close()
    file["x"] = h5py.ExternalLink(str(folder / "other.h5"), "secret")


def _external_group(file: Any, folder: Path) -> None:
    write(folder / "other.h5", secret=VALUES).close()
    file["model_weights"] = h5py.ExternalLink(str(folder / "other.h5"), "/")


def _external_storage(file: Any, folder: Path) -> None:
    file.create_dataset("x", shape=(4,), dtype="u1", external=[("/etc/hostname", 0, 4)])


def _virtual(file: Any, folder: Path) -> None:
    write(folder / "other.h5", secret=VALUES).close()
    layout = h5py.VirtualLayout(shape=(4, 6), dtype="f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "secret", shape=(4, 6))
    file.create_virtual_dataset("x", layout)


def _soft(file: Any, folder: Path) -> None:
    file["x"] = h5py.SoftLink("/w")


def _dangling(file: Any, folder: Path) -> None:
    file["x"] = h5py.SoftLink("/nothing")


def _cycle(file: Any, folder: Path) -> None:
    group = file.create_group("g")
    group["again"] = file["/"]


def _filter(file: Any, folder: Path) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((4,))
    plist.set_filter(32123, h5py.h5z.FLAG_OPTIONAL)
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, plist)


def _type(file: Any, folder: Path) -> None:
    file.create_dataset("x", data=np.zeros(2, [("a", "f4"), ("b", "i4")]))


def _opaque(file: Any, folder: Path) -> None:
    file.create_dataset("x", data=np.zeros(2, "V2"))


def _references(file: Any, folder: Path) -> None:
    file.create_dataset("x", (1,), dtype=h5py.ref_dtype)


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (_external_link, "'x': a link to another file"),
        (_external_group, "a link to another file"),
        (_external_storage, "'x': its data are in another file"),
        (_virtual, "'x': its data are those of other datasets"),
        (_soft, "'x': a link to another name"),
        (_dangling, "'x': a link to another name"),
        (_cycle, "twice, perhaps in itself"),
        (_filter, "'x': filter 32123 is not one of the library's own"),
        (_type, "'x' .*has no equivalent"),
        (_opaque, "'x' .*has no equivalent"),
        (_references, "'x' .*has no equivalent"),
    ],
)
def test_what_leads_elsewhere_is_refused_by_name(tmp_path: Path, bend: Any, reason: str) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    with write(tmp_path / "a.h5", w=VALUES) as file:
        bend(file, folder)
    with pytest.raises(ArtifactError, match=reason):
        convert(tmp_path / "a.h5", tmp_path / "out.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "elsewhere"]


def test_a_path_is_not_followed_through_links_either(tmp_path: Path) -> None:
    with write(tmp_path / "a.h5", w=VALUES) as file:
        _external_link(file, tmp_path)
    with pytest.raises(UnconvertibleError, match="is a link to another file, which is not followed"):
        convert(tmp_path / "a.h5", tmp_path / "out.safetensors", state_dict="x")


def test_a_bomb_needs_to_be_allowed(tmp_path: Path) -> None:
    with write(tmp_path / "a.h5") as file:
        file.create_dataset("x", (1 << 26,), "u1", chunks=(1 << 20,))
    with pytest.raises(UnconvertibleError, match="--max-output"):
        convert(tmp_path / "a.h5", tmp_path / "out.safetensors")
    with write(tmp_path / "a.h5") as file:
        file.create_dataset("x", (1 << 40, 1 << 20), "f8", chunks=(1, 1 << 20))
    with pytest.raises(ArtifactError, match="max_"):
        convert(tmp_path / "a.h5", tmp_path / "out.safetensors")


def test_bytes_before_the_file_are_no_part_of_it(tmp_path: Path) -> None:
    h5py.File(tmp_path / "a.h5", "w", userblock_size=512).close()
    data = bytearray((tmp_path / "a.h5").read_bytes())
    data[:8] = b"\x89HDF\r\n\x1a\n"
    (tmp_path / "a.h5").write_bytes(bytes(data))
    with pytest.raises(ArtifactError):
        convert(tmp_path / "a.h5", tmp_path / "out.safetensors")


def test_an_archive_whose_weights_are_compressed_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(FILES / "model.keras") as old, zipfile.ZipFile(tmp_path / "a.keras", "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ArtifactError, match="is compressed"):
        convert(tmp_path / "a.keras", tmp_path / "out.safetensors")


def test_without_the_library_the_refusal_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'weighbridge\[hdf5\]'"):
        convert(FILES / "model.weights.h5", tmp_path / "out.safetensors")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_gives_tensors_or_an_artifact_error(tmp_path: Path, data: st.DataObject) -> None:
    broken = bytearray((FILES / "model.weights.h5").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(8, len(broken) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.h5").write_bytes(bytes(broken))
    with suppress(ArtifactError):
        listing(tmp_path / "a.h5", digests=True)
