"""Scripts are named; prose is inert; whatever could be either is neither."""

from __future__ import annotations

import pickle
import time
from random import Random

import pytest
from examining import facts_of, formats_of, reasons
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.facts import Anomaly, Inert, Native, Pointer
from weighbridge.formats import script, text
from weighbridge.reader import HEAD, TAIL, Sample

MIT = """MIT License

Copyright (c) 2020 The Authors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND. The owner(s) of the
Contribution(s) are not liable, see http://www.apache.org/licenses/ for more.
"""


def sample(data: bytes) -> Sample:
    return Sample(data[:HEAD], data[-TAIL:], len(data))


@pytest.mark.parametrize(
    "data", [MIT, MIT.replace("\n", "\r\n"), "3\n", "1.0.0", "little", "0123456789" * 4, "Für alle, die es angeht.\n"]
)
def test_prose_and_single_words_are_inert(data: str) -> None:
    facts = facts_of(data.encode())
    assert [f.size for f in facts if isinstance(f, Inert)] == [len(data.encode())]
    assert formats_of(data.encode()) == {"text"}
    assert not reasons(facts)


@pytest.mark.parametrize(
    "data",
    [
        "import os\n",
        "from os import system\nsystem('id')\n",
        "def f(x):\n    return x\n",
        "class Model:\n    pass\n",
        "x = 1\n",
        "print('hello world, this is a test')\n",
        "exec ('hello')\n",
        "a sentence, and then\n__import__('os').system('id')\n",
        "for f in [open]: f ('a', 'w')\n",
        "exec 'import os'\n",
        "A title; import os\n",
        '"""A sentence of a few words about a model."""\nfrom.evil import x\n',
        '"""A sentence of a few words about a model."""\nfrom . evil import*\n',
        '"""A sentence of a few words about a model."""\rimport evil\r',
        '"""A sentence of a few words about a model."""\r\x0cimport evil\r',
        "# coding: utf-7\nwords and more words\n",
        "#!/bin/sh\nrm file\n",
        "@echo off\nstart calc\n",
        "{}",
        '{"a": 1}',
        "[1, 2, 3]",
        "[section]\nkey and value\n",
        "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n",
        "Flavors:\n  Python: x\n",
        "---\nlicense: mit\n---\nSome words about the model.\n",
        "Some words about it\nloader_module: mlflow.sklearn\n",
        "<html>words</html>",
        "Hello {{ user }}, this is a template",
        "words $(id) words and more",
        "words `id` words and more",
        "numpy\nevil-package\n",
        "# packages to install\nevil-package\n",
        "--index-url http://example.org/simple\nnumpy\n",
        "git+https://example.org/evil.git\n",
        "https://example.org/evil.whl\n",
        "words and words cos\nsystem\n",
        "Vos\nVsystem\nqÓ.",
        "key=value\n",
        "words\0words",
        "././@P",
        " \n",
        "(word)",
        "",
        "words \x1b[2J words",
        "words \u202e words",
        "words \ud800",
    ],
)
def test_what_could_be_code_or_configuration_is_not_prose(data: str) -> None:
    assert not text.sniff(sample(data.encode("utf-8", "surrogatepass")))


@pytest.mark.parametrize("protocol", range(3))
@pytest.mark.parametrize("value", [1, "a", "some words of a text", ["a", "b"], None, {"a": "b"}])
def test_a_pickle_of_letters_is_not_prose(protocol: int, value: object) -> None:
    assert not text.sniff(sample(pickle.dumps(value, protocol)))


@pytest.mark.parametrize(
    ("data", "type_", "detail"),
    [
        (b"#!/usr/bin/env python\nprint", "script", "#!/usr/bin/env python"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "script", "#!/bin/sh"),
        (b"@ECHO OFF\r\nstart calc", "script", "@ECHO OFF"),
        (b"# a comment\nimport os, sys\n", "python", "import os, sys"),
        (b"\nfrom torch import nn\n", "python", "from torch import nn"),
        (b"class Net(Module):\n  x: int\n", "python", "class Net(Module):"),
        (b"    async def run(self):\n", "python", "async def run(self):"),
        ("# ü\n".encode() * 1365 + b"import os\n", "python", ""),
    ],
)
def test_scripts_are_recognised_by_content(data: bytes, type_: str, detail: str) -> None:
    found = [(f.type, f.detail) for f in facts_of(data) if isinstance(f, Native)]
    assert found == ([(type_, detail)] if detail else [])


@pytest.mark.parametrize(
    "data", [MIT.encode(), b"", b"\x80\x04import os\n", b"import os\n\0", b"import duties are due\n"]
)
def test_prose_and_binary_data_are_no_python(data: bytes) -> None:
    assert not script.sniff_python(sample(data))


@pytest.mark.parametrize(
    "unit", ["c", "-", "a://", "a(s)", "word ", "from ", "- ", "''", "\n", " ", "c\n", "a.", "- a:", "a\n\n"]
)
def test_time_is_linear_in_the_text(unit: str) -> None:
    data = (unit * TAIL)[:TAIL].encode()
    begin = time.process_time()
    text.sniff(sample(data))
    script.sniff_python(sample(data))
    assert time.process_time() - begin < 2


def test_large_and_binary_data_is_refused_without_decoding() -> None:
    data = Random(1).randbytes(1 << 20)
    assert not text.sniff(sample(data))
    assert not text.sniff(sample(MIT.encode() * 1000))


@given(st.binary(max_size=100), st.text(max_size=100))
def test_any_bytes_give_facts(data: bytes, words: str) -> None:
    facts_of(data)
    facts_of(words.encode("utf-8", "surrogatepass"))
    facts_of(b"#!" + data)


def test_a_program_that_names_python_as_what_runs_it_is_no_polyglot() -> None:
    facts = facts_of(b"#!/usr/bin/env python\nimport torch\n")
    assert {fact.type for fact in facts if isinstance(fact, Native)} == {"script", "python"}
    assert not [fact for fact in facts if isinstance(fact, Anomaly)]


@pytest.mark.parametrize(("data", "named"), [("torch\n", ["torch"]), ("evil", ["evil"]), ("MIT\n", []), ("v1.2", [])])
def test_a_word_in_small_letters_is_a_package_to_whoever_installs_what_is_listed(data: str, named: list[str]) -> None:
    assert [fact.target for fact in facts_of(data.encode()) if isinstance(fact, Pointer)] == named
