"""Tensors by name: what a checkpoint, a module and an array hold."""

from __future__ import annotations

import pickle
import struct

import pytest
from examining import facts_of

from weighbridge.facts import Program
from weighbridge.formats.pickle.tensors import tensors


def found(data: bytes) -> list[tuple[str, str, tuple[int, ...], int]]:
    """Return the name, dtype, shape and size of every tensor."""
    programs = [fact for fact in facts_of(data) if isinstance(fact, Program)]
    return [(one.name, one.dtype, one.shape, one.size) for program in programs for one in tensors(program)]


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tensor(storage: str, *shape: int) -> bytes:
    sides = b"(" + b"".join(b"K" + bytes([side]) for side in shape) + b"t"
    pid = b"(" + text("storage") + f"ctorch\n{storage}\n".encode() + text("0") + text("cpu") + b"K\x06tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + b"K\x00" + sides + b"(t\x89ccollections\nOrderedDict\n)RtR"


def test_a_state_dict_names_its_tensors() -> None:
    inner = b"ccollections\nOrderedDict\n)R(" + text("weight") + tensor("FloatStorage", 2, 3)
    inner += text("bias") + tensor("HalfStorage", 2) + b"u"
    data = b"\x80\x02}" + text("model") + inner + b"s" + text("epoch") + b"K\x03s."
    assert found(data) == [("model.weight", "float", (2, 3), 24), ("model.bias", "half", (2,), 4)]


def test_a_module_names_its_tensors_as_its_state_dict_does() -> None:
    linear = b"ctorch.nn.modules.linear\nLinear\n)\x81}" + text("_parameters") + b"}" + text("weight")
    linear += b"ctorch._utils\n_rebuild_parameter\n(" + tensor("FloatStorage", 1, 4) + b"\x88}tRssb"
    data = b"\x80\x02ctorch.nn.modules.container\nSequential\n)\x81}" + text("_modules") + b"}" + text("0") + linear
    assert found(data + b"ssb.") == [("0.weight", "float", (1, 4), 16)]


def test_arrays_and_lists_are_named_by_their_place() -> None:
    numpy = pytest.importorskip("numpy")
    data = pickle.dumps({"a": [numpy.zeros((2, 3)), numpy.zeros(4, "i2")]}, 4)
    assert found(data) == [("a.0", "f8", (2, 3), 48), ("a.1", "i2", (4,), 8)]


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02]q\x00h\x00a.",
        b"\x80\x02}q\x00K\x01h\x00s.",
        b"\x80\x02" + tensor("NoStorage", 2) + b".",
        b"\x80\x02" + tensor("FloatStorage", 2).replace(b"K\x02", b"N") + b".",
        b"\x80\x02N" + b"\x85" * 100_000 + b".",
        b"\x80\x02" + b"ctorch._utils\n_rebuild_parameter\n" * 5000 + b"N" + b"\x85R" * 5000 + b".",
    ],
)
def test_what_is_no_tensor_is_none(data: bytes) -> None:
    assert found(data) == []
