"""zip: the union of what any reader would find, and every point on which readers differ."""

from __future__ import annotations

import contextlib
import io
import struct
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable

import pytest
from examining import anomalies, examine, facts_of, formats_of, members, reasons
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.facts import Gap, Member, Program
from weighbridge.formats.zip import FORMAT
from weighbridge.formats.zip.checks import escapes
from weighbridge.limits import Limits
from weighbridge.location import Location
from weighbridge.reader import TAIL, from_bytes
from weighbridge.symbols import Call

PAYLOAD = b"cos\nsystem\n(S'id'\ntR."
OTHER = b"cos\nsystem\n(S'ls'\ntR."  # as long as PAYLOAD
BENIGN = b"\x80\x02]q\x00."
LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


def archive(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    """Return a zip file of these members, duplicates included."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as file:
        warnings.simplefilter("ignore")
        for name, data in entries:
            file.writestr(zipfile.ZipInfo(name), data, method)
        file.comment = comment
    return buffer.getvalue()


def streamed(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip file written to a stream: sizes and CRC follow the data in descriptors."""

    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    buffer = Stream()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in entries:
            file.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def patch(data: bytes, signature: bytes, offset: int, layout: str, *values: int) -> bytes:
    """Return `data` with fields of the first record of this signature overwritten."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, data.index(signature) + offset, *values)
    return bytes(changed)


def calls(data: bytes) -> list[str]:
    """Return the members whose pickle calls os.system."""
    programs = [fact for fact in facts_of(data) if isinstance(fact, Program)]
    return [
        program.location.path[-1]
        for program in programs
        if any(event.subject == "os.system" for event in program.events)
    ]


def commands(data: bytes) -> set[object]:
    """Return what the pickles found anywhere in `data` would run."""
    events = [event for fact in facts_of(data) if isinstance(fact, Program) for event in fact.events]
    return {event.arguments[0] for event in events if isinstance(event, Call) and isinstance(event.arguments, tuple)}


ONE = archive(("model.pkl", PAYLOAD))
TWO = archive(("a.pkl", PAYLOAD), ("b.pkl", BENIGN))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("write", [archive, streamed])
def test_an_ordinary_archive_has_no_anomaly_and_every_member_is_examined(
    method: int, write: Callable[..., bytes]
) -> None:
    data = write(("a.pkl", PAYLOAD), ("folder/b.pkl", BENIGN), ("empty", b""), method=method)
    facts, tally = examine(data)
    assert anomalies(facts) == set()
    assert calls(data) == ["a.pkl"]
    assert [name for _, name in members(facts)] == ["a.pkl", "folder/b.pkl", "empty"]
    assert (tally.size, tally.unexamined) == (len(data), 0)


def test_zstandard_members_are_read() -> None:
    zstandard = pytest.importorskip("zstandard")
    packed = zstandard.ZstdCompressor().compress(PAYLOAD)
    stored = archive(("a.pkl", packed))
    data = patch(patch(stored, LOCAL, 8, "<H", 93), CENTRAL, 10, "<H", 93)
    size, crc = len(PAYLOAD), zlib.crc32(PAYLOAD)
    data = patch(patch(data, LOCAL, 22, "<L", size), CENTRAL, 24, "<L", size)
    data = patch(patch(data, LOCAL, 14, "<L", crc), CENTRAL, 16, "<L", crc)
    assert calls(data) == ["a.pkl"]
    assert anomalies(facts_of(data)) == set()


def test_a_member_of_unknown_method_is_a_gap_and_the_others_are_examined() -> None:
    data = patch(patch(TWO, LOCAL, 8, "<H", 97), CENTRAL, 10, "<H", 97)
    assert "compression method 97" in reasons(facts_of(data))
    assert [name for _, name in members(facts_of(data))] == ["a.pkl", "b.pkl"]
    assert "pickle" in formats_of(data)


def rename(data: bytes, signature: bytes, name: bytes) -> bytes:
    start = data.index(signature) + (30 if signature == LOCAL else 46)
    return data[:start] + name + data[start + len(name) :]


def crc_everywhere(data: bytes) -> bytes:
    return patch(patch(data, LOCAL, 14, "<L", 1), CENTRAL, 16, "<L", 1)


# Case -> (bytes, anomaly). The payload must be found in all of them.
DISAGREEMENTS = {
    "CVE-2025-1944 local filename": (rename(ONE, LOCAL, b"readme.md"), "zip-local-name"),
    "CVE-2025-1944 central filename": (rename(ONE, CENTRAL, b"readme.md"), "zip-local-name"),
    "CVE-2025-1945 local flag": (patch(ONE, LOCAL, 6, "<H", 1), "zip-local-flags"),
    "CVE-2025-1945 central flag": (patch(ONE, CENTRAL, 8, "<H", 1), "zip-encrypted"),
    "CVE-2025-1945 both flags": (patch(patch(ONE, LOCAL, 6, "<H", 1), CENTRAL, 8, "<H", 1), "zip-encrypted"),
    "patched data flag": (patch(patch(ONE, LOCAL, 6, "<H", 32), CENTRAL, 8, "<H", 32), "zip-flags"),
    "strong encryption flag": (patch(ONE, CENTRAL, 8, "<H", 64), "zip-encrypted"),
    "CVE-2025-10156 CRC in both headers": (crc_everywhere(ONE), "zip-crc"),
    "CVE-2025-10156 CRC in the local header": (patch(ONE, LOCAL, 14, "<L", 1), "zip-local-crc"),
    "CRC of a deflated member": (
        crc_everywhere(archive(("m.pkl", PAYLOAD), method=zipfile.ZIP_DEFLATED)),
        "zip-crc",
    ),
    "local method": (patch(ONE, LOCAL, 8, "<H", 99), "zip-local-method"),
    "central method": (patch(ONE, CENTRAL, 10, "<H", 99), "zip-local-method"),
    "local sizes zero": (patch(ONE, LOCAL, 18, "<LL", 0, 0), "zip-local-size"),
    "central sizes zero": (patch(ONE, CENTRAL, 20, "<LL", 0, 0), "zip-local-size"),
    "central size short": (patch(ONE, CENTRAL, 24, "<L", 3), "zip-local-size"),
    "sizes of a stored member": (patch(patch(ONE, CENTRAL, 24, "<L", 3), LOCAL, 22, "<L", 3), "zip-stored-size"),
    "local header of the other gone": (
        archive(("b.pkl", b"x" * 9), ("model.pkl", PAYLOAD)).replace(LOCAL, b"PK\3\5", 1),
        "zip-local-header",
    ),
    "duplicate, payload first": (archive(("m.pkl", PAYLOAD), ("m.pkl", BENIGN)), "zip-duplicate-member"),
    "duplicate, payload last": (archive(("m.pkl", BENIGN), ("m.pkl", PAYLOAD)), "zip-duplicate-member"),
    "duplicate by case": (archive(("m.pkl", BENIGN), ("M.PKL", PAYLOAD)), "zip-duplicate-member"),
    "prepended data": (b"JUNK" * 4 + ONE, "zip-prepended"),
    "prepended payload": (PAYLOAD + archive(("b.pkl", BENIGN)), "zip-prepended"),
    "trailing data": (ONE + b"x" * 100, "zip-trailing"),
    "trailing payload": (archive(("b.pkl", BENIGN)) + PAYLOAD, "zip-trailing"),
    "trailing data beyond the search for the end": (ONE + b"x" * 70_000, "zip-no-end"),
    "directory-offset differential, payload first": (ONE + archive(("model.pkl", OTHER)), "zip-directory-offset"),
    "two archives, payload first": (ONE + archive(("b", b"b" * 40)), "zip-prepended"),
    "two archives, payload last": (archive(("b", b"b" * 40)) + ONE, "zip-prepended"),
    "comment with an archive": (archive(("b.pkl", BENIGN), comment=ONE), "zip-several-ends"),
    "comment with a payload": (archive(("b.pkl", BENIGN), comment=PAYLOAD), "zip-trailing"),
    "directory gone": (ONE[: ONE.index(CENTRAL)], "zip-no-end"),
    "end record gone": (ONE[: ONE.index(END)], "zip-no-end"),
    "end record of another disk": (patch(ONE, END, 4, "<H", 7), "zip-end-record"),
    "end record counts none": (patch(ONE, END, 8, "<HH", 0, 0), "zip-directory-size"),
    "end record counts more": (patch(ONE, END, 8, "<HH", 9, 9), "zip-directory-size"),
    "end record with a short directory": (patch(TWO, END, 12, "<L", 47), "zip-directory-size"),
    "end record with a wrong offset": (patch(ONE, END, 16, "<L", 3), "zip-directory-offset"),
    "directory entry with a comment too long": (patch(ONE, CENTRAL, 32, "<H", 999), "zip-header-field"),
    "end record with a comment too long": (patch(ONE, END, 20, "<H", 9), "zip-end-record"),
    "payload in a comment too long": (
        patch(archive(("b.pkl", BENIGN)), END, 20, "<H", 900) + PAYLOAD,
        "zip-end-record",
    ),
    "absolute name": (archive(("/etc/model.pkl", PAYLOAD)), "name-escapes"),
    "name with ..": (archive(("a/../../model.pkl", PAYLOAD)), "name-escapes"),
    "name with a drive": (archive(("C:model.pkl", PAYLOAD)), "name-escapes"),
    "name with a backslash": (rename(rename(ONE, LOCAL, b"mod\\l.pkl"), CENTRAL, b"mod\\l.pkl"), "zip-backslash-name"),
    "name with NUL": (rename(rename(ONE, LOCAL, b"m\0del.pkl"), CENTRAL, b"m\0del.pkl"), "zip-nul-name"),
}


@pytest.mark.parametrize(("data", "code"), DISAGREEMENTS.values(), ids=DISAGREEMENTS)
def test_readers_that_disagree_leave_an_anomaly_and_the_payload_is_found(data: bytes, code: str) -> None:
    assert calls(data)
    assert code in anomalies(facts_of(data))


def test_ghsa_directory_offset_differential_both_archives_are_examined() -> None:
    """torch trusts the absolute offset and reads the first archive, zipfile counts back and reads the second."""
    first, second = archive(("a/data.pkl", PAYLOAD)), archive(("a/data.pkl", OTHER))
    facts = facts_of(first + second)
    programs = [fact for fact in facts if fact.kind == "program"]
    assert len(programs) == 2
    assert "zip-directory-offset" in anomalies(facts)


def wide(data: bytes) -> bytes:
    """Return an archive with a zip64 end record and its locator before the end record, as torch writes it."""
    at = data.index(END)
    count, size, offset = struct.unpack_from("<HLL", data, at + 10)
    end64 = struct.pack("<4sQHHLL4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    return data[:at] + end64 + struct.pack("<4sLQL", b"PK\6\7", 0, at, 1) + data[at:]


def test_two_archives_with_zip64_records_of_equal_layout_are_both_read() -> None:
    """The locator counts from the start of the file and leads into the first archive; zipfile looks next to it."""
    data = wide(archive(("model.pkl", PAYLOAD))) + wide(archive(("model.pkl", OTHER)))
    assert anomalies(facts_of(wide(ONE))) == set()
    assert commands(data) == {"id", "ls"}


def test_two_directory_entries_for_one_header_overlap() -> None:
    data = bytearray(TWO)
    second = TWO.index(CENTRAL, TWO.index(CENTRAL) + 4)
    struct.pack_into("<L", data, second + 42, 0)
    assert {"zip-overlap", "zip-local-name", "zip-unlisted-member"} <= anomalies(facts_of(bytes(data)))


def test_a_member_that_no_directory_lists_is_examined() -> None:
    """A local header between two members: a reader of streams sees it, a reader of directories does not."""
    hidden = archive(("hidden.pkl", PAYLOAD))
    hidden = hidden[: hidden.index(CENTRAL)]
    data = archive(("b.pkl", BENIGN))
    at = data.index(CENTRAL)
    data = data[:at] + hidden + patch(data[at:], END, 16, "<L", at + len(hidden))
    assert calls(data) == ["hidden.pkl"]
    assert "zip-hole" in anomalies(facts_of(data))


def test_a_member_inside_another_by_its_local_size_is_examined() -> None:
    """The local header ends the member early, and what follows there is a member to a reader of streams."""
    hidden = archive(("hidden.pkl", PAYLOAD))
    hidden = hidden[: hidden.index(CENTRAL)]
    data = patch(archive(("data", b"\xff" * 8 + hidden)), LOCAL, 18, "<LL", 8, 8)
    assert calls(data) == ["hidden.pkl"]
    assert "zip-unlisted-member" in anomalies(facts_of(data))


def test_bytes_behind_a_deflate_stream_are_examined() -> None:
    packed = archive(("m.pkl", BENIGN), method=zipfile.ZIP_DEFLATED)
    start, end = 30 + 5, packed.index(CENTRAL)
    data = packed[:end] + PAYLOAD + packed[end:]
    size = end - start + len(PAYLOAD)
    data = patch(patch(data, LOCAL, 18, "<L", size), CENTRAL, 20, "<L", size)
    data = patch(data, END, 16, "<L", end + len(PAYLOAD))
    assert calls(data) == [f"hole at {end:#x}"]


def test_what_a_broken_stream_gave_before_it_broke_is_examined() -> None:
    body = PAYLOAD + bytes(range(256)) * 400
    packed = archive(("m.pkl", body), method=zipfile.ZIP_DEFLATED)
    size = packed.index(CENTRAL) - 35 - 40
    data = packed[: 35 + size] + b"\xff" * 40 + packed[35 + size + 40 :]
    assert calls(data) == ["m.pkl"]
    assert "does not unpack" in reasons(facts_of(data))


def test_an_encrypted_member_is_a_gap() -> None:
    data = patch(patch(ONE, LOCAL, 6, "<H", 1), CENTRAL, 8, "<H", 1)
    assert "encrypted" in reasons(facts_of(data))


@pytest.mark.parametrize(
    ("target", "escaping"),
    [("model.bin", False), ("../model.bin", False), ("../../etc/passwd", True), ("/etc/passwd", True)],
)
def test_links_are_members_with_a_target(target: str, escaping: bool) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        info = zipfile.ZipInfo("folder/link")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        file.writestr(info, target)
    facts = facts_of(buffer.getvalue())
    assert [fact.target for fact in facts if isinstance(fact, Member)] == [target]
    assert ("link-escapes" in anomalies(facts)) is escaping


def test_a_payload_marked_as_a_link_is_examined() -> None:
    data = patch(ONE, CENTRAL, 38, "<L", 0o120777 << 16)
    assert calls(data) == ["model.pkl"]


def test_a_readable_comment_is_metadata_and_no_member() -> None:
    facts = facts_of(archive(("b.pkl", BENIGN), comment=b"made by hand"))
    assert anomalies(facts) == set()
    assert [fact.subject for fact in facts if fact.kind == "metadata"] == ["zip-comment"]


def test_short_runs_of_zeros_between_members_are_inert() -> None:
    data = archive(("b.pkl", BENIGN))
    at = data.index(CENTRAL)
    padded = data[:at] + bytes(64) + patch(data[at:], END, 16, "<L", at + 64)
    facts, tally = examine(padded)
    assert anomalies(facts) == set()
    assert (tally.inert, tally.unexamined) == (64, 0)


def test_zip64_records_are_read() -> None:
    """zipfile writes zip64 sizes into the local header of a member that is written as a stream of its own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file, file.open("m.pkl", "w", force_zip64=True) as member:
        member.write(PAYLOAD)
    data = buffer.getvalue()
    assert (calls(data), anomalies(facts_of(data))) == (["m.pkl"], set())


@pytest.mark.parametrize("wide", [(1, 1, 0, 0), (1, 1, 55, 0)])
def test_end_records_of_two_widths_that_differ_are_an_anomaly(wide: tuple[int, ...]) -> None:
    at = ONE.index(END)
    end64 = struct.pack("<4sQHHLL4Q", b"PK\6\6", 44, 45, 45, 0, 0, *wide)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    data = ONE[:at] + end64 + locator + ONE[at:]
    assert "zip-end-record" in anomalies(facts_of(data))
    assert calls(data) == ["model.pkl"]


@pytest.mark.parametrize(
    ("size", "offset"), [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (46, 7), (1000, 0), (60_000, 30_000), (0x7FFFFFFF, 0)]
)
def test_an_end_signature_among_random_bytes_is_no_archive(size: int, offset: int) -> None:
    noise = bytes(range(1, 251)) * 400
    record = struct.pack("<4s4H2LH", END, 0, 0, 1, 1, size, offset, 5)
    data = noise[:80_000] + record + noise[:2000]
    assert not FORMAT.sniff(from_bytes(data, Location(("file",))).sample)


@pytest.mark.parametrize("behind", [0, 1, TAIL - 22])
def test_an_archive_behind_anything_is_recognised(behind: int) -> None:
    data = b"\x93" * 200_000 + ONE + b"\x93" * behind
    assert FORMAT.sniff(from_bytes(data, Location(("file",))).sample)


def test_more_members_than_the_limit_are_a_gap() -> None:
    data = archive(*((f"{n}.pkl", BENIGN) for n in range(20)))
    facts = facts_of(data, Limits(max_members=10))
    assert [fact.limit for fact in facts if isinstance(fact, Gap)] == ["max_members"]
    assert anomalies(facts) == set(), "an archive does not contradict itself because it is left"


def test_a_bomb_is_a_gap_and_its_neighbours_are_examined() -> None:
    data = archive(("bomb", bytes(4 << 20)), ("m.pkl", PAYLOAD), method=zipfile.ZIP_DEFLATED)
    facts = facts_of(data, Limits(max_unpacked=1 << 20))
    assert "max_unpacked" in {fact.limit for fact in facts if isinstance(fact, Gap)}
    assert any(fact.kind == "program" for fact in facts)


def test_a_directory_of_many_entries_is_quick() -> None:
    count = 50_000
    body = archive(("b.pkl", b""))
    at = body.index(CENTRAL)
    entry = body[at : body.index(END)]
    entries = b"".join(entry[:46] + f"{n:05}"[:5].encode() for n in range(count))
    end = struct.pack("<4s4H2LH", END, 0, 0, count, count, len(entries), at, 0)
    begin = time.process_time()
    facts = facts_of(body[:at] + entries + end)
    assert time.process_time() - begin < 10
    assert len(members(facts)) == count


def test_many_end_records_do_not_multiply_the_directory() -> None:
    """Every end record in the tail could claim the whole directory anew; the limit counts them together."""
    entry = ONE[ONE.index(CENTRAL) : ONE.index(END)]
    count, at = 1000, ONE.index(CENTRAL)
    ends = b"".join(
        struct.pack("<4s4H2LH", END, 0, 0, count, count, len(entry) * count, at, 22 * (2900 - n)) for n in range(2901)
    )
    facts = facts_of(ONE[:at] + entry * count + ends, Limits(max_members=5000))
    assert "max_members" in {fact.subject for fact in facts if isinstance(fact, Gap)}


def test_nested_archives_are_followed_to_the_depth_limit() -> None:
    data = ONE
    for _ in range(4):
        data = archive(("inner.zip", data), method=zipfile.ZIP_DEFLATED)
    assert calls(data) == ["model.pkl"]
    assert "max_depth" in {fact.subject for fact in facts_of(data, Limits(max_depth=2)) if isinstance(fact, Gap)}


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("a/b", "", False),
        ("../a", "", True),
        ("a/..b", "", False),
        ("..\\a", "", True),
        ("\\a", "", True),
        ("../b", "a", False),
        ("../../b", "a", True),
        ("x/../../../b", "a/b", False),
        ("x/../../../../b", "a/b", True),
    ],
)
def test_a_path_escapes_when_it_leaves_the_archive(path: str, folder: str, expected: bool) -> None:
    assert escapes(path, folder) is expected


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_behind_a_signature_give_facts(data: bytes) -> None:
    for signature in (LOCAL, END, CENTRAL):
        facts, tally = examine(signature + data)
        assert facts
        assert tally.unexamined <= tally.size


_REFUSALS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OSError,
    struct.error,
    zlib.error,
)

SEED = archive(("a/data.pkl", PAYLOAD), ("a/version", b"3\n"), ("b", b"x" * 50), method=zipfile.ZIP_DEFLATED) + b""


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), max_size=4), st.integers(0, 30))
def test_mutated_archives_give_facts_and_what_zipfile_reads_is_examined(
    changes: list[tuple[int, int]], cut: int
) -> None:
    changed = bytearray(SEED)
    for position, value in changes:
        changed[position] = value
    data = bytes(changed[: len(changed) - cut if cut < 5 else len(changed)])
    facts = facts_of(data)
    assert facts
    if PAYLOAD in _read_by_zipfile(data).values():
        assert "id" in commands(data)


def _read_by_zipfile(data: bytes) -> dict[int, bytes]:
    """Return what zipfile gives for each member that it reads, by the member's number."""
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            for number, info in enumerate(file.infolist()):
                with contextlib.suppress(*_REFUSALS):
                    found[number] = file.read(info)
    except _REFUSALS:
        return {}
    return found


BASES = (
    ONE + archive(("model.pkl", OTHER)),
    b"junk" + archive(("a/data.pkl", PAYLOAD), ("A/DATA.PKL", OTHER), method=zipfile.ZIP_DEFLATED),
    archive(("model.pkl", PAYLOAD), comment=archive(("model.pkl", OTHER))),
    wide(ONE) + wide(archive(("model.pkl", OTHER))),
    streamed(("model.pkl", PAYLOAD), ("b.pkl", OTHER)) + b"tail",
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(BASES),
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(4, 44), st.sampled_from("<H <L".split()), st.integers(0, 0xFFFF)),
        max_size=3,
    ),
)
def test_what_zipfile_reads_of_an_archive_with_changed_headers_is_examined(
    base: bytes, changes: list[tuple[int, int, str, int]]
) -> None:
    records = [at for at in range(len(base)) if base[at : at + 4] in (LOCAL, CENTRAL, END, b"PK\6\6", b"PK\6\7")]
    changed = bytearray(base)
    for which, offset, layout, value in changes:
        at = records[which % len(records)] + offset
        if at + 4 <= len(changed):
            # Half of the values lead to another record, as an attacker's would.
            struct.pack_into(layout, changed, at, value if value % 2 else records[value % len(records)])
    data = bytes(changed)
    wanted = {content for content in _read_by_zipfile(data).values() if content in (PAYLOAD, OTHER)}
    assert {{PAYLOAD: "id", OTHER: "ls"}[content] for content in wanted} <= commands(data)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60), st.booleans(), st.booleans())
def test_a_payload_that_any_reader_sees_is_examined(
    before: bytes, behind: bytes, deflated: bool, absolute: bool
) -> None:
    """Planted behind and before anything, with offsets counted from the file or from the archive."""
    method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    planted = archive(("model.pkl", PAYLOAD), method=method)
    if absolute:
        at = planted.index(CENTRAL)
        planted = patch(planted, CENTRAL, 42, "<L", len(before))
        planted = patch(planted, END, 16, "<L", at + len(before))
    data = before + planted + behind
    assert "model.pkl" in calls(data)
