"""Models in object stores: `s3://bucket/key`, `gs://bucket/key`, `az://container/key`, and everything below a prefix.

The fsspec file system of each store brings the credentials, the endpoint and the connections; how its bytes are asked
for is decided here. Its own reads fetch blocks of up to 50 MB, take whatever comes back, and follow an object that is
replaced between two of them.

An object is pinned to its version (S3) or generation (Google), which names the same bytes for ever; where there is
none, to its entity tag, under which the bytes can be read until they are replaced. The revision of a prefix is the
digest of such a list: it tells when anything changed, and cannot bring back what is gone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Final

from weighbridge.artifact import MAX_FILES, Artifact, File
from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UsageError
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.registries.base import Remote, Settings
from weighbridge.registries.objects.bucket import Bucket, Found, Made, Pin, fetched

_KINDS: Final = {"s3": ("version", "etag"), "gs": ("generation",), "az": ("version", "etag")}
_TREE: Final = "tree"
_TREE_VERSION: Final = b"weighbridge objects 1\n"
_PINNED: Final = re.compile(r"(.*)@(version|etag|generation|tree):([^\s]{1,1024})", re.DOTALL)
_BUCKET: Final = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{0,254}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A reference in parts; `pin` is of the kind `tree` for a prefix, None when the reference names no revision."""

    scheme: str
    bucket: str
    key: str
    pin: Pin | None

    @property
    def name(self) -> str:
        """The reference without a revision."""
        return f"{self.scheme}://{self.bucket}/{self.key}"


class Objects:
    """Object stores, each through the fsspec file system of an optional extra."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stores: dict[str, Callable[[str], Bucket]] = {}

    def resolve(self, reference: str) -> Artifact:
        """Return the object, or all objects below the prefix, that a reference means now.

        `s3://bucket/folder/` is a prefix; without the slash it is the object of that name if there is one.
        Raises UsageError when the reference cannot be read, SourceError when nothing is there, the store
        refuses, its extra is not installed, or what is there is not the pinned revision.
        """
        place = _parse(reference)
        bucket = self._bucket(place)
        if place.key and not place.key.endswith("/") and (place.pin is None or place.pin.kind != _TREE):
            found = bucket.stat(place.key, place.pin)
            if found is not None and place.pin in (None, found.pin):
                return self._object(place, found)
            if place.pin is not None:
                raise SourceError(f"{printable(place.name)}: there is no such object or no such revision of it")
        return self._prefix(place, bucket)

    def open(self, artifact: Artifact, file: File) -> Remote:
        """Return the bytes of an object, at the version or entity tag that `resolve` saw."""
        return self.at(object_reference(artifact, file), file.size)

    def at(self, reference: str, size: int) -> Remote:
        """Return the bytes of the object of `size` bytes that a pinned reference names, whether it exists or not."""
        place = _parse(reference)
        if place.pin is None or place.pin.kind == _TREE:
            raise UsageError(f"{printable(reference)}: not an object at a revision")
        found = Found(key=place.key, size=size, pin=place.pin)
        return _Object(bucket=self._bucket(place), found=found, size=size, retries=self._settings.retries)

    def _bucket(self, place: _Place) -> Bucket:
        """Return the bucket of a reference, through one file system per scheme."""
        if self._settings.offline:
            raise SourceError(f"{printable(place.name)}: not read, because connections are switched off (offline)")
        if place.scheme not in self._stores:
            self._stores[place.scheme] = _maker(place.scheme)(self._settings)
        return self._stores[place.scheme](place.bucket)

    def _object(self, place: _Place, found: Found) -> Artifact:
        """Return the artifact of one object."""
        requested = str(place.pin) if place.pin else ""
        self._tell(place.name, requested, str(found.pin))
        file = _file(place.key.rpartition("/")[2], found)
        return Artifact(reference=place.name, requested=requested, revision=str(found.pin), files=(file,))

    def _prefix(self, place: _Place, bucket: Bucket) -> Artifact:
        """Return the artifact of all objects below a prefix."""
        prefix = f"{place.key}/" if place.key and not place.key.endswith("/") else place.key
        name, shown = f"{place.scheme}://{place.bucket}/{prefix}", printable(place.name)
        files = []
        for found in bucket.below(prefix):
            if not found.key.startswith(prefix):
                raise SourceError(f"{shown}: the store lists {found.key!a}, which is not below it")
            path = found.key.removeprefix(prefix)
            if found.size or (path and not path.endswith("/")):  # what consoles make to show an empty folder is no file
                files.append(_file(path, found))
            if len(files) > MAX_FILES:
                raise SourceError(f"{shown}: more than {MAX_FILES} objects")
        if not files:
            raise SourceError(f"{shown}: there is no such object, and none below it")
        files.sort(key=lambda file: file.path)
        revision, requested = _tree(files), str(place.pin) if place.pin else ""
        if requested and requested != revision:
            raise SourceError(f"{shown}: the objects are {revision}, not {printable(requested)}")
        self._tell(name, requested, revision)
        return Artifact(reference=name, requested=requested, revision=revision, files=tuple(files))

    def _tell(self, name: str, requested: str, revision: str) -> None:
        if not requested:
            self._settings.notice(f"{printable(name)} is {printable(revision)} now")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    """The bytes of an object at a version."""

    bucket: Bucket
    found: Found
    size: int
    retries: int

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes at `offset`."""
        return fetched(lambda: b"".join(self.stream(offset, offset + count)), self.retries)

    def stream(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `begin` up to `end` as they arrive.

        Raises UnavailableError when the answer breaks off, SourceError when the object changed or is gone.
        """
        shown = printable(self.found.key)
        if not 0 <= begin <= end <= self.size:
            raise SourceError(f"{shown}: bytes {begin} to {end} are outside of {self.size}")
        count = begin
        for piece in self.bucket.fetch(self.found, begin, end) if begin < end else ():
            count += len(piece)
            if count > end:
                break
            yield piece
        if count != end:
            raise SourceError(f"{shown}: the store sends other than the {end - begin} bytes that were asked for")


def _parse(reference: str) -> _Place:
    """Split a reference; raise UsageError when it names no bucket or a revision that its store does not have."""
    scheme, _, rest = reference.partition("://")
    scheme, shown = scheme.lower(), printable(reference)
    pinned = _PINNED.fullmatch(rest)
    path, pin = (pinned[1], Pin(pinned[2], pinned[3])) if pinned else (rest, None)
    bucket, _, key = path.partition("/")
    if not _BUCKET.fullmatch(bucket) or not reference.isprintable():
        raise UsageError(f"{shown}: a reference is {scheme}://bucket/key or {scheme}://bucket/prefix/")
    if pin is not None and pin.kind not in (*_KINDS[scheme], _TREE):
        kinds = ", ".join(f"{kind}:…" for kind in _KINDS[scheme])
        raise UsageError(f"{shown}: a revision of {scheme}:// is {kinds} or, of a prefix, tree:…")
    return _Place(scheme=scheme, bucket=bucket, key=key, pin=pin)


def object_reference(artifact: Artifact, file: File) -> str:
    """Return the pinned reference of one object of an artifact that `Objects` resolved."""
    name = artifact.reference + file.path if artifact.reference.endswith("/") else artifact.reference
    return f"{name}@{file.key}"


def _file(path: str, found: Found) -> File:
    claims = (Digest("sha256", found.sha256),) if found.sha256 else ()
    return File(path=path, size=found.size, claims=claims, key=str(found.pin))


def _tree(files: list[File]) -> str:
    """Return the revision of a prefix: a digest of what every object below it is pinned to, files sorted by path."""
    tree = hashlib.sha256(_TREE_VERSION)
    for file in files:
        path = file.path.encode("utf-8", "surrogatepass")
        tree.update(b"%s %d %d %s\n" % (file.key.encode(), file.size, len(path), path))
    return f"{_TREE}:{tree.hexdigest()}"


def _maker(scheme: str) -> Made:
    """Return what connects to the stores of a scheme; raise SourceError when its extra is not installed."""
    try:
        if scheme == "s3":
            from weighbridge.registries.objects.s3 import connect
        elif scheme == "gs":
            from weighbridge.registries.objects.google import connect
        else:
            from weighbridge.registries.objects.azure import connect
    except ImportError as error:
        extra = {"s3": "s3", "gs": "gcs", "az": "azure"}[scheme]
        raise SourceError(f"{scheme}:// needs {error.name}: pip install 'weighbridge[{extra}]'") from error
    return connect
