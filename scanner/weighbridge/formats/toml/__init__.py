"""TOML: `pyproject.toml`, configurations of trainers and tools.

The text is data; what it makes a loader or an installer do is told as for JSON. Specification: https://toml.io/en/v1.0.0
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats import lockfile, pickle, script, text
from weighbridge.formats.base import Context, Format
from weighbridge.formats.source import TEXT_STARTS
from weighbridge.reader import Reader, Sample

_KEY: Final = rb"(?:[A-Za-z0-9_-]+|\"[^\"\n]{0,100}\"|'[^'\n]{0,100}')"
_KEYS: Final = rb"%s(?:[ \t]*\.[ \t]*%s){0,32}" % (_KEY, _KEY)
_END: Final = rb"[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)"
# Comments, then the head of a table that is no list of JSON, or a key with a value.
_BEGIN: Final = (
    rb"(?:\xef\xbb\xbf)?(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ \t]*"
    rb"(?:\[[ \t]*(?!(?:true|false|null|[0-9-]|\")[^\n]*\])%s[ \t]*\]%s|\[\[[ \t]*[A-Za-z_]%s?[ \t]*\]\]%s"
    rb"|%s[ \t]*=[ \t]*(?:[\"'\[{0-9+-]|true\b|false\b|inf\b|nan\b))" % (_KEYS, _END, _KEYS, _END, _KEYS)
)


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin with the head of a table or a key with a value, and as nothing else."""
    head = sample.head
    if re.match(_BEGIN, head) is None or b"\0" in head or head.startswith(lockfile.HEADER):
        return False
    if any(other(sample) for other in (text.sniff, script.sniff, script.sniff_python, pickle.sniff)):
        return False
    from weighbridge.formats.lines.forms import sniff_requirements, sniff_table, sniff_tokens

    return not (sniff_requirements(sample) or sniff_table(sample) or sniff_tokens(sample))


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield what the document makes a loader or an installer do; see `parse.parse`."""
    from weighbridge.formats.toml.parse import parse as parse_document

    return parse_document(reader, context)


FORMAT: Final = Format("toml", "TOML", sniff, parse, TEXT_STARTS, textual=True)
