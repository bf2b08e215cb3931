"""An OCI registry in memory that can lie, and the servers it sends clients to: honest until a test changes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from servers.registry import Descriptor, digest_of
from servers.serving import Blob, Faults, Reply, Request, Server

Answer = Callable[[Request], Reply]


class Site:
    """A running server: `answer` may be replaced at any time, `asked` are the requests."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Request] = []
        self.server = Server(self._answer, Faults())
        self.origin = self.server.origin
        self.host = self.origin.partition("://")[2]

    @property
    def secrets(self) -> list[str]:
        """Every credential that arrived here, in order."""
        return [request.headers["Authorization"] for request in self.asked if "Authorization" in request.headers]

    def _answer(self, request: Request) -> Reply:
        self.asked.append(request)
        return self.answer(request)


class FakeRegistry(Site):
    """What the registry holds, and how it misbehaves.

    `replies` are answers to what begins with a path and stand before everything else; `headers` are added to the
    answers for manifests; `blobs_at` is an origin that blobs are redirected to. With a `challenge`, only requests with
    one of `openers` as their Authorization are served.
    """

    def __init__(self) -> None:
        super().__init__(self._serve)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.replies: dict[str, Reply] = {}
        self.headers: dict[str, str] = {}
        self.blobs_at = ""
        self.challenge = ""
        self.openers: set[str] = set()

    def blob(self, repository: str, data: bytes, media_type: str, **more: Any) -> Descriptor:
        """Keep a blob and return its descriptor."""
        self.blobs[digest_of(data)] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}

    def manifest(self, repository: str, document: dict[str, Any], tag: str = "", **more: Any) -> Descriptor:
        """Keep a manifest under its digest and tag and return its descriptor."""
        data, media_type = json.dumps(document).encode(), document.get("mediaType", "")
        for name in filter(None, (digest_of(data), tag)):
            self.manifests[name] = media_type, data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}

    def _serve(self, request: Request) -> Reply:
        if self.challenge and request.headers.get("Authorization") not in self.openers:
            return Reply(401, {"WWW-Authenticate": self.challenge}, b"{}")
        for path, reply in self.replies.items():
            if request.target.startswith(path):
                return reply
        kind, name = (re.findall(r"/(manifests|blobs)/([^/]+)$", request.path) or [("", "")])[-1]
        if kind == "manifests" and name in self.manifests:
            media_type, data = self.manifests[name]
            return Reply(200, {"Content-Type": media_type, **self.headers}, data)
        if kind == "blobs" and name in self.blobs:
            if self.blobs_at:
                return Reply(307, {"Location": f"{self.blobs_at}/{name}?signature=s3cr3t"})
            return Reply(blob=Blob(self.blobs[name]))
        return Reply(404, {}, b"{}")


@contextmanager
def fake_registry() -> Iterator[FakeRegistry]:
    """Run a registry."""
    registry = FakeRegistry()
    try:
        yield registry
    finally:
        registry.server.close()


@contextmanager
def site(answer: Answer) -> Iterator[Site]:
    """Run a server of another kind, such as one for tokens."""
    running = Site(answer)
    try:
        yield running
    finally:
        running.server.close()
