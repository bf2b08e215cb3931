"""Digests of files and of pieces of files, in one pass over their bytes.

The algorithms are those that signers of models use. BLAKE3 takes a library that is optional.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from weighbridge.records import dataclass
from weighbridge.refusals import SignatureUnsupported

# Bytes in a digest, by algorithm.
SIZES: Final = {"sha256": 32, "blake2b": 64, "blake3": 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which digests of a file are wanted: of the pieces that end at these offsets, of the whole when there are none."""

    algorithm: str = "sha256"
    ends: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A file as it was read: its size, its sha256, and the digests that its plan asks for, in hexadecimal.

    A piece of a plan that lies beyond the end of the file has no digest.
    """

    size: int
    sha256: str
    digests: tuple[str, ...]


class Hash(Protocol):
    """A digest of bytes that come piece by piece."""

    def update(self, data: memoryview, /) -> object:
        """Add the next bytes."""

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far."""


def measure_descriptor(descriptor: int, plan: Plan, buffer: memoryview) -> Measured:
    """Return an open file measured from where it stands to its end, through a buffer.

    The sha256 of the whole is always taken: it is what binds a file wherever digests are compared here.
    """
    make = hasher(plan.algorithm)
    whole = hashlib.sha256()
    piece: Hash | None = None
    if plan.ends or plan.algorithm != "sha256":
        piece = make()
    ends, size, digests = deque(plan.ends), 0, []
    with open(descriptor, "rb", buffering=0, closefd=False) as raw:
        while count := raw.readinto(buffer):
            whole.update(buffer[:count])
            begin = 0
            while piece is not None and begin < count:
                end = min(count, ends[0] - size) if ends else count
                piece.update(buffer[begin:end])
                begin = end
                if ends and size + end == ends[0]:
                    digests.append(piece.hexdigest())
                    ends.popleft()
                    piece = make() if ends else None
            size += count
    sha256 = whole.hexdigest()
    if not plan.ends:
        digests = [sha256 if piece is None else piece.hexdigest()]
    return Measured(size=size, sha256=sha256, digests=tuple(digests))


def simplest(plan: Plan, size: int) -> Plan:
    """Return a plan, without its one piece when that is the whole file."""
    return Plan() if plan.algorithm == "sha256" and plan.ends == (size,) else plan


def hasher(algorithm: str) -> Callable[[], Hash]:
    """Return what begins a digest; `algorithm` is one of SIZES.

    Raises SignatureUnsupported when it takes a library that is not installed.
    """
    match algorithm:
        case "sha256":
            return hashlib.sha256
        case "blake2b":
            return hashlib.blake2b
    try:
        from blake3 import blake3
    except ImportError as error:
        reason = "its digests are BLAKE3, which takes a library that is not installed"
        raise SignatureUnsupported("signature", reason, "pip install 'weighbridge[blake3]'") from error
    return blake3
