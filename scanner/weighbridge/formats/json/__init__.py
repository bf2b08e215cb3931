"""JSON and lines of JSON: the configurations, indexes, vocabularies and logs that lie beside a model.

The text is data; what it makes a loader do is told as pointers and templates (`settings`). `NaN` and `Infinity` are
taken, for trainers write them. Specification: RFC 8259, https://jsonlines.org/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

# An object that is empty or begins with a name, or a list that is empty or begins with a value.
# A name alone in brackets is the head of a table of TOML.
_BEGIN: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?[ \t\r\n]*(?:\{[ \t\r\n]*[\"}]"
    rb"|\[(?!\[[ \t]*[A-Za-z_][\w.-]*[ \t]*\]\])[ \t\r\n]*(?:[\"\[{\]0-9-]|true\b|false\b|null\b|NaN\b|Infinity\b))"
)


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin as an object or a list does."""
    return _BEGIN.match(sample.head) is not None and b"\0" not in sample.head


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield what the document makes a loader do; see `parse.parse`."""
    from weighbridge.formats.json.parse import parse as parse_document

    return parse_document(reader, context)


FORMAT: Final = Format("json", "JSON or lines of JSON", sniff, parse, b"{[ \t\r\n\xef", textual=True)
