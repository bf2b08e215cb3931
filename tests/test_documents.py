"""A document is read exactly or refused at the place that is wrong."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from enum import StrEnum

import pytest

from weighbridge import documents
from weighbridge.documents import Words
from weighbridge.errors import DocumentError
from weighbridge.records import dataclass, field


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    name: str
    size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    title: str
    colour: Colour
    parts: tuple[Part, ...] = ()
    names: dict[str, Words] = field(default_factory=dict)
    made: date | None = None
    ratio: float = 1.0
    heavy: bool = False
    source: str = field(default="", metadata={"derived": True})

    def __post_init__(self) -> None:
        if not self.title:
            raise ValueError("a thing needs a title")


GOOD = """\
title: t
colour: red
parts:
  - name: wheel
    size: 3
names:
  os: system  popen
    exec*
made: 2026-01-31
ratio: 0.5
heavy: true
"""
EXPECTED = Thing(
    title="t",
    colour=Colour.RED,
    parts=(Part(name="wheel", size=3),),
    names={"os": Words(("system", "popen", "exec*"))},
    made=date(2026, 1, 31),
    ratio=0.5,
    heavy=True,
)
AS_TOML = """\
title = "t"
colour = "red"
made = 2026-01-31
ratio = 0.5
heavy = true
[[parts]]
name = "wheel"
size = 3
[names]
os = "system popen exec*"
"""
AS_JSON = """\
{"title": "t", "colour": "red", "parts": [{"name": "wheel", "size": 3}],
 "names": {"os": "system popen exec*"}, "made": "2026-01-31", "ratio": 0.5, "heavy": true}
"""


@pytest.mark.parametrize(("text", "name"), [(GOOD, "t.yaml"), (AS_TOML, "t.toml"), (AS_JSON, "t.json")])
def test_the_three_notations_give_the_same_value(text: str, name: str) -> None:
    assert documents.read(text, Thing, name=name) == EXPECTED


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("colour: red", "colour: rde", "t.yaml:2:9: 'rde' is not one of red, green"),
        ("title: t", "tilte: t", "t.yaml:1:1: unknown key 'tilte', did you mean 'title'?"),
        ("title: t", "zzz: t", "t.yaml:1:1: unknown key 'zzz'"),
        ("title: t", "title: t\nsource: x", "t.yaml:2:1: unknown key 'source'"),
        ("title: t\n", "", "t.yaml:1:1: missing key 'title'"),
        ("  - name: wheel\n    size: 3", "  - size: 3", "t.yaml:4:5: missing key 'name'"),
        ("title: t", "title: t\ntitle: u", "t.yaml:2:1: duplicate key 'title'"),
        ("title: t", "title: ''", "t.yaml:1:1: a thing needs a title"),
        ("title: t", "title: [t]", "t.yaml:1:8: expected text"),
        ("title: t", "title: &x t", "t.yaml:1:8: anchors and aliases are not accepted"),
        ("title: t", "title: !!str t", "t.yaml:1:8: tags are not accepted"),
        ("size: 3", "size: three", "t.yaml:5:11: 'three' is not a whole number"),
        ("size: 3", "size: '3'", "t.yaml:5:11: '3' is not a whole number"),
        ("size: 3", "size: 3.5", "t.yaml:5:11: '3.5' is not a whole number"),
        ("heavy: true", "heavy: yes", "t.yaml:11:8: 'yes' is not true or false"),
        ("2026-01-31", "2026-02-31", "t.yaml:9:7: '2026-02-31' is not a date such as 2026-01-31"),
        ("ratio: 0.5", "ratio: nan", "t.yaml:10:8: 'nan' is not a number"),
        ("parts:\n  - name: wheel\n    size: 3", "parts: wheel", "t.yaml:3:8: expected a list"),
        ("  os: system  popen\n    exec*", "  - os", "t.yaml:7:3: expected a mapping"),
        ("title: t", "title: 't", "t.yaml:12:1: found unexpected end of stream"),
        ("title: t", "? [a]\n: b", "t.yaml:1:3: a key must be a word"),
    ],
)  # fmt: skip
def test_an_error_names_the_line_and_column(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(DocumentError) as caught:
        documents.read(GOOD.replace(old, new), Thing, name="t.yaml")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "t.yaml", "t.yaml: empty document"),
        ("a: 1\n---\nb: 2\n", "t.yaml", "t.yaml:2:1: but found another document"),
        ("a: \x00", "t.yaml", "t.yaml: "),
        ('{"title": "a", "title": "b"}', "t.json", "t.json: duplicate key 'title'"),
        ('{"title": NaN}', "t.json", "t.json: NaN is not JSON"),
        ('{"title": }', "t.json", "t.json:1:11: Expecting value"),
        ("[" * 100_000, "t.json", "t.json: nested too deeply"),
        ('{"title": "a", "colour": "blue"}', "t.json", "t.json:1:16: colour: 'blue' is not one of red, green"),
        ('{"title": "a",\n "titel": ""}', "t.json", "t.json:2:2: titel: unknown key 'titel', did you mean 'title'?"),
        ('{"ti": ""}', "t.json", "t.json:1:2: ti: unknown key 'ti', did you mean 'title'?"),
        ('{"zzz": ""}', "t.json", "t.json:1:2: zzz: unknown key 'zzz'; known are title, "),
        ('title = "a"\ntitle = "b"', "t.toml", "t.toml: Cannot overwrite a value"),
        ("title = t", "t.toml", "t.toml:1:9: Invalid value"),
        (
            'title = "a"\ncolour = "red"\n[[parts]]\nsize = "2"\nname = "n"',
            "t.toml",
            "t.toml:4:1: parts[0].size: '2' is not",
        ),
    ],
)
def test_a_malformed_document_is_refused(text: str, name: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        documents.read(text, Thing, name=name)
    assert str(caught.value).startswith(message)


def test_null_is_none_only_without_quotes() -> None:
    assert documents.read(GOOD.replace("2026-01-31", "null"), Thing, name="t.yaml").made is None
    with pytest.raises(DocumentError):
        documents.read(GOOD.replace("2026-01-31", "'null'"), Thing, name="t.yaml")


def test_importing_the_module_does_not_import_yaml() -> None:
    code = "import sys, weighbridge.documents; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
