"""Lines and columns in JSON, which the reader of the standard library does not keep.

What is looked for was read without error, so this finds the places and leaves the grammar alone.

>>> find('{"version": 1,\\n "rules": [{"source": "a"},\\n  {"source": "b"}]}', "rules[1].source")
(3, 4)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

# A string, a bracket, or a number or a word; what stands between them says nothing of places.
_TOKEN: Final = re.compile(r'"(?:\\.|[^"\\])*"|[{}\[\]]|[^\s,:{}\[\]"]+')


def find(text: str, keys: str) -> tuple[int, int] | None:
    """Return the line and column, from 1 on, where a document that can be read has what `keys` lead to.

    `keys` are as `documents` names them, such as `waivers[0].digest`; the place is that of a key or of an item of an
    array. When nothing is written there, it is the nearest around it; None when there is none at all.
    """
    leading = (one for one in _places(text) if keys == one[0] or keys.startswith((f"{one[0]}.", f"{one[0]}[")))
    best = max(leading, key=lambda one: len(one[0]), default=None)
    if best is None:
        return None
    return text.count("\n", 0, best[1]) + 1, best[1] - text.rfind("\n", 0, best[1])


def _places(text: str) -> Iterator[tuple[str, int]]:
    """Yield every key and item, by the keys that lead to it, with the offset at which it is written."""
    around: list[tuple[str, bool]] = []  # what is open: the keys that lead to it, and whether it is an object
    counts: list[int] = []  # how many items of each were seen
    key: str | None = None
    for token in _TOKEN.finditer(text):
        word, place = token[0], ""
        if word in ("}", "]"):
            around.pop(), counts.pop()
            continue
        if around and around[-1][1]:
            if key is None:
                key = f"{around[-1][0]}.{json.loads(word)}".lstrip(".")
                yield key, token.start()
                continue
            place, key = key, None
        elif around:
            place = f"{around[-1][0]}[{counts[-1]}]"
            counts[-1] += 1
            yield place, token.start()
        if word in ("{", "["):
            around.append((place, word == "{"))
            counts.append(0)
