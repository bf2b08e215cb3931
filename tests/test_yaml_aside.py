"""Text of another format that is YAML as well: told by what a loader of YAML makes of it."""

from __future__ import annotations

import pytest
import yaml
from examining import facts_of, formats_of
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.facts import Pointer
from weighbridge.formats.yaml.parse import _is_node, _openings

TAG = "!!python/object/apply:os.getpid []"
WORDS = "A sentence of five words here"
HIDDEN = {
    "a text that begins with a tag": f"\n{TAG}\n",
    "a tag behind blanks": f"  {TAG}\n",
    "a tag in full": " !<tag:yaml.org,2002:python/object/apply:os.getpid> []\n",
    "an explicit key": f"? {TAG}\n: x\n",
    "an explicit key alone": f"?\n  {TAG}\n",
    "an entry in an explicit key": f"? - {TAG}\n",
    "a key that names code": "? _target_\n: os.getpid\n",
    "a tag behind an anchor": f" &a {TAG}\n",
    "a tag of HyperPyYAML": " !new:os.getpid\n",
    "a page with a tag": f"# Title\n\n{TAG}\n",
    "a page with an entry": f"# Title\n\n- {TAG}\n",
    "a page with a key": "# Title\n\n? _target_\n: os.getpid\n",
    "a second document of a page": f"---\nlicense: mit\n---\n{TAG}\n---\n[broken: {{\n",
    "merges": f"#version: 0.2\n{TAG}\n",
    "merges with a mapping": "#version: 0.2\n{_target_: os.getpid}\n",
    "merges with a list": "#version: 0.2\n[{_target_: os.getpid}]\n",
    "a vocabulary of two documents": "[PAD]\n---\n!!python/object/apply:os.getpid\n[]\n",
    "a table with a comment": "!!python/object/apply:os.getpid\t[]\n#\tx\n",
    "lines that only YAML parts": f"{WORDS}\u2028---\u2028{TAG}\n",
}
ORDINARY = {
    "prose": f"{WORDS}! And more: of them.\n",
    "a page": "# Title\n\nWords: many of them, and - some - more.\n\n- an entry\n- another one\n",
    "merges": "#version: 0.2\n\u0120 t\n? ?\n: :\n!! !!\n{ {\n",
    "a vocabulary": "[PAD]\n[UNK]\n!\n!!\n{\n? \n".replace("? \n", "?\n"),
    "a tag within a text": f"{WORDS}\n\n  {TAG}\n",
}


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN.keys())
def test_what_yaml_makes_of_a_text_is_told_whatever_the_text_is_besides(text: str) -> None:
    facts = facts_of(text.encode())
    pointers = [fact.type for fact in facts if isinstance(fact, Pointer)]
    assert {"tag", "_target_"} & set(pointers) or not formats_of(text.encode())


@pytest.mark.parametrize("text", ORDINARY.values(), ids=ORDINARY.keys())
def test_a_text_that_is_a_plain_one_to_yaml_names_nothing(text: str) -> None:
    assert [fact for fact in facts_of(text.encode()) if isinstance(fact, Pointer)] == []


@given(st.text(alphabet="ab \t\n\r#-?:!&[]{},'\"%.|>\u2028\ufeff", max_size=24))
def test_a_text_that_begins_no_node_is_a_plain_one(text: str) -> None:
    if any(map(_is_node, _openings(text))):
        return
    loader = yaml.CBaseLoader(text)
    try:
        while loader.check_node():  # one that an error follows is read, too
            node = loader.get_node()
            assert isinstance(node, yaml.ScalarNode)
            assert not node.style
            assert node.tag in ("", "!", "tag:yaml.org,2002:str")
    except yaml.YAMLError:
        return
