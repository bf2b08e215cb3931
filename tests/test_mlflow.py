"""Model versions of MLflow: found over REST, listed, read from the server or from where it says they are."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from servers.fake_mlflow import WEIGHTS, FakeMLflow
from servers.serving import Blob, Faults, Reply, Request, Server

from weighbridge.errors import SourceError, UsageError, WholeOnlyError
from weighbridge.registries import is_reference, registry
from weighbridge.registries.base import Registry, Settings
from weighbridge.registries.mlflow import _parse

RUN = "8fb0fa8f72814eca820ee5d6fb8634cc"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMLflow]:
    made = FakeMLflow()
    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{made.origin}/")
    yield made
    made.server.close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def mlflow(said: list[str]) -> Registry:
    return registry("mlflow://", Settings(timeout=5, retries=0, notice=said.append))


def test_a_version_is_an_artifact_of_its_files(fake: FakeMLflow, mlflow: Registry, said: list[str]) -> None:
    artifact = mlflow.resolve("mlflow://my model/1")
    assert artifact.pinned == f"mlflow+{fake.origin}/my%20model@1"
    assert not artifact.moving
    assert sorted((file.path, file.size) for file in artifact.files) == [
        ("empty.bin", 0),
        ("sub/a b%c.txt", 1),
        ("sub/config.json", 2),
        ("weights.bin", len(WEIGHTS)),
    ]
    assert len(said) == 1
    assert "only a lock binds its bytes" in said[0]
    read = {file.path: b"".join(mlflow.open(artifact, file).stream(0, file.size)) for file in artifact.files}
    assert read == {"empty.bin": b"", "sub/a b%c.txt": b"x", "sub/config.json": b"{}", "weights.bin": WEIGHTS}
    assert mlflow.resolve(artifact.pinned).files == artifact.files


@pytest.mark.parametrize("form", ["my%20model@champion", "my model/champion"])
def test_an_alias_is_resolved_to_the_version_that_it_means(fake: FakeMLflow, mlflow: Registry, form: str) -> None:
    artifact = mlflow.resolve(f"mlflow://{form}")
    assert (artifact.requested, artifact.revision, artifact.moving) == ("champion", "1", True)


def test_a_file_is_read_in_ranges_though_every_answer_has_another_tag(fake: FakeMLflow, mlflow: Registry) -> None:
    artifact = mlflow.resolve("mlflow://my model/1")
    (file,) = (file for file in artifact.files if file.path == "weights.bin")
    remote = mlflow.open(artifact, file)
    assert [remote.read(at, 2) for at in (0, 300, 5)] == [WEIGHTS[at : at + 2] for at in (0, 300, 5)]


def test_a_proxy_in_front_of_an_object_store_gives_whole_files_alone(fake: FakeMLflow, mlflow: Registry) -> None:
    fake.faults.ignores_range = True
    artifact = mlflow.resolve("mlflow://my model/1")
    (file,) = (file for file in artifact.files if file.path == "weights.bin")
    remote = mlflow.open(artifact, file)
    assert b"".join(remote.stream(0, file.size)) == WEIGHTS
    with pytest.raises(WholeOnlyError):
        remote.read(0, 2)


def test_a_model_of_mlflow_3_and_a_copy_lead_to_the_same_kind_of_place(fake: FakeMLflow, mlflow: Registry) -> None:
    logged = mlflow.resolve("mlflow://logged/1")
    assert [file.path for file in logged.files][:2] == ["MLmodel", "conda.yaml"]
    copied = mlflow.resolve("mlflow://copied/1")
    assert copied.files == mlflow.resolve("mlflow://my model/1").files


def test_places_that_lead_to_each_other_are_refused(fake: FakeMLflow, mlflow: Registry) -> None:
    fake.reply("uri?name=copied")["artifact_uri"] = "models:/copied/1"
    with pytest.raises(SourceError, match="more than 4 times"):
        mlflow.resolve("mlflow://copied/1")


def test_a_version_in_an_object_store_is_read_there(fake: FakeMLflow, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gcsfs", reason="gcsfs is not installed (extra gcs)")
    item = {"name": "m/weights.bin", "generation": "7", "size": "5"}
    headers = {"Content-Range": "bytes 1-2/5", "X-Goog-Generation": "7"}

    def answer(request: Request) -> Reply:
        if request.query.get("alt") == "media":
            return Reply(status=206, body=b"el", headers=headers)
        found = {"items": [item]} if "prefix" in request.query else None
        return Reply(body=json.dumps(found).encode()) if found else Reply(status=404)

    store = Server(answer, Faults())
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.origin)
    fake.reply("uri?name=s3m")["artifact_uri"] = "gs://models/m"
    mlflow = registry("mlflow://", Settings(timeout=5, retries=0))
    artifact = mlflow.resolve("mlflow://s3m/1")
    assert [(file.path, file.size, file.key) for file in artifact.files] == [
        ("weights.bin", 5, "gs://models/m/weights.bin@generation:7")
    ]
    assert mlflow.open(artifact, artifact.files[0]).read(1, 2) == b"el"
    store.close()


@pytest.mark.parametrize(
    "place",
    ["/etc", "file:///etc", "http://127.0.0.1:1/x", "hdfs://host/x", "dbfs:/x", "ftp://host/x", "wasbs://c@a.b/x"],
)
def test_a_place_that_only_the_server_can_read_is_refused(fake: FakeMLflow, mlflow: Registry, place: str) -> None:
    fake.reply("uri?name=my")["artifact_uri"] = place
    with pytest.raises(SourceError, match="which cannot be read from here"):
        mlflow.resolve("mlflow://my model/1")


def test_a_place_on_another_server_is_refused(fake: FakeMLflow, mlflow: Registry) -> None:
    fake.reply("uri?name=my")["artifact_uri"] = "mlflow-artifacts://elsewhere:5000/1"
    with pytest.raises(SourceError, match="kept on another server, elsewhere:5000"):
        mlflow.resolve("mlflow://my model/1")
    fake.reply("uri?name=my")["artifact_uri"] = f"mlflow-artifacts://{fake.host}/1/{RUN}/artifacts/model"
    assert len(mlflow.resolve("mlflow://my model/1").files) == 4


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/etc/passwd", "a\\b", "nul", "a\nb"])
def test_a_name_that_leaves_its_folder_is_refused(fake: FakeMLflow, mlflow: Registry, name: str) -> None:
    fake.reply("model%2Fsub")["files"][0]["path"] = name
    with pytest.raises(SourceError, match=r"the server lists|is refused") as caught:
        mlflow.resolve("mlflow://my model/1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [-1, "many", 1.5, True, 1 << 70])
def test_a_size_that_is_none_is_refused(fake: FakeMLflow, mlflow: Registry, size: object) -> None:
    fake.reply("model%2Fsub")["files"][0]["file_size"] = size
    with pytest.raises(SourceError, match="has the size"):
        mlflow.resolve("mlflow://my model/1")


def test_a_file_without_a_size_must_be_empty(fake: FakeMLflow, mlflow: Registry) -> None:
    fake.files["model/empty.bin"] = b"not at all"
    with pytest.raises(SourceError, match="longer than 0 bytes"):
        mlflow.resolve("mlflow://my model/1")


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("mlflow://none/1", r"Model Version \(name=none, version=1\) not found"),
        ("mlflow://my model@nope", "Registered model alias nope not found"),
        ("mlflow://other/1", "is it an MLflow tracking server"),
    ],
)
def test_what_is_not_there_is_one_line(fake: FakeMLflow, mlflow: Registry, reference: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        mlflow.resolve(reference)


@pytest.mark.parametrize(
    ("part", "changes", "reason"),
    [
        ("get?name=my", {"model_version": None}, "no 'model_version'"),
        ("get?name=my", {"model_version": {"version": "../1"}}, "names no version"),
        ("get?name=my", {"model_version": {"version": "1", "status": "PENDING\x1b"}}, r"it is PENDING\\x1b"),
        ("uri?name=my", {"artifact_uri": 5}, "no 'artifact_uri'"),
        ("runs/get", {"run": {"info": []}}, "no 'run.info'"),
        ("model%2Fsub", {"files": 5}, "in an unknown way"),
        ("model%2Fsub", {"next_page_token": "2"}, "in an unknown way"),
        ("model%2Fsub", {"files": [5]}, "no 'path'"),
        ("artifacts%2Fmodel\x00", {"files": []}, "there are no files"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(
    fake: FakeMLflow, mlflow: Registry, part: str, changes: dict[str, Any], reason: str
) -> None:
    for target, reply in fake.replies.items():
        if part in f"{target}\x00":
            reply["body"] |= changes
    with pytest.raises(SourceError, match=reason) as caught:
        mlflow.resolve("mlflow://my model/1")
    assert str(caught.value).isprintable()


def test_an_endless_tree_of_folders_is_refused(
    fake: FakeMLflow, mlflow: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.registries.mlflow._MAX_FOLDERS", 2)
    fake.reply("model%2Fsub")["files"] = [{"path": f"{n}", "is_dir": True} for n in range(3)]
    with pytest.raises(SourceError, match="or 2 folders"):
        mlflow.resolve("mlflow://my model/1")


@pytest.mark.parametrize(
    ("variables", "login"),
    [
        ({"TOKEN": "t0ken"}, "Bearer t0ken"),
        ({"USERNAME": "me", "PASSWORD": "secret"}, f"Basic {base64.b64encode(b'me:secret').decode()}"),
        ({"URI": "user"}, f"Basic {base64.b64encode(b'me:secret').decode()}"),
    ],
)
def test_credentials_go_to_the_tracking_server_alone(
    fake: FakeMLflow, mlflow: Registry, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], login: str
) -> None:
    fake.login = login
    with pytest.raises(SourceError, match="access is refused, 401; set MLFLOW_TRACKING_TOKEN"):
        mlflow.resolve("mlflow://my model/1")
    for name, value in variables.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", f"http://me:secret@{fake.host}" if name == "URI" else value)
    artifact = mlflow.resolve("mlflow://my model/1")
    assert "secret" not in artifact.pinned
    (file,) = (file for file in artifact.files if file.path == "weights.bin")
    seen: list[bool] = []

    def answer(request: Request) -> Reply:
        seen.append("Authorization" in request.headers)
        return Reply(blob=Blob(WEIGHTS))

    elsewhere = Server(answer, Faults())
    fake.redirect = f"{elsewhere.origin}/weights"
    assert mlflow.open(artifact, file).read(0, 4) == WEIGHTS[:4]
    assert seen == [False]
    elsewhere.close()
    other = FakeMLflow()
    mlflow.resolve(f"mlflow://{other.host}/my model/1")
    assert set(other.seen) == {""}
    other.server.close()


@pytest.mark.parametrize(
    ("reference", "server", "model", "revision"),
    [
        ("mlflow://m/3", "http://env:5000/prefix", "m", "3"),
        ("mlflow://m@champion", "http://env:5000/prefix", "m", "champion"),
        ("mlflow://127.0.0.1:5000/m/3", "http://127.0.0.1:5000", "m", "3"),
        ("mlflow://localhost:5000/m/3", "http://localhost:5000", "m", "3"),
        ("mlflow://host:5000/m/3", "https://host:5000", "m", "3"),
        ("mlflow://host:443/a/b/m@x-y", "https://host/a/b", "m", "x-y"),
        ("mlflow+https://host/m/3", "https://host", "m", "3"),
        ("mlflow+http://host/a/m/3", "http://host/a", "m", "3"),
        ("MLFLOW+HTTP://Host/a%40b@3", "http://host", "a@b", "3"),
    ],
)
def test_the_forms_of_a_reference(
    monkeypatch: pytest.MonkeyPatch, reference: str, server: str, model: str, revision: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://env:5000/prefix/")
    wanted = _parse(reference)
    assert (wanted.server, wanted.model, wanted.revision) == (server, model, revision)
    assert is_reference(reference)
    assert _parse(f"{wanted.reference}@{wanted.revision}") == wanted


@pytest.mark.parametrize(
    "reference",
    [
        "mlflow://",
        "mlflow://m",
        "mlflow://m/latest",
        "mlflow://m/a b",
        "mlflow://a/m/3",
        "mlflow://m/3?x=1",
        "mlflow://m/3#x",
        "mlflow://m\n/3",
        "mlflow://host:5000/a%2fb/3",
        "mlflow://host:5000/a%3ab/3",
        "mlflow://host:5000",
        "mlflow+http://host",
        "mlflow+http://me:secret@host/m/3",
    ],
)
def test_what_is_no_reference_is_one_line(monkeypatch: pytest.MonkeyPatch, reference: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://env:5000")
    with pytest.raises(UsageError, match="a reference") as caught:
        _parse(reference)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("uri", ["", "databricks", "./mlruns", "sqlite:///mlflow.db"])
def test_a_tracking_store_that_is_no_server_is_said(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UsageError, match="does not name a server"):
        _parse("mlflow://m/3")


def test_offline_connects_to_nothing(fake: FakeMLflow) -> None:
    with pytest.raises(SourceError, match="switched off"):
        registry("mlflow://", Settings(offline=True)).resolve("mlflow://my model/1")
    assert not fake.seen
