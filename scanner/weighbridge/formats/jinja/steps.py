"""What a template does: everything that its blocks call, filter with, look up and include, each told once.

Names are followed as far as it takes to tell `message[key]`, where the key comes with the message, from a key that the
template puts together from pieces: Jinja looks up attributes by either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from weighbridge.errors import ArtifactError
from weighbridge.facts import Fact, Step, Template
from weighbridge.formats.jinja.tokens import Block, Token, blocks
from weighbridge.location import Location
from weighbridge.reader import Reader

COMPUTED: Final = "<computed>"
SHOWN: Final = 80  # characters of a literal in a fact
LITERAL: Final = 512  # characters; a longer literal is no name and no way that leads to one
_WORDS: Final = frozenset("and or not if else elif in is for true false none True False None recursive".split())
_CONSTANTS: Final = frozenset("true false none True False None".split())
# Filters whose result is no text, or one that was there: it is looked at as a literal or comes with the messages.
_KEEPING: Final = frozenset(
    "length count int float abs round wordcount items list dictsort first last default d upper lower tojson select "
    "reject selectattr rejectattr unique sort min max".split()
)
# Filters that take the name of an attribute, a filter or a test.
_NAMING: Final = {
    "map": "filter",
    "select": "test",
    "reject": "test",
    "selectattr": "",
    "rejectattr": "",
} | dict.fromkeys("sort groupby sum min max unique".split(), "")
# Names whose texts are in another file of the model: a key from there is as good as one put together.
_TOKENS: Final = frozenset(f"{kind}_token" for kind in "bos eos pad unk sep cls mask image audio video boi eoi".split())
_BUILDERS: Final = frozenset("~ + % *".split())
# A literal that can be the name of what Python keeps from everybody, alone or on a way that a formatter follows.
_HIDDEN: Final = re.compile(r"[\w.\[\]{}():!'\" ]*?__\w+__[\w.\[\]{}():!'\" ]*")
_NOTHING: Final = Token("end", "", 0)


def decoded(reader: Reader) -> str:
    """Return the text of a template; raise ArtifactError when it is not UTF-8."""
    try:
        return bytes(reader.view).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(reader.at(error.start), "the template is not UTF-8") from error


def observe(source: str, origin: Location) -> Iterator[Fact]:
    """Yield the template and every step of it, at its offset in characters.

    Raises ArtifactError at the first block that no lexer takes: such a template is not rendered.
    """
    yield Template(location=origin, source=source)
    found = list(blocks(source, origin))
    for block in found:
        _check(block, origin)
    seen: set[tuple[str, str]] = set()
    walk = _Walk(found)
    for block in found:
        for token, type_, name in walk.steps(block):
            if name and (type_, name) not in seen:
                seen.add((type_, name))
                yield Step(location=origin.at(token.offset), type=type_, name=name)


def beside(source: str, origin: Location) -> Iterator[Fact]:
    """Yield every step of a text that is of another format and a template as well, whoever renders it by its name.

    Nothing for a text with a block that no lexer takes, such as a formula with braces: nobody can render that.
    """
    if "{{" not in source and "{%" not in source:
        return
    try:
        found = list(observe(source, origin))
    except ArtifactError:
        return
    yield from (fact for fact in found if isinstance(fact, Step))


def _check(block: Block, origin: Location) -> None:
    """Raise ArtifactError when an expression is none: nothing, two words side by side, a colon outside of brackets."""
    if block.opening == "{%":
        if not block.tokens or block.tokens[0].kind != "name":
            raise ArtifactError(origin.at(block.offset), "a statement of a template without a name")
        return
    if not block.tokens:
        raise ArtifactError(origin.at(block.offset), "an expression of a template that is empty")
    depth = 0
    for index, token in enumerate(block.tokens):
        before = _at(block.tokens, index - 1)
        depth += (token.value in "([{") - (token.value in ")]}") if token.kind == "operator" else 0
        if token.kind == "operator" and token.value in (":", ";") and not depth:
            raise ArtifactError(origin.at(token.offset), f"a {token.value!r} in an expression of a template")
        if _is_plain(token) and _is_plain(before) and not _is_test(block.tokens, index - 1):
            raise ArtifactError(origin.at(token.offset), "two words side by side in an expression of a template")


def _is_plain(token: Token) -> bool:
    return token.kind in ("name", "number") and token.value not in _WORDS


def _at(tokens: Sequence[Token], index: int) -> Token:
    return tokens[index] if 0 <= index < len(tokens) else _NOTHING


def _is_test(tokens: Sequence[Token], index: int) -> bool:
    """Tell whether a name is that of a test."""
    before = _at(tokens, index - 1).value
    return before == "is" or (before == "not" and _at(tokens, index - 2).value == "is")


def _span(tokens: Sequence[Token], index: int) -> Sequence[Token]:
    """Return what stands in the brackets that open at `index`."""
    depth = 0
    for end in range(index, len(tokens)):
        if tokens[end].kind == "operator":
            depth += (tokens[end].value in "([{") - (tokens[end].value in ")]}")
            if not depth:
                return tokens[index + 1 : end]
    return tokens[index + 1 :]


def _dotted(tokens: Sequence[Token], at: int) -> str:
    """Return the name of a filter or a test, which may have dots."""
    name = tokens[at].value
    while _at(tokens, at + 1).value == "." and _at(tokens, at + 2).kind == "name":
        name, at = f"{name}.{tokens[at + 2].value}", at + 2
    return name


class _Walk:
    """A walk over all blocks of a template; `macros` are its own, `built` the names of texts it puts together."""

    def __init__(self, found: Sequence[Block]) -> None:
        self.macros: set[str] = set()
        self.built: set[str] = set(_TOKENS)
        statements = [block.tokens for block in found if block.opening == "{%"]
        parameters: set[str] = set()
        for tokens in statements:
            if tokens[0].value == "macro" and len(tokens) > 1:
                self.macros.add(tokens[1].value)
                parameters.update(token.value for token in tokens[2:] if token.kind == "name")
        for _ in range(3):  # a name that is given another name's text, and one that is given that
            for tokens in statements:
                self._assign(tokens)
            if any(self._is_built_call(block.tokens) for block in found):
                self.built |= parameters

    def _assign(self, tokens: Sequence[Token]) -> None:
        """Note the names that a statement gives a text which it puts together."""
        tag = tokens[0].value
        if tag not in ("set", "with", "for"):
            return
        stop = "in" if tag == "for" else "="
        cut = next((at for at, token in enumerate(tokens) if token.value == stop), len(tokens))
        targets = {token.value for token in tokens[1:cut] if token.kind == "name"}
        value = tokens[cut + 1 :]
        if self.is_built(value) or (tag == "set" and cut == len(tokens)):
            self.built |= targets

    def _is_built_call(self, tokens: Sequence[Token]) -> bool:
        """Tell whether a macro is given a text that the template puts together."""
        return any(
            token.value in self.macros and _at(tokens, at + 1).value == "(" and self.is_built(_span(tokens, at + 1))
            for at, token in enumerate(tokens)
            if token.kind == "name" and _at(tokens, 0).value != "macro"
        )

    def is_built(self, tokens: Sequence[Token]) -> bool:
        """Tell whether an expression can be a text that is in the template only in pieces."""
        texts = any(token.kind == "text" for token in tokens)
        for at, token in enumerate(tokens):
            before, after = _at(tokens, at - 1), _at(tokens, at + 1)
            if token.kind == "operator":
                if token.value == "~" or (texts and token.value in _BUILDERS):
                    return True
            elif token.kind == "name":
                if before.value == "|" and not (
                    token.value in _KEEPING or (token.value == "trim" and after.value != "(")
                ):
                    return True
                if texts and before.value == "." and after.value == "(":
                    return True
                if token.value in self.built and before.value != "|":
                    return True
        return False

    def steps(self, block: Block) -> Iterator[tuple[Token, str, str]]:
        """Yield token, type and name of everything that a block does."""
        tokens: Sequence[Token] = block.tokens
        if block.opening == "{%":
            tag = tokens[0].value
            yield tokens[0], "tag", tag
            tokens = tokens[1:]
            if tag == "macro":
                yield from self._literals(tokens)
                return
            if tag == "filter" and tokens:
                yield tokens[0], "filter", tokens[0].value
        for at, token in enumerate(tokens):
            if token.kind == "name":
                yield from self._name(tokens, at)
            elif token.kind == "operator":
                yield from self._bracket(tokens, at)
        yield from self._literals(tokens)

    def _literals(self, tokens: Iterable[Token]) -> Iterator[tuple[Token, str, str]]:
        for token in tokens:
            if token.kind == "text" and len(token.value) <= LITERAL and _HIDDEN.fullmatch(token.value):
                yield token, "text", token.value[:SHOWN]

    def _name(self, tokens: Sequence[Token], at: int) -> Iterator[tuple[Token, str, str]]:
        token, before, after = tokens[at], _at(tokens, at - 1), _at(tokens, at + 1)
        called = after.value == "(" and after.kind == "operator"
        if before.kind == "operator" and before.value == ".":
            yield token, "method" if called else "attribute", token.value
        elif before.kind == "operator" and before.value == "|":
            yield token, "filter", _dotted(tokens, at)
            yield from self._filter(tokens, at)
        elif _is_test(tokens, at) and token.value != "not":
            yield token, "test", _dotted(tokens, at)
        elif token.value in _WORDS:
            return
        elif called:
            if token.value not in self.macros:
                yield token, "call", token.value
        else:
            yield token, "name", token.value

    def _filter(self, tokens: Sequence[Token], at: int) -> Iterator[tuple[Token, str, str]]:
        """Yield what a filter is given that is a name of something."""
        token = tokens[at]
        if token.value not in _NAMING or _at(tokens, at + 1).value != "(":
            return
        inside = _span(tokens, at + 1)
        if self.is_built(inside):
            yield token, "filter", COMPUTED
        type_, first = _NAMING[token.value], _at(inside, 0)
        if type_ and first.kind == "text":
            yield first, type_, first.value
        elif type_ and inside and _at(inside, 1).value != "=":
            yield token, "filter", COMPUTED
        for text in inside:
            if text.kind == "text" and not type_:
                yield text, "attribute", text.value

    def _bracket(self, tokens: Sequence[Token], at: int) -> Iterator[tuple[Token, str, str]]:
        """Yield a call of what an expression yields, and the item that is looked up."""
        token, before = tokens[at], _at(tokens, at - 1)
        value = before.kind in ("text", "number") or (before.kind == "operator" and before.value in ")]}")
        value = value or (before.kind == "name" and before.value in _CONSTANTS)
        if token.value == "(" and value:
            yield token, "call", COMPUTED
        elif token.value == "[":
            inside = _span(tokens, at)
            value = value or (before.kind == "name" and before.value not in _WORDS)
            if len(inside) == 1 and inside[0].kind == "text":  # or a list of one text, which harms nobody
                yield inside[0], "attribute", inside[0].value
            elif value and not _is_slice(inside) and self.is_built(inside):
                yield token, "item", COMPUTED


def _is_slice(inside: Sequence[Token]) -> bool:
    """Tell whether what stands in brackets is a slice, which never looks up a name."""
    depth = 0
    for token in inside:
        if token.kind == "operator":
            depth += (token.value in "([{") - (token.value in ")]}")
            if token.value == ":" and not depth:
                return True
    return False
