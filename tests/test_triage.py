"""A look from afar: little is fetched, code is found, and nothing is ever approved."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.desk import Desk
from weighbridge.errors import TruncatedError
from weighbridge.limits import Limits
from weighbridge.location import Location
from weighbridge.pipeline import triage
from weighbridge.policy import Outcome, Verdict
from weighbridge.remote import BLOCK, TRIAGE, WHOLE, Allowance, Blocks, NotFetchedError, RangeReader
from weighbridge.report.base import Style, exit_status
from weighbridge.report.json import render as render_json
from weighbridge.report.text import render as render_text
from weighbridge.rule_files import shipped_folder
from weighbridge.rules import RuleSet
from weighbridge.trust import Trust
from weighbridge.walk import Target

FIXTURES = Path(__file__).parent.parent / "fixtures"
DESK = Desk(rules=RuleSet.shipped(), trust=Trust(f"{shipped_folder()}/trust"), limits=Limits(), digest=False)
MIB = 1 << 20
ALLOWANCE = Allowance()


class Elsewhere:
    """Bytes that are fetched: a head and a tail around zeros that are never stored, and a log of what was asked."""

    def __init__(self, head: bytes, zeros: int = 0, tail: bytes = b"") -> None:
        self.head, self.zeros, self.tail = head, zeros, tail
        self.size = len(head) + zeros + len(tail)
        self.log: list[tuple[int, int]] = []

    def read(self, offset: int, count: int) -> bytes:
        self.log.append((offset, count))
        end = offset + count
        middle = len(self.head) + self.zeros
        zeros = max(0, min(end, middle) - max(offset, len(self.head)))
        return self.head[offset:end] + bytes(zeros) + self.tail[max(0, offset - middle) : max(0, end - middle)]


def look(*files: Elsewhere, names: tuple[str, ...] = ("model",), allowance: Allowance = ALLOWANCE) -> Verdict:
    targets = [
        Target(name=name, path="", stored=True, blocks=Blocks(file, allowance))
        for name, file in zip(names, files, strict=True)
    ]
    return triage(targets, DESK, source="hf://acme/model@0")


def big_torch(payload: bytes, storage: int = 64 * MIB) -> Elsewhere:
    """Return an ordinary checkpoint with one storage so large that nobody fetches it, its pickle being `payload`."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("m/data.pkl", payload)
        archive.writestr("m/version", b"3\n")
        archive.writestr("m/data/0", b"")
    data = bytearray(packed.getvalue())
    # Grow the empty storage: its sizes in both headers, and the place of the directory.
    local, central, end = data.rfind(b"PK\x03\x04"), data.rfind(b"PK\x01\x02"), data.rfind(b"PK\x05\x06")
    directory = struct.unpack_from("<L", data, end + 16)[0]
    for at in (local + 18, local + 22, central + 20, central + 24):
        struct.pack_into("<L", data, at, storage)
    struct.pack_into("<L", data, end + 16, directory + storage)
    return Elsewhere(bytes(data[:directory]), storage, bytes(data[directory:]))


def big_tar(file: Elsewhere) -> Elsewhere:
    """Return a tar file, such as a layer of an OCI artifact, whose only member is `file`."""
    info = tarfile.TarInfo("model.pt")
    info.size = file.size
    tail = file.tail + bytes(-file.size % 512) + bytes(1024)
    return Elsewhere(info.tobuf(tarfile.USTAR_FORMAT) + file.head, file.zeros, tail)


def big_safetensors(size: int) -> Elsewhere:
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return Elsewhere(struct.pack("<Q", len(header)) + header, size)


ORDINARY = b"\x80\x02}q\x00."
HOSTILE = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."


def test_an_ordinary_checkpoint_gives_nothing_found_and_is_not_approved() -> None:
    verdict = look(big_torch(ORDINARY))
    assert verdict.nothing_found and verdict.outcome is Outcome.INCONCLUSIVE
    assert exit_status(verdict) == 0
    assert verdict.triage is not None and verdict.triage.fetched < 8 * BLOCK and verdict.triage.requests <= 3
    assert {gap.limit for gap in verdict.gaps} == {TRIAGE}


def test_code_in_a_checkpoint_is_found_without_its_weights() -> None:
    verdict = look(big_torch(HOSTILE))
    assert verdict.outcome is Outcome.FAIL
    assert [finding.rule.id for finding in verdict.findings] == ["PKL001"]
    assert exit_status(verdict) == 1


@pytest.mark.parametrize(("payload", "outcome"), [(ORDINARY, Outcome.INCONCLUSIVE), (HOSTILE, Outcome.FAIL)])
def test_a_checkpoint_in_an_archive_is_looked_at_in_its_place(payload: bytes, outcome: Outcome) -> None:
    file = big_tar(big_torch(payload))
    verdict = look(file)
    assert verdict.outcome is outcome and verdict.nothing_found is (outcome is not Outcome.FAIL)
    assert sum(count for _, count in file.log) <= 12 * BLOCK


def test_the_data_of_tensors_that_a_header_describes_are_not_called_inert() -> None:
    file = big_safetensors(64 * MIB)
    verdict = look(file)
    assert verdict.nothing_found
    assert verdict.coverage.inert == 0 and verdict.coverage.unexamined == 64 * MIB
    assert sum(count for _, count in file.log) <= 8 * BLOCK


def test_a_small_file_is_read_whole_and_still_not_approved() -> None:
    data = (FIXTURES / "pickle" / "ordered_dict.pkl").read_bytes()
    verdict = look(Elsewhere(data))
    assert verdict.nothing_found and verdict.gaps == ()


def test_what_is_not_understood_is_inconclusive_as_everywhere() -> None:
    verdict = look(Elsewhere(b"\x01\x02 no format begins like this"))
    assert verdict.outcome is Outcome.INCONCLUSIVE and not verdict.nothing_found
    assert exit_status(verdict) == 3


def test_a_large_pickle_is_left_to_the_whole_download() -> None:
    verdict = look(Elsewhere(b"\x80\x04\x95" + bytes(8) + b"\x8e" + struct.pack("<Q", WHOLE), WHOLE, b"."))
    assert verdict.nothing_found


def test_an_allowance_that_is_used_up_is_a_gap() -> None:
    verdict = look(big_torch(ORDINARY), allowance=Allowance(fetched=BLOCK))
    assert verdict.nothing_found and all(gap.limit == TRIAGE for gap in verdict.gaps)


def test_nothing_to_look_at_is_not_nothing_found() -> None:
    assert not triage([], DESK, source="hf://acme/model@0").nothing_found


def test_reports_say_how_much_was_read_and_that_nothing_is_approved() -> None:
    verdict = look(big_torch(ORDINARY))
    text = "\n".join(render_text(verdict, Style()))
    assert text.startswith("nothing found (triage): hf://acme/model@0: nothing is approved")
    assert "of 64.0 MiB read" in text
    document = json.loads("\n".join(render_json(verdict, Style())))
    assert document["outcome"] == "inconclusive" and document["triage"]["nothing_found"] is True


def reader_over(data: bytes, allowance: Allowance = ALLOWANCE) -> RangeReader:
    return RangeReader(Blocks(Elsewhere(data), allowance), Location(("m",)))


@given(st.binary(max_size=3 * BLOCK), st.lists(st.tuples(st.integers(0, 3 * BLOCK), st.integers(0, BLOCK)), max_size=8))
def test_a_range_reader_reads_what_a_local_one_does(data: bytes, asked: list[tuple[int, int]]) -> None:
    reader = reader_over(data)
    for offset, count in asked:
        if offset + count <= len(data):
            assert reader.read(offset, count) == data[offset : offset + count]
            assert reader.window(offset, count).read(0, count) == data[offset : offset + count]
        else:
            with pytest.raises(TruncatedError):
                reader.read(offset, count)
    assert reader.view.tobytes() == data


@given(st.lists(st.tuples(st.integers(0, 40 * BLOCK - 1), st.integers(1, 3 * BLOCK)), min_size=1, max_size=12))
def test_what_was_asked_for_is_there_and_no_request_repeats_another(asked: list[tuple[int, int]]) -> None:
    file = Elsewhere(b"", 40 * BLOCK)
    reader = RangeReader(Blocks(file, ALLOWANCE), Location(("m",)))
    for offset, count in asked:
        reader.load(offset, offset + count)
        assert reader.holds(offset, min(offset + count, file.size))
    assert len(set(file.log)) == len(file.log) <= len(asked)


def test_reading_on_takes_longer_and_longer_requests() -> None:
    file = Elsewhere(b"", 400 * BLOCK)
    reader = RangeReader(Blocks(file, ALLOWANCE), Location(("m",)))
    for index in range(400):
        reader.read(index * BLOCK, 1)
    assert len(file.log) < 12 and sum(count for _, count in file.log) == file.size


@pytest.mark.parametrize("ask", [lambda reader: reader.view, lambda reader: reader.read(0, reader.size)])
def test_more_than_is_allowed_is_not_fetched(ask: Callable[[RangeReader], object]) -> None:
    file = Elsewhere(b"", WHOLE + 1)
    reader = RangeReader(Blocks(file, Allowance(fetched=WHOLE)), Location(("m",)))
    with pytest.raises(NotFetchedError):
        ask(reader)
    assert file.log == []


def test_a_part_beyond_the_window_is_cut_and_not_asked_for() -> None:
    reader = reader_over(bytes(10))
    assert not reader.holds(0, 10)
    reader.load(-5, 99)
    assert reader.holds(0, 10)


def big_onnx(size: int, location: str = "") -> Elsewhere:
    """Return a model with a tensor of `size` bytes in it, and one outside of it if `location` says where."""
    node = b"\x0a\x01x\x0a\x01w\x12\x01y\x22\x03Add"
    outside = (
        b"\x08\x04\x10\x01\x42\x01v\x6a" + _sized(b"\x0a\x08location\x12" + _sized(location.encode())) + b"\x70\x01"
    )
    tensor = b"\x08" + _varint(size // 4) + b"\x10\x01\x42\x01w\x4a" + _varint(size)
    rest = b"\x2a" + _sized(outside) if location else b""
    graph = b"\x0a" + _sized(node) + b"\x2a" + _varint(len(tensor) + size) + tensor
    head = b"\x08\x08\x42\x02\x10\x11\x3a" + _varint(len(graph) + size + len(rest)) + graph
    return Elsewhere(head, size, rest)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _sized(data: bytes) -> bytes:
    return _varint(len(data)) + data


def test_the_structure_of_a_graph_is_found_around_its_weights() -> None:
    file = big_onnx(64 * MIB)
    verdict = look(file)
    assert verdict.nothing_found
    assert verdict.files[0].formats == ("onnx",)
    assert sum(count for _, count in file.log) <= 8 * BLOCK


def test_a_path_out_of_the_model_behind_its_weights_is_found() -> None:
    verdict = look(big_onnx(64 * MIB, "../../etc/passwd"))
    assert verdict.outcome is Outcome.FAIL


def test_weights_beside_a_graph_are_accounted_for_by_name() -> None:
    weights = Elsewhere(b"\x01\x02\x03", 64 * MIB)
    verdict = look(big_onnx(64 * MIB, "weights.bin"), weights, names=("onnx/model.onnx", "onnx/weights.bin"))
    assert verdict.nothing_found
    alone = look(big_onnx(64 * MIB, "weights.bin"))
    assert not alone.nothing_found and alone.outcome is Outcome.INCONCLUSIVE
