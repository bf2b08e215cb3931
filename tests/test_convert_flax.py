"""flax's MessagePack as a source: what flax wrote, trees that nobody writes, and any bytes."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from converting import assert_equal, convert_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from weighbridge.convert.conversion import convert, listing
from weighbridge.errors import ArtifactError, UnconvertibleError

FILES = Path(__file__).parent / "checkpoint_files"
TYPES = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1", "c8")


def packed(shape: Any, dtype: Any, data: Any, code: int = 1) -> msgpack.ExtType:
    """Return an array as flax packs it."""
    return msgpack.ExtType(code, msgpack.packb((shape, dtype, data), use_bin_type=True))


def array(values: Any) -> msgpack.ExtType:
    """Return an array of numpy as flax packs it."""
    held = np.asarray(values)
    return packed(held.shape, held.dtype.name, held.tobytes())


def write(place: Path, tree: Any) -> Path:
    """Write a tree."""
    place.write_bytes(msgpack.packb(tree, use_bin_type=True, strict_types=True))
    return place


@pytest.mark.parametrize(("name", "held"), [("flax_model", "flax"), ("chunked", "chunked")])
def test_flax(tmp_path: Path, name: str, held: str) -> None:
    shutil.copy(FILES / f"{name}.msgpack", tmp_path)
    made, found = convert_to(tmp_path / f"{name}.msgpack")
    with np.load(FILES / f"{held}.npz") as wanted:
        assert_equal(found, dict(wanted))
    assert made.scalars == ({"step": 3, "z": "(1+2j)"} if held == "flax" else {})


def test_bfloat16_stays_that(tmp_path: Path) -> None:
    shutil.copy(FILES / "flax_model.msgpack", tmp_path)
    _, found = convert_to(tmp_path / "flax_model.msgpack")
    assert found["params.Dense_0.bias"][0] == "BF16"


def test_of_a_training_state_the_other_group_is_taken(tmp_path: Path) -> None:
    state: dict[str, Any] = {"step": 1, "params": {"d": {"w": array([1.0])}}, "opt_state": {"0": {"mu": array([2.0])}}}
    made, found = convert_to(write(tmp_path / "a.msgpack", state))
    assert_equal(found, {"d.w": [1.0]})
    assert made.state_dict == "params"
    assert [one.path for one in made.dropped] == ["opt_state"]
    state["batch_stats"] = {"m": array([3.0])}
    with pytest.raises(UnconvertibleError, match="choose with --state-dict PATH: params, batch_stats"):
        convert(write(tmp_path / "b.msgpack", state), tmp_path / "out.safetensors")
    _, found = convert_to(tmp_path / "b.msgpack", state_dict="batch_stats")
    assert_equal(found, {"m": [3.0]})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (packed((3,), "float32", b"\0" * 8), "the array has 8 bytes, its shape and type ask for 12"),
        (packed((1 << 40, 1 << 40), "float32", b""), "ask for"),
        (packed((-1,), "float32", b""), "shape is not made of numbers"),
        (packed(("2",), "float32", b"\0" * 8), "shape is not made of numbers"),
        (packed((1,), "complex128", b"\0" * 16), "'complex128' has no equivalent"),
        (packed((1,), "object", b"\0" * 8), "'object' has no equivalent"),
        (packed((1,), 7, b"\0" * 4), "'7' has no equivalent"),
        (packed((1,), "float32", "text"), "without its shape, type and bytes"),
        (msgpack.ExtType(1, b"\x91\x01"), "without its shape, type and bytes"),
        (msgpack.ExtType(1, msgpack.packb(((1,), "uint8", b"\1")) + b"x"), "without its shape, type and bytes"),
        (msgpack.ExtType(1, b"\x93"), "want 1 bytes"),
        (msgpack.ExtType(9, b"abc"), "an object among the tensors: 3 bytes of another kind"),
        (b"abc", "an object among the tensors: 3 bytes of another kind"),
        ({"__msgpack_chunked_array__": True, "shape": {"0": 1}, "chunks": {}}, "without its shape and chunks"),
        ({"__msgpack_chunked_array__": True, "shape": {"0": 1}, "chunks": {"0": 3}}, "a chunk that is no array"),
        (
            {"__msgpack_chunked_array__": True, "shape": {"0": 2}, "chunks": {"0": array([1.0]), "1": array([1])}},
            "different types",
        ),
        (
            {"__msgpack_chunked_array__": True, "shape": {"0": 3}, "chunks": {"0": array([1.0]), "1": array([2.0])}},
            "the array has 16 bytes",
        ),
    ],
)
def test_arrays_that_no_writer_writes_are_refused(tmp_path: Path, value: Any, reason: str) -> None:
    place = write(tmp_path / "a.msgpack", {"w": array([1.0]), "x": value})
    with pytest.raises(ArtifactError, match=reason):
        convert(place, tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.msgpack"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x82\xa1a\x01\xa1a\x02", "the key 'a' comes twice"),
        (b"\x82\xa1a\x01\x90\x02", "neither a text nor a number"),
        (b"\x81\xa1a\x01x", "1 bytes behind the tree"),
        (b"\x82\xa1a\x01", "want 1 bytes"),
        (b"\x81\xa1a\xc1", "0xc1 begins no value"),
        (b"\x81\xa1a" + b"\x91" * 100 + b"\x01", "nested deeper"),
        (b"\x81\xa1a\xdb\x7f\xff\xff\xff", "limit is"),
        (b"\x81\xa1a\xdf\x7f\xff\xff\xff", "want 1 bytes"),
        (b"\x81\xa1a\xa2\xff\xff", "not UTF-8"),
        (b"\x81\xa1a\x01", "there are no tensors"),
    ],
)
def test_broken_trees_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a.msgpack").write_bytes(data)
    with pytest.raises(ArtifactError, match=reason):
        convert(tmp_path / "a.msgpack", tmp_path / "out.safetensors")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tree=st.recursive(
        arrays.arrays(st.sampled_from(TYPES), arrays.array_shapes(min_dims=0, max_dims=3, max_side=3)),
        lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, min_size=1, max_size=4),
    ).filter(lambda tree: isinstance(tree, dict))
)
def test_any_tree_of_arrays(tmp_path: Path, tree: Any) -> None:
    flat: dict[str, Any] = {}

    def walk(node: Any, path: str) -> Any:
        if not isinstance(node, dict):
            flat[path.strip(".")] = node
            return array(node)
        return {name: walk(one, f"{path}.{name}") for name, one in node.items()}

    _, found = convert_to(write(tmp_path / "a.msgpack", walk(tree, "")), overwrite=True)
    assert_equal(found, flat)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_gives_tensors_or_an_artifact_error(tmp_path: Path, data: st.DataObject) -> None:
    broken = bytearray((FILES / "flax_model.msgpack").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.msgpack").write_bytes(bytes(broken))
    with suppress(ArtifactError):
        listing(tmp_path / "a.msgpack", digests=True)
