"""Where the next values of a container begin, told from the opcodes' effect on the stack alone.

This only says where it is worth looking for a run of values of one shape; whether there is one is for
`weighbridge.formats.pickle.templates` to find out.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

BYTES_LIMIT: Final = 1 << 11  # of the values that are looked through; what is larger is no row of a table

_LONGEST: Final = 9  # bytes of an opcode with an operand of fixed size
_U32: Final = Struct("<I").unpack_from
_SIZES: Final = {
    **dict.fromkeys(b"N\x88\x89)]}\x8f(tu\x90\x91eldbRa\x81s\x92\x93Q\x85\x86\x87\x94", 1),
    **{0x4B: 2, 0x4D: 3, 0x4A: 5, 0x47: 9, 0x68: 2, 0x6A: 5, 0x71: 2, 0x72: 5, 0x95: 9},
}
_PUSHES: Final = frozenset(b"N\x88\x89)]}\x8fKMJGhj")
_TAKES: Final = {
    **{0x62: 2, 0x52: 2, 0x61: 2, 0x81: 2, 0x93: 2, 0x86: 2, 0x73: 3, 0x92: 3, 0x87: 3, 0x51: 1, 0x85: 1},
}
_PLAIN: Final = _PUSHES - frozenset(b")]}\x8f")
_KEEPS: Final = frozenset(b"\x94qr\x95")
_FILLS: Final = frozenset(b"eu\x90")  # what was marked goes into the container below the mark


def starts(buf: bytes, i: int, limit: int, wanted: int) -> list[int]:
    """Return where the next values begin from `i` on: `wanted` of them, or as many as stand before something odd."""
    limit = min(limit, i + BYTES_LIMIT) - _LONGEST
    found: list[int] = []
    marks: list[tuple[int, int]] = []
    while i < limit and (marks or len(found) < wanted):
        op = buf[i]
        size = _SIZES.get(op, 0)
        if not size:
            size = _sized(buf, i, op)
            if not size:
                break
            found.append(i)
        elif op in _PUSHES:
            found.append(i)
        elif op == 0x28:
            marks.append((len(found), i))
        elif op in _TAKES:
            kept = len(found) - _TAKES[op] + 1
            if kept <= (marks[-1][0] if marks else 0):
                break
            del found[kept:]
        elif op not in _KEEPS and not _close(op, found, marks):
            break
        i += size
    return found[: marks[0][0]] if marks else found


def single(buf: bytes, i: int, end: int) -> bool:
    """Tell whether a literal or memo entry, and what puts it into the memo, fills the bytes from `i` to `end`."""
    op = buf[i]
    size = _sized(buf, i, op) or (_SIZES[op] if op in _PLAIN else 0)
    return size > 0 and i + size + (_SIZES[buf[i + size]] if buf[i + size] in _KEEPS else 0) == end


def _close(op: int, found: list[int], marks: list[tuple[int, int]]) -> bool:
    """Take what stands above the last mark; tell whether there is one."""
    if not marks:
        return False
    height, begin = marks.pop()
    del found[height:]
    if op not in _FILLS:
        found.append(begin)
    return True


def _sized(buf: bytes, i: int, op: int) -> int:
    """Return the size of an opcode with an operand of its own length, 0 for any other."""
    if op in (0x8C, 0x43, 0x55, 0x8A):
        return 2 + buf[i + 1]
    if op in (0x58, 0x42, 0x54):
        return 5 + int(_U32(buf, i + 1)[0])
    if op == 0x63:  # GLOBAL
        end = buf.find(b"\n", buf.find(b"\n", i, i + BYTES_LIMIT) + 1, i + BYTES_LIMIT)
        return max(0, end + 1 - i)
    return 0
