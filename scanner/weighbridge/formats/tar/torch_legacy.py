"""PyTorch's first file format: a tar whose members `storages` and `tensors` mix pickles with raw numbers.

torch still loads it (without `weights_only` since 2.6). `storages` is a pickled count, per storage a pickled
(key, location, storage class), an int64 count of elements and the data, then a pickled list of views; `tensors` is a
pickled count and per tensor a pickled (key, storage, class) with its shape, strides and offset. torch looks keys up,
adds numbers and asks locations how they begin, so these are plain: an object would answer with code.

Source: torch/serialization.py, `legacy_load`, torch 0.1 to 2.13; CVE-2025-32434.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final

from weighbridge.errors import ArtifactError
from weighbridge.facts import Anomaly, Fact, Inert, Member
from weighbridge.formats.base import Context
from weighbridge.formats.pickle.machine import Machine
from weighbridge.formats.pickle.torch_legacy import ITEM_SIZES
from weighbridge.reader import Reader
from weighbridge.symbols import Global, Value

MEMBERS: Final = frozenset({"pickle", "storages", "tensors"})
_Pickle = Generator[Fact, None, Value]


def _take_pickle(reader: Reader, context: Context) -> _Pickle:
    """Examine the pickle at the cursor, step over it and return what it makes.

    The machine runs it once to find its end and once as a member of its own; these pickles have a few dozen bytes.
    """
    start = reader.position
    machine = Machine(reader.view, start, reader.origin, context.budget)
    machine.run()
    size = machine.position - start if machine.complete else reader.remaining
    name = f"pickle@{reader.location.offset:#x}"
    context.budget.spend_members(reader.location)
    yield Member(location=reader.location, name=name, size=size, stored=size)
    yield from context.examine(reader.window(start, size, name), size)
    if not machine.complete:
        raise ArtifactError(reader.location, "a pickle of the torch tar does not end")
    reader.skip(size)
    return machine.result


def _take_count(reader: Reader, context: Context) -> Generator[Fact, None, int]:
    start = reader.location
    count = yield from _take_pickle(reader, context)
    if type(count) is not int or count < 0:
        raise ArtifactError(start, "the count of a torch tar is not a number")
    return count


def parse_storages(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the pickles of `storages` and the account of the data between them.

    Raises ArtifactError at a storage whose size cannot be told.
    """
    count = yield from _take_count(reader, context)
    for _ in range(count):
        start = reader.location
        match (yield from _take_pickle(reader, context)):
            case (int() | str(), str(), Global(name=name)) if name in ITEM_SIZES:
                yield from _inert(reader, ITEM_SIZES[name] * max(0, int.from_bytes(reader.peek(8), "little")) + 8)
            case _:
                raise ArtifactError(start, "a storage of the torch tar has no plain key, location and known class")
    start = reader.location
    views = yield from _take_pickle(reader, context)
    if not isinstance(views, list) or not all(_is_view(view) for view in views):
        raise ArtifactError(start, "the views of the torch tar are not plain")
    yield from _end(reader, context)


def _is_view(view: Value) -> bool:
    """Tell whether a value is (key, key of a storage, offset, count)."""
    match view:
        case (int() | str(), int() | str(), int(), int()):
            return True
    return False


def parse_tensors(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the pickles of `tensors` and the account of the shapes between them.

    Raises ArtifactError at a tensor whose keys are not plain.
    """
    count = yield from _take_count(reader, context)
    for _ in range(count):
        start = reader.location
        match (yield from _take_pickle(reader, context)):
            case (int() | str(), int() | str(), _):
                pass
            case _:
                raise ArtifactError(start, "a tensor of the torch tar has no plain keys")
        dimensions = int.from_bytes(reader.peek(4), "little")
        yield from _inert(reader, 8 + 16 * dimensions + 8)
    yield from _end(reader, context)


def _inert(reader: Reader, size: int) -> Iterator[Fact]:
    start = reader.location
    reader.skip(size)
    yield Inert(location=start, size=size, reason="tensor data")


def _end(reader: Reader, context: Context) -> Iterator[Fact]:
    """Report and examine what follows the last item."""
    if not reader.remaining:
        return
    start, size = reader.location, reader.remaining
    name = f"trailing@{start.offset:#x}"
    yield Anomaly(location=start, code="torch-tar-trailing", detail=f"{size} bytes behind the last item")
    context.budget.spend_members(start)
    yield Member(location=start, name=name, size=size, stored=size, type="trailing")
    yield from context.examine(reader.window(reader.position, size, name), size)


PARSERS: Final[Mapping[str, Callable[[Reader, Context], Iterator[Fact]]]] = {
    "storages": parse_storages,
    "tensors": parse_tensors,
}
