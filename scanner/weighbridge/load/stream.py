"""The mode `stream`: all of a file into private memory, and not one tensor before every byte is verified."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import chain

from weighbridge.header import Header, Tensor
from weighbridge.load.folder import Folder
from weighbridge.load.memory import places
from weighbridge.load.verified import Verified, whole


class Streamed:
    """The tensors of a file in private memory; the file is closed again."""

    def __init__(self, folder: Folder, path: str) -> None:
        """Read and verify a file; raise what `Verified` and `Verified.read` do."""
        file = Verified(folder, path)
        try:
            self.header: Header = file.header
            self._views = places(tensor for tensor in self.header.tensors)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            spans = (whole(file.spans[tensor.name], self._views[tensor.name]) for tensor in self.header.tensors)
            file.read(chain.from_iterable(spans))
            file.check_unchanged()
        finally:
            file.close()

    def view(self, tensor: Tensor) -> memoryview:
        """Return the verified bytes of a tensor, the same memory each time."""
        return self._views[tensor.name]

    def part(self, tensor: Tensor, needed: Iterable[int]) -> memoryview:
        """Return the verified bytes of a tensor."""
        return self._views[tensor.name]

    def close(self) -> None:
        """Forget the tensors; those that were given out keep their memory."""
        self._views = {}
