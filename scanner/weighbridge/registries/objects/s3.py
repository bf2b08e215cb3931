"""Amazon S3 and the servers that speak like it, through s3fs (AWS_ENDPOINT_URL names such a server).

Every read is a GetObject of one range at one version (`VersionId`) or under the condition that the entity tag is still
the same (`If-Match`). A checksum is a claim about the bytes when it is the SHA-256 of all of them; that of a multipart
upload is composed from those of its parts.

Interface: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import aiohttp
import botocore.exceptions
import s3fs
from fsspec.asyn import sync

from weighbridge.artifact import MAX_FILES
from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.registries.base import Settings
from weighbridge.registries.objects.bucket import CHUNK, NO_REQUEST, Bucket, Found, Pin, check_range, edge, hush

_FOREIGN: Final = (OSError, botocore.exceptions.BotoCoreError, aiohttp.ClientError, asyncio.TimeoutError)
_UNVERSIONED: Final = ("", "null")  # `null` is the version of an object that the next one overwrites
_PAGE: Final = 1000  # objects of one answer, the most that a server sends
_PARALLEL: Final = 16  # objects of a prefix that are asked about at a time


def connect(settings: Settings) -> Callable[[str], Bucket]:
    """Return what makes buckets, with the credentials that botocore finds."""
    hush("s3fs", "aiobotocore", "botocore")
    config = {
        "connect_timeout": settings.timeout,
        "read_timeout": settings.timeout,
        "retries": {"mode": "standard", "total_max_attempts": settings.retries + 1},
    }
    with edge("s3", (*_FOREIGN, ValueError), lambda _: NO_REQUEST):
        filesystem = s3fs.S3FileSystem(
            config_kwargs=config, skip_instance_cache=True, use_listings_cache=False, max_concurrency=_PARALLEL
        )
    filesystem.retries = 1  # botocore repeats requests already
    return lambda name: _S3(filesystem=filesystem, name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _S3:
    """A bucket."""

    filesystem: Any
    name: str

    def stat(self, key: str, pin: Pin | None) -> Found | None:
        """Return an object at `pin` or as it is now, None when there is none."""
        with edge(self._shown(key), _FOREIGN, _status):
            try:
                answer = self._call("head_object", Key=key, ChecksumMode="ENABLED", **_condition(pin))
            except FileNotFoundError:
                return None
            return _found(self._shown(key), key, answer, pin)

    def below(self, prefix: str) -> Iterator[Found]:
        """Yield every object whose key begins with `prefix`; each is asked for its version and its checksum."""
        keys = list(self._keys(prefix))
        if len(keys) > MAX_FILES:
            raise SourceError(f"{self._shown(prefix)}: more than {MAX_FILES} objects")
        with ThreadPoolExecutor(_PARALLEL) as pool:
            for key, found in zip(keys, pool.map(lambda key: self.stat(key, None), keys), strict=True):
                if found is None:
                    raise SourceError(f"{self._shown(key)}: the object disappeared while the prefix was listed")
                yield found

    def _keys(self, prefix: str) -> Iterator[str]:
        token: dict[str, str] = {}
        count = 0
        while True:
            with edge(self._shown(prefix), _FOREIGN, _status):
                page = self._call("list_objects_v2", Prefix=prefix, MaxKeys=_PAGE, **token)
            found = [str(one["Key"]) for one in page.get("Contents", ())]
            count += len(found)
            yield from found
            following = {"ContinuationToken": str(page.get("NextContinuationToken", ""))}
            if not page.get("IsTruncated") or count > MAX_FILES:
                return
            if not found or following in ({"ContinuationToken": ""}, token):
                raise SourceError(f"{self._shown(prefix)}: the list of objects does not go on")
            token = following

    def fetch(self, found: Found, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of an object from `begin` up to `end`."""
        shown = self._shown(found.key)
        with edge(shown, _FOREIGN, _status):
            asked = {"Key": found.key, "Range": f"bytes={begin}-{end - 1}", **_condition(found.pin)}
            answer = self._call("get_object", **asked)
            body = answer["Body"]
            try:
                check_range(shown, {"Content-Range": answer.get("ContentRange", "")}, begin, end, found.size)
                if _pin(shown, answer, found.pin) != found.pin:
                    raise SourceError(f"{shown}: the object changed since it was resolved")
                while piece := sync(self.filesystem.loop, _some, body):
                    yield piece
            finally:
                self.filesystem.loop.call_soon_threadsafe(body.close)

    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.filesystem.call_s3(method, Bucket=self.name, **arguments)
        return answer

    def _shown(self, key: str) -> str:
        return printable(f"s3://{self.name}/{key}")


async def _some(body: Any) -> bytes:
    """Return about CHUNK bytes of a body, nothing at its end: its own pieces are as small as the network's."""
    pieces, size = [], 0
    while size < CHUNK and (piece := await body.read(CHUNK - size)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _condition(pin: Pin | None) -> dict[str, str]:
    """Return the parameters under which a request is answered with one version alone."""
    if pin is None:
        return {}
    return {"VersionId": pin.value} if pin.kind == "version" else {"IfMatch": f'"{pin.value}"'}


def _found(shown: str, key: str, answer: dict[str, Any], asked: Pin | None) -> Found:
    pin = _pin(shown, answer, asked)
    return Found(key=key, size=int(answer["ContentLength"]), pin=pin, sha256=_sha256(answer))


def _pin(shown: str, answer: dict[str, Any], asked: Pin | None) -> Pin:
    """Return what an answer says of the version that it is about, in the terms in which it was asked for."""
    version, tag = str(answer.get("VersionId") or ""), _tag(answer)
    if version not in _UNVERSIONED and (asked is None or asked.kind == "version"):
        return Pin("version", version)
    if not tag:
        raise SourceError(f"{shown}: the store gives neither a version nor an entity tag")
    return Pin("etag", tag)


def _tag(answer: dict[str, Any]) -> str:
    """Return the entity tag without its quotes."""
    return str(answer.get("ETag") or "").strip('"')


def _sha256(answer: dict[str, Any]) -> str:
    """Return the SHA-256 of all bytes in hexadecimal; nothing when it is composed from those of parts.

    A server that does not say which it is composes it when the entity tag counts parts.
    """
    text = str(answer.get("ChecksumSHA256") or "")
    kind = answer.get("ChecksumType") or ("COMPOSITE" if "-" in _tag(answer) else "FULL_OBJECT")
    if not text or kind != "FULL_OBJECT":
        return ""
    try:
        digest = base64.b64decode(text, validate=True)
    except binascii.Error:
        return ""
    return digest.hex() if len(digest) == 32 else ""


def _status(error: Exception) -> int:
    """Return the HTTP status behind an error of s3fs, 0 when no answer came."""
    cause = error.__cause__ if isinstance(error, OSError) else error
    if isinstance(cause, botocore.exceptions.ClientError):
        return int(cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", NO_REQUEST))
    lost = (
        botocore.exceptions.ConnectionError,
        botocore.exceptions.HTTPClientError,
        botocore.exceptions.IncompleteReadError,
        aiohttp.ClientError,
        TimeoutError,
        ConnectionError,
    )
    return 0 if isinstance(error, lost) else NO_REQUEST
