"""Bodies that are read past the library: the same bytes, in memory that is used again, or the same refusals."""

from __future__ import annotations

import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from asking import refused, session
from servers.serving import Blob, Faults, Reply, Server
from servers.tls import certificate

import weighbridge.registries.lending as lending_module
from weighbridge.errors import UnavailableError
from weighbridge.registries.base import LENT, Lender
from weighbridge.registries.http import Ranges
from weighbridge.registries.lending import lent

PIECE = 1 << 16
DATA = random.Random(9).randbytes(20 * PIECE + 17)


@pytest.fixture(autouse=True)
def _short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a small file many pieces."""
    monkeypatch.setattr(lending_module, "PIECE", PIECE)


@pytest.fixture(params=["http", "https"])
def files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a server of one file."""
    path, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    tls = context if request.param == "https" else None
    server = Server(lambda _: Reply(headers={"ETag": '"1"'}, blob=Blob(DATA)), Faults(), tls=tls)
    yield server
    server.close()


def ranged(server: Server, **settings: Any) -> Ranges:
    return session(**settings).remote(f"{server.origin}/f", len(DATA), name="f.bin")


def received(remote: Ranges, begin: int, end: int) -> bytes:
    return b"".join(bytes(piece) for piece in remote.lend(begin, end))


@pytest.mark.parametrize(("begin", "end"), [(0, len(DATA)), (PIECE - 1, 3 * PIECE), (5, 6), (7, 7)])
def test_what_is_lent_is_what_was_asked_for(files: Server, begin: int, end: int) -> None:
    remote = ranged(files)
    assert isinstance(remote, Lender)
    assert received(remote, begin, end) == DATA[begin:end]
    assert remote.received == end - begin
    assert remote.read(3, 4) == DATA[3:7]  # whatever became of the connection


def test_the_last_pieces_stay_as_they_were_and_there_is_no_more_memory(files: Server) -> None:
    held: list[tuple[bytes, bytes | memoryview]] = []
    buffers = set()
    for piece in ranged(files).lend(0, len(DATA)):
        assert all(bytes(lent) == copy for copy, lent in held[-(LENT - 1) :])
        held.append((bytes(piece), piece))
        if isinstance(piece, memoryview):
            buffers.add(id(piece.obj))
    assert b"".join(copy for copy, _ in held) == DATA and 0 < len(buffers) <= LENT


FAULTS = {
    "ignores_range": (Faults(ignores_range=True), "the server ignores Range and would send the whole file"),
    "shifted": (Faults(content_range=f"bytes 1-20/{len(DATA)}"), "the server sends 'bytes 1-20/"),
    "withheld": (Faults(withheld=PIECE), "the answer ends after "),
    "surplus": (Faults(surplus=1), "the answer is longer than "),
    "encoding": (Faults(encoding="gzip"), "the answer has "),
    "stalls": (Faults(stalls=True), "no answer in time"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_is_not_the_one_asked_for_is_refused(files: Server, fault: str) -> None:
    files.faults, said = FAULTS[fault]
    assert said in refused(lambda: received(ranged(files, timeout=0.5), 1, len(DATA)))


@pytest.mark.parametrize(("headers", "whole_only"), [({}, True), ({"Accept-Ranges": "bytes"}, False)])
def test_a_server_that_gives_no_parts_is_known_by_its_answer(
    files: Server, headers: dict[str, str], whole_only: bool
) -> None:
    files.answer = lambda _: Reply(headers=headers, body=DATA)
    remote = ranged(files)
    assert received(remote, 0, len(DATA)) == DATA and remote.whole_only == whole_only


def test_what_arrived_before_a_break_is_given(files: Server) -> None:
    files.faults = Faults(withheld=PIECE)
    got, pieces = bytearray(), ranged(files).lend(0, len(DATA))
    with pytest.raises(UnavailableError, match=f"ends after {len(DATA) - PIECE} of {len(DATA)} bytes"):
        for piece in pieces:
            got += piece
    assert got == DATA[:-PIECE]


def test_bytes_behind_the_end_of_an_answer_are_nobodys() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def serve() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection, suppress(OSError):  # the client hangs up on what it did not ask for
                asked.append(connection.recv(1 << 16))
                head = f"Content-Length: {len(DATA)}\r\nContent-Range: bytes 0-{len(DATA) - 1}/{len(DATA)}"
                connection.sendall(f"HTTP/1.1 206 Partial Content\r\n{head}\r\n\r\n".encode() + DATA)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    remote = session().remote(url, len(DATA), name="f")
    assert [received(remote, 0, len(DATA)) == DATA for _ in range(2)] == [True, True]
    thread.join()
    listener.close()
    assert len(asked) == 2


class _Stream:
    """What the library offers of a connection."""

    def __init__(self, **info: object) -> None:
        self.get_extra_info: Callable[[str], object] = info.get


@pytest.mark.parametrize(
    "headers",
    [{"content-length": "4", "transfer-encoding": "chunked"}, {}, {"content-length": "x"}, {"content-length": "4"}],
)
def test_what_only_the_library_can_read_is_left_to_it(headers: dict[str, str]) -> None:
    """TLS in the TLS of a proxy looks like a socket, which would give what is still encrypted."""
    inner = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
    one, other = socket.socketpair()
    with one, other:
        other.sendall(b"encrypted")
        extensions = {"network_stream": _Stream(socket=one, ssl_object=inner), "http_version": b"HTTP/1.1"}
        response = httpx2.Response(200, headers=headers, content=iter([b"ab", b"cd"]), extensions=extensions)
        assert list(lent(response, 1.0)) == [b"ab", b"cd"]
