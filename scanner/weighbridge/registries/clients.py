"""The HTTP clients of one exchange, each made when it is first needed.

Reading the certificates of all authorities takes 24 ms of a processor, a tenth of what starting a pull takes. A request
over plain HTTP that goes through no proxy uses none of them.
"""

from __future__ import annotations

import ssl
from threading import Lock
from typing import TYPE_CHECKING, Final

from weighbridge.errors import SourceError

if TYPE_CHECKING:
    import httpx2

# Bytes taken from a connection at once. httpcore2 takes 64 KiB, and then the work for each piece is half of all the
# work of receiving: 0.95 s of a processor for 1 GiB from this machine, 0.5 s with this.
READ: Final = 256 << 10


class Clients:
    """Clients with one timeout, in seconds: proxies and certificates from the environment; safe to share."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._made: dict[bool, httpx2.Client] = {}
        self._lock = Lock()

    def of(self, url: str) -> httpx2.Client:
        """Return the client for a URL; raise SourceError when what the environment names cannot be used."""
        secured = not url.startswith("http:") or _proxied()
        with self._lock:
            if secured not in self._made:
                self._made[secured] = _client(self._timeout, secured=secured)
            return self._made[secured]

    def close(self) -> None:
        """Give all connections up."""
        for client in self._made.values():
            client.close()


def _proxied() -> bool:
    """Tell whether the environment names a proxy, to which a connection may be one of TLS whatever goes through it."""
    from urllib.request import getproxies

    return bool(getproxies().keys() - {"no"})


def _client(timeout: float, *, secured: bool) -> httpx2.Client:
    """Return a client without cookies and redirects of its own; one that is not `secured` trusts no certificate."""
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    import httpcore2
    import httpx2

    httpcore2.HTTP11Connection.READ_NUM_BYTES = READ
    try:
        return httpx2.Client(
            timeout=timeout,
            verify=True if secured else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
    except (ImportError, ValueError, OSError) as error:
        raise SourceError(f"the proxy or the certificates of the environment cannot be used: {error}") from error
