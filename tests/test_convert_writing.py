"""An output appears whole or not at all: full disks, interrupts, kills, sources that change; strided copies."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from checkpoints import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.convert import blocks, copy, proof, strided, write
from weighbridge.convert.conversion import convert
from weighbridge.convert.plan import Strided
from weighbridge.errors import SourceError, UsageError
from weighbridge.writing import write_at

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="files without a name are a matter of Linux")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    path.write_bytes(checkpoint({"a": (300, 400), "b": (5,)}))
    return path


def left(source: Path) -> list[str]:
    """Return what is in the folder besides the source."""
    return sorted(one.name for one in source.parent.iterdir() if one != source)


@pytest.fixture(params=["without a name", "beside"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Write as Linux does, and as other systems do."""
    if request.param == "beside":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    yield request.param


def test_either_way_gives_the_same_file(way: str, source: Path) -> None:
    convert(source, source.parent / "out.safetensors")
    convert(source, source.parent / "out.safetensors", overwrite=True)
    assert left(source) == ["out.conversion.json", "out.safetensors"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), SystemExit])
def test_what_breaks_off_leaves_nothing(
    way: str, source: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def broken(*_: Any) -> int:
        raise error

    monkeypatch.setattr(copy, "write_at", broken)
    expected = SourceError if isinstance(error, OSError) else error
    with pytest.raises(expected if isinstance(expected, type) else type(expected)):
        convert(source, source.parent / "out.safetensors")
    assert left(source) == []


def test_a_proof_that_fails_leaves_nothing(way: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = write_at
    monkeypatch.setattr(copy, "write_at", lambda file, block, at: real(file, bytes(len(block)), at))
    with pytest.raises(Exception, match="differs from the source"):
        convert(source, source.parent / "out.safetensors")
    assert left(source) == []


def test_a_file_that_appears_meanwhile_stays(way: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    destination = source.parent / "out.safetensors"

    def prove(*arguments: Any, **options: Any) -> Any:
        destination.write_text("somebody's")
        return proof.prove(*arguments, **options)

    monkeypatch.setattr("weighbridge.convert.conversion.prove", prove)
    with pytest.raises(UsageError, match="exists"):
        convert(source, destination)
    assert (left(source), destination.read_text()) == (["out.safetensors"], "somebody's")


def test_a_source_that_changes_meanwhile_is_refused(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prove(*arguments: Any, **options: Any) -> Any:
        found = proof.prove(*arguments, **options)
        os.utime(source, ns=(1, 1))
        return found

    monkeypatch.setattr("weighbridge.convert.conversion.prove", prove)
    with pytest.raises(SourceError, match="changed while it was read"):
        convert(source, source.parent / "out.safetensors")
    assert left(source) == []


STOPS = """
import os, signal, sys
from weighbridge.convert import conversion
real = conversion.prove
def prove(*arguments, **options):
    os.kill(os.getpid(), {signal})
    return real(*arguments, **options)
conversion.prove = prove
conversion.convert(sys.argv[1], sys.argv[2])
"""


@LINUX
@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_leaves_nothing(signal_: signal.Signals, source: Path) -> None:
    program = STOPS.format(signal=int(signal_))
    destination = source.parent / "out.safetensors"
    done = subprocess.run([sys.executable, "-c", program, source, destination], capture_output=True, check=False)
    assert done.returncode != 0
    assert left(source) == []


def limit_files() -> None:
    """Let files have no more than 100 000 bytes, which the system then answers as it does a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


@LINUX
def test_a_disk_that_is_full_leaves_nothing(source: Path) -> None:
    command = [sys.executable, "-m", "weighbridge", "convert", str(source), str(source.parent / "out.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit_files, check=False)
    assert (done.returncode, left(source)) == (4, [])
    assert "out.safetensors: File too large" in done.stderr


# --- gathering -----------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 40)), max_size=5),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(0, 9),
    st.sampled_from([16, 64, 1 << 20]),
)
def test_gathering_is_what_indexing_would_give(sides: list[tuple[int, int]], item: int, begin: int, block: int) -> None:
    shape = tuple(side for side, _ in sides)
    strides = tuple(stride * item for _, stride in sides)
    planned = Strided(begin=begin, item=item, shape=shape, strides=strides)
    data = bytes(index * 7 % 251 for index in range(begin + planned.extent + 3))
    places = [begin + sum(map(int.__mul__, index, strides)) for index in product(*map(range, shape))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strided, "BLOCK", block)
        patch.setattr(strided, "TOUCHED", 64 * block)
        found = b"".join(bytes(one) for one in strided.gather(memoryview(data), planned))
    assert found == b"".join(data[place : place + item] for place in places)


@given(st.binary(max_size=64), st.sampled_from([2, 4, 8]))
def test_swapping_twice_changes_nothing(data: bytes, unit: int) -> None:
    whole = data[: len(data) // unit * unit]
    assert blocks.swapped(blocks.swapped(whole, unit), unit) == whole
    assert blocks.swapped(whole, unit) == b"".join(whole[at : at + unit][::-1] for at in range(0, len(whole), unit))


def test_writing_goes_on_after_short_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: real(file, bytes(data)[:3], at))
    with write.new_file(tmp_path / "x") as file:
        assert write_at(file.descriptor, b"0123456789", 0) == 10
        file.publish()
    assert (tmp_path / "x").read_bytes() == b"0123456789"
