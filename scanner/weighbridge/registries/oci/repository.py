"""One repository of an OCI registry: manifests, blobs and referrers, every byte of them checked against its digest.

Specification: OCI distribution specification 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import quote, urljoin

from weighbridge.digest import Digest
from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.registries.http import Answer, Ranges, Session, origin
from weighbridge.registries.oci.auth import Access
from weighbridge.registries.oci.manifest import ACCEPT, LIMIT, Descriptor, Index, Manifest, decode
from weighbridge.registries.oci.reference import DIGEST, Reference

MAX_PAGES: Final = 64  # of referrers; each may list thousands
MAX_REFERRERS: Final = 10_000
_NEXT: Final = re.compile(r'<([^<>]{1,2000})>[^,]*;\s*rel="?next"?')


class Repository:
    """A client of one repository; safe to share between threads."""

    def __init__(self, session: Session, reference: Reference, access: Access) -> None:
        self._session = session
        self._reference = reference
        self._access = access
        self.name = reference.canonical

    def manifest(self, asked: str, size: int | None = None) -> Manifest | Index:
        """Return what stands under a tag or digest; `size` is what an index or referrer declared.

        Raises SourceError when there is nothing, or not what was asked for.
        """
        answer = self._get(f"manifests/{asked}", accept=(200, 404))
        name = f"{self.name}{'@' if DIGEST.fullmatch(asked) else ':'}{asked}"
        if answer.status == 404:
            raise SourceError(f"{name}: there is no such repository, tag or manifest")
        return self._decoded(answer, asked, name, size)

    def blob(self, blob: Descriptor, *, limit: int) -> bytes:
        """Return a small blob whole; raise SourceError when it is over `limit` bytes or not what was described."""
        name = f"{self.name}: blob {blob.digest}"
        if blob.size > limit:
            raise SourceError(f"{name}: {blob.size} bytes, limit is {limit}")
        if not blob.size:
            return _checked(b"", blob.digest, 0, name)
        return _checked(self._get(f"blobs/{blob.digest}", limit=blob.size).body, blob.digest, blob.size, name)

    def remote(self, digest: str, size: int, *, name: str) -> Ranges:
        """Return the bytes of a blob by range; whoever reads it to its end compares the digest."""
        url = f"{self._reference.api}/blobs/{digest}"

        def renew() -> str:
            self._access.forget()
            return url

        return self._session.remote(url, size, name=name, headers=self._access.headers, renew=renew)

    def referrers(self, digest: str, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """Return what refers to a manifest as its subject: signatures, attestations, bills of materials.

        A registry that does not know the question is asked for the tag under which clients list them instead. Only
        what has the artifact type is returned, if one is given. A registry can leave any of them out, and what is
        listed is a claim until its own manifest names the digest as its subject.
        """
        found: dict[str, Descriptor] = {}
        for index in self._lists(digest, artifact_type):
            found |= {child.digest: child for child in index.manifests}
            if len(found) > MAX_REFERRERS:
                raise SourceError(f"{self.name}@{digest}: over {MAX_REFERRERS} referrers")
        return tuple(one for one in found.values() if not artifact_type or one.artifact_type == artifact_type)

    def _lists(self, digest: str, artifact_type: str) -> Iterator[Index]:
        if not DIGEST.fullmatch(digest):
            raise SourceError(f"{self.name}: {printable(digest)!r} is not a digest of sha256")
        query = f"?artifactType={quote(artifact_type, safe='')}" if artifact_type else ""
        path = f"referrers/{digest}{query}"
        for _ in range(MAX_PAGES):
            answer = self._get(path, accept=(200, 404, 405))
            if answer.status != 200:
                yield from self._tagged(digest)
                return
            yield self._index(answer, f"{self.name}: referrers of {digest}")
            following = _NEXT.search(answer.headers.get("link", ""))
            if following is None:
                return
            path = urljoin(answer.url, following[1])
            if origin(path) != origin(self._reference.api):
                raise SourceError(f"{self.name}: the referrers go on at another server, which is not asked")
        raise SourceError(f"{self.name}: over {MAX_PAGES} pages of referrers")

    def _tagged(self, digest: str) -> Iterator[Index]:
        """Yield the list that clients keep under a tag, if there is one."""
        answer = self._get(f"manifests/{digest.replace(':', '-')}", accept=(200, 404))
        if answer.status == 200:
            yield self._index(answer, f"{self.name}:{digest.replace(':', '-')}")

    def _index(self, answer: Answer, name: str) -> Index:
        found = self._decoded(answer, "", name, None)
        if not isinstance(found, Index):
            raise SourceError(f"{name}: not an index")
        return found

    def _decoded(self, answer: Answer, asked: str, name: str, size: int | None) -> Manifest | Index:
        """Return what a verified answer holds; the digest that the server states may not differ from the bytes'."""
        digest = str(Digest.of(answer.body))
        for wanted in (asked if DIGEST.fullmatch(asked) else "", answer.headers.get("docker-content-digest", "")):
            if wanted.startswith("sha256:"):
                _checked(answer.body, wanted, len(answer.body) if size is None else size, name)
        return decode(answer.body, answer.headers.get("content-type", ""), digest, name)

    def _get(self, path: str, *, limit: int = LIMIT, accept: Collection[int] = (200,)) -> Answer:
        """Return the answer to a request below the repository's URL, answering a challenge on the way."""
        url = urljoin(f"{self._reference.api}/", path)
        for attempt in range(2):
            headers = {"accept": ACCEPT, **self._access.headers}
            answer = self._session.get(url, limit=limit, headers=headers, accept={*accept, 401})
            if answer.status != 401:
                return answer
            if attempt == 0:
                self._access.answer(answer.headers.get("www-authenticate", ""))
        raise self._access.refused()


def _checked(body: bytes, digest: str, size: int, name: str) -> bytes:
    """Return bytes that are what was asked for; raise SourceError for others."""
    found = str(Digest.of(body))
    if (found, len(body)) != (digest, size):
        what = f"{len(body)} bytes of {found}, not {size} bytes of {printable(digest)}"
        raise SourceError(f"{name}: the registry sends {what}")
    return body
