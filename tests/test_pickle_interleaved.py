"""Containers that interleave raw bytes with opcodes: torch's legacy files and joblib's arrays."""

from __future__ import annotations

import pickle
import struct

from examining import anomalies, facts_of, reasons
from pickles import CALL, calls, programs, run


def test_torch_legacy_files_account_for_their_storages() -> None:
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    pid = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02NtQ"
    data = magic + b"\x80\x02" + pid + b"." + pickle.dumps(["0"], 2) + struct.pack("<q", 2) + bytes(8)
    facts = facts_of(data)
    assert {"pickle", "torch-legacy"} <= {fact.subject for fact in facts if fact.kind == "format"}
    assert not anomalies(facts)
    assert not reasons(facts)
    assert "before" in reasons(facts_of(data[:-1])) or "want" in reasons(facts_of(data[:-1]))
    assert "pickle-trailing-data" in anomalies(facts_of(data + b"\xff" * 10))
    for count in (0, -1, 3, 1 << 40):
        assert "torch-storage-size" in anomalies(facts_of(data[:-16] + struct.pack("<q", count) + bytes(8)))


def test_a_payload_in_the_third_pickle_of_a_legacy_file_is_seen() -> None:
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    assert "os.system('id')" in calls(magic + b"\x80\x04" + CALL + b"." + pickle.dumps([], 2))


WRAPPER = (
    b"\x8c\x13joblib.numpy_pickle\x8c\x11NumpyArrayWrapper\x93)\x81}(\x8c\x08subclass\x8c\x05numpy\x8c\x07ndarray\x93"
    b"\x8c\x05shapeK\x04\x85\x8c\x05order\x8c\x01C\x8c\x05dtype\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02%b\x89\x88\x87R"
    b"(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x8c\nallow_mmap\x88ub"
)


def test_arrays_behind_joblib_wrappers_are_stepped_over() -> None:
    machine = run(b"\x80\x04" + WRAPPER % b"u1" + b"\xff\xff\xff\xff" + b".")
    assert machine.complete
    assert machine.arrays == [(len(b"\x80\x04" + WRAPPER % b"u1"), 4)]


def test_array_bytes_are_also_read_as_the_opcodes_plain_pickle_would_run() -> None:
    payload = b"0" + CALL + b"."
    wrapper = (WRAPPER % b"u1").replace(b"K\x04\x85", b"K" + bytes([len(payload)]) + b"\x85")
    data = b"\x80\x04" + wrapper + payload + b"."
    assert "os.system('id')" in calls(data)
    assert {program.reading for program in programs(data)} == {"", "arrays as opcodes"}


def test_object_arrays_of_joblib_run_their_inner_pickle() -> None:
    data = b"\x80\x04" + WRAPPER % b"O8" + b"\x80\x04" + CALL + b"." + b"."
    assert calls(data)[-1] == "os.system('id')"
    assert run(data).complete
