"""The proof that an output holds what a plan says, byte for byte.

The plan is one that was made anew from the source; the output's header is parsed as a stranger's. Every byte of every
tensor is compared where it lies mapped, which takes a quarter of the time of hashing it. What else can be said while
all bytes pass by is said too, block by block, while a block is in the cache: the digests of the tensors, and whether
the container's own checksums hold.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from weighbridge.convert.blocks import BLOCK, Block, blocks, spans
from weighbridge.convert.digests import begun
from weighbridge.convert.front import Front, StoppedError
from weighbridge.convert.plan import Checksum, Plan, PlannedTensor, Range, Strided
from weighbridge.convert.sources import safetensors
from weighbridge.convert.sources.base import Inputs, Options, Store
from weighbridge.convert.windows import WINDOW, Window, comparable
from weighbridge.digest import Digest
from weighbridge.errors import MismatchError, UnconvertibleError
from weighbridge.location import printable

T = TypeVar("T")

WORKERS: Final = 4  # hashing lets go of the interpreter; more than this only wait for memory
_METADATA: Final = "__metadata__."


def prove(
    plan: Plan,
    inputs: Inputs,
    output: Inputs,
    *,
    digests: bool = False,
    checksums: bool = False,
    front: Front | None = None,
    once: bool = False,
) -> dict[str, Digest]:
    """Compare an output with a plan of its source; return the digests of its tensors by name, if they are wanted.

    An output that has a `front` is still being written behind its header: each tensor is waited for. When the source is
    read `once`, the system is told to keep nothing of it in memory that has been compared.

    1. The output's header is what the format asks for, without anything that readers take differently.
    2. It has every tensor of the plan, under its name or as one that its metadata names, and no other.
    3. Each has the plan's dtype and shape.
    4. Each has the source's bytes.
    5. With `checksums`, those that the source's container has of the bytes hold.

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
    pairs.sort(key=lambda pair: pair[1].begin)  # as they are written
    compare = _Comparison(plan, inputs.stores, output, front, digests=digests, once=once)
    sums: dict[Range | None, Checksum] = {one.data: one for one in plan.checksums} if checksums else {}
    work: list[Callable[[], Digest | None]] = [
        _bound(compare.tensor, planned, tensor, sums.pop(_whole(planned), None))
        for planned, tensor in pairs  # 4, 5
    ]
    work += [_bound(_check_sum, inputs.stores, checksum, plan) for checksum in sums.values()]  # 5
    results = _in_parallel(work, compare.front)
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


class _Passing:
    """What is computed of the bytes of a tensor while they pass: its digest, and a checksum of its container."""

    def __init__(self, planned: PlannedTensor, *, digested: bool, summed: bool) -> None:
        self._digest = begun(planned) if digested else None
        self._summed = summed
        self.crc = 0

    def update(self, piece: Block) -> None:
        """Add the next bytes."""
        if self._digest is not None:
            self._digest.update(piece)
        if self._summed:
            self.crc = zlib.crc32(piece, self.crc)

    @property
    def digest(self) -> Digest | None:
        """The digest of all bytes so far, if it is wanted."""
        return None if self._digest is None else Digest("sha256", self._digest.hexdigest())


class _Comparison:
    """Compares tensors of a source with tensors of one output."""

    def __init__(
        self, plan: Plan, stores: Sequence[Store], output: Inputs, front: Front | None, *, digests: bool, once: bool
    ) -> None:
        self.front = front or _finished(output)
        self._window = WINDOW if front is None else WINDOW // 2  # whoever writes needs memory at the same time
        self._plan = plan
        self._stores = stores
        self._output = output.stores[0]
        self._digests = digests
        self._once = once

    def tensor(self, planned: PlannedTensor, written: PlannedTensor, checksum: Checksum | None) -> Digest | None:
        """Compare all bytes; return the digest of both, if it is wanted.

        A `checksum` of just these bytes is checked on the way.
        """
        data = written.data[0] if isinstance(written.data, tuple) and written.data else Range(begin=0, size=0)
        summed = checksum is not None
        passing = _Passing(planned, digested=self._digests, summed=summed) if self._digests or summed else None
        position, end = data.begin, data.begin + data.size
        self.front.wait(end)
        if isinstance(planned.data, Strided) or planned.swap > 1:
            position = self._blocks(blocks(self._stores, planned), position, end, planned, passing)
        else:
            for part in planned.data:
                store = self._stores[part.store]
                if comparable(store, self._output, part.size) and position + part.size <= end:
                    position = self._mapped(part, position, planned, passing)
                else:
                    position = self._blocks(spans(store, part), position, end, planned, passing)
        if position != end:
            place = self._output.reader.at(position)
            raise MismatchError(f"{place}: tensor {printable(planned.name)} goes on behind the end of the source's")
        if passing is not None and checksum is not None:
            _hold(checksum, passing.crc, self._stores, self._plan)
        return passing.digest if passing is not None else None

    def _mapped(self, part: Range, position: int, planned: PlannedTensor, passing: _Passing | None) -> int:
        """Compare a range of a file with the output's bytes at `position`; return the position behind them."""
        step = BLOCK if passing is not None else self._window
        for done in range(0, part.size, self._window):
            size = min(self._window, part.size - done)
            with (
                Window(self._stores[part.store], part.begin + done, size) as one,
                Window(self._output, position + done, size) as other,
            ):
                for begin in range(0, size, step):
                    end = min(begin + step, size)
                    if not one.equals(other, begin, end):
                        raise self._differs(planned, position + done + begin, end - begin)
                    if passing is not None:
                        passing.update(one.view[begin:end])
            if self._once:
                self._stores[part.store].release(part.begin + done, size)
        return position + part.size

    def _blocks(
        self, given: Iterable[Block], position: int, end: int, planned: PlannedTensor, passing: _Passing | None
    ) -> int:
        """Compare blocks of the source with the output's bytes at `position`; return the position behind them."""
        buffer = bytearray(BLOCK)
        for block in given:
            for piece in _cut(block):
                if len(piece) != len(buffer):
                    buffer = bytearray(len(piece))
                # A bytearray and a buffer are compared by `memcmp`, two views item by item.
                if not self._read(buffer, position, end) or buffer != piece:
                    raise self._differs(planned, position, len(piece))
                position += len(piece)
                if passing is not None:
                    passing.update(piece)
        return position

    def _differs(self, planned: PlannedTensor, position: int, count: int) -> MismatchError:
        place, name = self._output.reader.at(position), printable(planned.name)
        return MismatchError(f"{place}: tensor {name} differs from the source in these {count} bytes")

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


def _whole(tensor: PlannedTensor) -> Range | None:
    """Return the one range that a tensor is as it stands there."""
    if isinstance(tensor.data, Strided) or tensor.swap > 1 or len(tensor.data) != 1:
        return None
    return tensor.data[0]


def _check_sum(stores: Sequence[Store], checksum: Checksum, plan: Plan) -> None:
    """Read the bytes of a checksum; raise UnconvertibleError when it does not hold."""
    crc = 0
    for block in spans(stores[checksum.data.store], checksum.data):
        crc = zlib.crc32(block, crc)
    _hold(checksum, crc, stores, plan)


def _hold(checksum: Checksum, crc: int, stores: Sequence[Store], plan: Plan) -> None:
    """Raise UnconvertibleError, with the tensors that it concerns, when a CRC is another one."""
    if crc != checksum.crc:
        names = [tensor.name for tensor in plan.tensors if tensor.member == checksum.member]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        reason = f"tensor {names[0]!r}{more}: {checksum.member} has CRC {crc:08x}, said to be {checksum.crc:08x}"
        place = stores[checksum.data.store].reader.at(checksum.data.begin)
        raise UnconvertibleError(place, printable(reason))


def _finished(output: Inputs) -> Front:
    """Return the front of an output that is all there."""
    front = Front()
    front.advance(output.size)
    return front


def _in_parallel(work: list[Callable[[], T]], front: Front) -> list[T]:
    """Return the results in order; raise the first error in that order and leave out what has not begun."""
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
        pending: list[Future[T]] = [pool.submit(one) for one in work]
        try:
            waiting = wait(pending, return_when=FIRST_EXCEPTION).not_done
        except BaseException:
            front.stop()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if waiting:  # for what nobody wants any more
            front.stop()
    errors = [error for future in pending if not future.cancelled() and (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, StoppedError)):
        raise error
    return [future.result() for future in pending]
