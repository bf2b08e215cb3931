"""Configurations, templates, pages and lists: ordinary ones pass, and nothing passes that names or holds code."""

from __future__ import annotations

import ast
import base64
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
from examining import anomalies, examine, facts_of, formats_of, reasons
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.corpus import repository_texts, settings_files
from fixtures.config_files import CARD, CHATML, PICTURE, PLAIN, files
from fixtures.gguf_files import Writer
from weighbridge.examination import Examination
from weighbridge.facts import Fact, Gap, Inert, Native, Pointer, Program, Step, Template
from weighbridge.formats.json.parse import LIMIT
from weighbridge.formats.source import is_no_python, opens_no_program
from weighbridge.judgement import check
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location
from weighbridge.pipeline import scan
from weighbridge.policy import Outcome
from weighbridge.reader import Sample
from weighbridge.remote import WHOLE, Allowance, Blocks, RangeReader
from weighbridge.rules import RuleSet, rules_directory
from weighbridge.trust import Trust

RULES = RuleSet.load(rules_directory())
TRUST = Trust(rules_directory() / "trust")
ORDINARY = repository_texts.ordinary()
HOSTILE = {sample.name: sample for sample in settings_files.samples()}


def pointers(facts: list[Fact]) -> set[str]:
    return {fact.subject for fact in facts if isinstance(fact, Pointer)}


def serialized(text: str) -> list[Fact]:
    """Return the facts of what stable-baselines3 keeps of an object: its pickle, and what it says of it for people."""
    said = {":type:": "<class 'abc.ABCMeta'>", ":serialized:": text, "__module__": "os.path", "__doc__": "A policy."}
    return facts_of(json.dumps({"policy_class": said, "seed": 3}, indent=1).encode())


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("noise", ["", "!", "\n "])
def test_a_pickle_under_the_key_of_stable_baselines3_is_examined(protocol: int, noise: str) -> None:
    text = base64.b64encode(pickle.dumps(complex, protocol)).decode()
    facts = serialized(noise.join(text))
    programs = [fact for fact in facts if isinstance(fact, Program)]
    assert [event.subject for program in programs for event in program.events] == ["builtins.complex"]
    assert not [fact for fact in facts if isinstance(fact, Gap)]
    assert pointers(facts) == set()


@pytest.mark.parametrize("text", ["", "no base64", base64.b64encode(b"no pickle at all").decode()])
def test_what_is_no_pickle_under_that_key_is_a_gap(text: str) -> None:
    assert any(isinstance(fact, Gap) and "pickle in base64" in fact.reason for fact in serialized(text))


@pytest.mark.parametrize(
    ("loader", "name", "told"),
    [("JsonNode", "str", False), ("TypeNode", "int", False), ("FunctionNode", "str", True), ("JsonNode", "eval", True)],
)
def test_a_plain_value_of_skops_is_none_that_calls(loader: str, name: str, told: bool) -> None:
    node = {"__class__": name, "__module__": "builtins", "__loader__": loader, "content": "1"}
    assert (f"class=builtins.{name}" in pointers(facts_of(json.dumps(node, indent=1).encode()))) == told


@pytest.mark.parametrize(
    ("tag", "subject"),
    [
        ("!!python/tuple", ""),
        ("!!set", ""),
        ("!!python/name:os.system", "tag=python/name:os.system"),
        ("!!python/object:argparse.Namespace", "tag=python/object:argparse.Namespace"),
        ("!python/tuple", "tag=!python/tuple"),
        ("!new:os.system", "tag=!new:os.system"),
    ],
)
def test_a_tag_of_yaml_is_told_unless_it_makes_a_plain_value(tag: str, subject: str) -> None:
    facts = facts_of(f"learning_rate: 0.1\nvalue: {tag} {{}}\nepochs: 3\n".encode())
    assert pointers(facts) == ({subject} if subject else set())


def steps(text: str) -> set[str]:
    return {fact.subject for fact in facts_of(text.encode()) if isinstance(fact, Step)}


def document(**keys: Any) -> list[Fact]:
    return facts_of(json.dumps(keys).encode())


def passes(data: bytes) -> bool:
    judgement = check(facts_of(data), RULES, TRUST)
    blocking = [finding for finding in judgement.findings if finding.rule.severity.rank >= 2]
    return not (blocking or judgement.unknowns or judgement.gaps)


@pytest.mark.parametrize("name", sorted(ORDINARY))
def test_an_ordinary_file_of_a_repository_passes(name: str) -> None:
    assert passes(ORDINARY[name]), check(facts_of(ORDINARY[name]), RULES, TRUST)


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_what_names_or_holds_code_does_not_pass(name: str) -> None:
    assert not passes(HOSTILE[name].make())


def test_an_ordinary_repository_passes_as_a_folder(tmp_path: Path) -> None:
    for name, data in ORDINARY.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    verdict = scan([tmp_path])
    assert verdict.outcome is Outcome.PASS


def test_code_beside_the_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(json.dumps(PLAIN).encode())
    (tmp_path / "modeling_example.py").write_text("import torch\n\n\nclass Model(torch.nn.Module):\n    pass\n")
    verdict = scan([tmp_path])
    (finding,) = verdict.findings
    assert finding.rule.id == "NAT002" and "trust_remote_code" in finding.rule.description


@pytest.mark.parametrize(
    ("keys", "subject"),
    [
        ({"auto_map": {"AutoModel": "a/b--modeling.Model"}}, "auto_map=a/b--modeling.Model"),
        ({"_attn_implementation": {"": "sdpa"}}, "implementation=sdpa"),
        ({"quantization_config": {"quant_method": "awq"}}, "quant_method=awq"),
        ({"trust_remote_code": "yes"}, "trust_remote_code=yes"),
        ({"_class_name": "Pipe", "unet": ["diffusers", "UNet"]}, "component=diffusers.UNet"),
        ({"activation_fn": "torch.nn.modules.linear.Identity"}, "activation_fn=torch.nn.modules.linear.Identity"),
        ({"__class__": "dict", "__module__": "builtins"}, "class=builtins.dict"),
        ({"class_name": "Dense", "module": "keras.layers"}, "class_name=keras.layers.Dense"),
        ({"class_name": "Mine", "registered_name": "package>Mine"}, "registered_name=package>Mine"),
        ({"lc": 1, "id": ["langchain", "LLM"]}, "constructor=langchain.LLM"),
        ({"handler": "src/handler.py"}, "file=src/handler.py"),
        ({"scripts": {"install": "make all"}}, "command=make all"),
        ({"base_model_name_or_path": "a/b"}, "base_model_name_or_path=a/b"),
    ],
)
def test_a_key_that_names_something_is_a_pointer(keys: dict[str, Any], subject: str) -> None:
    assert subject in pointers(document(**keys))


@pytest.mark.parametrize(
    "keys",
    [
        {"target_modules": ["encoder.attention.query"], "modules_to_not_convert": ["model.vision"]},
        {"weight_map": {"a.b": "model-1.safetensors"}},
        {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
        {"trust_remote_code": False, "_attn_implementation": None, "quant_method": None},
        {"down_block_types": ["DownBlock2D", "DownBlock2D"], "_class_name": "UNet2DModel"},
        {"vocab": {"__class__": 1, "auto_map": 2}, "merges": ["{{ }}", "o s"]},
        {"license": "apache-2.0", "file": "config.json", "type": "int8"},
    ],
)
def test_an_ordinary_key_is_none(keys: dict[str, Any]) -> None:
    assert not pointers(document(**keys)) and not anomalies(document(**keys))


def test_a_pointer_says_where_its_key_is_and_by_which_path() -> None:
    data = json.dumps({"a": {"b": [{"auto_map": {"x": "m.C"}}]}}).encode()
    (pointer,) = [fact for fact in facts_of(data) if isinstance(fact, Pointer)]
    assert (pointer.key, pointer.location.offset) == ("a.b[0].auto_map", data.index(b'"auto_map"'))


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "C:\\x", "a/b.safetensors", "..", ""])
def test_an_index_names_files_beside_it_alone(name: str) -> None:
    assert anomalies(document(weight_map={"a": name})) == {"config-weight-path"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": }', "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "too deep"),
        (b"[" * 500 + b"]" * 500, "deeper than"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "too long"),
        (b'{"nbformat": 4, "cells": []}', "a notebook"),
        (b'{"graph": {"node": [{"op_type": "PyOp"}]}}', "a graph of operators"),
        (b"[" + b"1," * 9_000_000 + b"1]", "values"),
        (b"a: [1\n", "not YAML"),
        (b"a: \xff\n", "not UTF-8"),
        (b"a: " + b"[" * 1000 + b"]" * 1000 + b"\n", "deeper"),
        (b"{{ messages ", "does not end"),
        (b"{% for x in %", "does not end"),
        (b"{# x {{ y }}", "does not end"),
        (b"---\na: [1\n---\n# Page\n", "not YAML"),
        (b"# Page of prose and words\n\nimport * from x\nconst x = require('y')\n", "opens like one of a program"),
    ],
)
def test_what_is_not_understood_is_a_gap(data: bytes, reason: str) -> None:
    facts, tally = examine(data)
    assert reason in reasons(facts)
    assert tally.unexamined > 0


def test_a_document_over_the_limit_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.formats.json.parse.LIMIT", 10)
    assert LIMIT > 10 and "limit is 10" in reasons(document(model_type="llama"))


def test_a_template_is_told_by_what_it_does() -> None:
    assert steps(CHATML) == {
        "tag:for", "tag:endfor", "tag:if", "tag:endif", "name:message", "name:messages", "name:add_generation_prompt",
        "attribute:role", "attribute:content",
    }  # fmt: skip
    (template,) = [fact for fact in facts_of(CHATML.encode()) if isinstance(fact, Template)]
    assert template.source == CHATML


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{{ x|tojson(indent=4) }}", "filter:tojson"),
        ("{{ x is not divisibleby 3 }}", "test:divisibleby"),
        ("{{ f(x) }}", "call:f"),
        ("{{ f()(x) }}", "call:<computed>"),
        ("{{ x.strip() }}", "method:strip"),
        ("{{ x['a' ~ y] }}", "item:<computed>"),
        ("{{ x['a' 'b'] }}", "attribute:ab"),
        ("{{ x['\\x5fa'] }}", "attribute:_a"),
        ("{{ x|map('attr', 'y') }}", "filter:attr"),
        ("{{ x|map(attribute='__a__') }}", "text:__a__"),
        ("{% include y %}", "tag:include"),
        ("{% call f(x) %}{% endcall %}", "call:f"),
    ],
)
def test_a_step_has_a_type_and_a_name(text: str, found: str) -> None:
    assert found in steps(text)


def test_a_macro_of_the_template_is_no_call_of_something_else() -> None:
    assert not {step for step in steps("{% macro f(x) %}{{ x }}{% endmacro %}{{ f(1) }}") if step.startswith("call")}


@pytest.mark.parametrize(
    "text", ["{{ messages[0]['a'] }}", "{{ m[i - 1] }}", "{{ m[key] }}", "{{ m[1:] }}", "{{ m[::-1] }}"]
)
def test_items_that_come_with_the_messages_are_not_computed(text: str) -> None:
    assert "item:<computed>" not in steps(text)


def test_gguf_hands_its_template_over() -> None:
    key = Writer().key("tokenizer.chat_template", CHATML)
    data = Writer().file([key], [("a", (8,), 0, 0)], bytes(32))
    assert passes(data) and any(isinstance(fact, Template) for fact in facts_of(data))


@pytest.mark.parametrize(
    ("name", "formats"),
    [
        ("card.md", {"document"}),
        ("training.yaml", {"yaml"}),
        ("attributes", {"attributes"}),
        ("requirements.txt", {"requirements"}),
        ("chat_template.jinja", {"jinja"}),
        ("plain.json", {"json"}),
        ("picture.png", {"image"}),
    ],
)
def test_a_text_is_of_one_format(name: str, formats: set[str]) -> None:
    assert formats_of(files()[f"config/{name}"]) == formats


def test_a_page_may_show_code_and_formulas() -> None:
    assert passes(CARD.encode())
    assert passes(b"# Page\n\nSome text and a formula $x_{{a}}$ and {{two words}} here.\n")


def test_bytes_behind_a_picture_are_examined() -> None:
    facts = facts_of(PICTURE + b"\x80\x04cos\nsystem\n.")
    assert "image-trailing" in anomalies(facts) and "pickle" in {
        fact.subject for fact in facts if fact.kind == "format"
    }
    assert sum(fact.size for fact in facts if isinstance(fact, Inert)) == len(PICTURE)


def test_a_program_in_a_text_is_examined() -> None:
    facts = document(code="import os\nos.system('true')\n")
    assert [fact.type for fact in facts if isinstance(fact, Native)] == ["python"]
    assert "pickle" in {
        fact.subject for fact in document(state="gARjb3MKc3lzdGVtCi4AAAAAAAAAAAAAAAA=") if fact.kind == "format"
    }


SEEDS = [
    b'{"auto_map": {"a": "b.C"}}', b"a:\n- b: 1\n", b"---\na: 1\n---\n# Page\n", CHATML.encode(), PICTURE,
    b"a filter=lfs\n", b"torch==2.1\n", b"[PAD]\n[UNK]\na\n", b"#version: 0.2\na b\n", b"a,b\n1,2\n",
    b"\xff\xd8\xff\xe0\0\x04ab\xff\xda\0\x02x\xff\xd9",
    b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\1\1\0;", b"RIFF\x10\0\0\0WEBPVP8 \4\0\0\0abcd",
    b"\n\x0a\n\x01a\x15\0\0\0\0\x18\2\n\x08\n\x01b\x15\0\0\0\0",
]  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_the_seeds_are_understood(seed: bytes) -> None:
    assert not reasons(facts_of(seed))


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(max_size=6)), max_size=4))
@settings(max_examples=400, deadline=None)
@example(b"{{ x", [])
def test_any_bytes_give_facts(seed: bytes, changes: list[tuple[int, bytes]]) -> None:
    changed = seed
    for position, data in changes:
        cut = position % (len(changed) + 1)
        changed = changed[:cut] + data + changed[cut + position % 3 :]
    facts, tally = examine(changed)
    assert tally.parsed >= 0
    assert facts or not changed


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_document_is_read(tree: Any) -> None:
    data = json.dumps({"a": tree}).encode()
    assert "json" in formats_of(data)
    assert "not JSON" not in reasons(facts_of(data))


WORDS = [
    *"a b Foo x1 1 0.5 if else for in is not and or lambda import from as with match case type print exec def".split(),
    *"class return yield await async pass del True None ( ) [ ] { } : , . ; = == + - * ** / // % @ & | ^ ~ < >".split(),
    *"-> := ... # `a` $ ! --- {% %} {{ }} 's' f'x' ''' é _ 1if 0or f rb".split(),
    *("\n", "\r", "\n    ", "\t", "\f", '"""d\ne"""', "# c", "\\\n", "\u2028", "\xa0"),
]


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(["", " ", "  "])), max_size=10))
@settings(max_examples=2000, deadline=None)
def test_what_is_said_to_be_no_python_does_not_compile(parts: list[tuple[str, str]]) -> None:
    source = "".join(word + space for word, space in parts)
    if is_no_python(source):
        with pytest.raises((SyntaxError, ValueError)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)


def test_no_beginning_of_a_program_is_said_to_be_none() -> None:
    for path in sorted((Path(__file__).parent.parent / "scanner").rglob("*.py")):
        data = path.read_bytes()
        for end in range(1, len(data), 97):
            assert not opens_no_program(Sample(data[:end], b"", len(data)))


class Elsewhere:
    """Bytes that a registry gives by range."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]


def test_triage_reads_a_large_vocabulary_to_its_end_and_says_so_when_it_may_not() -> None:
    vocabulary = {f"token {number}": number for number in range(400_000)}
    data = json.dumps({"model": {"vocab": vocabulary}, "auto_map": {"AutoModel": "m.C"}}).encode()
    assert len(data) > WHOLE
    for allowance, found in ((Allowance(), {"auto_map=m.C"}), (Allowance(fetched=WHOLE), set())):
        reader = RangeReader(Blocks(Elsewhere(data), allowance), Location(("tokenizer.json",)))
        facts, tally = Examination(Budget(Limits())).run(reader)
        assert pointers(facts) == found
        assert bool(tally.unexamined) is not bool(found)


@pytest.mark.parametrize(
    "data",
    [
        PICTURE[:33] + b"\0\0\0\4evIlabcd\0\0\0\0" + PICTURE[33:],
        b"RIFF\x10\0\0\0WEBPevil\4\0\0\0abcd",
        b"RIFF\x10\0\0\0WAVEevil\4\0\0\0abcd",
    ],
    ids=["png", "webp", "wav"],
)
def test_a_part_that_nobody_defines_is_a_gap(data: bytes) -> None:
    assert "not known" in reasons(facts_of(data))
