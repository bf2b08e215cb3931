"""Texts of lines that have one form: attributes of git, patterns of paths, requirements, vocabularies, ranks, tables.

Each is recognised by its first lines and read to the end; a line of another form is a gap. None of them may be a
program of Python as well: either no compiler takes it, or nothing in it calls.

Sources: https://git-scm.com/docs/gitattributes, https://git-scm.com/docs/gitignore, RFC 4180 (CSV),
https://pip.pypa.io/en/stable/reference/requirements-file-format/, the
vocabularies of WordPiece (vocab.txt), BPE (merges.txt) and tiktoken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.formats.source import TEXT_STARTS
from weighbridge.reader import Reader, Sample

_TITLES: Final = {
    "attributes": "attributes of git (.gitattributes)",
    "requirements": "requirements of pip",
    "tokens": "vocabulary, a token a line",
    "merges": "merges of byte-pair encoding",
    "comments": "comments and blank lines alone",
    "ignored": "patterns of paths to leave out (.gitignore)",
    "ranks": "ranks of tiktoken",
    "table": "table of values (CSV, TSV)",
}


def _format(name: str) -> Format:
    """Return a format whose patterns are compiled when a text comes by, for that takes as long as a small scan."""

    def sniff(sample: Sample) -> bool:
        from weighbridge.formats.lines.forms import FORMS

        return FORMS[name][0](sample)

    def parse(reader: Reader, context: Context) -> Iterator[Fact]:
        from weighbridge.formats.lines.forms import FORMS

        return FORMS[name][1](reader, context)

    return Format(name, _TITLES[name], sniff, parse, TEXT_STARTS, textual=True)


FORMATS: Final = tuple(map(_format, _TITLES))
