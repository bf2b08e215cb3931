"""An open model: its tensors by name, whichever file and mode they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from weighbridge.errors import UsageError
from weighbridge.header import BITS, Tensor
from weighbridge.load.folder import Folder
from weighbridge.load.frameworks import Framework, check_booleans
from weighbridge.load.slices import needed, normal
from weighbridge.load.verified import Source
from weighbridge.location import printable
from weighbridge.refusals import UnsupportedFormat


class Handle:
    """An open model; a context manager.

    `get_tensor` and `get_slice` raise DigestMismatch when the bytes are not the approved ones and ChangedDuringLoad
    when the file was written to; KeyError when there is no such tensor. Closing ends that, with a ValueError as that of
    a closed file, and leaves the tensors that were taken as they are.
    """

    def __init__(self, folder: Folder, sources: Mapping[str, Source], framework: Framework) -> None:
        """Join the files of a model; raise UsageError when two of them have a tensor of one name."""
        self._folder = folder
        self._sources = sources
        self._framework = framework
        self._closed = False
        self._tensors: dict[str, tuple[str, Tensor]] = {}
        for path, source in sources.items():
            for tensor in source.header.tensors:
                other = self._tensors.setdefault(tensor.name, (path, tensor))[0]
                if other != path:
                    name, one, two = map(printable, (tensor.name, other, path))
                    raise UsageError(f"tensor {name} is in {one} and in {two}; load one of the files by its name")
                framework.check(tensor, folder.where(path))

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the files and the folder."""
        for source in self._sources.values():
            source.close()
        self._folder.close()
        self._closed = True

    def _held(self) -> dict[str, tuple[str, Tensor]]:
        if self._closed:
            raise ValueError("the model is closed")
        return self._tensors

    def keys(self) -> list[str]:
        """Return the names of the tensors, sorted."""
        return sorted(self._held())

    def offset_keys(self) -> list[str]:
        """Return the names of the tensors in the order of the files and of their bytes."""
        return list(self._held())

    def metadata(self) -> dict[str, str]:
        """Return the texts that writers left in the headers, where files agree on them."""
        found: dict[str, set[str]] = {}
        for source in self._sources.values():
            for key, text in source.header.metadata.items():
                found.setdefault(key, set()).add(text)
        return {key: texts.pop() for key, texts in found.items() if len(texts) == 1}

    def get_tensor(self, name: str) -> Any:
        """Return a tensor, all of it verified."""
        path, tensor = self._held()[name]
        view = self._sources[path].view(tensor)
        self._check(view, tensor, path)
        return self._framework.place(self._framework.tensor(view, tensor))

    def _check(self, view: Any, tensor: Tensor, path: str) -> None:
        if isinstance(view, memoryview):  # what is on a device was checked on its way
            check_booleans(view, tensor, self._folder.where(path))

    def get_tensors(self) -> dict[str, Any]:
        """Return all tensors by their names, in the order of the files and of their bytes."""
        return {name: self.get_tensor(name) for name in self._held()}

    def get_slice(self, name: str) -> Slice:
        """Return what gives parts of a tensor, of which only the chunks that are touched are read and verified."""
        path, tensor = self._held()[name]
        if BITS[tensor.dtype] < 8:
            raise UnsupportedFormat(self._folder.where(path), f"{tensor.dtype} has no parts of whole bytes")

        def taken(index: object) -> Any:
            self._held()
            parts = normal(index, tensor.shape)
            view = self._sources[path].part(tensor, needed(parts, tensor.shape, BITS[tensor.dtype] // 8))
            self._check(view, tensor, path)
            return self._framework.place(self._framework.copy(self._framework.tensor(view, tensor)[parts]))

        return Slice(tensor, taken)


class Slice:
    """A tensor of which parts are taken with `[…]`: integers, forward slices, an ellipsis."""

    def __init__(self, tensor: Tensor, taken: Callable[[object], Any]) -> None:
        self._tensor: Final = tensor
        self._taken: Final = taken

    def __getitem__(self, index: object) -> Any:
        return self._taken(index)

    def get_shape(self) -> list[int]:
        """Return the sides of the tensor."""
        return list(self._tensor.shape)

    def get_dtype(self) -> str:
        """Return the dtype of the tensor in the word of safetensors."""
        return self._tensor.dtype
