"""Files appear whole, in place of older ones and of nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from weighbridge.errors import UsageError
from weighbridge.writing import write


def test_a_file_takes_the_place_of_an_older_one_or_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "link").symlink_to("old")
    for name in ("new", "old", "link"):
        write(tmp_path / name, [b"n", b"ew"])
        assert (tmp_path / name).read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "new", "old"]


def test_a_name_may_be_as_long_as_the_system_takes(tmp_path: Path) -> None:
    name = "\u96ea" * 85  # 255 bytes
    write(tmp_path / name, [b"new"])
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to a pipe"])
def test_what_is_no_file_stays(tmp_path: Path, kind: str) -> None:
    place, other = tmp_path / "x", tmp_path / "y"
    os.mkfifo(other)
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("y")
    before = place.lstat()
    with pytest.raises(UsageError, match="something is there that is no file"):
        write(place, [b"new"], error=UsageError)
    assert os.path.samestat(before, place.lstat())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "y"]
