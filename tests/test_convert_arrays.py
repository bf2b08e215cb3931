"""Arrays in pickles as a source: numpy's own, joblib's with and without compression, Paddle's; and what bends them."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converting import assert_equal, convert_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fixtures.assemble import P3, Ops
from weighbridge.convert.conversion import convert, listing
from weighbridge.convert.dtypes import NUMPY
from weighbridge.errors import ArtifactError, UnconvertibleError
from weighbridge.header import CLIMBING

FILES = Path(__file__).parent / "checkpoint_files"
TYPES = sorted({f"<{kind}" for kind in NUMPY if kind != "?"})
COMPRESSED = [f"state-{kind}.joblib" for kind in ("zlib", "gzip", "bz2", "xz", "lzma")]


def wanted(name: str) -> dict[str, Any]:
    """Return what a library says is in its files."""
    with np.load(FILES / f"{name}.npz") as found:
        return dict(found)


def copy(tmp_path: Path, name: str) -> Path:
    """Return a copy of a file, for there is no writing beside the original."""
    place = tmp_path / name
    place.write_bytes((FILES / name).read_bytes())
    return place


@pytest.mark.parametrize("name", ["state.joblib", *COMPRESSED])
def test_joblib(tmp_path: Path, name: str) -> None:
    made, found = convert_to(copy(tmp_path, name))
    assert_equal(found, wanted("joblib"))
    assert made.scalars == {"name": "x", "steps": [1, 2]}


@pytest.mark.parametrize("name", ["linear-p2.pdparams", "linear-p4.pdparams"])
def test_paddle(tmp_path: Path, name: str) -> None:
    made, found = convert_to(copy(tmp_path, name))
    assert_equal(found, wanted("paddle"))
    assert any(path.startswith("StructuredToParameterName@@") for path in made.scalars)


def test_a_nested_dict_of_paddle_whose_tensors_have_names(tmp_path: Path) -> None:
    made, found = convert_to(copy(tmp_path, "nested.pdparams"))
    assert_equal(found, wanted("paddle"))
    assert (made.state_dict, made.scalars) == ("model", {"step": 3})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_writes_arrays_in_another_way(tmp_path: Path, protocol: int) -> None:
    values = {
        "c": np.arange(6, dtype="f4").reshape(2, 3),
        "f": np.asfortranarray(np.arange(6, dtype="i8").reshape(2, 3)),
        "large": np.random.default_rng(0).random((300, 20)),
        "empty": np.zeros((2, 0)),
        "scalar": np.float64(7),
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(OrderedDict(values), protocol))
    _, found = convert_to(tmp_path / "a.pkl")
    assert_equal(found, values)


def test_one_array_under_two_names_is_an_alias(tmp_path: Path) -> None:
    array = np.arange(3.0)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": array, "b": array}))
    made, found = convert_to(tmp_path / "a.pkl")
    assert_equal(found, {"a": array, "b": array})
    assert made.aliases == {"b": "a"}


class Matrix(np.ndarray[Any, Any]):
    """A class of somebody's own."""


def test_a_class_of_arrays_is_left_out_and_listed(tmp_path: Path) -> None:
    array = np.arange(3.0)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": array.view(Matrix)}))
    made, found = convert_to(tmp_path / "a.pkl")
    assert_equal(found, {"a": array})
    assert [(one.path, one.what) for one in made.dropped] == [("a", "class test_convert_arrays.Matrix")]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([{}], dtype=object), "tensor 'x': an array of objects"),
        (np.arange(3, dtype=">f4"), "tensor 'x': an array of big-endian numbers; save it as"),
        (np.zeros(1, "c16"), "tensor 'x': complex numbers"),
        (np.zeros(1, "M8[s]"), "tensor 'x': an array of type 'M8'"),
        (np.zeros(1, [("a", "f4")]), "tensor 'x': an array of type 'V4'"),
        (np.array(["text"]), "tensor 'x': an array of type 'U4'"),
        ({1, 2}, "an object among the tensors"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_what_has_no_form_is_refused_by_name(tmp_path: Path, array: object, reason: str, protocol: int) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"x": array, "w": np.ones(3)}, protocol))
    with pytest.raises(UnconvertibleError, match=reason):
        convert(tmp_path / "a.pkl", tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pkl"]


def dtype(kind: str = "f4", state: object = (3, "<", None, None, None, -1, -1, 0)) -> Ops:
    made = P3.call("numpy:dtype", kind, False, True)
    return made if state is None else P3.build(made, state)


def array(shape: object = (2,), kind: Ops | None = None, data: object = b"\0" * 8, *, fortran: object = False) -> Ops:
    made = P3.call("numpy.core.multiarray:_reconstruct", P3.name("numpy", "ndarray"), (0,), b"b")
    return P3.build(made, (1, shape, kind or dtype(), fortran, data))


def test_the_arrays_that_are_bent_below_are_taken_when_they_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(P3.stream({"x": array()}))
    _, found = convert_to(tmp_path / "a.pkl")
    assert_equal(found, {"x": np.zeros(2, "f4")})


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (array(shape=(3,)), "has 8 bytes, the pickle says 12"),
        (array(shape=(-2,)), "shape is not made of numbers"),
        (array(shape=(1 << 40, 1 << 40)), "the pickle says"),
        (array(shape=[2]), "shape is not made of numbers"),
        (array(data=[1, 2]), "bytes are not in the file"),
        (array(data=P3.call("_codecs:encode", "\0" * 8, "utf-8")), "bytes are not in the file"),
        (array(data=P3.call("_codecs:encode", "é" * 7 + "€", "latin1")), "characters that are no bytes"),
        (array(fortran="F"), "without one state"),
        (array(kind=dtype(state=None)), ""),
        (array(kind=dtype(state=(3, "?", None, None, None, -1, -1, 0))), "order of bytes cannot be told"),
        (array(kind=P3.build(dtype(), (3, ">", None, None, None, -1, -1, 0))), "more than one state"),
        (P3.build(array(), (1, (1,), dtype(), False, b"\0" * 4)), "without one state"),
        (P3.set_item(array(), 0, 1.0), "items are set"),
        (P3.call("builtins:tuple", ("name", P3.set_item(array(), 0, 1.0))), "items are set"),
        (P3.call("numpy.core.multiarray:_reconstruct", P3.name("numpy", "ndarray"), (0,), b"b"), "without one state"),
        (P3.call("os:system", "id"), "an object among the tensors: os.system"),
    ],
)
def test_arrays_that_no_writer_writes_are_refused(tmp_path: Path, code: Ops, reason: str) -> None:
    (tmp_path / "a.pkl").write_bytes(P3.stream({"x": code, "w": array()}))
    if not reason:
        convert_to(tmp_path / "a.pkl")
        return
    with pytest.raises(ArtifactError, match=reason):
        convert(tmp_path / "a.pkl", tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pkl"]


def test_what_stands_behind_the_pickle_is_refused(tmp_path: Path) -> None:
    for data in (pickle.dumps({"a": np.ones(3)}) + b"x", (FILES / "state.joblib").read_bytes() + b"x"):
        (tmp_path / "a.pkl").write_bytes(data)
        with pytest.raises(ArtifactError, match="1 bytes behind the pickle"):
            convert(tmp_path / "a.pkl", tmp_path / "out.safetensors")


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("change", [lambda data: data[:-20], lambda data: data + b"x" * 30])
def test_broken_streams_and_what_stands_behind_them_are_refused(tmp_path: Path, name: str, change: Any) -> None:
    (tmp_path / name).write_bytes(change((FILES / name).read_bytes()))
    with pytest.raises(ArtifactError):
        convert(tmp_path / name, tmp_path / "out.safetensors")


def test_tensors_that_paddle_has_cut_in_pieces_are_refused(tmp_path: Path) -> None:
    cut = {"w@@.0": np.ones(2), "w@@.1": np.ones(2), "UnpackBigParamInfor@@": {"w": {"slices": ["w@@.0", "w@@.1"]}}}
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(cut, 2))
    with pytest.raises(UnconvertibleError, match="cut large tensors"):
        convert(tmp_path / "a.pdparams", tmp_path / "out.safetensors")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.dictionaries(
        st.text("abc.", min_size=1, max_size=4).filter(lambda name: not CLIMBING.search(name)),
        arrays.arrays(st.sampled_from(TYPES), arrays.array_shapes(min_dims=0, max_dims=3, max_side=4)),
        min_size=1,
    ),
    protocol=st.integers(2, 5),
    fortran=st.booleans(),
)
def test_any_dict_of_arrays(tmp_path: Path, values: dict[str, Any], protocol: int, fortran: bool) -> None:
    held = {name: np.array(array, order="F" if fortran else "C") for name, array in values.items()}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(held, protocol))
    _, found = convert_to(tmp_path / "a.pkl", overwrite=True, state_dict=".")
    assert_equal(found, values)


PLAIN = pickle.dumps({"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.ones(2)}, 4)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_gives_tensors_or_an_artifact_error(tmp_path: Path, data: st.DataObject) -> None:
    source = data.draw(st.sampled_from([PLAIN, (FILES / "state.joblib").read_bytes()]))
    broken = bytearray(source)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.pkl").write_bytes(bytes(broken))
    with suppress(ArtifactError):
        listing(tmp_path / "a.pkl", digests=True)


def test_other_files_that_begin_like_a_pickle_are_none(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
    data = (0x0480).to_bytes(8, "little") + header.ljust(0x0480) + b"ab"
    (tmp_path / "a.safetensors").write_bytes(data)
    assert io.BytesIO(data).read(2) == b"\x80\x04"
    _, found = convert_to(tmp_path / "a.safetensors")
    assert list(found) == ["a"]
