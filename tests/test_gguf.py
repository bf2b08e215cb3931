"""GGUF: every byte accounted for, every count compared with the file, templates handed on."""

from __future__ import annotations

from struct import pack

import pytest
from examining import anomalies, examine, facts_of, reasons
from hypothesis import given
from hypothesis import strategies as st

from fixtures.gguf_files import F32, Info, Writer, files
from weighbridge.facts import Gap, Inert, Member, Metadata, Tensor

FILES = files()
PLAIN = FILES["gguf/plain.gguf"]
TWO: list[Info] = [("a", (8,), F32, 0), ("b", (2, 2), F32, 32)]
DATA = bytes(48)


@pytest.mark.parametrize("name", ["plain", "big_endian", "version_1"])
def test_an_ordinary_file_is_accounted_for(name: str) -> None:
    facts, tally = examine(FILES[f"gguf/{name}.gguf"])
    tensors = {fact.name: (fact.dtype, fact.shape, fact.size) for fact in facts if isinstance(fact, Tensor)}
    assert tensors == {"a": ("F32", (8,), 32), "b": ("F32", (2, 2), 16)}
    assert not anomalies(facts) and tally.unexamined == 0
    assert sum(fact.size for fact in facts if isinstance(fact, Inert)) == tally.inert >= 48


@pytest.mark.parametrize("name", ["duplicate_key", "overlap", "hole", "alignment"])
def test_a_fixture_shows_the_anomaly_it_is_named_after(name: str) -> None:
    assert f"gguf-{name.replace('_', '-')}" in anomalies(facts_of(FILES[f"gguf/{name}.gguf"]))


@pytest.mark.parametrize(
    ("key", "value", "examined"),
    [
        ("tokenizer.chat_template", "{{ x }}", True),
        ("tokenizer.chat_template.tool_use", "plain", True),
        ("general.description", "A model. It costs (nothing), see https://example.org/!", False),
        ("general.description", "{% import os %}", True),
        ("general.description", "\x7fELF\x02\x01", True),
        ("tokenizer.ggml.tokens", ["{{", "=" * 200], False),
        ("tokenizer.chat_templates", ["{{ x }}"], True),
        ("tokenizer.chat_templates", ["{{ " + "x" * 300 + " }}"], True),
    ],
)  # fmt: skip
def test_text_that_can_be_a_template_or_a_program_is_examined(key: str, value: str | list[str], examined: bool) -> None:
    facts = facts_of(Writer().file([Writer().key(key, value)], TWO, DATA))
    assert any(isinstance(fact, Member) for fact in facts) is examined


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GGUF" + pack("<IQQ", 3, 1 << 60, 0) + bytes(64), "tensors and"),  # CVE-2024-23605 and its like
        (b"GGUF" + pack("<IQQ", 3, 0, 1 << 60) + bytes(64), "tensors and"),  # CVE-2024-23496
        (b"GGUF" + pack("<IQQQ", 3, 0, 1, 1 << 62) + bytes(64), "limit is"),  # CVE-2024-21825: a string's length
        (b"GGUF" + pack("<IQQ", 9, 0, 0), "version"),
        (Writer().file([Writer().key("general.alignment", 3)], TWO, DATA), "power of two"),
        (Writer().file([Writer().key("general.alignment", 0)], TWO, DATA), "power of two"),
        (Writer().file([], [("a", (1, 1, 1, 1, 1), F32, 0)], DATA), "dimensions"),
        (Writer().file([], [("a", (8,), 4, 0)], DATA), "not known"),
        (Writer().file([], [("a", (8,), 2, 0)], DATA), "whole blocks"),
        (Writer().file([], [("a", (1 << 62, 1 << 62), F32, 0)], DATA), "behind the end"),
        (PLAIN[:-40], "behind the end"),
        (PLAIN[:60], "want"),
        (PLAIN.replace(b"llama", b"ll\xffma"), "not UTF-8"),
    ],
)  # fmt: skip
def test_what_is_broken_is_a_gap(data: bytes, reason: str) -> None:
    facts, tally = examine(data)
    assert reason in reasons(facts)
    assert tally.unexamined > 0


def test_an_alignment_of_another_type_is_a_gap() -> None:
    assert "32-bit" in reasons(facts_of(Writer().file([Writer().key("general.alignment", "64")], TWO, DATA)))


def test_a_name_of_two_tensors_is_an_anomaly() -> None:
    twice: list[Info] = [("a", (8,), F32, 0), ("a", (2, 2), F32, 32)]
    assert anomalies(facts_of(Writer().file([], twice, DATA))) == {"gguf-duplicate-tensor"}


def test_metadata_says_what_the_file_says() -> None:
    metadata = {fact.key: fact.value for fact in facts_of(PLAIN) if isinstance(fact, Metadata)}
    assert metadata == {"general.architecture": "llama", "tokens": "2 texts"}


@given(st.data())
def test_any_change_gives_facts_or_a_gap(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(FILES)))
    changed = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(4, len(changed) - 1))] = data.draw(st.integers(0, 255))
    facts, tally = examine(bytes(changed[: data.draw(st.integers(4, len(changed)))]))
    assert tally.parsed >= 0
    if tally.unexamined:
        assert any(isinstance(fact, Gap) for fact in facts)
