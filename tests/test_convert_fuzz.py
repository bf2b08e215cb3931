"""Damaged checkpoints: whatever the bytes are, a conversion is right, or it is refused and leaves nothing."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_pickles import DATA, legacy, persistent, tar, view

from fixtures.archives import Entry, torch_entries, torch_zip, zip_archive
from fixtures.assemble import P2, P4
from weighbridge.convert.conversion import convert, listing, verify
from weighbridge.errors import WeighbridgeError

OPTIMIZER = {"state": {0: {"m": view((3,), (1,))}}, "param_groups": [{"lr": 0.1}]}
STATE = {"a": view((3, 4), (4, 1)), "b": view((4, 3), (1, 4)), "steps": 7, "names": ["x", "y"]}
CHECKPOINT = {"model": STATE, "optimizer": OPTIMIZER, "args": P2.call("argparse:Namespace"), "rate": 0.5}
FILES = {
    "zip": torch_zip(P2.stream(CHECKPOINT), {"0": DATA}),
    "zip of protocol 4": torch_zip(P4.stream(STATE), {"0": DATA}),
    "stream": legacy(CHECKPOINT, ["0"], struct.pack("<q", 12) + DATA),
    "tar": tar({"w": persistent("7"), "half": persistent("8")}),
}


def attempt(data: bytes, folder: Path) -> None:
    """Convert bytes, or see them refused with an error of ours and nothing left."""
    source, output = folder / "source", folder / "out.safetensors"
    for old in folder.iterdir():
        old.unlink()
    source.write_bytes(data)
    try:
        convert(source, output, state_dict=None)
    except WeighbridgeError:
        assert [one.name for one in folder.iterdir()] == ["source"]
    else:
        verify(source, output)
    try:
        listing(source, digests=True, stats=True)
    except WeighbridgeError as error:
        assert str(error)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("kind", FILES)
def test_flipped_bytes(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    damaged = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    attempt(bytes(damaged), tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_pickles_with_other_bytes(data: st.DataObject, tmp_path: Path) -> None:
    program = bytearray(P2.stream(CHECKPOINT))
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(program) - 2))
        end = data.draw(st.integers(begin, min(len(program), begin + 6)))
        program[begin:end] = data.draw(st.binary(max_size=4))
    entries = torch_entries(bytes(program), {"0": DATA})
    silent = [Entry(name=one.name, data=one.data, align=64, crc=0, local_crc=0) for one in entries]
    attempt(zip_archive(*silent), tmp_path)


@pytest.mark.parametrize("kind", FILES)
def test_every_truncation_is_refused(kind: str, tmp_path: Path) -> None:
    whole = FILES[kind]
    for size in range(0, len(whole) - 1, 7):
        if kind == "tar" and not whole[size:].strip(b"\0"):
            break  # of the blocks of zeros at the end readers miss none
        (tmp_path / "source").write_bytes(whole[:size])
        with pytest.raises(WeighbridgeError):
            convert(tmp_path / "source", tmp_path / "out.safetensors")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes, tmp_path: Path) -> None:
    attempt(data, tmp_path)
