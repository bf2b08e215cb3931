"""HDF5: found wherever it may begin, whatever the file opens as, and never passed."""

from __future__ import annotations

import json

import pytest
from examining import anomalies, facts_of, formats_of, reasons

from weighbridge.formats.hdf5 import SIGNATURE, sniff
from weighbridge.location import Location
from weighbridge.reader import from_bytes


def safetensors(data: bytes) -> bytes:
    """Return a file of one tensor of bytes."""
    header = json.dumps({"a": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


def test_a_file_of_hdf5_is_a_gap() -> None:
    facts = facts_of(SIGNATURE + bytes(88))
    assert "hdf5: what is in it is not understood" in reasons(facts)


@pytest.mark.parametrize("at", [512, 1024, 2048, 4096, 8192, 1 << 16])
def test_hdf5_behind_a_block_of_the_user_is_found_in_a_file_of_another_format(at: int) -> None:
    before = len(safetensors(bytes(1 << 17))) - (1 << 17)
    data = bytearray(1 << 17)
    data[at - before : at - before + len(SIGNATURE)] = SIGNATURE
    file = safetensors(bytes(data))
    assert file.index(SIGNATURE) == at
    assert formats_of(file) == {"safetensors", "hdf5"}
    assert "polyglot" in anomalies(facts_of(file))


@pytest.mark.parametrize("at", [1, 8, 511, 513, 1536, 3072, 12288])
def test_the_signature_elsewhere_is_data(at: int) -> None:
    assert not sniff(from_bytes(bytes(at) + SIGNATURE + bytes(1 << 14), Location(("x",))).sample)
