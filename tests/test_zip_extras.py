"""Extra fields of zip headers: what is known for what it holds, and what could hide something."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from examining import facts_of, reasons


def archive(extra: bytes) -> bytes:
    """Return an archive of one member with `extra` in both of its headers."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        member = zipfile.ZipInfo("a.txt")
        member.extra = extra
        file.writestr(member, b"A text for people.\n")
    return buffer.getvalue()


def field(kind: int, content: bytes) -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


@pytest.mark.parametrize(
    "extra",
    [
        b"",
        field(0x5455, b"\x03" + bytes(8)),
        field(0x7875, b"\x01\x04" + bytes(4) + b"\x04" + bytes(4)),
        field(0x000A, bytes(32)),
        field(0xCAFE, b""),
        field(0x4246, b"Z" * 50),
        field(0xD935, b"\x10\x00" + bytes(30)),
        field(0x5455, bytes(5)) + field(0x4246, b"ZZ"),
    ],
)
def test_what_archivers_write_is_understood(extra: bytes) -> None:
    assert reasons(facts_of(archive(extra))) == ""


@pytest.mark.parametrize(
    "extra",
    [
        field(0x1234, b"cos\nsystem\n(S'id'\ntR."),
        field(0x4246, b"cos\nsystem\n(S'id'\ntR."),
        field(0x5455, bytes(60)),
        field(0xCAFE, b"x"),
        field(0x4246, b"ZZ") + b"\x01\x02\x03",
    ],
)
def test_what_nobody_knows_is_a_gap(extra: bytes) -> None:
    assert "extra field" in reasons(facts_of(archive(extra)))
