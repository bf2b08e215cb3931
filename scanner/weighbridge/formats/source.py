"""Text that no version of Python takes for a program, told from its beginning alone.

Python compiles a whole file before any of it runs. One error of syntax that does not depend on what follows is enough:
two words side by side that are no keywords, as in prose, or a character that begins nothing. Everything before the
first quotation mark is outside of strings, so what is seen there is what a compiler sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
_CALL: Final = r"[\w\])]\s*\(|@|\bimport\b|`|\bexec\b"
_MAY_CALL: Final = r"[(@`]|import|exec"
_PARTED_CALL: Final = r"#[^\r\n]*[\r\n]\s*\(|\\[\r\n]"  # behind a comment, or on the next line
_LINES: Final = r"\r\n|\r|\n"  # where Python ends a line, and with it a comment
# What text of UTF-8 can begin with: few pickles and no archive does.
TEXT_STARTS: Final = bytes([*b"\t\n\r", *range(0x20, 0x7F), *range(0xC2, 0xF5)])
# What begins no statement and ends none: at the start of a line outside of brackets it is an error.
_IMPOSSIBLE: Final = frozenset("<>|/%=!?$&^,;)]}")
# Nor anywhere else: signs of no operator, and a division with nothing in front of it, as addresses have.
_NOWHERE: Final = r"[?$]|!(?!=)|://"
_JOINED: Final = "\u30fb\uff65"  # middle dots, parts of names since Unicode 15.1 and so to later Pythons
# Tokens of a program: strings whole, what no program has, and what says nothing.
_LEXEME: Final = (
    r"(?s)(?P<left>#[^\n]*|\\\n)|(?P<word>[^\W\d]\w*)|(?P<number>\d\w*)"
    r"|(?P<string>\'\'\'(?:[^\\]|\\.)*?\'\'\'|\"\"\"(?:[^\\]|\\.)*?\"\"\""
    r"|(?!\'\'\'|\"\"\")(?:'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"))"
    r"|(?P<bad>['\"\\$?]|!(?!=))|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<ascii>[\x00-\x7f])|(?P<other>.)"
)
_OPERAND: Final = r"(?s)[rbuRBU]{0,2}\"\"|(?:[^\W\d]|[^\x00-\x7f])(?:\w|[^\x00-\x7f])*|[0-9][\w.]*|[^\s]"
_NUMBER: Final = r"[0-9]+(?:\.[0-9]*)?"
_SOURCE_LIMIT: Final = 1 << 20  # characters whose tokens are looked at, a second for four million
_UTF8: Final = r"[ \t]*(?:utf-?8|us-ascii|ascii)\b(?![-_])"
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
    if re.search(_NOWHERE, line) is not None or (not line.isascii() and any(map(_is_foreign, line))):
        return True
    # `name:` with nothing behind it is the head of no block and an annotation without a type.
    if whole and not depth and stripped.endswith(":"):
        name = stripped[:-1].strip()
        if name.isidentifier() and name not in _KEYWORDS:
            return True
    return _has_neighbours(line, whole=whole)


def _is_foreign(character: str) -> bool:
    """Tell whether a character is outside of ASCII and in no name: Chinese punctuation, a picture, a wide space."""
    if character.isascii() or character.isalnum():
        return False
    from unicodedata import category  # loaded when a text comes by

    return category(character)[0] in "PSZ" and not f"a{character}".isidentifier() and character not in _JOINED


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
    if not _declares_nothing(source):
        return True
    if re.search(_MAY_CALL, source) is None or is_no_python(source):
        return False
    if len(source) > _SOURCE_LIMIT:
        return any(re.search(one, source) for one in (_CALL, _PARTED_CALL))
    return _compiles(source)


def _declares_nothing(source: str) -> bool:
    """Tell whether the text is what its bytes say: in another encoding a comment can be a statement."""
    found = [re.match(_CODING, line) for line in re.split(_LINES, source.removeprefix("\ufeff"))[:2]]
    return all(one is None or re.match(_UTF8, one.string[one.end() :], re.IGNORECASE) for one in found)


def _compiles(source: str) -> bool:
    """Tell whether Python might compile a text that calls something, by its tokens."""
    code = _code(re.sub(_LINES, "\n", source.removeprefix("\ufeff")))
    if code is None:
        return False
    return re.search(_CALL, code) is not None and not any(map(_has_operands, code.split("\n")))


def _code(source: str) -> str | None:
    """Return a program with its strings made empty and its comments left out, None when its tokens are those of none.

    A string that holds expressions is told as a call; what stands behind it is not looked at.
    """
    parts: list[str] = []
    opened: list[str] = []
    for found in re.finditer(_LEXEME, source):
        kind, text = found.lastgroup, found[0]
        if kind == "string":
            prefix = _prefix(parts)
            if "f" in prefix or "t" in prefix:
                return "f()"
            parts.append('""')
        elif kind == "bad" or (kind == "other" and _is_foreign(text)):
            return None
        elif kind == "open":
            opened.append(text)
            parts.append(text)
        elif kind == "close":
            if not opened or opened.pop() + text not in ("()", "[]", "{}"):
                return None
            parts.append(text)
        elif kind != "left":
            parts.append(text)
    return None if opened else "".join(parts)


def _prefix(parts: list[str]) -> str:
    """Return the letters in front of a string in small letters, nothing when they are no prefix of one."""
    word = parts[-1].lower() if parts else ""
    return word if re.fullmatch(_PREFIX, word) else ""


def _has_operands(line: str) -> bool:
    """Tell whether two operands stand side by side in a line of code, as words do in prose."""
    before = ""
    for piece in _operands(line):
        if before and piece and not before == piece == '"':
            return True
        before = piece
    return False


def _operands(line: str) -> Iterator[str]:
    """Yield each word that is no keyword, number or empty string of a line, and nothing for all between two of them."""
    for piece in re.findall(_OPERAND, line):
        if piece[-1] == '"':
            yield '"'
        elif piece.isidentifier():
            yield "" if piece in _KEYWORDS else piece
        else:
            yield piece if re.fullmatch(_NUMBER, piece) else ""
