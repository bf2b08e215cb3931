"""Files of this machine as an artifact: named by their digest, and refused when they change under the reader."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from weighbridge.artifact import Entry, Manifest
from weighbridge.errors import SourceError, UsageError
from weighbridge.registries.base import Settings
from weighbridge.registries.local import Local

LOCAL = Local(Settings(offline=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "a model"
    (top / "sub").mkdir(parents=True)
    (top / "config.json").write_bytes(b"{}")
    (top / "sub" / "weights.bin").write_bytes(b"0123456789")
    return top


def test_a_folder_is_an_artifact_whose_revision_is_its_tree_digest(folder: Path) -> None:
    artifact = LOCAL.resolve(str(folder))
    entries = [
        Entry(str(path.relative_to(folder)), path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in (folder / "config.json", folder / "sub" / "weights.bin")
    ]
    assert artifact.revision == str(Manifest(entries=tuple(entries)).digest)
    assert [(file.path, file.size, str(file.claims[0])) for file in artifact.files] == [
        (entry.path, entry.size, f"sha256:{entry.sha256}") for entry in entries
    ]
    assert LOCAL.resolve(artifact.pinned) == LOCAL.resolve(artifact.reference + "@" + artifact.revision)
    assert not LOCAL.resolve(artifact.pinned).moving
    assert artifact.reference == folder.as_uri()


def test_a_file_is_an_artifact_of_its_own(folder: Path) -> None:
    artifact = LOCAL.resolve((folder / "sub" / "weights.bin").as_uri())
    (file,) = artifact.files
    remote = LOCAL.open(artifact, file)
    assert (file.path, remote.size, remote.read(2, 3)) == ("weights.bin", 10, b"234")
    assert b"".join(remote.stream(0, 10)) == b"0123456789"


def test_what_is_not_the_pinned_bytes_is_refused(folder: Path) -> None:
    pinned = LOCAL.resolve(str(folder)).pinned
    (folder / "config.json").write_bytes(b"[]")
    with pytest.raises(SourceError, match=r"the files are sha256:.*, not sha256:"):
        LOCAL.resolve(pinned)


@pytest.mark.parametrize("change", ["0123456780", "longer than before", "", None])
def test_a_file_that_changes_after_it_was_resolved_is_refused(folder: Path, change: str | None) -> None:
    artifact = LOCAL.resolve(str(folder))
    weights = folder / "sub" / "weights.bin"
    remote = LOCAL.open(artifact, artifact.files[1])
    weights.unlink()
    if change is not None:
        weights.write_text(change)
        os.utime(weights, ns=(1, 1))
    with pytest.raises(SourceError, match=r"changed while it was read|No such file"):
        remote.read(0, 10)


def test_a_range_outside_of_the_file_is_refused(folder: Path) -> None:
    artifact = LOCAL.resolve(str(folder))
    with pytest.raises(SourceError, match="bytes 5 to 11 are outside of 10"):
        LOCAL.open(artifact, artifact.files[1]).read(5, 6)


def test_a_link_inside_the_folder_is_the_file_that_it_leads_to(folder: Path) -> None:
    (folder / "link").symlink_to("sub/weights.bin")
    artifact = LOCAL.resolve(str(folder))
    (file,) = (file for file in artifact.files if file.path == "link")
    assert LOCAL.open(artifact, file).read(0, 10) == b"0123456789"
    (folder / "link").unlink()
    (folder / "link").symlink_to("config.json")
    with pytest.raises(SourceError, match=r"changed while it was read|outside"):
        LOCAL.open(artifact, file).read(0, 2)


def test_a_snapshot_in_the_cache_of_the_hub_is_a_folder_of_its_files(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / ("a" * 40)
    blobs = tmp_path / "models--org--name" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "123").write_bytes(b"weights")
    (snapshot / "model.bin").symlink_to("../../blobs/123")
    artifact = LOCAL.resolve(str(snapshot))
    assert [(file.path, file.size) for file in artifact.files] == [("model.bin", 7)]
    assert LOCAL.open(artifact, artifact.files[0]).read(0, 7) == b"weights"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/etc/passwd", "a link out of the folder"),
        ("../outside", "a link out of the folder"),
        ("sub", "link to a folder"),
        ("nothing", "No such file"),
        ("link", "link"),
    ],
)
def test_a_link_to_anything_else_is_refused(folder: Path, target: str, reason: str) -> None:
    (folder.parent / "outside").write_bytes(b"x")
    (folder / "link").symlink_to(target)
    with pytest.raises(SourceError, match=reason):
        LOCAL.resolve(str(folder))


def test_what_is_neither_file_nor_folder_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(SourceError, match="a device, pipe"):
        LOCAL.resolve(str(folder))
    with pytest.raises(SourceError, match=": neither a file nor a folder"):
        LOCAL.resolve(str(folder / "pipe"))


@pytest.mark.parametrize("path", ["missing", "empty"])
def test_nothing_is_no_artifact(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"No such file|holds no files"):
        LOCAL.resolve(str(tmp_path / path))


@pytest.mark.parametrize("reference", ["file://elsewhere/model", "file://", "file:///a%00b"])
def test_a_file_url_names_a_path_of_this_machine(reference: str) -> None:
    with pytest.raises(UsageError, match="file:///path"):
        LOCAL.resolve(reference)


def test_a_path_that_is_not_there_and_looks_like_a_model_of_the_hub_is_told_its_name(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"No such file or directory; a model on the Hub is hf://org/name$"):
        LOCAL.resolve(str(folder / "org" / "name"))
    for path in (folder / "name", folder / "sub" / "name", folder / "a" / "b" / "c", folder / "o r" / "name"):
        with pytest.raises(SourceError, match=r"No such file or directory$"):
            LOCAL.resolve(str(path))
