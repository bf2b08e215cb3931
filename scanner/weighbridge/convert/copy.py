"""Tensors into a new file: whole ranges inside the kernel, everything else through bounded blocks.

`copy_file_range` moves bytes from file to file at the speed of `cp`, without bringing them into the process; where the
system or the file systems do not have it, `sendfile` does nearly as well, and reading and writing always works.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Final

from weighbridge.convert.blocks import Block, blocks, spans
from weighbridge.convert.plan import PlannedTensor, Range, Strided
from weighbridge.convert.sources.base import Store
from weighbridge.errors import TruncatedError

# What a system answers that has no such call, or not between these two files.
_UNABLE: Final = frozenset({errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM})
_AT_ONCE: Final = 1 << 30  # bytes of one call, so that an interrupt is noticed

# Copies up to `count` bytes from one descriptor and offset to another; returns how many.
_Move = Callable[[int, int, int, int, int], int]


def _ranged(source: int, begin: int, target: int, position: int, count: int) -> int:
    return os.copy_file_range(source, target, count, begin, position)


def _sent(source: int, begin: int, target: int, position: int, count: int) -> int:
    os.lseek(target, position, os.SEEK_SET)
    return os.sendfile(target, source, begin, count)


class Copier:
    """Copies into one open file; remembers which way works."""

    def __init__(self, stores: Sequence[Store], target: int) -> None:
        self._stores = stores
        self._target = target
        self._ways: list[_Move] = []
        if hasattr(os, "copy_file_range"):
            self._ways.append(_ranged)
        if hasattr(os, "sendfile") and os.uname().sysname == "Linux":  # elsewhere it sends to sockets alone
            self._ways.append(_sent)

    def copy(self, tensor: PlannedTensor, position: int) -> int:
        """Write a tensor's bytes at `position`; return the position behind them.

        Raises OSError when the system refuses, TruncatedError when the source ends early.
        """
        if isinstance(tensor.data, Strided) or tensor.swap > 1:
            for block in blocks(self._stores, tensor):
                position = write(self._target, block, position)
            return position
        for data in tensor.data:
            position = self._range(data, position)
        return position

    def _range(self, data: Range, position: int) -> int:
        store, begin, end = self._stores[data.store], data.begin, data.begin + data.size
        while begin < end and self._ways and store.descriptor is not None:
            try:
                count = self._ways[0](store.descriptor, begin, self._target, position, min(_AT_ONCE, end - begin))
            except OSError as error:
                if error.errno not in _UNABLE:
                    raise
                self._ways.pop(0)
                continue
            if count == 0:
                raise TruncatedError(store.reader.at(begin), "the file ended while it was copied")
            begin, position = begin + count, position + count
        for block in spans(store, Range(store=data.store, begin=begin, size=end - begin)):
            position = write(self._target, block, position)
        return position


def write(descriptor: int, block: Block, position: int) -> int:
    """Write a whole block at `position`; return the position behind it."""
    view = memoryview(block)
    if view.nbytes and not hasattr(os, "pwrite"):
        os.lseek(descriptor, position, os.SEEK_SET)
    while view.nbytes:
        count = os.pwrite(descriptor, view, position) if hasattr(os, "pwrite") else os.write(descriptor, view)
        view, position = view[count:], position + count
    return position
