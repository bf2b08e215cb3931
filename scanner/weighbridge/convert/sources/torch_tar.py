"""torch's first file format: a tar with a pickle, its storages and its tensors, which the pickle names by number.

Source: torch/serialization.py, `legacy_load` in `_legacy_load`, torch 0.1 to 2.13, which reads it without
`weights_only` alone.
"""

from __future__ import annotations

from typing import Final

from weighbridge.convert.dtypes import TORCH, UNCONVERTIBLE
from weighbridge.convert.plan import Plan
from weighbridge.convert.sources.base import Inputs, Options, Source
from weighbridge.convert.sources.pickled import Held, Stream, run
from weighbridge.convert.sources.pickled import plan as plan_result
from weighbridge.convert.torch_tensors import DIMENSIONS, StorageId, Unfit, View, number
from weighbridge.errors import ArtifactError
from weighbridge.facts import Anomaly, Gap, Member
from weighbridge.formats.base import Context
from weighbridge.formats.tar import FORMAT
from weighbridge.formats.tar.parse import parse
from weighbridge.formats.tar.torch_legacy import MEMBERS
from weighbridge.formats.zip.torch import STORAGES
from weighbridge.limits import Budget
from weighbridge.location import Location
from weighbridge.reader import Reader
from weighbridge.symbols import Global, PersistentId, Value

_ITEM_SIZES: Final = dict(STORAGES.values())


def recognise(inputs: Inputs) -> bool:
    """Tell whether the file is a tar whose first member is one of torch's."""
    head = inputs.reader.sample.head
    first = head[:100].partition(b"\0")[0].removeprefix(b"./")
    return FORMAT.sniff(inputs.reader.sample) and first in {b"sys_info", *(name.encode() for name in MEMBERS)}


def plan(inputs: Inputs, options: Options) -> Plan:
    """Return the tensors of an archive; raise ArtifactError at anything that torch did not write."""
    return plan_result(SOURCE.name, stream(inputs), options)


def stream(inputs: Inputs) -> Stream:
    """Return the pickle of an archive; raise what `plan` does."""
    parts = _parts(inputs)
    storages = _Storages(parts["storages"], inputs.budget)
    tensors = _tensors(parts["tensors"], inputs.budget, storages.named)
    program = parts["pickle"]
    machine = run(program, 0, inputs.budget)

    def leaf(value: Value) -> View | Unfit | None:
        match value:
            case PersistentId(value=str() | int() as key):
                return tensors.get(str(key))
        return None

    return Stream(machine=machine, reader=program, held=storages.held, leaf=leaf)


def _parts(inputs: Inputs) -> dict[str, Reader]:
    """Return the archive's members by name."""
    found: dict[str, Reader] = {}
    for fact in parse(inputs.reader, Context(inputs.budget, lambda _reader, _stored: ())):
        if isinstance(fact, Anomaly | Gap):
            raise ArtifactError(fact.location, fact.detail if isinstance(fact, Anomaly) else fact.reason)
        if isinstance(fact, Member) and fact.name in MEMBERS and fact.type == "file":
            found[fact.name] = inputs.reader.window(fact.location.offset, fact.size)
    if missing := sorted(MEMBERS - found.keys()):
        raise ArtifactError(inputs.reader.origin, f"the archive has no member {missing[0]!r}")
    return found


def _take(reader: Reader, budget: Budget) -> Value:
    """Run the pickle at the cursor and step over it."""
    machine = run(reader, reader.position, budget)
    reader.seek(machine.position)
    return machine.result


def _count(reader: Reader, budget: Budget) -> int:
    start = reader.location
    count = _take(reader, budget)
    if not number(count) or not isinstance(count, int):
        raise ArtifactError(start, "a count that is no number")
    return count


class _Storages:
    """The storages of an archive: by the key that tensors use, and where each has its bytes."""

    def __init__(self, reader: Reader, budget: Budget) -> None:
        self.named: dict[str, StorageId] = {}
        self.held: dict[str, Held] = {}
        for _ in range(_count(reader, budget)):
            self._storage(reader, _take(reader, budget))
        self._views(reader, _take(reader, budget))
        _at_end(reader)

    def _storage(self, reader: Reader, named: Value) -> None:
        start = reader.location
        match named:
            case (str() | int() as key, str(), Global(module=module, name=kind)) if (
                kind in STORAGES and module.split(".")[0] == "torch" and str(key) not in self.named
            ):
                word, item = STORAGES[kind]
            case _:
                raise ArtifactError(start, "a storage without a key, a place and a class, or one that comes twice")
        count = reader.i64()
        begin = reader.position
        reader.skip(count * item)
        self.named[str(key)] = StorageId(key=str(key), dtype=word, size=count * item)
        place = begin + reader.origin.offset
        self.held[str(key)] = Held(begin=place, size=count * item, member=f"storage {key}", location=start)

    def _views(self, reader: Reader, views: Value) -> None:
        for view in views if isinstance(views, list) else [None]:
            match view:
                case (str() | int() as key, str() | int() as root, int(begin), int(count)) if (
                    str(root) in self.named and str(key) not in self.named and number(begin) and number(count)
                ):
                    whole = self.named[str(root)]
                    item = _ITEM_SIZES[whole.dtype]
                    if whole.begin or (begin + count) * item > whole.size:
                        raise ArtifactError(reader.location, f"view {key!r} is not inside storage {root!r}")
                    named = StorageId(key=whole.key, dtype=whole.dtype, size=whole.size, begin=begin * item)
                    self.named[str(key)] = named
                case _:
                    raise ArtifactError(reader.location, "a view of a storage that does not name one")


def _tensors(reader: Reader, budget: Budget, storages: dict[str, StorageId]) -> dict[str, View | Unfit]:
    """Return the tensors of an archive by their keys: a pickle for each, then its shape as numbers."""
    found: dict[str, View | Unfit] = {}
    for _ in range(_count(reader, budget)):
        start = reader.location
        match _take(reader, budget):
            case (str() | int() as key, str() | int() as storage, *_) if (
                str(storage) in storages and str(key) not in found and str(key) not in storages
            ):
                found[str(key)] = _tensor(reader, start, storages[str(storage)])
            case _:
                raise ArtifactError(start, "a tensor that names no storage, or one that comes twice")
    _at_end(reader)
    return found


def _tensor(reader: Reader, start: Location, storage: StorageId) -> View | Unfit:
    dimensions, _ = reader.u32(), reader.u32()
    if dimensions > DIMENSIONS:
        raise ArtifactError(start, f"a tensor of {dimensions} sides")
    shape = tuple(reader.i64() for _ in range(dimensions))
    strides = tuple(reader.i64() for _ in range(dimensions))
    offset = reader.i64()
    if not all(map(number, (*shape, *strides, offset))):
        raise ArtifactError(start, "a tensor whose offset, shape or strides are negative")
    if storage.dtype not in TORCH:
        reason = f"dtype {storage.dtype} has no equivalent in safetensors"
        advice = UNCONVERTIBLE.get(storage.dtype, "")
        return Unfit(location=start, reason=reason, advice=advice, dtype=storage.dtype, shape=shape)
    return View(
        location=start,
        storage=storage,
        dtype=storage.dtype,
        item=_ITEM_SIZES[storage.dtype],
        offset=offset,
        shape=shape,
        strides=strides,
    )


def _at_end(reader: Reader) -> None:
    if reader.remaining:
        raise ArtifactError(reader.location, f"{reader.remaining} bytes behind the last item")


SOURCE: Final = Source("torch-tar", "torch checkpoint of 2016", recognise, plan)
