"""Ordinary files of repositories and of approved folders are understood; nothing that acts hides in one."""

from __future__ import annotations

import ast
import copy
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from examining import examine, facts_of, formats_of, reasons
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.corpus.text_abuse import ORDINARY, ORDINARY_PAGE, ORDINARY_SVG, samples
from weighbridge import leaves
from weighbridge.artifact import MAX_FILES
from weighbridge.facts import Gap, Pointer
from weighbridge.formats import leaves as leaves_format
from weighbridge.formats.json import settings, verdict
from weighbridge.formats.source import can_call, is_no_python
from weighbridge.pipeline import scan
from weighbridge.policy import Outcome
from weighbridge.reader import HEAD

FORMATS = {
    "page.html": "report",
    "picture.svg": "svg",
    "table.csv": "table",
    "table.tsv": "text",
    "pyproject.toml": "toml",
    "config.toml": "toml",
    ".gitignore": "ignored",
    "README.md": "comments",
    "README.rst": "text",
    "approval.leaves": "leaves",
    "sound.wav": "image",
    "__init__.py": "empty",
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_files_are_understood_to_the_last_byte(name: str) -> None:
    facts, tally = examine(ORDINARY[name])
    assert formats_of(ORDINARY[name]) == {FORMATS[name]}
    assert not reasons(facts)
    assert tally.unexamined == 0


def test_ordinary_files_pass_and_hostile_ones_do_not(tmp_path: Path) -> None:
    for name, data in ORDINARY.items():
        (tmp_path / "good" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "good" / name).write_bytes(data)
    for sample in samples():
        path = tmp_path / "bad" / sample.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.make())
    verdict = scan([tmp_path], digest=False)
    passed = {file.path for file in verdict.files if file.outcome is Outcome.PASS}
    assert {Path(path).name for path in passed} == set(ORDINARY)
    assert all("/good/" in path for path in passed)


def test_a_file_that_the_system_calls_empty_and_that_is_not_is_a_gap() -> None:
    if not Path("/proc/self/environ").exists():
        pytest.skip("no /proc")
    verdict = scan(["/proc/self/status"])
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_the_format_of_leaves_is_that_of_the_leaves_of_an_approval() -> None:
    assert (leaves_format.MAGIC, leaves_format.DIGEST, leaves_format.MAX_FILES) == (
        leaves.MAGIC,
        leaves.DIGEST,
        MAX_FILES,
    )
    measured = leaves.Measured(sha256="0" * 64, size=3, leaves=leaves.Leaves(digests=bytes(range(64))), root="ab" * 32)
    written = b"".join(leaves.sidecar([measured]))
    assert not reasons(facts_of(written))
    assert formats_of(written) == {"leaves"}


@given(
    st.integers(0, len(ORDINARY_PAGE) - 1), st.sampled_from(["<", "&", '"', "\x1b", "<script>", "</p>", " onclick=x"])
)
def test_a_report_with_anything_put_into_it_is_text_or_a_gap(place: int, put: str) -> None:
    data = (ORDINARY_PAGE[:place] + put + ORDINARY_PAGE[place:]).encode()
    gaps = any(isinstance(fact, Gap) for fact in facts_of(data))
    assert gaps or put == '"'


PRINTED = json.loads((Path(__file__).parent / "golden/verdict.json").read_text())


def pointers(document: dict[str, Any]) -> list[str]:
    return [f"{one.key}={one.target}" for one in facts_of(json.dumps(document).encode()) if isinstance(one, Pointer)]


def test_a_report_in_json_tells_of_names_and_names_none() -> None:
    schema = json.loads((Path(__file__).parent.parent / "docs/schema/verdict-1.schema.json").read_text())
    assert PRINTED.keys() == schema["properties"].keys()
    told = copy.deepcopy(PRINTED)
    told["waived"][0]["waiver"]["subject"] = told["findings"][0]["fact"]["subject"] = "os.getcwd"
    told["files"][0]["path"] = "run.py"
    assert pointers(told) == []
    del told["schema"]
    assert "waived[0].waiver.subject=os.getcwd" in pointers(told)


def test_no_key_of_a_report_is_one_by_which_a_loader_finds_code() -> None:
    finding = (settings._CODE, settings._MODELS, settings._PACKAGES, settings._NAMING, settings._TABLED)
    for keys in (*finding, settings._COMMANDS, settings._FLAGS):
        assert verdict._KEYS.isdisjoint(keys)


@pytest.mark.parametrize(
    "addition", [{"auto_map": {"AutoModel": "a.B"}}, {"callback": "os.system"}, {"trust_remote_code": True}]
)
@pytest.mark.parametrize("place", ["", "policy", "rules"])
def test_what_a_report_has_not_is_found_in_one(place: str, addition: dict[str, Any]) -> None:
    told = copy.deepcopy(PRINTED)
    (told[place] if place else told).update(addition)
    assert pointers(told)


def test_a_value_that_runs_whatever_its_key_is_is_found_in_a_report() -> None:
    told = copy.deepcopy(PRINTED)
    told["source"] = "${eval:'1'}"
    assert pointers(told) == ["source=${eval:'1'}"]


@given(st.integers(0, len(ORDINARY_SVG) - 1), st.sampled_from(["<", "<script/>", "&x;", "\x1b", "<?p?>"]))
def test_a_picture_with_anything_put_into_it_is_a_gap(place: int, put: str) -> None:
    assert any(isinstance(fact, Gap) for fact in facts_of((ORDINARY_SVG[:place] + put + ORDINARY_SVG[place:]).encode()))


def test_a_project_says_what_builds_it() -> None:
    data = b'[build-system]\nrequires = ["evil>=1"]\nbuild-backend = "evil.api"\nbackend-path = ["."]\n'
    pointers = [(fact.type, fact.target) for fact in facts_of(data) if isinstance(fact, Pointer)]
    assert pointers == [("build-backend", "evil.api"), ("backend-path", "."), ("requirement", "evil")]


LIBRARY = sorted(Path(ast.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("part", range(4))
def test_every_program_of_the_standard_library_can_call(part: int) -> None:
    for path in LIBRARY[part::4]:
        source = path.read_text(encoding="utf-8", errors="ignore")
        calls = any(isinstance(node, ast.Call | ast.Import | ast.ImportFrom) for node in ast.walk(ast.parse(source)))
        assert can_call(source) or not calls, path


WORDS = "f x ( ) [ ] 'a' \"b\" '''c''' r b 1 2. , . + if else in @ = : don't “ ? lambda print é ;".split()
TOKENS = st.lists(st.sampled_from([*WORDS, " ", "\t", "\n", "\r", "\\\n", "#(\n"]), max_size=12).map("".join)


@given(TOKENS)
def test_what_python_compiles_into_a_call_can_call(source: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return
    if any(isinstance(node, ast.Call | ast.Import | ast.ImportFrom) for node in ast.walk(tree)):
        assert can_call(source), (sys.version, source)


@pytest.mark.parametrize(
    "source",
    [
        "# coding: utf-7\n# words\n",
        "a\\\n(b)\n",
        "(a #.\n(b))\n",
        "x = f'{g()}'\n",
        "'''a''' ; f(x)\n",
        "exec 'import os'\n",
        "x\ry(1)\n",
        "a·b = f(x)\n",
        "a\u2118 = f(x)\n",
        "a\u30fbb = f(x)\n",
    ],
)
def test_ways_to_hide_a_call(source: str) -> None:
    assert can_call(source)


@pytest.mark.parametrize(
    "source", ["it's a (b) text", "name(s) of us", '1,"x (y)"\n2,3\n', "# coding: utf-8\n# f(x)\n"]
)
def test_texts_that_no_compiler_takes_cannot_call(source: str) -> None:
    assert not can_call(source)


REPEATED = {
    "attributes": b"<svg" + b' a="b"' * 100_000 + b">",
    "comments": b"<!--" + b"-" * 500_000,
    "spaces": b" " * (HEAD * 8) + b"<svg>",
    "elements": b'<svg xmlns="http://www.w3.org/2000/svg">' + b"<g/>" * 50_000 + b"</svg>",
    "page": ORDINARY_PAGE.encode()[:-30] + b"<p>" * 100_000,
    "keys": b"a = 1\n" + b".".join([b"b"] * 100_000) + b" = 1\n",
    "quoted keys": b"a = 1\n" + b".".join([b'"b"'] * 100_000) + b" = 1\n",
    "cells": b'a,b\n1,"' + b'""' * 30_000 + b'"\n' * 2,
    "patterns": b"*" * 60_000 + b"\n",
    "strings": b"a: " + b"'x' (y) " * 20_000,
}


@pytest.mark.parametrize("name", REPEATED)
def test_time_is_linear_in_the_file(name: str) -> None:
    begin = time.process_time()
    facts_of(REPEATED[name])
    assert time.process_time() - begin < 5


@given(st.binary(max_size=200), st.sampled_from(sorted(ORDINARY)), st.integers(0, 400))
def test_any_bytes_give_facts(data: bytes, name: str, cut: int) -> None:
    facts_of(ORDINARY[name][:cut] + data)
    facts_of(ORDINARY[name][:cut] + data + ORDINARY[name][cut:])


def test_no_sign_that_is_taken_for_the_end_of_a_program_is_in_one() -> None:
    names = [chr(code) for code in range(0x80, sys.maxunicode + 1) if f"a{chr(code)}".isidentifier()]
    assert not [name for name in names if is_no_python(f"a{name}")]
    for sign in ("\uff0c", "。", "\uff08", "🤗", "…", "!", "?", "$", "://"):
        source = f"a {sign} b"
        assert is_no_python(source)
        with pytest.raises(SyntaxError):
            ast.parse(source)


@pytest.mark.parametrize(
    "page",
    [
        "# 模型介绍\n\n本模型基于Qwen2训练\uff0c支持32k上下文。\n\n## 使用方法\n\n- 安装\n",
        "# モデル\n\n日本語モデルです。\n",
        "# 🤗 Model\n\nHi 🤗\n",
        "# Model\n\nHello!\n",
        "# Model\n\n[the paper](https://example.org/x)\n",
    ],
)
def test_pages_in_every_language_are_pages(page: str) -> None:
    assert formats_of(page.encode()) == {"document"}
    assert not reasons(facts_of(page.encode()))


def test_results_of_an_evaluation_are_no_list_of_packages() -> None:
    assert formats_of(b"epoch   =  3.0\neval_loss   =   0.1234\n") == {"toml"}
    assert formats_of(b"numpy=1.26\nscipy==1.11\n") == {"requirements"}


@pytest.mark.parametrize(
    "line", ["torch @ https://example.org/torch.whl", "torch@file:///x.whl", "a[b,c] @ git+ssh://h/x", "x @ ./y"]
)
@pytest.mark.parametrize("rest", ["", "numpy==1.26\n", "Five words in a sentence.\n", "why?\n"])
def test_a_package_from_elsewhere_is_no_prose(line: str, rest: str) -> None:
    assert "text" not in formats_of(f"{line}\n{rest}".encode())
