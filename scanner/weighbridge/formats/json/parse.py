"""The strict reading of a document, and the facts of what is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Anomaly, Fact, Pointer
from weighbridge.formats.base import Context
from weighbridge.formats.json import settings, verdict
from weighbridge.reader import Reader
from weighbridge.remote import RangeReader

LIMIT: Final = 128 << 20  # bytes; the largest tokenizers have 35 MB
# A value is behind one of these; the largest tokenizers have two million. A value takes about a hundred bytes.
MAX_VALUES: Final = 8_000_000


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield duplicate keys, pointers, templates and programs of a document.

    Raises ArtifactError when it is not JSON, LimitError when it is too large, nested too deep, or not all fetched.
    """
    data = _bytes(reader)
    duplicates: list[str] = []
    tree = _decode(reader, data, duplicates)
    for key in dict.fromkeys(duplicates):
        detail = f"the key {key[:80]!r} comes twice in an object"
        yield Anomaly(location=settings.place(reader, data, key), code="json-duplicate-key", detail=detail)
    told = verdict.is_verdict(tree)
    for fact in settings.observe(tree, reader, data, context):
        if not told or not isinstance(fact, Pointer) or fact.type == "interpolation":  # which has no need of a key
            yield fact
    if b"{{" in data or b"{%" in data:
        from weighbridge.formats.jinja.steps import beside

        yield from beside(data.decode("utf-8"), reader.origin)


def _bytes(reader: Reader) -> bytes:
    if reader.size > LIMIT:
        raise LimitError(reader.origin, f"{reader.size} bytes of JSON, limit is {LIMIT}")
    if isinstance(reader, RangeReader):
        reader.load(0, reader.size)  # more than a window gives at once, for a vocabulary has to be read to its end
        return bytes(reader.image)
    return bytes(reader.view)


def _decode(reader: Reader, data: bytes, duplicates: list[str]) -> Any:
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise LimitError(reader.origin, f"more than {MAX_VALUES} values")
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ArtifactError(reader.at(error.start), "not UTF-8") from error

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            duplicates.extend(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return found

    decoder = json.JSONDecoder(object_pairs_hook=collect)
    try:
        try:
            return decoder.decode(text)
        except json.JSONDecodeError as error:
            if not error.msg.startswith("Extra data"):
                raise
            return [decoder.decode(line) for line in text.split("\n") if line.strip()]
    except json.JSONDecodeError as error:
        raise ArtifactError(reader.origin, f"not JSON: {error.msg} in line {error.lineno}") from error
    except ValueError as error:  # a number with more digits than Python turns into one
        raise ArtifactError(reader.origin, "a number that is too long") from error
    except RecursionError as error:
        raise LimitError(reader.origin, "nested too deep") from error
