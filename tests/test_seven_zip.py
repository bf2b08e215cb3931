"""7z archives: py7zr writes them, the parser accounts for them, and hostile headers stay cheap."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import py7zr
import pytest
from examining import anomalies, examine, facts_of, members, reasons
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.facts import Anomaly, Inert
from weighbridge.formats import seven_zip
from weighbridge.limits import Limits

NUMBERS = struct.pack("<Q", 56) + b'{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}'.ljust(56) + bytes(9)
LZMA2: dict[str, Any] = {"id": py7zr.FILTER_LZMA2, "preset": 6}
FILTERS: dict[str, list[dict[str, Any]]] = {
    "lzma2": [LZMA2],
    "lzma": [{"id": py7zr.FILTER_LZMA, "preset": 6}],
    "copy": [{"id": py7zr.FILTER_COPY}],
    "deflate": [{"id": py7zr.FILTER_DEFLATE}],
    "bzip2": [{"id": py7zr.FILTER_BZIP2}],
    "delta": [{"id": py7zr.FILTER_DELTA, "dist": 4}, LZMA2],
    "x86": [{"id": py7zr.FILTER_X86}, LZMA2],
    "arm": [{"id": py7zr.FILTER_ARM}, LZMA2],
}


def pack(files: dict[str, bytes], filters: list[dict[str, Any]] | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    header = options.pop("header", True)
    with py7zr.SevenZipFile(file, "w", filters=filters, **options) as archive:
        archive.set_encoded_header_mode(header)
        for name, data in files.items():
            archive.writef(io.BytesIO(data), name)
    return file.getvalue()


def forge(header: bytes, packed: bytes = b"") -> bytes:
    start = struct.pack("<QQI", len(packed), len(header), zlib.crc32(header))
    return seven_zip.MAGIC + b"\0\x04" + struct.pack("<I", zlib.crc32(start)) + start + packed + header


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("method", FILTERS)
def test_every_file_is_examined_to_the_last_byte(method: str, header: bool) -> None:
    facts, tally = examine(pack({"a": NUMBERS, "d/b": NUMBERS, "c": NUMBERS}, FILTERS[method], header=header))
    assert members(facts) == [("file", "a"), ("file", "d/b"), ("file", "c")]
    assert sum(isinstance(f, Inert) and f.size == 9 for f in facts) == 3
    assert not anomalies(facts)
    assert not reasons(facts)
    assert tally.unexamined == 0


UNSUPPORTED: list[list[dict[str, Any]]] = [
    [{"id": py7zr.FILTER_PPMD, "order": 6, "mem": 24}],
    [{"id": py7zr.FILTER_X86}, *FILTERS["lzma"]],
    [{"id": py7zr.FILTER_ZSTD, "level": 3}],
]


@pytest.mark.parametrize("filters", UNSUPPORTED)
def test_what_the_standard_library_cannot_decode_is_a_gap(filters: list[dict[str, Any]]) -> None:
    facts = facts_of(pack({"a": NUMBERS}, filters))
    assert members(facts) == [("file", "a")]
    assert "cannot decode" in reasons(facts)


@pytest.mark.parametrize("header_encryption", [True, False])
def test_encryption_is_a_gap(header_encryption: bool) -> None:
    data = pack({"a": NUMBERS}, password="secret", header_encryption=header_encryption)
    assert "encryption" in reasons(facts_of(data))


def test_directories_links_and_empty_files_are_members(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "empty").touch()
    (tmp_path / "outside").write_bytes(NUMBERS)
    (tmp_path / "d" / "l").symlink_to("../outside")
    (tmp_path / "d" / "m").symlink_to("empty")
    file = io.BytesIO()
    with py7zr.SevenZipFile(file, "w") as archive:
        for name in ("e", "empty", "l", "m"):
            archive.write(tmp_path / "d" / name, name)
    facts = facts_of(file.getvalue())
    assert sorted(members(facts)) == [("directory", "e"), ("file", "empty"), ("symlink", "l"), ("symlink", "m")]
    assert [f.detail for f in facts if isinstance(f, Anomaly)] == ["'l' points to '../outside'"]
    assert not reasons(facts)


def test_names_that_leave_the_folder_and_come_twice_are_anomalies() -> None:
    whole = pack({"xx/a": NUMBERS, "b": NUMBERS}, FILTERS["copy"], header=False)
    assert anomalies(facts_of(whole.replace("xx/".encode("utf-16-le"), "../".encode("utf-16-le")))) == {
        "7z-check",
        "name-escapes",
    }


def test_bytes_behind_the_archive_are_an_anomaly_and_examined() -> None:
    facts = facts_of(pack({"a": NUMBERS}) + NUMBERS)
    assert anomalies(facts) == {"7z-hole"}
    assert members(facts) == [("file", "a"), ("trailing", "trailing")]
    assert not reasons(facts)


def test_a_wrong_check_is_an_anomaly_and_a_broken_stream_a_gap() -> None:
    whole = pack({"a": NUMBERS}, FILTERS["copy"])
    assert anomalies(facts_of(whole[:32] + b"\x39" + whole[33:])) == {"7z-check"}
    whole = pack({"a": NUMBERS}, FILTERS["lzma2"])
    assert reasons(facts_of(whole[:33] + b"\xff" + whole[34:]))


def test_bombs_hit_a_limit() -> None:
    whole = pack({"a": bytes(4 << 20)})
    assert {f.subject for f in facts_of(whole, Limits(max_ratio=10, ratio_floor=1 << 20)) if f.kind == "gap"} == {
        "max_ratio"
    }
    assert {f.subject for f in facts_of(whole, Limits(max_unpacked=1 << 20)) if f.kind == "gap"} == {"max_unpacked"}


@pytest.mark.parametrize(
    "header",
    [
        b"\x01\x05" + b"\xff" + b"\xff" * 8,
        b"\x01\x04\x06\0\xff" + b"\xff" * 8,
        b"\x01\x04\x07\x0b\xff" + b"\xff" * 8,
        b"\x17\x04",
        b"\x17" * 100,
        b"\x02",
        b"\x01\x04\x06\0\x01\x09\0\0\x07\x0b\x01\0\x01\x01\0\x0c\0\0\x08\x0d\xff" + b"\xff" * 8,
    ],
)
def test_a_header_that_asks_for_too_much_is_a_gap(header: bytes) -> None:
    assert reasons(facts_of(forge(header)))


def test_every_truncation_leaves_a_gap() -> None:
    whole = pack({"a": NUMBERS, "b": NUMBERS})
    for size in range(3, len(whole)):  # `7z` alone is a word
        assert reasons(facts_of(whole[:size]))


PLAIN = pack({"a": NUMBERS, "b": NUMBERS}, FILTERS["copy"], header=False)


@given(st.binary(max_size=60), st.integers(0, 400), st.integers(1, 255))
def test_any_header_gives_facts(header: bytes, place: int, change: int) -> None:
    facts_of(forge(header))
    facts_of(forge(b"\x01" + header, NUMBERS))
    facts_of(seven_zip.MAGIC + header)
    data = bytearray(PLAIN)
    data[place % len(data)] ^= change
    facts_of(bytes(data))
