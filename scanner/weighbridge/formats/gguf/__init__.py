"""GGUF: metadata of keys and values, the list of tensors, then their data, aligned.

Specification: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 1 to 3, either byte order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

MAGIC: Final = b"GGUF"


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin with the magic number."""
    return sample.head.startswith(MAGIC)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the metadata, the templates in it, the tensors and the account of every byte behind them."""
    from weighbridge.formats.gguf.parse import parse as parse_file

    return parse_file(reader, context)


FORMAT: Final = Format("gguf", "GGUF", sniff, parse, MAGIC[:1])
