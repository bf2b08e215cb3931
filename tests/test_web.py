"""One file behind a URL: pinned to what the server says, or to its digest; every doubt is said or refused."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UsageError
from weighbridge.registries import is_reference, registry
from weighbridge.registries.base import Settings
from weighbridge.registries.web import Web

DATA = bytes(range(256)) * 400
TIME = "Sat, 21 Nov 2026 12:00:00 GMT"


class Server(ThreadingHTTPServer):
    """Serves one file under any path: `headers` go with it, `methods` are allowed, `log` is what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = DATA
        self.headers: dict[str, str] = {"ETag": '"v1"', "Last-Modified": TIME}
        self.methods = {"HEAD", "GET"}
        self.ranges = True
        self.sized = True
        self.log: list[tuple[str, str, str]] = []

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that hangs up, which is what a refusal looks like from here."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(b"")

    def do_GET(self) -> None:
        self.answer(None)

    def answer(self, body: bytes | None) -> None:
        asked = self.headers.get("Range", "")
        self.server.log.append((self.command, self.path, asked))
        begin, end, status = 0, len(self.server.data), 200
        if self.command not in self.server.methods:
            status, end = 403, 0
        elif asked and self.server.ranges and body is None:
            low, _, high = asked.removeprefix("bytes=").partition("-")
            begin, end, status = int(low), min(int(high) + 1, end), 206
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        if status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(self.server.data)}")
        if self.server.sized:
            self.send_header("Content-Length", str(end - begin))
        else:
            self.close_connection = True
        self.end_headers()
        self.wfile.write(self.server.data[begin:end] if body is None else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def web(said: list[str]) -> Web:
    return Web(Settings(timeout=5, retries=0, notice=said.append))


def test_a_url_is_a_reference_to_one_file(server: Server, web: Web, said: list[str]) -> None:
    url = f"{server.url}/models/a%20model.bin?download=1"
    artifact = web.resolve(url)
    (file,) = artifact.files
    assert (artifact.reference, artifact.requested, artifact.revision) == (url, "", "etag:v1")
    assert (file.path, file.size, file.claims) == ("a model.bin", len(DATA), ())
    assert said == [f"{server.url}/models/a%20model.bin is etag:v1 now"]
    remote = web.open(artifact, file)
    assert remote.read(300, 5) == DATA[300:305]
    assert b"".join(remote.stream(0, file.size)) == DATA


def test_a_pinned_reference_means_the_same_or_nothing(server: Server, web: Web, said: list[str]) -> None:
    pinned = web.resolve(f"{server.url}/model.bin").pinned
    said.clear()
    assert not web.resolve(pinned).moving
    assert not said
    server.headers["ETag"] = '"v2"'
    with pytest.raises(SourceError, match="the server has etag:v2 now, not etag:v1"):
        web.resolve(pinned)


def test_a_sha256_in_the_reference_is_a_claim_about_the_bytes(server: Server, web: Web, said: list[str]) -> None:
    digest = Digest.of(DATA)
    artifact = web.resolve(f"{server.url}/model.bin@{digest}")
    assert (artifact.revision, artifact.moving) == (str(digest), False)
    assert artifact.files[0].claims == (digest,)
    assert not said


@pytest.mark.parametrize(
    ("headers", "revision", "notice"),
    [
        ({"Last-Modified": TIME}, "modified:2026-11-21T12:00:00Z", "the time of its last change alone"),
        ({"ETag": 'W/"v1"', "Last-Modified": TIME}, "modified:2026-11-21T12:00:00Z", "no strong entity tag"),
        ({"ETag": "v1"}, f"size:{len(DATA)}", "pinned to its size alone"),
        ({"Last-Modified": "yesterday"}, f"size:{len(DATA)}", "pinned to its size alone"),
        ({}, f"size:{len(DATA)}", "add @sha256:"),
    ],
)
def test_a_weak_validator_is_said(
    server: Server, web: Web, said: list[str], headers: dict[str, str], revision: str, notice: str
) -> None:
    server.headers = headers
    artifact = web.resolve(f"{server.url}/model.bin")
    assert artifact.revision == revision
    assert notice in "\n".join(said)
    assert web.resolve(artifact.pinned).revision == revision
    assert web.open(artifact, artifact.files[0]).read(0, 10) == DATA[:10]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ETag": '"v1"'}, {"ETag": '"v2"'}),
        ({"ETag": '"v1"'}, {}),
        ({"Last-Modified": TIME}, {"Last-Modified": TIME.replace("12:", "13:")}),
        ({"Last-Modified": TIME}, {}),
    ],
)
def test_a_change_between_resolve_and_read_is_refused(
    server: Server, web: Web, before: dict[str, str], after: dict[str, str]
) -> None:
    server.headers = before
    artifact = web.resolve(f"{server.url}/model.bin")
    server.headers = after
    for begin, end in ((0, 10), (0, len(DATA))):
        with pytest.raises(SourceError, match="changed while it was read"):
            web.open(artifact, artifact.files[0]).read(begin, end - begin)


def test_another_size_than_at_resolve_is_refused(server: Server, web: Web) -> None:
    server.headers = {}
    artifact = web.resolve(f"{server.url}/model.bin")
    server.data = DATA[:-1]
    with pytest.raises(SourceError, match="the server sends 'bytes 0-9/102399'"):
        web.open(artifact, artifact.files[0]).read(0, 10)


def test_a_link_that_only_allows_get_is_asked_for_one_byte(server: Server, web: Web) -> None:
    server.methods = {"GET"}
    assert web.resolve(f"{server.url}/model.bin").files[0].size == len(DATA)
    assert [asked for _, _, asked in server.log] == ["", "bytes=0-0"]


def test_a_server_that_ignores_range_gives_the_whole_file_and_no_part(server: Server, web: Web) -> None:
    server.ranges = False
    artifact = web.resolve(f"{server.url}/model.bin")
    remote = web.open(artifact, artifact.files[0])
    assert b"".join(remote.stream(0, len(DATA))) == DATA
    with pytest.raises(SourceError, match="ignores Range"):
        remote.read(0, 10)


def test_a_file_whose_size_nobody_says_is_refused(server: Server, web: Web) -> None:
    server.sized = False
    with pytest.raises(SourceError, match="does not say how large the file is"):
        web.resolve(f"{server.url}/model.bin")


@pytest.mark.parametrize("query", ["X-Amz-Signature=abc", "sv=1&sig=abc", "access_token=abc", "Signature=abc"])
def test_a_signed_link_is_used_and_not_recorded(server: Server, web: Web, said: list[str], query: str) -> None:
    artifact = web.resolve(f"{server.url}/model.bin?{query}")
    assert artifact.reference == f"{server.url}/model.bin"
    assert web.open(artifact, artifact.files[0]).read(0, 1) == DATA[:1]
    assert {path for _, path, _ in server.log} == {f"/model.bin?{query}"}
    assert "abc" not in "\n".join(said)


@pytest.mark.parametrize(
    ("reference", "error", "reason"),
    [
        ("http://127.0.0.1:1/", UsageError, "names no file"),
        ("http://127.0.0.1:1/a b", UsageError, "no spaces"),
        ("http://127.0.0.1:1/a\nb", UsageError, "no control characters"),
        ("http://127.0.0.1:1/a#b", UsageError, "no fragment"),
        ("http://127.0.0.1:1/a@sha256:12", UsageError, "64 hexadecimal digits"),
        ("http://me:secret@127.0.0.1:1/a", SourceError, "user name or password"),
        ("http://127.0.0.1:1/a", SourceError, "no connection"),
        ("http:///a", SourceError, "not a URL"),
    ],
)
def test_what_is_no_reference_to_a_file_is_one_line(
    web: Web, reference: str, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason) as caught:
        web.resolve(reference)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["..", "%2e%2e", "a%2fb%2f..", "a%5cb", "nul", "a%00b", "c%3ax"])
def test_a_name_that_is_no_name_of_a_file_is_refused(server: Server, web: Web, name: str) -> None:
    with pytest.raises(SourceError, match="is refused"):
        web.resolve(f"{server.url}/{name}")


def test_plain_http_is_said(said: list[str]) -> None:
    web = Web(Settings(offline=True, notice=said.append))
    with pytest.raises(SourceError, match="switched off"):
        web.resolve("http://models.example/a.bin")
    web._tell("http://models.example/a.bin", "sha256:", "etag:v1")
    assert said == ["http://models.example/a.bin: plain http, anybody on the way can change the bytes"]


def test_a_url_finds_its_registry(server: Server) -> None:
    url = f"{server.url}/model.bin"
    assert is_reference(url)
    assert registry(url, Settings()).resolve(url).files[0].size == len(DATA)
