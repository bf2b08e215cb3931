"""What the object stores have in common: what is asked of a bucket, and how its errors become ours."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from weighbridge.errors import SourceError, UnavailableError
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.registries import pacing
from weighbridge.registries.base import Settings

CHUNK: Final = 1 << 20  # bytes of one piece of a stream: a piece costs a hop between threads
NO_REQUEST: Final = -1  # no HTTP status: credentials that are missing, arguments that make no request
MAX_SAID: Final = 300  # characters of a store's words in a message
_RANGE: Final = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pin:
    """What tells one state of an object from another: its version, generation or entity tag."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An object at a version; `sha256` is what the store declares of all its bytes, if it does."""

    key: str
    size: int
    pin: Pin
    sha256: str = ""


class Bucket(Protocol):
    """A bucket of an object store. Every method raises SourceError, in one line, when the store refuses."""

    def stat(self, key: str, pin: Pin | None) -> Found | None:
        """Return an object at `pin` or as it is now, None when there is none.

        A store that ignores `pin` answers with another one.
        """

    def below(self, prefix: str) -> Iterator[Found]:
        """Yield every object whose key begins with `prefix`, as it is now."""

    def fetch(self, found: Found, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of an object from `begin` up to `end`, and of no other version than the found one.

        Raises UnavailableError when the answer breaks off.
        """


Made = Callable[[Settings], Callable[[str], Bucket]]


def check_range(shown: str, headers: Mapping[str, str], begin: int, end: int, size: int) -> None:
    """Raise SourceError unless an answer's Content-Range is the range that was asked for."""
    told = headers.get("Content-Range", "")
    ranged = _RANGE.fullmatch(told.strip())
    if ranged is None or tuple(map(int, ranged.groups())) != (begin, end - 1, size):
        got = printable(told)[:MAX_SAID] or "no range"
        raise SourceError(f"{shown}: asked for bytes {begin}-{end - 1}/{size}, the store sends {got}")


@contextmanager
def edge(shown: str, foreign: tuple[type[Exception], ...], status: Callable[[Exception], int]) -> Iterator[None]:
    """Turn the `foreign` errors of a store's library into one line about `shown`.

    `status` returns the HTTP status behind one, 0 when no answer came, NO_REQUEST when none was asked for.
    """
    try:
        yield
    except (SourceError, GeneratorExit):
        raise
    except foreign as error:
        code = status(error)
        said = printable(str(error).strip().partition("\n")[0])[:MAX_SAID] or type(error).__name__
        if code in (0, *pacing.RETRIED):
            raise UnavailableError(f"{shown}: {said}") from error
        if code == NO_REQUEST:
            raise SourceError(f"{shown}: {said}") from error
        reason = {
            401: "access is refused, 401; check the credentials of the store",
            403: "access is refused, 403; check the credentials of the store",
            404: "there is no such object, bucket or revision, 404",
            412: "the object changed since it was resolved",
        }.get(code, f"the store answers {code}")
        raise SourceError(f"{shown}: {reason} ({said})") from error


def hush(*libraries: str) -> None:
    """Keep what libraries log off the terminal, where Python writes it when nobody has configured logging.

    Errors become one line here, and some libraries log a traceback of each besides.
    """
    for library in libraries:
        logging.getLogger(library).addHandler(logging.NullHandler())


def fetched(work: Callable[[], bytes], retries: int, sleep: Callable[[float], None] = time.sleep) -> bytes:
    """Return what `work` returns, repeating it while the store breaks off and repetitions are left."""
    for attempt in range(retries):
        try:
            return work()
        except UnavailableError:
            sleep(pacing.backoff(attempt))
    return work()
