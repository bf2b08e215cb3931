"""Plain items of dicts and members of lists and sets: vocabularies, records, states of objects.

They are most of what model files hold besides tensors. A loop of its own that knows it reads key, value, key, value, or
nothing but members, takes half the time of the machine's general one.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from weighbridge.formats.pickle.embedded import PROGRAM_LENGTH
from weighbridge.symbols import Value

LONG_LENGTH: Final = 32  # bytes of a long integer; longer ones are the machine's
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
        else:
            return i


def take_members(buf: bytes, i: int, limit: int, memo: dict[int, Value], skipped: int, flat: list[Value]) -> int:
    """Append texts, bytes, long integers and memo entries from `i` on to `flat`; return where something else begins.

    Leaves to the machine what `take_items` leaves to it, and short numbers and floats, whose runs it takes in one step.
    """
    add = flat.append
    while i < limit:
        op = buf[i]
        if (op == 0x8C or op == 0x43) and buf[i + 1] <= PROGRAM_LENGTH:  # SHORT_BINUNICODE, SHORT_BINBYTES
            j = i + 2 + buf[i + 1]
            raw = buf[i + 2 : j]
            value: Value = raw.decode("utf-8", "surrogatepass") if op == 0x8C else raw
            add(value)
            i = j
            if i < limit and buf[i] == 0x94:  # MEMOIZE
                memo[len(memo) + skipped] = value
                i += 1
        elif op == 0x68:  # BINGET
            add(memo[buf[i + 1]])
            i += 2
        elif op == 0x6A:  # LONG_BINGET
            add(memo[_U32(buf, i + 1)[0]])
            i += 5
        elif op == 0x8A and buf[i + 1] <= LONG_LENGTH:  # LONG1
            j = i + 2 + buf[i + 1]
            add(int.from_bytes(buf[i + 2 : j], "little", signed=True))
            i = j
        else:
            return i
    return i
