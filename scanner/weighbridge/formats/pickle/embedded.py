"""What a literal looks like that holds a program, and which callables would run it.

Raw, a program begins as one of the formats that can hold one; encoded, as base64 or hexadecimal of such a beginning.
"""

from __future__ import annotations

from typing import Final

from weighbridge.symbols import Global, Value

PROGRAM_LENGTH: Final = 24  # the shortest literal worth a look: an import and a call take more
ARGUMENT_LENGTH: Final = 8  # the shortest that is an argument
# First bytes of a program in a literal: a pickle, zip, gzip, zlib or npy; base64 or hexadecimal of one; a text pickle.
PROGRAM_STARTS: Final = frozenset(b"\x80P\x1fgUHk8x5\x93c(")

RAW: Final = rb"\x80[\x02-\x05]|PK\x03\x04|\x1f\x8b\x08|x[\x01\x5e\x9c\xda]|\x93NUMPY|\(?[ci][A-Za-z_][\w.]*\n[A-Za-z_]"
# base64 of 80 02..05, of "PK\3\4", of a gzip header, of a text pickle's "c…" and "(c…"; hexadecimal of the first.
BASE64: Final = r"(?:gA[I-VJ]|UEsDB|H4sI|Y[0-9A-Za-z+/]|K[GM])[A-Za-z0-9+/\s_-]{16,}={0,2}\s*"
HEXADECIMAL: Final = r"(?:80 ?0[2-5]|63|28 ?63)(?:\s?[0-9a-fA-F]{2}){12,}\s*"
# How any of them begins: where this does not match, none of them does.
BEGINNING: Final = RAW + rb"|gA[I-VJ]|UEsDB|H4sI|Y[0-9A-Za-z+/]|K[GM]|80 ?0[2-5]|63|28 ?63"

# Latin-1 text is how protocol 2 writes bytes.
ENCODERS: Final = frozenset({"_codecs.encode", "codecs.encode"})


def loads(function: Value) -> bool:
    """Tell whether a callable's name says that it loads a program from bytes, whatever these look like."""
    if not isinstance(function, Global):
        return False
    last = function.name.rpartition(".")[2]
    return last in ("loads", "_loads", "_load_from_bytes") or "unpickle" in last.lower()
