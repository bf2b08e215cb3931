"""Tensors into a new file: whole ranges by the kernel, everything else through bounded blocks.

Where a range lies at the same place of a page in both files, `copy_file_range` may share the pages or have a server
copy them. Elsewhere the kernel writes straight from the mapping of the source, piece by piece: 0.28 s a GiB, when
`cp` takes 0.30, `copy_file_range` at another place of a page 0.39, and reading and writing 0.33. Neither brings the
bytes into Python. The disk is told to begin with what has been written while the rest is copied, so that there is
little to wait for at the end.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Sequence
from typing import Final

from weighbridge.convert.blocks import Block, blocks, spans
from weighbridge.convert.front import Front
from weighbridge.convert.plan import PlannedTensor, Range, Strided
from weighbridge.convert.sources.base import Store
from weighbridge.errors import TruncatedError
from weighbridge.writing import Writeback, write_at

# What a system answers that has no such call, or not between these two files.
_UNABLE: Final = frozenset({errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM})
_WRITTEN: Final = 1 << 20  # bytes of one write
_AT_ONCE: Final = 1 << 30  # bytes of one call of copy_file_range, so that an interrupt is noticed


class Copier:
    """Copies into one open file, from its beginning to its end, and tells its front."""

    def __init__(self, stores: Sequence[Store], target: int, front: Front) -> None:
        self._stores = stores
        self._front = front
        self._target = target
        self._shares = hasattr(os, "copy_file_range")
        self._writeback = Writeback(target)

    def copy(self, tensor: PlannedTensor, position: int) -> int:
        """Write a tensor's bytes at `position`; return the position behind them.

        Raises OSError when the system refuses, TruncatedError when the source has become shorter.
        """
        if isinstance(tensor.data, Strided) or tensor.swap > 1:
            for block in blocks(self._stores, tensor):
                position = self._write(block, position)
            return position
        for data in tensor.data:
            position = self._range(data, position)
        return position

    def _range(self, data: Range, position: int) -> int:
        store = self._stores[data.store]
        begin = data.begin
        if self._shares and store.descriptor is not None and (begin - position) % mmap.PAGESIZE == 0:
            done = self._share(store.descriptor, data, position)
            begin, position = begin + done, position + done
        left = Range(store=data.store, begin=begin, size=data.begin + data.size - begin)
        try:
            for block in spans(store, left, _WRITTEN):
                position = self._write(block, position)
        except OSError as error:
            if error.errno != errno.EFAULT:  # a mapped page that is not there any more
                raise
            raise TruncatedError(store.reader.at(begin), "the file became shorter while it was copied") from error
        return position

    def _write(self, block: Block, position: int) -> int:
        """Write a block; let the disk begin with what is behind it, without waiting for it."""
        position = write_at(self._target, block, position)
        self._front.advance(position)
        self._writeback.advance(position)
        return position

    def _share(self, source: int, data: Range, position: int) -> int:
        """Copy by `copy_file_range`; return how many bytes that did, fewer than all where it cannot."""
        done = 0
        while done < data.size:
            try:
                count = os.copy_file_range(
                    source, self._target, min(_AT_ONCE, data.size - done), data.begin + done, position + done
                )
            except OSError as error:
                if error.errno not in _UNABLE:
                    raise
                self._shares = False
                break
            if count == 0:
                break
            done += count
            self._front.advance(position + done)
        return done
