"""Files that other files refer to: what makes raw weights inert, and what the file system says of them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.companions import Neighbours, account, beside, observe, references, spans_of
from weighbridge.facts import Anomaly, ExternalData, Fact, Gap
from weighbridge.judgement import Judgement
from weighbridge.location import Location
from weighbridge.policy import Coverage, Examined
from weighbridge.walk import Target

MODEL = "model.onnx"
PLACE = Location((MODEL,), 7)


def refers(target: str, *spans: tuple[int, int | None], checksum: str = "") -> list[Fact]:
    return [
        ExternalData(location=PLACE, target=target, offset=begin, length=length, checksum=checksum)
        for begin, length in spans
    ]


def model(facts: list[Fact]) -> Examined:
    return Examined(
        path=MODEL, size=10, coverage=Coverage(parsed=10), judgement=Judgement(), references=references(facts)
    )


def raw(path: str, size: int) -> Examined:
    gap = Gap(location=Location((path,)), reason="no known format", size=size)
    return Examined(
        path=path, size=size, coverage=Coverage(unexamined=size), judgement=Judgement(gaps=(gap,)), raw=True
    )


def settled(folder: Path, facts: list[Fact], weights: bytes, name: str = "w.bin") -> tuple[list[Fact], Examined]:
    """Return what is said of the model, and the weights as accounted for."""
    (folder / MODEL).write_bytes(b"0123456789")
    if not (folder / name).exists():
        (folder / name).write_bytes(weights)
    targets = [Target(name=MODEL, path=str(folder / MODEL)), Target(name=name, path=str(folder / name))]
    files = [model(facts), raw(name, len(weights))]
    neighbours = Neighbours(targets)
    said = list(observe(files[0], neighbours, {one.path: one.size for one in files}))
    spans = spans_of(files, neighbours).get(name, ())
    return said, account(files[1], spans, targets[1]) if spans else files[1]


def test_bytes_that_a_graph_refers_to_are_inert(tmp_path: Path) -> None:
    said, weights = settled(tmp_path, refers("w.bin", (0, 4), (4, 4)), b"abcdefgh")
    assert said == []
    assert weights.coverage == Coverage(inert=8)
    assert weights.judgement.gaps == ()


def test_bytes_between_tensors_are_padding_only_if_they_are_zeros(tmp_path: Path) -> None:
    _, weights = settled(tmp_path, refers("w.bin", (0, 2), (4, 2), (8, 2)), b"ab\0\0cd!!ef\0\0")
    assert weights.judgement.gaps == (
        Gap(location=Location(("w.bin",), 6), reason="bytes that no tensor refers to", size=2),
    )
    assert weights.coverage == Coverage(inert=10, unexamined=2)


def test_a_tensor_without_a_length_takes_the_rest(tmp_path: Path) -> None:
    assert settled(tmp_path, refers("w.bin", (0, 2), (2, None)), b"abcdef")[1].coverage == Coverage(inert=6)


def test_a_tensor_beyond_the_end_of_the_file_is_told(tmp_path: Path) -> None:
    said, _ = settled(tmp_path, refers("w.bin", (0, 9)), b"abcdefgh")
    assert [fact.code for fact in said if isinstance(fact, Anomaly)] == ["external-beyond-file"]


@pytest.mark.parametrize("right", [True, False])
def test_a_checksum_is_compared(tmp_path: Path, right: bool) -> None:
    checksum = hashlib.sha1(b"abcd" if right else b"abce", usedforsecurity=False).hexdigest().upper()
    said, _ = settled(tmp_path, refers("w.bin", (0, 4), checksum=checksum), b"abcd")
    assert [fact.code for fact in said if isinstance(fact, Anomaly)] == ([] if right else ["external-checksum"])


def test_weights_that_are_absent_are_a_gap(tmp_path: Path) -> None:
    said, _ = settled(tmp_path, refers("v.bin", (0, 4)), b"abcd")
    assert [type(fact) for fact in said] == [Gap]


def test_a_link_out_of_the_folder_is_told_and_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"abcd")
    (folder / "w.bin").symlink_to(tmp_path / "secret")
    said, _ = settled(folder, refers("w.bin", (0, 4)), b"abcd")
    assert [fact.code for fact in said if isinstance(fact, Anomaly)] == ["external-escapes"]
    neighbours = Neighbours([Target(name=MODEL, path=str(folder / MODEL))])
    assert list(neighbours.missing([model(refers("w.bin", (0, 4)))])) == []


def test_a_link_inside_the_folder_and_a_second_name_are_told(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(b"abcd")
    (tmp_path / "w.bin").symlink_to("real.bin")
    said, _ = settled(tmp_path, refers("w.bin", (0, 4)), b"abcd")
    assert [fact.code for fact in said if isinstance(fact, Anomaly)] == ["external-link"]
    os.link(tmp_path / "real.bin", tmp_path / "other.bin")
    said, _ = settled(tmp_path, refers("other.bin", (0, 4)), b"abcd", name="other.bin")
    assert [fact.code for fact in said if isinstance(fact, Anomaly)] == ["external-hard-link"]


def test_files_on_disk_beside_a_model_named_alone_are_scanned_too(tmp_path: Path) -> None:
    (tmp_path / MODEL).write_bytes(b"")
    (tmp_path / "w.bin").write_bytes(b"abcd")
    neighbours = Neighbours([Target(name=MODEL, path=str(tmp_path / MODEL))])
    one = model(refers("./w.bin", (0, 4)))
    assert [target.name for target in neighbours.missing([one])] == ["w.bin"]
    assert list(neighbours.missing([one])) == []


def test_what_a_format_recognises_is_what_the_format_says(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"abcd")
    known = replace(raw("w.bin", 4), raw=False)
    assert account(known, ((0, 4),), Target(name="w.bin", path=str(tmp_path / "w.bin"))) is known


def test_a_model_in_a_store_finds_its_weights_by_name_alone(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"abcd")
    source = Target(name="onnx/model.onnx", path=str(tmp_path / "blob"), stored=True)
    weights = Target(name="onnx/w.bin", path=str(tmp_path / "other"), stored=True)
    one = replace(model(refers("w.bin", (0, 4))), path="onnx/model.onnx")
    assert list(Neighbours([source]).missing([one])) == []
    assert Neighbours([source, weights]).find(source, one.references[0]) is weights


def test_a_model_in_an_archive_does_not_mean_files_beside_the_archive(tmp_path: Path) -> None:
    place = Location((MODEL, "model.onnx"), 7)
    said, weights = settled(tmp_path, [ExternalData(location=place, target="w.bin", offset=0, length=4)], b"abcd")
    assert [type(fact) for fact in said] == [Gap]
    assert weights.coverage == Coverage(unexamined=4)
    alone = Neighbours([Target(name=MODEL, path=str(tmp_path / MODEL))])
    assert list(alone.missing([model([ExternalData(location=place, target="w.bin")])])) == []


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("w.bin", "a/w.bin"), ("./w.bin", "a/w.bin"), ("b/../w.bin", "a/w.bin"), ("b\\w.bin", "a/b/w.bin"),
        ("../w.bin", ""), ("/w.bin", ""), ("", ""), (".", ""), ("C:/w.bin", ""), ("\\\\host\\w.bin", ""), ("a\0b", ""),
    ],
)  # fmt: skip
def test_a_target_stays_below_the_model(target: str, name: str) -> None:
    assert beside("a/model.onnx", target) == name


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=12))
def test_merged_spans_cover_what_the_tensors_cover(spans: list[tuple[int, int]]) -> None:
    covered = {byte for begin, length in spans for byte in range(begin, begin + length)}
    found = references(refers("w.bin", *spans))
    assert {byte for one in found for begin, end in one.spans for byte in range(begin, end)} == covered
    for one in found:
        assert all(end < begin for (_, end), (begin, _) in zip(one.spans, one.spans[1:], strict=False))


FOREIGN = {
    "TensorFlow Lite": b"\x1c\0\0\0TFL3" + bytes(range(1, 64)),
    "RAR": b"Rar!\x1a\x07\x01\x00" + bytes(range(64)),
    "DOS": b"MZqFpD='\n" + bytes(range(64)),
    "message": b"\x08\x01\x12\x03abc\x1d1234\x2112345678",
    "message with a group that nobody knows": b"\x08\x01\xfb\x3e\x08\x05\xfc\x3e",
}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN.keys())
def test_what_another_program_loads_is_no_tensor(tmp_path: Path, data: bytes) -> None:
    _, weights = settled(tmp_path, refers("w.bin", (0, len(data))), data)
    assert "which is not understood" in weights.judgement.gaps[0].reason
    assert weights.coverage == Coverage(unexamined=len(data))


@pytest.mark.parametrize("name", ["model.h5", "modeling_x.py", "lib.so", "x.PKL", "config.json"])
def test_a_name_by_which_loaders_choose_is_none_of_a_tensors_file(tmp_path: Path, name: str) -> None:
    data = bytes(range(1, 33))
    _, weights = settled(tmp_path, refers(name, (0, 32)), data, name)
    assert weights.judgement.gaps


@pytest.mark.parametrize("name", ["model.onnx_data", "model.onnx.data", "weights.pb", "unet.weight", "w.bin", "w"])
@pytest.mark.parametrize("data", [b"\0\0\x80\x3f" * 8, bytes(64), bytes(range(200, 256)) * 3, b"\x08"])
def test_numbers_are_a_tensors_data_under_the_names_that_exporters_give(tmp_path: Path, name: str, data: bytes) -> None:
    _, weights = settled(tmp_path, refers(name, (0, len(data))), data, name)
    assert weights.judgement.gaps == ()
    assert weights.coverage == Coverage(inert=len(data))
