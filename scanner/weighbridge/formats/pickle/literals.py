"""Operands of the text opcodes, read as CPython's C unpickler reads them.

`pickletools` is stricter (no hexadecimal INT, no NUL) or laxer in places; a scanner that follows it can be
made to stop before the payload. What no pickler writes is read all the same and named an anomaly.

Source: CPython Modules/_pickle.c, `load_int`, `load_long`, `load_float`, `load_string`, `load_get`.
"""

from __future__ import annotations

import re
from typing import Final

from weighbridge.symbols import Span, Value

# CPython refuses to convert longer decimal strings (sys.int_info.default_max_str_digits).
DIGITS_LIMIT: Final = 4300

_INT: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_LONG: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)L")
_FLOAT: Final = re.compile(rb"-?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|inf|nan)")
_INDEX: Final = re.compile(rb"0|[1-9][0-9]*")
_ESCAPE: Final = re.compile(rb"\\(\n|[\\'\"abfnrtv]|[0-7]{1,3}|x[0-9a-fA-F]{2})")
_SIMPLE: Final = {
    b"\n": b"",
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
}


def integer(text: bytes) -> tuple[Value, bool]:
    """Return the value of an INT operand and whether a pickler could have written it.

    >>> integer(b"0x10"), integer(b"01"), integer(b"7")
    ((16, False), (True, True), (7, True))
    """
    if text in (b"00", b"01"):
        return text == b"01", True
    if text.startswith(b"\0"):
        return 0, False  # what strtol makes of no digits in front of a NUL
    return _number(text, 0), _INT.fullmatch(text) is not None


def long(text: bytes) -> tuple[Value, bool]:
    """Return the value of a LONG operand and whether a pickler could have written it."""
    digits = text.split(b"\0")[0]
    return _number(digits[:-1] if digits.endswith(b"L") else digits, 0), _LONG.fullmatch(text) is not None


def floating(text: bytes) -> tuple[Value, bool]:
    """Return the value of a FLOAT operand and whether a pickler could have written it."""
    if b"_" in text:
        raise ValueError("underscore in a FLOAT operand")
    return float(text.split(b"\0")[0]), _FLOAT.fullmatch(text) is not None


def index(text: bytes) -> tuple[int, bool]:
    """Return the memo index of a GET or PUT operand and whether a pickler could have written it."""
    if len(text) > DIGITS_LIMIT:
        raise ValueError("memo index is too long")
    value = int(text.split(b"\0")[0])
    if value < 0:
        raise ValueError("negative memo index")
    return value, _INDEX.fullmatch(text) is not None


def quoted(text: bytes) -> str:
    r"""Return the value of a STRING operand; raise ValueError when it is not quoted.

    >>> quoted(b"'a\\x41\\n'")
    'aA\n'
    """
    if len(text) < 2 or text[0] != text[-1] or text[:1] not in (b"'", b'"'):
        raise ValueError("the STRING opcode argument must be quoted")
    return _ESCAPE.sub(_unescape, text[1:-1]).decode("latin-1")


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code[:1] == b"x":
        return bytes((int(code[1:], 16),))
    if code[:1].isdigit():
        return bytes((int(code, 8) & 0xFF,))
    return _SIMPLE.get(code, code)


def _number(text: bytes, base: int) -> Value:
    text = text.split(b"\0")[0]
    if len(text) > DIGITS_LIMIT:
        return Span(0, len(text), "int")
    try:
        return int(text, base)
    except ValueError:
        # C's strtol reads `010` as octal where Python's int(…, 0) refuses.
        return int(text, 8)
