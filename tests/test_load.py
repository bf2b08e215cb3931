"""Loading approved models: the same tensors as the library's, in every mode, and nothing that was not approved."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import ml_dtypes
import numpy as np
import pytest
from approving import approved
from hypothesis import given
from hypothesis import strategies as st
from loading import Part, approved_folder, packed
from safetensors.numpy import load_file as theirs
from safetensors.numpy import save

import weighbridge
from weighbridge.errors import UsageError
from weighbridge.leaves import CHUNK, verity
from weighbridge.load.choice import choose
from weighbridge.load.folder import Folder, open_folder
from weighbridge.load.kernel import Kernel
from weighbridge.load.loading import Mode, open_approved
from weighbridge.load.opening import Anchor
from weighbridge.load.slices import needed, normal
from weighbridge.refusals import (
    ApprovalMismatch,
    ApprovalMissing,
    DigestMismatch,
    MalformedHeader,
    ModeMissing,
    UnsupportedFormat,
)
from weighbridge.safetensors import safe_open
from weighbridge.safetensors.numpy import load_file

MODES: tuple[Mode, ...] = ("stream", "lazy", "shared")
RANDOM = np.random.default_rng(7)
ARRAYS: dict[str, Any] = {
    "wide": RANDOM.standard_normal((700, 1100), dtype="f4"),
    "deep": RANDOM.integers(0, 255, (3, 900, 1024), dtype="u1"),
    "half": RANDOM.standard_normal((5, 5)).astype("f2"),
    "long": np.arange(9, dtype="i8"),
    "mask": np.array([True, False, True]),
    "one": np.array(2.5),
    "none": np.zeros((0, 4), dtype="i4"),
}


pytestmark = pytest.mark.usefixtures("own_places")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    approved_folder(made, {"model.safetensors": save(ARRAYS, {"format": "np"}), "config.json": b'{"a": 1}'})
    return made


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return found.keys() == wanted.keys() and all(
        found[name].dtype == array.dtype and np.array_equal(found[name], array) for name, array in wanted.items()
    )


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_what_the_library_gives(folder: Path, mode: Mode) -> None:
    wanted = theirs(folder / "model.safetensors")
    assert same(weighbridge.load(folder, mode=mode), wanted)
    assert same(weighbridge.load(folder / "model.safetensors", mode=mode), wanted)


def test_a_variant_beside_the_weights_is_loaded_by_its_name_alone(tmp_path: Path) -> None:
    whole, half = {"a": np.ones(3, np.float32)}, {"a": np.ones(3, np.float16)}
    top = tmp_path / "model"
    approved_folder(top, {"model.safetensors": save(whole), "model.fp16.safetensors": save(half)})
    assert same(weighbridge.load(top), whole)
    assert same(weighbridge.load(top / "model.fp16.safetensors"), half)
    approved_folder(tmp_path / "alone", {"model.fp16.safetensors": save(half)})
    assert same(weighbridge.load(tmp_path / "alone"), half)
    approved_folder(
        tmp_path / "parts", {"model.safetensors": save(whole), "model.b.safetensors": save({"b": half["a"]})}
    )
    assert set(weighbridge.load(tmp_path / "parts")) == {"a", "b"}


@pytest.mark.parametrize("mode", MODES)
def test_a_handle_gives_names_texts_tensors_and_parts(folder: Path, mode: Mode) -> None:
    with weighbridge.open(folder, mode=mode) as handle:
        assert handle.keys() == sorted(ARRAYS)
        assert sorted(handle.offset_keys()) == sorted(ARRAYS)
        assert handle.metadata() == {"format": "np"}
        assert same(handle.get_tensors(), ARRAYS)
        part = handle.get_slice("deep")
        assert (part.get_shape(), part.get_dtype()) == ([3, 900, 1024], "U8")
        assert np.array_equal(part[1:, 5, ::2], ARRAYS["deep"][1:, 5, ::2])
        assert np.array_equal(part[..., -3:], ARRAYS["deep"][..., -3:])
        assert handle.get_slice("one")[...] == 2.5
        with pytest.raises(KeyError):
            handle.get_tensor("other")


@pytest.mark.parametrize("mode", MODES)
def test_a_closed_handle_gives_nothing(folder: Path, mode: Mode) -> None:
    with weighbridge.open(folder, mode=mode) as handle:
        part, kept = handle.get_slice("deep"), handle.get_tensor("deep")
    for ask in (handle.keys, handle.get_tensors, lambda: handle.get_tensor("deep"), lambda: part[0]):
        with pytest.raises(ValueError, match="the model is closed"):
            ask()
    handle.close()
    assert np.array_equal(kept, ARRAYS["deep"])


@pytest.mark.parametrize("mode", MODES)
def test_what_is_written_to_a_tensor_stays_with_it(folder: Path, mode: Mode) -> None:
    weighbridge.load(folder, mode=mode)["wide"][:] = 0
    assert same(weighbridge.load(folder, mode=mode), ARRAYS)


def test_tensors_outlive_their_handle_and_hold_only_their_own_memory(folder: Path) -> None:
    for mode in MODES:
        with weighbridge.open(folder, mode=mode) as handle:
            kept = handle.get_tensor("wide")
        gc.collect()
        assert np.array_equal(kept, ARRAYS["wide"])


def test_small_floats_come_through_ml_dtypes(tmp_path: Path) -> None:
    types = {"BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2}
    arrays = {name: np.arange(4).astype(dtype) for name, dtype in types.items()}
    parts = {name: Part(name, [4], array.tobytes()) for name, array in arrays.items()}
    approved_folder(tmp_path / "m", {"m.safetensors": packed(parts)})
    assert same(weighbridge.load(tmp_path / "m"), arrays)


def test_what_numpy_has_not_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    approved_folder(tmp_path / "a", {"m.safetensors": packed({"a": Part("F4", [4], b"ab")})})
    with pytest.raises(UnsupportedFormat, match="numpy has no F4"):
        weighbridge.load(tmp_path / "a")
    approved_folder(tmp_path / "b", {"m.safetensors": packed({"a": Part("BF16", [1], b"ab")})})
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(UsageError, match="ml_dtypes"):
        weighbridge.load(tmp_path / "b")


@pytest.mark.parametrize("mode", MODES)
def test_booleans_are_0_or_1(tmp_path: Path, mode: Mode) -> None:
    approved_folder(tmp_path / "m", {"m.safetensors": packed({"a": Part("BOOL", [3], b"\0\1\2")})})
    with pytest.raises(MalformedHeader) as caught:
        weighbridge.load(tmp_path / "m", mode=mode)
    assert caught.value.rule == "boolean"


def test_tensors_are_aligned_whatever_their_offsets(tmp_path: Path) -> None:
    odd = packed({"a": Part("U8", [3], b"abc"), "b": Part("F64", [2], np.array([1.0, 2.0]).tobytes())})
    approved_folder(tmp_path / "m", {"m.safetensors": odd})
    for mode in ("stream", "lazy"):
        found = weighbridge.load(tmp_path / "m", mode=mode)["b"]
        assert found.flags.aligned
        assert list(found) == [1.0, 2.0]


def test_shards_are_those_of_the_index(tmp_path: Path) -> None:
    index = {"metadata": {}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}
    files = {
        "m-1.safetensors": save({"a": np.ones(3)}),
        "m-2.safetensors": save({"b": np.ones(4)}),
        "other.safetensors": save({"a": np.zeros(3)}),
        "m.safetensors.index.json": json.dumps(index).encode(),
        "unet/m.safetensors": save({"c": np.ones(2)}),
    }
    approved_folder(tmp_path / "m", files)
    assert same(weighbridge.load(tmp_path / "m"), {"a": np.ones(3), "b": np.ones(4)})
    assert same(weighbridge.load(tmp_path / "m" / "unet"), {"c": np.ones(2)})
    assert same(weighbridge.load(tmp_path / "m" / "other.safetensors"), {"a": np.zeros(3)})


@pytest.mark.parametrize(
    "text",
    [b"{", b"[]", b"{}", b'{"weight_map":[]}', b'{"weight_map":{"a":1}}']
    + [b'{"weight_map":{"a":"%b"}}' % name for name in (b"../m", b"/m", b"", b"a\\\\b", b"u/m")]
    + [b'{"weight_map":{"a":"m","a":"n"}}'],
)
def test_an_index_names_files_beside_it_or_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "m.safetensors.index.json").write_bytes(text)
    with (
        Folder(Anchor(tmp_path), approved({"m.safetensors.index.json": text})) as folder,
        pytest.raises(MalformedHeader) as caught,
    ):
        choose(folder, "")
    assert caught.value.rule == "index"


def test_two_tensors_of_one_name_are_no_model(tmp_path: Path) -> None:
    files = {name: save({"a": np.ones(3)}) for name in ("a.safetensors", "b.safetensors")}
    approved_folder(tmp_path / "m", files)
    with pytest.raises(UsageError, match=r"tensor a is in a\.safetensors and in b\.safetensors"):
        weighbridge.load(tmp_path / "m")


def test_what_cannot_be_meant_is_said(folder: Path, tmp_path: Path) -> None:
    (folder / "new.safetensors").write_bytes(save({"a": np.ones(3)}))
    for path in ("new.safetensors", "unet"):
        with pytest.raises(ApprovalMismatch):
            weighbridge.load(folder / path)
    approved_folder(tmp_path / "text", {"a/config.json": b"{}"})
    for path in ("text", "text/a"):
        with pytest.raises(UsageError, match="no approved safetensors"):
            weighbridge.load(tmp_path / path)
    with pytest.raises(UnsupportedFormat, match="json"):
        weighbridge.load(folder / "config.json")
    with pytest.raises(ApprovalMissing, match="no such file or folder"):
        weighbridge.load(tmp_path / "elsewhere")
    for options in ({"mode": "fast"}, {"framework": "tf"}, {"device": "cuda"}):
        with pytest.raises(UsageError):
            weighbridge.load(folder, **options)  # type: ignore[arg-type]
    with open_folder(folder, None)[0] as opened, pytest.raises(ApprovalMismatch):
        opened.read("new.safetensors")


def test_the_drop_in_has_the_calls_of_the_library(folder: Path) -> None:
    path = folder / "model.safetensors"
    assert same(load_file(path, backend="pread"), theirs(path))
    with safe_open(path, "np", device="cpu") as handle:
        assert same({name: handle.get_tensor(name) for name in handle.keys()}, ARRAYS)  # noqa: SIM118
    with pytest.raises(UsageError, match="backend"):
        load_file(path, backend="other")


CHILD = """
import hashlib, json, re, sys
import weighbridge
found = weighbridge.load(sys.argv[1], mode="shared")
inodes = {line.split()[4] for line in open("/proc/self/maps") if "memfd:weighbridge" in line}
print(json.dumps([sorted(inodes), hashlib.sha256(found["deep"]).hexdigest()]), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="sealed memory is a thing of Linux")
def test_processes_share_one_sealed_copy(folder: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(folder)]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        answers = [json.loads(child.stdout.readline()) for child in children if child.stdout]
    finally:
        for child in children:
            child.communicate()
    assert len(answers) == 4
    assert len(answers[0][0]) == 1
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="sealed memory is a thing of Linux")
def test_a_copy_of_other_bytes_is_refused_however_it_is_noted(folder: Path, tmp_path: Path) -> None:
    import fcntl

    opened, _ = open_folder(folder, None)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    forged = os.memfd_create("weighbridge", os.MFD_ALLOW_SEALING)
    os.write(forged, data)
    notes = tmp_path / f"weighbridge-{os.getuid()}"
    notes.mkdir(mode=0o700)
    note = notes / opened.files["model.safetensors"].leaves
    opened.close()
    note.write_text(f"{os.getpid()} {forged}\n")
    assert same(weighbridge.load(folder, mode="shared"), ARRAYS)  # not sealed, so it is no copy
    fcntl.fcntl(forged, 1033, 0xF)
    note.write_text(f"x\n1 -1\n{2**40} 3\n{os.getpid()} 0\n{os.getpid()} {forged}\n")
    with pytest.raises(DigestMismatch):
        weighbridge.load(folder, mode="shared")
    os.close(forged)
    notes.chmod(0o777)
    with pytest.raises(ModeMissing, match="private"):
        weighbridge.load(folder, mode="shared")


def test_a_kernel_that_holds_no_digest_is_no_reason_to_read(folder: Path) -> None:
    if verity(os.open(folder / "model.safetensors", os.O_RDONLY)):
        pytest.skip("this file system keeps all files under fs-verity")
    with pytest.raises(ModeMissing, match="fs-verity"):
        weighbridge.load(folder, mode="kernel")


def test_the_digest_that_the_kernel_holds_is_the_approved_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.leaves.verity", lambda _: b"\1" * 32)  # a kernel with fs-verity, when approving
    approved_folder(tmp_path / "m", {"m.safetensors": save(ARRAYS)})
    opened, _ = open_folder(tmp_path / "m", None)
    with opened:
        held = Kernel(opened, "m.safetensors", lambda _: b"\1" * 32)
        assert {one.name: bytes(held.view(one)) for one in held.header.tensors} == {
            name: array.tobytes() for name, array in ARRAYS.items()
        }
        with pytest.raises(DigestMismatch):
            Kernel(opened, "m.safetensors", lambda _: b"\2" * 32)
        with pytest.raises(ModeMissing, match="here"):
            Kernel(opened, "m.safetensors", lambda _: b"")


def test_a_file_that_was_not_under_fs_verity_when_it_was_approved_is_not_loaded_so(folder: Path) -> None:
    opened, _ = open_folder(folder, None)
    with opened, pytest.raises(ModeMissing, match="approved"):
        Kernel(opened, "model.safetensors", lambda _: b"\1" * 32)


def test_a_lazy_tensor_touches_only_its_own_chunks(tmp_path: Path) -> None:
    rows = np.arange(4 * CHUNK // 4, dtype="u4").reshape(4, -1)
    path = tmp_path / "m" / "m.safetensors"
    approved_folder(path.parent, {path.name: packed({n: Part("I32", rows.shape, rows.tobytes()) for n in "abc"})})
    with path.open("r+b") as file:  # one byte of the second tensor, in its third chunk
        file.seek(-(CHUNK * 8) + 2 * CHUNK + 7, os.SEEK_END)
        file.write(b"\xff")
    with weighbridge.open(path) as handle:
        assert np.array_equal(handle.get_tensor("a"), rows)
        assert np.array_equal(handle.get_tensor("c"), rows)
        part = handle.get_slice("b")
        assert np.array_equal(part[:2], rows[:2])
        assert np.array_equal(part[3, 5:7], rows[3, 5:7])
        for index in (2, (slice(None), 1), ...):
            with pytest.raises(DigestMismatch) as caught:
                part[index]
            assert (caught.value.tensor, caught.value.chunk) == ("b", 2)


def indices(side: int) -> st.SearchStrategy[object]:
    numbers = st.integers(-side - 1, side + 1)
    slices = st.builds(slice, st.none() | numbers, st.none() | numbers, st.none() | st.integers(1, 3))
    return slices | st.integers(-side, side - 1) if side else slices


@given(st.lists(st.integers(0, 6), max_size=4), st.sampled_from([1, 1000, CHUNK // 3, CHUNK, 3 * CHUNK]), st.data())
def test_the_chunks_of_a_part_are_all_that_it_lies_in(shape: list[int], size: int, data: st.DataObject) -> None:
    index = tuple(data.draw(indices(side)) for side in shape[: data.draw(st.integers(0, len(shape)))])
    if data.draw(st.booleans()):
        index = (*index, ...)
    parts = normal(index, shape)
    elements = np.arange(int(np.prod(shape))).reshape(shape)
    chosen: Any = elements[cast(Any, index)]
    assert np.array_equal(chosen, elements[parts])
    touched = set(needed(parts, shape, size))
    for element in np.ravel(chosen):
        assert touched.issuperset(range(element * size // CHUNK, (int(element + 1) * size - 1) // CHUNK + 1))
    assert all(number * CHUNK < max(1, elements.size) * size for number in touched)


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (3, IndexError),
        (-4, IndexError),
        ((0, 0, 0), IndexError),
        ((..., ...), IndexError),
        (slice(None, None, -1), ValueError),
        ("a", TypeError),
        (None, TypeError),
        (True, TypeError),
        ([0, 1], TypeError),
    ],
)
def test_an_index_is_integers_and_forward_slices(index: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        normal(index, (3, 4))


def test_nothing_stays_open(folder: Path) -> None:
    opened = Path("/proc/self/fd")
    if not opened.is_dir():
        pytest.skip("needs /proc")
    weighbridge.load(folder)
    gc.collect()  # what earlier tests left
    before = len(list(opened.iterdir()))
    for mode in MODES:
        weighbridge.load(folder, mode=mode)
    with pytest.raises(UsageError):
        open_approved(*open_folder(folder, None), framework="other")
    gc.collect()
    assert len(list(opened.iterdir())) == before


PEAK = """
import sys
import weighbridge, numpy
def peak():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
before = peak()
found = weighbridge.load(sys.argv[1], mode=sys.argv[2])
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.parametrize("mode", ["stream", "lazy"])
def test_a_model_lies_in_memory_once(tmp_path: Path, mode: Mode) -> None:
    size = 96 << 20
    parts = {str(n): Part("U8", [size // 4], bytes(size // 4)) for n in range(4)}
    approved_folder(tmp_path / "m", {"m.safetensors": packed(parts)})
    command = [sys.executable, "-c", PEAK, str(tmp_path / "m"), mode]
    taken = int(subprocess.run(command, check=True, capture_output=True).stdout) * 1024
    assert size <= taken <= size + (64 << 20)


def test_no_framework_is_imported_before_it_is_asked_for() -> None:
    code = "import weighbridge.load.loading, sys; sys.exit(bool({'numpy', 'torch', 'jax'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
