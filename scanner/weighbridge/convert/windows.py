"""Parts of files, mapped for as long as they are looked at, and compared where they lie.

Neither side is copied: the C library compares the page cache with itself. 4 GiB take 0.77 s of two processors, 1.04 s
when one side is read into a buffer, 1.1 s when both are. Nothing stays mapped behind, so the memory of the process is
what is looked at.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from weighbridge.errors import TruncatedError

if TYPE_CHECKING:
    from weighbridge.convert.sources.base import Store

# Bytes mapped at once: with 2 MiB two threads that map and let go in turn take 0.1 s more of a processor for 4 GiB.
WINDOW: Final = 8 << 20
WORTH: Final = 1 << 20  # bytes from which on mapping costs less than copying


@cache
def _memcmp() -> Callable[[int, int, int], int] | None:
    """Return the C library's comparison, which lets other threads run; None where there is not the one library."""
    if os.name != "posix":
        return None
    import ctypes

    function = ctypes.CDLL(None).memcmp
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    function.restype = ctypes.c_int
    found: Callable[[int, int, int], int] = function
    return found


def comparable(one: Store, other: Store, size: int) -> bool:
    """Tell whether `size` bytes of two stores are worth windows, and the system has what they need."""
    files = one.descriptor is not None and other.descriptor is not None
    return files and size >= WORTH and _memcmp() is not None


class Window:
    """`size` bytes of a file from `begin` on, mapped until the end of the block; `view` is to be released by then.

    Raises TruncatedError when the file has become shorter.
    """

    def __init__(self, store: Store, begin: int, size: int) -> None:
        import ctypes

        first = begin // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        descriptor = -1 if store.descriptor is None else store.descriptor
        try:
            # ctypes gives addresses of what could be written to alone, hence a copy, which nobody ever makes.
            self._map = mmap.mmap(descriptor, begin - first + size, access=mmap.ACCESS_COPY, offset=first)
        except ValueError as error:
            raise TruncatedError(store.reader.at(begin), "the file became shorter while it was read") from error
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map)) + begin - first
        self.view = memoryview(self._map)[begin - first :]

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self.view.release()
        self._map.close()

    def equals(self, other: Window, begin: int, end: int) -> bool:
        """Tell whether the bytes from `begin` to `end` of two windows are the same."""
        if not 0 <= begin <= end <= min(len(self.view), len(other.view)):
            raise ValueError(f"{begin} to {end} of {len(self.view)} and {len(other.view)} bytes")
        compare: Any = _memcmp()
        return bool(compare(self._address + begin, other._address + begin, end - begin) == 0)
