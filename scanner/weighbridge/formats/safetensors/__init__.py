"""safetensors: eight bytes of header length, a JSON header, then tensors that tile the rest.

The header contract is checked in full, stricter than the reference reader where readers differ
(duplicate keys, unknown fields of an entry, padding other than spaces).

Specification: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample


def sniff(sample: Sample) -> bool:
    """Tell whether a plausible header length is followed by an opening brace."""
    head = sample.head
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= sample.size - 8


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the metadata, the tensors and the account of every byte behind the header."""
    from weighbridge.formats.safetensors.parse import parse as parse_file

    return parse_file(reader, context)


FORMAT: Final = Format("safetensors", "safetensors", sniff, parse)
