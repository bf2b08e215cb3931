"""Google's and Azure's object stores: their real client libraries against fakes of the few requests that we make."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape

import pytest
from servers.serving import Faults, Reply, Request, Server

from weighbridge.errors import SourceError, UnavailableError
from weighbridge.registries import registry
from weighbridge.registries.base import Registry, Settings

pytest.importorskip("gcsfs", reason="gcsfs is not installed (extra gcs)")
pytest.importorskip("adlfs", reason="adlfs is not installed (extra azure)")

DATA = bytes(range(256)) * 40000  # 10 MB, more than one request of a stream
DATE = "Sat, 21 Nov 2026 12:00:00 GMT"
KEY = "bm8gc2VjcmV0"  # Azure's client wants one to sign with


class Store:
    """Objects of one bucket by key, each with a number that every change makes anew; deaf to conditions if told so."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.deaf = False
        self.denied = False
        self._last = 1000

    def put(self, key: str, data: bytes) -> str:
        self._last += 1
        self.objects[key] = (self._last, data)
        return str(self._last)

    def part(self, data: bytes, asked: str) -> tuple[bytes, dict[str, str]]:
        low, _, high = asked.removeprefix("bytes=").partition("-")
        begin, end = int(low), min(int(high) + 1, len(data))
        return data[begin:end], {"Content-Range": f"bytes {begin}-{end - 1}/{len(data)}"}


class Google(Store):
    scheme, pin = "gs", "generation"

    def answer(self, request: Request) -> Reply:
        if self.denied:
            return Reply(status=403, body=json.dumps({"error": {"message": "you may not"}}).encode())
        path = urlsplit(request.target).path
        _, slash, key = path.partition("/b/models/o")
        if not slash:
            return Reply(status=404)
        key = unquote(key.removeprefix("/"))
        if not key:
            return self._list(request)
        generation, data = self.objects.get(key, (0, b""))
        if not generation or (request.query.get("generation", str(generation)) != str(generation) and not self.deaf):
            return Reply(status=404)
        if request.query.get("alt") != "media":
            return Reply(body=json.dumps(self._item(key)).encode())
        body, headers = self.part(data, request.headers["Range"])
        return Reply(status=206, body=body, headers=headers | {"X-Goog-Generation": str(generation)})

    def _item(self, key: str) -> dict[str, str]:
        generation, data = self.objects[key]
        return {"name": key, "generation": str(generation), "size": str(len(data))}

    def _list(self, request: Request) -> Reply:
        """Answer with a page of one object."""
        keys = [key for key in sorted(self.objects) if key.startswith(request.query.get("prefix", "")) or self.deaf]
        start = int(request.query.get("pageToken", 0))
        page: dict[str, object] = {"items": [self._item(key) for key in keys[start : start + 1]]}
        return Reply(body=json.dumps(page | ({"nextPageToken": str(start + 1)} if keys[start + 1 :] else {})).encode())


class Azure(Store):
    scheme, pin = "az", "etag"

    def answer(self, request: Request) -> Reply:
        if self.denied:
            return Reply(status=403, headers={"x-ms-error-code": "AuthorizationFailure"})
        _, slash, key = request.path.partition("/account/models")
        if not slash:
            return Reply(status=404, headers={"x-ms-error-code": "ContainerNotFound"})
        key = key.removeprefix("/")
        if request.query.get("comp") == "list":
            return self._list(request)
        tag, data = self.objects.get(key, (0, b""))
        if not tag:
            return Reply(status=404, headers={"x-ms-error-code": "BlobNotFound"})
        if request.headers.get("If-Match", f'"{tag}"') != f'"{tag}"' and not self.deaf:
            return Reply(status=412, headers={"x-ms-error-code": "ConditionNotMet"})
        headers = {"ETag": f'"{tag}"', "Last-Modified": DATE, "x-ms-blob-type": "BlockBlob"}
        if request.method == "HEAD":
            return Reply(headers=headers, body=data)
        body, ranged = self.part(data, request.headers["X-Ms-Range"])
        return Reply(status=206, body=body, headers=headers | ranged)

    def _list(self, request: Request) -> Reply:
        """Answer with a page of one blob."""
        prefix = request.query.get("prefix", "")  # the client asks for the next page with the prefix that it is told
        keys = [key for key in sorted(self.objects) if key.startswith(prefix) or self.deaf]
        start = int(request.query.get("marker", 0) or 0)
        blobs = "".join(
            f"<Blob><Name>{escape(key)}</Name><Properties><Etag>{self.objects[key][0]}</Etag>"
            f"<Content-Length>{len(self.objects[key][1])}</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
            for key in keys[start : start + 1]
        )
        marker = str(start + 1) if keys[start + 1 :] else ""
        body = (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="/" ContainerName="models">'
            f"<Prefix>{escape(prefix)}</Prefix><Blobs>{blobs}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
        )
        return Reply(body=body.encode(), headers={"Content-Type": "application/xml"})


@pytest.fixture(params=[Google, Azure], ids=lambda kind: kind.scheme)
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    made = request.param()
    server = Server(made.answer, Faults())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.origin)
    connection = f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey={KEY};"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"{connection}BlobEndpoint={server.origin}/account;")
    yield made
    server.close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def objects(said: list[str]) -> Registry:
    return registry("gs://", Settings(timeout=5, retries=0, notice=said.append))


def test_an_object_is_pinned_to_what_it_is_now(store: Google | Azure, objects: Registry, said: list[str]) -> None:
    pin = store.put("m/a model.bin", DATA)
    artifact = objects.resolve(f"{store.scheme}://models/m/a model.bin")
    assert artifact.revision == f"{store.pin}:{pin}"
    assert said == [f"{artifact.pinned.rpartition('@')[0]} is {artifact.revision} now"]
    remote = objects.open(artifact, artifact.files[0])
    assert (artifact.files[0].path, remote.size, remote.read(300, 4)) == ("a model.bin", len(DATA), DATA[300:304])
    assert b"".join(remote.stream(0, len(DATA))) == DATA
    assert objects.resolve(artifact.pinned).files == artifact.files


@pytest.mark.parametrize("deaf", [False, True])
def test_a_change_between_resolve_and_read_is_refused(store: Google | Azure, objects: Registry, deaf: bool) -> None:
    store.put("model.bin", DATA)
    artifact = objects.resolve(f"{store.scheme}://models/model.bin")
    store.put("model.bin", DATA[::-1])
    store.deaf = deaf
    with pytest.raises(SourceError, match=r"changed since it was resolved|no such object, bucket or revision, 404"):
        objects.open(artifact, artifact.files[0]).read(0, 10)
    with pytest.raises(SourceError, match=r"changed since it was resolved|no such object or no such revision"):
        objects.resolve(artifact.pinned)


def test_a_prefix_is_an_artifact_of_its_objects(store: Google | Azure, objects: Registry) -> None:
    for key in ("m/config.json", "m/sub/weights.bin", "m/", "mm/other"):
        store.put(key, b"" if key.endswith("/") else key.encode())
    artifact = objects.resolve(f"{store.scheme}://models/m")
    assert [(file.path, file.size) for file in artifact.files] == [("config.json", 13), ("sub/weights.bin", 17)]
    assert objects.open(artifact, artifact.files[1]).read(2, 3) == b"sub"
    assert objects.resolve(artifact.pinned).files == artifact.files
    store.put("m/config.json", b"m/config.json")
    with pytest.raises(SourceError, match=r"the objects are tree:.*, not tree:"):
        objects.resolve(artifact.pinned)


def test_what_is_not_there_or_refused_is_one_line(store: Google | Azure, objects: Registry) -> None:
    for reference, reason in (("models/none", "none below it"), ("nowhere/none", "no such object, bucket or revision")):
        with pytest.raises(SourceError, match=reason):
            objects.resolve(f"{store.scheme}://{reference}")
    store.denied = True
    with pytest.raises(SourceError, match="access is refused, 403") as caught:
        objects.resolve(f"{store.scheme}://models/none")
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_store_that_lists_what_was_not_asked_for_is_refused(store: Google | Azure, objects: Registry) -> None:
    store.put("m/model.bin", b"x")
    store.put("elsewhere", b"x")
    store.deaf = True
    with pytest.raises(SourceError, match="lists 'elsewhere', which is not below it"):
        objects.resolve(f"{store.scheme}://models/m/")


def test_an_account_that_is_not_there_may_be_there_later(objects: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey={KEY};"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"{connection}BlobEndpoint=http://127.0.0.1:1/account;")
    with pytest.raises(UnavailableError, match=r"az://models/model.bin: Cannot connect"):
        objects.resolve("az://models/model.bin")


@pytest.mark.parametrize("settings", ["", "nonsense"])
def test_an_account_that_nobody_named_is_one_line(
    objects: Registry, monkeypatch: pytest.MonkeyPatch, settings: str
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", settings)
    monkeypatch.setenv("AZURE_STORAGE_ANON", "true")
    with pytest.raises(SourceError, match=r"^az: ") as caught:
        objects.resolve("az://models/model.bin")
    assert "\n" not in str(caught.value)
