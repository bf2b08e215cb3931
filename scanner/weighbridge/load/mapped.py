"""What modes have in common that map a file whose bytes can no longer change: tensors are parts of the mapping."""

from __future__ import annotations

from collections.abc import Iterable

from weighbridge.header import Header, Tensor


class Mapped:
    """A verified file in memory that this process has mapped; see `weighbridge.load.verified.Source`."""

    header: Header
    _memory: memoryview

    def view(self, tensor: Tensor) -> memoryview:
        """Return the bytes of a tensor; what is written to them stays in this process."""
        return self._memory[tensor.begin : tensor.end]

    def part(self, tensor: Tensor, needed: Iterable[int]) -> memoryview:
        """Return the bytes of a tensor."""
        return self.view(tensor)

    def close(self) -> None:
        """Let go of the mapping; tensors that were given out keep it."""
        self._memory = memoryview(b"")
