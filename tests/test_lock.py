"""What a lock binds, how it reads and writes, and what it says of a folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from examining import facts_of
from hypothesis import given
from hypothesis import strategies as st

from weighbridge import lock as locks
from weighbridge.artifact import Entry, Manifest
from weighbridge.errors import DocumentError, SourceError, UsageError
from weighbridge.facts import Gap
from weighbridge.lock import Difference, Lock, Locked, LockedFile, Passed

FILES = {"config.json": b"{}", "weights/model.bin": b"\0" * 9}
VERDICT = Passed(policy="default", policy_digest="sha256:1", rules_digest="sha256:2", weighbridge="0.1.0")


def entry(path: str, data: bytes) -> Entry:
    return Entry(path, len(data), hashlib.sha256(data).hexdigest())


def model(files: dict[str, bytes] = FILES, **changes: object) -> Locked:
    entries = [entry(path, data) for path, data in files.items()]
    given = {
        "source": "hf://acme/m",
        "requested": "main",
        "revision": "1" * 40,
        "tree": str(Manifest(entries=tuple(entries)).digest),
        "files": tuple(LockedFile(path=one.path, size=one.size, sha256=one.sha256) for one in entries),
        "verdict": VERDICT,
    }
    return Locked(**given | changes)  # type: ignore[arg-type]


def read(text: str, tmp_path: Path) -> Lock:
    path = tmp_path / "weighbridge.lock"
    path.write_text(text, encoding="utf-8")
    return locks.read(path)


GOLDEN = f"""\
# Written by weighbridge; docs/lock.md says what it binds.
version = 1

[[models]]
source = "hf://acme/m"
requested = "main"
revision = "{"1" * 40}"
tree = "sha256:a4e25ee5e3ba9d61a0fbd4d78dd0b62b5d71bc35cc9e5a1a2b1a0d2b2b5ee5ff"
exclude = ["*.md"]
files = [
    {{ path = "config.json", size = 2, sha256 = "{hashlib.sha256(b"{}").hexdigest()}" }},
    {{ path = "weights/model.bin", size = 9, sha256 = "{hashlib.sha256(bytes(9)).hexdigest()}" }},
]
[models.verdict]
policy = "default"
policy_digest = "sha256:1"
rules_digest = "sha256:2"
weighbridge = "0.1.0"
"""


def test_a_lock_is_written_one_way() -> None:
    locked = model(exclude=("*.md",))
    text = locks.render(Lock(version=1, models=(locked,)))
    assert text.splitlines() == [
        f'tree = "{locked.tree}"' if line.startswith("tree") else line for line in GOLDEN.splitlines()
    ]
    shuffled = replace(locked, files=locked.files[::-1])
    other = model(source="hf://acme/a")
    one, two = Lock(version=1, models=(shuffled, other)), Lock(version=1, models=(other, locked))
    assert locks.render(one) == locks.render(two)


words = st.text(st.characters(codec="utf-8"), max_size=20)


@given(words, words, words, st.lists(words, max_size=2))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, a: str, b: str, c: str, d: list[str]
) -> None:
    locked = model(source=a, requested=b, revision=c, include=tuple(d))
    lock = Lock(version=1, models=(locked,))
    assert read(locks.render(lock), tmp_path_factory.mktemp("lock")) == lock


@given(st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="/\\:"), min_size=1, max_size=9))
def test_a_lock_is_understood_when_it_is_scanned(name: str) -> None:
    try:
        locked = model({f"{name}x": b"x"}, exclude=("*.md", name))
    except SourceError:
        return  # no path on disk
    facts = facts_of(locks.render(Lock(version=1, models=(locked, model(requested=name)))).encode())
    assert [fact.subject for fact in facts] == ["lock"]


@pytest.mark.parametrize("line", ["import os", "x = {}", "files = [ 1 ]", "[[other]]", 'a = "', "\xff"])
def test_a_line_that_no_lock_has_is_a_gap(line: str) -> None:
    text = locks.render(Lock(version=1, models=(model(),))) + line + "\n"
    assert [fact for fact in facts_of(text.encode("latin-1")) if isinstance(fact, Gap)]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("version = 1", "version = 2", "version 2"),
        ("size = 2", "size = 3", "are sha256"),
        ("size = 2", "size = -2", "negative"),
        ("config.json", "../config.json", "refused"),
        ("config.json", "Weights/model.bin", "one on some systems"),
        ('policy = "default"', 'policy = "default"\nnew = 1', "unknown key 'new'"),
        ("[models.verdict]", "[models.other]", "unknown key 'other'"),
        (hashlib.sha256(b"{}").hexdigest(), "0" * 63, "64 hexadecimal digits"),
        ('requested = "main"\n', "", "missing key 'requested'"),
        ("version = 1", "version = ", "Invalid value"),
        ("version = 1", 'version = "1"', "not a whole number"),
    ],
)
def test_a_wrong_lock_is_refused_with_its_place(before: str, after: str, said: str, tmp_path: Path) -> None:
    text = locks.render(Lock(version=1, models=(model(),)))
    assert before in text
    with pytest.raises(DocumentError, match=said) as caught:
        read(text.replace(before, after, 1), tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "weighbridge.lock:"))


def test_a_model_is_locked_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        Lock(version=1, models=(model(), model()))


@pytest.mark.parametrize("content", [b"\xff", b"\0" * 9])
def test_what_is_no_text_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weighbridge.lock").write_bytes(content)
    with pytest.raises(DocumentError):
        locks.read(tmp_path / "weighbridge.lock")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weighbridge.lock")
    with pytest.raises(UsageError, match="not a file"):
        locks.read(tmp_path / "weighbridge.lock")


def test_a_lock_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LIMIT", 10)
    with pytest.raises(DocumentError, match="longer than 10 bytes"):
        read("version = 1\n", tmp_path)


def test_a_lock_is_written_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "weighbridge.lock"
    lock = Lock(version=1, models=(model(),))
    locks.write(lock, path)
    locks.write(lock, path)
    assert locks.read(path) == lock and [one.name for one in tmp_path.iterdir()] == ["weighbridge.lock"]
    with pytest.raises(UsageError):
        locks.write(lock, tmp_path / "nowhere" / "weighbridge.lock")


def test_a_reference_is_found_by_what_was_asked_for_and_by_what_it_meant() -> None:
    lock = Lock(version=1, models=(model(), model(requested="", revision="2" * 40)))
    assert lock.find("hf://acme/m@main") == lock.models[0]
    assert lock.find("hf://acme/m") == lock.models[1]
    assert lock.find(f"hf://acme/m@{'2' * 40}") == lock.models[1]
    assert lock.find("hf://acme/other") is None
    assert lock.matching(model().artifact) == lock.models[0]
    assert lock.matching(model(requested="v1", revision="2" * 40).artifact) == lock.models[1]
    assert lock.matching(model(requested="v1", revision="3" * 40).artifact) is None


def test_an_entry_takes_the_place_of_an_older_one() -> None:
    lock = Lock(version=1, models=(model(),)).having(model(revision="2" * 40)).having(model(requested="v1"))
    assert {(one.requested, one.revision[0]) for one in lock.models} == {("main", "2"), ("v1", "1")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the files, and with a lock."""
    for path, data in {**FILES, "weighbridge.lock": b"ours"}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    return tmp_path


def test_a_folder_as_it_was_locked(folder: Path) -> None:
    assert locks.check(folder, model().manifest) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda path: (path / "config.json").write_bytes(b"[]"), ("config.json", "changed")),
        (lambda path: (path / "config.json").write_bytes(b"{} "), ("config.json", "changed")),
        (lambda path: (path / "config.json").unlink(), ("config.json", "missing")),
        (lambda path: (path / "weights/extra").write_bytes(b""), ("weights/extra", "extra")),
        (lambda path: (path / "weights/weighbridge.lock").write_bytes(b""), ("weights/weighbridge.lock", "extra")),
        (lambda path: (path / "link").symlink_to("config.json"), ("link", "extra")),
        (lambda path: (path / "folder").symlink_to("weights"), ("folder", "extra")),
        (lambda path: os.mkfifo(path / "pipe"), ("pipe", "extra")),
    ],
)
def test_every_difference_of_a_folder_is_named(folder: Path, change: object, expected: tuple[str, str]) -> None:
    change(folder)  # type: ignore[operator]
    (found,) = locks.check(folder, model().manifest)
    assert (found.path, found.kind) == expected


def test_a_link_in_the_place_of_a_file_is_not_followed(folder: Path) -> None:
    (folder / "config.json").rename(folder.parent / "elsewhere.json")
    (folder / "config.json").symlink_to(folder.parent / "elsewhere.json")
    assert locks.check(folder, model().manifest) == [Difference("config.json", "changed", "a link, and no file")]


def test_manifests_are_compared_by_path() -> None:
    after = model({"config.json": b"[]", "new": b""}).manifest
    assert [(one.path, one.kind) for one in locks.compare(model().manifest, after)] == [
        ("config.json", "changed"),
        ("new", "extra"),
        ("weights/model.bin", "missing"),
    ]
