"""YAML: configurations of trainers, environments and flavours, read as events that construct nothing.

A tag makes some loaders call a function (`!!python/object/apply`, `!new:`), so every tag is a pointer; what the keys
say is told as for JSON. Specification: https://yaml.org/spec/1.1/, which the common readers of Python follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats import document, pickle, pointer, script, text
from weighbridge.formats.base import Context, Format
from weighbridge.formats.source import TEXT_STARTS
from weighbridge.reader import Reader, Sample

# Comments, then a key with its value or the first entry of a list.
_BEGIN: Final = (
    rb"(?:\xef\xbb\xbf)?(?:[ \t]*(?:#[^\n]*)?\r?\n)*"
    rb"(?:[A-Za-z_$][\w./ -]{0,80}|\"[^\"\n]{1,80}\"|'[^'\n]{1,80}'):(?:[ \t\r]|\n)"
    rb"|(?:[ \t]*(?:#[^\n]*)?\r?\n)*- +[A-Za-z_][\w./-]{0,80}:(?:[ \t\r]|\n)"
)


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin with a key and are nothing else that is known by how it begins."""
    head = sample.head
    if b"\0" in head or re.match(_BEGIN, head) is None or document.sniff(sample):
        return False
    others = (text.sniff, script.sniff_python, script.sniff, pointer.sniff_lfs, pointer.sniff_dvc, pickle.sniff)
    return not any(other(sample) for other in others)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the tags, and what the keys make a loader do; see `parse.parse`."""
    from weighbridge.formats.yaml.parse import parse as parse_document

    return parse_document(reader, context)


FORMAT: Final = Format("yaml", "YAML", sniff, parse, TEXT_STARTS, textual=True)
