"""tar archives: every member is examined, and what would trip an extracting reader is seen."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from examining import anomalies, examine, facts_of, formats_of, members, reasons
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.facts import Inert, Member, Recognised
from weighbridge.formats import tar
from weighbridge.reader import Sample

NUMBERS = struct.pack("<Q", 56) + b'{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}'.ljust(56) + bytes(9)
FORMATS = pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


def item(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return item(name, type=tarfile.SYMTYPE, linkname=target)


def pack(items: Iterable[tuple[tarfile.TarInfo, bytes]], layout: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=layout) as archive:
        for info, data in items:
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def fix(header: bytes) -> bytes:
    """Return a header block with its check sum put right."""
    total = sum(header[:148]) + 8 * 32 + sum(header[156:512])
    return header[:148] + b"%06o\0 " % total + header[156:]


@FORMATS
def test_members_are_windows_and_examined(layout: int) -> None:
    data = pack([item("dir", type=tarfile.DIRTYPE), item("dir/a", NUMBERS), item("b", NUMBERS)], layout)
    facts, tally = examine(data)
    assert members(facts) == [("directory", "dir/"), ("file", "dir/a"), ("file", "b")]
    assert sum(isinstance(f, Inert) for f in facts) == 2
    assert not anomalies(facts)
    assert not reasons(facts)
    assert (tally.inert, tally.unexamined) == (18, 0)


@pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_targets_are_read(layout: int) -> None:
    long = "d/" * 150 + "ü"
    facts = facts_of(pack([item(long, NUMBERS), link("l", long)], layout))
    found = [(f.name, f.target) for f in facts if isinstance(f, Member)]
    assert found == [(long, ""), ("l", long)]
    assert not anomalies(facts)


def test_a_header_without_magic_is_recognised_by_its_check_sum() -> None:
    whole = pack([item("a", NUMBERS)], tarfile.USTAR_FORMAT)
    v7 = fix(whole[:257] + bytes(255)) + whole[512:]
    assert formats_of(v7) == {"tar", "safetensors"}
    assert "tar" not in formats_of(whole[:10] + b"x" + whole[11:])


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ([item("../a")], "tar-traversal"),
        ([item("/a")], "tar-traversal"),
        ([item("a/../../b")], "tar-traversal"),
        ([item("C:\\a")], "tar-traversal"),
        ([item("a", b"1"), item("./a", b"2")], "tar-duplicate-member"),
        ([link("l", "../x")], "link-escapes"),
        ([link("l", "/etc/passwd")], "link-escapes"),
        ([link("d/l", "../../x")], "link-escapes"),
        ([item("h", type=tarfile.LNKTYPE, linkname="../x")], "link-escapes"),
        ([link("l", "d"), item("l/x")], "tar-through-link"),
        (
            [link("l", "d"), link("m", "l/x")],
            "link-escapes",
        ),
        ([item("p", type=tarfile.FIFOTYPE)], "tar-device"),
        ([item("p", type=tarfile.CHRTYPE)], "tar-device"),
        ([item("p", type=b"Z")], "tar-type"),
    ],
)
def test_what_trips_an_extracting_reader_is_an_anomaly(items: list[tuple[tarfile.TarInfo, bytes]], code: str) -> None:
    assert code in anomalies(facts_of(pack(items)))


def test_a_link_inside_the_archive_is_a_member_and_no_anomaly() -> None:
    facts = facts_of(pack([item("d/a", NUMBERS), link("d/l", "../d/a")]))
    assert members(facts) == [("file", "d/a"), ("symlink", "d/l")]
    assert not anomalies(facts)


def test_data_behind_the_end_is_examined() -> None:
    whole = pack([item("a", NUMBERS)])
    facts = facts_of(whole + bytes(10240))
    assert not anomalies(facts)
    facts = facts_of(whole + NUMBERS)
    assert anomalies(facts) == {"tar-trailing"}
    assert members(facts) == [("file", "a"), ("trailing", "trailing")]
    assert not reasons(facts)
    assert anomalies(facts_of(whole + whole)) == {"tar-trailing"}


def test_padding_that_hides_data_is_an_anomaly() -> None:
    whole = bytearray(pack([item("a", NUMBERS)]))
    whole[1020] = 1
    assert anomalies(facts_of(bytes(whole))) == {"tar-padding"}


@pytest.mark.parametrize("headers", [{"GNU.sparse.major": "1"}, {"GNU.sparse.map": "0,1"}])
def test_a_sparse_member_is_a_gap(headers: dict[str, str]) -> None:
    assert "sparse" in reasons(facts_of(pack([item("a", NUMBERS, pax_headers=headers)])))


def test_the_size_of_a_pax_header_counts() -> None:
    info, data = item("a", NUMBERS, pax_headers={"size": str(len(NUMBERS)), "comment": "x"})
    facts = facts_of(pack([(info, data), item("b", NUMBERS)]))
    assert members(facts) == [("file", "a"), ("file", "b")]


@pytest.mark.parametrize(
    ("place", "field"),
    [(124, b"0o17\0"), (124, b"-0000000017\0"), (124, b"1_0\0"), (148, b"x"), (124, b"\x80" + b"\x7f" * 11)],
)
def test_a_header_that_readers_take_differently_is_a_gap(place: int, field: bytes) -> None:
    whole = pack([item("a", NUMBERS), item("b", NUMBERS)], tarfile.USTAR_FORMAT)
    second = bytearray(whole[1024:1536])
    second[place : place + len(field)] = field
    block = fix(bytes(second)) if place != 148 else bytes(second)
    facts = facts_of(whole[:1024] + block + whole[1536:])
    assert members(facts)[0] == ("file", "a")
    assert reasons(facts)


def test_an_archive_of_old_torch_is_pickles_and_data() -> None:
    class FloatStorage:
        __module__ = "torch"
        __qualname__ = "FloatStorage"

    def dump(value: object) -> bytes:
        return pickle.dumps(value, 2)

    storage = dump((1, "cpu", 7)).replace(b"K\x07", b"ctorch\nFloatStorage\n")
    storages = dump(1) + storage + struct.pack("<q", 3) + bytes(12) + dump([])
    tensors = dump(1) + dump((2, 1, 3)) + struct.pack("<iiqqq", 1, 0, 3, 1, 0)
    items = [item("sys_info", dump({})), item("pickle", dump({})), item("tensors", tensors), item("storages", storages)]
    facts, tally = examine(pack(items))
    assert not anomalies(facts)
    assert not reasons(facts)
    assert tally.unexamined == 0
    assert sorted(f.size for f in facts if isinstance(f, Inert)) == [20, 32]
    for broken in (storages[:-1], storages[:40], storages + b"\xff", dump("x")):
        assert reasons(facts_of(pack([*items[:3], item("storages", broken)])))


def test_every_truncation_leaves_a_gap() -> None:
    whole = pack([item("d/" * 60 + "a", NUMBERS), item("b", NUMBERS)])
    for size in range(6, 512 * 6 + 1, 5):
        assert reasons(facts_of(whole[:size]))


@given(st.integers(0, 2047), st.binary(min_size=1, max_size=20))
def test_any_changed_bytes_give_facts(place: int, change: bytes) -> None:
    whole = bytearray(pack([item("a", NUMBERS), item("b", NUMBERS)]))
    whole[place : place + len(change)] = change
    for block in range(0, 2048, 512):
        facts_of(bytes(whole[:block]) + fix(bytes(whole[block : block + 512])) + bytes(whole[block + 512 :]))


@given(st.binary(max_size=600))
def test_any_bytes_give_facts(data: bytes) -> None:
    facts_of(fix(data.ljust(512, b"\0")[:512]) + data)


def test_zeros_and_text_are_no_archives() -> None:
    for data in (bytes(4096), b"0" * 4096, b" " * 4096, b"\x80" * 4096):
        assert not tar.sniff(Sample(data, data, len(data)))


ORDINARY = (Path(__file__).parent.parent / "fixtures" / "models" / "ordinary.pt").read_bytes()


def test_a_zip_file_that_is_the_last_member_does_not_make_the_archive_one() -> None:
    facts = facts_of(pack([item("note", b"Plain words."), item("model.pt", ORDINARY)]))
    assert not anomalies(facts)
    assert {"tar", "torch-zip"} <= {fact.format for fact in facts if isinstance(fact, Recognised)}


@pytest.mark.parametrize("end", ["behind the archive", "in a member that is none"])
def test_a_zip_file_that_is_no_member_makes_the_archive_two_files(end: str) -> None:
    data = pack([item("model.pt", ORDINARY)]) + ORDINARY
    if end == "in a member that is none":
        data = pack([item("model.pkl", b"\x80\x02N." + ORDINARY)])
    assert {"polyglot"} <= anomalies(facts_of(data))
