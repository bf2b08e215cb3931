"""Jinja templates, such as chat templates: read, never rendered.

A template is a program in a sandbox that leaks: objects that every Jinja environment has, and attributes with two
underscores, lead to Python's own functions (CVE-2024-34359, CVE-2016-10745, CVE-2024-56326, CVE-2025-27516). What a
template does is told as one `Step` for each thing that it names; what it may name is data.

Specification: https://jinja.palletsprojects.com/en/stable/templates/, and jinja2/lexer.py for the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.errors import LimitError
from weighbridge.facts import Fact
from weighbridge.formats import document, json, yaml
from weighbridge.formats.base import Context, Format
from weighbridge.formats.source import TEXT_STARTS
from weighbridge.reader import Reader, Sample

LIMIT: Final = 4 << 20  # bytes; chat templates have some thousands
SEARCHED: Final = 64 << 20  # bytes that are searched for a block, which takes 1 ms for each 2 MB
# The beginning of a statement, or of an expression that may span lines.
BLOCK: Final = rb"\{%[-+]?\s*[A-Za-z_]|\{\{[-+]?\s*[\w'\"(\[{]"


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes are text with a block of Jinja that is no document which shows such blocks."""
    if b"\0" in sample.head or b"\0" in sample.tail:
        return False
    if sample.view is None or sample.size <= len(sample.tail):
        text: bytes | memoryview = sample.tail
        if b"{%" not in text and b"{{" not in text:
            return False
    else:
        text = sample.view[:SEARCHED]  # a pickle of letters can have a template before megabytes of other texts
    if not re.search(BLOCK, text) or (text is not sample.tail and re.search(rb"\0", text)):
        return False
    return not (json.sniff(sample) or yaml.sniff(sample) or document.sniff(sample))


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the template and what it does.

    Raises ArtifactError when it is no UTF-8 or no template, LimitError when it is too long.
    """
    from weighbridge.formats.jinja.steps import decoded, observe

    if reader.size > LIMIT:
        raise LimitError(reader.origin, f"{reader.size} bytes of a template, limit is {LIMIT}")
    source = decoded(reader)
    yield from observe(source, reader.origin)
    from weighbridge.formats.yaml.parse import aside

    yield from aside(source, reader, context)


FORMAT: Final = Format("jinja", "Jinja template", sniff, parse, TEXT_STARTS, textual=True)
