"""Pulling as a user does it: from a Hub and from registries that are honest, and from those that are not."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import pytest
from safetensors_files import tensor_file
from servers.fake_hub import TOKEN, FakeHub
from servers.fake_registry import fake_registry
from servers.oci_layouts import WEIGHTS as LAYER
from servers.oci_layouts import modelpack
from servers.serving import Faults

from weighbridge.cli.group import run
from weighbridge.cli.progress import received
from weighbridge.errors import DocumentError, SourceError, UsageError
from weighbridge.store import Store, materialise
from weighbridge.store.upkeep import verify

WEIGHTS = random.Random(7).randbytes(1 << 20)
MODEL = {"model.safetensors": tensor_file({"w": WEIGHTS}), "LICENSE": b"Do what you like.\n"}
HOSTILE = b"\x80\x04cos\nsystem\n(X\x07\x00\x00\x00echo hitR."
STRANGE = b"\x80\x04cmy_project.models\nConfig\n)\x81."
SMALL_RANGES = """
import weighbridge.registries.lending as lending, weighbridge.store.partial as partial
lending.PIECE, partial.SEGMENT, partial.STEP = 1 << 16, 1 << 18, 1 << 16
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what the person has on the machine out of the tests, and stand in an empty folder."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING_FACE_", "TRANSFORMERS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("WEIGHBRIDGE_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub(prefix="/hub") as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        fake.publish("acme/m", MODEL)
        yield fake
        assert not fake.leaks


def pull(*arguments: str, to: str = "m") -> int:
    return run(["pull", "hf://acme/m", "--to", to, "--timeout", "2", "--retries", "1", "-q", *arguments])


def contents(folder: str | Path) -> dict[str, bytes]:
    top = Path(folder)
    return {
        path.relative_to(top).as_posix(): path.read_bytes()
        for path in top.rglob("*")
        if path.is_file() and path.name != "weighbridge.lock"
    }


def store_is_sound() -> bool:
    with Store(Path(os.environ["WEIGHBRIDGE_HOME"])) as store:
        return not list(verify(store))


def quarantined() -> dict[str, bool]:
    """Return the files of the store by sha256, and whether they are in quarantine."""
    with Store(Path(os.environ["WEIGHBRIDGE_HOME"])) as store:
        return {sha256: store.admission(sha256) is None for sha256 in store.names("files")}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_what_passes_is_put_into_the_folder(hub: FakeHub) -> None:
    assert pull() == 0
    assert contents("m") == MODEL
    assert [path.name for path in Path().iterdir()] == ["m"]
    assert all(not path.stat().st_mode & 0o222 for path in Path("m").iterdir() if path.name != "weighbridge.lock")
    assert quarantined() == {sha(data): False for data in MODEL.values()}


def test_the_folder_can_be_scanned_and_checked_as_it_lies(hub: FakeHub) -> None:
    pull()
    assert run(["scan", "m"]) == 0
    assert run(["lock", "check", "m"]) == 0


def test_a_second_pull_fetches_nothing(hub: FakeHub) -> None:
    pull()
    sent = hub.sent
    assert pull(to="n") == 0 and contents("n") == MODEL
    assert hub.sent - sent < 10_000  # the listing alone


@pytest.mark.parametrize("copy", [False, True])
def test_a_copy_is_a_file_of_its_own(hub: FakeHub, copy: bool) -> None:
    pull(*(["--copy"] if copy else []))
    links = Path("m/model.safetensors").stat().st_nlink
    assert links == 1 if copy else links in (1, 2)  # one more name, or blocks that are shared


@pytest.mark.parametrize(("payload", "status"), [(HOSTILE, 1), (STRANGE, 3)])
@pytest.mark.parametrize("there", [False, True])
def test_what_does_not_pass_leaves_the_folder_untouched(
    hub: FakeHub, payload: bytes, status: int, there: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    if there:
        pull()
    hub.publish("acme/m", MODEL | {"extra/model.pkl": payload})
    before = {path: path.stat().st_ino for path in Path().rglob("*")}
    capfd.readouterr()
    assert run(["pull", "hf://acme/m", "--to", "m"]) == status
    assert {path: path.stat().st_ino for path in Path().rglob("*")} == before
    told = capfd.readouterr()
    place = re.search(r"in quarantine: extra/model.pkl as (\S+)", told.out)
    assert "m is untouched" in told.err
    assert place and Path(place[1]).read_bytes() == payload
    assert quarantined()[sha(payload)]
    assert quarantined()[sha(MODEL["LICENSE"])] != there


def test_what_passed_before_goes_back_into_quarantine_when_it_does_not_any_more(hub: FakeHub) -> None:
    hub.publish("acme/m", {"model.pkl": STRANGE})
    waivers = Path("waivers.yaml")
    waivers.write_text(
        f"waivers:\n  - {{rule: unknown, digest: 'sha256:{sha(STRANGE)}', reason: ours, approver: me, "
        f"expires: {date.today() + timedelta(days=30)}}}\n"
    )
    assert pull("--waivers", str(waivers)) == 0
    assert quarantined() == {sha(STRANGE): False}
    assert pull(to="n") == 3
    assert quarantined() == {sha(STRANGE): True} and contents("m") == {"model.pkl": STRANGE}


def test_a_system_that_can_share_nothing_gets_copies_and_one_that_cannot_exchange_renames(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(materialise, "_exchange", lambda one, other: False)
    assert pull("--jobs", "2") == 0 and contents("m") == MODEL
    assert Path("m/LICENSE").stat().st_nlink == 1 and not Path("m/LICENSE").stat().st_mode & 0o222
    hub.publish("acme/m", {"LICENSE": b"Do nothing at all.\n"})
    assert pull() == 0 and contents("m") == {"LICENSE": b"Do nothing at all.\n"}
    assert [path.name for path in Path().iterdir()] == ["m"]


def test_a_folder_that_cannot_be_written_is_one_line(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(materialise, "fill", refuse)
    with pytest.raises(SourceError, match="m: No space left on device"):
        pull()
    assert not list(Path().iterdir())


def test_a_new_revision_replaces_what_was_pulled(hub: FakeHub) -> None:
    pull()
    hub.publish("acme/m", {"LICENSE": b"Do nothing at all.\n"})
    assert pull() == 0
    assert contents("m") == {"LICENSE": b"Do nothing at all.\n"}
    assert [path.name for path in Path().iterdir()] == ["m"]
    assert pull() == 0  # and nothing changes when nothing has changed


@pytest.mark.parametrize("change", ["changed", "extra", "missing", "linked", "unlocked", "other"])
def test_a_folder_that_is_somebodys_is_not_replaced(hub: FakeHub, change: str) -> None:
    pull()
    hub.publish("acme/m", {"LICENSE": b"Do nothing at all.\n"})
    folder, licence = Path("m"), Path("m/LICENSE")
    if change in ("changed", "missing", "linked"):
        licence.unlink()
    match change:
        case "changed":
            licence.write_bytes(MODEL["LICENSE"][::-1])
        case "extra":
            (folder / "notes").write_text("mine")
        case "linked":
            licence.symlink_to(folder / "model.safetensors")
        case "unlocked":
            (folder / "weighbridge.lock").unlink()
        case "other":
            hub.publish("acme/other", MODEL)
    before = {path: path.lstat().st_ino for path in Path().rglob("*")}
    sent = len(hub.log)
    with pytest.raises(UsageError, match=r"m: "):
        run(["pull", "hf://acme/other" if change == "other" else "hf://acme/m", "--to", "m"])
    assert {path: path.lstat().st_ino for path in Path().rglob("*")} == before
    assert not [
        entry for entry in hub.log[sent:] if "resolve" in entry.target
    ]  # it is known before anything is fetched


@pytest.mark.parametrize("kind", ["file", "link", "full"])
def test_a_place_that_is_taken_is_refused(hub: FakeHub, kind: str) -> None:
    match kind:
        case "file":
            Path("m").write_text("mine")
        case "link":
            Path("elsewhere").mkdir()
            Path("m").symlink_to("elsewhere")
        case "full":
            Path("m").mkdir()
            Path("m/mine").write_text("mine")
    with pytest.raises(UsageError):
        pull()


def test_an_empty_folder_is_taken(hub: FakeHub) -> None:
    Path("a/m").mkdir(parents=True)
    assert pull(to="a/m") == 0 and contents("a/m") == MODEL
    assert pull(to="b/c/m") == 0 and contents("b/c/m") == MODEL


def test_a_model_with_a_file_of_the_locks_name_is_refused(hub: FakeHub) -> None:
    hub.publish("acme/m", MODEL | {"Weighbridge.lock": MODEL["LICENSE"]})
    with pytest.raises(SourceError, match="name of the lock"):
        pull()
    assert pull("--exclude", "*.lock") == 0 and contents("m") == MODEL


def test_patterns_choose_files(hub: FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
    hub.publish("acme/m", MODEL | {"model.pkl": HOSTILE})
    assert pull("--exclude", "*.pkl", "--format", "json") == 0
    assert contents("m") == MODEL
    assert json.loads(capfd.readouterr().out)["excluded"] == ["model.pkl"]
    assert not [entry for entry in hub.log if "model.pkl" in entry.target]


FAULTS = {
    "tampered": (Faults(tampered=True), "declares (git-sha1|sha256):.* stay in quarantine"),
    "truncated": (Faults(withheld=7), "model.safetensors|127.0.0.1"),
    "stalled": (Faults(stalls=True), "model.safetensors|127.0.0.1"),
    "range": (Faults(content_range="bytes 0-0/1"), "asked for bytes"),
    "surplus": (Faults(surplus=9), "longer|bytes"),
    "encoded": (Faults(encoding="gzip"), "encoded|bytes, not"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bytes_that_are_not_the_ones_listed_are_one_line_and_nothing_else(hub: FakeHub, fault: str) -> None:
    faults, said = FAULTS[fault]
    hub.set_faults(faults)
    with pytest.raises(SourceError, match=said) as caught:
        run(["pull", "hf://acme/m", "--to", "m", "--timeout", "0.5", "--retries", "0"])
    assert str(caught.value).isprintable() and TOKEN not in str(caught.value)
    assert not list(Path().iterdir()) and store_is_sound() and all(quarantined().values())
    hub.set_faults(Faults())
    assert pull() == 0 and contents("m") == MODEL and store_is_sound()


def test_a_hub_without_ranges_gives_whole_files(hub: FakeHub) -> None:
    hub.set_faults(Faults(ignores_range=True))
    assert pull() == 0 and contents("m") == MODEL


def test_a_body_that_breaks_off_is_taken_up_where_it_broke(hub: FakeHub) -> None:
    hub.set_faults(Faults(withheld=1 << 18, withheld_times=1))
    assert pull("--include", "*.safetensors") == 0
    asked = [entry.asked for entry in hub.log if entry.asked and entry.status == 206]
    assert len(asked) == 2 and not asked[1].startswith("bytes=0-")


def test_tags_are_never_paths(hub: FakeHub, tmp_path: Path) -> None:
    hub.lies.linked = {"X-Linked-Etag": '"../../../escaped"'}
    with suppress(SourceError):  # it may refuse as well
        pull()
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_storm_passes(hub: FakeHub) -> None:
    hub.lies.busy, hub.lies.busy_headers = 1, {"Retry-After": "0"}
    assert pull() == 0 and contents("m") == MODEL


KILLED = """
import os, sys, threading
import weighbridge.store.transfer as transfer
{ranges}
from weighbridge.cli.group import run
left, count = int(sys.argv[1]), transfer.Crew.count
def dying(self, **what):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), 9)
    count(self, **what)
transfer.Crew.count = dying
sys.exit(run(["pull", "hf://acme/m", "--to", "m", "-q"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_a_pull_that_is_killed_is_taken_up_by_the_next(hub: FakeHub) -> None:
    hub.publish("acme/m", MODEL | {"big.safetensors": tensor_file({"w": random.Random(8).randbytes(3 << 20)})})
    program = KILLED.format(ranges=SMALL_RANGES)
    for pieces in (3, 6, 9):
        ended = subprocess.run([sys.executable, "-c", program, str(pieces)], check=False, timeout=60)
        assert ended.returncode == -signal.SIGKILL
        assert not Path("m").exists() and store_is_sound()
    assert pull() == 0
    assert set(contents("m")) == {*MODEL, "big.safetensors"} and store_is_sound()


TERMINATED = """
import os, signal, sys
from weighbridge import cli
from weighbridge.store import materialise
real = materialise.fill
def fill(*arguments, **options):
    real(*arguments, **options)
    if os.fork() == 0:  # such as those that share a scan
        os.kill(os.getpid(), signal.SIGTERM)
    assert os.wait()[1] == signal.SIGTERM
    os.kill(os.getpid(), signal.SIGTERM)
materialise.fill = fill
sys.argv[1:] = ["pull", "hf://acme/m", "--to", "m", "-q"]
cli.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_pull_that_is_told_to_end_clears_away_what_it_has_built(hub: FakeHub) -> None:
    ended = subprocess.run([sys.executable, "-c", TERMINATED], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (-signal.SIGTERM, "weighbridge: terminated\n")
    assert list(Path().iterdir()) == [] and store_is_sound()


def test_layers_that_are_archives_become_files() -> None:
    with fake_registry() as registry:
        modelpack(registry, "acme/m", "v1")
        arguments = ["pull", f"oci://{registry.host}/acme/m:v1", "-q", "--include", "weights/*", "--include", "code/*"]
        assert run([*arguments, "--to", "m"]) == 0
        assert contents("m") == {"weights/model.safetensors": LAYER, "code/run.py": b"# nothing yet\n"}
        asked = len([request for request in registry.asked if "/blobs/" in request.path])
        assert run([*arguments, "--to", "n"]) == 0
        assert len([request for request in registry.asked if "/blobs/" in request.path]) == asked
    assert run(["lock", "check", "n"]) == 0 and store_is_sound()


def test_a_layer_that_was_damaged_in_the_store_is_not_unpacked() -> None:
    with fake_registry() as registry:
        modelpack(registry, "acme/m", "v1")
        arguments = ["pull", f"oci://{registry.host}/acme/m:v1", "-q", "--include", "code/*"]
        assert run([*arguments, "--to", "m"]) == 0
        with Store(Path(os.environ["WEIGHBRIDGE_HOME"])) as store:
            (layer,) = [
                store.path(one) for one in store.names("files") if b"ode/run.py" in store.path(one).read_bytes()
            ]
        layer.chmod(0o600)
        layer.write_bytes(layer.read_bytes().replace(b"nothing", b"Nothing"))
        with pytest.raises(SourceError, match="damaged"):
            run([*arguments, "--to", "n"])
        assert run([*arguments, "--to", "n"]) == 0 and contents("n") == contents("m")


def test_several_pulls_at_once_all_succeed(hub: FakeHub) -> None:
    arguments = [sys.executable, "-m", "weighbridge", "pull", "hf://acme/m", "-q", "--to"]
    running = [subprocess.Popen([*arguments, name], stdout=subprocess.DEVNULL) for name in "abcd"]
    assert [process.wait(60) for process in running] == [0] * 4
    assert all(contents(name) == MODEL for name in "abcd") and store_is_sound()


def test_offline_takes_nothing_from_anywhere(hub: FakeHub) -> None:
    with pytest.raises(SourceError, match="offline"):
        pull("--offline")
    assert not hub.log


@pytest.mark.parametrize("reference", ["ftp://a/b", "nowhere"])
def test_what_is_no_reference_is_an_error(reference: str) -> None:
    with pytest.raises((UsageError, SourceError)):
        run(["pull", reference, "--to", "m"])


def lock(*arguments: str) -> int:
    return run(["lock", *arguments, "-q"])


def test_locked_takes_the_revision_of_the_lock(hub: FakeHub) -> None:
    assert lock("add", "hf://acme/m@main") == 0
    hub.publish("acme/m", {"LICENSE": b"Do nothing at all.\n"})
    assert run(["pull", "hf://acme/m@main", "--to", "m", "--locked", "-q"]) == 0
    assert contents("m") == MODEL


def test_what_is_locked_and_in_the_store_needs_no_network(hub: FakeHub) -> None:
    lock("add", "hf://acme/m")
    asked = len(hub.log)
    assert pull("--locked", "--offline") == 0 and contents("m") == MODEL
    assert len(hub.log) == asked


@pytest.mark.parametrize("how", ["other bytes", "fewer files", "more files"])
def test_locked_refuses_any_difference(hub: FakeHub, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lock("add", "hf://acme/m")
    commits = hub.models["acme/m"].commits
    (commit,) = commits
    lying = dict(commits[commit])
    match how:
        case "other bytes":
            hub.publish("acme/x", MODEL | {"LICENSE": MODEL["LICENSE"][::-1]})
            lying["LICENSE"] = next(iter(hub.models["acme/x"].commits.values()))["LICENSE"]
        case "fewer files":
            del lying["LICENSE"]
        case "more files":
            lying["COPY"] = lying["LICENSE"]
    commits[commit] = lying
    monkeypatch.setenv("WEIGHBRIDGE_HOME", str(tmp_path / "another"))
    with pytest.raises(SourceError, match="not what the lock holds"):
        pull("--locked")
    assert not Path("m").exists()


def test_what_is_not_in_the_lock_is_refused(hub: FakeHub) -> None:
    lock("add", "hf://acme/m")
    hub.publish("acme/other", MODEL)
    with pytest.raises(UsageError, match="not in the lock"):
        run(["pull", "hf://acme/other", "--to", "m", "--locked"])


def test_a_lock_that_is_not_there_is_an_error(hub: FakeHub) -> None:
    with pytest.raises(UsageError, match=r"weighbridge.lock"):
        pull("--locked")


def test_a_lock_keeps_the_patterns(hub: FakeHub) -> None:
    lock("add", "hf://acme/m", "--include", "LICENSE")
    assert pull("--locked") == 0 and set(contents("m")) == {"LICENSE"}
    with pytest.raises(UsageError, match="patterns"):
        pull("--locked", "--include", "*.safetensors")


def test_only_what_passes_is_locked(hub: FakeHub) -> None:
    hub.publish("acme/m", {"model.pkl": HOSTILE})
    assert lock("add", "hf://acme/m") == 1 and not Path("weighbridge.lock").exists()


def test_an_update_locks_what_references_mean_now(hub: FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
    lock("add", "hf://acme/m")
    hub.publish("acme/other", MODEL)
    lock("add", "hf://acme/other")
    before = Path("weighbridge.lock").read_text()
    assert lock("update") == 0 and Path("weighbridge.lock").read_text() == before
    commit = hub.publish("acme/m", {"LICENSE": b"Do nothing at all.\n"})
    capfd.readouterr()
    assert run(["lock", "update", "hf://acme/m"]) == 0
    assert commit in Path("weighbridge.lock").read_text()
    told = capfd.readouterr().err
    assert "changed: LICENSE" in told and "missing: model.safetensors" in told
    hub.publish("acme/m", {"model.pkl": HOSTILE})
    assert lock("update") == 1 and commit in Path("weighbridge.lock").read_text()


def test_a_folder_is_checked_against_a_lock_of_several(hub: FakeHub) -> None:
    pull()
    lock("add", "hf://acme/m")
    hub.publish("acme/other", {"LICENSE": MODEL["LICENSE"]})
    lock("add", "hf://acme/other")
    with pytest.raises(UsageError, match="--model says which"):
        run(["lock", "check", "m", "--lock", "weighbridge.lock"])
    assert run(["lock", "check", "m", "--lock", "weighbridge.lock", "--model", "hf://acme/m"]) == 0
    assert run(["lock", "check", "m", "--lock", "weighbridge.lock", "--model", "hf://acme/other"]) == 1


def test_a_lock_that_somebody_bent_is_refused(hub: FakeHub) -> None:
    lock("add", "hf://acme/m")
    path = Path("weighbridge.lock")
    path.write_text(path.read_text().replace(f"size = {len(MODEL['LICENSE'])}", "size = 1"))
    with pytest.raises(DocumentError, match="are sha256"):
        pull("--locked")


def test_damage_in_the_store_never_passes(hub: FakeHub) -> None:
    pull("--copy")
    with Store(Path(os.environ["WEIGHBRIDGE_HOME"])) as store:
        place = store.path(sha(MODEL["LICENSE"]))
    place.chmod(0o600)
    place.write_bytes(MODEL["LICENSE"].replace(b"like", b"hate"))
    with pytest.raises(SourceError, match="damaged"):
        pull(to="n")
    assert not Path("n").exists()
    assert pull(to="n") == 0 and contents("n") == MODEL


def test_the_store_is_listed_and_cleared(hub: FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
    pull("--copy")
    capfd.readouterr()
    assert run(["store", "list"]) == 0
    assert "admitted" in capfd.readouterr().out
    run(["store", "list", "--format", "json"])
    listed = json.loads(capfd.readouterr().out)
    assert {one["sha256"] for one in listed} == {sha(data) for data in MODEL.values()}
    assert all(one["admitted"] for one in listed)
    assert run(["store", "verify"]) == 0
    assert run(["store", "gc", "--dry-run", "--days", "0"]) == 0 and quarantined()
    assert run(["store", "gc", "--days", "0"]) == 0 and not quarantined()
    assert contents("m") == MODEL


def test_a_damaged_store_is_status_1(hub: FakeHub) -> None:
    pull()
    with Store(Path(os.environ["WEIGHBRIDGE_HOME"])) as store:
        place = store.path(sha(MODEL["LICENSE"]))
    place.chmod(0o600)
    place.write_bytes(b"?")
    assert run(["store", "verify"]) == 1
    assert run(["store", "verify", "--remove"]) == 1
    assert run(["store", "verify"]) == 0


def test_progress_is_for_terminals_only(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert received(quiet=False) is None
    told = io.StringIO()
    monkeypatch.setattr(told, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", told)
    assert received(quiet=True) is None
    assert run(["pull", "hf://acme/m", "--to", "m"]) == 0
    assert "\r\x1b[K" in told.getvalue()


def test_a_scan_of_a_reference_reads_everything_and_leaves_it_in_quarantine(
    hub: FakeHub, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["scan", "hf://acme/m", "--format", "json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["source"].startswith("hf://acme/m@")
    assert {one["digest"] for one in document["files"]} == {f"sha256:{sha(data)}" for data in MODEL.values()}
    assert quarantined() == {sha(data): True for data in MODEL.values()}


def test_the_document_says_where_a_file_is_that_does_not_pass(hub: FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
    hub.publish("acme/m", MODEL | {"model.pkl": HOSTILE})
    assert run(["scan", "hf://acme/m", "--format", "json"]) == 1
    places = {one["path"]: one["quarantine"] for one in json.loads(capfd.readouterr().out)["files"]}
    assert [path for path, place in places.items() if place] == ["model.pkl"]
    assert Path(places["model.pkl"]).read_bytes() == HOSTILE


def test_a_scan_may_be_held_to_a_lock(hub: FakeHub) -> None:
    lock("add", "hf://acme/m")
    hub.publish("acme/m", {"model.pkl": HOSTILE})
    assert run(["scan", "hf://acme/m", "-q"]) == 1
    assert run(["scan", "hf://acme/m", "-q", "--locked"]) == 0
    for arguments in (["hf://acme/m", "--triage"], ["."]):
        with pytest.raises(UsageError):
            run(["scan", *arguments, "--locked"])


def test_revisions_in_a_registry_are_compared(hub: FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
    (before,) = hub.models["acme/m"].commits
    hub.publish("acme/m", MODEL | {"model.pkl": HOSTILE})
    assert run(["diff", f"hf://acme/m@{before}", "hf://acme/m"]) == 1
    printed = capfd.readouterr().out
    assert "+ model.pkl" in printed and "+ call os.system" in printed and "LICENSE" not in printed
    pull("--exclude", "*.pkl")
    assert run(["diff", "m", f"hf://acme/m@{before}"]) == 0


def test_a_folder_that_holds_just_that_is_left_alone(hub: FakeHub) -> None:
    pull()
    before = {path: path.stat().st_ino for path in Path().rglob("*")}
    assert pull() == 0
    assert {path: path.stat().st_ino for path in Path().rglob("*")} == before
    assert pull("--policy", "strict") == 0
    assert "strict" in Path("m/weighbridge.lock").read_text() and contents("m") == MODEL
