"""Plans from the symbolic result of a pickle, for every container that keeps torch's storages beside one."""

from __future__ import annotations

from collections.abc import Mapping

from weighbridge.convert.choice import Choice, choose
from weighbridge.convert.dtypes import TORCH
from weighbridge.convert.plan import Plan, PlannedTensor, Range, Refusal, Strided
from weighbridge.convert.sources.base import Options
from weighbridge.convert.symbolic import Walker
from weighbridge.convert.torch_tensors import Leaf, StorageId, View, storage_id
from weighbridge.errors import ArtifactError
from weighbridge.formats.pickle.machine import Machine
from weighbridge.limits import Budget
from weighbridge.location import Location
from weighbridge.reader import Reader
from weighbridge.records import dataclass
from weighbridge.symbols import PersistentId


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Where a storage's bytes are; `fault` is why they cannot be used."""

    begin: int
    size: int
    member: str
    location: Location
    store: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A pickle that was run, and where the storages are that it names, by key; `leaf` knows tensors of another kind.

    `beside` are the members of its container that neither it nor torch has a use for.
    """

    machine: Machine
    reader: Reader
    held: Mapping[str, Held]
    leaf: Leaf | None = None
    beside: tuple[str, ...] = ()


def run(reader: Reader, start: int, budget: Budget, *, interleaved: bool = False) -> Machine:
    """Return a machine that has run the stream at `start` value by value, as torch's unpickler reads it.

    Raises ArtifactError when it does not end, or has in it what no pickler writes.
    """
    machine = Machine(reader.view, start, reader.origin, budget, interleaved=interleaved, records=False, exact=True)
    machine.run()
    if machine.limit is not None:
        raise machine.limit
    if not machine.complete:
        raise ArtifactError(reader.at(machine.position), f"the pickle does not end: {machine.broken}")
    for anomaly in machine.anomalies:
        raise ArtifactError(anomaly.location, f"{anomaly.code}: {anomaly.detail}")
    return machine


def plan(source: str, stream: Stream, options: Options) -> Plan:
    """Return the plan of a stream's result."""
    walker = Walker(stream.machine.events, stream.reader, stream.leaf)
    root = walker.walk(stream.machine.result)
    choice = choose(root, options.state_dict, stream.reader.origin, everything=options.everything)
    for name in walker.unseen():
        choice.drop("", f"a call of {name}, which loading the file makes and converting it does not")
    for name in stream.beside:
        choice.drop(name, "a member of the archive that its pickle does not name")
    refused = list(choice.refused)
    tensors: list[PlannedTensor] = []
    for name, view in choice.tensors:
        planned = placed(name, view, stream.held)
        if isinstance(planned, PlannedTensor):
            tensors.append(planned)
        else:
            refused.append(planned)
    return Plan(
        source=source,
        tensors=tuple(tensors),
        aliases=aliases(choice),
        state_dict=choice.path,
        candidates=choice.candidates,
        dropped=tuple(choice.dropped),
        scalars=choice.scalars,
        refused=tuple(refused),
    )


def aliases(choice: Choice) -> dict[str, str]:
    """Return the names of tensors that are the same view of the same storage as one before, and that one's name."""
    first: dict[tuple[object, ...], str] = {}
    found: dict[str, str] = {}
    for name, view in choice.tensors:
        if 0 not in view.shape:
            key = (view.storage.key, view.storage.begin, view.offset, view.shape, view.strides, view.dtype)
            other = first.setdefault(key, name)
            if other != name:
                found[name] = other
    return found


def placed(name: str, view: View, held: Mapping[str, Held]) -> PlannedTensor | Refusal:
    """Return a tensor with its bytes, or why it has none: a storage that is missing, short or packed."""
    word = TORCH[view.dtype]
    storage = held.get(view.storage.key)
    fault = _fault(view, storage)
    if storage is None or fault:
        return Refusal(location=view.location, name=name, reason=fault, dtype=view.dtype, shape=view.shape)
    shape = view.shape
    if word == "F4":
        if not shape:
            return Refusal(location=view.location, name=name, reason="a pair of F4 numbers without a side to double")
        shape = (*shape[:-1], 2 * shape[-1])
    return PlannedTensor(
        name=name,
        dtype=word,
        shape=shape,
        data=_data(view, storage),
        location=view.location,
        member=storage.member,
    )


def _fault(view: View, storage: Held | None) -> str:
    """Return what is wrong with a tensor's storage, or with its place in it; nothing when it is as torch writes it."""
    named = view.storage
    if storage is None:
        return f"its storage {named.key!r} is not in the file"
    if storage.fault:
        return f"{storage.member}: {storage.fault}"
    if storage.size != named.size:
        return f"{storage.member} has {storage.size} bytes, the pickle says {named.size}"
    begin = named.begin + view.offset * view.item
    if begin + _extent(view) > storage.size:
        end = begin + _extent(view)
        return f"it reaches to byte {end} of {storage.member}, which has {storage.size}"
    return ""


def _extent(view: View) -> int:
    if 0 in view.shape:
        return 0
    return view.item * (1 + sum((side - 1) * step for side, step in zip(view.shape, view.strides, strict=True)))


def _data(view: View, storage: Held) -> tuple[Range, ...] | Strided:
    begin = storage.begin + view.storage.begin + view.offset * view.item
    if 0 in view.shape:
        return ()
    if in_order(view.shape, view.strides):
        return (Range(store=storage.store, begin=begin, size=_extent(view)),)
    return Strided(
        store=storage.store,
        begin=begin,
        item=view.item,
        shape=view.shape,
        strides=tuple(step * view.item for step in view.strides),
    )


def in_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Tell whether the last index runs fastest and nothing is left out; strides of sides of 1 mean nothing."""
    expected = 1
    for side, stride in zip(reversed(shape), reversed(strides), strict=True):
        if side != 1 and stride != expected:
            return False
        expected *= side
    return True


def storages(machine: Machine) -> list[StorageId]:
    """Return the storages that a stream's persistent ids name.

    Raises ArtifactError when two of them contradict each other, of which torch takes the first, or one cannot be read.
    """
    first: dict[str, StorageId] = {}
    for event in machine.events:
        if not isinstance(event, PersistentId):
            continue
        storage = storage_id(event.value)
        if storage is None:
            if isinstance(event.value, tuple) and event.value[:1] == ("storage",):
                raise ArtifactError(event.location, "a persistent id that names no storage that torch knows")
            continue
        other = first.setdefault(storage.key, storage)
        if (other.dtype, other.size) != (storage.dtype, storage.size):
            sizes = f"{other.size} bytes of {other.dtype}, and {storage.size} of {storage.dtype}"
            raise ArtifactError(event.location, f"storage {storage.key!r} is {sizes}")
    return list(first.values())
