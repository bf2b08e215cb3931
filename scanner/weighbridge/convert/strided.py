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

BLOCK: Final = 4 << 20  # bytes gathered at once
TOUCHED: Final = 8 << 20  # bytes of pages of the source that are mapped at once
ROWS: Final = 16  # rows of a block from which on scattering is the faster way
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
    yield from _blocks(_Elements(view, elements), sides, strides, item)


class _Elements:
    """The elements of a store, whose pages are let go as runs of them are read."""

    def __init__(self, view: memoryview, elements: memoryview[int]) -> None:
        self._view = view
        self._elements = elements
        self._touched = 0

    def run(self, begin: int, count: int, stride: int) -> memoryview[int]:
        """Return `count` elements at a stride, which may be 0; valid until the next run."""
        item = self._elements.itemsize
        self._touched += _PAGE + min(count * stride * item, count * _PAGE)
        if self._touched > TOUCHED:
            self.forget()
        if stride == 0:
            return memoryview(self._elements[begin : begin + 1].tobytes() * count).cast(_CODES[item])
        return self._elements[begin : begin + (count - 1) * stride + 1 : stride]

    def forget(self) -> None:
        """Let go of the pages of a mapped file, which otherwise count as memory of the process."""
        self._touched = 0
        if isinstance(self._view.obj, mmap.mmap) and hasattr(self._view.obj, "madvise"):
            self._view.obj.madvise(mmap.MADV_DONTNEED)


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


def _blocks(elements: _Elements, sides: tuple[int, ...], strides: tuple[int, ...], item: int) -> Iterator[bytearray]:
    closest = min(range(len(sides)), key=lambda index: (strides[index], -index))
    inner = prod(sides[closest + 1 :])
    rows = min(sides[closest], BLOCK // (inner * item))
    if closest == len(sides) - 1 or rows < ROWS:
        yield from _row_by_row(elements, sides, strides, item)
        return
    for outer in _offsets(sides[:closest], strides[:closest]):
        for first in range(0, sides[closest], rows):
            count = min(rows, sides[closest] - first)
            block = bytearray(count * inner * item)
            output = memoryview(block).cast(_CODES[item])
            begin = outer + first * strides[closest]
            for place, offset in enumerate(_offsets(sides[closest + 1 :], strides[closest + 1 :])):
                output[place::inner] = elements.run(begin + offset, count, strides[closest])
            yield block
            elements.forget()


def _row_by_row(
    elements: _Elements, sides: tuple[int, ...], strides: tuple[int, ...], item: int
) -> Iterator[bytearray]:
    side, stride = sides[-1], strides[-1]
    longest = max(1, min(BLOCK // item, TOUCHED // min(max(1, stride) * item, _PAGE)))
    block = bytearray()
    for outer in _offsets(sides[:-1], strides[:-1]):
        for first in range(0, side, longest):
            count = min(longest, side - first)
            block += elements.run(outer + first * stride, count, stride).tobytes()
            if len(block) >= BLOCK:
                yield block
                elements.forget()
                block = bytearray()
    if block:
        yield block
        elements.forget()


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
