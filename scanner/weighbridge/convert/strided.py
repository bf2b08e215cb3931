"""Elements gathered into C order, a bounded block at a time.

Sides are merged as far as they can be; then either rows are taken one by one, or, when another side than the last is
the one that lies close together, a block of it is scattered over the output, so that each page of the source is touched
once per block. Slices of memoryviews with steps do the work in C.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Final, Literal

from weighbridge.convert.plan import Strided

BLOCK: Final = 8 << 20  # bytes gathered at once
# Bytes of source pages that one block may touch; mapped pages count as memory of the process until they are let go.
TOUCHED: Final = 24 << 20
_PAGE: Final = 4096
_CODES: Final[dict[int, Literal["B", "H", "I", "Q"]]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


def gather(view: memoryview, strided: Strided) -> Iterator[bytearray]:
    """Yield the elements in C order in blocks; a block is valid until the next one.

    The view is the whole store, and has to reach to the end of the last element.
    """
    if 0 in strided.shape:
        return
    sides, steps = merged(strided.shape, strided.strides)
    item = strided.item
    part = view[strided.begin : strided.begin + strided.extent]
    if any(step % item for step in steps) or item not in _CODES:
        raise ValueError(f"strides {steps} of items of {item} bytes")
    elements = part[: len(part) // item * item].cast(_CODES[item])
    strides = tuple(step // item for step in steps)
    for block in _blocks(elements, sides, strides, item):
        yield block
        _forget(view)


def merged(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return sides and strides with sides of 1 left out and sides that continue one another made one.

    >>> merged((2, 1, 3, 4), (12, 99, 4, 1))
    ((24,), (1,))
    """
    sides: list[int] = []
    steps: list[int] = []
    for side, step in zip(shape, strides, strict=True):
        if side == 1:
            continue
        if sides and steps[-1] == side * step:
            sides[-1] *= side
            steps[-1] = step
        else:
            sides.append(side)
            steps.append(step)
    return tuple(sides) or (1,), tuple(steps) or (0,)


def _blocks(
    elements: memoryview[int], sides: tuple[int, ...], strides: tuple[int, ...], item: int
) -> Iterator[bytearray]:
    closest = min(range(len(sides)), key=lambda index: (strides[index], -index))
    inner = prod(sides[closest + 1 :])
    rows = min(sides[closest], BLOCK // (inner * item))
    if closest == len(sides) - 1 or rows < 16:
        yield from _row_by_row(elements, sides, strides, item)
        return
    # A row touches a page or two at each place that it is scattered from.
    rows = max(1, min(rows, (TOUCHED // inner - _PAGE) // (max(1, strides[closest]) * item)))
    for outer in _offsets(sides[:closest], strides[:closest]):
        for first in range(0, sides[closest], rows):
            count = min(rows, sides[closest] - first)
            block = bytearray(count * inner * item)
            output = memoryview(block).cast(_CODES[item])
            begin = outer + first * strides[closest]
            for place, offset in enumerate(_offsets(sides[closest + 1 :], strides[closest + 1 :])):
                output[place::inner] = _run(elements, begin + offset, count, strides[closest])
            yield block


def _row_by_row(
    elements: memoryview[int], sides: tuple[int, ...], strides: tuple[int, ...], item: int
) -> Iterator[bytearray]:
    side, stride = sides[-1], strides[-1]
    spread = max(1, stride) * item
    longest = max(1, min(BLOCK // item, TOUCHED // min(spread, _PAGE)))
    block, touched = bytearray(), 0
    for outer in _offsets(sides[:-1], strides[:-1]):
        for first in range(0, side, longest):
            count = min(longest, side - first)
            block += _run(elements, outer + first * stride, count, stride).tobytes()
            touched += min(count * spread, count * _PAGE) + _PAGE
            if len(block) >= BLOCK or touched >= TOUCHED:
                yield block
                block, touched = bytearray(), 0
    if block:
        yield block


def _run(elements: memoryview[int], begin: int, count: int, stride: int) -> memoryview[int]:
    """Return `count` elements at a stride, which may be 0."""
    if stride == 0:
        return memoryview(elements[begin : begin + 1].tobytes() * count).cast(_CODES[elements.itemsize])
    return elements[begin : begin + (count - 1) * stride + 1 : stride]


def _offsets(sides: tuple[int, ...], strides: tuple[int, ...]) -> Iterator[int]:
    """Yield the offset of every index, the last one running fastest."""
    if not sides:
        yield 0
        return
    last = range(0, sides[-1] * strides[-1], strides[-1]) if strides[-1] else (0,) * sides[-1]
    for index in product(*(range(side) for side in sides[:-1])):
        begin = sum(place * stride for place, stride in zip(index, strides[:-1], strict=True))
        for step in last:
            yield begin + step


def _forget(view: memoryview) -> None:
    """Let go of the pages of a mapped file that were touched, which otherwise count as memory of the process."""
    if isinstance(view.obj, mmap.mmap) and hasattr(view.obj, "madvise"):
        view.obj.madvise(mmap.MADV_DONTNEED)
