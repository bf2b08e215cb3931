"""What a source of weights is, and the bytes that it plans from."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from weighbridge.convert.plan import Plan
from weighbridge.errors import SourceError
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location, printable
from weighbridge.reader import Reader, forget, from_descriptor
from weighbridge.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Bytes that tensors lie in: a file, with its descriptor, or what was computed from one (None)."""

    reader: Reader
    descriptor: int | None = None

    def release(self, begin: int, size: int) -> None:
        """Tell the system that it need keep these bytes of a file in memory no longer."""
        if self.descriptor is not None and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.descriptor, begin, size, os.POSIX_FADV_DONTNEED)


class Inputs:
    """The bytes of one conversion: the file itself as store 0, and what a source adds to it.

    Files stay open, and are read through what was opened first, so that nobody can put another in their place.
    """

    def __init__(self, path: Path, limits: Limits, files: ExitStack) -> None:
        self.path = path
        self.budget = Budget(limits)
        self.stores: list[Store] = []
        self._files = files
        self._seen: list[tuple[int, Path, tuple[int, ...]]] = []

    @property
    def reader(self) -> Reader:
        """The file itself; the cursor of the reader is the source's to move."""
        return self.stores[0].reader

    @property
    def size(self) -> int:
        """The bytes of all files, which the size of the output is measured by."""
        return sum(store.reader.size for store in self.stores if store.descriptor is not None)

    def add_file(self, path: Path, descriptor: int | None = None) -> int:
        """Open another file that holds bytes of tensors; return the index of its store.

        A `descriptor` that is open already stays the caller's. Raises SourceError when it is no regular file or cannot
        be read.
        """
        name = printable(path.as_posix())
        try:
            if descriptor is None:
                descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
                self._files.callback(os.close, descriptor)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SourceError(f"{name}: not a file")
            reader = from_descriptor(descriptor, Location((path.as_posix(),)))
        except OSError as error:
            raise SourceError(f"{name}: {error.strerror}") from error
        self._seen.append((descriptor, path, _state(status)))
        return self._add(Store(reader=reader, descriptor=descriptor))

    def add_computed(self, reader: Reader) -> int:
        """Add bytes that are in no file as they are, such as a decompressed member; return the index of their store."""
        return self._add(Store(reader=reader))

    def _add(self, store: Store) -> int:
        self.stores.append(store)
        return len(self.stores) - 1

    def forget(self) -> None:
        """Let go of what is mapped: with the places that were looked at, 20 to 200 MB around them."""
        for store in self.stores:
            forget(store.reader.view, 0, store.reader.size)

    def check_unchanged(self) -> None:
        """Raise SourceError when a file was written to since it was opened."""
        for descriptor, path, before in self._seen:
            if _state(os.fstat(descriptor)) != before:
                raise SourceError(f"{printable(path.as_posix())}: changed while it was read; try again")


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


@contextmanager
def opened(path: Path, limits: Limits, descriptor: int | None = None) -> Iterator[Inputs]:
    """Give the inputs of a conversion of the file at `path`; raise SourceError when it cannot be read.

    A `descriptor` of that file that is open already is used instead of its name, and stays the caller's.
    """
    with ExitStack() as files:
        inputs = Inputs(path, limits, files)
        inputs.add_file(path, descriptor)
        try:
            yield inputs
        finally:  # the mapping itself lives until nothing has a view of it
            inputs.forget()


@contextmanager
def in_memory(reader: Reader, path: Path, limits: Limits) -> Iterator[Inputs]:
    """Give the inputs of the file at `path` whose bytes are in memory already."""
    with ExitStack() as files:
        inputs = Inputs(path, limits, files)
        inputs.add_computed(reader)
        yield inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asks of a plan.

    `state_dict` is the path of the wanted group, "." for everything, None when there has to be only one.
    With `everything` all tensors are planned, whatever holds them, for those who only look.
    """

    state_dict: str | None = None
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A container of weights: how to recognise it by its bytes, and how to plan from it.

    `recognise` must not raise. `plan` raises ArtifactError when the bytes are not what the container asks for,
    LimitError among them, and UnconvertibleError when it cannot be told what is wanted; what concerns one tensor
    goes into `Plan.refused`. Names are the container's own; `names.check` looks at them.
    """

    name: str
    title: str
    recognise: Callable[[Inputs], bool]
    plan: Callable[[Inputs, Options], Plan]
