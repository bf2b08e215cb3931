"""Patterns of sources and of identities: `*` is any text without a slash, `**` any text.

The most specific of the patterns that match decides. Patterns are compared from the left, so a scheme and a namespace
count for more than what follows them; at the first difference a character is more specific than the end, the end more
than `*` and that more than `**`.

>>> matches("hf://acme/*", "hf://acme/bert"), matches("hf://acme/*", "hf://acme/bert/onnx")
(True, False)
>>> max("hf://acme/**", "hf://*/bert", "hf://acme/bert*", key=specificity)
'hf://acme/bert*'
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

# Characters; matching takes time that grows with the length of the pattern times that of the text.
MAX_LENGTH: Final = 1024
_ONE, _MANY = "*", "**"
_RANKS: Final = {_MANY: 0, _ONE: 1}
_END, _CHARACTER = 2, 3


def tokens(pattern: str) -> list[str]:
    """Return a pattern as its characters, `*` and `**`."""
    return re.findall(r"\*\*|.", pattern, re.DOTALL)


def matches(pattern: str, text: str) -> bool:
    """Tell whether a pattern matches all of a text."""
    return len(text) <= MAX_LENGTH and _step(pattern, text)


def specificity(pattern: str) -> tuple[int, ...]:
    """Return what sorts patterns, the most specific last."""
    return (*(_RANKS.get(token, _CHARACTER) for token in tokens(pattern)), _END)


def overlap(one: str, other: str) -> bool:
    """Tell whether there is a text that both patterns match.

    >>> overlap("hf://*a/**", "hf://b*/**"), overlap("hf://acme/*", "hf://other/*")
    (True, False)
    """
    left, right = tokens(one), tokens(other)
    todo, seen = [(0, 0)], {(0, 0)}
    while todo:
        i, j = todo.pop()
        if (i, j) == (len(left), len(right)):
            return True
        for state in _states(left, right, i, j):
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return False


def _states(left: list[str], right: list[str], i: int, j: int) -> list[tuple[int, int]]:
    """Return where two patterns may stand after a further character of a text, or after a wildcard has ended."""
    a, b = (left[i] if i < len(left) else ""), (right[j] if j < len(right) else "")
    found = [(i + 1, j)] * (a in _RANKS) + [(i, j + 1)] * (b in _RANKS)
    if a in _RANKS and b and b not in _RANKS and _takes(a, b):
        found.append((i, j + 1))
    elif b in _RANKS and a and a not in _RANKS and _takes(b, a):
        found.append((i + 1, j))
    elif a and a == b and a not in _RANKS:
        found.append((i + 1, j + 1))
    return found


def _takes(wildcard: str, character: str) -> bool:
    return wildcard == _MANY or character != "/"


def _step(pattern: str, text: str) -> bool:
    """Match by keeping the set of places in the pattern that the text so far may have led to.

    A regular expression with several wildcards may backtrack for hours over a text that somebody made for it.
    """
    parts = _parts(pattern)
    places = _closed({0}, parts)
    for character in text:
        after = set()
        for place in places:
            token = parts[place] if place < len(parts) else ""
            if token in _RANKS and _takes(token, character):
                after.add(place)
            elif token == character:
                after.add(place + 1)
        places = _closed(after, parts)
        if not places:
            return False
    return len(parts) in places


@cache
def _parts(pattern: str) -> tuple[str, ...]:
    return tuple(tokens(pattern))


def _closed(places: set[int], parts: tuple[str, ...]) -> set[int]:
    """Add the places behind wildcards, which may match nothing."""
    found = set(places)
    for place in places:
        ahead = place
        while ahead < len(parts) and parts[ahead] in _RANKS:
            ahead += 1
            found.add(ahead)
    return found
