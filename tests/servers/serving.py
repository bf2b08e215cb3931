"""A small HTTP/1.1 server that hands requests to a function, keeps a log, and can fail in the middle of a body."""

from __future__ import annotations

import gzip
import hashlib
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

PIECE = 1 << 18  # bytes written at once


class Blob:
    """The bytes of a file, in memory or on disk, with the names that git and git-lfs give them."""

    def __init__(self, content: bytes | Path) -> None:
        self._content = content
        self.size = len(content) if isinstance(content, bytes) else content.stat().st_size

    def pieces(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `begin` up to `end`."""
        if isinstance(self._content, bytes):
            yield from (self._content[at : min(at + PIECE, end)] for at in range(begin, end, PIECE))
            return
        with self._content.open("rb") as file:
            file.seek(begin)
            for at in range(begin, end, PIECE):
                yield file.read(min(PIECE, end - at))

    @cached_property
    def sha256(self) -> str:
        return self._digest(hashlib.sha256())

    @cached_property
    def git_sha1(self) -> str:
        return self._digest(hashlib.sha1(b"blob %d\0" % self.size))

    def _digest(self, digest: hashlib._Hash) -> str:
        for piece in self.pieces(0, self.size):
            digest.update(piece)
        return digest.hexdigest()


@dataclass
class Request:
    """A request as it arrived; `path` is decoded, `target` is not."""

    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def token(self) -> str:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        return value if scheme == "Bearer" else ""


@dataclass
class Reply:
    """What is answered: a body in memory, or a blob that may be asked for by range."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    blob: Blob | None = None


@dataclass
class Faults:
    """What goes wrong with bodies by range until a test sets it back; nothing by default."""

    tampered: bool = False  # the last byte of every body is another one
    ignores_range: bool = False  # 200 and the whole file
    content_range: str = ""  # what stands in Content-Range instead of the truth
    withheld: int = 0  # bytes at the end of a body that do not come before the connection is closed
    withheld_times: int = 1 << 30  # how many bodies that happens to
    surplus: int = 0  # bytes that follow the end of a body, which then has no declared length
    stalls: bool = False  # half of a body, then silence
    encoding: str = ""  # `gzip`: the body is, although nobody asked for it
    etag: str | None = None  # what stands in ETag instead of the truth; empty for none


@dataclass
class Entry:
    """A request that was answered."""

    method: str
    target: str
    asked: str  # the Range header
    status: int
    sent: int  # bytes of body
    authorised: bool  # it had a credential


Answer = Callable[[Request], Reply]


class Server:
    """A server that answers with what a function returns, from its construction until `close`."""

    def __init__(self, answer: Answer, faults: Faults, *, tls: ssl.SSLContext | None = None) -> None:
        self.answer, self.faults = answer, faults
        self.log: list[Entry] = []
        self.closing = threading.Event()  # ends what stalls
        self._server = _Threads(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.origin = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
        self._thread.start()

    @property
    def sent(self) -> int:
        """How many bytes of bodies were sent."""
        return sum(entry.sent for entry in self.log)

    def close(self) -> None:
        """Stop answering, and wait for what is being answered."""
        self.closing.set()
        if self._thread.is_alive():  # a thread that could not begin would be waited for without end
            self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Threads(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a kept connection would block until its client lets go
    owner: Server

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that refuse an answer hang up in the middle of it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Threads

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing; the log is a list."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        headers = {name.title(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, unquote(parts.path), query, headers, body)
        secret = any(self.headers.get(name) for name in ("Authorization", "Cookie"))
        entry = Entry(self.command, self.path, self.headers.get("Range", ""), 0, 0, secret)
        self.server.owner.log.append(entry)
        self._reply(self.server.owner.answer(request), entry)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def _reply(self, reply: Reply, entry: Entry) -> None:
        headers = {"Content-Type": "application/json"} | reply.headers
        if reply.blob is None:
            self._start(entry, reply.status, headers | {"Content-Length": str(len(reply.body))})
            self._write(entry, [reply.body])
            return
        faults = self.server.owner.faults
        begin, end, status = self._range(reply.blob, headers)
        if status == 206 and faults.content_range:
            headers["Content-Range"] = faults.content_range
        if faults.etag is not None:
            headers["ETag"] = faults.etag
        if status == 416:
            self._start(entry, status, headers | {"Content-Length": "0"})
            return
        self._send(entry, status, headers, reply.blob, begin, end)

    def _range(self, blob: Blob, headers: dict[str, str]) -> tuple[int, int, int]:
        """Return the first byte, the end and the status of an answer, and say so in `headers`."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "").strip())
        if not match or not any(match.groups()) or self.server.owner.faults.ignores_range:
            return 0, blob.size, 200
        unless = self.headers.get("If-Range")
        if unless is not None and unless != headers.get("ETag"):
            return 0, blob.size, 200
        begin = int(match[1]) if match[1] else max(0, blob.size - int(match[2]))
        end = min(int(match[2]) + 1, blob.size) if match[1] and match[2] else blob.size
        if begin >= end:
            headers["Content-Range"] = f"bytes */{blob.size}"
            return 0, 0, 416
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{blob.size}"
        return begin, end, 206

    def _send(self, entry: Entry, status: int, headers: dict[str, str], blob: Blob, begin: int, end: int) -> None:
        """Send a part of a blob, or what the faults make of it."""
        faults = self.server.owner.faults
        headers |= {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        pieces: Iterator[bytes] = blob.pieces(begin, end)
        if faults.encoding:
            packed = gzip.compress(b"".join(pieces))
            self._start(
                entry, status, headers | {"Content-Encoding": faults.encoding, "Content-Length": str(len(packed))}
            )
            self._write(entry, [packed])
            return
        if faults.tampered:
            pieces = _tampered(pieces, end - begin)
        if faults.surplus:
            self._start(entry, status, headers | {"Connection": "close"})
            self._write(entry, [*pieces, b"!" * faults.surplus])
            self.close_connection = True
            return
        self._start(entry, status, headers | {"Content-Length": str(end - begin)})
        stop = end - begin
        if faults.stalls:
            stop //= 2
        elif faults.withheld and faults.withheld_times:
            faults.withheld_times -= 1
            stop = max(0, stop - faults.withheld)
        self._write(entry, _first(pieces, stop))
        if faults.stalls:
            self.server.owner.closing.wait()
        if stop < end - begin:
            self.close_connection = True

    def _start(self, entry: Entry, status: int, headers: Mapping[str, str]) -> None:
        entry.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _write(self, entry: Entry, pieces: Iterator[bytes] | list[bytes]) -> None:
        if self.command == "HEAD":
            return
        for piece in pieces:
            entry.sent += len(piece)  # before the client can see the bytes and ask for the sum
            self.wfile.write(piece)
        self.wfile.flush()


def _tampered(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    for piece in pieces:
        size -= len(piece)
        yield piece if size else piece[:-1] + bytes([piece[-1] ^ 1])


def _first(pieces: Iterator[bytes], count: int) -> Iterator[bytes]:
    for piece in pieces:
        yield piece[:count]
        count -= len(piece)
        if count <= 0:
            return
