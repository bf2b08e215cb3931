"""Text that no version of Python takes for a program, told from its beginning alone.

Python compiles a whole file before any of it runs. One error of syntax that does not depend on what follows is enough:
two words side by side that are no keywords, as in prose, or a character that begins nothing. Everything before the
first quotation mark is outside of strings, so what is seen there is what a compiler sees.
"""

from __future__ import annotations

import re
from typing import Final

from weighbridge.reader import Sample

# Words that may stand beside another word in some version of Python: keywords, soft ones, and statements of Python 2.
_KEYWORDS: Final = frozenset(
    "False None True and as assert async await break class continue def del elif else except finally for from global "
    "if import in is lambda nonlocal not or pass raise return try while with yield match case type print exec lazy "
    "template".split()
)
_PIECE: Final = r"(?s)[^\W\d]\w*|[0-9][\w.]*|[ \t\f]+|."
_QUOTES: Final = "[\"']"
_PREFIX: Final = "[rbuftiRBUFTI]*"  # letters that stand before a string, in this version or the next
_COMMENTS: Final = r"(?m)^[ \t]*#.*$"
_CALL: Final = r"[\w\])]\s*\(|@|\bimport\b|`|\bexec\b"
_LINES: Final = r"\r\n|\r|\n"  # where Python ends a line, and with it a comment
# What text of UTF-8 can begin with: few pickles and no archive does.
TEXT_STARTS: Final = bytes([*b"\t\n\r", *range(0x20, 0x7F), *range(0xC2, 0xF5)])
# What begins no statement and ends none: at the start of a line outside of brackets it is an error.
_IMPOSSIBLE: Final = frozenset("<>|/%=!?$&^,;)]}")
_CODING: Final = r"(?s)[ \t\f]*#.*?coding[:=]"


def opens_no_program(sample: Sample) -> bool:
    """Tell whether bytes that may go on behind the sample are an error to every compiler of Python."""
    head = sample.head.decode("utf-8", "ignore")
    if sample.size > len(sample.head):
        head = head[: max(head.rfind("\n"), head.rfind("\r")) + 1]  # the end cuts a line, and perhaps a word
    return is_no_python(head)


def is_no_python(head: str) -> bool:
    """Tell whether text that begins with these whole lines is an error to every compiler of Python."""
    lines = re.split(_LINES, head.removeprefix("\ufeff"))
    if any(re.match(_CODING, line) for line in lines[:2]):
        return False  # another encoding can make anything of it
    depth = 0
    for line in lines:
        code = line.partition("#")[0]
        quote = re.search(_QUOTES, code)
        shown = code if quote is None else code[: quote.start()]
        if _is_error(shown, depth, whole=quote is None):
            return True
        if quote is not None or "\\" in shown:
            return False
        depth += sum(map(shown.count, "([{")) - sum(map(shown.count, ")]}"))
    return False


def _is_error(line: str, depth: int, *, whole: bool) -> bool:
    """Tell whether a line, up to a comment or a quotation mark, cannot be part of a program."""
    if "{%" in line:
        return True
    stripped = line.strip(" \t\f")
    if whole and not depth and stripped and not stripped.strip("-+~"):
        return True  # signs of nothing, such as the three dashes above front matter
    if not depth and stripped and (stripped[0] in _IMPOSSIBLE or stripped.startswith("**")):
        return True
    # `name:` with nothing behind it is the head of no block and an annotation without a type.
    if whole and not depth and stripped.endswith(":"):
        name = stripped[:-1].strip()
        if name.isidentifier() and name not in _KEYWORDS:
            return True
    return _has_neighbours(line, whole=whole)


def _has_neighbours(line: str, *, whole: bool) -> bool:
    """Tell whether two operands stand side by side: words, or what Python 2 has between two backquotes."""
    before, gap, quoted, piece = False, False, False, ""
    for piece in re.findall(_PIECE, line):
        if piece.isspace():
            gap = True
            continue
        is_word = piece.isidentifier() and piece not in _KEYWORDS
        opens = piece == "`" and not quoted
        # A word that ends what is shown can be the prefix of a string, and is none that stands alone.
        if before and (opens or (is_word and gap and (whole or not line.endswith(piece)))):
            return True
        quoted ^= piece == "`"
        before, gap = is_word or (piece == "`" and not quoted), False
    return before and not whole and not gap and piece.isidentifier() and re.fullmatch(_PREFIX, piece) is None


def can_call(source: str) -> bool:
    """Tell whether Python might take a text for a program that calls, imports or runs something."""
    return re.search(_CALL, re.sub(_COMMENTS, "", source)) is not None and not is_no_python(source)
