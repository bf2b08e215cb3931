"""Formats: bytes to facts. One module or package per format, found by content.

More than one format may recognise the same bytes; then every one of them parses (a polyglot).
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final

from weighbridge.formats import (
    compressed,
    document,
    empty,
    gguf,
    hdf5,
    image,
    jinja,
    json,
    leaves,
    lightgbm,
    lines,
    lockfile,
    native,
    numpy,
    onnx,
    ort,
    page,
    pickle,
    pointer,
    safetensors,
    script,
    sentencepiece,
    seven_zip,
    svg,
    tar,
    text,
    toml,
    ubjson,
    yaml,
    zip,
)
from weighbridge.formats.base import PREFIX, Format
from weighbridge.reader import Sample

FORMATS: Final[tuple[Format, ...]] = (
    pickle.FORMAT,
    zip.FORMAT,
    safetensors.FORMAT,
    gguf.FORMAT,
    numpy.FORMAT,
    onnx.FORMAT,
    ort.FORMAT,
    hdf5.FORMAT,
    *compressed.FORMATS,
    tar.FORMAT,
    seven_zip.FORMAT,
    native.FORMAT,
    *script.FORMATS,
    *pointer.FORMATS,
    lockfile.FORMAT,
    leaves.FORMAT,
    page.FORMAT,
    image.FORMAT,
    svg.FORMAT,
    sentencepiece.FORMAT,
    lightgbm.FORMAT,
    ubjson.FORMAT,
    json.FORMAT,
    yaml.FORMAT,
    toml.FORMAT,
    document.FORMAT,
    jinja.FORMAT,
    *lines.FORMATS,
    text.FORMAT,
    empty.FORMAT,
)

# What the parsers of two formats say more closely of a file, beside the format itself.
VARIANTS: Final = {"torch-zip": "checkpoint of torch, in a zip", "torch-legacy": "checkpoint of torch before 1.6"}


def names() -> list[str]:
    """Return every name that a file may have for a format."""
    return [*(one.name for one in FORMATS), *VARIANTS]


def sniff(sample: Sample) -> tuple[Format, ...]:
    """Return every format that recognises the bytes, in the order of the table."""
    head = sample.head
    return tuple([format_ for format_ in _able(head[:PREFIX], b"\0" not in head) if format_.sniff(sample)])


@lru_cache(maxsize=256)  # the files of a folder, and the members of their archives, begin alike
def _able(prefix: bytes, textual: bool) -> tuple[Format, ...]:
    """Return the formats whose files can begin with these bytes."""
    possible = _possible(prefix[:1], textual)
    return tuple([one for one in possible if one.may_begin is None or one.may_begin(prefix)])


@cache
def _possible(first: bytes, textual: bool) -> tuple[Format, ...]:
    """Return the formats whose files can begin with a byte, and with no NUL soon, or with one.

    Asking all of them would take half of the time that the scan of a small member takes.
    """
    able = (one for one in FORMATS if one.starts is None or (first and first in one.starts))
    return tuple(one for one in able if textual or not one.textual)
