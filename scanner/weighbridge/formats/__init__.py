"""Formats: bytes to facts. One module or package per format, found by content.

More than one format may recognise the same bytes; then every one of them parses (a polyglot).
"""

from __future__ import annotations

from functools import cache
from typing import Final

from weighbridge.formats import (
    compressed,
    document,
    gguf,
    jinja,
    json,
    lines,
    lockfile,
    native,
    numpy,
    onnx,
    ort,
    pickle,
    pointer,
    safetensors,
    script,
    seven_zip,
    tar,
    text,
    yaml,
    zip,
)
from weighbridge.formats.base import Format
from weighbridge.reader import Sample

FORMATS: Final[tuple[Format, ...]] = (
    pickle.FORMAT,
    zip.FORMAT,
    safetensors.FORMAT,
    gguf.FORMAT,
    numpy.FORMAT,
    onnx.FORMAT,
    ort.FORMAT,
    *compressed.FORMATS,
    tar.FORMAT,
    seven_zip.FORMAT,
    native.FORMAT,
    *script.FORMATS,
    *pointer.FORMATS,
    lockfile.FORMAT,
    json.FORMAT,
    yaml.FORMAT,
    document.FORMAT,
    jinja.FORMAT,
    *lines.FORMATS,
    text.FORMAT,
)


def sniff(sample: Sample) -> tuple[Format, ...]:
    """Return every format that recognises the bytes, in the order of the table."""
    return tuple([format_ for format_ in _starting(sample.head[:1]) if format_.sniff(sample)])


@cache
def _starting(first: bytes) -> tuple[Format, ...]:
    """Return the formats whose files can begin with a byte; asking the others takes a third of the scan of a member."""
    return tuple(format_ for format_ in FORMATS if format_.starts is None or (first and first in format_.starts))
