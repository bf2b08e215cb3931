"""The schema language of trust entries: what the arguments of a call may look like.

    (persistent | <storage>, int, ints, ints, bool, {} | none, any?) -> tensor

A schema is compiled once into a function of a value and the session of one program.

* `any none bool false int uint float number str text bytes literal list tuple dict set ints` are kinds of values;
  `persistent` is a persistent id; `nested` is a literal that was examined as a file of torch that holds a storage
* `'latin1'` is that string, `/regex/` a string that matches it whole, `0..255` a whole number in the range
* `@pkg.name` is that import, `@{pkg: a b; pkg.sub: c}` one of the set, `@class` a plain class, `@any` an import
  that a trust entry calls a reference or a class
* `<tag>` is the result of a trusted call or persistent id with that tag, or of a trusted call of that callable
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
from typing import Final, Protocol

from weighbridge.columns import fills_its_buffers
from weighbridge.formats.pickle.joblib import fits
from weighbridge.names import normalise
from weighbridge.pixels import holds_its_pixels
from weighbridge.records import dataclass
from weighbridge.symbols import (
    ELISIONS,
    Call,
    Dict,
    Elided,
    ElidedBytes,
    ElidedInt,
    ElidedText,
    ElidedUint,
    Global,
    PersistentId,
    Set,
    Span,
    Value,
)

WORK_LIMIT: Final = 50_000_000  # parts of values that the schemas of one program may visit
INDEX_LIMIT: Final = 1 << 48  # no shape, stride or offset is larger; numpy and torch refuse far less


class Session(Protocol):
    """What a schema may ask about the program that a value belongs to."""

    def tag(self, value: Call | PersistentId) -> str | None:
        """Return the tag of what a trusted call or persistent id results in, None when it is not trusted."""

    def name(self, value: Value) -> Global | None:
        """Return the import that a value is, or the class for which a persistent id stands."""

    def refers(self, name: Global, kind: str) -> bool:
        """Tell whether a trust entry makes an import a reference or class (`any`) or a plain class (`class`)."""

    def nested(self, value: Value) -> bool:
        """Tell whether a literal was examined as a file of torch of its own, which holds a storage."""

    def hashable(self, value: Value) -> bool:
        """Tell whether hashing and comparing a value runs nothing that was not reviewed."""

    def members(self, value: Call) -> list[Value]:
        """Return the keys and values, by turns, that the program sets in the result of a call."""

    def spend(self, parts: int) -> None:
        """Count visited parts; raise WorkError over WORK_LIMIT."""


class WorkError(Exception):
    """A value is so large or so shared that matching it costs more than it may."""


class SchemaError(ValueError):
    """A schema is not well formed."""


Check = Callable[[Value, Session], bool]


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


def _any(value: Value, session: Session) -> bool:
    """Tell whether a value may be passed along: everything but an import that may only be called."""
    if type(value) is not Global and type(value) is not PersistentId:
        return True
    name = session.name(value)
    return name is None or session.refers(name, "any")


def _none(value: Value, _: Session) -> bool:
    return value is None


def _is(*types: type) -> Check:
    kinds = frozenset(types)
    return lambda value, _: type(value) in kinds


def _uint(value: Value, _: Session) -> bool:
    return (type(value) is int and value >= 0) or type(value) is ElidedUint


def _text(value: Value, _: Session) -> bool:
    return type(value) in (str, ElidedText) or (type(value) is Span and value.kind == "str")


def _bytes(value: Value, session: Session) -> bool:
    if type(value) is Call:
        return session.tag(value) == "bytes"
    return type(value) in (bytes, ElidedBytes) or (type(value) is Span and value.kind != "str")


def _ints(value: Value, session: Session) -> bool:
    if type(value) is not tuple and type(value) is not list:
        return False
    session.spend(len(value))
    for item in value:  # noqa: SIM110 - as in `_any_of`
        if not ((type(item) is int and 0 <= item < INDEX_LIMIT) or type(item) is ElidedUint):
            return False
    return True


_SCALARS: Final = frozenset({str, bytes, int, float, bool, complex, type(None), Span}) | ELISIONS


def _literal(value: Value, session: Session) -> bool:
    parts: list[Value] = [value]
    while parts:
        part = parts.pop()
        kind = type(part)
        if kind in _SCALARS:
            continue
        if not isinstance(part, tuple | list):
            return False
        session.spend(len(part))
        if not _SCALARS.issuperset(map(type, part)):
            parts += part
    return True


def _plain_set(value: Value, session: Session) -> bool:
    if type(value) is not Set:
        return False
    session.spend(len(value))
    return _SCALARS.issuperset(map(type, value))


def _pair(value: Value, session: Session) -> bool:
    if (type(value) is not tuple and type(value) is not list) or len(value) != 2:
        return False
    key, item = value
    return session.hashable(key) and _any(item, session)


def _hashables(value: Value, session: Session) -> bool:
    if type(value) is not list:
        return False
    session.spend(len(value))
    return _SCALARS.issuperset(map(type, value)) or all(session.hashable(part) for part in value)


def _hashed_array(value: Value, session: Session) -> bool:
    return type(value) is Call and session.tag(value) == "ndarray"


def _tables(value: Value, session: Session) -> bool:
    if type(value) is Dict:
        session.spend(len(value))
        return all(type(part) is Dict for part in value[1::2])
    if type(value) is not Call or session.tag(value) is None or value.subject != "collections.defaultdict":
        return False
    given = value.arguments[1:] if type(value.arguments) is tuple else (None,)
    return all(_tables(part, session) for part in given) and all(
        type(part) is Dict for part in session.members(value)[1::2]
    )


def _nested(value: Value, session: Session) -> bool:
    return session.nested(value)


_WORDS: Final[dict[str, Check]] = {
    "any": _any,
    "none": _none,
    "bool": _is(bool),
    "false": lambda value, _: value is False,
    "int": _is(int, ElidedInt, ElidedUint),
    "uint": _uint,
    "float": _is(float, Elided),
    "number": _is(int, ElidedInt, ElidedUint, float, Elided, complex),
    "str": _is(str, ElidedText),
    "text": _text,
    "bytes": _bytes,
    "literal": _literal,
    "list": _is(list),
    "tuple": _is(tuple),
    "dict": _is(Dict),
    "set": _is(Set),
    "ints": _ints,
    "persistent": _is(PersistentId),
    "nested": _nested,
    "fits": lambda value, _: fits(value),
    "picture": lambda value, _: holds_its_pixels(value),
    "column": lambda value, _: fills_its_buffers(value),
    "plain-set": _plain_set,
    "hashable": lambda value, session: session.hashable(value),
    "hashables": _hashables,
    "hashed-array": _hashed_array,
    "pair": _pair,
    "tables": _tables,
}
WORDS: Final = frozenset(_WORDS)


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
        check = _WORDS.get(text) or self.defined.get(text)
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
