"""Trust entries of small libraries: ordinary values are covered, and no part of one may be anything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from examining import facts_of
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.corpus.value_abuse import ABUSES, TARGETS, samples
from fixtures.assemble import P2, P4, Spelling
from weighbridge.facts import Program
from weighbridge.pixels import holds_its_pixels
from weighbridge.symbols import Dict, Span
from weighbridge.trust import Trust

TRUST = Trust(Path(__file__).parents[1] / "rules" / "trust")


def untrusted(data: bytes) -> list[str]:
    """Return the subjects of what no entry covers, in every program of a stream."""
    programs = [fact for fact in facts_of(data) if isinstance(fact, Program)]
    assert programs
    return [event.subject for program in programs for event, _ in TRUST.untrusted(program)]


@pytest.mark.parametrize("write", [P2, P4], ids=["protocol 2", "protocol 4"])
@pytest.mark.parametrize("name", TARGETS)
def test_ordinary_values_are_covered(name: str, write: Spelling) -> None:
    target = TARGETS[name]
    assert untrusted(write.stream(target.write(write, target.arguments, target.state))) == []


@pytest.mark.parametrize("name", ABUSES)
def test_abuses_of_one_library_are_not(name: str) -> None:
    assert untrusted(P4.stream(ABUSES[name]))


@pytest.mark.parametrize("name", TARGETS)
def test_no_part_of_a_value_may_be_code_or_an_object(name: str) -> None:
    bent = [one for one in samples() if one.label == f"values/bent-{name}"]
    assert len(bent) >= 10
    assert [one.name for one in bent if not untrusted(one.make())] == []


def state(mode: str, size: object, pixels: object, palette: object = None) -> list[object]:
    """Return the state of a picture."""
    return [Dict(), mode, size, palette, pixels]


@given(
    st.sampled_from(["1", "L", "P", "LA", "RGB", "RGBA", "F"]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(-3, 3),
)
def test_a_picture_has_exactly_the_bytes_of_its_pixels(mode: str, width: int, height: int, off: int) -> None:
    bits = {"1": 1, "L": 8, "P": 8, "LA": 16, "RGB": 24, "RGBA": 32, "F": 32}[mode]
    right = height * -(-width * bits // 8)
    length = max(0, right + off)
    assert holds_its_pixels(state(mode, (width, height), bytes(length))) == (length == right)
    assert holds_its_pixels(state(mode, (width, height), Span(0, length, "bytes"))) == (length == right)
    assert not holds_its_pixels(state(mode, (width, height), Span(0, length, "str")))


@pytest.mark.parametrize("palette", [10**12, [256], [-1], [True, "a"], (0, 0, 0), [0] * 2000, "abc"])
def test_a_palette_is_bytes_or_numbers_of_a_byte(palette: object) -> None:
    assert holds_its_pixels(state("P", (2, 2), b"abcd", [0, 1, 2]))
    assert not holds_its_pixels(state("P", (2, 2), b"abcd", palette))
