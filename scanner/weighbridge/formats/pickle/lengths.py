"""Regular expressions of literals that say their length themselves."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from weighbridge.formats.pickle.embedded import BEGINNING

TEXTS: Final = b"\x8cX"  # SHORT_BINUNICODE, BINUNICODE


@lru_cache(maxsize=64)
def lengths(opcode: int, zeros: int, most: int, looked: int, beginning: bytes = BEGINNING) -> bytes:
    """Return the pattern of a literal of up to `most` bytes; a text's length and content are a group of it.

    From `looked` bytes on it must not begin as a program does.
    `zeros` are the upper bytes of its length. A regular expression cannot count, so each length is a choice of its own;
    the engine tells 100 of them apart in 0.1 µs, and compiles each in 10 µs.
    """
    short = [_length(n, zeros) for n in range(min(most + 1, looked))]
    long = [_length(n, zeros) for n in range(looked, most + 1)]
    if long:
        short.append(b"(?!.{%d}(?:%b))(?:%b)" % (1 + zeros, beginning, b"|".join(long)))
    group = b"(" if opcode in TEXTS else b"(?:"
    return re.escape(bytes((opcode,))) + group + b"|".join(short) + b")"


def _length(size: int, zeros: int) -> bytes:
    return re.escape(bytes((size,)) + bytes(zeros)) + b".{%d}" % size
