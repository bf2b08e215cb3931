"""Azure Blob Storage through adlfs (AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_CONNECTION_STRING name the account).

A blob is read under the condition that its entity tag is still the same; a version, where the reference names one, is
read as that version.

Interface: https://learn.microsoft.com/rest/api/storageservices/get-blob
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

import adlfs
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from fsspec.asyn import sync

from weighbridge.artifact import MAX_FILES
from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.registries.base import Settings
from weighbridge.registries.objects.bucket import NO_REQUEST, Bucket, Found, Pin, check_range, edge, hush

_BLOCK: Final = 8 << 20  # bytes of one request: the client keeps a part of a download in memory
_FOREIGN: Final = (OSError, AzureError, asyncio.TimeoutError, ValueError)


def connect(settings: Settings) -> Callable[[str], Bucket]:
    """Return what makes containers, with the credentials that adlfs finds."""
    hush("adlfs", "azure")
    with edge("az", _FOREIGN, lambda _: NO_REQUEST):
        filesystem = adlfs.AzureBlobFileSystem(skip_instance_cache=True, use_listings_cache=False)
    options = {
        "connection_timeout": settings.timeout,
        "read_timeout": settings.timeout,
        "retry_total": settings.retries,
    }
    return lambda name: _Azure(filesystem=filesystem, name=name, options=options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Azure:
    """A container."""

    filesystem: Any
    name: str
    options: dict[str, Any]

    def stat(self, key: str, pin: Pin | None) -> Found | None:
        """Return a blob at `pin` or as it is now, None when there is none."""
        with edge(self._shown(key), _FOREIGN, _status):
            try:
                blob = sync(self.filesystem.loop, self._properties, key, _condition(pin))
            except ResourceNotFoundError:
                return None
            return _found(blob, pin)

    async def _properties(self, key: str, condition: dict[str, Any]) -> Any:
        client = self.filesystem.service_client.get_blob_client(self.name, key)
        return await client.get_blob_properties(**condition, **self.options)

    def below(self, prefix: str) -> Iterator[Found]:
        """Yield every blob whose name begins with `prefix`."""
        with edge(self._shown(prefix), _FOREIGN, _status):
            yield from [_found(blob, None) for blob in sync(self.filesystem.loop, self._listed, prefix)]

    async def _listed(self, prefix: str) -> list[Any]:
        client = self.filesystem.service_client.get_container_client(self.name)
        blobs: list[Any] = []
        async for blob in client.list_blobs(name_starts_with=prefix, **self.options):
            blobs.append(blob)
            if len(blobs) > MAX_FILES:
                break
        return blobs

    def fetch(self, found: Found, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of a blob from `begin` up to `end`, block by block."""
        shown = self._shown(found.key)
        for low in range(begin, end, _BLOCK):
            high = min(low + _BLOCK, end)
            with edge(shown, _FOREIGN, _status):
                blob, data = sync(self.filesystem.loop, self._block, found, low, high)
            check_range(shown, {"Content-Range": str(blob.content_range)}, low, high, found.size)
            if found.pin.kind == "etag" and _tag(blob) != found.pin:
                raise SourceError(f"{shown}: the object changed since it was resolved")
            yield data

    async def _block(self, found: Found, begin: int, end: int) -> tuple[Any, bytes]:
        client = self.filesystem.service_client.get_blob_client(self.name, found.key)
        asked = {"offset": begin, "length": end - begin, **_condition(found.pin), **self.options}
        answer = await client.download_blob(**asked)
        return answer.properties, await answer.readall()

    def _shown(self, key: str) -> str:
        return printable(f"az://{self.name}/{key}")


def _condition(pin: Pin | None) -> dict[str, Any]:
    """Return the parameters under which a request is answered with one version alone."""
    if pin is None:
        return {}
    if pin.kind == "version":
        return {"version_id": pin.value}
    return {"etag": f'"{pin.value}"', "match_condition": MatchConditions.IfNotModified}


def _found(blob: Any, asked: Pin | None) -> Found:
    versioned = asked is not None and asked.kind == "version"
    pin = Pin("version", str(blob.version_id)) if versioned else _tag(blob)
    return Found(key=str(blob.name), size=int(blob.size), pin=pin)


def _tag(blob: Any) -> Pin:
    return Pin("etag", str(blob.etag).strip('"'))


def _status(error: Exception) -> int:
    """Return the HTTP status behind an error of the client, 0 when no answer came."""
    if isinstance(error, HttpResponseError):
        return int(error.status_code or NO_REQUEST)
    return 0 if isinstance(error, AzureError | TimeoutError | ConnectionError) else NO_REQUEST
