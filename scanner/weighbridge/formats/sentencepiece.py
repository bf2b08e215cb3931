"""Models of sentencepiece (tokenizer.model, spiece.model): a protobuf message of pieces and settings, all of it data.

Every field is walked in the wire format by the numbers that the definition gives; a field that it does not have is a
gap. Specification: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.errors import ArtifactError, LimitError, TruncatedError
from weighbridge.facts import Fact, Metadata
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample
from weighbridge.remote import RangeReader

LIMIT: Final = 64 << 20  # bytes; the largest vocabularies have 5 MB
PIECE: Final = 1 << 16  # bytes of a message of one piece
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_PIECES: Final = 1
# Fields of each message: number and wire type, and the kind of the message inside.
_MESSAGES: Final[dict[str, dict[tuple[int, int], str]]] = {
    "model": {(1, 2): "piece", (2, 2): "trainer", (3, 2): "normalizer", (4, 2): "tests", (5, 2): "normalizer"},
    "piece": {(1, 2): "", (2, 5): "", (3, 0): ""},
    "normalizer": {(1, 2): "", (2, 2): "", (3, 0): "", (4, 0): "", (5, 0): "", (6, 2): ""},
    "tests": {(1, 2): "test"},
    "test": {(1, 2): "", (2, 2): ""},
    "trainer": {
        **{(number, _LENGTH): "" for number in (1, 2, 5, 7, 30, 31, 36, 44, 45, 46, 47, 48, 53, 54)},
        **{(number, _VARINT): "" for number in (3, 4, 6, *range(11, 15), *range(16, 30), *range(32, 36))},
        **{(number, _VARINT): "" for number in (40, 41, 42, 43, 49, 50, 52)},
        **{(number, _FIXED32): "" for number in (10, 15, 51)},
    },
}
_PREFIX: Final = 2  # the path without its ending under which the trainer wrote the model
_SETTINGS: Final = {3: "model_type", 4: "vocab_size"}


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin with two pieces, each a text with its score."""
    head, position = sample.head, 0
    for _ in range(2):
        if len(head) < position + 9 or head[position] != 0x0A or head[position + 1] > 127:
            return False
        end, text = position + 2 + head[position + 1], position + 4 + head[position + 3]
        if head[position + 2] != 0x0A or head[text : text + 1] != b"\x15" or text + 5 > end:
            return False
        position = end
    return True


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield what the settings say; raise ArtifactError at the first field that the format does not have."""
    if reader.size > LIMIT:
        raise LimitError(reader.origin, f"{reader.size} bytes of a vocabulary, limit is {LIMIT}")
    if isinstance(reader, RangeReader):
        reader.load(0, reader.size)
        data = bytes(reader.image)
    else:
        data = bytes(reader.view)
    stack = [("model", 0, len(data))]
    pieces = 0
    while stack:
        kind, position, end = stack.pop()
        known = _MESSAGES[kind]
        while position < end:
            start = position
            tag, position = _number(reader, data, position, end)
            number, wire = tag >> 3, tag & 7
            inner = known.get((number, wire))
            if inner is None:
                raise ArtifactError(reader.at(start), f"field {number} of type {wire}, which a {kind} does not have")
            value, content, position = _content(reader, data, wire, position, end)
            if inner:
                stack.append((inner, content, position))
                pieces += number == _PIECES and kind == "model"
            elif kind == "trainer" and number == _PREFIX and any(byte < 32 for byte in data[content:position]):
                # a graph of TensorFlow has the same number in a model of its own, which reads the rest as nothing
                raise ArtifactError(reader.at(start), "a prefix of the model's name that is no text")
            elif kind == "trainer" and number in _SETTINGS:
                yield Metadata(location=reader.at(start), key=_SETTINGS[number], value=str(value))
        context.budget.check_time(reader.origin)
    yield Metadata(location=reader.origin, key="pieces", value=str(pieces))


def _content(reader: Reader, data: bytes, wire: int, position: int, end: int) -> tuple[int, int, int]:
    """Return the value of a number, and where the content of a field begins and ends."""
    if wire == _VARINT:
        value, after = _number(reader, data, position, end)
        return value, position, after
    size = 4
    if wire == _LENGTH:
        size, position = _number(reader, data, position, end)
    if size > end - position:
        raise TruncatedError(reader.at(position), f"want {size} bytes, {end - position} left")
    return 0, position, position + size


def _number(reader: Reader, data: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for at in range(position, min(position + 10, end)):
        value |= (data[at] & 127) << shift
        if data[at] < 128:
            return value, at + 1
        shift += 7
    raise ArtifactError(reader.at(position), "a number that does not end")


FORMAT: Final = Format("sentencepiece", "sentencepiece model", sniff, parse, b"\n")
