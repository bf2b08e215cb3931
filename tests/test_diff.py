"""What a comparison of two models says, and what it does not."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors_files import tensor_file

from weighbridge.cli.group import run
from weighbridge.errors import SourceError

PLAIN = b"\x80\x04]\x94(K\x01K\x02e."
HOSTILE = b"\x80\x04cos\nsystem\n(X\x07\x00\x00\x00echo hitR."
LOUDER = HOSTILE.replace(b"echo hi", b"echo HI")


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def torch_file(named: dict[str, bytes], *, root: str, stride: int = 1) -> bytes:
    """Return a checkpoint of torch: a dict of byte tensors, each with a storage of its own."""
    items, archive = b"", io.BytesIO()
    for key, (name, data) in enumerate(named.items()):
        size = b"M" + struct.pack("<H", len(data))
        pid = b"(" + text("storage") + b"ctorch\nByteStorage\n" + text(str(key)) + text("cpu") + size + b"tQ"
        layout = b"K\x00" + b"(" + size + b"t" + b"(K" + bytes([stride]) + b"t\x89ccollections\nOrderedDict\n)R"
        items += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + layout + b"tR"
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr(f"{root}/data.pkl", b"\x80\x02}(" + items + b"u.")
        for key, data in enumerate(named.values()):
            members.writestr(f"{root}/data/{key}", data)
        members.writestr(f"{root}/version", b"3\n")
    return archive.getvalue()


Diff = Callable[[dict[str, bytes], dict[str, bytes]], dict[str, Any]]


@pytest.fixture
def diff(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Diff:
    """Return what compares two folders of files and gives the document, having checked the exit status."""

    def compare(before: dict[str, bytes], after: dict[str, bytes]) -> dict[str, Any]:
        for name, files in (("a", before), ("b", after)):
            for path, data in files.items():
                (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name / path).write_bytes(data)
        capfd.readouterr()
        status = run(["diff", str(tmp_path / "a"), str(tmp_path / "b"), "--format", "json"])
        document: dict[str, Any] = json.loads(capfd.readouterr().out)
        assert status == (0 if document["same"] else 1)
        assert run(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == status
        capfd.readouterr()
        return document

    return compare


def changes(found: list[dict[str, Any]], *keys: str) -> list[tuple[str, ...]]:
    return [tuple(str(one[key]) for key in ("change", *keys)) for one in found]


def test_the_same_bytes_are_the_same(diff: Diff) -> None:
    found = diff({"m.pkl": HOSTILE, "x/y": b"z"}, {"x/y": b"z", "m.pkl": HOSTILE, "weighbridge.lock": b"ours"})
    assert found["same"] and not found["files"] and not found["traits"]


def test_files_are_named(diff: Diff) -> None:
    found = diff({"gone": b"1", "kept": b"2", "other": b"3"}, {"kept": b"2", "new/file": b"4", "other": b"5"})
    assert changes(found["files"], "path") == [("removed", "gone"), ("added", "new/file"), ("changed", "other")]
    other = found["files"][2]
    assert other["before"]["size"] == other["after"]["size"] == 1 and other["before"] != other["after"]


def test_new_code_is_named_first(diff: Diff) -> None:
    found = diff({"m.pkl": PLAIN}, {"m.pkl": HOSTILE})
    traits = changes(found["traits"], "kind", "subject")
    assert traits[0] == ("added", "finding", "PKL001")
    assert ("added", "call", "os.system") in traits and ("added", "import", "os.system") in traits


def test_another_argument_of_a_call_is_a_change(diff: Diff) -> None:
    found = diff({"m.pkl": HOSTILE}, {"m.pkl": LOUDER})
    assert changes(found["traits"], "kind", "subject") == [
        ("removed", "finding", "PKL001"),
        ("added", "finding", "PKL001"),
    ]
    assert any("echo HI" in one["text"] for one in found["traits"])


def test_code_that_moves_to_another_file_is_no_news(diff: Diff) -> None:
    assert diff({"a.pkl": HOSTILE}, {"b.pkl": HOSTILE})["traits"] == []


def tensors(**named: bytes) -> bytes:
    return tensor_file(named)


def test_tensors_are_compared_by_name(diff: Diff) -> None:
    before = {"m.safetensors": tensors(gone=b"1", kept=b"22", longer=b"3", other=b"4")}
    after = {"m.safetensors": tensors(other=b"5", kept=b"22", longer=b"33", new=b"6")}
    found = diff(before, after)
    assert changes(found["tensors"], "name", "before", "after") == [
        ("removed", "gone", "U8 1", "None"),
        ("reshaped", "longer", "U8 1", "U8 2"),
        ("added", "new", "None", "U8 1"),
        ("changed", "other", "U8 1", "U8 1"),
    ]
    assert found["tensors_not_compared"] == 0 and found["traits"] == []


def test_tensors_that_only_move_to_another_file_are_the_same(diff: Diff) -> None:
    before = {"1-of-1.safetensors": tensors(a=b"1", b=b"2")}
    after = {"1-of-2.safetensors": tensors(a=b"1"), "2-of-2.safetensors": tensors(b=b"3")}
    assert changes(diff(before, after)["tensors"], "name", "path") == [("changed", "b", "2-of-2.safetensors")]


def test_tensors_of_a_torch_file_are_digested_in_their_storages(diff: Diff) -> None:
    data = random.Random(1).randbytes(64)
    before = torch_file({"a": data, "b": data}, root="one")
    after = torch_file({"a": data, "b": data[::-1]}, root="two")
    found = diff({"m.pt": before}, {"m.pt": after})
    assert changes(found["tensors"], "name") == [("changed", "b")] and found["tensors_not_compared"] == 0


def test_tensors_that_are_no_run_of_bytes_are_not_compared(diff: Diff) -> None:
    before = torch_file({"a": b"0123"}, root="m", stride=2)
    after = torch_file({"a": b"4567"}, root="m", stride=2)
    found = diff({"m.pt": before}, {"m.pt": after})
    assert found["tensors"] == [] and found["tensors_not_compared"] == 1


def test_what_is_new_in_metadata_is_said(diff: Diff) -> None:
    found = diff(
        {"m.safetensors": tensor_file({"a": b"1"}, {"format": "pt"})},
        {"m.safetensors": tensor_file({"a": b"1"}, {"format": "tf"})},
    )
    assert changes(found["traits"], "kind", "subject") == [
        ("removed", "metadata", "format"),
        ("added", "metadata", "format"),
    ]


def test_bytes_that_nobody_understands_are_a_change_all_the_same(diff: Diff) -> None:
    found = diff({"x": b"\x00\x01nothing"}, {"x": b"\x00\x02nothing"})
    assert changes(found["files"], "path") == [("changed", "x")]


def test_what_the_gate_wrote_beside_a_model_is_no_part_of_it(diff: Diff) -> None:
    gates = dict.fromkeys(("approval.json", "approval.leaves", "report.json", "report.html"), b"{}")
    assert not diff({"m.pkl": PLAIN}, {"m.pkl": PLAIN, "report.json": b"{}"})["same"], "nobody has approved this one"
    assert diff({"m.pkl": PLAIN}, {"m.pkl": PLAIN, **gates})["same"]


def test_single_files_are_compared_whatever_they_are_called(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, other = tmp_path / "one.pkl", tmp_path / "other.bin"
    one.write_bytes(PLAIN)
    other.write_bytes(PLAIN)
    assert run(["diff", str(one), str(other)]) == 0
    other.write_bytes(HOSTILE)
    assert run(["diff", str(one), str(other), "--color", "always"]) == 1
    printed = capfd.readouterr().out
    assert "different: " in printed and "\x1b[32m+ call os.system" in printed
    assert run(["diff", str(one), str(other), "-q"]) == 1
    assert not capfd.readouterr().out


def test_names_from_files_cannot_drive_a_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(tensors(a=b"1"))
    other.write_bytes(tensor_file({"\x1b[2J\u202e": b"1"}))
    assert run(["diff", str(one), str(other)]) == 1
    assert "\x1b" not in capfd.readouterr().out


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        run(["diff", str(tmp_path / "a"), str(tmp_path / "b")])
