"""One request and its answer: credentials, redirects, timeouts, repetitions, and errors that are one line each.

Redirects are followed here and not by httpx2, because what may be sent along changes at every hop. Nothing that this
module raises or says holds a query (signatures of download links stand there), a user name or a token.

Not bounded is how long the headers of an answer take in all: a server that sends one byte of them just before each
timeout, or one `100 Continue` after another, is waited for.
"""

from __future__ import annotations

import re
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import SplitResult, urlsplit

from weighbridge.errors import SourceError, UnavailableError
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.registries import pacing
from weighbridge.registries.clients import Clients
from weighbridge.registries.lending import lent

if TYPE_CHECKING:
    import httpx2

    from weighbridge.registries.base import Settings

T = TypeVar("T")
P = TypeVar("P", bytes, bytes | memoryview)
Check = Callable[[str, int, Mapping[str, str]], None]

MAX_REDIRECTS: Final = 5
MAX_SHOWN: Final = 300  # characters of a URL or of a server's words in a message
SLOWEST: Final = 1024  # bytes a second on average, below which a body is a stall in small pieces
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_DRAINED: Final = 64 << 10  # bytes of an unwanted body that are read to keep the connection
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# What may cross from one origin to another. Anything else may be a credential.
_CARRIED: Final = frozenset({"accept", "accept-encoding", "if-match", "if-range", "range", "user-agent"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request.

    `accept` are the statuses that are answers to it; `check` is given the URL, status and headers of every
    answer on the way, errors included, and raises SourceError when they are impossible; `bare` sends no credentials.
    """

    url: str
    method: str
    headers: Mapping[str, str]
    body: bytes | None
    accept: Collection[int]
    check: Check | None
    bare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An answer whose body has not been read: where it came from in the end, and whether credentials got that far."""

    response: httpx2.Response
    url: str
    bare: bool

    def close(self) -> None:
        """Give the connection back, or up when the body has not been read to its end."""
        self.response.close()


class Exchange:
    """A pool of connections with the rules for using it; safe to share between threads.

    `credential` says how a person gives a token (`set HF_TOKEN`); `sleep` waits that many seconds. `requests` and
    `received` count the requests sent and the bytes of bodies that arrived.
    """

    def __init__(self, settings: Settings, *, credential: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._settings = settings
        self._credential = credential
        self._sleep = sleep
        self._tokens = {origin(key): _token(key, token) for key, token in settings.tokens.items()}
        self._clients = Clients(settings.timeout)
        weakref.finalize(self, self._clients.close)
        self._lock = Lock()
        self.requests = 0
        self.received = 0

    def repeat(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, repeating it while the source does not answer and repetitions are left."""
        for attempt in range(self._settings.retries):
            try:
                return work()
            except UnavailableError as error:
                wait = pacing.backoff(attempt) if error.wait is None else error.wait
                if wait > pacing.MAX_WAIT:
                    raise
                if error.wait:
                    self._settings.notice(f"{error}; trying again in {wait:.0f} s")
                self._sleep(wait)
        return work()

    def open(self, call: Call) -> Opened:
        """Send a request, follow its redirects and return the answer, which the caller closes.

        Raises UnavailableError when there is no answer or one that another attempt may change, SourceError when the
        answer is none of those that the request accepts.
        """
        url, bare = call.url, call.bare
        for _ in range(MAX_REDIRECTS + 1):
            opened = Opened(response=self._send(call, url, bare=bare), url=url, bare=bare)
            try:
                target = self._next(call, opened)
            except BaseException:
                opened.close()
                raise
            if not target:
                return opened
            opened.close()
            bare = bare or origin(target) != origin(url)
            url = target
        raise SourceError(f"{show(call.url)}: more than {MAX_REDIRECTS} redirects")

    def pieces(self, opened: Opened, limit: int) -> Iterator[bytes]:
        """Yield the body as it arrives; raise SourceError when it is encoded or longer than `limit` bytes."""
        return self._counted(opened, limit, opened.response.iter_raw())

    def lend(self, opened: Opened, limit: int) -> Iterator[bytes | memoryview]:
        """Yield what `pieces` yields, in memory that is used again (`lending`)."""
        return self._counted(opened, limit, lent(opened.response, self._settings.timeout))

    def _counted(self, opened: Opened, limit: int, raw: Iterator[P]) -> Iterator[P]:
        """Pass the pieces of a body on; raise SourceError when it is encoded, too long or too slow, or breaks off."""
        import httpx2

        encoding = opened.response.headers.get("content-encoding", "identity")
        if encoding.strip().lower() not in ("", "identity"):
            reason = f"the answer is encoded as {encoding!a} although it must not be"
            raise SourceError(f"{show(opened.url)}: {reason}")
        waited, count = 0.0, 0
        while True:
            begun = time.monotonic()
            try:
                piece = next(raw, None)
            except (httpx2.TransportError, OSError) as error:
                raise UnavailableError(f"{show(opened.url)}: {_said(error)} after {count} bytes") from error
            waited += time.monotonic() - begun
            if not piece:
                return
            count += len(piece)
            self._count(received=len(piece))
            if count > limit:
                raise SourceError(f"{show(opened.url)}: the answer is longer than {limit} bytes")
            if waited > self._settings.timeout + count / SLOWEST:
                raise UnavailableError(f"{show(opened.url)}: {count} bytes in {waited:.0f} s are too slow")
            yield piece

    def _send(self, call: Call, url: str, *, bare: bool) -> httpx2.Response:
        """Send one request of a chain of redirects and return the answer with its body unread."""
        import httpx2

        if self._settings.offline:
            raise SourceError(f"{show(url)}: not fetched, because connections are switched off (offline)")
        headers = self._headers(call, url, bare=bare)
        try:
            client = self._clients.of(url)
            request = client.build_request(call.method, _parsed(url), headers=headers, content=call.body)
            self._count(requests=1)
            return client.send(request, stream=True)
        except (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol) as error:
            # What it says is not repeated here: it quotes the header that it dislikes, which may be a token.
            raise SourceError(f"{show(url)}: the request cannot be sent ({type(error).__name__})") from None
        except (httpx2.TransportError, UnicodeError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                hint = "if it is your own authority's, name its certificates in SSL_CERT_FILE"
                raise SourceError(f"{show(url)}: the certificate is not trusted; {hint}") from error
            raise UnavailableError(f"{show(url)}: {_said(error)}") from error

    def _count(self, *, requests: int = 0, received: int = 0) -> None:
        with self._lock:
            self.requests += requests
            self.received += received

    def _next(self, call: Call, opened: Opened) -> str:
        """Return where an answer redirects to, or nothing when it is the one that was asked for."""
        response = opened.response
        if call.check is not None:
            call.check(opened.url, response.status_code, response.headers)
        if response.status_code in call.accept:
            return ""
        if response.status_code not in _REDIRECTS or call.method not in ("GET", "HEAD"):
            raise self._refusal(opened.url, response)
        target = _redirected(opened.url, response)
        self._drain(opened)
        return target

    def _headers(self, call: Call, url: str, *, bare: bool) -> dict[str, str]:
        """Return the headers for one hop: what the caller gives goes to its own origin, a token to its origin."""
        headers = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "weighbridge"}
        headers |= {name.lower(): value for name, value in call.headers.items()}
        if bare:
            return {name: value for name, value in headers.items() if name in _CARRIED}
        token = self._tokens.get(origin(url))
        return {"authorization": f"Bearer {token}"} | headers if token else headers

    def _refusal(self, url: str, response: httpx2.Response) -> SourceError:
        """Return the error for an answer that was not asked for."""
        status = response.status_code
        told = response.headers.get("x-error-message") or response.headers.get("x-error-code") or ""
        said = f" ({printable(told)[:MAX_SHOWN]})" if told else ""
        if status in pacing.RETRIED:
            wait = pacing.asked(response.headers)
            asks = f" and asks to wait {wait:.0f} s" if wait else ""
            return UnavailableError(f"{show(url)}: the server answers {status}{said}{asks}", wait)
        if status in (401, 403):
            return SourceError(f"{show(url)}: access is refused, {status}{said}; {self._credential}")
        reason = {404: "there is no such thing, 404", 410: "it is gone, 410"}.get(
            status, f"the server answers {status}"
        )
        return SourceError(f"{show(url)}: {reason}{said}")

    def _drain(self, opened: Opened) -> None:
        """Read a short unwanted body, so that the connection can be used again."""
        try:
            for _ in self.pieces(opened, _DRAINED):
                pass
        except SourceError:
            return  # the connection is given up, which costs a new one and nothing else


def origin(url: str) -> str:
    """Return scheme, host and port of a URL in one spelling; raise SourceError when it is not one of http(s)."""
    parsed = _parsed(url)
    host = parsed.netloc.decode("ascii")
    return f"{parsed.scheme}://{host.removesuffix(_DEFAULT_PORTS[parsed.scheme])}"


def _token(key: str, token: str) -> str:
    """Return a token that a header can hold."""
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise SourceError(f"{show(key)}: the token for it is empty, or holds spaces or characters that no token has")
    return token


def split(url: str) -> SplitResult:
    """Return the parts of a URL as they are written; raise SourceError when it cannot be split."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise SourceError(f"{show(url)}: not a URL: {error}") from error


def show(url: str) -> str:
    """Return a URL fit for display: no query, no fragment, no user name, no control characters."""
    bare = re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0], count=1)
    return printable(bare)[:MAX_SHOWN]


def _parsed(url: str) -> httpx2.URL:
    """Return a URL as the client reads it, so that what is compared is what is connected to."""
    import httpx2

    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise SourceError(f"{show(url)}: not a URL: {_said(error)}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or not 0 < (parsed.port or 80) < 1 << 16:
        raise SourceError(f"{show(url)}: not a URL of http or https")
    if parsed.userinfo:
        raise SourceError(f"{show(url)}: a user name or password in a URL is refused")
    return parsed


def _redirected(url: str, response: httpx2.Response) -> str:
    """Return where an answer redirects to; raise SourceError when that is nowhere to go."""
    import httpx2

    try:
        target = str(_parsed(url).join(response.headers.get("location", "")).copy_with(fragment=None))
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise SourceError(f"{show(url)}: redirects to what is no URL") from error
    if not response.headers.get("location"):
        raise SourceError(f"{show(url)}: redirects to nowhere")
    if origin(url).startswith("https:") and not origin(target).startswith("https:"):
        raise SourceError(f"{show(url)}: redirects from https to {show(target)}, which anybody on the way could change")
    return target


def _said(error: Exception) -> str:
    """Return what a foreign exception says, in one line."""
    import httpx2

    names: list[tuple[type[Exception], str]] = [
        (httpx2.ConnectTimeout, "no connection in time"),
        (httpx2.TimeoutException, "no answer in time"),
        (TimeoutError, "no answer in time"),
        (httpx2.ConnectError, "no connection"),
        (httpx2.ProxyError, "the proxy refuses"),
    ]
    text = printable(" ".join(str(error).split()))[:MAX_SHOWN]
    name = next((name for kind, name in names if isinstance(error, kind)), "")
    return " (".join(part for part in (name, text) if part) + (")" if name and text else "") or type(error).__name__
