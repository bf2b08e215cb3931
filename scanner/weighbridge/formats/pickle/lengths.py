"""Regular expressions of literals that say their length themselves."""

from __future__ import annotations

import re
from functools import lru_cache

from weighbridge.formats.pickle.embedded import BEGINNING


@lru_cache(maxsize=64)
def lengths(opcode: int, zeros: int, most: int, looked: int) -> bytes:
    """Return the pattern of a literal of up to `most` bytes; from `looked` on it must not begin as a program does.

    `zeros` are the upper bytes of its length. A regular expression cannot count, so each length is a choice of its own;
    the engine tells 100 of them apart in 0.1 µs, and compiles each in 10 µs.
    """
    short = [_length(n, zeros) for n in range(min(most + 1, looked))]
    long = [_length(n, zeros) for n in range(looked, most + 1)]
    if long:
        short.append(b"(?!.{%d}(?:%b))(?:%b)" % (1 + zeros, BEGINNING, b"|".join(long)))
    return re.escape(bytes((opcode,))) + b"(?:" + b"|".join(short) + b")"


def _length(size: int, zeros: int) -> bytes:
    return re.escape(bytes((size,)) + bytes(zeros)) + b".{%d}" % size
