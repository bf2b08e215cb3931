"""Plain items of dicts and members of lists and sets: vocabularies, records, states of objects.

They are most of what model files hold besides tensors. A loop of its own that knows it reads key, value, key, value, or
nothing but members, takes half the time of the machine's general one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from struct import Struct, pack
from typing import Final

from weighbridge.formats.pickle.embedded import ARGUMENT_LENGTH, PROGRAM_LENGTH, PROGRAM_STARTS, begins
from weighbridge.formats.pickle.lengths import lengths
from weighbridge.symbols import Value

SHORT: Final = 40  # bytes of a text up to which a regular expression takes several
LONG_LENGTH: Final = 16  # bytes of a long integer; longer ones are the machine's
_ASCII: Final = bytes(range(128))
_I32: Final = Struct("<i").unpack_from
_U32: Final = Struct("<I").unpack_from
_F64: Final = Struct(">d").unpack_from


def take_items(  # noqa: C901, PLR0912, PLR0915
    buf: bytes, i: int, limit: int, memo: dict[int, Value], skipped: int, flat: list[Value]
) -> int:
    """Append plain keys and values from `i` on to `flat`; return where something else begins.

    Takes memo entries, short strings with their MEMOIZE, numbers, None and booleans; leaves every other opcode, and all
    that stands at or behind `limit`, to the machine. May end behind a key. `skipped` counts the memo entries left out.
    """
    add = flat.append
    while True:
        if i >= limit:
            return i
        op = buf[i]
        if op == 0x68:  # BINGET
            add(memo[buf[i + 1]])
            i += 2
        elif op == 0x8C and buf[i + 1] <= PROGRAM_LENGTH:  # SHORT_BINUNICODE
            j = i + 2 + buf[i + 1]
            text = buf[i + 2 : j].decode("utf-8", "surrogatepass")
            add(text)
            i = j
            if i < limit and buf[i] == 0x94:  # MEMOIZE
                memo[len(memo) + skipped] = text
                i += 1
        elif op == 0x6A:  # LONG_BINGET
            add(memo[_U32(buf, i + 1)[0]])
            i += 5
        elif op == 0x4B:  # BININT1
            add(buf[i + 1])
            i += 2
        elif op == 0x58:  # BINUNICODE
            size = _U32(buf, i + 1)[0]
            j = i + 5 + size
            if size > PROGRAM_LENGTH or j + 5 > limit:
                return i
            text = buf[i + 5 : j].decode("utf-8", "surrogatepass")
            add(text)
            i = j
            op = buf[i]
            if op == 0x72 and _U32(buf, i + 1)[0] == len(memo) + skipped:  # LONG_BINPUT
                memo[len(memo) + skipped] = text
                i += 5
            elif op == 0x71 and buf[i + 1] == len(memo) + skipped:  # BINPUT
                memo[buf[i + 1]] = text
                i += 2
        elif op == 0x4D:  # BININT2
            add(buf[i + 1] | buf[i + 2] << 8)
            i += 3
        elif op == 0x4A:  # BININT
            add(_I32(buf, i + 1)[0])
            i += 5
        else:
            return i
        if i >= limit:
            return i
        op = buf[i]
        if op == 0x4A:  # BININT
            add(_I32(buf, i + 1)[0])
            i += 5
        elif op == 0x47:  # BINFLOAT
            add(_F64(buf, i + 1)[0])
            i += 9
        elif op == 0x68:  # BINGET
            add(memo[buf[i + 1]])
            i += 2
        elif op == 0x4B:  # BININT1
            add(buf[i + 1])
            i += 2
        elif op == 0x8C and buf[i + 1] <= PROGRAM_LENGTH:  # SHORT_BINUNICODE
            j = i + 2 + buf[i + 1]
            text = buf[i + 2 : j].decode("utf-8", "surrogatepass")
            add(text)
            i = j
            if i < limit and buf[i] == 0x94:  # MEMOIZE
                memo[len(memo) + skipped] = text
                i += 1
        elif op == 0x4D:  # BININT2
            add(buf[i + 1] | buf[i + 2] << 8)
            i += 3
        elif op == 0x4E:  # NONE
            add(None)
            i += 1
        elif op == 0x88 or op == 0x89:  # NEWTRUE, NEWFALSE
            add(op == 0x88)
            i += 1
        elif op == 0x58:  # BINUNICODE
            size = _U32(buf, i + 1)[0]
            j = i + 5 + size
            if size > PROGRAM_LENGTH or j + 5 > limit:
                return i
            text = buf[i + 5 : j].decode("utf-8", "surrogatepass")
            add(text)
            i = j
            op = buf[i]
            if op == 0x72 and _U32(buf, i + 1)[0] == len(memo) + skipped:  # LONG_BINPUT
                memo[len(memo) + skipped] = text
                i += 5
            elif op == 0x71 and buf[i + 1] == len(memo) + skipped:  # BINPUT
                memo[buf[i + 1]] = text
                i += 2
        else:
            return i


def take_members(  # noqa: C901, PLR0912
    buf: bytes, i: int, limit: int, memo: dict[int, Value], skipped: int, flat: list[Value]
) -> int:
    """Append literals and memo entries from `i` on to `flat`; return where something else begins.

    Leaves to the machine what may hold a program, and runs of floats and of short numbers, which it takes in one step.
    """
    while i < limit:
        op = buf[i]
        if op == 0x68:  # BINGET
            flat.append(memo[buf[i + 1]])
            i += 2
        elif op == 0x4E:  # NONE
            flat.append(None)
            i += 1
        elif op == 0x6A:  # LONG_BINGET
            flat.append(memo[_U32(buf, i + 1)[0]])
            i += 5
        elif op == 0x8C or op == 0x43 or op == 0x58:  # SHORT_BINUNICODE, SHORT_BINBYTES, BINUNICODE
            end = i
            if _several(buf, i):
                take = _take_named if op == 0x58 else _take_run
                end = take(buf, i, limit, memo, skipped, flat)
            if end == i:
                end = _take_each(buf, i, limit, memo, skipped, flat)
                if end == i:
                    return i
            i = end
        elif op == 0x47 and buf[i + 9] != 0x47:  # BINFLOAT
            flat.append(_F64(buf, i + 1)[0])
            i += 9
        elif op == 0x4B and buf[i + 2] != 0x4B:  # BININT1
            flat.append(buf[i + 1])
            i += 2
        elif op == 0x4D and buf[i + 3] != 0x4D:  # BININT2
            flat.append(buf[i + 1] | buf[i + 2] << 8)
            i += 3
        elif op == 0x4A and buf[i + 5] != 0x4A:  # BININT
            flat.append(_I32(buf, i + 1)[0])
            i += 5
        elif op == 0x88 or op == 0x89:  # NEWTRUE, NEWFALSE
            flat.append(op == 0x88)
            i += 1
        else:
            return i
    return i


def _several(buf: bytes, i: int) -> bool:
    """Tell whether two short texts or bytes stand here."""
    size = buf[i + 1]
    if buf[i] == 0x58:  # BINUNICODE, behind which LONG_BINPUT stands
        return size <= SHORT and buf[i + size + 5] == 0x72 and buf[i + size + 10] == 0x58
    return size <= SHORT and buf[i + size + 3] == buf[i] and buf[i + size + 4] <= SHORT


def _take_run(buf: bytes, i: int, limit: int, memo: dict[int, Value], skipped: int, flat: list[Value]) -> int:
    """Take short texts or bytes, each with its MEMOIZE, all at once."""
    op = buf[i]
    several, one = _members(op)
    run = several.match(buf, i, limit)
    if run is None:
        return i
    values = _texts(run[0]) if op == 0x8C else _strides(run[0])
    if values is None:
        found = one.findall(buf, i, run.end())
        if op == 0x8C:
            values = [part[1:].decode("utf-8", "surrogatepass") for part in found]
        else:
            values = [part[2:-1] for part in found]
    first = len(memo) + skipped
    memo.update(zip(range(first, first + len(values)), values, strict=True))
    flat += values
    return run.end()


def _take_named(buf: bytes, i: int, limit: int, memo: dict[int, Value], skipped: int, flat: list[Value]) -> int:
    """Take short texts of protocol 2, each with the number of its memo entry, all at once."""
    several, one = _members(0x58)
    run = several.match(buf, i, limit)
    if run is None:
        return i
    found = one.findall(buf, i, run.end())
    first = len(memo) + skipped
    if not running([put for _, put in found], first):
        return i
    tokens = b"".join([token for token, _ in found])
    if tokens.count(0) == 3 * len(found):  # no text is empty or has a NUL: the lengths' upper bytes part them
        pieces = tokens.decode("utf-8", "surrogatepass").split("\0\0\0")
        values: list[Value] = [piece[:-1] for piece in pieces[1:-1]]
        values.append(pieces[-1])
    else:
        values = [token[4:].decode("utf-8", "surrogatepass") for token, _ in found]
    memo.update(zip(range(first, first + len(values)), values, strict=True))
    flat += values
    return run.end()


def _take_each(buf: bytes, i: int, limit: int, memo: dict[int, Value], skipped: int, flat: list[Value]) -> int:
    """Take texts and bytes one by one, with what puts each into the memo; up to short ones that are a run."""
    begin, last = i, limit - 5
    add, index = flat.append, len(memo) + skipped
    while i < last:
        op = buf[i]
        size = buf[i + 1]
        if op == 0x58:  # BINUNICODE
            if buf[i + 2] or buf[i + 3] or buf[i + 4]:
                break
            at = i + 5
        elif (op == 0x8C or op == 0x43) and (size > SHORT or i == begin):  # SHORT_BINUNICODE, SHORT_BINBYTES
            at = i + 2
        else:
            break
        end = at + size
        if end > last or (size >= ARGUMENT_LENGTH and buf[at] in PROGRAM_STARTS and begins(buf, at)):
            break
        value: Value = buf[at:end] if op == 0x43 else buf[at:end].decode("utf-8", "surrogatepass")
        add(value)
        i = end
        op = buf[i]
        if op == 0x94:  # MEMOIZE
            i += 1
        elif op == 0x72 and _U32(buf, i + 1)[0] == index:  # LONG_BINPUT
            i += 5
        elif op == 0x71 and buf[i + 1] == index:  # BINPUT
            i += 2
        else:
            continue
        memo[index] = value
        index += 1
    return i


def _texts(run: bytes) -> list[Value] | None:
    """Return the texts of a run of SHORT_BINUNICODE and MEMOIZE, None when they are not all short and ASCII.

    If they are, the two opcodes are the only bytes over 127, and part the texts with their lengths.
    """
    texts: list[Value] = [text[1:] for text in run[1:-1].decode("latin-1").split("\x94\x8c")]
    return texts if len(run.translate(None, _ASCII)) == 2 * len(texts) else None


def _strides(run: bytes) -> list[Value] | None:
    """Return the members of a run of SHORT_BINBYTES and MEMOIZE, None when they are not all of one length."""
    size = run[1]
    stride = size + 3
    count = len(run) // stride
    if run[::stride] != run[:1] * count or run[1::stride] != run[1:2] * count:
        return None
    return [run[at : at + size] for at in range(2, len(run), stride)]


def take_longs(buf: bytes, i: int, limit: int) -> tuple[int, int]:
    """Return where a run of long integers ends, and how many they are."""
    several, one = _members(0x8A)
    run = several.match(buf, i, limit)
    return (i, 0) if run is None else (run.end(), len(one.findall(buf, i, run.end())))


def running(puts: list[bytes], index: int) -> bool:
    """Tell whether memo entries are numbered one after the other from `index` on, as every pickler does."""
    long = b"".join(puts)
    count = len(puts)
    if len(long) < 5 * count:  # BINPUT, up to the 256th entry
        return all(int.from_bytes(put[1:], "little") == n for n, put in enumerate(puts, index))
    numbers = bytearray(4 * count)
    for place in range(4):
        numbers[place::4] = long[1 + place :: 5]
    return numbers == pack(f"<{count}I", *range(index, index + count))


@lru_cache(maxsize=8)
def _members(opcode: int) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return what matches several and one of the members that begin with `opcode`, and what puts them into the memo."""
    if opcode == 0x8A:
        pattern = lengths(opcode, 0, LONG_LENGTH, LONG_LENGTH + 1)
    elif opcode == 0x58:
        pattern = lengths(opcode, 3, SHORT, PROGRAM_LENGTH - 2) + b"(r.{4})"
    else:
        looked = PROGRAM_LENGTH - 2 if opcode == 0x8C else ARGUMENT_LENGTH
        pattern = lengths(opcode, 0, SHORT, looked) + b"\x94"
    return re.compile(b"(?:" + pattern + b")++", re.DOTALL), re.compile(pattern, re.DOTALL)
