"""Bytes of remote files by range, from servers that ignore, shift, cut, swap and expire them, or answer anything."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from asking import SECRET, refused, session
from hypothesis import given
from hypothesis import strategies as st
from servers.serving import Answer, Blob, Faults, Reply, Request, Server

from weighbridge.errors import SourceError, UnavailableError
from weighbridge.registries.http import Ranges

Serve = Callable[[Answer], Server]
DATA = bytes(range(256)) * 40


def ranged(server: Server, size: int = len(DATA), **settings: Any) -> Ranges:
    """Return the file of a server, with `SECRET` in its URL."""
    return session(**settings).remote(f"{server.origin}/f?{SECRET}", size, name="f.bin")


@pytest.fixture
def files(serve: Serve) -> Server:
    """Return a server of one file."""
    return serve(lambda _: Reply(headers={"ETag": '"1"'}, blob=Blob(DATA)))


@pytest.fixture(scope="module")
def shared() -> Iterator[Ranges]:
    """Return a file that every example reads."""
    server = Server(lambda _: Reply(headers={"ETag": '"1"'}, blob=Blob(DATA)), Faults())
    yield session().remote(server.origin, len(DATA), name="f.bin")
    server.close()


@given(st.data())
def test_any_range_gives_those_bytes(shared: Ranges, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(DATA)))
    end = data.draw(st.integers(begin, len(DATA)))
    assert shared.read(begin, end - begin) == DATA[begin:end] == b"".join(shared.stream(begin, end))


@pytest.mark.parametrize(("offset", "count"), [(-1, 2), (0, len(DATA) + 1), (len(DATA), 1), (5, -1)])
def test_a_range_outside_of_the_file_is_refused_without_asking(files: Server, offset: int, count: int) -> None:
    assert "are outside of 10240" in refused(lambda: ranged(files).read(offset, count))
    assert not files.log


FAULTS = {
    "ignores_range": (Faults(ignores_range=True), "the server ignores Range and would send the whole file"),
    "shifted": (
        Faults(content_range="bytes 11-20/10240"),
        "asked for bytes 10-19/10240, the server sends 'bytes 11-20/10240'",
    ),
    "total": (Faults(content_range="bytes 10-19/99999"), "the server sends 'bytes 10-19/99999'"),
    "unknown_total": (Faults(content_range="bytes 10-19/*"), "the server sends 'bytes 10-19/*'"),
    "twice": (Faults(content_range="bytes 10-19/10240, bytes 10-19/10240"), "the server sends"),
    "withheld": (Faults(withheld=3), "f: peer closed connection without sending complete message body"),
    "surplus": (Faults(surplus=1), "the answer is longer than 10 bytes"),
    "encoding": (Faults(encoding="gzip"), "has '"),
    "stalls": (Faults(stalls=True), "no answer in time"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_range_that_is_not_the_one_asked_for_is_refused(files: Server, fault: str) -> None:
    files.faults, said = FAULTS[fault]
    text = refused(lambda: ranged(files, timeout=0.2).read(10, 10))
    assert said in text
    assert files.origin in text
    assert files.sent <= 10 or fault in ("ignores_range", "surplus", "encoding")


def test_an_encoding_is_named(files: Server) -> None:
    files.faults = Faults(encoding="br", surplus=0)
    files.answer = lambda _: Reply(
        headers={"Content-Encoding": "br", "Content-Range": "bytes 0-1/2"}, status=206, body=b"xx"
    )
    assert "encoded as 'br'" in refused(lambda: ranged(files, size=2).read(0, 2))


def test_a_body_that_ends_early_without_a_length_is_refused(files: Server) -> None:
    files.faults = Faults(surplus=1)
    files.answer = lambda _: Reply(blob=Blob(DATA[:-9]))
    files.faults.ignores_range = True
    assert "the answer ends after 10232 of 10240 bytes" in refused(lambda: ranged(files).read(0, len(DATA)))


def test_a_server_without_ranges_can_still_send_a_whole_file(files: Server) -> None:
    files.faults = Faults(ignores_range=True)
    assert ranged(files).read(0, len(DATA)) == DATA
    assert "not 10239" in refused(lambda: ranged(files, size=len(DATA) - 1).read(0, len(DATA) - 1))


@pytest.mark.parametrize("size", [1, len(DATA) - 1, len(DATA) + 1, 1 << 40])
def test_a_file_of_another_size_is_refused(files: Server, size: int) -> None:
    text = refused(lambda: ranged(files, size=size).read(size - 1, 1))
    assert "the server sends" in text or "the server has no bytes" in text


@pytest.mark.parametrize("tag", ['"2"', "", 'W/"1"'])
def test_a_file_that_changes_while_it_is_read_is_refused(files: Server, tag: str) -> None:
    remote = ranged(files)
    assert remote.read(0, 5) == DATA[:5]
    files.answer = lambda _: Reply(headers={"ETag": tag}, blob=Blob(DATA))
    assert "changed while it was read" in refused(lambda: remote.read(5, 5))
    assert files.sent <= 5 + len(DATA)


def test_a_tag_that_is_only_weak_is_compared_all_the_same(files: Server) -> None:
    files.faults = Faults(etag='W/"1"')
    remote = ranged(files)
    assert remote.read(0, 5) + remote.read(5, 5) == DATA[:10]
    files.faults = Faults(etag='W/"2"')
    assert "changed while it was read" in refused(lambda: remote.read(5, 5))


def test_a_read_that_breaks_off_is_repeated_and_a_stream_is_not(files: Server) -> None:
    files.faults = Faults(withheld=3, withheld_times=1)
    assert ranged(files, retries=1).read(0, 10) == DATA[:10]
    files.faults = Faults(withheld=3, withheld_times=1)
    stream = ranged(files, retries=1).stream(0, 10)
    assert next(stream) == DATA[:7]
    with pytest.raises(UnavailableError, match="peer closed connection"):
        next(stream)


def test_what_was_asked_and_received_is_counted(files: Server) -> None:
    http = session()
    remote = http.remote(files.origin, len(DATA), name="f")
    remote.read(0, 10)
    remote.read(100, 50)
    assert remote.read(7, 0) == b""
    assert (remote.requests, remote.received, http.requests, http.received) == (2, 60, 2, 60)


def test_threads_share_a_file(files: Server) -> None:
    remote = ranged(files)
    got: dict[int, bytes] = {}
    threads = [
        threading.Thread(target=lambda at=at: got.update({at: remote.read(at, 1024)})) for at in range(0, 10240, 1024)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(got[at] for at in sorted(got)) == DATA
    assert (remote.requests, remote.received) == (10, len(DATA))


class Signing:
    """A server that redirects to links of another, until they expire."""

    def __init__(self, serve: Serve) -> None:
        self.valid, self.issued = 0, 0
        self.files = serve(self.file)
        self.front = serve(self.link)

    def link(self, request: Request) -> Reply:
        self.issued += 1
        return Reply(status=302, headers={"Location": f"{self.files.origin}/f?n={self.issued}"})

    def file(self, request: Request) -> Reply:
        if int(request.query["n"]) < self.valid:
            return Reply(status=403)
        return Reply(headers={"ETag": '"1"'}, blob=Blob(DATA))


def test_a_signed_link_is_asked_for_once_and_again_when_it_has_expired(serve: Serve) -> None:
    signing = Signing(serve)
    remote = session(tokens={signing.front.origin: SECRET}).remote(signing.front.origin, len(DATA), name="f")
    assert b"".join(remote.read(at, 10) for at in range(0, 50, 10)) == DATA[:50]
    assert (len(signing.front.log), len(signing.files.log)) == (1, 5)
    signing.valid = 2
    assert remote.read(50, 10) == DATA[50:60]
    assert (len(signing.front.log), len(signing.files.log), remote.requests) == (2, 7, 9)
    assert not any(entry.authorised for entry in signing.files.log)


def test_a_link_that_is_never_valid_is_refused_after_one_renewal(serve: Serve) -> None:
    signing = Signing(serve)
    remote = session().remote(signing.front.origin, len(DATA), name="f")
    remote.read(0, 10)
    signing.valid = 1 << 30
    assert "access is refused, 403; set A_TOKEN" in refused(lambda: remote.read(10, 10))
    assert len(signing.front.log) == 2


def test_the_caller_may_renew_a_link(serve: Serve) -> None:
    signing = Signing(serve)
    asked: list[str] = []

    def renew() -> str:
        asked.append(f"{signing.files.origin}/f?n=7")
        return asked[-1]

    remote = session().remote(f"{signing.files.origin}/f?n=1", len(DATA), name="f", renew=renew)
    assert remote.read(0, 10) == DATA[:10]
    signing.valid = 5
    assert remote.read(10, 10) == DATA[10:20]
    signing.valid = 8
    assert "access is refused, 403" in refused(lambda: remote.read(10, 10))
    assert len(asked) == 2


def test_a_file_that_is_refused_without_a_link_is_refused(files: Server) -> None:
    remote = ranged(files)
    remote.read(0, 10)
    files.answer = lambda _: Reply(status=403)
    assert "access is refused, 403" in refused(lambda: remote.read(10, 10))
    assert len(files.log) == 2


@pytest.fixture(scope="module")
def raw() -> Iterator[tuple[str, list[bytes]]]:
    """Return the address of a server that sends whatever stands in the list, and the list."""
    sent = [b""]
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if not sent:
                    return
                connection.recv(1 << 16)
                with suppress(OSError):
                    connection.sendall(sent[0])
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(1)  # until the client has read all and hangs up

    thread = threading.Thread(target=serve)
    thread.start()
    address = listener.getsockname()[:2]
    yield f"http://127.0.0.1:{address[1]}/", sent
    sent.clear()
    socket.create_connection(address).close()
    thread.join()
    listener.close()


@contextmanager
def gives_or_refuses() -> Iterator[None]:
    """Let through a SourceError whose text is one line, and nothing else."""
    try:
        yield
    except SourceError as error:
        assert str(error).isprintable()


PATIENT = session(timeout=30.0)
HEADERS = st.sampled_from(
    [
        *("content-length", "content-range", "content-encoding", "transfer-encoding", "location", "link", "etag"),
        *("retry-after", "ratelimit", "x-error-message", "set-cookie", "connection"),
    ]
)
VALUES = st.binary(max_size=12) | st.sampled_from(
    [b"0", b"10", b"-1", b"chunked", b"gzip", b"bytes 0-9/10", b"http://[", b"//", b"\xff", b"r=0;t=5", b"close"]
)


@given(
    st.sampled_from([b"200 OK", b"206 \xff", b"302 Found", b"307", b"429 x", b"100 Continue", b"204 No", b"999 z"]),
    st.lists(st.tuples(HEADERS, VALUES), max_size=4),
    st.binary(max_size=16),
)
def test_any_answer_is_an_answer_or_a_source_error(
    raw: tuple[str, list[bytes]], status: bytes, headers: list[tuple[str, bytes]], body: bytes
) -> None:
    url, sent = raw
    lines = b"".join(b"%s: %s\r\n" % (name.encode(), value) for name, value in headers)
    sent[0] = b"HTTP/1.1 %s\r\n%s\r\n%s" % (status, lines, body)
    with gives_or_refuses():
        assert len(PATIENT.get(url, limit=10).body) <= 10
    with gives_or_refuses():
        assert len(PATIENT.remote(url, 10, name="f").read(0, 10)) == 10


@given(st.binary(max_size=64))
def test_any_bytes_are_an_answer_or_a_source_error(raw: tuple[str, list[bytes]], data: bytes) -> None:
    url, sent = raw
    sent[0] = data
    with pytest.raises(SourceError):
        PATIENT.get(url, limit=10)
