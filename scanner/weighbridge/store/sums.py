"""Digests of bytes that pass once: the sha256 that names them here, and whatever else a registry declares of them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from weighbridge.digest import Digest
from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.registries.base import LENT

if TYPE_CHECKING:
    from hashlib import _Hash

_HASHES: Final[dict[str, Callable[[int], _Hash]]] = {
    "sha256": lambda _: hashlib.sha256(),
    "sha384": lambda _: hashlib.sha384(),
    "sha512": lambda _: hashlib.sha512(),
    "sha1": lambda _: hashlib.sha1(usedforsecurity=False),
    "md5": lambda _: hashlib.md5(usedforsecurity=False),
    # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects: a blob is hashed with a header that has its size.
    "git-sha1": lambda size: hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False),
}
# Bytes from which on a piece takes longer to digest than to hand over.
_WORTH: Final = 64 << 10


class Sums:
    """The running digests of `size` bytes: sha256, and those of `claims`; `name` is what messages call them.

    Raises SourceError when a claim is made in an algorithm that nobody here can compute: it could not be compared.
    """

    def __init__(self, size: int, claims: tuple[Digest, ...], name: str) -> None:
        self.claims = claims
        unknown = [claim for claim in claims if claim.algorithm not in _HASHES]
        if unknown:
            declared = printable(str(unknown[0]))
            raise SourceError(f"{name}: the registry declares {declared}, which cannot be compared with anything")
        self._running = {name: _HASHES[name](size) for name in {"sha256", *(claim.algorithm for claim in claims)}}

    def update(self, piece: bytes | memoryview) -> None:
        """Add the next bytes."""
        for running in self._running.values():
            running.update(piece)

    @property
    def sha256(self) -> str:
        """The sha256 of all bytes so far."""
        return self._running["sha256"].hexdigest()

    def broken(self) -> tuple[Digest, Digest] | None:
        """Return the first claim that the bytes do not keep and what they have instead, None when they keep all."""
        for claim in self.claims:
            found = Digest(claim.algorithm, self._running[claim.algorithm].hexdigest())
            if found != claim:
                return claim, found
        return None


class Behind:
    """Adds pieces to digests in a thread of its own, in their order, while others arrive.

    At most LENT - 1 pieces wait, so their memory may be lent by a registry.
    """

    def __init__(self, sums: Sums) -> None:
        self._sums = sums
        self._thread = ThreadPoolExecutor(1, "digest")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def add(self, piece: bytes | memoryview) -> None:
        """Add the next bytes, now or soon."""
        if not self._waiting and len(piece) < _WORTH:
            self._sums.update(piece)
            return
        self._waiting.append(self._thread.submit(self._sums.update, piece))
        self.wait(LENT - 1)

    def wait(self, most: int = 0) -> None:
        """Wait until at most so many pieces are waiting."""
        while len(self._waiting) > most:
            self._waiting.popleft().result()
