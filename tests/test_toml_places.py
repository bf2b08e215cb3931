"""Every key and item of a TOML document is found where it is written."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.toml_places import find

TEXT = """\
# a = 0
name = "ours" # [name]
'quoted' = '''
name = 1
'''
dotted.key.here = { a = 1, "b" = [ 2, { c = 3 } ] }
list = [ # one ] ,
  "x, ]", # two
  'y', [ 1, [ 2 ] ],
  \"\"\"long " \\" ]\"\"\"\"\",
]
[table . inner]
size = 1
[[rows]]
word = "a"
[rows.sub]
deep = 2026-01-01T00:00:00Z
  [[rows]]
  word = "b"
"""


def leaves(value: object, keys: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value with the keys that lead to it."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield f"{keys}.{key}".lstrip("."), one
            yield from leaves(one, f"{keys}.{key}".lstrip("."))
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield f"{keys}[{index}]", one
            yield from leaves(one, f"{keys}[{index}]")


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ("name", (2, 1)),
        ("quoted", (3, 1)),
        ("dotted.key.here", (6, 1)),
        ("dotted.key.here.a", (6, 21)),
        ("dotted.key.here.b[1].c", (6, 41)),
        ("list[0]", (8, 3)),
        ("list[2][1][0]", (9, 15)),
        ("list[3]", (10, 3)),
        ("table.inner.size", (13, 1)),
        ("rows[0].sub.deep", (17, 1)),
        ("rows[1]", (18, 3)),
        ("rows[1].word", (19, 3)),
        ("rows[1].other", (18, 3)),
        ("other", None),
    ],
)
def test_places(keys: str, place: tuple[int, int] | None) -> None:
    tomllib.loads(TEXT)
    assert find(TEXT, keys) == place


def text_of(value: object) -> str:
    """Return a value as TOML in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {text_of(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[ " + ", ".join(map(text_of, value)) + " ]"
    return str(value) if isinstance(value, int) else '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


KEYS = st.text("abcde", min_size=1, max_size=3)
SCALARS = st.integers(0, 9) | st.text("a]}[{,=#\"' ", max_size=6)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_every_scalar_is_found_where_it_stands(document: dict[str, object]) -> None:
    text = "".join(f"{key} = {text_of(value)}\n" for key, value in document.items())
    assert tomllib.loads(text) == document
    for keys, value in leaves(document):
        found = find(text, keys)
        assert found is not None
        line = text.splitlines()[found[0] - 1][found[1] - 1 :]
        written = text_of(value)
        assert line.startswith((written, f"{keys.rpartition('.')[2]} = {written}"))
