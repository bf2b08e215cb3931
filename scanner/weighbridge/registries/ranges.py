"""The bytes of a remote file by range (RFC 9110 §14), from a server that may ignore, shift, cut or swap them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Final

from weighbridge.errors import SourceError, UnavailableError, WholeOnlyError
from weighbridge.records import dataclass
from weighbridge.registries.exchange import MAX_SHOWN, Call, Check, Exchange, Opened, P, show

_STRONG: Final = re.compile(r'"[\x21\x23-\x7e]{0,512}"')  # an entity tag that If-Range may hold
_EXPIRED: Final = frozenset({400, 401, 403, 410})  # how object stores refuse a link whose time is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the bytes of a file are asked for: `renew` returns a URL that replaces an expired one.

    Without `tagged` the server's entity tags do not tell one version from another and are left alone.
    """

    url: str
    headers: Mapping[str, str]
    renew: Callable[[], str] | None
    check: Check | None
    tagged: bool = True


class Ranges:
    """A remote file, pinned to the entity tag `tag` or else to that of the first answer; safe to share between threads.

    The URL that the source redirects to is used again, and asked for anew once per request when it has expired.
    `requests` and `received` count the requests sent, redirects included, and the bytes of bodies that arrived;
    `whole_only` tells of a server that gives no parts.
    """

    def __init__(self, exchange: Exchange, source: Source, *, size: int, name: str, tag: str | None = None) -> None:
        self._exchange = exchange
        self._source = source
        self._target: Opened | None = None
        self._tag = tag
        self._lock = Lock()
        self.size = size
        self.name = name
        self.whole_only = False
        self.requests = 0
        self.received = 0

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes at `offset`; a request that breaks off is repeated."""
        return self._exchange.repeat(lambda: b"".join(self._read(offset, offset + count)))

    def stream(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `begin` up to `end` in pieces as they arrive, in one request.

        Raises UnavailableError when the answer breaks off: the caller may ask for the rest.
        """
        return self._pieces(begin, end, self._open_again, self._exchange.pieces)

    def lend(self, begin: int, end: int) -> Iterator[bytes | memoryview]:
        """Yield what `stream` yields, in memory that is used again: see `Lender`."""
        return self._pieces(begin, end, self._open_again, self._exchange.lend)

    def _read(self, begin: int, end: int) -> Iterator[bytes]:
        return self._pieces(begin, end, self._open, self._exchange.pieces)

    def _pieces(
        self,
        begin: int,
        end: int,
        open_: Callable[[int, int], Opened],
        body: Callable[[Opened, int], Iterator[P]],
    ) -> Iterator[P]:
        if not 0 <= begin <= end <= self.size:
            raise SourceError(f"{self.name}: bytes {begin} to {end} are outside of {self.size}")
        if begin == end:
            return
        count, opened = 0, open_(begin, end)
        try:
            for piece in body(opened, end - begin):
                count += len(piece)
                with self._lock:
                    self.received += len(piece)
                yield piece
        finally:
            opened.close()
        if count != end - begin:
            raise UnavailableError(f"{self.name}: the answer ends after {count} of {end - begin} bytes")

    def _open_again(self, begin: int, end: int) -> Opened:
        """Ask for a range, and again when there is no answer."""
        return self._exchange.repeat(lambda: self._open(begin, end))

    def _open(self, begin: int, end: int) -> Opened:
        """Ask for a range where it was found before, or where the source says."""
        known = self._target
        if known is not None:
            renewable = self._source.renew is not None or known.url != self._source.url
            opened = self._ask(known.url, begin, end, bare=known.bare, also=_EXPIRED if renewable else frozenset())
            if opened.response.status_code not in _EXPIRED:
                return self._verified(opened, begin, end)
            opened.close()
        renew = self._source.renew if known is not None else None
        opened = self._ask(renew() if renew else self._source.url, begin, end)
        verified = self._verified(opened, begin, end)
        self._target = verified
        return verified

    def _ask(self, url: str, begin: int, end: int, *, bare: bool = False, also: frozenset[int] = frozenset()) -> Opened:
        headers = {**self._source.headers, "range": f"bytes={begin}-{end - 1}"}
        if self._tag is not None and _STRONG.fullmatch(self._tag):
            headers["if-range"] = self._tag
        accept = {200, 206, 416} | also
        call = Call(url=url, method="GET", headers=headers, body=None, accept=accept, check=self._look, bare=bare)
        return self._exchange.open(call)

    def _look(self, url: str, status: int, headers: Mapping[str, str]) -> None:
        """Count an answer, and show it to whoever made this file."""
        with self._lock:
            self.requests += 1
        if self._source.check is not None:
            self._source.check(url, status, headers)

    def _verified(self, opened: Opened, begin: int, end: int) -> Opened:
        """Return an answer that can only be the range; raise SourceError for any other."""
        try:
            reason = self._fault(opened, begin, end)
        except BaseException:
            opened.close()
            raise
        if reason:
            opened.close()
            whole_only = opened.response.status_code == 200 and (begin, end) != (0, self.size)
            error = WholeOnlyError if whole_only else SourceError
            raise error(f"{self.name}: {reason} ({show(opened.url)})")
        return opened

    def _fault(self, opened: Opened, begin: int, end: int) -> str:
        """Return what is wrong with an answer, or nothing."""
        headers, whole = opened.response.headers, (begin, end) == (0, self.size)
        length = headers.get("content-length", str(end - begin))
        match opened.response.status_code:
            case 416:
                return f"the server has no bytes {begin} to {end}, the file is not the {self.size} bytes of the listing"
            case 200 if not whole:
                return "the server ignores Range and would send the whole file, or it changed while it was read"
            case 206 if headers.get("content-range", "").strip() != f"bytes {begin}-{end - 1}/{self.size}":
                got = headers.get("content-range", "no range")
                return f"asked for bytes {begin}-{end - 1}/{self.size}, the server sends {got[:MAX_SHOWN]!a}"
        if length.strip() != str(end - begin):
            return f"the answer has {length[:MAX_SHOWN]!a} bytes, not {end - begin}"
        if opened.response.status_code == 200:
            self.whole_only = headers.get("accept-ranges", "").strip().lower() != "bytes"
        tag = headers.get("etag", "") if self._source.tagged else ""
        with self._lock:
            if self._tag is None:
                self._tag = tag
        return "" if tag == self._tag else "the file changed while it was read"
