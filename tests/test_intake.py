"""Files of this machine are taken into the store while they are digested: each once, and only what was digested."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import weighbridge.store.intake as intake_module
from weighbridge.artifact import Artifact, File
from weighbridge.cli.group import run
from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UsageError
from weighbridge.registries.base import Settings
from weighbridge.registries.local import Local
from weighbridge.sources import resolve
from weighbridge.store import Fetched, Intake, Progress, Store, fetch
from weighbridge.store.upkeep import verify

SETTINGS = Settings(offline=True)
LARGE = random.Random(3).randbytes((5 << 20) + 77)


@pytest.fixture(autouse=True)
def _worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "WORTH", 1 << 20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.npy").write_bytes(LARGE)
    (folder / "notes.md").write_bytes(b"# notes\n")
    return folder


def taken(store: Store, model: Path, intake: Intake) -> Fetched:
    found = resolve(model.as_uri(), SETTINGS, intake)
    return fetch(found.artifact, found.registry, store, intake=intake)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_large_file_is_in_the_store_when_its_folder_is_resolved(store: Store, model: Path) -> None:
    seen: list[Progress] = []
    intake = Intake(store, progress=seen.append)
    found = resolve(model.as_uri(), SETTINGS, intake)
    assert found.artifact == Local(SETTINGS).resolve(str(model))
    assert (intake.fresh, intake.received) == ({sha256(LARGE)}, len(LARGE))
    assert [seen[-1].total, seen[-1].received] == [len(LARGE) + 8, len(LARGE)]
    (model / "weights.npy").unlink()
    fetched = fetch(found.artifact, found.registry, store, intake=intake)
    assert fetched.fresh == {sha256(LARGE), sha256(b"# notes\n")}
    assert fetched.received == len(LARGE) + 8
    assert fetched.paths["weights.npy"].read_bytes() == LARGE
    assert list(verify(store)) == []


def test_what_is_there_is_not_copied_again(store: Store, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = taken(store, model, Intake(store))
    monkeypatch.setattr(intake_module, "write_at", None)
    intake = Intake(store)
    again = taken(store, model, intake)
    assert (again.artifact, again.received) == (first.artifact, 0)
    assert intake.fresh == {sha256(LARGE)}, "what the store has was digested with it"


def test_several_at_once_copy_a_file_once(store: Store, model: Path) -> None:
    intakes = [Intake(store) for _ in range(4)]
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda intake: resolve(model.as_uri(), SETTINGS, intake).artifact, intakes))
    assert found == found[:1] * 4
    assert sum(intake.received for intake in intakes) == len(LARGE)
    assert all(intake.fresh == {sha256(LARGE)} for intake in intakes)


def test_what_was_damaged_in_the_store_is_replaced(store: Store, model: Path) -> None:
    taken(store, model, Intake(store))
    place = store.path(sha256(LARGE))
    place.chmod(0o644)
    place.write_bytes(LARGE[:-1] + b"?")
    fetched = taken(store, model, Intake(store))
    assert (list(verify(store)), fetched.received) == ([], len(LARGE))


def test_a_file_that_was_replaced_unseen_is_taken_in_for_what_it_is(store: Store, model: Path) -> None:
    """The state of a file says at most that it need not be copied, never what its digest is."""
    path = model / "weights.npy"
    before = path.stat()
    taken(store, model, Intake(store))
    other = LARGE[::-1]
    with path.open("r+b") as file:
        file.write(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    intake = Intake(store)
    fetched = taken(store, model, intake)
    assert intake.fresh == {sha256(other)}
    assert fetched.paths["weights.npy"].read_bytes() == other


@pytest.mark.parametrize("shut", ["unwanted", "refused"])
def test_nothing_is_taken_that_is_not_to_be_had(store: Store, model: Path, shut: str) -> None:
    shown: list[Artifact] = []

    def admits(artifact: Artifact) -> bool:
        shown.append(artifact)
        return shut != "refused"

    intake = Intake(store, wanted=lambda path: shut != "unwanted", admits=admits)
    found = resolve(model.as_uri(), SETTINGS, intake)
    assert found.artifact.revision == Local(SETTINGS).resolve(str(model)).revision
    assert (intake.fresh, list(store.names("files"))) == (set(), [])
    assert [(one.revision, [file.claims for file in one.files]) for one in shown] == [("", [(), ()])]


def test_a_full_disk_is_noticed_before_anything_is_copied(
    store: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(model)._replace(free=len(LARGE))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(SourceError, match="bytes are needed in"):
        resolve(model.as_uri(), SETTINGS, Intake(store))
    assert list(store.names("files")) == []


class _Changing(Intake):
    """Somebody writes to the file while it is read."""

    change: Callable[[Path], object]
    path: Path

    def digest(self, file: File, descriptor: int) -> Digest:
        found = super().digest(file, descriptor)
        if file.path == self.path.name:
            type(self).change(self.path)
        return found


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    path.write_bytes(LARGE[::-1])
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [grow, rewrite])
def test_a_file_that_changes_meanwhile_is_refused(store: Store, model: Path, change: Callable[[Path], object]) -> None:
    intake = _Changing(store)
    _Changing.change, intake.path = staticmethod(change), model / "weights.npy"
    with pytest.raises(SourceError, match="changed while it was read"):
        resolve(model.as_uri(), SETTINGS, intake)
    assert list(verify(store)) == []


def test_a_file_that_never_ends_is_left(store: Store, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "fill", lambda source, buffer, at: len(buffer))
    with pytest.raises(SourceError, match="grows while it is read"):
        resolve(model.as_uri(), SETTINGS, Intake(store))
    assert list((store.home / "incoming").iterdir()) == []


def test_a_folder_on_this_machine_is_pulled_in_one_reading(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Digest, "of_descriptor", classmethod(lambda *_: pytest.fail("read a second time")))
    (model / "notes.md").unlink()
    (model / "weights.npy").write_bytes(numpy_file(1 << 20))
    assert run(["pull", f"file://{model}", "--to", str(tmp_path / "to")]) == 0, capfd.readouterr().err
    assert (tmp_path / "to" / "weights.npy").read_bytes() == numpy_file(1 << 20)


@pytest.mark.parametrize("linked", [False, True])
def test_what_the_lock_leaves_out_is_not_taken(
    linked: bool, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (model / "more.npy").write_bytes(numpy_file(1 << 20))
    for home, command in (
        ("first", ["lock", "add", "model", "--exclude", "weights.npy"]),
        ("second", ["pull", "link" if linked else "model", "--to", "to", "--locked"]),
    ):
        monkeypatch.setenv("WEIGHBRIDGE_HOME", str(tmp_path / home))
        Path("link").unlink(missing_ok=True)
        Path("link").symlink_to("model")
        assert run([*command, "-q"]) == 0
        with Store(tmp_path / home) as opened:
            assert sha256(LARGE) not in opened.names("files")
    assert sorted(path.name for path in Path("to").iterdir()) == ["more.npy", "notes.md", "weighbridge.lock"]


def numpy_file(count: int) -> bytes:
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count},), }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + b"\x01" * count


def test_nothing_is_copied_for_a_destination_that_is_taken(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Digest, "of_descriptor", classmethod(lambda *_: pytest.fail("read for nothing")))
    with pytest.raises(UsageError, match="in the source"):
        run(["pull", model.as_uri(), "--to", str(model / "inside")])
    with Store(tmp_path / "home") as store:
        assert list(store.names("files")) == []


def test_a_file_that_cannot_be_read_is_no_trouble_of_the_store(
    store: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(intake_module, "fill", broken)
    with pytest.raises(SourceError, match=r"^weights\.npy: Input/output error$"):
        resolve(model.as_uri(), SETTINGS, Intake(store))
