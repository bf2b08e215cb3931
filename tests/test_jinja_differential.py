"""What is told of a template against what Jinja's own parser makes of it; Jinja reads, and renders nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.corpus import repository_texts, settings_files
from weighbridge.errors import ArtifactError
from weighbridge.facts import Step
from weighbridge.formats.jinja.steps import _WORDS, observe
from weighbridge.location import Location

jinja2 = pytest.importorskip("jinja2")
nodes = pytest.importorskip("jinja2.nodes")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of escapes that there are not
ENVIRONMENT = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"])

TEMPLATES = [
    *repository_texts.TEMPLATES.values(),
    *(text.replace("%%", "%").replace("%s", "true") for text in settings_files.JINJA.values()),
]
PIECES = [
    *"a b messages loop x.y ['k'] ['__class__'] [i] [1:] ( ) [ ] { } | ~ + - * ** // % == != < >= . , : ; = !".split(),
    *"1 0.5 and or not in is if else for set endfor endif true none |join |attr('x') |map('upper') is defined".split(),
    *"'text' \"t\" {{ }} {{- -}} {% %} {%- -%} {# #} '\\x41' '\\'".split(),
    *("{% raw %}", "{% endraw %}", "\n", " ", "{% if a %}", "{% endif %}", "{% for a in b %}", "{% endfor %}"),
    *("{% set a = b %}", "{% macro f(a) %}", "{% endmacro %}"),
]


def told(source: str) -> set[str]:
    return {fact.subject for fact in observe(source, Location(("x",))) if isinstance(fact, Step)}


def parsed(source: str) -> set[str]:
    """Return what Jinja's parser finds, in our words."""
    found = set()
    tree = ENVIRONMENT.parse(source)
    macros = {macro.name for macro in tree.find_all(nodes.Macro)}
    called = {id(call.node) for call in tree.find_all(nodes.Call)}
    for node in tree.find_all((nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test, nodes.Call)):
        match node:
            case nodes.Name(ctx="load") if id(node) not in called:
                found.add(f"name:{node.name}")
            case nodes.Call(node=nodes.Name()) if node.node.name not in macros:
                found.add(f"call:{node.node.name}")
            case nodes.Call(node=nodes.Getattr()):
                found.add(f"method:{node.node.attr}")
            case nodes.Getattr() if id(node) not in called:
                found.add(f"attribute:{node.attr}")
            case nodes.Getitem(arg=nodes.Const(value=str())) if node.arg.value:
                found.add(f"attribute:{node.arg.value}")
            case nodes.Filter():
                found.add(f"filter:{node.name}")
            case nodes.Test() if node.name.isidentifier():
                found.add(f"test:{node.name}")
    tags = {nodes.Include: "include", nodes.Import: "import", nodes.FromImport: "from", nodes.Extends: "extends"}
    return found | {f"tag:{name}" for kind, name in tags.items() if tree.find(kind)}


def compare(source: str) -> None:
    try:
        ours = told(source)
    except ArtifactError:
        with pytest.raises((jinja2.TemplateSyntaxError, jinja2.TemplateAssertionError, ValueError)):
            ENVIRONMENT.parse(source)
        return
    try:
        theirs = parsed(source)
    except (jinja2.TemplateSyntaxError, jinja2.TemplateAssertionError, ValueError):
        return  # it is not rendered, whatever is told of it
    # A word of an expression that stands where a name may is one to Jinja; nothing has such a name.
    theirs -= {f"{kind}:{word}" for kind in ("name", "call") for word in _WORDS}
    assert theirs <= ours, theirs - ours


@pytest.mark.parametrize("source", TEMPLATES)
def test_nothing_that_jinja_finds_in_a_template_is_left_out(source: str) -> None:
    compare(source.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", ""))


@given(st.sampled_from(TEMPLATES), st.randoms(use_true_random=False))
@settings(max_examples=500, deadline=None)
def test_nothing_is_left_out_of_a_changed_template(source: str, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        cut = chance.randrange(len(source) + 1)
        source = source[:cut] + chance.choice(PIECES) + source[cut + chance.choice((0, 0, 1, 3)) :]
    compare(source)


@given(st.lists(st.sampled_from(PIECES), max_size=12))
@settings(max_examples=1000, deadline=None)
@example(["{{", "a", "b", "}}"])
@example(["{{", "a", ":", "}}"])
def test_nothing_is_left_out_of_any_pieces(pieces: list[str]) -> None:
    compare("{{ " + " ".join(pieces) + " }}")
    compare("".join(pieces))
