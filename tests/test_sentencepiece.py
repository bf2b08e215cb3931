"""Models of sentencepiece: data alone, unless a part of one is a message to a reader of another format."""

from __future__ import annotations

import struct

from examining import facts_of, formats_of, reasons


def field(number: int, data: bytes) -> bytes:
    """Return a field of a length."""
    return bytes([number << 3 | 2, len(data)]) + data


def model(prefix: bytes) -> bytes:
    """Return a model of three pieces, trained under the prefix of a path."""
    pieces = b"".join(
        field(1, field(1, text) + b"\x15" + struct.pack("<f", -1.0)) for text in (b"<unk>", b"<s>", b"</s>")
    )
    trainer = field(1, b"corpus.txt") + field(2, prefix) + b"\x18\x01\x20\x03"
    return pieces + field(2, trainer) + field(3, field(1, b"identity"))


def test_an_ordinary_model_is_understood() -> None:
    facts = facts_of(model(b"models/spm"))
    assert formats_of(model(b"models/spm")) == {"sentencepiece"}
    assert reasons(facts) == ""


def test_a_prefix_that_is_a_graph_to_another_reader_is_a_gap() -> None:
    graph = field(1, field(1, b"w") + field(2, b"WriteFile"))
    assert "no text" in reasons(facts_of(model(graph)))
