"""Arrays of numpy in a pickle, alone or in containers: what joblib and Paddle save, and `pickle.dump`.

joblib writes the bytes of an array behind the opcodes of its wrapper, and may compress the whole file. Paddle saves a
dict of arrays, or pairs of a name and an array; its bfloat16 tensors are arrays of uint16 and stay that.

Source: joblib/numpy_pickle.py, joblib 0.10 to 1.6; paddle/framework/io.py, `paddle.save`, Paddle 2.0 to 3.3.
"""

from __future__ import annotations

from typing import Final

from weighbridge.convert.numpy_values import Arrays
from weighbridge.convert.plan import Plan
from weighbridge.convert.sources import torch_legacy
from weighbridge.convert.sources.base import Inputs, Options, Source
from weighbridge.convert.sources.pickled import Stream, run
from weighbridge.convert.sources.pickled import plan as plan_result
from weighbridge.errors import ArtifactError, UnconvertibleError
from weighbridge.formats.base import Context
from weighbridge.formats.compressed import KINDS
from weighbridge.formats.compressed.parse import unpack
from weighbridge.formats.pickle.machine import ENDED, Machine
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location
from weighbridge.reader import HEAD, Reader

PROTO: Final = 0x80
SLICED: Final = "UnpackBigParamInfor@@"  # how Paddle names what it cut in pieces for protocols before 4


def recognise(inputs: Inputs) -> bool:
    """Tell whether the file, or the stream that is compressed in it, begins as a pickle does that is not torch's."""
    head = inputs.reader.sample.head
    kind = _kind(head)
    if kind:
        try:
            return _runs(_first(kind, inputs.reader))
        except ArtifactError:
            return False
    return _runs(head) and not torch_legacy.recognise(inputs)


def plan(inputs: Inputs, options: Options) -> Plan:
    """Return the arrays; raise ArtifactError when the pickle does not end where the file does."""
    reader, store = inputs.reader, 0
    kind = _kind(reader.sample.head)
    if kind:
        context = Context(inputs.budget, lambda _reader, _stored: ())
        reader = context.spool(unpack(kind, reader), reader.origin.inside(kind), reader.size)
        store = inputs.add_computed(reader)
    machine = run(reader, 0, inputs.budget, interleaved=True)
    if machine.position != reader.size:
        raise ArtifactError(reader.at(machine.position), f"{reader.size - machine.position} bytes behind the pickle")
    arrays = Arrays(inputs, reader, store, machine.events)
    stream = Stream(machine=machine, reader=reader, held=arrays.held, leaf=arrays.leaf)
    found = plan_result(SOURCE.name, stream, options)
    if any(SLICED in path for path in found.scalars):
        advice = "save it again with protocol=4"
        raise UnconvertibleError(reader.origin, f"Paddle has cut large tensors of it into pieces; {advice}")
    return found


def _kind(head: bytes) -> str:
    """Return the kind of compressed stream that begins here, nothing when none does."""
    return next((name for name, (_, begins, _) in KINDS.items() if begins(head) and name != "joblib-zfile"), "")


def _first(kind: str, reader: Reader) -> bytes:
    """Return the first bytes that come out of a compressed stream."""
    for piece in unpack(kind, reader):
        if piece:
            return piece[:HEAD]
    return b""


def _runs(head: bytes) -> bool:
    """Tell whether the opcodes of a pickle stand here, as far as can be seen."""
    if len(head) < 2 or head[0] != PROTO:
        return False
    machine = Machine(memoryview(head), 0, Location(()), Budget(Limits()))
    machine.run()
    return machine.complete or machine.broken == ENDED


SOURCE: Final = Source("pickle", "pickle of numpy arrays (joblib, Paddle)", recognise, plan)
