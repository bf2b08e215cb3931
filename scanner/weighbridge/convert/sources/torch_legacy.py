"""torch checkpoints before 1.6: five pickles, then each storage as a count of elements and its bytes.

Source: torch/serialization.py, `_legacy_save` and `_legacy_load`, torch 0.4 to 2.13.
"""

from __future__ import annotations

from typing import Final

from weighbridge.convert.plan import Plan
from weighbridge.convert.sources.base import Inputs, Options, Source
from weighbridge.convert.sources.pickled import Held, Stream, run, storages
from weighbridge.convert.sources.pickled import plan as plan_result
from weighbridge.convert.torch_tensors import StorageId
from weighbridge.errors import ArtifactError, UnconvertibleError
from weighbridge.formats.pickle.machine import Machine
from weighbridge.formats.pickle.torch_legacy import MAGIC
from weighbridge.formats.zip.torch import STORAGES
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location
from weighbridge.reader import Reader
from weighbridge.symbols import Dict, Value

PROTOCOL: Final = 1001
_ITEM_SIZES: Final = dict(STORAGES.values())


def recognise(inputs: Inputs) -> bool:
    """Tell whether the file begins with the pickle of torch's number."""
    machine = Machine(memoryview(inputs.reader.sample.head), 0, Location(()), Budget(Limits()))
    machine.run()
    return machine.complete and type(machine.result) is int and machine.result == MAGIC


def plan(inputs: Inputs, options: Options) -> Plan:
    """Return the tensors of a stream; raise ArtifactError when the storages are not those that its pickle names."""
    return plan_result(SOURCE.name, stream(inputs), options)


def stream(inputs: Inputs) -> Stream:
    """Return the pickle of a checkpoint; raise what `plan` does."""
    reader = inputs.reader
    position = 0
    machines: list[Machine] = []
    for _ in range(5):
        machines.append(run(reader, position, inputs.budget))
        position = machines[-1].position
    _, protocol, system, machine, keys = machines
    if protocol.result != PROTOCOL:
        raise ArtifactError(reader.at(protocol.start), f"the protocol is not {PROTOCOL}")
    if _item(system.result, "little_endian") is not True:
        advice = "save it on a machine of the usual order"
        raise UnconvertibleError(reader.at(system.start), f"its numbers are big-endian; {advice}")
    reader.seek(position)
    held = _held(reader, keys.result, {storage.key: storage for storage in storages(machine)})
    return Stream(machine=machine, reader=reader, held=held)


def _item(value: Value, key: str) -> Value:
    if not isinstance(value, Dict):
        return None
    return next((one for name, one in zip(value[::2], value[1::2], strict=True) if name == key), None)


def _held(reader: Reader, keys: Value, named: dict[str, StorageId]) -> dict[str, Held]:
    """Return where each storage of the list lies; they have to be those that are named, once each, up to the end."""
    held: dict[str, Held] = {}
    if not isinstance(keys, list):
        raise ArtifactError(reader.location, "the list of storages is no list")
    for key in keys:
        start = reader.location
        storage = named.get(key) if isinstance(key, str) else None
        if storage is None or key in held:
            reason = "named twice" if storage is not None else "in no tensor, so that its size is unknown"
            raise ArtifactError(start, f"storage {key!r} is {reason}")
        count = reader.i64()
        if count * _ITEM_SIZES[storage.dtype] != storage.size:
            raise ArtifactError(start, f"storage {key!r} has {count} elements, the pickle says {storage.size} bytes")
        begin = reader.position
        reader.skip(storage.size)
        held[storage.key] = Held(begin=begin, size=storage.size, member=f"storage {key}", location=start)
    if reader.remaining:
        raise ArtifactError(reader.location, f"{reader.remaining} bytes behind the last storage")
    return held


SOURCE: Final = Source("torch-legacy", "torch checkpoint before 1.6", recognise, plan)
