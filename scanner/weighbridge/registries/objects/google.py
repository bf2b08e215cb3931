"""Google Cloud Storage through gcsfs (STORAGE_EMULATOR_HOST names another server).

Every object has a generation, whether its bucket keeps old ones or not: a read names it, and finds it or nothing.

Interface: https://cloud.google.com/storage/docs/json_api/v1/objects
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

import aiohttp
import gcsfs
from gcsfs.retry import HttpError
from google.auth.exceptions import GoogleAuthError

from weighbridge.artifact import MAX_FILES
from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.registries.base import Settings
from weighbridge.registries.objects.bucket import NO_REQUEST, Bucket, Found, Pin, check_range, edge, hush

_BLOCK: Final = 8 << 20  # bytes of one request: gcsfs keeps a whole answer in memory
_FOREIGN: Final = (OSError, HttpError, GoogleAuthError, aiohttp.ClientError, asyncio.TimeoutError, ValueError)


def connect(settings: Settings) -> Callable[[str], Bucket]:
    """Return what makes buckets, with the credentials that google-auth finds, or none."""
    hush("gcsfs", "google")
    with edge("gs", _FOREIGN, lambda _: NO_REQUEST):
        filesystem = gcsfs.GCSFileSystem(
            access="read_only",
            requests_timeout=aiohttp.ClientTimeout(sock_connect=settings.timeout, sock_read=settings.timeout),
            skip_instance_cache=True,
            use_listings_cache=False,
        )
    return lambda name: _Google(filesystem=filesystem, name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Google:
    """A bucket."""

    filesystem: Any
    name: str

    def stat(self, key: str, pin: Pin | None) -> Found | None:
        """Return an object at `pin` or as it is now, None when there is none."""
        with edge(self._shown(key), _FOREIGN, _status):
            at = {"generation": pin.value} if pin else {}
            try:
                answer = self.filesystem.call("GET", "b/{}/o/{}", self.name, key, json_out=True, **at)
            except FileNotFoundError:
                return None
            return self._found(answer)

    def below(self, prefix: str) -> Iterator[Found]:
        """Yield every object whose key begins with `prefix`."""
        token: dict[str, str] = {}
        count = 0
        while True:
            with edge(self._shown(prefix), _FOREIGN, _status):
                page = self.filesystem.call("GET", "b/{}/o", self.name, prefix=prefix, json_out=True, **token)
                found = [self._found(one) for one in page.get("items", ())]
            count += len(found)
            yield from found
            following = {"pageToken": str(page.get("nextPageToken", ""))}
            if following == {"pageToken": ""} or count > MAX_FILES:
                return
            if following == token:
                raise SourceError(f"{self._shown(prefix)}: the list of objects does not go on")
            token = following

    def fetch(self, found: Found, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of an object from `begin` up to `end`, block by block."""
        shown = self._shown(found.key)
        url = self.filesystem.url(f"{self.name}/{found.key}", generation=found.pin.value)
        for low in range(begin, end, _BLOCK):
            high = min(low + _BLOCK, end)
            with edge(shown, _FOREIGN, _status):
                headers, data = self.filesystem.call("GET", url, headers={"Range": f"bytes={low}-{high - 1}"})
            check_range(shown, headers, low, high, found.size)
            if headers.get("X-Goog-Generation") != found.pin.value:
                raise SourceError(f"{shown}: the object changed since it was resolved")
            yield data

    def _found(self, answer: dict[str, Any]) -> Found:
        pin = Pin("generation", str(int(answer["generation"])))
        return Found(key=str(answer["name"]), size=int(answer["size"]), pin=pin)

    def _shown(self, key: str) -> str:
        return printable(f"gs://{self.name}/{key}")


def _status(error: Exception) -> int:
    """Return the HTTP status behind an error of gcsfs, 0 when no answer came."""
    if isinstance(error, FileNotFoundError):
        return 404
    if isinstance(error, HttpError):
        return int(error.code or NO_REQUEST)
    if isinstance(error, OSError) and str(error).startswith("Forbidden"):
        return 403
    return 0 if isinstance(error, aiohttp.ClientError | TimeoutError | ConnectionError) else NO_REQUEST
