"""The schema language of trust entries: what the arguments of a call may look like.

    (persistent | <storage>, int, ints, ints, bool, {} | none, any?) -> tensor

A schema is compiled once into a function of a value and the session of one program.

* `any none bool false int uint float number str text bytes literal list tuple dict set ints` are kinds of values;
  `persistent` is a persistent id; `nested` is a literal that was examined as a file of torch that holds a storage
* `'latin1'` is that string, `/regex/` a string that matches it whole, `0..255` a whole number in the range
* `@pkg.name` is that import, `@{pkg: a b; pkg.sub: c}` one of the set, `@class` a plain class, `@any` an import
  that a trust entry calls a reference or a class
* `<tag>` is the result of a trusted call or persistent id with that tag, or of a trusted call of that callable;
  `<unreviewed>` never fits: a call that it alone stands against is told as unreviewed, whatever rules say of it
* `[s]` is a list of s, `(a, b?, c*)` a tuple, `{}` an empty dict, `{k: v}` a dict, `{k: v, l: w}` a dict in which the
  first of `k` and `l` that fits a key decides about its value, `a | b` either, `a & b` both
* `fits` is the state of a numpy record dtype whose parts lie inside its size, `picture` that of a picture of Pillow
  that has all of its pixels, `column` the data of a column of Arrow that fills its buffers; `plain-set` is a set of
  plain values
* `hashable` is a value that may be hashed and compared, `pair` two values of which the first is one, `tables` a dict or
  a defaultdict that holds nothing but dicts; `hashables` is a list of values that may be hashed, `hashed-array` an
  array of nothing else
* any other word is a definition of the file

A signature is a tuple schema, with `**{k: v}` as its last part for keywords, and `-> tag` for the result; `-> @1`
says that the result is an instance of the class given as the first argument, `-> @2` of a persistent id that it is the
class given as its second part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from weighbridge.names import normalise
from weighbridge.records import dataclass
from weighbridge.schema_words import INDEX_LIMIT, WORDS, Check, Session
from weighbridge.symbols import Call, Dict, Global, PersistentId, Value


class SchemaError(ValueError):
    """A schema is not well formed."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The arguments a callable may get, and the tag of what it returns."""

    text: str
    arguments: Check
    keywords: Check | None
    result: str


_PARTS: Final = (
    r"\s*(?:(?P<string>'[^']*')|(?P<regex>/(?:[^/\\]|\\.)*/)|(?P<set>@\{[^}]*\})|(?P<name>@[\w.]+)|(?P<tag><[\w.\-]+>)"
    r"|(?P<range>(?:-?\d+)?\.\.(?:-?\d+)?)|(?P<number>-?\d+)|(?P<arrow>->)|(?P<stars>\*\*)|(?P<word>[A-Za-z_][\w\-]*)"
    r"|(?P<mark>[()\[\]{},|&*?:]))"
)


class _Parser:
    """A recursive descent over one schema; its depth is that of the text, which is ours."""

    def __init__(self, text: str, defined: Mapping[str, Check]) -> None:
        self.text = text
        self.defined = defined
        self.tokens = self._tokens()
        self.at = 0

    def _tokens(self) -> list[tuple[str, str, int]]:
        found, position = [], 0
        token = re.compile(_PARTS)  # kept by `re`; compiling it takes 0.5 ms that not every scan needs
        text = self.text.rstrip()
        while position < len(text):
            match = token.match(text, position)
            if match is None:
                raise SchemaError(f"schema {self.text!r}, column {position + 1}: cannot be read from here")
            kind = match.lastgroup or ""
            found.append((kind, match[kind], match.start(kind)))
            position = match.end()
        found.append(("end", "", len(text)))
        return found

    def error(self, expected: str) -> SchemaError:
        """Return the error that says what was expected where the parser stands."""
        kind, text, column = self.tokens[self.at]
        found = "the end" if kind == "end" else repr(text)
        return SchemaError(f"schema {self.text!r}, column {column + 1}: expected {expected}, found {found}")

    def accept(self, text: str) -> bool:
        """Step over a mark if it stands here."""
        kind, found, _ = self.tokens[self.at]
        if found == text and kind in ("mark", "arrow", "stars"):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        """Step over a mark that must stand here."""
        if not self.accept(text):
            raise self.error(repr(text))

    def end(self) -> None:
        """Make sure that nothing is left."""
        if self.tokens[self.at][0] != "end":
            raise self.error("the end")

    def either(self) -> Check:
        """Read `a | b | c`."""
        choices = [self.both()]
        while self.accept("|"):
            choices.append(self.both())
        return choices[0] if len(choices) == 1 else _any_of(tuple(choices))

    def both(self) -> Check:
        """Read `a & b & c`."""
        parts = [self.one()]
        while self.accept("&"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else _all_of(tuple(parts))

    def one(self) -> Check:
        """Read one schema without alternatives."""
        kind, text, _ = self.tokens[self.at]
        if self.accept("("):
            return self.rest_of_tuple()
        if self.accept("["):
            item = self.either()
            self.expect("]")
            return _list_of(item)
        if self.accept("{"):
            return self.rest_of_dict()
        if kind == "word":
            self.at += 1
            return self.word(text)
        atom = _ATOMS.get(kind)
        if atom is None:
            raise self.error("a schema")
        self.at += 1
        return atom(text)

    def word(self, text: str) -> Check:
        """Return the schema of a word, ours or the file's."""
        check = WORDS.get(text) or self.defined.get(text)
        if check is None:
            self.at -= 1
            raise self.error("a schema word or a definition")
        return check

    def rest_of_tuple(self) -> Check:
        """Read a tuple schema behind its opening parenthesis, without keywords."""
        check, keywords = self.parameters()
        if keywords is not None:
            raise self.error("no keywords in a tuple")
        return check

    def parameters(self) -> tuple[Check, Check | None]:
        """Read `a, b?, c*, **{k: v})`."""
        required: list[Check] = []
        optional: list[Check] = []
        rest: Check | None = None
        keywords: Check | None = None
        while not self.accept(")"):
            if self.accept("**"):
                self.expect("{")
                keywords = self.rest_of_dict()
                self.expect(")")
                break
            check = self.either()
            if self.accept("*"):
                rest = check
            elif self.accept("?"):
                optional.append(check)
            elif optional or rest:
                raise self.error("'?' behind an optional part")
            else:
                required.append(check)
            if not self.accept(","):
                self.expect(")")
                break
        return _tuple_of(tuple(required), tuple(optional), rest), keywords

    def rest_of_dict(self) -> Check:
        """Read a dict schema behind its opening brace."""
        if self.accept("}"):
            return lambda value, _: type(value) is Dict and not value
        pairs: list[tuple[Check, Check]] = []
        while not pairs or self.accept(","):
            key = self.either()
            self.expect(":")
            pairs.append((key, self.either()))
        self.expect("}")
        return _dict_of(*pairs[0]) if len(pairs) == 1 else _dict_by_key(tuple(pairs))


def _any_of(choices: tuple[Check, ...]) -> Check:
    def check(value: Value, session: Session) -> bool:
        for choice in choices:  # noqa: SIM110 - a generator takes twice the time, and this runs for every argument
            if choice(value, session):
                return True
        return False

    return check


def _all_of(parts: tuple[Check, ...]) -> Check:
    return lambda value, session: all(check(value, session) for check in parts)


def _equal(text: str) -> Check:
    return lambda value, _: type(value) is str and value == text


def _matching(text: str) -> Check:
    pattern = re.compile(text)
    return lambda value, _: type(value) is str and pattern.fullmatch(value) is not None


def _range(text: str) -> Check:
    low_text, _, high_text = text.partition("..")
    low = int(low_text) if low_text else -INDEX_LIMIT
    high = int(high_text) if high_text else INDEX_LIMIT
    return lambda value, _: type(value) is int and low <= value <= high


def _names(text: str) -> frozenset[str]:
    found: set[str] = set()
    for part in text.split(";"):
        module, _, names = part.partition(":")
        found.update(".".join(normalise(module.strip(), name)) for name in names.split())
    return frozenset(found)


def _dotted(text: str) -> frozenset[str]:
    module, _, name = text.rpartition(".")
    return frozenset((".".join(normalise(module, name)),))


def _import_of(names: frozenset[str]) -> Check:
    return lambda value, _: type(value) is Global and value.dotted in names


def _refers(kind: str) -> Check:
    return lambda value, session: type(value) is Global and session.refers(value, kind)


def _tagged(name: str) -> Check:
    def check(value: Value, session: Session) -> bool:
        if type(value) is not Call and type(value) is not PersistentId:
            return False
        tag = session.tag(value)
        return tag is not None and (tag == name or value.subject == name)

    return check


def _list_of(item: Check) -> Check:
    def check(value: Value, session: Session) -> bool:
        if type(value) is not list:
            return False
        session.spend(len(value))
        return all(item(part, session) for part in value)

    return check


def _tuple_of(required: tuple[Check, ...], optional: tuple[Check, ...], rest: Check | None) -> Check:
    least, most = len(required), len(required) + len(optional)
    fixed = required + optional

    def check(value: Value, session: Session) -> bool:
        if type(value) is not tuple or len(value) < least or (rest is None and len(value) > most):
            return False
        session.spend(len(value))
        for one, part in zip(fixed, value, strict=False):
            if not one(part, session):
                return False
        return rest is None or all(rest(part, session) for part in value[most:])

    return check


def _dict_of(key: Check, item: Check) -> Check:
    def check(value: Value, session: Session) -> bool:
        if type(value) is not Dict:
            return False
        session.spend(len(value))
        for part in value[::2]:
            if not key(part, session):
                return False
        for part in value[1::2]:  # noqa: SIM110 - as in `_any_of`
            if not item(part, session):
                return False
        return True

    return check


def _dict_by_key(pairs: tuple[tuple[Check, Check], ...]) -> Check:
    """Return the check of a dict in which the first key schema that fits a key decides about its value."""

    def item_fits(key: Value, value: Value, session: Session) -> bool:
        for key_check, value_check in pairs:
            if key_check(key, session):
                return value_check(value, session)
        return False

    def check(value: Value, session: Session) -> bool:
        if type(value) is not Dict:
            return False
        session.spend(len(value))
        return all(item_fits(key, item, session) for key, item in zip(value[::2], value[1::2], strict=False))

    return check


def _named_import(text: str) -> Check:
    return _refers(text[1:]) if text in ("@any", "@class") else _import_of(_dotted(text[1:]))


_ATOMS: Final[dict[str, Callable[[str], Check]]] = {
    "string": lambda text: _equal(text[1:-1]),
    "regex": lambda text: _matching(text[1:-1]),
    "set": lambda text: _import_of(_names(text[2:-1])),
    "name": _named_import,
    "tag": lambda text: _tagged(text[1:-1]),
    "range": _range,
    "number": lambda text: _range(f"{text}..{text}"),
}


def compile_schema(text: str, defined: Mapping[str, Check]) -> Check:
    """Return the function that tells whether a value fits; raise SchemaError with the column."""
    parser = _Parser(text, defined)
    check = parser.either()
    parser.end()
    return check


def compile_state(text: str, defined: Mapping[str, Check]) -> Signature:
    """Return the schema of a state, and behind `->` the tag that the object has from then on."""
    parser = _Parser(text, defined)
    check = parser.either()
    result = ""
    if parser.accept("->"):
        kind, result, _ = parser.tokens[parser.at]
        if kind != "word":
            raise parser.error("the tag of the object")
        parser.at += 1
    parser.end()
    return Signature(text, check, None, result)


def compile_signature(text: str, defined: Mapping[str, Check]) -> Signature:
    """Return the signature that `text` writes down; raise SchemaError with the column."""
    parser = _Parser(text, defined)
    parser.expect("(")
    arguments, keywords = parser.parameters()
    result = ""
    if parser.accept("->"):
        kind, result, _ = parser.tokens[parser.at]
        if kind != "word" and result not in ("@1", "@2"):
            raise parser.error("the tag of the result")
        parser.at += 1
    parser.end()
    return Signature(text, arguments, keywords, result or "value")
