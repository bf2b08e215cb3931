"""Trees: what is listed, what is refused, and that what was digested is what lies there."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oms_files import FILES, write

from weighbridge.artifact import Entry, Manifest
from weighbridge.errors import SourceError
from weighbridge.evidence import measure, tree
from weighbridge.evidence.measure import Measured, Plan
from weighbridge.evidence.tree import Stored, Tree
from weighbridge.refusals import ChangedDuringRead, SignatureUnsupported, UnsafeEntry


def measured(folder: Path, plan: Plan | None = None, threads: int = 2) -> dict[str, Measured]:
    with Tree(folder, threads=threads) as opened:
        return opened.measure({path: plan or Plan() for path in opened.paths})


def test_every_file_is_listed_and_digested(tmp_path: Path) -> None:
    files = {**FILES, ".git/config": b"[core]", "empty": b"", "ä/ö.txt": b"u", "a b:c": b"colon"}
    found = measured(write(tmp_path, files))
    assert {path: (one.size, one.sha256) for path, one in found.items()} == {
        path: (len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items()
    }


def test_a_single_file_is_a_model_even_by_a_link(tmp_path: Path) -> None:
    write(tmp_path, {"m.bin": b"1"})
    (tmp_path / "link.bin").symlink_to("m.bin")
    for name in ("m.bin", "link.bin"):
        with Tree(tmp_path / name) as opened:
            assert (opened.single, opened.paths) == (True, (name,))
            assert opened.measure({name: Plan()})[name].sha256 == hashlib.sha256(b"1").hexdigest()
            assert opened.read(name, 1) == b"1"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # a socket's path has a hundred bytes at most


UNSAFE: dict[str, tuple[Callable[[Path], None], str]] = {
    "link to a file": (lambda path: path.symlink_to("config.json"), "a symbolic link"),
    "link to a folder": (lambda path: path.symlink_to("weights"), "a symbolic link"),
    "link to nothing": (lambda path: path.symlink_to("nothing"), "a symbolic link"),
    "link to itself": (lambda path: path.symlink_to(path.name), "a symbolic link"),
    "pipe": (_pipe, "a pipe"),
    "socket": (_socket, "a socket"),
}


@pytest.mark.parametrize(("make", "said"), UNSAFE.values(), ids=UNSAFE)
@pytest.mark.parametrize("place", ["bad", "weights/bad", ".git/bad"])
def test_what_is_no_file_is_refused_wherever_it_is(
    make: Callable[[Path], None], said: str, place: str, tmp_path: Path
) -> None:
    write(tmp_path, {**FILES, ".git/config": b""})
    make(tmp_path / place)
    with pytest.raises(UnsafeEntry, match=f"{place}: {said}.* \\[UNSAFE_ENTRY\\]"), Tree(tmp_path):
        pass


@pytest.mark.parametrize("name", [b"\xff.bin", b"a\nb", b"a\x1b[2J", b"a\\b", "a\x9bb".encode()])
def test_a_name_that_no_list_can_hold_is_refused(name: bytes, tmp_path: Path) -> None:
    (Path(os.fsdecode(bytes(tmp_path) + b"/" + name))).write_bytes(b"")
    with pytest.raises(UnsafeEntry, match="its name") as caught, Tree(tmp_path):
        pass
    assert str(caught.value).isprintable()


def test_a_pipe_or_device_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(UnsafeEntry, match="instead of a model"), Tree(path):
            pass
    with pytest.raises(SourceError, match="No such file"), Tree(tmp_path / "nothing"):
        pass


def test_depth_and_number_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "deep"
    (deep / "/".join("d" * tree.MAX_DEPTH)).mkdir(parents=True)
    assert measured(deep) == {}
    (deep / "/".join("d" * (tree.MAX_DEPTH + 1))).mkdir()
    with pytest.raises(UnsafeEntry, match="folders deep"):
        measured(deep)
    write(tmp_path / "wide", {f"f{number}": b"" for number in range(4)})
    monkeypatch.setattr(tree, "MAX_FILES", 4)
    assert len(measured(tmp_path / "wide")) == 4
    monkeypatch.setattr(tree, "MAX_FILES", 3)
    with pytest.raises(UnsafeEntry, match="more than 3 files"):
        measured(tmp_path / "wide")
    monkeypatch.setattr(tree, "MAX_FILES", 9)
    monkeypatch.setattr(tree, "MAX_ENTRIES", 3)
    with pytest.raises(UnsafeEntry, match="files and folders"):
        measured(tmp_path / "wide")


def test_names_that_collide_elsewhere_are_told() -> None:
    assert tree.collisions(("A", "a", "b", "ß/x", "SS/x")) == [("A", "a"), ("ß/x", "SS/x")]


sizes = st.lists(st.integers(0, 40), max_size=6)


@given(sizes, st.integers(1, 12), st.sampled_from(["sha256", "blake2b", "blake3"]), st.integers(1, 4))
def test_pieces_have_the_digests_of_their_bytes(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], size: int, algorithm: str, threads: int
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    files = {f"f{number}": os.urandom(length) for number, length in enumerate(lengths)}
    write(folder, files)
    plans = {
        path: Plan(algorithm=algorithm, ends=tuple(min(end + size, len(data)) for end in range(0, len(data), size)))
        for path, data in files.items()
    }
    with Tree(folder, threads=threads) as opened:
        found = opened.measure(plans)
    for path, data in files.items():
        pieces = [data[begin : begin + size] for begin in range(0, len(data), size)] or [data]
        assert list(found[path].digests) == [_digest(algorithm, piece) for piece in pieces]
        assert found[path].sha256 == hashlib.sha256(data).hexdigest()


def _digest(algorithm: str, data: bytes) -> str:
    made = measure.hasher(algorithm)()
    made.update(memoryview(data))
    return made.hexdigest()


def test_pieces_cross_the_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "CHUNK", 7)
    data = os.urandom(50)
    write(tmp_path, {"f": data})
    found = measured(tmp_path, Plan(ends=(10, 20, 30, 40, 50)))["f"]
    assert list(found.digests) == [hashlib.sha256(data[at : at + 10]).hexdigest() for at in range(0, 50, 10)]
    assert len(measured(tmp_path, Plan(ends=(10, 20)))["f"].digests) == 2
    assert len(measured(tmp_path, Plan(ends=(40, 80)))["f"].digests) == 1


@pytest.fixture
def meddle(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], None]], None]:
    """Return what makes something happen after each file that is read, told how many were."""

    def arrange(happen: Callable[[int], None]) -> None:
        real, count = measure.measure_descriptor, 0

        def watched(*given: object) -> Measured:
            nonlocal count
            result = real(*given)  # type: ignore[arg-type]
            count += 1
            happen(count)
            return result

        monkeypatch.setattr(measure, "measure_descriptor", watched)

    return arrange


Meddle = Callable[[Callable[[int], None]], None]


def test_a_file_that_changes_once_is_read_again(tmp_path: Path, meddle: Meddle) -> None:
    write(tmp_path, {"a": b"1"})

    def grow(count: int) -> None:
        if count == 1:
            (tmp_path / "a").write_bytes(b"22")

    meddle(grow)
    assert measured(tmp_path)["a"].sha256 == hashlib.sha256(b"22").hexdigest()


def test_a_file_that_keeps_changing_is_refused(tmp_path: Path, meddle: Meddle) -> None:
    write(tmp_path, {"a": b""})

    def grow(count: int) -> None:
        (tmp_path / "a").write_bytes(b"x" * count)

    meddle(grow)
    with pytest.raises(ChangedDuringRead, match=r"a: somebody writes to it .*\[CHANGED_DURING_READ\]"):
        measured(tmp_path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "file added": lambda folder: (folder / "evil.pkl").write_bytes(b"."),
    "file removed": lambda folder: (folder / "config.json").unlink(),
    "measured file rewritten": lambda folder: (folder / "weights/model.safetensors").write_bytes(b"\1" * 3000),
    "measured file replaced": lambda folder: _replace(folder / "weights/model.safetensors"),
    "folder moved away": lambda folder: (folder / "weights").rename(folder / "moved"),
}


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_folder_that_changes_meanwhile_is_refused(
    change: Callable[[Path], object], tmp_path: Path, meddle: Meddle
) -> None:
    write(tmp_path)

    def happen(count: int) -> None:
        if count == 2:  # the largest file is measured, and the configuration is not
            change(tmp_path)

    meddle(happen)
    with pytest.raises(ChangedDuringRead):
        measured(tmp_path, threads=1)


def test_a_folder_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "m")
    write(tmp_path / "elsewhere", {"model.safetensors": b"\0" * 3000})
    with Tree(tmp_path / "m") as opened:
        (tmp_path / "m/weights").rename(tmp_path / "m/kept")
        (tmp_path / "m/weights").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ChangedDuringRead, match="it was there"):
            opened.measure({"weights/model.safetensors": Plan()})
        with pytest.raises(ChangedDuringRead):
            opened.read("weights/model.safetensors", 1 << 20)


def test_a_file_that_becomes_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path)
    with Tree(tmp_path) as opened:
        (tmp_path / "config.json").unlink()
        os.mkfifo(tmp_path / "config.json")
        with pytest.raises(ChangedDuringRead, match="is none now"):
            opened.read("config.json", 9)


def test_what_was_measured_is_not_read_twice_and_still_compared(tmp_path: Path, meddle: Meddle) -> None:
    write(tmp_path)
    read: list[int] = []
    meddle(read.append)
    with Tree(tmp_path) as opened:
        plans = {path: Plan() for path in opened.paths}
        assert opened.measure(plans) == opened.measure(plans)
        assert len(read) == len(FILES)
        (tmp_path / "config.json").write_bytes(b"[]")
        with pytest.raises(ChangedDuringRead):
            opened.measure(plans)


def test_an_error_in_one_thread_is_the_error_of_all(tmp_path: Path, meddle: Meddle) -> None:
    write(tmp_path, {f"f{number}": b"x" for number in range(50)})

    def fail(count: int) -> None:
        raise SignatureUnsupported("x", "y")

    meddle(fail)
    with pytest.raises(SignatureUnsupported):
        measured(tmp_path, threads=4)


def test_files_in_a_store_are_read_only_when_they_must_be(tmp_path: Path) -> None:
    data = {"a": b"12345", "b/c": b""}
    places = {
        path: write(tmp_path, {f"{number}.blob": one}) / f"{number}.blob"
        for number, (path, one) in enumerate(data.items())
    }
    entries = Manifest(
        entries=tuple(Entry(path, len(one), hashlib.sha256(one).hexdigest()) for path, one in data.items())
    ).entries
    known = frozenset(entry.sha256 for entry in entries)
    trusted, distrusted = Stored("m", entries, places, known), Stored("m", entries, places, frozenset())
    plan = Plan(ends=(2, 5))
    for stored in (trusted, distrusted):
        assert stored.paths == ("a", "b/c")
        assert stored.measure({"a": plan})["a"].digests[1] == hashlib.sha256(b"345").hexdigest()
        assert stored.read("a", 5) == b"12345"
    places["a"].write_bytes(b"54321")
    assert trusted.measure({"a": Plan()})["a"].sha256 == entries[0].sha256
    for read in (
        lambda: distrusted.measure({"a": Plan()}),
        lambda: trusted.measure({"a": plan}),
        lambda: trusted.read("a", 9),
    ):
        with pytest.raises(SourceError, match="damaged"):
            read()


def test_a_signature_has_a_limit(tmp_path: Path) -> None:
    write(tmp_path, {"model.sig": b"12"})
    with Tree(tmp_path) as opened, pytest.raises(SourceError, match="longer than 1 bytes"):
        opened.read("model.sig", 1)
