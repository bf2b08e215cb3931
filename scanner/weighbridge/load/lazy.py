"""The mode `lazy`: each tensor, or the part of it that is asked for, is read and verified when it is taken."""

from __future__ import annotations

from collections.abc import Iterable

from weighbridge.header import Header, Tensor
from weighbridge.load.folder import Folder
from weighbridge.load.memory import private
from weighbridge.load.verified import Verified, whole


class Lazy:
    """An open file of which only the header was read yet."""

    def __init__(self, folder: Folder, path: str) -> None:
        """Open a file; raise what `Verified` does."""
        self._file = Verified(folder, path)
        self.header: Header = self._file.header

    def view(self, tensor: Tensor) -> memoryview:
        """Return the bytes of a tensor, verified now, in private memory of their own."""
        memory = private(tensor.size)
        self._file.read(whole(self._file.spans[tensor.name], memory))
        return memory

    def part(self, tensor: Tensor, needed: Iterable[int]) -> memoryview:
        """Return private memory as large as the tensor, in which the needed chunks are verified, no other read."""
        memory, wanted = private(tensor.size, sparse=True), set(needed)
        chunks = whole(self._file.spans[tensor.name], memory)
        self._file.read((chunk, view) for chunk, view in chunks if chunk.number in wanted)
        return memory

    def close(self) -> None:
        """Close the file."""
        self._file.close()
