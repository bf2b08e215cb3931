"""The header of the output: tensors in order, offsets without gaps, the data aligned.

The largest items come first, so that every tensor is aligned to its item; within them the order is that of the source,
so that it is read from front to back. The same plan gives the same bytes.

Specification: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Final

from weighbridge.convert.dtypes import BITS
from weighbridge.convert.plan import PlannedTensor
from weighbridge.errors import UnconvertibleError
from weighbridge.header import HEADER_LIMIT

ALIGNMENT: Final = 64  # of the first tensor: a cache line, and what vector loads want at most


def ordered(tensors: list[PlannedTensor]) -> list[PlannedTensor]:
    """Return tensors in the order of the output."""
    return sorted(tensors, key=lambda tensor: (-BITS[tensor.dtype], tensor.begin, tensor.name))


def header(tensors: list[PlannedTensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes before the data of tensors that are in order.

    Raises UnconvertibleError when there would be more of them than the loader takes.
    """
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    position = 0
    for tensor in tensors:
        end = position + tensor.size
        entries[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    if len(text) > HEADER_LIMIT:
        raise UnconvertibleError(tensors[0].location, f"a header of {len(text)} bytes, limit is {HEADER_LIMIT}")
    return struct.pack("<Q", len(text)) + text
