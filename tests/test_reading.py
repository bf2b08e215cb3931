"""Files that are named are read whole or refused, and nothing stays open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from weighbridge.errors import UsageError
from weighbridge.reading import read_file


def test_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert read_file(tmp_path / "x", 3) == b"abc"
    with pytest.raises(UsageError, match="longer than 2 bytes"):
        read_file(tmp_path / "x", 2, error=UsageError)


@pytest.mark.parametrize("kind", ["nothing", "folder", "pipe"])
def test_what_is_no_file_is_refused_and_nothing_stays_open(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "x"
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    free = os.dup(0)
    os.close(free)
    with pytest.raises(UsageError, match=r"not a file|No such file"):
        read_file(place, 3, error=UsageError)
    again = os.dup(0)
    os.close(again)
    assert again == free
