"""Bounded reads: nothing outside the window, and errors that name the place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.digest import Digest
from weighbridge.errors import LimitError, SourceError, TruncatedError
from weighbridge.formats.base import Context
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location, printable
from weighbridge.reader import HEAD, SPOOL_IN_MEMORY, Reader, from_bytes, from_path, spool

HERE = Location(("model.bin",))


@given(data=st.binary(max_size=64), offset=st.integers(-5, 70), count=st.integers(-5, 70))
def test_a_read_gives_exactly_the_bytes_or_an_error(data: bytes, offset: int, count: int) -> None:
    reader = from_bytes(data, HERE)
    if offset >= 0 and count >= 0 and offset + count <= len(data):
        assert reader.read(offset, count) == data[offset : offset + count]
        assert bytes(reader.window(offset, count).view) == data[offset : offset + count]
    else:
        with pytest.raises(TruncatedError):
            reader.read(offset, count)
        with pytest.raises(TruncatedError):
            reader.window(offset, count)


def test_numbers_are_little_endian_and_move_the_cursor() -> None:
    reader = from_bytes(bytes(range(1, 24)), HERE)
    assert reader.u8() == 1
    assert reader.u16() == 0x0302
    assert reader.u32() == 0x07060504
    assert reader.u64() == 0x0F0E0D0C0B0A0908
    assert reader.i64() == 0x1716151413121110
    assert reader.remaining == 0
    with pytest.raises(TruncatedError, match=r"model\.bin@0x17: want 1 bytes, 0 left"):
        reader.u8()


def test_take_skip_seek_and_peek_stay_inside() -> None:
    reader = from_bytes(b"abcdef", HERE)
    assert reader.take(2) == b"ab"
    assert reader.peek(10) == b"cdef"
    reader.skip(1)
    assert str(reader.location) == "model.bin@0x3"
    with pytest.raises(LimitError, match=r"model\.bin@0x3: 3 bytes, limit is 2"):
        reader.take(3, limit=2)
    with pytest.raises(TruncatedError):
        reader.skip(4)
    with pytest.raises(TruncatedError):
        reader.seek(7)
    reader.seek(0)
    assert reader.take(6) == b"abcdef"


def test_a_window_shares_the_bytes_and_knows_where_it_lies() -> None:
    reader = from_bytes(b"0123456789", HERE)
    part = reader.window(4, 3)
    member = reader.window(4, 3, "data.pkl")
    assert part.view.obj is reader.view.obj
    assert str(part.at(1)) == "model.bin@0x5"
    assert str(member.at(1)) == "model.bin!data.pkl@0x1"
    with pytest.raises(TruncatedError, match=r"model\.bin!data\.pkl@0x2: want 2 bytes, 1 left"):
        member.read(2, 2)


def test_a_sample_holds_both_ends() -> None:
    data = bytes(HEAD) + b"x" * 100_000 + b"end"
    sample = from_bytes(data, HERE).sample
    assert (len(sample.head), sample.tail[-3:], sample.size) == (HEAD, b"end", len(data))


@pytest.mark.parametrize("size", [0, 1, HEAD * 16, HEAD * 16 + 1])
def test_small_and_large_files_read_alike(tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(os.urandom(size))
    assert bytes(from_path(path, HERE).view) == path.read_bytes()
    with path.open("rb") as file:
        assert Digest.of_descriptor(file.fileno()) == Digest.of(path.read_bytes())


def test_a_file_that_cannot_be_opened_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"model\.bin: No such file"):
        from_path(tmp_path / "absent", HERE)
    with pytest.raises(SourceError):
        from_path(tmp_path, HERE)


@pytest.mark.parametrize("pieces", [1, SPOOL_IN_MEMORY // (1 << 20) + 2])
def test_a_spool_keeps_what_arrives(pieces: int) -> None:
    piece = os.urandom(1 << 20)
    reader = spool((piece for _ in range(pieces)), HERE)
    assert reader.size == pieces << 20
    assert reader.read(reader.size - 10, 10) == piece[-10:]


def context(limits: Limits) -> Context:
    return Context(budget=Budget(limits), examine=lambda _reader, _stored: iter(()))


def test_a_spool_stops_at_the_limits() -> None:
    with pytest.raises(LimitError, match="max_unpacked"):
        context(Limits(max_unpacked=10)).spool([b"x" * 11], HERE, 5)
    with pytest.raises(LimitError, match="max_ratio"):
        context(Limits(max_ratio=1, ratio_floor=2)).spool([b"abc"], HERE, 1)
    assert context(Limits()).spool([b"ab", b"c"], HERE, 1).read(0, 3) == b"abc"


def test_a_budget_counts_members_opcodes_values_and_time() -> None:
    clock = iter([0.0, 1.0, 700.0])
    budget = Budget(Limits(max_members=1, max_opcodes=10, max_values=5), clock=lambda: next(clock))
    budget.spend_members(HERE)
    budget.check_time(HERE)
    with pytest.raises(LimitError, match="max_members"):
        budget.spend_members(HERE)
    with pytest.raises(LimitError, match="max_opcodes"):
        budget.spend_opcodes(HERE, 11, 0)
    budget.opcodes = 0
    with pytest.raises(LimitError, match="max_values"):
        budget.spend_opcodes(HERE, 1, 6)
    with pytest.raises(LimitError, match="max_seconds"):
        budget.check_time(HERE)


@given(st.text())
def test_printable_text_cannot_drive_a_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"), [("a\x1b[2J", r"a\x1b[2J"), ("\u202ex", r"\u202ex"), ("\ud800", r"\ud800"), ("ok", "ok")]
)
def test_printable_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_reader_over_a_view_is_a_reader_over_bytes() -> None:
    assert Reader(memoryview(b"abc")[1:], HERE).read(0, 2) == b"bc"
