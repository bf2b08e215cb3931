"""The fixtures are what their builder writes, and each shows what its name says."""

from __future__ import annotations

from pathlib import Path

import pytest
from examining import anomalies, facts_of

from fixtures import build
from weighbridge.pipeline import scan
from weighbridge.policy import Outcome

FILES = build.files()
SOURCES = {"__pycache__", "benign"}
# format -> the anomalies that a fixture of its own shows; the file is named after the code, without the format
SHOWN = {
    "zip": (
        "backslash_name comment_directory crc descriptor device directory_offset directory_size "
        "duplicate_member empty_name encrypted end_record flags header_field hole local_crc local_flags "
        "local_header local_method local_name local_size no_end nul_name overlap prepended several_ends size "
        "stored_size trailing"
    ),
    "tar": "device duplicate_member padding prefix size through_link trailing traversal type",
    "torch": "storage_conflict storage_size",
    "safetensors": "duplicate_key hole length overlap padding trailing",
    "numpy": "trailing",
    "gzip": "header",
    "onnx": (
        "config duplicate_field embedded_file external_key external_overlap external_path external_range "
        "function_expansion function_recursion function_shadows input_branch memory_address native_blob "
        "opaque_attribute resource_loop resource_shape tensor_payload trailing unknown_field wire"
    ),
    "ort": "fused_node hole overlap",
    "pickle": (
        "frame_length frame_nested frame_straddle hash_bomb huge_int memo_index name_encoding noncanonical nul_operand "
        "out_of_band proto stacked trailing_data"
    ),
}
CASES = [(family, code) for family, codes in SHOWN.items() for code in codes.split()]
OUTCOMES = {
    "models/ordinary.pt": Outcome.PASS,
    "models/booby_trapped.pt": Outcome.FAIL,
    "pickle/ordered_dict.pkl": Outcome.PASS,
    "pickle/os_system_popped.pkl": Outcome.FAIL,
    "pickle/unlisted.pkl": Outcome.INCONCLUSIVE,
    "pickle/truncated.pkl": Outcome.INCONCLUSIVE,
}


def test_building_twice_gives_the_same_bytes() -> None:
    assert build.files() == FILES


def test_the_committed_fixtures_are_those_that_the_builder_writes(tmp_path: Path) -> None:
    build.build(tmp_path)
    written = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")}
    kept = [path for path in build.FOLDER.glob("*/**/*.*") if path.is_file() and SOURCES.isdisjoint(path.parts)]
    assert {path.relative_to(build.FOLDER).as_posix(): path.read_bytes() for path in kept} == written


@pytest.mark.parametrize(("family", "code"), CASES)
def test_a_fixture_shows_the_anomaly_it_is_named_after(family: str, code: str) -> None:
    (name,) = (name for name in FILES if name.rpartition(".")[0] == f"{family}/{code}")
    assert f"{family}-{code.replace('_', '-')}" in anomalies(facts_of(FILES[name]))


@pytest.mark.parametrize(("name", "outcome"), OUTCOMES.items())
def test_the_models_of_the_quick_start_come_out_as_it_says(name: str, outcome: Outcome) -> None:
    assert scan([build.FOLDER / name]).outcome is outcome


@pytest.mark.parametrize("name", [name for name, data in FILES.items() if b"system" in data])
def test_no_fixture_that_starts_a_process_passes(name: str) -> None:
    assert scan([build.FOLDER / name]).outcome is not Outcome.PASS
