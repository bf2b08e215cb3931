"""Universal Binary JSON, the form in which XGBoost saves its models (`.ubj`).

Numbers are stepped over and everything else is looked at as in JSON, for both forms say the same. A marker that the
format does not have, a key that comes twice, and bytes behind the value are errors.
Specification: https://ubjson.org/type-reference/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from weighbridge.errors import ArtifactError, LimitError, TruncatedError
from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

LIMIT: Final = 1 << 30  # bytes of a document
MAX_VALUES: Final = 4_000_000  # outside of arrays of one type
MAX_DEPTH: Final = 128  # as in JSON
_HEAD: Final = b"{L\0"
_NUMBERS: Final = {ord(mark): size for mark, size in zip("iUIlLdD", (1, 1, 2, 4, 8, 4, 8), strict=True)}
_INTEGERS: Final = frozenset(b"iUIlL")
_PLAIN: Final = {ord("Z"): None, ord("T"): True, ord("F"): False}
_CHARACTER, _STRING, _HIGH, _NOTHING = b"CSHN"
_ARRAY, _OBJECT, _ARRAY_END, _OBJECT_END, _TYPE, _COUNT = b"[{]}$#"


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin with an object whose first key has its length in eight bytes, as XGBoost's have."""
    return sample.head.startswith(_HEAD)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield what the texts say; raise ArtifactError when it is no such document, LimitError when it is too large."""
    if reader.size > LIMIT:
        raise LimitError(reader.origin, f"{reader.size} bytes of UBJSON, limit is {LIMIT}")
    document = _Document(reader, context)
    tree = document.value(document.mark(), 0)
    if document.at != reader.size:
        raise ArtifactError(reader.at(document.at), f"{reader.size - document.at} bytes behind the document")
    from weighbridge.formats.json import settings  # not needed by a scan that meets no such document

    yield from settings.observe(tree, reader, b"", context)


class _Document:
    """A descent over a document; `at` is the next byte."""

    def __init__(self, reader: Reader, context: Context) -> None:
        self.reader = reader
        self.context = context
        self.at = 0
        self._values = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        self.skip(size)
        return self.reader.read(self.at - size, size)

    def skip(self, size: int) -> None:
        """Step over bytes that have to be there."""
        left = self.reader.size - self.at
        if size > left:
            raise TruncatedError(self.reader.at(self.at), f"want {size} bytes, {left} left")
        self.at += size

    def mark(self) -> int:
        """Return the next byte that says what follows."""
        mark = self.take(1)[0]
        while mark == _NOTHING:
            mark = self.take(1)[0]
        return mark

    def error(self, reason: str) -> ArtifactError:
        """Return the error that a document is not one, where it stands."""
        return ArtifactError(self.reader.at(self.at), reason)

    def length(self) -> int:
        """Return a length or a count."""
        mark = self.mark()
        if mark not in _INTEGERS:
            raise self.error("a length that is no whole number")
        value = int.from_bytes(self.take(_NUMBERS[mark]), "big", signed=mark != ord("U"))
        if value < 0:
            raise self.error("a length below zero")
        return value

    def text(self) -> str:
        """Return a text behind its marker."""
        data = self.take(self.length())
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error("a text that is not UTF-8") from error

    def value(self, mark: int, depth: int) -> Any:
        """Return a value; numbers are 0, for nothing looks at them."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise LimitError(self.reader.origin, f"more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise LimitError(self.reader.origin, f"nested deeper than {MAX_DEPTH}")
        if mark in _NUMBERS:
            self.skip(_NUMBERS[mark])
            return 0
        if mark in _PLAIN:
            return _PLAIN[mark]
        if mark in (_STRING, _HIGH):
            return self.text()
        if mark == _CHARACTER:
            return self.take(1).decode("latin-1")
        if mark == _ARRAY:
            return self._array(depth)
        if mark == _OBJECT:
            return self._object(depth)
        raise self.error(f"a value that begins with {mark:#04x}")

    def _kind(self) -> tuple[int | None, int | None, int]:
        """Return the type of all values and their count, where they are told, and the first mark behind that."""
        mark, kind, count = self.mark(), None, None
        if mark == _TYPE:
            kind, mark = self.mark(), self.mark()
            if mark != _COUNT:
                raise self.error("a type without a count")
        if mark == _COUNT:
            count, mark = self.length(), 0
        return kind, count, mark

    def _array(self, depth: int) -> list[Any]:
        kind, count, mark = self._kind()
        if kind in _NUMBERS and count is not None:
            self.skip(count * _NUMBERS[kind])
            self.context.budget.check_time(self.reader.origin)
            return []
        found: list[Any] = []
        while (mark != _ARRAY_END) if count is None else (len(found) < count):
            found.append(self.value(kind or mark or self.mark(), depth + 1))
            mark = self.mark() if count is None else 0
        return found

    def _object(self, depth: int) -> dict[str, Any]:
        kind, count, mark = self._kind()
        found: dict[str, Any] = {}
        while (mark != _OBJECT_END) if count is None else (len(found) < count):
            if count is None:
                self.at -= 1  # the mark is that of the key's length
            key = self.text()
            if key in found:
                raise self.error(f"the key {key[:80]!r} comes twice")
            found[key] = self.value(kind or self.mark(), depth + 1)
            mark = self.mark() if count is None else 0
        return found


FORMAT: Final = Format("ubjson", "UBJSON document (XGBoost model)", sniff, parse, b"{")
