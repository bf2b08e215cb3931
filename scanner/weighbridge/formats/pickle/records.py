r"""Runs of flat records in a list: a table of a million rows is one shape a million times over.

The shape of the first record (`{'id': 7, 'name': 'x', 'score': 0.5}` or `(7, 'x', 0.5)`) becomes a regular expression
over its opcodes, with the operands left open, and the regular expression engine steps over all records of that shape in
a fifth of the time that the machine takes. Such a record holds numbers and short strings only: nothing in it can run,
so one symbolic record, its values elided, stands for all of them.

What a record puts into the memo is left out. A stream that asks for it later is run again without this.
"""

from __future__ import annotations

import re
from functools import lru_cache
from struct import Struct
from typing import Final

from weighbridge.symbols import ELIDED, ELIDED_INT, ELIDED_TEXT, Dict, Value

LEAST: Final = 8  # records that make a run worth a regular expression
LEAST_BYTES: Final = 1 << 12
MOST_TOKENS: Final = 64  # of one record
TEXT_LIMIT: Final = 24  # longer strings may hold programs and are the machine's

_U32: Final = Struct("<I").unpack_from
_SIZES: Final = {0x4B: 2, 0x4D: 3, 0x4A: 5, 0x47: 9, 0x4E: 1, 0x88: 1, 0x89: 1, 0x68: 2, 0x6A: 5}
_INT: Final = rb"(?:K.|M..|J....)"
_FLOAT: Final = rb"G.{8}"
_CONSTANT: Final = rb"[N\x88\x89]"
_TEXT: Final = rb"\x8c(?:" + b"|".join(re.escape(bytes((n,))) + b".{%d}" % n for n in range(TEXT_LIMIT + 1)) + b")"
_OPENERS: Final = {0x7D: b"u", 0x5D: b"e"}  # EMPTY_DICT … SETITEMS, EMPTY_LIST … APPENDS
_PLAIN: Final = frozenset({str, int, float, bool, type(None), bytes})


class Shape:
    """The shape of a record: a regular expression, what stands for it, and how many memo entries it makes."""

    __slots__ = ("entries", "pattern", "record")

    def __init__(self, pattern: bytes, record: Value, entries: int) -> None:
        self.pattern = pattern
        self.record = record
        self.entries = entries


@lru_cache(maxsize=64)
def _compiled(pattern: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    return re.compile(b"(?:" + pattern + b")+", re.DOTALL), re.compile(pattern, re.DOTALL)


def take_records(buf: bytes, i: int, limit: int, memo: dict[int, Value]) -> tuple[int, int, Shape] | None:
    """Return (where the run ends, how many records, their shape) of a run at `i`, None when there is none.

    The last record is left to the machine unless APPENDS follows, so that nothing can change what stands for all.
    """
    if limit - i < LEAST_BYTES:
        return None
    first = _shape(buf, i, limit, memo)
    if first is None:
        return None
    shape, end = first
    second = _shape(buf, end, limit, memo)
    if second is None or second[0].pattern != shape.pattern:
        return None
    several, one = _compiled(shape.pattern)
    run = several.match(buf, i, limit)
    if run is None:
        return None
    records = one.findall(buf, i, run.end())
    end = run.end()
    if end >= limit or buf[end] != 0x65:
        end -= len(records.pop())
    return (end, len(records), shape) if len(records) >= LEAST else None


def _shape(buf: bytes, i: int, limit: int, memo: dict[int, Value]) -> tuple[Shape, int] | None:
    """Return the shape of the flat record at `i` and where it ends, None when what stands there is something else."""
    closer = _OPENERS.get(buf[i])
    pattern, entries = b"", 0
    if closer is not None:
        pattern, i = re.escape(buf[i : i + 1]), i + 1
        if buf[i] == 0x94:
            pattern, entries, i = pattern + b"\x94", 1, i + 1
    marked = buf[i] == 0x28
    if marked:
        pattern, i = pattern + rb"\(", i + 1
    elif closer is not None:
        return None
    values: list[Value] = []
    for _ in range(MOST_TOKENS):
        if i + TEXT_LIMIT + 3 >= limit:
            return None
        token = _token(buf, i, memo)
        if token is None:
            break
        piece, value, size, kept = token
        pattern, entries, i = pattern + piece, entries + kept, i + size
        values.append(value)
    record, last = _close(buf[i], closer, marked, values)
    if record is None:
        return None
    pattern, i = pattern + re.escape(last), i + 1
    if closer is None and buf[i] == 0x94:
        pattern, entries, i = pattern + b"\x94", entries + 1, i + 1
    return Shape(pattern, record, entries), i


def _token(buf: bytes, i: int, memo: dict[int, Value]) -> tuple[bytes, Value, int, int] | None:
    """Return (pattern, stand-in, size, memo entries) of the plain value at `i`."""
    op = buf[i]
    if op == 0x8C:
        size = buf[i + 1]
        if size > TEXT_LIMIT:
            return None
        kept = buf[i + 2 + size] == 0x94
        return _TEXT + (b"\x94" if kept else b""), ELIDED_TEXT, 2 + size + kept, int(kept)
    size = _SIZES.get(op, 0)
    if op in (0x4B, 0x4D, 0x4A):
        return _INT, ELIDED_INT, size, 0
    if op == 0x47:
        return _FLOAT, ELIDED, size, 0
    if op in (0x4E, 0x88, 0x89):
        return _CONSTANT, None, size, 0
    if op in (0x68, 0x6A):
        value = memo.get(buf[i + 1] if op == 0x68 else _U32(buf, i + 1)[0], memo)
        return (re.escape(buf[i : i + size]), value, size, 0) if type(value) in _PLAIN else None
    return None


def _close(op: int, closer: bytes | None, marked: bool, values: list[Value]) -> tuple[Value, bytes]:
    """Return the record that `op` makes of the values, and `op` as a pattern; None when it makes none."""
    if closer is not None:
        if op != closer[0] or (closer == b"u" and len(values) & 1):
            return None, b""
        return (Dict(values) if closer == b"u" else values), closer
    if marked and op == 0x74:
        return tuple(values), b"t"
    if not marked and 0x85 <= op <= 0x87 and len(values) == op - 0x84:
        return tuple(values), bytes((op,))
    return None, b""
