"""Pages: Markdown with or without front matter, as the cards of models and data sets are.

A page is read by people. What keeps it from being anything else is checked: no compiler of Python takes it, its front
matter is YAML and says what its keys say, no line of it opens like a program's, and if it is a template as well, it
does what its steps say. Specification: https://spec.commonmark.org/, https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats import pickle, script, svg, text
from weighbridge.formats.base import Context, Format
from weighbridge.formats.source import TEXT_STARTS, opens_no_program
from weighbridge.reader import Reader, Sample

# Three dashes on a line of their own, a heading, marked or underlined, or an element of HTML that pages begin with.
_BEGIN: Final = (
    rb"(?:\xef\xbb\xbf)?\s*(?:---[ \t]*\r?\n|#{1,6} \S|<!--|<(?:div|p|h[1-6]|img|a|br|center|table|details|picture)\b"
    rb"|!?\[[^\]\n]{1,200}\]\(\S|\*\*\w"
    rb"|(?:={3,}[ \t]*\r?\n)?[^\n:#\[\]{}<>=]{1,200}\r?\n(?:={3,}|-{4,})[ \t]*(?:\r?\n|\Z))"
)
# Comments in front of a key: a heading and the comment of a configuration look alike.
_COMMENTED: Final = (
    rb"(?:\xef\xbb\xbf)?(?:[ \t]*(?:#[^\n]*)?\r?\n)+(?:[a-z_][\w.-]{0,80}|\"[^\"\n]{1,80}\"):(?:[ \t\r\n])"
)


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin as a page does and no compiler of Python takes them."""
    head = sample.head
    if (
        b"\0" in head
        or re.match(_BEGIN, head, re.IGNORECASE) is None
        or re.match(_COMMENTED, head)
        or text.sniff(sample)
    ):
        return False
    if script.sniff(sample) or pickle.sniff(sample) or svg.sniff(sample):
        return False
    return opens_no_program(sample)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield what the front matter and a template in the page say; see `parse.parse`."""
    from weighbridge.formats.document.parse import parse as parse_page

    return parse_page(reader, context)


FORMAT: Final = Format("document", "Markdown page", sniff, parse, TEXT_STARTS, textual=True)
