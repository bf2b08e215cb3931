"""Every key and item of a JSON document is found where it is written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.json_places import find

TEXT = """\
{"name": "ours, [\\"{", "require": {"formats": ["text", "json"],
  "pinned": true},
  "waivers" : [
    {"rule": "unknown", "expires": "2026-01-31"},
    [1, [2.5e3, null]], {}
  ]
}
"""

KEYS = st.text("abcdefghij", min_size=1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ("name", (1, 2)),
        ("require.formats[1]", (1, 56)),
        ("require.pinned", (2, 3)),
        ("require.signature", (1, 24)),
        ("waivers", (3, 3)),
        ("waivers[0].expires", (4, 25)),
        ("waivers[1][1][0]", (5, 10)),
        ("waivers[2].rule", (5, 25)),
        ("nothing", None),
    ],
)
def test_a_place_is_where_the_key_or_item_is_written(keys: str, place: tuple[int, int] | None) -> None:
    assert find(TEXT, keys) == place


def leaves(value: object, keys: str = "") -> list[tuple[str, str]]:
    """Return the keys that lead to every value, with what is written there: a key, or the item of an array."""
    found = []
    if isinstance(value, dict):
        for key, one in value.items():
            place = f"{keys}.{key}".lstrip(".")
            found += [(place, json.dumps(key)), *leaves(one, place)]
    if isinstance(value, list):
        for index, one in enumerate(value):
            written = one if isinstance(one, dict | list) else json.dumps(one)
            place = f"{keys}[{index}]"
            found += [(place, str(written)[:1] if written is one else str(written)), *leaves(one, place)]
    return found


@given(value=VALUES, indent=st.sampled_from([None, 0, 3]))
def test_every_key_and_item_is_found(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    lines = text.split("\n")
    for keys, written in leaves(value):
        place = find(text, keys)
        assert place is not None
        assert lines[place[0] - 1][place[1] - 1 :].startswith(written)
