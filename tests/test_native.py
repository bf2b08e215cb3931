"""Programs inside a model artifact are facts, whatever the file is called."""

from __future__ import annotations

import importlib.util
import py_compile
import struct
import sys
from pathlib import Path

import pytest
from examining import facts_of
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.facts import Native


def elf(bits: int, kind: int, machine: int) -> bytes:
    return b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9) + struct.pack("<HH", kind, machine) + bytes(44)


def pe(machine: int, flags: int) -> bytes:
    return b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H16xH", machine, flags)


def found(data: bytes) -> list[tuple[str, str]]:
    return [(f.type, f.detail) for f in facts_of(data) if isinstance(f, Native)]


@pytest.mark.parametrize(
    ("data", "type_", "detail"),
    [
        (elf(2, 3, 62), "elf", "64-bit shared object, x86-64"),
        (elf(1, 2, 40), "elf", "32-bit executable, arm"),
        (elf(2, 2, 190), "elf", "64-bit executable, cuda"),
        (b"\x7fELF", "elf", "odd file, other machine"),
        (pe(0x8664, 0x2000), "pe", "library, x86-64"),
        (pe(0x14C, 2), "pe", "executable, x86"),
        (b"MZ".ljust(60, b"\0") + struct.pack("<I", 5000) + bytes(6000), "pe", ""),
        (b"\xcf\xfa\xed\xfe" + struct.pack("<III", 0x0100000C, 0, 6), "macho", "shared object, aarch64"),
        (b"\xfe\xed\xfa\xce" + struct.pack(">III", 7, 3, 2), "macho", "executable, x86"),
        (b"\xca\xfe\xba\xbe" + struct.pack(">I", 2), "macho", "2 architectures"),
        (b"\xca\xfe\xba\xbe" + struct.pack(">HH", 0, 52), "java-class", "version 52"),
        (b"\0asm" + struct.pack("<I", 1), "wasm", "version 1"),
        (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46", "windows-shortcut", ""),
        (b"!<arch>\n", "static-library", ""),
        (b"BC\xc0\xde", "llvm-bitcode", ""),
        (b"\x50\xed\x55\xba\1\0", "cuda-fatbin", ""),
    ],
)
def test_a_program_is_recognised_and_described(data: bytes, type_: str, detail: str) -> None:
    assert found(data) == [(type_, detail)]


def test_compiled_python_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\n")
    py_compile.compile(str(tmp_path / "a.py"), str(tmp_path / "a.pyc"))
    assert found((tmp_path / "a.pyc").read_bytes()) == [("python-bytecode", "")]
    assert found(b"\x03\xf3\r\n" + bytes(4) + b"c" + bytes(16)) == [("python-bytecode", "")]
    assert importlib.util.MAGIC_NUMBER.endswith(b"\r\n")


def test_the_running_interpreter_is_a_program() -> None:
    with Path(sys.executable).open("rb") as file:
        assert len(found(file.read(8192))) == 1


@pytest.mark.parametrize(
    "data", [b"MZ" + bytes(100), b"\xca\xfe\xba\xbe", b"L\0\0\0", b"ab\r\ncd", b"\xca\xfe\xba\xbe\0\0\0\x20"]
)
def test_what_only_begins_like_a_program_is_a_gap(data: bytes) -> None:
    assert not found(data)
    assert any(f.kind == "gap" for f in facts_of(data))


@given(
    st.sampled_from([b"MZ", b"\x7fELF", b"\xca\xfe\xba\xbe", b"\xce\xfa\xed\xfe", b"L\0\0\0", b"\r\r\r\n"]), st.binary()
)
def test_any_bytes_give_facts(magic: bytes, data: bytes) -> None:
    facts_of(magic + data)
