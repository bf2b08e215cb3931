"""TensorFlow's checkpoints as a source: what it wrote, and indexes that nobody writes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from converting import assert_equal, convert_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_convert_directory import nobody

from weighbridge.convert.conversion import convert, listing
from weighbridge.convert.directory import convert_folder
from weighbridge.convert.directory_proof import verify_folder
from weighbridge.convert.table import MAGIC, crc32c, masked
from weighbridge.errors import ArtifactError, SourceError, UnconvertibleError
from weighbridge.formats.onnx.wire import encoded

FILES = Path(__file__).parent / "checkpoint_files" / "tf"
FLOAT, TEXT = 1, 7


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return the index of a copy of TensorFlow's own checkpoint."""
    shutil.copytree(FILES, tmp_path / "tf")
    return tmp_path / "tf" / "checkpoint.index"


def test_tensorflow(checkpoint: Path) -> None:
    made, found = convert_to(checkpoint)
    with np.load(FILES.parent / "tensorflow.npz") as wanted:
        assert_equal(found, {f"model/{name.split('.')[1]}": array for name, array in wanted.items()})
    assert found["model/half"][0] == "BF16"
    assert [one.path for one in made.dropped] == [
        "_CHECKPOINTABLE_OBJECT_GRAPH", "model/name_/.ATTRIBUTES/VARIABLE_VALUE",
    ]  # fmt: skip


def test_a_folder_of_it(checkpoint: Path) -> None:
    out = checkpoint.parent.parent / "out"
    made = convert_folder(checkpoint.parent, out, judge=nobody)
    assert list(made.conversions) == ["checkpoint.safetensors"]
    assert made.left_out == {"checkpoint.data-00000-of-00001": "the data of checkpoint.index"}
    assert verify_folder(checkpoint.parent, out) == 1


def number(field: int, value: int) -> bytes:
    return encoded(field << 3) + encoded(value)


def part(field: int, data: bytes) -> bytes:
    return encoded(field << 3 | 2) + encoded(len(data)) + data


def entry(
    dtype: int = FLOAT, shape: tuple[int, ...] = (2,), offset: int = 0, size: int = 8, more: bytes = b""
) -> bytes:
    """Return a `BundleEntryProto`."""
    sides = b"".join(part(2, number(1, side)) for side in shape)
    return number(1, dtype) + part(2, sides) + number(4, offset) + number(5, size) + more


HEADER = number(1, 1) + part(3, number(1, 1))


def block(items: list[tuple[bytes, bytes]], kind: bytes = b"\0") -> bytes:
    """Return a block with its trailer, of entries that share nothing."""
    body = b"".join(encoded(0) + encoded(len(key)) + encoded(len(value)) + key + value for key, value in items)
    body += bytes(4) + (1).to_bytes(4, "little")
    return body + kind + masked(crc32c(body + kind)).to_bytes(4, "little")


def table(items: list[tuple[bytes, bytes]], kind: bytes = b"\0") -> bytes:
    """Return a table of one block."""
    data, meta = block(items, kind), block([])
    index = block([(b"~", encoded(0) + encoded(len(data) - 5))])
    footer = encoded(len(data)) + encoded(len(meta) - 5) + encoded(len(data) + len(meta)) + encoded(len(index) - 5)
    return data + meta + index + footer.ljust(40, b"\0") + MAGIC


def write(folder: Path, variables: Mapping[bytes, bytes], header: bytes = HEADER, data: bytes = bytes(64)) -> Path:
    """Write a checkpoint and return its index."""
    place = folder / "x.index"
    place.write_bytes(table([(b"", header), *sorted(variables.items())]))
    (folder / "x.data-00000-of-00001").write_bytes(data)
    return place


def test_slots_of_an_optimizer_are_left_out_and_can_be_asked_for(tmp_path: Path) -> None:
    slot = b"w/.OPTIMIZER_SLOT/opt/m/.ATTRIBUTES/VARIABLE_VALUE"
    place = write(tmp_path, {b"w/.ATTRIBUTES/VARIABLE_VALUE": entry(), slot: entry(offset=8)})
    made, found = convert_to(place)
    assert (list(found), [one.path for one in made.dropped]) == (["w"], [slot.decode()])
    _, found = convert_to(place, state_dict=".", overwrite=True)
    assert sorted(found) == ["w", "w/.OPTIMIZER_SLOT/opt/m"]
    with pytest.raises(UnconvertibleError, match="in no groups"):
        convert(place, tmp_path / "out.safetensors", state_dict="w")


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (entry(size=4), "'w': it has 4 bytes, its shape and type ask for 8"),
        (entry(offset=60), "'w': it reaches to byte 68 of its data file"),
        (entry(shape=(1 << 40, 1 << 20), offset=56, size=1 << 62), "'w': it reaches"),
        (entry(dtype=18, size=32), "'w': type complex128 has no equivalent"),
        (entry(dtype=99), "'w': type 99 has no equivalent"),
        (entry(more=number(3, 5)), "'w': it is in data file 5 of 1"),
        (entry(more=part(7, b"")), "'w': a variable that is saved in slices"),
        (entry(more=part(2, part(2, number(1, (1 << 64) - 1)))), "a shape that is not made of numbers"),
        (entry(more=part(2, number(3, 1))), "a shape that is not made of numbers"),
        (entry() + b"\x0b", "wire type 3"),
        (entry() + b"\x12\x7f", "want 127 bytes"),
        (entry() + b"\x80", "goes on behind the end"),
    ],
)
def test_variables_that_no_writer_writes_are_refused(tmp_path: Path, held: bytes, reason: str) -> None:
    place = write(tmp_path, {b"v": entry(offset=48), b"w": held})
    with pytest.raises(ArtifactError, match=reason):
        convert(place, tmp_path / "out.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.data-00000-of-00001", "x.index"]


def test_variables_that_overlap_are_refused(tmp_path: Path) -> None:
    place = write(tmp_path, {b"v": entry(), b"w": entry(offset=4)})
    with pytest.raises(ArtifactError, match="overlap at byte 4"):
        convert(place, tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (number(1, 0), "0 data files"),
        (number(1, 1 << 40), "data files"),
        (HEADER + number(2, 1), "big-endian"),
        (b"\xff", "goes on behind"),
    ],
)
def test_headers_that_no_writer_writes_are_refused(tmp_path: Path, header: bytes, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        convert(write(tmp_path, {b"w": entry()}, header), tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (table([(b"w", entry())]), "without the header"),
        (table([(b"", HEADER), (b"w", entry()), (b"w", entry(offset=8))]), "not in order"),
        (table([(b"", HEADER), (b"w", entry()), (b"v", entry(offset=8))]), "not in order"),
        (table([(b"", HEADER)], b"\1"), "is compressed"),
        (table([(b"", HEADER)]).replace(HEADER, HEADER[:-1] + b"\7"), "the CRC of a block is wrong"),
        (bytes(40) + MAGIC, "want 5|without its restarts|CRC"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    write(tmp_path, {}).write_bytes(data)
    with pytest.raises(ArtifactError, match=reason):
        convert(tmp_path / "x.index", tmp_path / "out.safetensors")


def test_data_files_have_to_be_there_and_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    place = write(folder, {b"w": entry()})
    data = folder / "x.data-00000-of-00001"
    data.rename(tmp_path / "secret")
    with pytest.raises(SourceError, match="No such file"):
        convert(place, tmp_path / "out.safetensors")
    data.symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match="a link out of the folder"):
        convert(place, tmp_path / "out.safetensors")
    place.rename(folder / "x.table")
    with pytest.raises(UnconvertibleError, match="has to be called"):
        convert(folder / "x.table", tmp_path / "out.safetensors")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_gives_tensors_or_an_artifact_error(tmp_path: Path, data: st.DataObject) -> None:
    write(tmp_path, {b"w": entry()})
    value = bytearray(entry())
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    broken = bytearray(table([(b"", HEADER), (b"w", bytes(value))]))
    if data.draw(st.booleans()):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "x.index").write_bytes(bytes(broken))
    with suppress(ArtifactError):
        listing(tmp_path / "x.index", digests=True)
