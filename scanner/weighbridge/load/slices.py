"""Parts of tensors: what an index means, and which chunks it needs."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from types import EllipsisType
from typing import SupportsIndex

from weighbridge.leaves import CHUNK

Index = int | slice


def normal(index: object, shape: Sequence[int]) -> tuple[Index, ...]:
    """Return an index as one integer or slice for each side of a shape, none of them negative.

    Raises IndexError when it is out of range or has too many parts, TypeError when it is neither integers, slices nor
    an ellipsis, ValueError when a slice goes backwards.

    >>> normal((slice(None, -1), ...), (4, 5))
    (slice(0, 3, 1), slice(0, 5, 1))
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    missing = len(shape) - sum(not isinstance(part, EllipsisType) for part in parts)
    gaps = [place for place, part in enumerate(parts) if isinstance(part, EllipsisType)]
    if missing < 0 or len(gaps) > 1:
        raise IndexError(f"an index of {len(parts)} parts for {len(shape)} sides")
    place = gaps[0] if gaps else len(parts)
    parts[place : place + len(gaps)] = [slice(None)] * missing
    return tuple(_part(part, side) for part, side in zip(parts, shape, strict=True))


def _part(part: object, side: int) -> Index:
    if isinstance(part, slice):
        begin, end, step = part.indices(side)
        if step < 1:
            raise ValueError("a slice that goes backwards")
        return slice(begin, max(begin, end), step)
    if isinstance(part, bool) or not isinstance(part, SupportsIndex):
        raise TypeError(f"a part of a tensor is chosen by integers and slices, not {type(part).__name__}")
    number = operator.index(part)
    if not -side <= number < side:
        raise IndexError(f"{number} of {side}")
    return number % side


def needed(parts: Sequence[Index], shape: Sequence[int], size: int) -> Iterator[int]:
    """Yield the numbers of the chunks that a normal index touches, some perhaps more than once.

    `size` is how many bytes an element has. Sides of which a whole step fits into a chunk are taken whole: chunks are
    read whole anyway, and there are never more steps than chunks.
    """
    ranges = [(p.start, p.stop) if isinstance(p, slice) else (p, p + 1) for p in parts] or [(0, 1)]
    sides = list(shape) or [1]
    block, last = size, len(sides) - 1
    while last and (ranges[last] == (0, sides[last]) or sides[last] * block <= CHUNK):
        if ranges[last][0] >= ranges[last][1]:
            return
        block *= sides[last]
        last -= 1
    strides = [prod(sides[side + 1 : last + 1]) * block for side in range(last)]
    for place in product(*(range(*ranges[side]) for side in range(last))):
        base = sum(map(operator.mul, place, strides))
        begin, end = base + ranges[last][0] * block, base + ranges[last][1] * block
        if begin < end:
            yield from range(begin // CHUNK, (end - 1) // CHUNK + 1)
