"""Conversions of torch's files without torch: what is taken, and how. The files are built by hand."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from converting import convert_to, load
from torch_pickles import DATA, legacy, persistent, refusal, storage, tar, view, viewed, write

from fixtures.archives import Entry, torch_entries, zip_archive
from fixtures.assemble import P2, Ops
from weighbridge.convert.conversion import convert, verify
from weighbridge.convert.numpy_scalars import number
from weighbridge.formats.pickle.machine import Machine
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location


def test_views_are_gathered_from_their_storage(tmp_path: Path) -> None:
    state = {
        "whole": view((3, 4), (4, 1)),
        "turned": view((4, 3), (1, 4)),
        "part": view((2, 2), (4, 1), 5),
        "stepped": view((4,), (3,)),
        "repeated": view((2, 3), (0, 1)),
        "one": view((), (), 7),
        "none": view((0, 5), (5, 1)),
    }
    _, found = convert_to(write(tmp_path, state))
    assert {name: array.tolist() for name, (_, array) in found.items()} == {
        "whole": [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]],
        "turned": [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]],
        "part": [[5, 6], [9, 10]],
        "stepped": [0, 3, 6, 9],
        "repeated": [[0, 1, 2], [0, 1, 2]],
        "one": 7,
        "none": [],
    }


def test_the_same_source_gives_the_same_bytes_with_an_aligned_header(tmp_path: Path) -> None:
    outputs = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        source = write(folder, {"n": view(), "b": view((2,), (1,), 3)})
        convert(source, folder / "out.safetensors")
        outputs.append([(folder / file).read_bytes() for file in ("out.safetensors", "out.conversion.json")])
    assert outputs[0] == outputs[1]
    size = int.from_bytes(outputs[0][0][:8], "little")
    assert (8 + size) % 64 == 0
    assert json.loads(outputs[0][0][8 : 8 + size])["__metadata__"] == {"format": "pt"}


def test_pairs_of_f4_double_the_last_side(tmp_path: Path) -> None:
    kind = P2.name("torch", "float4_e2m1fn_x2")
    of = storage(count=12, kind="UntypedStorage", module="torch.storage")
    packed = P2.call("torch._utils:_rebuild_tensor_v3", of, 0, (3, 4), (4, 1), False, P2.dict_of({}), kind)
    destination = tmp_path / "out.safetensors"
    made = convert(write(tmp_path, {"w": packed}, {"0": bytes(range(12))}), destination)
    assert [(one.dtype, one.shape, one.size) for one in made.tensors] == [("F4", (3, 8), 12)]
    assert destination.read_bytes().endswith(bytes(range(12)))


def test_ties_are_written_for_each_name_and_dropped_on_request(tmp_path: Path) -> None:
    source = write(tmp_path, {"a": view(), "b": view(), "c": view((6,), (1,))})
    made, found = convert_to(source)
    assert (sorted(found), dict(made.aliases), made.aliases_dropped) == (["a", "b", "c"], {"b": "a"}, False)
    destination = tmp_path / "dropped.safetensors"
    made = convert(source, destination, drop_aliases=True)
    assert (sorted(load(destination)), made.aliases_dropped) == (["a", "c"], True)
    header = destination.read_bytes()
    assert b'"__metadata__":{"format":"pt","b":"a"}' in header
    verify(source, destination)


def test_what_is_beside_the_state_dict_is_recorded(tmp_path: Path) -> None:
    optimizer = {"state": {0: {"momentum": view((3,), (1,))}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    value = {
        "weights": {"w": view(), "version": "x"},
        "epoch": 7,
        "rate": 0.5,
        "tags": ["a", "b"],
        "optimizer": optimizer,
        "best": view((), ()),
        "args": P2.call("argparse:Namespace"),
        "not a number": float("nan"),
    }
    made = convert(write(tmp_path, value), tmp_path / "out.safetensors")
    assert made.state_dict == "weights"
    record = json.loads((tmp_path / "out.conversion.json").read_text())
    assert record["scalars"] == {
        "epoch": 7,
        "rate": 0.5,
        "tags": ["a", "b"],
        "weights.version": "x",
        "not a number": "nan",
    }
    assert record["dropped"] == [
        {"path": "optimizer", "tensors": 1, "what": "optimizer state"},
        {"path": "best", "tensors": 1, "what": "tensor"},
        {"path": "args", "tensors": 0, "what": "argparse.Namespace"},
    ]
    assert record["tensors"]["w"]["digest"].startswith("sha256:")


def kind_of(name: str, *orders: str) -> Ops:
    """Return code for a dtype of numpy that is told its order of bytes so often."""
    made = P2.call("numpy:dtype", name, False, True)
    for order in orders:
        made = P2.build(made, (3, order, None, None, None, -1, -1, 0))
    return made


def single(kind: Ops, data: object) -> Ops:
    return P2.call("numpy._core.multiarray:scalar", kind, data)


def encoded(data: bytes) -> Ops:
    return P2.call("_codecs:encode", data.decode("latin-1"), "latin1")


def test_numbers_of_numpy_are_recorded_as_numbers(tmp_path: Path) -> None:
    wanted = {"f8": ("<d", 0.1), "f2": ("<e", 1.5), "i8": ("<q", -3), "u8": ("<Q", 1 << 63), "u1": ("<B", 200)}
    values = {name: single(kind_of(name, "<"), encoded(struct.pack(*one))) for name, one in wanted.items()}
    values["big"] = single(kind_of("i4", ">"), encoded(struct.pack(">i", 7)))
    values["true"] = single(kind_of("b1", "|"), encoded(b"\1"))
    values["nan"] = single(kind_of("f4", "<"), encoded(struct.pack("<f", float("nan"))))
    others = {
        "short": single(kind_of("f8", "<"), encoded(b"1234567")),
        "complex": single(kind_of("c8", "<"), encoded(bytes(8))),
        "twice": single(kind_of("i4", "<", ">"), encoded(bytes(4))),
        "told": P2.build(single(kind_of("u1", "|"), encoded(b"a")), {"a": 1}),
        "wide": single(kind_of("u1", "|"), P2.call("_codecs:encode", "\u0100", "latin1")),
    }
    made, found = convert_to(write(tmp_path, {"model": {"w": view()}, **values, **others}))
    assert list(found) == ["w"]
    numbers = {name: value for name, (_, value) in wanted.items()}
    assert made.scalars == {**numbers, "big": 7, "true": True, "nan": "nan", "told.a": 1}
    assert [one.path for one in made.dropped] == list(others)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("name", "f8 f4 f2 i8 i4 i2 i1 u8 u4 u2 u1 b1 >f8 >i4".split())
def test_numbers_are_what_numpy_would_load(name: str, protocol: int) -> None:
    for value in np.array([0, 1, 100]).astype(name):
        machine = Machine(memoryview(pickle.dumps(value, protocol)), 0, Location(()), Budget(Limits()))
        machine.run()
        assert number(machine.result) == value.item()


def test_members_that_the_pickle_does_not_name_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    more = [Entry(name="archive/code.py", data=b"print()"), Entry(name="archive/data/")]
    path.write_bytes(zip_archive(*torch_entries(P2.stream({"w": view()}), {"0": DATA, "7": DATA}), *more))
    made, found = convert_to(path)
    assert list(found) == ["w"]
    assert [one.path for one in made.dropped] == ["archive/data/7", "archive/code.py"]


def test_a_module_has_the_names_of_its_state_dict(tmp_path: Path) -> None:
    def module(parameters: dict[str, object], buffers: dict[str, object], modules: dict[str, object]) -> Ops:
        left_out = P2.call("__builtin__:set", ["gone"])
        parts: dict[object, object] = {
            "training": True,
            "_parameters": parameters,
            "_buffers": buffers,
            "_modules": modules,
        }
        state = P2.dict_of(
            {**parts, "_non_persistent_buffers_set": left_out, "_hooks": P2.call("collections:OrderedDict")}
        )
        made = P2.name("models", "Any") + b")\x81"
        return Ops(made + state + b"b")

    inner = module({"weight": view(), "bias": None}, {"mean": view((2,), (1,)), "gone": view((1,), (1,))}, {})
    made, found = convert_to(write(tmp_path, module({}, {}, {"layer": inner, "none": None})))
    assert sorted(found) == ["layer.mean", "layer.weight"]
    assert [one.what for one in made.dropped] == ["code and settings of models.Any, and of the modules in it"]


def test_several_groups_are_listed_and_none_is_guessed(tmp_path: Path) -> None:
    group = {"w": view()}
    path = write(tmp_path, {"model": group, "ema": {"w": view((6,), (1,))}, "step": 1})
    told = refusal(path)
    assert "model (1 tensors, dict), ema (1 tensors, dict)" in told
    assert "--state-dict" in told
    made = convert(path, tmp_path / "ema.safetensors", state_dict="ema")
    assert [(one.name, one.shape) for one in made.tensors] == [("w", (6,))]
    made = convert(path, tmp_path / "all.safetensors", state_dict=".")
    assert sorted(one.name for one in made.tensors) == ["ema.w", "model.w"]


@pytest.mark.parametrize("wanted", ["nothing", "step", "model.w.x"])
def test_a_path_to_nothing_is_refused(wanted: str, tmp_path: Path) -> None:
    path = write(tmp_path, {"model": {"w": view()}, "step": 1})
    assert "groups of tensors are at: model" in refusal(path, state_dict=wanted)


def test_tensors_beside_a_group_make_it_ambiguous(tmp_path: Path) -> None:
    path = write(tmp_path, {"model": {"w": view()}, "rng_state": view((2,), (1,))})
    assert "several groups" in refusal(path)


def test_single_numbers_and_lists_beside_weights_are_no_groups(tmp_path: Path) -> None:
    callbacks = {"checkpoint": {"best": view((), ()), "models": {"a.ckpt": view((), (), 1)}}}
    value = {"state_dict": {"w": view()}, "callbacks": callbacks, "rng": [view((2,), (1,))], "loss": view((), ())}
    made = convert(write(tmp_path, value), tmp_path / "out.safetensors")
    assert (made.state_dict, [one.name for one in made.tensors]) == ("state_dict", ["w"])
    assert {one.path for one in made.dropped} == {"callbacks", "rng", "loss"}


def test_an_optimizer_among_tensors_is_left_out_unless_all_is_asked_for(tmp_path: Path) -> None:
    optimizer = {"state": {0: {"m": view((2,), (1,))}}, "param_groups": []}
    path = write(tmp_path, {"w": view(), "optimizer": optimizer, "step": view((), ())})
    made, found = convert_to(path)
    assert (sorted(found), [one.path for one in made.dropped]) == (["step", "w"], ["optimizer"])
    convert(path, tmp_path / "all.safetensors", state_dict=".")
    assert sorted(load(tmp_path / "all.safetensors")) == ["optimizer.state.0.m", "step", "w"]
    verify(path, tmp_path / "all.safetensors")


def test_numbers_and_texts_are_recorded_as_they_are(tmp_path: Path) -> None:
    floats, text = [index / 7 for index in range(50)], "é" * 5000
    made, _ = convert_to(write(tmp_path, {"w": view(), "floats": floats, "text": text, "sides": (1, 2)}))
    assert made.scalars == {"floats": floats, "text": text, "sides": [1, 2]}


def test_an_optimizer_is_taken_when_it_is_asked_for(tmp_path: Path) -> None:
    value = {"optimizer": {"state": {0: {"m": view()}}, "param_groups": []}}
    path = write(tmp_path, value)
    assert "optimizer" in refusal(path)
    made = convert(path, tmp_path / "out.safetensors", state_dict="optimizer.state")
    assert [one.name for one in made.tensors] == ["0.m"]


def test_the_stream_before_1_6(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    state = {"w": view((3, 4), (4, 1)), "t": view((4, 3), (1, 4)), "v": view((2,), (1,), 1, of=viewed(4, 6))}
    path.write_bytes(legacy(state, ["0"], struct.pack("<q", 12) + DATA))
    made, found = convert_to(path)
    assert made.format == "torch-legacy"
    assert found["t"][1].tolist() == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]
    assert found["v"][1].tolist() == [5, 6]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (legacy({"w": view()}, ["0"], struct.pack("<q", 11) + DATA), "11 elements"),
        (legacy({"w": view()}, ["0"], struct.pack("<q", 12) + DATA + b"x"), "1 bytes behind the last storage"),
        (legacy({"w": view()}, ["0"], struct.pack("<q", 12) + DATA[:-1]), "want 48 bytes, 47 left"),
        (legacy({"w": view()}, ["0", "1"], struct.pack("<q", 12) + DATA + bytes(8)), "in no tensor"),
        (legacy({"w": view()}, ["0", "0"], 2 * (struct.pack("<q", 12) + DATA)), "named twice"),
        (legacy({"w": view()}, [], b""), "its storage '0' is not in the file"),
        (legacy({"w": view()}, ["0"], struct.pack("<q", 12) + DATA, little=False), "big-endian"),
        (legacy({"w": view(of=viewed(8, 6))}, ["0"], struct.pack("<q", 12) + DATA), "names no storage"),
    ],
)
def test_a_stream_whose_storages_are_not_those_it_names_is_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(data)
    assert reason in refusal(path)


def test_the_tar_of_2016(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    parameter = P2.call("torch.nn.parameter:Parameter", persistent("7"), True)
    path.write_bytes(tar({"w": parameter, "half": persistent("8")}))
    made, found = convert_to(path)
    assert made.format == "torch-tar"
    assert found["w"][1].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert found["half"][1].tolist() == [9, 10]
    path.write_bytes(tar({"w": persistent("7")}, offset=1))
    assert "reaches to byte 52 of storage 1" in refusal_in(tmp_path / "again", path)


def refusal_in(folder: Path, path: Path) -> str:
    folder.mkdir()
    other = folder / path.name
    other.write_bytes(path.read_bytes())
    return refusal(other)


def test_calls_beside_the_weights_are_told(tmp_path: Path) -> None:
    hidden = Ops(P2.call("os:system", "echo") + b"0" + P2.dict_of({"w": view()}))
    made, found = convert_to(write(tmp_path, hidden))
    assert sorted(found) == ["w"]
    assert [one.what for one in made.dropped] == [
        "a call of os.system, which loading the file makes and converting it does not"
    ]
