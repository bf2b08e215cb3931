"""What the store takes in, what it refuses, and that nothing that stops it leaves it wrong."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shelf import PIECE, REFERENCE, Shelf, git_sha1

import weighbridge.store.partial as partial_module
import weighbridge.store.transfer as transfer_module
from weighbridge.artifact import Artifact, File, Manifest
from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UnavailableError
from weighbridge.store import Fetched, Progress, Store, fetch
from weighbridge.store.layout import default_home
from weighbridge.store.materialise import materialise
from weighbridge.store.partial import Partial
from weighbridge.store.upkeep import collect, held, verify

MIB = 1 << 20
SMALL = {"config.json": b"{}", "weights/model.bin": random.Random(1).randbytes(3 * MIB + 17), "empty": b""}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(params=["alone", "helped"])
def segments(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Make a small file large, and a connection fast enough to be left alone, or else too slow for it."""
    monkeypatch.setattr(partial_module, "SEGMENT", 1 << 18)
    monkeypatch.setattr(partial_module, "STEP", 1 << 16)
    monkeypatch.setattr(transfer_module, "_WORTH", 1 << 17)
    monkeypatch.setattr(transfer_module, "FAST", 0.0 if request.param == "alone" else math.inf)
    monkeypatch.setattr(transfer_module, "PROBE", 0.0)


def fetched(home: Path, shelf: Shelf, **options: object) -> Fetched:
    with Store(home) as store:
        return fetch(shelf.artifact(), shelf, store, **options)  # type: ignore[arg-type]


def contents(found: Fetched) -> dict[str, bytes]:
    return {path: place.read_bytes() for path, place in found.paths.items()}


def damaged(home: Path) -> list[tuple[str, str]]:
    with Store(home) as store:
        return list(verify(store))


def names(home: Path, folder: str) -> list[str]:
    with Store(home) as store:
        return list(store.names(folder))


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.usefixtures("segments")
def test_what_is_fetched_is_what_was_there(home: Path, connections: int) -> None:
    found = fetched(home, Shelf(SMALL), connections=connections)
    assert contents(found) == SMALL
    assert {(e.path, e.size, e.sha256) for e in found.manifest.entries} == {
        (path, len(data), hashlib.sha256(data).hexdigest()) for path, data in SMALL.items()
    }
    assert found.received == sum(len(data) for data in SMALL.values())
    assert all(not place.stat().st_mode & 0o222 for place in found.paths.values())
    assert not damaged(home)
    assert not list((home / "partial").iterdir()) and not list((home / "incoming").iterdir())


@pytest.mark.parametrize("claims", [lambda data: (Digest.of(data),), lambda data: (git_sha1(data),), lambda data: ()])
def test_what_the_store_has_is_not_fetched_again(home: Path, claims: Callable[[bytes], tuple[Digest, ...]]) -> None:
    fetched(home, Shelf(SMALL, claims=claims))
    again = Shelf(SMALL, claims=claims)
    assert fetched(home, again).received == 0 and again.sent == 0


@pytest.mark.parametrize("revision", ["", "size:2", "modified:yesterday", "3"])
def test_a_revision_that_two_files_may_share_is_fetched_again(home: Path, revision: str) -> None:
    before = Shelf({"a": b"old"}, revision=revision, claims=lambda data: ())
    after = Shelf({"a": b"new"}, revision=revision, claims=lambda data: ())
    fetched(home, before)
    assert contents(fetched(home, after)) == {"a": b"new"}


def test_what_arrived_of_a_file_that_may_change_is_not_kept(home: Path) -> None:
    def breaks(path: str, offset: int) -> None:
        if offset:
            raise SourceError("gone")

    with pytest.raises(SourceError):
        fetched(home, Shelf({"a": bytes(MIB)}, revision="3", claims=lambda data: (), breaks=breaks))
    assert not list((home / "partial").iterdir())


def test_the_same_bytes_under_several_names_are_fetched_once(home: Path) -> None:
    shelf = Shelf({f"{number}.bin": b"x" * 100_000 for number in range(9)})
    found = fetched(home, shelf)
    assert shelf.sent == 100_000 and len(found.manifest.entries) == 9 and len(names(home, "files")) == 1


CLAIMS: dict[str, Callable[[bytes], Digest]] = {
    "sha256": Digest.of,
    "git-sha1": git_sha1,
    "sha512": lambda data: Digest("sha512", hashlib.sha512(data).hexdigest()),
    "md5": lambda data: Digest("md5", hashlib.md5(data).hexdigest()),
}


@pytest.mark.parametrize("algorithm", CLAIMS)
def test_bytes_that_break_a_claim_are_refused_and_stay_in_quarantine(home: Path, algorithm: str) -> None:
    bad = b"evil" * 9
    shelf = Shelf({"a": b"good" * 9}, swapped={"a": bad}, claims=lambda data: (CLAIMS[algorithm](data),))
    with pytest.raises(SourceError, match=f"declares {algorithm}:.* stay in quarantine") as failure:
        fetched(home, shelf)
    with Store(home) as store:
        place = store.path(hashlib.sha256(bad).hexdigest())
        assert str(place) in str(failure.value) and place.read_bytes() == bad
        assert store.admission(place.name) is None
    # Neither is it taken for the real one later.
    assert contents(fetched(home, Shelf({"a": b"good" * 9}, claims=shelf.claims))) == {"a": b"good" * 9}


def test_every_claim_is_compared(home: Path) -> None:
    shelf = Shelf({"a": b"x"}, claims=lambda data: (Digest.of(data), git_sha1(b"y")))
    with pytest.raises(SourceError, match="declares git-sha1"):
        fetched(home, shelf)


@pytest.mark.parametrize("value", ["../../../etc/passwd", "A" * 64, "", "0" * 63])
def test_a_claim_that_is_no_digest_is_never_a_path(home: Path, value: str) -> None:
    with pytest.raises(SourceError, match="declares sha256:"):
        fetched(home, Shelf({"a": b"x"}, claims=lambda data: (Digest("sha256", value),)))


def test_a_registry_that_lies_about_a_size_cannot_take_bytes_from_others(home: Path) -> None:
    place = fetched(home, Shelf({"a": b"good"})).paths["a"]
    lying = Shelf({"a": b"longer"}, claims=lambda data: (Digest.of(b"good"),))
    with pytest.raises(SourceError, match="declares sha256:"):
        fetched(home, lying)
    assert place.read_bytes() == b"good"


def test_a_claim_that_nobody_can_check_is_refused(home: Path) -> None:
    with pytest.raises(SourceError, match="cannot be compared"):
        fetched(home, Shelf({"a": b"x"}, claims=lambda data: (Digest("crc32", "0"),)))


@pytest.mark.parametrize("size", [0, 10, 5 * MIB])
@pytest.mark.usefixtures("segments")
def test_a_body_of_another_length_is_refused(home: Path, size: int) -> None:
    shelf = Shelf({"a": bytes(3 * MIB)}, swapped={"a": bytes(size)}, claims=lambda data: ())
    if size < 3 * MIB:
        with pytest.raises(UnavailableError, match="early"):
            fetched(home, shelf)
    else:
        shelf.files["a"] = bytes(10)
        listed = Artifact(reference=REFERENCE, requested="", revision="1", files=(File(path="a", size=11),))
        with Store(home) as store, pytest.raises(SourceError, match="listed with 11 bytes and has 10"):
            fetch(listed, shelf, store)


@pytest.mark.usefixtures("segments")
def test_a_longer_answer_than_asked_for_is_refused(home: Path) -> None:
    class Chatty(Shelf):
        def open(self, artifact: Artifact, file: File) -> object:  # type: ignore[override]
            inner = super().open(artifact, file)

            class Long:
                size = inner.size

                def stream(self, begin: int, end: int) -> Iterator[bytes]:
                    yield from inner.stream(begin, end)
                    yield b"more"

            return Long()

    with pytest.raises(SourceError, match="longer than"):
        fetched(home, Chatty({"a": bytes(MIB)}))
    assert not names(home, "files")


@pytest.mark.usefixtures("segments")
def test_a_connection_that_breaks_is_taken_up_where_it_broke(home: Path) -> None:
    broken: set[int] = set()

    def breaks(path: str, offset: int) -> None:
        if offset % (5 << 16) == 0 and offset % (1 << 18) and offset not in broken:
            broken.add(offset)
            raise UnavailableError("connection reset")

    shelf = Shelf({"a": SMALL["weights/model.bin"]}, breaks=breaks)
    # A piece that has arrived is never asked for again.
    assert contents(fetched(home, shelf)) == shelf.files and shelf.sent == len(shelf.files["a"])


@pytest.mark.usefixtures("segments")
def test_a_connection_that_brings_nothing_is_given_up(home: Path) -> None:
    def breaks(path: str, offset: int) -> None:
        raise UnavailableError("connection reset")

    shelf = Shelf(SMALL, breaks=breaks)
    with pytest.raises(UnavailableError, match="reset"):
        fetched(home, shelf)
    assert max(map(shelf.asked.count, shelf.asked)) == 2


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.usefixtures("segments")
def test_what_had_arrived_is_not_fetched_again_after_an_error(home: Path, connections: int) -> None:
    data = random.Random(2).randbytes(4 * MIB)

    def breaks(path: str, offset: int) -> None:
        if offset >= 2 * MIB:
            raise SourceError("gone")

    shelf = Shelf({"a": data}, breaks=breaks)
    with pytest.raises(SourceError, match="gone"):
        fetched(home, shelf, connections=connections)
    assert shelf.sent >= MIB
    whole = Shelf({"a": data})
    assert contents(fetched(home, whole)) == {"a": data}
    # Each connection may have had a piece in its hands that it did not write any more.
    assert len(data) <= whole.sent + shelf.sent <= len(data) + connections * PIECE


@pytest.mark.parametrize("size", [1000, 3 * MIB])
@pytest.mark.usefixtures("segments")
def test_a_server_without_ranges_gives_the_whole(home: Path, size: int) -> None:
    data = random.Random(3).randbytes(size)
    assert contents(fetched(home, Shelf({"a": data}, whole=True))) == {"a": data}


@pytest.mark.usefixtures("segments")
def test_a_whole_that_broke_off_begins_again(home: Path) -> None:
    data = random.Random(3).randbytes(3 * MIB)

    def breaks(path: str, offset: int) -> None:
        if offset > MIB:
            raise UnavailableError("reset")

    with pytest.raises(SourceError):
        fetched(home, Shelf({"a": data}, whole=True, breaks=breaks))
    assert contents(fetched(home, Shelf({"a": data}, whole=True))) == {"a": data}


def test_the_first_error_stops_everything(home: Path) -> None:
    def breaks(path: str, offset: int) -> None:
        if path == "9":
            raise SourceError("gone")

    shelf = Shelf({str(number): bytes(1000 + number) for number in range(200)}, breaks=breaks)
    with pytest.raises(SourceError, match="gone"):
        fetched(home, shelf, connections=2)
    assert len(shelf.asked) < 200


def test_progress_counts_every_byte_once(home: Path) -> None:
    seen: list[Progress] = []
    fetched(home, Shelf(SMALL), progress=seen.append)
    total = sum(len(data) for data in SMALL.values())
    assert seen[-1] == Progress(total=total, present=0, received=total)
    seen.clear()
    fetched(home, Shelf(SMALL), progress=seen.append)
    assert seen[-1] == Progress(total=total, present=total, received=0)


def test_only_what_is_wanted_is_fetched(home: Path) -> None:
    found = fetched(home, Shelf(SMALL), wanted=lambda path: path.endswith(".json"))
    assert list(found.paths) == ["config.json"] and found.excluded == ("empty", "weights/model.bin")


def test_names_on_disk_are_digests_whatever_a_registry_says(home: Path) -> None:
    fetched(home, Shelf({"..." + "a" * 100: b"1", "weights/x y": b"2"}))
    files = [path for path in home.rglob("*") if path.is_file()]
    assert {part for path in files for part in path.relative_to(home).parts[:-1]} >= {"files", "known"}
    assert all(len(path.name) == 64 or path.name in ("format", "lock") for path in files)


@given(st.binary(max_size=200))
def test_any_journal_gives_spans_that_cover_the_file(tmp_path_factory: pytest.TempPathFactory, journal: bytes) -> None:
    folder = tmp_path_factory.mktemp("partial")
    (folder / "data").write_bytes(bytes(100))
    (folder / "journal").write_bytes(journal)
    with Partial(folder, 100) as partial:
        edges = [(span.begin, span.end) for span in partial.spans]
    assert [begin for begin, _ in edges] == [0, *(end for _, end in edges[:-1])] and edges[-1][1] == 100


@pytest.mark.parametrize("journal", [b"0 200\n", b"5 5\n", b"9 3\n", b"0 99999999999999999999\n", b"0 5", b"\xff\n"])
def test_a_journal_that_cannot_be_true_is_not_believed(tmp_path: Path, journal: bytes) -> None:
    (tmp_path / "data").write_bytes(bytes(100))
    (tmp_path / "journal").write_bytes(journal)
    with Partial(tmp_path, 100) as partial:
        assert partial.arrived in (0, 5)  # a last line may lack its end


def test_a_journal_without_its_data_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"0 100\n")
    with Partial(tmp_path, 100) as partial:
        assert partial.arrived == 0


@pytest.mark.usefixtures("segments")
def test_a_system_with_one_position_in_a_file_will_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pwrite")
    monkeypatch.delattr(os, "preadv")
    assert contents(fetched(home, Shelf(SMALL))) == SMALL


@pytest.mark.usefixtures("segments")
def test_memory_that_is_lent_is_used_in_time(home: Path) -> None:
    shelf = Shelf(SMALL, lends=True)
    assert contents(fetched(home, shelf)) == SMALL and not damaged(home)


def test_a_slow_connection_gets_help_and_a_fast_one_does_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_module, "SEGMENT", 1 << 18)
    monkeypatch.setattr(transfer_module, "PROBE", 0.0)
    asked = {}
    for fast in (0.0, math.inf):
        monkeypatch.setattr(transfer_module, "FAST", fast)
        shelf = Shelf({"a": random.Random(fast).randbytes(2 * MIB)})
        assert contents(fetched(home, shelf)) == shelf.files and shelf.sent <= 2 * MIB + PIECE
        asked[fast] = shelf.asked
    assert asked[0.0] == [("a", 0, 2 * MIB)]
    assert asked[math.inf][0] == ("a", 0, 2 * MIB) and {end - begin for _, begin, end in asked[math.inf][1:-1]} == {
        1 << 18
    }


@pytest.mark.usefixtures("segments")
def test_a_server_that_is_known_to_give_no_parts_is_asked_once(home: Path) -> None:
    shelf = Shelf({"a": SMALL["weights/model.bin"]}, lends=True, whole=True)
    assert contents(fetched(home, shelf)) == shelf.files and len(shelf.asked) == 1


def test_a_failed_write_that_the_system_tells_of_once_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()

    def sync(descriptor: int) -> None:
        if not told.is_set():
            told.set()
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(partial_module, "_sync_data", sync)
    monkeypatch.setattr(partial_module, "STEP", 10)
    with Partial(tmp_path, 10) as partial:
        partial.write(partial.spans[0], b"0123456789")
        assert told.wait(10)  # another thread was told
        with pytest.raises(OSError, match="Input/output error"):
            partial.settle(partial.spans[0])
    with Partial(tmp_path, 10) as partial:
        assert not partial.arrived


def test_two_processes_fetch_a_file_once(home: Path) -> None:
    data = random.Random(4).randbytes(8 * MIB)
    begun, shelf, other = threading.Event(), Shelf({"a": data}), Shelf({"a": data})
    shelf.breaks = lambda path, offset: begun.set()
    results: list[dict[str, bytes]] = []
    one = threading.Thread(target=lambda: results.append(contents(fetched(home, shelf))))
    one.start()
    begun.wait(10)
    results.append(contents(fetched(home, other)))
    one.join()
    assert results == [{"a": data}] * 2 and shelf.sent + other.sent == len(data)


CHILD = """
import os, sys, random
from pathlib import Path
sys.path[:0] = [sys.argv[3]]
import weighbridge.store.partial as partial, weighbridge.store.transfer as transfer
partial.SEGMENT, partial.STEP = 1 << 18, 1 << 16
transfer.PROBE, transfer.FAST = 0.0, float(sys.argv[4])
from shelf import Shelf
from weighbridge.store import Store, fetch, Admission
from weighbridge.store.materialise import materialise
# Die, as kill -9 has it, at the nth call of the system that changes something.
left = int(sys.argv[2])
def dying(function):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return function(*args, **kwargs)
    return call
names = "pwrite write replace rename fsync fdatasync unlink mkdir open close chmod link rmdir ftruncate"
for name in names.split():
    if hasattr(os, name):  # macOS has no fdatasync
        setattr(os, name, dying(getattr(os, name)))
shelf = Shelf({"a/big": random.Random(5).randbytes(1 << 20), "b": b"small", "c": b""})
home = Path(sys.argv[1])
with Store(home / "home") as store:
    found = fetch(shelf.artifact(), shelf, store, connections=2)
    store.admit(found.digests, Admission(policy="p", rules="r", weighbridge="0"))
    materialise(store, found.manifest, home / "models" / "m", texts={"note": "whole"})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
@pytest.mark.parametrize("chunk", range(8))
def test_a_kill_at_any_point_leaves_a_store_that_works(tmp_path: Path, chunk: int) -> None:
    """Every run dies some calls later than the one before it, in one home and in turn; the last one succeeds."""
    here, fast = str(Path(__file__).parent), "inf" if chunk % 2 else "0"  # with helpers, or without
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def run(calls: int) -> int:
        return subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path), str(calls), here, fast],
            env=environment,
            check=False,
            timeout=60,
        ).returncode

    target = tmp_path / "models" / "m"
    for calls in range(1 + chunk * 5, 200, 41):
        status = run(calls)
        assert status in (0, -9)
        if (tmp_path / "home" / "format").exists() and (tmp_path / "home" / "format").read_bytes():
            assert not damaged(tmp_path / "home")
        assert not target.exists() or (target / "note").read_text() == "whole"
    assert run(0) == 0
    assert sorted(path.name for path in target.iterdir()) == ["a", "b", "c", "note"]
    assert [path.name for path in target.parent.iterdir()] == ["m"]
    assert not damaged(tmp_path / "home")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_full_disk_is_one_line_and_nothing_is_lost(home: Path) -> None:
    import resource
    import signal

    shelf = Shelf({"a": random.Random(6).randbytes(3 * MIB)})
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, limits[1]))
    try:
        with pytest.raises(SourceError, match=r"the store .*: File too large; WEIGHBRIDGE_HOME"):
            fetched(home, shelf)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert contents(fetched(home, shelf)) == shelf.files


def test_what_does_not_fit_is_not_begun(home: Path) -> None:
    listed = Artifact(reference=REFERENCE, requested="", revision="1", files=(File(path="a", size=1 << 60),))
    shelf = Shelf({"a": b""})
    with Store(home) as store, pytest.raises(SourceError, match="bytes are needed"):
        fetch(listed, shelf, store)
    assert not shelf.asked


def test_damage_is_found_and_removed(home: Path) -> None:
    found = fetched(home, Shelf(SMALL))
    place = found.paths["config.json"]
    place.chmod(0o600)
    place.write_bytes(b"[]")
    assert damaged(home) == [(place.name, hashlib.sha256(b"[]").hexdigest())]
    with Store(home) as store:
        list(verify(store, remove=True))
    assert not damaged(home)
    assert contents(fetched(home, Shelf(SMALL))) == SMALL


def test_a_file_of_another_size_is_fetched_again(home: Path) -> None:
    place = fetched(home, Shelf(SMALL)).paths["config.json"]
    place.chmod(0o600)
    place.write_bytes(b"longer than before")
    assert contents(fetched(home, Shelf(SMALL))) == SMALL


def test_what_nobody_used_is_removed(home: Path) -> None:
    found = fetched(home, Shelf(SMALL))
    with Store(home) as store:
        now = max(one.used for one in held(store))
    day = 86_400
    with Store(home).alone():
        assert collect(Store(home), now=now + 2 * day, days=3).files == 0
        assert collect(Store(home), now=now + 4 * day, days=3, pretend=True).files == 3
        assert found.paths["config.json"].exists()
        swept = collect(Store(home), now=now + 4 * day, days=3)
    assert (swept.files, swept.size) == (3, sum(len(data) for data in SMALL.values()))
    assert not names(home, "files") and not names(home, "known")


def test_downloads_that_nobody_finishes_are_removed(home: Path) -> None:
    def breaks(path: str, offset: int) -> None:
        if offset:
            raise SourceError("gone")

    with pytest.raises(SourceError):
        fetched(home, Shelf({"a": bytes(MIB)}, breaks=breaks))
    assert list((home / "partial").iterdir())
    with Store(home).alone():
        assert collect(Store(home), now=9e9, days=1).downloads == 1
    assert not list((home / "partial").iterdir())


def test_nothing_is_removed_while_somebody_works(home: Path) -> None:
    with Store(home), pytest.raises(SourceError, match="in use"), Store(home).alone():
        pass


def test_what_a_killed_process_left_half_written_is_removed_when_nobody_can_be_writing(home: Path) -> None:
    with Store(home):
        left = home / "incoming" / ("0" * 32)
        left.write_bytes(b"half of a")
        with Store(home):
            assert left.exists()
    with Store(home):
        assert not left.exists()


def test_the_store_is_private(home: Path) -> None:
    fetched(home, Shelf(SMALL))
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_home_that_others_may_write_to_is_refused(home: Path) -> None:
    home.mkdir()
    home.chmod(0o777)
    with pytest.raises(SourceError, match="others may write"), Store(home):
        pass


def test_a_home_that_is_something_else_is_refused(home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "format").write_text("my letters")
    with pytest.raises(SourceError, match="another version"), Store(home):
        pass


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_a_name_that_is_no_digest_never_becomes_a_path(home: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no sha256"):
        Store(home).path(name)


def test_where_the_store_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("WEIGHBRIDGE_HOME", raising=False)
    assert default_home() == tmp_path / "weighbridge"
    monkeypatch.setenv("WEIGHBRIDGE_HOME", str(tmp_path / "mine"))
    assert default_home() == tmp_path / "mine"


def test_what_stands_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    way = tmp_path / "models"
    way.write_text("no folder")
    with (
        Store(tmp_path / "home") as store,
        pytest.raises(SourceError, match=f"m: File exists .{re.escape(str(way))}.$"),
    ):
        materialise(store, Manifest(entries=()), way / "m", texts={})
