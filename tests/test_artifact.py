"""What an artifact and a manifest admit, and what a tree digest binds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.artifact import MAX_NAME, MAX_PATH, Artifact, Entry, File, Manifest, admit
from weighbridge.errors import SourceError

SHA = "0" * 64


@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "..", "a/../b", "a//b", "./a", "a/", "a\\b", "C:x", "a\0b", "a\nb", "a\u202eb", "\ud800",
        "con", "a/NUL.txt", "a.", "a ", "x" * (MAX_NAME + 1), "a/" * (MAX_PATH // 2) + "b",
    ],
)  # fmt: skip
def test_a_path_that_could_leave_its_folder_or_mean_another_file_is_refused(path: str) -> None:
    with pytest.raises(SourceError, match="is refused"):
        admit([path], "hf://acme/model")


@pytest.mark.parametrize("paths", [("a", "A"), ("a", "a"), ("a", "a/b"), ("x/Y/z", "X/y")])
def test_paths_that_collide_on_some_file_system_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(SourceError):
        Artifact(
            reference="hf://acme/model",
            requested="main",
            revision=SHA,
            files=tuple(File(path=path, size=1) for path in paths),
        )


def test_ordinary_paths_are_admitted() -> None:
    admit(["config.json", "onnx/model.onnx", ".gitattributes", "modèle 1.bin", "console.log"], "x")


def test_an_artifact_says_whether_its_reference_moves() -> None:
    artifact = Artifact(reference="hf://a/b", requested="main", revision=SHA, files=())
    assert artifact.moving and artifact.pinned == f"hf://a/b@{SHA}"
    assert not Artifact(reference="hf://a/b", requested=SHA, revision=SHA, files=()).moving


entries = st.lists(
    st.builds(Entry, st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3})?", fullmatch=True), st.integers(0, 9), st.just(SHA)),
    unique_by=lambda entry: entry.path.split("/")[0],
)


@given(entries, st.randoms())
def test_the_tree_digest_knows_no_order(found: list[Entry], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert Manifest(entries=tuple(found)).digest == Manifest(entries=tuple(shuffled)).digest


@pytest.mark.parametrize("other", [Entry("b", 1, SHA), Entry("a", 2, SHA), Entry("a", 1, "1" * 64)])
def test_the_tree_digest_binds_path_size_and_content(other: Entry) -> None:
    assert Manifest(entries=(Entry("a", 1, SHA),)).digest != Manifest(entries=(other,)).digest
