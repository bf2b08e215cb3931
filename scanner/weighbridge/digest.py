"""Digests: the only identity of bytes that anything here trusts."""

from __future__ import annotations

import hashlib
import os
from typing import Final

from weighbridge.records import dataclass

# Large enough that the hash, not the read call, is the cost: 90 % or more of hashlib's
# own rate from 256 KiB on (benchmarks/speed.py); small enough to stay in the cache.
CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A digest with its algorithm.

    >>> str(Digest.of(b""))
    'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """

    algorithm: str
    value: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"

    @classmethod
    def of(cls, data: bytes | memoryview) -> Digest:
        """Return the sha256 of bytes in memory."""
        return cls("sha256", hashlib.sha256(data).hexdigest())

    @classmethod
    def of_descriptor(cls, descriptor: int) -> Digest:
        """Return the sha256 of an open file from its first byte to its last.

        Reads sequentially into one buffer, so that the pages of a
        large file pass through the page cache and never through this process's memory.
        """
        digest, buffer = hashlib.sha256(), bytearray(CHUNK)
        view = memoryview(buffer)
        os.lseek(descriptor, 0, os.SEEK_SET)
        with open(descriptor, "rb", buffering=0, closefd=False) as raw:
            while count := raw.readinto(view):
                digest.update(view[:count])
        return cls("sha256", digest.hexdigest())
