"""Lines and columns in TOML, which the reader of the standard library does not keep.

>>> find('version = 1\\n[[rules]]\\nsource = "a"\\n[[rules]]\\n  source = "b"\\n', "rules[1].source")
(5, 3)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_KEY: Final = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_KEYS: Final = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER: Final = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_KEYS})[ \t]*\]")
_PAIR: Final = re.compile(rf"[ \t]*({_KEYS})[ \t]*=")
# Of a value: strings and comments, in which brackets mean nothing, the brackets that go on over lines, and their ends.
_TOKEN: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""' r"|'''.*?'''" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'" r"|#[^\n]*|[\[{]|[\]}]|\n", re.DOTALL
)


def find(text: str, keys: str) -> tuple[int, int] | None:
    """Return the line and column, from 1 on, where a document that can be read has what `keys` lead to.

    `keys` are as `documents` names them, such as `rules[0].require[1]`. Inside of a value, which has no places of its
    own here, they are those of the nearest key around it; None when there is no key at all.
    """
    best = max((one for one in _places(text) if _leads(one[0], keys)), key=lambda one: len(one[0]), default=None)
    if best is None:
        return None
    start = text.rfind("\n", 0, best[1]) + 1
    return text.count("\n", 0, best[1]) + 1, best[1] - start + 1


def _leads(place: str, keys: str) -> bool:
    return keys == place or keys.startswith((f"{place}.", f"{place}["))


def _places(text: str) -> Iterator[tuple[str, int]]:
    """Yield the tables and keys of a document, each with the offset at which it is written."""
    counts: dict[str, int] = {}
    table, at = "", 0
    while at < len(text):
        if header := _HEADER.match(text, at):
            table = _indexed(_parts(header[2]), counts, repeated=header[1] == "[[")
            yield table, header.start(1)
            at = _behind(text, header.end())
        elif pair := _PAIR.match(text, at):
            yield ".".join([*([table] if table else []), *_parts(pair[1])]), pair.start(1)
            at = _behind(text, pair.end())
        else:
            at = _behind(text, at)


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


def _behind(text: str, at: int) -> int:
    """Return where the line begins that follows the value at an offset."""
    depth = 0
    for token in _TOKEN.finditer(text, at):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        elif token[0] == "\n" and depth <= 0:
            return token.end()
    return len(text)
