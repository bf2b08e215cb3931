"""A large body read straight from its connection, into memory that is lent out and used again.

The library that parses HTTP copies every byte three times, which costs more than receiving it. A body of known length
needs no parser: after what the library has read together with the head, the connection holds the rest and nothing else.
The library takes such a connection for unfinished and closes it, so this is for bodies that are worth a connection.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from itertools import cycle
from typing import TYPE_CHECKING, Final

from weighbridge.registries.base import LENT

if TYPE_CHECKING:
    import httpx2

# Bytes of a piece. Receiving 1 GiB in pieces of half of this costs 0.2 s more of a processor (benchmarks/registry.py);
# pieces of twice this cost a second more on one disk.
PIECE: Final = 2 << 20
# Seconds that a piece may grow for. TLS gives 16 KiB at a time, a slow link less.
_GROWS: Final = 0.05


def lent(response: httpx2.Response, timeout: float) -> Iterator[bytes | memoryview]:
    """Yield a body that has not been read, in pieces of which the last LENT can be used and no earlier one.

    Raises the library's TransportError, and OSError, when the connection fails or brings nothing for `timeout` seconds.
    """
    raw, connection = response.iter_raw(), _connection(response)
    if connection is None:
        yield from raw
        return
    first = next(raw, b"")
    yield first
    left = int(response.headers["content-length"]) - len(first)
    connection.settimeout(timeout)
    for buffer in cycle([memoryview(bytearray(min(PIECE, left))) for _ in range(LENT)]):
        count = _fill(connection, buffer[:left]) if left else 0
        if not count:
            return
        left -= count
        yield buffer[:count]


def _connection(response: httpx2.Response) -> socket.socket | None:
    """Return what the rest of a body can be read from, None when only the library can tell what belongs to it."""
    stream = response.extensions.get("network_stream")
    if stream is None or response.http_version != "HTTP/1.1" or "transfer-encoding" in response.headers:
        return None
    if not response.headers.get("content-length", "").isdecimal():
        return None
    connection, secured = stream.get_extra_info("socket"), stream.get_extra_info("ssl_object")
    # TLS within the TLS of a proxy is no socket but an object that is fed by one.
    if isinstance(secured, ssl.SSLObject) or isinstance(connection, ssl.SSLSocket) != (secured is not None):
        return None
    return connection if isinstance(connection, socket.socket) else None


def _fill(connection: socket.socket, buffer: memoryview) -> int:
    """Receive until a buffer is full, the time for it is over or the connection ends; return how many bytes came."""
    count, begun = 0, time.monotonic()
    while count < len(buffer):
        try:
            got = connection.recv_into(buffer[count:])
        except OSError:
            if count:
                break  # the next call meets the same, or the end
            raise
        count += got
        if not got or time.monotonic() - begun > _GROWS:
            break
    return count
