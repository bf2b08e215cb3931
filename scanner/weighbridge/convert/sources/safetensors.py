"""safetensors as a source: for listing, digests and comparison, and to bring the header into the form we write."""

from __future__ import annotations

from typing import Final

from weighbridge.convert.plan import Plan, PlannedTensor, Range
from weighbridge.convert.sources.base import Inputs, Options, Source
from weighbridge.errors import ArtifactError
from weighbridge.facts import Anomaly, Metadata, Tensor
from weighbridge.formats.base import Context
from weighbridge.formats.safetensors import FORMAT
from weighbridge.formats.safetensors.parse import parse


def recognise(inputs: Inputs) -> bool:
    """Tell whether the file begins as safetensors does."""
    return FORMAT.sniff(inputs.reader.sample)


def plan(inputs: Inputs, _: Options) -> Plan:
    """Return the tensors of a header; raise ArtifactError at the first thing no writer writes."""
    tensors: list[PlannedTensor] = []
    scalars = {}
    inputs.reader.seek(0)
    for fact in parse(inputs.reader, Context(inputs.budget, lambda _reader, _stored: ())):
        if isinstance(fact, Anomaly):
            raise ArtifactError(fact.location, fact.detail)
        if isinstance(fact, Metadata):
            scalars[f"__metadata__.{fact.key}"] = fact.value
        elif isinstance(fact, Tensor):
            data = Range(begin=fact.location.offset, size=fact.size)
            tensors.append(
                PlannedTensor(name=fact.name, dtype=fact.dtype, shape=fact.shape, data=(data,), location=fact.location)
            )
    return Plan(source=SOURCE.name, tensors=tuple(tensors), scalars=dict(scalars))


SOURCE: Final = Source("safetensors", "safetensors", recognise, plan)
