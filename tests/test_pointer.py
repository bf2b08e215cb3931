"""What git-lfs and DVC leave instead of weights is recognised, whatever the file is called."""

from __future__ import annotations

import pytest
from examining import examine, facts_of, formats_of, reasons
from hypothesis import given
from hypothesis import strategies as st

from fixtures.placeholders import WEIGHTS, dvc_file, dvc_lock, lfs_pointer
from weighbridge.facts import Placeholder

SHA = "sha256:" + "a" * 64
MD5 = "0123456789abcdef0123456789abcdef"
VERSION = b"version https://git-lfs.github.com/spec/v1\n"
OID = f"oid {SHA}\n".encode()


def found(data: bytes) -> list[tuple[str, str, int | None, str]]:
    return [(f.type, f.digest, f.size, f.name) for f in facts_of(data) if isinstance(f, Placeholder)]


@pytest.mark.parametrize(
    "data",
    [
        VERSION + OID + b"size 5\n",
        b"version https://hawser.github.com/spec/v1\n" + OID + b"size 5\n",
        VERSION + f"ext-0-encrypt sha256:{'b' * 64}\n".encode() + OID + b"size 5\n",
    ],
)
def test_a_pointer_of_git_lfs_says_what_it_stands_for(data: bytes) -> None:
    facts, tally = examine(data)
    assert found(data) == [("git-lfs", SHA, 5, "")]
    assert formats_of(data) == {"git-lfs"}
    assert not reasons(facts)
    assert tally.parsed == len(data)


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        OID,
        b"size 5\n" + OID,
        OID + b"size 5",
        OID + b"size 05\n",
        OID + b"size 5\nmore 1\n",
        OID.replace(b"\n", b"\r\n") + b"size 5\n",
        OID.replace(b"a", b"A") + b"size 5\n",
        OID + "size 5\n\u00e9".encode(),
    ],
)
def test_a_pointer_that_git_lfs_would_not_write_is_one_with_a_gap(rest: bytes) -> None:
    facts = facts_of(VERSION + rest)
    assert "pointer" in reasons(facts)


def test_a_long_text_that_begins_like_a_pointer_is_none() -> None:
    assert not found(VERSION + OID + b"size 5\n" + b"x" * 1024)


def test_prose_about_pointers_is_prose() -> None:
    assert formats_of(b"The version of https://git-lfs.github.com/spec/v1 that we use names an oid and a size.\n") == {
        "text"
    }


def test_a_file_of_outputs_says_what_it_stands_for() -> None:
    (fact,) = found(dvc_file())
    assert fact[0] == "dvc"
    assert fact[2:] == (len(WEIGHTS), "weights.bin")


def test_the_lock_of_a_pipeline_names_its_outputs_and_not_what_it_needs() -> None:
    facts, tally = examine(dvc_lock())
    assert [(name, size) for _, _, size, name in found(dvc_lock())] == [("model.bin", len(WEIGHTS))]
    assert not reasons(facts)
    assert tally.unexamined == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"md5: {MD5}\nfrozen: true\ndeps:\n- md5: {MD5}\n  path: in\nouts:\n- md5: {MD5}.dir\n  path: out\n",
         [("dvc", f"md5:{MD5}.dir", None, "out")]),
        ("outs:\n- etag: '\"abc\"'\n  size: 3\n  path: model.bin\n", [("dvc", "etag:'\"abc\"'", 3, "model.bin")]),
        (f"outs:\n- path: folder\n  files:\n  - size: 1\n    md5: {MD5}\n    relpath: a\n  size: 1\n  cloud: x\n",
         [("dvc", "unknown", 1, "folder")]),
        (f"# a comment\nouts:\n  - md5: {MD5}\n    path: one\n\n  - md5: {MD5}\n    path: two\n",
         [("dvc", f"md5:{MD5}", None, "one"), ("dvc", f"md5:{MD5}", None, "two")]),
    ],
)  # fmt: skip
def test_the_shapes_of_files_of_outputs(text: str, expected: list[tuple[str, str, int | None, str]]) -> None:
    assert found(text.encode()) == expected
    assert not reasons(facts_of(text.encode()))


@pytest.mark.parametrize(
    "line",
    [
        "  path: !!python/object:os.system x",
        "  path: &a x",
        "  path: {a: b}",
        "  path: |",
        "<<: *a",
        "\x00",
        "  b\tc: d",
    ],
)
def test_what_goes_beyond_plain_values_is_a_gap(line: str) -> None:
    text = f"outs:\n- md5: {MD5}\n{line}\n"
    assert "neither a key nor a plain value" in reasons(facts_of(text.encode()))


@pytest.mark.parametrize("text", ["outs:\n- name: x\n", f"md5: {MD5}\n", "stages:\n  a:\n    cmd: ls\n", "outs: all\n"])
def test_other_yaml_is_none_of_dvc(text: str) -> None:
    assert not found(text.encode())


@given(
    st.sampled_from([VERSION, VERSION + OID, f"outs:\n- md5: {MD5}\n".encode(), dvc_lock(), lfs_pointer()]), st.binary()
)
def test_any_bytes_give_facts(start: bytes, data: bytes) -> None:
    facts_of(start + data)
