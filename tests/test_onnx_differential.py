"""What a full parse by the onnx library finds in a model, our facts name, whatever the size and place of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import onnx
import pytest
from examining import anomalies, examine, facts_of, reasons
from google.protobuf.message import DecodeError
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from weighbridge.facts import ExternalData, Metadata, Operator, Tensor
from weighbridge.formats.onnx import messages

NAMES = ["", "a", "b", "weight", "é", "x" * 130]
DOMAINS = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "local"]
OPERATORS = ["Add", "Relu", "Conv", "If", "Made Up", "é"]
SIZES = [0, 1, 5, 300, 2000]


class Maker:
    """Random models of every shape that the library can write, ordinary or not."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.budget = 40

    def some(self, most: int = 3) -> range:
        self.budget -= 1
        return range(self.random.randint(0, most) if self.budget > 0 else 0)

    def sometimes(self, share: float = 0.4) -> bool:
        return self.budget > 0 and self.random.random() < share

    def name(self) -> str:
        return self.random.choice(NAMES)

    def entries(self, into: Any) -> None:
        for _ in self.some(2):
            into.add(key=f"key {self.random.randint(0, 9)}", value=self.name() * self.random.choice(SIZES))

    def tensor(self, into: onnx.TensorProto) -> None:
        into.name, count = self.name(), self.random.choice(SIZES)
        into.data_type = self.random.choice([1, 7, 6, 8, 11, 13])
        into.dims.extend([count] if self.sometimes(0.7) else [2, count, -1])
        if self.sometimes(0.3):
            into.data_location = onnx.TensorProto.EXTERNAL
            into.external_data.add(key="location", value=self.random.choice(["w.bin", "../w.bin", "deep/w.bin"]))
            into.external_data.add(key="offset", value=str(self.random.choice([0, 64, -1])))
        elif self.sometimes(0.5):
            into.raw_data = self.random.randbytes(count * 4)
        else:
            into.float_data.extend([1.5] * count)
            into.int64_data.extend([-1, 300][: count % 3])
            into.string_data.extend([b"text"] * (count % 7))
        if self.sometimes(0.2):
            into.doc_string = self.name()
            self.entries(into.metadata_props)

    def sparse(self, into: onnx.SparseTensorProto) -> None:
        self.tensor(into.values)
        self.tensor(into.indices)
        into.dims.append(9)

    def attribute(self, into: onnx.AttributeProto) -> None:
        fill: list[Callable[[], object]] = [
            lambda: self.graph(into.g),
            lambda: self.graph(into.graphs.add()),
            lambda: self.tensor(into.t),
            lambda: self.tensor(into.tensors.add()),
            lambda: self.sparse(into.sparse_tensor),
            lambda: self.sparse(into.sparse_tensors.add()),
            lambda: into.floats.extend([0.5] * self.random.choice(SIZES)),
            lambda: into.ints.extend([-3] * self.random.choice(SIZES)),
            lambda: into.strings.extend([b"bc"] * self.random.choice(SIZES)),
            lambda: setattr(into, "s", b"a" * self.random.choice([*SIZES, 70_000])),
            lambda: setattr(into, "i", 7),
        ]
        into.name = self.name()
        into.type = self.random.randint(0, 14)  # type: ignore[assignment]
        for one in self.random.sample(fill, self.random.randint(1, 2)):
            one()

    def node(self, into: onnx.NodeProto) -> None:
        into.op_type, into.domain = self.random.choice(OPERATORS), self.random.choice(DOMAINS)
        into.input.extend(self.name() for _ in range(self.random.randint(0, 2)))
        into.output.extend(self.name() for _ in range(self.random.randint(0, 2)))
        if self.sometimes():
            into.name = self.name()
        for _ in self.some(2):
            self.attribute(into.attribute.add())
        if self.sometimes(0.2):
            into.doc_string = self.name()
            self.entries(into.metadata_props)

    def nodes(self, into: Any) -> None:
        for _ in self.some(4):
            self.node(into.add())
            for _ in range(self.random.choice([0, 0, 2])):
                alike = into.add()
                alike.CopyFrom(into[-2])
                alike.name = self.name()

    def graph(self, into: onnx.GraphProto) -> None:
        into.name = self.name()
        self.nodes(into.node)
        for _ in self.some():
            self.tensor(into.initializer.add())
        for _ in self.some(1):
            self.sparse(into.sparse_initializer.add())
        for values in (into.input, into.output, into.value_info):
            for _ in self.some(1):
                values.add(name=self.name()).type.tensor_type.elem_type = 1
        self.entries(into.metadata_props)

    def model(self) -> onnx.ModelProto:
        model = onnx.ModelProto(ir_version=self.random.randint(3, 14), producer_name=self.name())
        for domain in self.random.sample(DOMAINS, 2):
            model.opset_import.add(domain=domain, version=self.random.randint(1, 20))
        self.entries(model.metadata_props)
        self.graph(model.graph)
        for _ in self.some(2):
            function = model.functions.add(name=self.name(), domain=self.random.choice(DOMAINS))
            self.nodes(function.node)
            for _ in self.some(1):
                self.attribute(function.attribute_proto.add())
        for _ in self.some(1):
            training = model.training_info.add()
            self.graph(training.initialization)
            self.graph(training.algorithm)
        return model


def every(message: Any) -> Iterator[Any]:
    """Yield a message and all messages in it, by what the library says of its fields."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                yield from every(one)


def agree(data: bytes, model: onnx.ModelProto) -> None:
    """Compare the facts of a model with what a full parse finds."""
    facts = facts_of(data)
    parts = list(every(model))
    operators = Counter(
        (one.domain.replace("ai.onnx", "") if one.domain == "ai.onnx" else one.domain, one.op_type)
        for one in parts
        if isinstance(one, onnx.NodeProto)
    )
    assert {(f.domain, f.name): f.count for f in facts if isinstance(f, Operator)} == operators
    tensors = [one for one in parts if isinstance(one, onnx.TensorProto)]
    targets = {e.value for one in tensors for e in one.external_data if e.key == "location"}
    assert {f.target for f in facts if isinstance(f, ExternalData)} == targets
    keys = {e.key for one in parts if hasattr(one, "metadata_props") for e in one.metadata_props}
    assert keys <= {f.key for f in facts if isinstance(f, Metadata)}
    weights = {one.name for graph in parts if isinstance(graph, onnx.GraphProto) for one in graph.initializer}
    assert weights <= {f.name for f in facts if isinstance(f, Tensor)}


# A smaller seed makes no smaller model.
SEEDS = settings(phases=[Phase.explicit, Phase.generate], max_examples=60)


@SEEDS
@given(st.integers(0, 1 << 32))
def test_facts_name_what_a_full_parse_finds(seed: int) -> None:
    model = Maker(seed).model()
    data = model.SerializeToString()
    agree(data, model)
    assert not reasons(facts_of(data))


@SEEDS
@given(st.integers(0, 1 << 32), st.integers(0, 1 << 32))
def test_two_models_behind_each_other_are_what_the_library_makes_of_them(first: int, second: int) -> None:
    data = Maker(first).model().SerializeToString() + Maker(second).model().SerializeToString()
    agree(data, onnx.load_model_from_string(data))


@SEEDS
@given(st.integers(0, 1 << 32), st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=3))
def test_a_changed_model_is_what_the_library_makes_of_it_or_a_gap(seed: int, changes: list[tuple[int, int]]) -> None:
    data = bytearray(Maker(seed).model().SerializeToString())
    for place, byte in changes:
        data[place % len(data)] = byte
    facts, tally = examine(bytes(data))
    assert tally.parsed + tally.inert + tally.unexamined == len(data)
    if reasons(facts) or "onnx-trailing" in anomalies(facts):
        return
    try:
        model = onnx.load_model_from_string(bytes(data))
    except (DecodeError, UnicodeDecodeError):
        pytest.fail("the library cannot parse what has no gap")
    found = {(f.domain, f.name) for f in facts if isinstance(f, Operator)}
    for one in every(model):
        if isinstance(one, onnx.NodeProto) and all(isinstance(text, str) for text in (one.op_type, one.domain)):
            assert ("" if one.domain == "ai.onnx" else one.domain, one.op_type) in found


def test_the_table_of_messages_is_that_of_the_library() -> None:
    ours = {name: {f.number: f.name for f in messages.tags(name).values()} for name in messages.names()}
    pairs = [("Model", onnx.ModelProto.DESCRIPTOR)]
    seen = set()
    while pairs:
        name, theirs = pairs.pop()
        if name in seen:
            continue
        seen.add(name)
        assert ours[name] == {f.number: f.name for f in theirs.fields}, name
        for field in theirs.fields:
            (mine,) = {f for f in messages.tags(name).values() if f.number == field.number}
            assert (mine.repeated, mine.packed, bool(mine.message)) == (
                field.is_repeated,
                field.is_packed,
                field.message_type is not None,
            )
            if mine.message:
                pairs.append((mine.message, field.message_type))
    assert seen == set(messages.names())
    assert messages.IR_VERSION == onnx.IR_VERSION


def test_every_type_of_the_library_is_known() -> None:
    from weighbridge.formats.onnx.tensors import TYPES

    named = {number: kind.name for number, kind in TYPES.items()}
    assert named == {value: name for name, value in onnx.TensorProto.DataType.items() if value}
