"""The bytes of a planned tensor in C order, in blocks, wherever they come from.

Files are read with `preadv` into one buffer and not through their mapping, whose pages would count as memory of the
process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final

from weighbridge.convert.plan import PlannedTensor, Range, Strided
from weighbridge.convert.sources.base import Store
from weighbridge.convert.strided import gather
from weighbridge.errors import TruncatedError

BLOCK: Final = 1 << 20  # stays in the cache between the read and what is done with it
_HAS_PREADV: Final = hasattr(os, "preadv")

# A block is valid until the next one.
Block = bytes | bytearray | memoryview


def blocks(stores: Sequence[Store], tensor: PlannedTensor) -> Iterator[Block]:
    """Yield a tensor's bytes as the output has them, in blocks of no particular size."""
    for block in _raw(stores, tensor):
        yield swapped(block, tensor.swap) if tensor.swap > 1 else block


def _raw(stores: Sequence[Store], tensor: PlannedTensor) -> Iterator[Block]:
    if isinstance(tensor.data, Strided):
        yield from gather(stores[tensor.data.store].reader.view, tensor.data)
        return
    for data in tensor.data:
        yield from spans(stores[data.store], data)


def spans(store: Store, data: Range) -> Iterator[Block]:
    """Yield the bytes of a range, in blocks of BLOCK bytes but for the last."""
    if store.descriptor is None or not _HAS_PREADV:
        for begin in range(data.begin, data.begin + data.size, BLOCK):
            yield store.reader.view[begin : min(begin + BLOCK, data.begin + data.size)]
        return
    buffer = bytearray(min(BLOCK, data.size))
    view = memoryview(buffer)
    for begin in range(data.begin, data.begin + data.size, BLOCK):
        count = min(BLOCK, data.begin + data.size - begin)
        if os.preadv(store.descriptor, [view[:count]], begin) != count:
            raise TruncatedError(store.reader.at(begin), "the file ended while it was read")
        yield buffer if count == len(buffer) else view[:count]


def swapped(block: Block, unit: int) -> bytearray:
    """Return a block with the bytes of every unit reversed; units never straddle blocks.

    >>> bytes(swapped(b"abcdef", 2))
    b'badcfe'
    """
    turned = bytearray(len(block))
    for place in range(unit):
        turned[place::unit] = block[unit - 1 - place :: unit]
    return turned
