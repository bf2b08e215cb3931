"""Few formats are asked about a file, and none is passed over that would have recognised it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from weighbridge import formats
from weighbridge.formats.base import PREFIX
from weighbridge.location import Location
from weighbridge.reader import from_bytes

FIXTURES = Path(__file__).parent.parent / "fixtures"
FILES = sorted(path for path in FIXTURES.rglob("*") if path.is_file() and path.stat().st_size < 1 << 16)
BEGINNINGS = sorted({path.read_bytes()[:12] for path in FILES})

# Bytes that mean something to some format more often than any byte does.
telling = st.binary(max_size=24) | st.builds(
    bytes,
    st.lists(st.sampled_from(b"\x00\x01\x02\x04\x08\x0a\x12\x3a\x7f\x80\x93\xa2\xc2cPK(]}\r\n \x1fBZ"), max_size=24),
)


def recognised(data: bytes) -> tuple[list[str], list[str]]:
    """Return the formats that a scan finds, and those that recognise the bytes when each of them is asked."""
    sample = from_bytes(data, Location(("file",))).sample
    found = [one.name for one in formats.sniff(sample)]
    return found, [one.name for one in formats.FORMATS if one.sniff(sample)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FIXTURES)))
def test_a_fixture_is_recognised_however_it_is_cut(path: Path) -> None:
    data = path.read_bytes()
    for cut in (*range(PREFIX + 2), 13, 19, 64, len(data)):
        found, all_of_them = recognised(data[:cut])
        assert found == all_of_them


@given(st.sampled_from(BEGINNINGS), st.integers(0, 12), telling)
@example(b"\x50\x2a\x4d\x18\x00\x00\x00\x00", 12, b"\x28\xb5\x2f\xfd")
@example(b"\x5d\x00\x00\x80\x00", 12, bytes(20))
@example(b"\x03\xf3\r\n", 12, b"\0\0\0\0c")
@example(b"\x08\x07\x3a\x02\x0a\x00", 12, b"")
@example(b"P1\n.", 12, b"")
def test_nothing_is_passed_over(begin: bytes, kept: int, rest: bytes) -> None:
    found, all_of_them = recognised(begin[:kept] + rest)
    assert found == all_of_them


# Of opcodes that put a value on an empty stack, and leave it or drop it.
STARTS = (
    b"C\x01a0",
    b"\x8b\x01\0\0\0\x010",
    b"\x8d\x01\0\0\0\0\0\0\0a0",
    b"\x8e\x01\0\0\0\0\0\0\0a0",
    b"\x8f0",
    b"\x96\x01\0\0\0\0\0\0\0a0",
    b"\x8a\x01\x010",
    b"B\x01\0\0\0a0",
    b"]0",
    b"(0",
    b"\x95\x20\0\0\0\0\0\0\0",
)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("filler", [b"", b"C\xff" + b"a" * 255 + b"0"])
def test_a_pickle_is_known_by_whatever_value_it_begins_with(start: bytes, filler: bytes) -> None:
    data = start + filler * 1000 + b"cos\nsystem\n(Vid\ntR."
    assert "pickle" in [one.name for one in formats.sniff(from_bytes(data, Location(("x",))).sample)]
