"""The one HTTP client of all registries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from typing import Any

from weighbridge.errors import SourceError
from weighbridge.records import dataclass
from weighbridge.registries.base import Settings
from weighbridge.registries.exchange import Call, Check, Exchange, origin, show, split
from weighbridge.registries.ranges import Ranges, Source

__all__ = ["Answer", "Ranges", "Session", "origin", "show", "split"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer; `headers` are found whatever their case, `url` is where the last redirect led."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Session:
    """Requests with the rules that every registry needs; safe to share between threads.

    * A token of the settings goes to its origin alone, and so do headers of the caller; once a redirect has crossed to
      another origin nothing that could be a credential is sent any more. https never becomes http.
    * Bodies are not encoded, not longer than the caller's limit and not slower than a crawl.
    * What another attempt may change is repeated as often as the settings say, as late as the server asks.
    * TLS certificates are always verified; proxies and SSL_CERT_FILE are taken from the environment.

    Every error is a SourceError of one line; `credential` ends the line about a refused access, and says how to give a
    token.
    """

    def __init__(
        self, settings: Settings, *, credential: str = "check the token", sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._exchange = Exchange(settings, credential=credential, sleep=sleep)

    @property
    def requests(self) -> int:
        """How many requests were sent, those of `remote` included."""
        return self._exchange.requests

    @property
    def received(self) -> int:
        """How many bytes of bodies arrived, those of `remote` included."""
        return self._exchange.received

    def get(
        self,
        url: str,
        *,
        limit: int,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        body: bytes | None = None,
        accept: Collection[int] = (200,),
        check: Check | None = None,
    ) -> Answer:
        """Return the answer to a request, whose body is at most `limit` bytes.

        `accept` are the statuses that are answers and no errors; `check` is given the URL, the status and the
        headers of every answer on the way, redirects and errors included, and raises SourceError when they are
        impossible.
        """
        call = Call(url=url, method=method, headers=headers or {}, body=body, accept=accept, check=check)
        return self._exchange.repeat(lambda: self._read(call, limit))

    def json(
        self, url: str, *, limit: int, headers: Mapping[str, str] | None = None, check: Check | None = None
    ) -> Any:
        """Return the JSON that a URL answers with."""
        return decode(self.get(url, limit=limit, headers=headers, check=check))

    def remote(
        self,
        url: str,
        size: int,
        *,
        name: str,
        headers: Mapping[str, str] | None = None,
        renew: Callable[[], str] | None = None,
        check: Check | None = None,
        tag: str | None = None,
        tagged: bool = True,
    ) -> Ranges:
        """Return the bytes of a file of `size` bytes by range; `name` is what messages call it.

        The URL that it redirects to is remembered. When that is refused as expired, `renew` returns another URL, once
        for each range; without it the first URL is asked again. Every answer must carry the entity tag `tag`, or that
        of the first answer when none is given, unless the server makes up another with each answer (not `tagged`).
        """
        source = Source(url=url, headers=headers or {}, renew=renew, check=check, tagged=tagged)
        return Ranges(self._exchange, source, size=size, name=name, tag=tag)

    def _read(self, call: Call, limit: int) -> Answer:
        with closing(self._exchange.open(call)) as opened:
            body = b"".join(self._exchange.pieces(opened, limit))
            return Answer(
                status=opened.response.status_code, headers=opened.response.headers, body=body, url=opened.url
            )


def decode(answer: Answer) -> Any:
    """Return the JSON of an answer; raise SourceError when it is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{show(answer.url)}: the answer is not JSON") from error
