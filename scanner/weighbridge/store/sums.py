"""Digests of bytes that pass once: the sha256 that names them here, and whatever else a registry declares of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from weighbridge.digest import Digest
from weighbridge.errors import SourceError
from weighbridge.location import printable

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
