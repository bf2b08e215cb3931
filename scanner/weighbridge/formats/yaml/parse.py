"""The events of a YAML stream, made into plain lists, mappings and texts; tags are kept apart and aliases not followed.

The events come from libyaml, which the readers of Python use as well: another grammar would see another document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Anomaly, Fact, Gap, Pointer
from weighbridge.formats.base import Context
from weighbridge.formats.jinja.steps import beside
from weighbridge.formats.json import settings
from weighbridge.formats.source import can_call
from weighbridge.reader import Reader

if TYPE_CHECKING:
    import yaml

LIMIT: Final = 16 << 20  # bytes; the results in the largest model cards have 2 MB
MAX_EVENTS: Final = 2_000_000
_LINE: Final = "[^\n\r\x85\u2028\u2029]*[\n\r\x85\u2028\u2029]?"
_MARK: Final = "[\n\r\x85\u2028\u2029]\ufeff*(?:---|[.]{3})(?=[ \t\n\r\x85\u2028\u2029]|$)"
_FIRST_MARK: Final = "^\ufeff*(?:---(?=[ \t\n\r\x85\u2028\u2029]|$))?"
# What begins a node that is no plain text: an entry, a key, a collection, a tag, an anchor, a quotation.
_NODE: Final = r"(?:[-?:](?:[ \t]|$)|[{\[!&*\"'|>]|.*:(?:[ \t]|$))"
_STANDARD: Final = "tag:yaml.org,2002:"
# Tags of plain values: every reader that knows them makes the value, and the safe ones refuse some.
_PLAIN: Final = frozenset(
    "str int float bool null seq map set omap pairs binary timestamp python/none python/bool python/str python/unicode "
    "python/bytes python/int python/long python/float python/complex python/list python/tuple python/dict".split()
)
_RESOLVED: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Tag(NamedTuple):
    """A tag that the stream writes, and where, in characters."""

    name: str
    offset: int


class Tree(NamedTuple):
    """The documents of a stream, the tags in it, and the keys that come twice in a mapping."""

    documents: list[Any]
    tags: list[Tag]
    duplicates: list[str]


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield tags, duplicate keys, pointers and templates.

    Raises ArtifactError when it is not YAML or not UTF-8, LimitError when it is too large.
    """
    data = take(reader)
    source = decode(reader, data)
    yield from observe(read(reader, source), reader, data, context)
    yield from beside(source, reader.origin)
    if can_call(source):
        yield Gap(location=reader.origin, reason="yaml: the text could be a program of Python", size=reader.size)


def aside(source: str, reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield what a text of another format says as YAML, whoever reads it by its name, up to where it is none.

    A reader of several documents constructs each before it looks at the next, so an error hides none before it. A
    document that begins as a plain text is one to its end. Raises LimitError when there is too much to be read.
    """
    if not any(map(_is_node, _openings(source))):
        return
    if len(source) > LIMIT:
        raise LimitError(reader.origin, f"{len(source)} characters of text, limit is {LIMIT}")
    tree = _whole_documents(reader, source)
    yield from observe(tree._replace(duplicates=[]), reader, b"", context)


def _openings(source: str) -> Iterator[str]:
    """Yield the first line of every document, comments and blank lines left out."""
    line = re.compile(_LINE)
    for begin in (0, *(found.end() for found in re.finditer(_MARK, source))):
        for found in line.finditer(source, begin):
            text = re.sub(_FIRST_MARK, "", found[0]).strip()
            if text and not text.startswith(("#", "%")):
                yield text
                break


def _is_node(line: str) -> bool:
    return re.match(_NODE, line) is not None


def _whole_documents(reader: Reader, source: str) -> Tree:
    """Return the documents that end before the first error, and the tags in them."""
    import yaml

    builder = _Builder(reader)
    documents = tags = 0
    try:
        for count, event in enumerate(yaml.parse(source, Loader=yaml.CBaseLoader)):
            if count > MAX_EVENTS:
                raise LimitError(reader.origin, f"more than {MAX_EVENTS} values")
            builder.take(event)
            if type(event) is yaml.DocumentEndEvent:
                documents, tags = len(builder.documents), len(builder.tags)
    except (yaml.YAMLError, UnicodeEncodeError):
        pass  # what comes behind is no YAML
    return Tree(builder.documents[:documents], builder.tags[:tags], [])


def take(reader: Reader) -> bytes:
    """Return the bytes of a text; raise LimitError when they are too many."""
    if reader.size > LIMIT:
        raise LimitError(reader.origin, f"{reader.size} bytes of text, limit is {LIMIT}")
    return bytes(reader.view)


def decode(reader: Reader, data: bytes) -> str:
    """Return the text; raise ArtifactError when it is not UTF-8."""
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ArtifactError(reader.at(error.start), "not UTF-8") from error


def observe(tree: Tree, reader: Reader, data: bytes, context: Context) -> Iterator[Fact]:
    """Yield the facts of a stream."""
    for tag in dict.fromkeys(tree.tags):
        yield Pointer(location=reader.at(tag.offset), type="tag", key="tag", target=tag.name[: settings.SHOWN])
    for key in dict.fromkeys(tree.duplicates):
        detail = f"the key {key[:80]!r} comes twice in a mapping"
        yield Anomaly(location=settings.place(reader, data, key), code="yaml-duplicate-key", detail=detail)
    for document in tree.documents:
        yield from settings.observe(document, reader, data, context)


def read(reader: Reader, source: str) -> Tree:
    """Return the documents of a stream; raise ArtifactError when it is not YAML, LimitError when it is too large."""
    import yaml

    builder = _Builder(reader)
    try:
        for count, event in enumerate(yaml.parse(source, Loader=yaml.CBaseLoader)):
            if count > MAX_EVENTS:
                raise LimitError(reader.origin, f"more than {MAX_EVENTS} values")
            builder.take(event)
    except yaml.YAMLError as error:
        reason = str(getattr(error, "problem", None) or "a character that it does not allow")
        raise ArtifactError(reader.origin, f"not YAML: {reason}") from error
    except UnicodeEncodeError as error:
        raise ArtifactError(reader.origin, "not YAML: half of a character") from error
    return Tree(builder.documents, builder.tags, builder.duplicates)


class _Builder:
    """Takes events and builds documents, without recursion."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.documents: list[Any] = []
        self.tags: list[Tag] = []
        self.duplicates: list[str] = []
        self._open: list[Any] = []
        self._keys: list[str | None] = []

    def take(self, event: yaml.Event) -> None:
        """Take the next event."""
        name = type(event).__name__
        tag = getattr(event, "tag", None)
        if tag and tag != "!" and not (tag.startswith(_STANDARD) and tag.removeprefix(_STANDARD) in _PLAIN):
            offset = event.start_mark.index if event.start_mark is not None else 0
            self.tags.append(Tag(tag.removeprefix(_STANDARD), offset))
        if name == "ScalarEvent":
            value = event.value  # type: ignore[attr-defined]
            self._add(value if event.style else _RESOLVED.get(value.lower(), value))  # type: ignore[attr-defined]
        elif name in ("MappingStartEvent", "SequenceStartEvent"):
            if len(self._open) > settings.MAX_DEPTH:
                raise LimitError(self.reader.origin, f"nested deeper than {settings.MAX_DEPTH}")
            opened: Any = {} if name == "MappingStartEvent" else []
            self._open.append(opened)
            self._keys.append(None)
        elif name in ("MappingEndEvent", "SequenceEndEvent"):
            closed = self._open.pop()
            self._keys.pop()
            self._add(closed)
        elif name == "AliasEvent":
            self._add("")  # what it stands for is where its anchor is

    def _add(self, value: Any) -> None:
        if not self._open:
            self.documents.append(value)
        elif isinstance(self._open[-1], list):
            self._open[-1].append(value)
        elif self._keys[-1] is None:
            self._keys[-1] = value if isinstance(value, str) else str(value).lower()
        else:
            key, mapping = self._keys[-1], self._open[-1]
            if key in mapping and key != "<<":
                self.duplicates.append(key)
            mapping[key] = value
            self._keys[-1] = None
