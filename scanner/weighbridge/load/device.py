"""The mode `stream` for a GPU: from the file through pinned buffers to the device, verified on the way.

Each thread reads a chunk into a buffer that the device can copy from by itself, verifies it there, starts the copy and
goes on to its next buffer; so reading, hashing and copying overlap, and no copy of the model lies in memory. Tensors
are given out when all of them are verified and there.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#use-pinned-memory-buffers
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from weighbridge.header import Header, Tensor
from weighbridge.leaves import CHUNK
from weighbridge.load.folder import Folder
from weighbridge.load.frameworks import check_booleans
from weighbridge.load.threads import share
from weighbridge.load.verified import Chunk, Verified, chunks
from weighbridge.reading import fill
from weighbridge.refusals import ChangedDuringLoad

_BUFFERS: Final = 4  # of a thread: one is filled and hashed while others are on their way


class OnDevice:
    """The tensors of a file in the memory of a device, as torch sees it; the file is closed again."""

    def __init__(self, folder: Folder, path: str, device: Any) -> None:
        """Read, verify and copy a file; raise what `Verified` and `Verified.check` do."""
        import torch

        file = Verified(folder, path)
        try:
            self.header: Header = file.header
            self._bytes = {
                one.name: torch.empty(one.size, dtype=torch.uint8, device=device) for one in self.header.tensors
            }
            lane = _Lane(torch, device)
            work = [(tensor, chunk) for tensor in self.header.tensors for chunk in chunks(file.spans[tensor.name])]
            _wait(torch, device)  # for whatever used that memory before
            share(lambda item: lane.carry(file, *item, self._bytes[item[0].name]), work)
            _wait(torch, device)
            file.check_unchanged()
        finally:
            file.close()

    def view(self, tensor: Tensor) -> Any:
        """Return the verified bytes of a tensor, as a tensor of bytes on the device."""
        return self._bytes[tensor.name]

    def part(self, tensor: Tensor, needed: Iterable[int]) -> Any:
        """Return the verified bytes of a tensor."""
        return self._bytes[tensor.name]

    def close(self) -> None:
        """Forget the tensors; those that were given out stay."""
        self._bytes = {}


class _Lane(threading.local):
    """What each thread has of its own: buffers, what tells that one may be filled again, and a stream."""

    def __init__(self, torch: Any, device: Any) -> None:
        cuda = device.type == "cuda"
        self._torch, self._turn = torch, 0
        self._buffers = [torch.empty(CHUNK, dtype=torch.uint8, pin_memory=cuda) for _ in range(_BUFFERS)]
        self._copied: list[Callable[[], None]] = [_nothing] * _BUFFERS
        self._stream = torch.cuda.Stream(device) if cuda else None

    def carry(self, file: Verified, tensor: Tensor, chunk: Chunk, target: Any) -> None:
        """Read a chunk of a tensor, verify it, and start its copy to where it belongs in the target."""
        turn = self._turn = (self._turn + 1) % _BUFFERS
        self._copied[turn]()
        buffer = self._buffers[turn][: chunk.end - chunk.begin]
        view = memoryview(buffer.numpy())
        if fill(file.descriptor, view, chunk.begin) != len(view):
            raise ChangedDuringLoad(file.where, "the file became shorter while it was loaded")
        file.check(chunk, view)
        check_booleans(view, tensor, file.where)
        place = target[chunk.begin - tensor.begin : chunk.end - tensor.begin]
        if self._stream is None:
            place.copy_(buffer)
            return
        with self._torch.cuda.stream(self._stream):
            place.copy_(buffer, non_blocking=True)
            event = self._torch.cuda.Event()
            event.record(self._stream)
        self._copied[turn] = event.synchronize


def _wait(torch: Any, device: Any) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _nothing() -> None:
    """Wait for nothing: the buffer was not used yet."""
