"""The walk over the tables of a model, and what they amount to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from math import prod
from struct import unpack_from
from typing import Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Anomaly, Fact, Gap, Inert, Member, Metadata, Operator, Tensor
from weighbridge.formats.base import Context
from weighbridge.formats.onnx.tensors import MAX_DIMENSIONS, TYPES
from weighbridge.formats.ort.embedded import Embedded
from weighbridge.formats.ort.flatbuffer import MAX_DEPTH, Buffer, Child, Span, Value
from weighbridge.formats.ort.schema import ROOT, VERSIONS
from weighbridge.reader import Reader

SHOWN: Final = 200  # characters of a text that a detail repeats
VALUE: Final = 1 << 16  # bytes of a text that becomes metadata
HOLES: Final = 1000  # that are examined one by one
_TIME: Final = 1024  # tables after which the clock is looked at
_FUSED: Final = 1
_STRING: Final = 8
# Nodes that hand a vendor's runtime a compiled model, and the attributes that hold it or its path.
_ENGINES: Final = {"EPContext": ("ep_cache_context",), "Snpe": ("DLC",)}
_CONFIGURATION: Final = "ort_config"
_NAME: Final = re.compile(rb"[\w./:@<>\[\]() -]*")  # most texts are names; a program is not all letters
_TEXTS: Final = frozenset({"doc_string", "graph_doc_string", "s", "strings", "string_data", "value", "denotation"})

Fields = dict[str, Value]


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the operators, tensors and metadata of a model, and the account of its bytes.

    Raises ArtifactError when a table breaks the format; what was found until then is told before.
    """
    walk = _Walk(reader, context)
    try:
        yield from walk.tables()
    except ArtifactError:
        yield from walk.operators()
        raise
    yield from walk.operators()
    yield from walk.rest()


class _Walk:
    """One model: its tables are read once each, in the order in which the root leads to them."""

    def __init__(self, reader: Reader, context: Context) -> None:
        self._reader = reader
        self._context = context
        self._buffer = Buffer(reader)
        self._embedded = Embedded(reader, context)
        self._opsets: dict[str, int] = {}
        self._nodes: dict[tuple[str, str], tuple[int, int]] = {}  # the first place and the count
        self._handlers: dict[str, Callable[[Fields, int], Iterator[Fact]]] = {
            "InferenceSession": self._session,
            "Model": self._model,
            "OperatorSetId": self._opset,
            "Entry": self._entry,
            "Node": self._node,
            "Tensor": self._tensor,
        }

    def tables(self) -> Iterator[Fact]:
        """Yield the facts of every table."""
        stack = [(self._buffer.root(ROOT), 0)]
        seen: set[Child] = set()
        while stack:
            child, depth = stack.pop()
            if child in seen:
                continue
            seen.add(child)
            if depth > MAX_DEPTH:
                raise LimitError(self._reader.at(child.offset), f"tables nested deeper than {MAX_DEPTH}")
            if not len(seen) % _TIME:
                self._context.budget.check_time(self._reader.at(child.offset))
            fields, children = self._buffer.read(child)
            if self._buffer.strangers:
                yield from self._strangers()
            handler = self._handlers.get(child.table)
            if handler is not None:
                yield from handler(fields, child.offset)
            if not _TEXTS.isdisjoint(fields):
                yield from self._texts(fields)
            stack += [(one, depth + 1) for one in reversed(children)]

    def operators(self) -> Iterator[Fact]:
        """Yield the operators of all graphs."""
        for (domain, name), (place, count) in self._nodes.items():
            yield Operator(
                location=self._reader.at(place),
                domain=domain,
                name=name,
                version=self._opsets.get(domain, 0),
                count=count,
            )

    def rest(self) -> Iterator[Fact]:
        """Yield what is to be said of the bytes: two values in one place, and those that nothing refers to."""
        overlaps, holes = self._buffer.account()
        for span in overlaps:
            detail = f"{span.size} bytes belong to two values"
            yield Anomaly(location=self._reader.at(span.offset), code="ort-overlap", detail=detail)
        for index, span in enumerate(holes):
            place = self._reader.at(span.offset)
            if index == HOLES:
                yield Gap(location=place, reason=f"more than {HOLES} pieces that nothing refers to")
                return
            detail = f"{span.size} bytes that nothing refers to"
            yield Anomaly(location=place, code="ort-hole", detail=detail)
            self._context.budget.spend_members(place)
            name = f"hole at {span.offset:#x}"
            yield Member(location=place, name=name, size=span.size, stored=span.size, type="hole")
            yield from self._context.examine(self._reader.window(span.offset, span.size, name), span.size)

    def _strangers(self) -> Iterator[Fact]:
        for table, slot, place in self._buffer.strangers:
            reason = f"{table} has a field in slot {slot}, which this version does not know"
            yield Gap(location=self._reader.at(place), reason=reason, size=0)
        self._buffer.strangers.clear()

    def _session(self, fields: Fields, place: int) -> Iterator[Fact]:
        version = self._text(fields, "ort_version")
        yield Metadata(location=self._reader.at(place), key="ort_version", value=version)
        if version not in VERSIONS:
            reason = f"version {version[:SHOWN]!r} of the format is not known"
            yield Gap(location=self._reader.at(place), reason=reason, size=0)
        if "model" not in fields:
            raise ArtifactError(self._reader.at(place), "there is no model in it")

    def _model(self, fields: Fields, place: int) -> Iterator[Fact]:
        for name in ("producer_name", "producer_version", "domain", "doc_string", "graph_doc_string"):
            text = self._text(fields, name)
            if text:
                yield Metadata(location=self._reader.at(place), key=name, value=text)
        if "graph" not in fields:
            raise ArtifactError(self._reader.at(place), "there is no graph in it")

    def _opset(self, fields: Fields, place: int) -> Iterator[Fact]:
        version = fields.get("version")
        if isinstance(version, int):
            self._opsets[self._text(fields, "domain")] = version
        yield from ()

    def _entry(self, fields: Fields, place: int) -> Iterator[Fact]:
        key, value = self._text(fields, "key"), self._text(fields, "value")
        yield Metadata(location=self._reader.at(place), key=key, value=value)
        if key == _CONFIGURATION:
            yield Anomaly(location=self._reader.at(place), code="onnx-config", detail=value[:SHOWN])

    def _node(self, fields: Fields, place: int) -> Iterator[Fact]:
        key = self._text(fields, "domain"), self._text(fields, "op_type")
        first, count = self._nodes.get(key, (place, 0))
        self._nodes[key] = first, count + 1
        if fields.get("type") == _FUSED:
            detail = f"{key[1][:SHOWN]!r} stands for nodes that are not in the file"
            yield Anomaly(location=self._reader.at(place), code="ort-fused-node", detail=detail)
        for name in self._engine(fields, _ENGINES.get(key[1], ())):
            detail = f"{key[1]} has {name}"
            yield Anomaly(location=self._reader.at(place), code="onnx-native-blob", detail=detail)

    def _engine(self, fields: Fields, names: tuple[str, ...]) -> Iterator[str]:
        attributes = fields.get("attributes")
        for attribute in attributes if names and isinstance(attributes, list) else ():
            if isinstance(attribute, Child):
                name = self._text(self._buffer.read(attribute)[0], "name")
                if name in names:
                    yield name

    def _tensor(self, fields: Fields, place: int) -> Iterator[Fact]:
        name, dims = self._text(fields, "name"), self._dims(fields)
        number, raw = fields.get("data_type", 0), fields.get("raw_data")
        kind = TYPES.get(number) if isinstance(number, int) else None
        start, size = (raw.offset, raw.size) if isinstance(raw, Span) else (place, 0)
        dtype = f"type {number}" if kind is None else kind.name
        yield Tensor(location=self._reader.at(start), name=name, dtype=dtype, shape=dims, size=size)
        for problem in self._misfits(fields, dims, size):
            detail = f"tensor {name[:SHOWN]!r}: {problem}"
            yield Anomaly(location=self._reader.at(place), code="onnx-tensor-payload", detail=detail)
        if isinstance(raw, Span) and size:
            yield Inert(location=self._reader.at(start), size=size, reason="tensor data")
            yield from self._embedded.data(raw)
        if fields.get("external_offset", -1) != -1:
            reason = f"the data of tensor {name[:SHOWN]!r} are in another file, which the model does not name"
            yield Gap(location=self._reader.at(place), reason=reason, size=0)

    def _dims(self, fields: Fields) -> tuple[int, ...]:
        span = fields.get("dims")
        count = min(span.size // 8, MAX_DIMENSIONS + 1) if isinstance(span, Span) else 0
        return unpack_from(f"<{count}q", self._reader.view, span.offset) if isinstance(span, Span) else ()

    def _misfits(self, fields: Fields, dims: tuple[int, ...], size: int) -> Iterator[str]:
        """Yield what does not fit in type, dimensions and data."""
        number = fields.get("data_type", 0)
        kind = TYPES.get(number) if isinstance(number, int) else None
        texts = fields.get("string_data")
        if kind is None:
            yield f"element type {number}"
        elif len(dims) > MAX_DIMENSIONS or any(dim < 0 for dim in dims):
            yield "negative dimensions, or too many"
        elif number == _STRING:
            count = len(texts) if isinstance(texts, list) else 0
            if count != prod(dims) or size:
                yield f"{count} texts and {size} bytes, its shape needs {prod(dims)} texts"
        elif texts or (size != -(-prod(dims) * kind.bits // 8) and fields.get("external_offset", -1) == -1):
            yield f"{size} bytes, its shape needs {-(-prod(dims) * kind.bits // 8)}"

    def _texts(self, fields: Fields) -> Iterator[Fact]:
        """Yield the programs among the texts that are no names."""
        for name in _TEXTS & fields.keys():
            value = fields[name]
            for span in value if isinstance(value, list) else (value,):
                if isinstance(span, Span) and not _NAME.fullmatch(self._reader.view, span.offset, sum(span)):
                    yield from self._embedded.text(span, name)

    def _text(self, fields: Fields, name: str) -> str:
        span = fields.get(name)
        if not isinstance(span, Span):
            return ""
        if span.size > VALUE:
            return self._reader.read(span.offset, VALUE).decode("utf-8", "backslashreplace") + "…"
        return self._reader.read(span.offset, span.size).decode("utf-8", "backslashreplace")
