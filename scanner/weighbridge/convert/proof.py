"""The proof that an output holds what a plan says, byte for byte.

The plan is one that was made anew from the source; the output's header is parsed as a stranger's. Every byte of every
tensor is compared: both sides are read into buffers of the size of a cache, which takes a third of the time of hashing
them. What else can be said while all bytes pass by is said too: the digests of the tensors, and whether the container's
own checksums hold.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from weighbridge.convert.blocks import BLOCK, Block, blocks, spans
from weighbridge.convert.digests import begun
from weighbridge.convert.plan import Checksum, Plan, PlannedTensor, Range
from weighbridge.convert.sources import safetensors
from weighbridge.convert.sources.base import Inputs, Options, Store
from weighbridge.digest import Digest
from weighbridge.errors import MismatchError, UnconvertibleError
from weighbridge.location import printable

T = TypeVar("T")

WORKERS: Final = 4  # hashing lets go of the interpreter; more than this only wait for memory
_METADATA: Final = "__metadata__."


def prove(plan: Plan, inputs: Inputs, output: Inputs, *, digests: bool) -> dict[str, Digest]:
    """Compare an output with a plan of its source; return the digests of its tensors by name, if they are wanted.

    1. The output's header is what the format asks for, without anything that readers take differently.
    2. It has every tensor of the plan, under its name or as one that its metadata names, and no other.
    3. Each has the plan's dtype and shape.
    4. Each has the source's bytes.
    5. With `digests`, the checksums that the source's container has of those bytes hold.

    Raises MismatchError at a difference, ArtifactError when the output is not safetensors, UnconvertibleError for a
    checksum.
    """
    written = safetensors.plan(output, Options())  # 1
    found = {tensor.name: tensor for tensor in written.tensors}
    kept = {key.removeprefix(_METADATA): value for key, value in written.scalars.items() if isinstance(value, str)}
    pairs = _pairs(plan, found, kept, output)  # 2
    for planned, tensor in pairs:  # 3
        if (planned.dtype, planned.shape) != (tensor.dtype, tensor.shape):
            what = f"{tensor.dtype} {list(tensor.shape)}, the source has {planned.dtype} {list(planned.shape)}"
            raise MismatchError(f"{tensor.location}: tensor {printable(tensor.name)} is {what}")
    compare = _Comparison(inputs.stores, output.stores[0], digests=digests)
    work: list[Callable[[], Digest | None]] = [_bound(compare.tensor, *pair) for pair in pairs]  # 4
    if digests:
        work += [_bound(_check_sum, inputs.stores, checksum, plan) for checksum in plan.checksums]  # 5
    results = _in_parallel(work)
    named = zip(pairs, results[: len(pairs)], strict=True)
    return {planned.name: result for (planned, _), result in named if result is not None}


def _bound(function: Callable[..., Digest | None], *arguments: object) -> Callable[[], Digest | None]:
    return lambda: function(*arguments)


def _pairs(
    plan: Plan, found: Mapping[str, PlannedTensor], kept: Mapping[str, str], output: Inputs
) -> list[tuple[PlannedTensor, PlannedTensor]]:
    """Return each tensor of the plan with that of the output which stands for it."""
    pairs: list[tuple[PlannedTensor, PlannedTensor]] = []
    wanted: set[str] = set()
    for planned in plan.tensors:
        name = planned.name
        if name not in found and plan.aliases.get(name) == kept.get(name):
            name = kept.get(name, name)
        tensor = found.get(name)
        if tensor is None:
            raise MismatchError(f"{output.reader.origin}: tensor {printable(name)} of the source is missing")
        wanted.add(name)
        pairs.append((planned, tensor))
    if extra := sorted(found.keys() - wanted):
        raise MismatchError(f"{output.reader.origin}: tensor {printable(extra[0])} is not in the source")
    return pairs


class _Comparison:
    """Compares tensors of a source with tensors of one output."""

    def __init__(self, stores: Sequence[Store], output: Store, *, digests: bool) -> None:
        self._stores = stores
        self._output = output
        self._digests = digests

    def tensor(self, planned: PlannedTensor, written: PlannedTensor) -> Digest | None:
        """Compare all bytes; return the digest of both, if it is wanted."""
        data = written.data[0] if isinstance(written.data, tuple) and written.data else Range(begin=0, size=0)
        found, position, end = begun(planned) if self._digests else None, data.begin, data.begin + data.size
        buffer = bytearray(BLOCK)
        for block in blocks(self._stores, planned):
            for piece in _cut(block):
                if len(piece) != len(buffer):
                    buffer = bytearray(len(piece))
                # A bytearray and a buffer are compared by `memcmp`, two views item by item.
                if not self._read(buffer, position, end) or buffer != piece:
                    place = self._output.reader.at(position)
                    name = printable(planned.name)
                    raise MismatchError(f"{place}: tensor {name} differs from the source in these {len(piece)} bytes")
                position += len(piece)
                if found is not None:
                    found.update(piece)
        if position != end:
            place = self._output.reader.at(position)
            raise MismatchError(f"{place}: tensor {printable(planned.name)} goes on behind the end of the source's")
        return Digest("sha256", found.hexdigest()) if found is not None else None

    def _read(self, buffer: bytearray, begin: int, end: int) -> bool:
        """Fill the buffer with bytes of the output; tell whether there are so many before `end`."""
        if begin + len(buffer) > end:
            return False
        if self._output.descriptor is not None and hasattr(os, "preadv"):
            return os.preadv(self._output.descriptor, [buffer], begin) == len(buffer)
        buffer[:] = self._output.reader.view[begin : begin + len(buffer)]
        return True


def _cut(block: Block) -> Iterable[Block]:
    """Return a block in pieces of at most BLOCK bytes; whole when it is small, so that nothing is copied."""
    if len(block) <= BLOCK:
        return (block,)
    view = memoryview(block)
    return (view[begin : begin + BLOCK] for begin in range(0, len(block), BLOCK))


def _check_sum(stores: Sequence[Store], checksum: Checksum, plan: Plan) -> None:
    """Raise UnconvertibleError, with the tensors that it concerns, when a CRC does not hold."""
    crc = 0
    store = stores[checksum.data.store]
    for block in spans(store, checksum.data):
        crc = zlib.crc32(block, crc)
    if crc != checksum.crc:
        names = [tensor.name for tensor in plan.tensors if tensor.member == checksum.member]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        reason = f"tensor {names[0]!r}{more}: {checksum.member} has CRC {crc:08x}, said to be {checksum.crc:08x}"
        raise UnconvertibleError(store.reader.at(checksum.data.begin), printable(reason))


def _in_parallel(work: list[Callable[[], T]]) -> list[T]:
    """Return the results in order; raise the first error in that order and leave out what has not begun."""
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
        pending: list[Future[T]] = [pool.submit(one) for one in work]
        try:
            wait(pending, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(cancel_futures=True)
    for future in pending:
        if not future.cancelled() and (error := future.exception()) is not None:
            raise error
    return [future.result() for future in pending]
