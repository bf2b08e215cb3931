"""Compressed streams: what is inside is examined, and so is what stands beside them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zlib
from collections.abc import Callable
from random import Random

import lz4.frame
import pytest
import zstandard
from examining import anomalies, examine, facts_of, formats_of, members, reasons
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.facts import Inert, Member
from weighbridge.formats import compressed
from weighbridge.limits import Limits
from weighbridge.reader import Sample

Compress = Callable[[bytes], bytes]

COMPRESSORS: dict[str, Compress] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zlib": zlib.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
MULTIPLE = pytest.mark.parametrize("name", COMPRESSORS)
INNER = (
    struct.pack("<Q", 80)
    + b'{"a":{"dtype":"U8","shape":[2000],"data_offsets":[0,2000]}}'.ljust(80)
    + bytes(range(250)) * 8
)


@MULTIPLE
def test_the_member_is_examined_to_the_last_byte(name: str) -> None:
    data = COMPRESSORS[name](INNER)
    facts, tally = examine(data)
    assert members(facts) == [("file", name)]
    assert formats_of(data) == {name, "safetensors"}
    assert any(isinstance(f, Inert) and f.size == 2000 for f in facts)
    assert not anomalies(facts)
    assert not reasons(facts)
    assert tally.unexamined == 0


@MULTIPLE
def test_streams_of_a_kind_behind_each_other_are_one_member(name: str) -> None:
    data = COMPRESSORS[name](INNER[:1000]) + COMPRESSORS[name](INNER[1000:])
    facts = facts_of(data)
    assert [(f.size, f.stored) for f in facts if isinstance(f, Member)] == [(len(INNER), len(data))]
    assert not reasons(facts)


@MULTIPLE
def test_bytes_behind_the_stream_are_an_anomaly_and_examined(name: str) -> None:
    facts = facts_of(COMPRESSORS[name](INNER) + INNER)
    assert anomalies(facts) == {f"{name}-trailing"}
    assert members(facts) == [("file", name), ("trailing", "trailing")]
    assert not reasons(facts)


@MULTIPLE
def test_every_truncation_leaves_a_gap(name: str) -> None:
    whole = COMPRESSORS[name](INNER[:300])
    for size in range(10, len(whole)):  # `BZh91AY&S` alone is a word
        assert reasons(facts_of(whole[:size]))


@MULTIPLE
def test_what_a_broken_stream_unpacked_is_examined(name: str) -> None:
    random = Random(7).randbytes(1_200_000)
    whole = COMPRESSORS[name](INNER + random)
    facts = facts_of(whole[: len(whole) - 50_000])
    assert formats_of(whole) >= {name, "safetensors"}
    assert any(isinstance(f, Inert) and f.size == 2000 for f in facts)
    assert "ends early" in reasons(facts)


@MULTIPLE
def test_a_corrupt_byte_leaves_a_gap(name: str) -> None:
    whole = bytearray(COMPRESSORS[name](INNER))
    whole[-3] ^= 0xFF
    facts = facts_of(bytes(whole))
    # zlib behind a broken check sum, lz4 and zstd without one: then what came out is not the member.
    assert reasons(facts) or anomalies(facts)


@MULTIPLE
@pytest.mark.parametrize("limits", [Limits(max_unpacked=1 << 20), Limits(max_ratio=2, ratio_floor=1 << 20)])
def test_bombs_hit_a_limit(name: str, limits: Limits) -> None:
    facts = facts_of(COMPRESSORS[name](bytes(3 << 20)), limits)
    assert {f.subject for f in facts if f.kind == "gap"} <= {"max_unpacked", "max_ratio"}
    assert reasons(facts)


@MULTIPLE
def test_streams_inside_streams_end_at_the_depth_limit(name: str) -> None:
    data = b"x"
    for _ in range(12):
        data = COMPRESSORS[name](data)
    assert "max_depth" in {f.subject for f in facts_of(data)}


def test_the_name_and_the_oddities_of_a_gzip_header_are_seen() -> None:
    file = io.BytesIO()
    with gzip.GzipFile("dir/model.pkl", "wb", fileobj=file) as stream:
        stream.write(INNER)
    assert members(facts_of(file.getvalue())) == [("file", "model.pkl")]
    body = zlib.compress(INNER, wbits=-15) + struct.pack("<II", zlib.crc32(INNER), len(INNER))
    facts = facts_of(b"\x1f\x8b\x08\x14" + bytes(6) + b"\x02\0ab" + b"hello\0" + body)
    assert anomalies(facts) == {"gzip-header"}
    assert [f.subject for f in facts if f.kind == "metadata"] == ["comment"]
    assert not reasons(facts)


@pytest.mark.parametrize("name", ["lz4", "zstd"])
def test_skippable_frames_are_seen(name: str) -> None:
    def frame(content: bytes) -> bytes:
        return b"\x53\x2a\x4d\x18" + struct.pack("<I", len(content)) + content

    stream = COMPRESSORS[name](INNER)
    assert not anomalies(facts_of(frame(b"") + stream))
    facts = facts_of(frame(INNER) + stream + frame(b"") + stream)
    assert f"{name}-skippable" in anomalies(facts)
    assert ("trailing", "skippable at 0x8") in members(facts)
    assert "ends early" in reasons(facts_of(stream + frame(INNER)[:-1]))


def test_old_joblib_files_are_zlib_behind_a_size() -> None:
    for header in (hex(len(INNER)).ljust(19), (hex(len(INNER)) + "L").ljust(20).replace("L", " ")):
        facts = facts_of(b"ZF" + header.encode() + zlib.compress(INNER))
        assert members(facts) == [("file", "zlib")]
        assert not reasons(facts)
        assert not anomalies(facts)
    wrong = facts_of(b"ZF" + b"0x1".ljust(19) + zlib.compress(INNER))
    assert anomalies(wrong) == {"zfile-size"}
    assert "hexadecimal" in reasons(facts_of(b"ZF" + b"0xg".ljust(19)))


MAGIC = [b"\x78\x9c", b"\x1f\x8b\x08", b"BZh91AY&SY", b"\xfd7zXZ\0", b"\x5d\0\0\x10\0" + b"\xff" * 8]
MAGIC += [b"", b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"ZF0x"]


@given(st.sampled_from(MAGIC), st.binary(max_size=100))
def test_any_bytes_give_facts(magic: bytes, data: bytes) -> None:
    facts_of(magic + data)


@given(st.sampled_from(sorted(COMPRESSORS)), st.integers(0), st.integers(1, 255))
def test_any_changed_byte_gives_facts(name: str, place: int, change: int) -> None:
    data = bytearray(COMPRESSORS[name](INNER))
    data[place % len(data)] ^= change
    facts_of(bytes(data))


def test_ordinary_text_and_zeros_are_no_streams() -> None:
    for data in (b"x^2 + y^2 = z^2, so much is known", b"hello", b"(lp0\n.", bytes(5000), b"\x5d\0\0\x80\0"):
        assert not any(f.sniff(_sample(data)) for f in compressed.FORMATS)


def _sample(data: bytes) -> Sample:
    return Sample(data[:4096], data[-65557:], len(data))
