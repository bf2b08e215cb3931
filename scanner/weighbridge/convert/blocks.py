"""The bytes of a planned tensor in C order, in blocks, wherever they come from.

Files are read where they are mapped, which saves a copy, and the pages are let go as reading goes on: those that are
mapped count as memory of the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from weighbridge.convert.plan import PlannedTensor, Range, Strided
from weighbridge.convert.sources.base import Store
from weighbridge.convert.strided import gather
from weighbridge.reader import forget

BLOCK: Final = 1 << 19  # stays in the cache between the read and what is done with it; larger ones take a fifth longer
KEPT: Final = 2 << 20  # bytes of pages that stay mapped behind the place that is read

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


def spans(store: Store, data: Range, block: int = BLOCK) -> Iterator[memoryview]:
    """Yield the bytes of a range, in pieces of `block` bytes but for the last."""
    view, done, end = store.reader.view, data.begin, data.begin + data.size
    for begin in range(data.begin, end, block):
        yield view[begin : min(begin + block, end)]
        if begin + block - done >= KEPT or begin + block >= end:
            forget(view, done, min(begin + block, end), ahead=begin + block >= end)
            done = begin + block


def swapped(block: Block, unit: int) -> bytearray:
    """Return a block with the bytes of every unit reversed; units never straddle blocks.

    >>> bytes(swapped(b"abcdef", 2))
    b'badcfe'
    """
    turned = bytearray(len(block))
    for place in range(unit):
        turned[place::unit] = block[unit - 1 - place :: unit]
    return turned
