"""Lines and columns in TOML, which the reader of the standard library does not keep.

What is looked for was read without error, so this finds the places and leaves the grammar alone.

>>> find('version = 1\\n[[rules]]\\nsource = "a"\\n[[rules]]\\n  source = "b"\\n', "rules[1].source")
(5, 3)
"""

from __future__ import annotations

import re
from typing import Final

_KEY: Final = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
_KEYS: Final = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER: Final = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_KEYS})[ \t]*\]\]?")
_PAIR: Final = re.compile(rf"[ \t]*({_KEYS})[ \t]*=[ \t]*")
_LINE: Final = re.compile(r"[^\n]*\n?")
# What stands between the values of an array or the pairs of a table, comments included.
_BETWEEN: Final = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
# A string, or a number, a date or a word. The quotes at the end of a long string may be part of it.
_SCALAR: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")' r"|'''.*?'{3,5}(?!')" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'" r"|[^,\]}#\n]*",
    re.DOTALL,
)


def find(text: str, keys: str) -> tuple[int, int] | None:
    """Return the line and column, from 1 on, where a document that can be read has what `keys` lead to.

    `keys` are as `documents` names them, such as `rules[0].require[1]`; the place is that of a key or of an item of an
    array. When nothing is written there, it is the nearest around it; None when there is none at all.
    """
    scan = _Scan(text)
    scan.document()
    best = max((one for one in scan.found if _leads(one[0], keys)), key=lambda one: len(one[0]), default=None)
    if best is None:
        return None
    start = text.rfind("\n", 0, best[1]) + 1
    return text.count("\n", 0, best[1]) + 1, best[1] - start + 1


def _leads(place: str, keys: str) -> bool:
    return keys == place or keys.startswith((f"{place}.", f"{place}["))


class _Scan:
    """One walk over a document; `found` are its tables, keys and items, each with the offset at which it is written."""

    def __init__(self, text: str) -> None:
        self.found: list[tuple[str, int]] = []
        self._text = text
        self._at = 0

    def document(self) -> None:
        counts: dict[str, int] = {}
        table = ""
        while self._at < len(self._text):
            if header := _HEADER.match(self._text, self._at):
                table = _indexed(_parts(header[2]), counts, repeated=header[1] == "[[")
                self.found.append((table, header.start(1)))
                self._at = header.end()
            elif pair := _PAIR.match(self._text, self._at):
                self._pair(pair, table)
            self._at = self._match(_LINE).end()

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Return the match of a pattern that fits anywhere."""
        match = pattern.match(self._text, self._at)
        if match is None:  # the patterns match nothing at all, too
            raise AssertionError(pattern.pattern)
        return match

    def _pair(self, pair: re.Match[str], table: str) -> None:
        path = ".".join([*([table] if table else []), *_parts(pair[1])])
        self.found.append((path, pair.start(1)))
        self._at = pair.end()
        self._value(path)

    def _value(self, path: str) -> None:
        opening = self._text[self._at : self._at + 1]
        if opening not in ("[", "{"):
            self._at = self._match(_SCALAR).end()
            return
        self._at += 1
        index = 0
        while True:
            self._at = self._match(_BETWEEN).end()
            if self._text[self._at : self._at + 1] in ("]", "}", ""):
                self._at += 1
                return
            if opening == "[":
                item = f"{path}[{index}]"
                self.found.append((item, self._at))
                self._value(item)
                index += 1
            elif pair := _PAIR.match(self._text, self._at):
                self._pair(pair, path)
            else:  # no TOML
                return


def _parts(keys: str) -> list[str]:
    return [one.strip("\"'") for one in re.findall(_KEY, keys)]


def _indexed(parts: list[str], counts: dict[str, int], *, repeated: bool) -> str:
    """Return the path of a table; the tables of an array are counted."""
    path = ""
    for number, part in enumerate(parts, start=1):
        path = f"{path}.{part}".lstrip(".")
        if repeated and number == len(parts):
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = f"{path}[{counts[path]}]"
    return path
