"""The proof of a conversion, digests, listings, and files that appear whole or not at all."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from checkpoints import checkpoint
from torch_pickles import DATA, legacy, view, write

from fixtures.archives import torch_zip
from fixtures.assemble import P2, P4
from weighbridge.convert.conversion import convert, listing, verify
from weighbridge.errors import MismatchError, SourceError, UsageError


def test_one_flipped_bit_is_found(tmp_path: Path) -> None:
    source = tmp_path / "model.pt"
    source.write_bytes(checkpoint({"a": (3, 4), "b": (5,)}))
    destination = tmp_path / "out.safetensors"
    convert(source, destination)
    data = bytearray(destination.read_bytes())
    data[-7] ^= 1
    destination.write_bytes(data)
    with pytest.raises(MismatchError, match=r"tensor b differs"):
        verify(source, destination)


def test_another_header_is_found(tmp_path: Path) -> None:
    source = tmp_path / "model.pt"
    source.write_bytes(checkpoint({"a": (3, 4), "b": (5,)}))
    destination = tmp_path / "out.safetensors"
    convert(source, destination)
    data = destination.read_bytes()
    for old, new, reason in (
        (b"[3,4]", b"[4,3]", r"is F32 \[4, 3\], the source has F32 \[3, 4\]"),
        (b'"dtype":"F32","shape":[5]', b'"dtype":"I32","shape":[5]', "is I32"),
        (b'"a":', b'"c":', "tensor a of the source is missing"),
    ):
        destination.write_bytes(data.replace(old, new))
        with pytest.raises(MismatchError, match=reason):
            verify(source, destination)
    other = tmp_path / "other.pt"
    other.write_bytes(checkpoint({"a": (3, 4)}))
    destination.write_bytes(data)
    with pytest.raises(MismatchError, match="tensor b is not in the source"):
        verify(other, destination)


def test_digests_are_the_same_in_every_container(tmp_path: Path) -> None:
    zipped, streamed = tmp_path / "a.pt", tmp_path / "b.pt"
    zipped.write_bytes(torch_zip(P4.stream({"w": view((4, 3), (1, 4))}), {"0": DATA}))
    streamed.write_bytes(legacy({"w": view((4, 3), (1, 4))}, ["0"], struct.pack("<q", 12) + DATA))
    convert(zipped, tmp_path / "a.safetensors")
    found = {
        str(listing(path, digests=True).digests["w"]) for path in tmp_path.glob("*.[ps][ta]*") if path.suffix != ".json"
    }
    assert len(found) == 1


def test_listings_have_what_cannot_be_converted_too(tmp_path: Path) -> None:
    bad = P2.call("torch._utils:_rebuild_sparse_tensor", 0, 0)
    found = listing(write(tmp_path, {"model": {"w": view(), "bad": bad}, "ema": {"w": view()}}), stats=True)
    assert [one.name for one in found.tensors] == ["model.w", "ema.w"]
    assert [one.name for one in found.refused] == ["model.bad"]
    stats = found.stats["ema.w"]
    assert (stats.least, stats.greatest, stats.mean, stats.zero) == (0, 11, 5.5, 1)


def test_paths_that_make_no_sense(tmp_path: Path) -> None:
    source = write(tmp_path, {"w": view()})
    with pytest.raises(UsageError, match="is the source"):
        convert(source, source, overwrite=True)
    with pytest.raises(UsageError, match="no such folder"):
        convert(source, tmp_path / "nowhere" / "x.safetensors")
    with pytest.raises(UsageError, match="is a folder"):
        convert(source, tmp_path)
    with pytest.raises(SourceError, match="No such file"):
        convert(tmp_path / "absent.pt", tmp_path / "x.safetensors")
    with pytest.raises(SourceError, match="not a file"):
        convert(Path("/dev/null"), tmp_path / "x.safetensors")
    convert(source, tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match="--overwrite"):
        convert(source, tmp_path / "x.safetensors")
    convert(source, tmp_path / "x.safetensors", overwrite=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model.pt", "x.conversion.json", "x.safetensors"]
