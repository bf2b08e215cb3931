"""What a literal looks like that holds a program, and which callables would run it.

Raw, a program begins as one of the formats that can hold one; encoded, as base64 or hexadecimal of such a beginning.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from weighbridge.symbols import Global, Value

PROGRAM_LENGTH: Final = 24  # the shortest literal worth a look: an import and a call take more
ARGUMENT_LENGTH: Final = 8  # the shortest that is an argument
RAW: Final = rb"\x80[\x02-\x05]|PK\x03\x04|\x1f\x8b\x08|x[\x01\x5e\x9c\xda]|\x93NUMPY|\(?[ci][A-Za-z_][\w.]*\n[A-Za-z_]"
SHORT: Final = rb"\x80[\x02-\x05]|x[\x01\x5e\x9c\xda]"  # those of which two bytes are all that tells
# base64 of 80 02..05, of "PK\3\4", of a gzip header, of a text pickle's "c…" and "(c…"; hexadecimal of the first.
BASE64: Final = r"(?:gA[I-X]|UEsDB|H4sI|Y[0-9A-Za-z+/]|K[GM])[A-Za-z0-9+/\s_-]{16,}={0,2}\s*"
HEXADECIMAL: Final = r"(?:80 ?0[2-5]|63|28 ?63)(?:\s?[0-9a-fA-F]{2}){12,}\s*"
# How any of them begins: where this does not match, none of them does.
BEGINNING: Final = RAW + rb"|gA[I-X]|UEsDB|H4sI|Y[0-9A-Za-z+/]|K[GM]|80 ?0[2-5]|63|28 ?63"
# How a text begins that is such bytes once it is encoded as Latin-1.
LATIN_BEGINNING: Final = BEGINNING + rb"|\xc2\x80[\x02-\x05]|\x1f\xc2\x8b\x08|x(?:\xc2\x9c|\xc3\x9a)|\xc2\x93NUMPY"
# The first bytes of what matches it, to be looked at before.
PROGRAM_STARTS: Final = frozenset(b"\x80P\x1fx\x93(cigUHYK862")

# Latin-1 text is how protocol 2 writes bytes.
ENCODERS: Final = frozenset({"_codecs.encode", "codecs.encode"})


def begins(data: bytes, at: int = 0) -> bool:
    """Tell whether the bytes from `at` on begin as a program in a literal does."""
    return _beginning().match(data, at) is not None


@lru_cache(maxsize=1)
def _beginning() -> re.Pattern[bytes]:
    return re.compile(BEGINNING)  # takes 0.3 ms that not every scan needs


def loads(function: Value) -> bool:
    """Tell whether a callable's name says that it loads a program from bytes, whatever these look like."""
    return isinstance(function, Global) and _says_so(function.name)


@lru_cache(maxsize=1024)
def _says_so(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last in ("loads", "_loads", "_load_from_bytes") or "unpickle" in last.lower()
