"""Leaves: which bytes they stand for, and that nothing else than what was measured is taken for them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loading import Part, packed

from weighbridge import leaves
from weighbridge.leaves import CHUNK, Leaves, Sidecar, measure, sidecar
from weighbridge.refusals import ApprovalMalformed, MalformedHeader

BIG = os.urandom(2 * CHUNK + 5)
MODEL = packed({"big": Part("U8", [len(BIG)], BIG), "none": Part("F32", [0, 3], b""), "small": Part("U8", [3], b"abc")})


@contextmanager
def opened(path: Path, data: bytes) -> Iterator[int]:
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_the_leaves_of_a_model_lie_along_its_tensors(tmp_path: Path) -> None:
    with opened(tmp_path / "m", MODEL) as descriptor:
        found = measure(descriptor, "safetensors")
    header = MODEL[: len(MODEL) - len(BIG) - 3]
    pieces = [header, BIG[:CHUNK], BIG[CHUNK : 2 * CHUNK], BIG[2 * CHUNK :], b"abc"]
    assert found.leaves == Leaves(digests=b"".join(map(digest, pieces)))
    assert (found.sha256, found.size) == (hashlib.sha256(MODEL).hexdigest(), len(MODEL))
    line = f"weighbridge leaves 1 tensors {len(MODEL)} 5 -\n".encode()
    assert found.root == hashlib.sha256(line + found.leaves.digests).hexdigest()


def test_the_leaves_of_any_other_file_are_its_chunks(tmp_path: Path) -> None:
    with opened(tmp_path / "m", MODEL) as descriptor:
        found = measure(descriptor, "gguf")
    assert [found.leaves[index] for index in range(len(found.leaves))] == [
        digest(MODEL[begin : begin + CHUNK]) for begin in range(0, len(MODEL), CHUNK)
    ]


def test_an_empty_file_has_no_leaves(tmp_path: Path) -> None:
    with opened(tmp_path / "m", b"") as descriptor:
        assert len(measure(descriptor, "").leaves) == 0


def test_a_file_of_many_blocks_is_measured_whole(tmp_path: Path) -> None:
    data = os.urandom(20 * CHUNK + 1)
    with opened(tmp_path / "m", data) as descriptor:
        found = measure(descriptor, "")
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert len(found.leaves) == 21
    assert found.leaves[20] == digest(data[-1:])


def test_a_model_that_no_loader_takes_is_not_measured(tmp_path: Path) -> None:
    with opened(tmp_path / "m", MODEL + b"x") as descriptor, pytest.raises(MalformedHeader):
        measure(descriptor, "safetensors")


def measured(tmp_path: Path) -> list[leaves.Measured]:
    found = []
    for data, format in ((MODEL, "safetensors"), (MODEL, "zip"), (b"", ""), (b"{}", "json")):
        with opened(tmp_path / "m", data) as descriptor:
            found.append(measure(descriptor, format))
    return found


def test_a_sidecar_gives_back_what_was_measured(tmp_path: Path) -> None:
    files = measured(tmp_path)
    with opened(tmp_path / "s", b"".join(sidecar([*files, files[0]]))) as descriptor:
        read = Sidecar(descriptor, "s")
        for file, format in zip(files, ("safetensors", "zip", "", "json"), strict=True):
            assert read.leaves(file.root, file.size, format) == file.leaves
        with pytest.raises(ApprovalMalformed):
            read.leaves("0" * 64, 1, "json")
        with pytest.raises(ApprovalMalformed):  # the root binds the size and whether there are tensors
            read.leaves(files[0].root, files[0].size + 1, "safetensors")
        with pytest.raises(ApprovalMalformed):
            read.leaves(files[0].root, files[0].size, "zip")


def test_a_sidecar_of_petabytes_is_refused_at_once(tmp_path: Path) -> None:
    with opened(tmp_path / "s", leaves.MAGIC) as descriptor:
        os.truncate(tmp_path / "s", 1 << 43)
        with pytest.raises(ApprovalMalformed, match="broken at 0x5d"):
            Sidecar(descriptor, "s")


def test_the_fs_verity_digest_is_part_of_the_root() -> None:
    with_it, without = Leaves(digests=bytes(32), verity=b"\1" * 32), Leaves(digests=bytes(32))
    assert leaves.root(5, "json", with_it) != leaves.root(5, "json", without)


@given(st.data())
def test_a_sidecar_that_was_written_to_gives_the_same_leaves_or_none(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    tmp_path = tmp_path_factory.mktemp("sidecar")
    files = measured(tmp_path)
    raw = bytearray(b"".join(sidecar(files)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    del raw[data.draw(st.integers(len(raw) // 2, len(raw))) :]
    with opened(tmp_path / "s", bytes(raw)) as descriptor:
        for file, format in zip(files, ("safetensors", "zip", "", "json"), strict=True):
            try:
                assert Sidecar(descriptor, "s").leaves(file.root, file.size, format) == file.leaves
            except ApprovalMalformed:
                continue


def test_spans_tile_a_file_and_count_their_leaves() -> None:
    from weighbridge import header

    end = header.length(MODEL[:8], len(MODEL), "m")
    spans = leaves.spans(len(MODEL), header.parse(MODEL[8:end], len(MODEL), "m"))
    assert [(span.name, span.end - span.begin, span.first) for span in spans] == [
        ("", end, 0),
        ("big", len(BIG), 1),
        ("none", 0, 4),
        ("small", 3, 4),
    ]
    assert [span.end for span in spans[:-1]] == [span.begin for span in spans[1:]]
