"""The tokens of Jinja's blocks: what stands between `{%` and `%}` or `{{` and `}}`, as its own lexer cuts it.

What this refuses, that lexer refuses too, and a template with one broken block is not rendered at all.
"""

from __future__ import annotations

import codecs
import re
import warnings
from collections.abc import Iterator
from typing import Final, NamedTuple

from weighbridge.errors import ArtifactError
from weighbridge.location import Location

# A statement may be `raw`, which makes text of everything up to `endraw`.
_BEGIN: Final = re.compile(r"\{%[-+]?\s*raw\s*[-+]?%\}|\{%[-+]?|\{\{[-+]?|\{#[-+]?")
_ENDRAW: Final = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_ENDS: Final = {"{%": re.compile(r"[-+]?%\}"), "{{": re.compile(r"-?\}\}")}
_TOKEN: Final = re.compile(
    r"(?P<space>\s+)"
    # Behind a point there is an index, never a fraction; a number that begins with zero has nothing but zeros.
    r"|(?P<number>(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?[eE][-+]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)"
    r"|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\da-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*)"
    r"|(?P<name>\w+)"
    r"|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<operator>==|!=|>=|<=|//|\*\*|[-+/*%~\[\](){}<>=.:|,;])",
    re.DOTALL,
)
_CLOSING: Final = {")": "(", "]": "[", "}": "{"}


class Token(NamedTuple):
    """A token; `value` of a text is what it means, without quotes."""

    kind: str
    value: str
    offset: int


class Block(NamedTuple):
    """The tokens of a statement (`{%`) or of an expression (`{{`)."""

    opening: str
    offset: int
    tokens: list[Token]


def blocks(source: str, origin: Location) -> Iterator[Block]:
    """Yield every block; raise ArtifactError, with the offset in characters, at the first that no lexer takes."""
    position = 0
    while (found := _BEGIN.search(source, position)) is not None:
        opening = found[0][:2]
        if found.end() == len(source) and (opening == "{#" or "raw" in found[0]):
            return  # Jinja misses the end of a comment only when something is in it
        if "raw" in found[0]:
            end = _ENDRAW.search(source, found.end())
            if end is None:
                raise ArtifactError(origin.at(found.start()), "a raw block that does not end")
            position = end.end()
        elif opening == "{#":
            position = source.find("#}", found.end()) + 2
            if position < 2:
                raise ArtifactError(origin.at(found.start()), "a comment that does not end")
        else:
            tokens, position = _cut(source, found.end(), opening, origin)
            yield Block(opening, found.start(), tokens)


def _cut(source: str, position: int, opening: str, origin: Location) -> tuple[list[Token], int]:
    """Return the tokens of a block and where it ends."""
    tokens: list[Token] = []
    brackets: list[str] = []
    ending = _ENDS[opening]
    while True:
        end = ending.match(source, position)
        if end is not None and not brackets:
            return tokens, end.end()
        found = _TOKEN.match(source, position)
        if found is None:
            raise ArtifactError(origin.at(position), "a block of a template that does not end, or no token of one")
        kind, value = found.lastgroup or "", found[0]
        if kind == "operator":
            _balance(brackets, value, origin.at(position))
        elif kind == "text":
            value = _meant(value, origin.at(position))
        if kind == "text" and tokens and tokens[-1].kind == "text":
            tokens[-1] = tokens[-1]._replace(value=tokens[-1].value + value)  # as Jinja reads two side by side
        elif kind != "space":
            tokens.append(Token(kind, value, position))
        position = found.end()


def _balance(brackets: list[str], operator: str, place: Location) -> None:
    if operator in "([{":
        brackets.append(operator)
    elif operator in _CLOSING and (not brackets or brackets.pop() != _CLOSING[operator]):
        raise ArtifactError(place, f"a {operator!r} in a template that closes nothing")


def _meant(literal: str, place: Location) -> str:
    """Return the text that a literal stands for: escapes as Python has them."""
    if "\\" not in literal:
        return literal[1:-1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an escape that there is not, which stays as it is written
            return codecs.decode(literal[1:-1].encode("ascii", "backslashreplace"), "unicode_escape")
    except UnicodeDecodeError as error:
        raise ArtifactError(place, "a text of a template with a broken escape") from error
