"""The proof of a conversion, digests, listings, and files that appear whole or not at all."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import checkpoint
from torch_pickles import DATA, legacy, view, write

from fixtures.archives import torch_zip
from fixtures.assemble import P2, P4
from weighbridge.convert import proof, windows
from weighbridge.convert.conversion import convert, listing, verify
from weighbridge.convert.front import Front, StoppedError
from weighbridge.convert.sources.base import Store
from weighbridge.errors import MismatchError, SourceError, TruncatedError, UnconvertibleError, UsageError
from weighbridge.location import Location
from weighbridge.reader import from_descriptor


@pytest.fixture(params=["mapped", "mapped piece by piece", "read"])
def compared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Compare tensors in maps of them, in many small ones, and as it is done where neither is possible."""
    if request.param == "read":
        monkeypatch.setattr(windows, "_memcmp", lambda: None)
    else:
        monkeypatch.setattr(windows, "WORTH", 1)
    if request.param == "mapped piece by piece":
        monkeypatch.setattr(proof, "WINDOW", 5000)
        monkeypatch.setattr(proof, "BLOCK", 700)
    yield request.param


def test_a_flipped_bit_is_found_anywhere(tmp_path: Path, compared: str) -> None:
    source, destination = tmp_path / "model.pt", tmp_path / "out.safetensors"
    source.write_bytes(checkpoint({"a": (41, 100), "b": (5,)}))
    convert(source, destination)
    verify(source, destination)
    data = destination.read_bytes()
    first = 8 + int.from_bytes(data[:8], "little")
    for place in (first, first + 699, first + 700, first + 4999, first + 5000, first + 16_399, first + 16_400):
        destination.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        name = "a" if place < first + 16_400 else "b"
        with pytest.raises(MismatchError, match=rf"tensor {name} differs"):
            verify(source, destination)


def test_checksums_and_digests_do_not_depend_on_how_bytes_are_read(tmp_path: Path, compared: str) -> None:
    source, destination = tmp_path / "model.pt", tmp_path / "out.safetensors"
    whole = checkpoint({"a": (41, 100), "b": (5,)}, ties={"c": "a"})
    source.write_bytes(whole)
    assert convert(source, destination).digests == listing(source, digests=True).digests
    at = whole.index(struct.pack("<3f", 7, 8, 9))
    source.write_bytes(whole[:at] + b"\1" + whole[at + 1 :])
    with pytest.raises(UnconvertibleError, match=r"tensor 'a' and 1 more: archive/data/0 has CRC"):
        convert(source, destination, overwrite=True)


def test_a_window_on_a_file_that_was_cut_off_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a" * 100_000)
    with path.open("rb+") as file:
        store = Store(reader=from_descriptor(file.fileno(), Location(("a",))), descriptor=file.fileno())
        file.truncate(50_000)
        with pytest.raises(TruncatedError, match="became shorter"):
            windows.Window(store, 49_000, 2000)


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


def test_a_tensor_is_compared_when_it_has_been_written() -> None:
    front = Front()
    seen: list[int] = []

    def read() -> None:
        front.wait(7)
        seen.append(front.reached)

    reader = threading.Thread(target=read)
    reader.start()
    for position in (3, 6, 9):
        front.advance(position)
    reader.join()
    assert seen[0] >= 7


def test_either_side_gives_up_with_the_other() -> None:
    front = Front()
    front.advance(3)
    front.stop(OSError("full"))
    front.wait(3)
    with pytest.raises(OSError, match="full"):
        front.wait(4)
    with pytest.raises(StoppedError):
        front.advance(4)


def test_tensors_without_elements_are_not_waited_for(tmp_path: Path) -> None:
    source, destination = tmp_path / "model.pt", tmp_path / "out.safetensors"
    source.write_bytes(checkpoint({"a": (0, 4), "b": (0,)}))
    assert len(convert(source, destination).digests) == 2
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
