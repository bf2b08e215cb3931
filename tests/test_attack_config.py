"""Attacks on the gate for configurations: other spellings, files that are two things, keys of some versions alone."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from approving import approved
from examining import facts_of
from hypothesis import example, given
from hypothesis import strategies as st

from weighbridge.approve import telling
from weighbridge.formats import sniff
from weighbridge.load.config_gate import check
from weighbridge.location import Location
from weighbridge.reader import from_bytes
from weighbridge.refusals import ConfigRefused, LoadError, RemoteCode

KEY = b'{"auto_map": {"AutoModel": "modeling.Model"}}'
ESCAPE = "{{ cycler.__init__.__globals__.os.popen('id').read() }}"


def gate(name: str, data: bytes, **options: Any) -> None:
    files = {name: data}
    check(approved(files, **options), files.__getitem__)


@pytest.mark.parametrize(
    "data",
    [
        b" " * 300_000 + KEY,
        b"\xef\xbb\xbf" + KEY,
        KEY.decode().encode("utf-16"),
        KEY.decode().encode("utf-16-le"),
        KEY.decode().encode("utf-32"),
        KEY.replace(b"auto_map", b"auto\\u005fmap"),
        KEY.replace(b"auto_map", b"AUTO_MAP"),
        KEY + b"\0",
        b"\0" + KEY,
        KEY + b'\n{"x": 1}',
        b'{"x": 1}\n' + KEY,
        b"\x0c" + KEY,
        "\u00a0".encode() + KEY,
        b"#version: 0.2\n" + KEY,
        b"[" * 3 + KEY + b"]" * 3,
        b'{"a": ' * 200 + KEY + b"}" * 200,
        b'{"auto_map": {"A": "b.C"}, "auto_map": null}',
    ],
)
def test_no_spelling_hides_a_key(data: bytes) -> None:
    with pytest.raises(LoadError):
        gate("config.json", data)


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("config.json", {"_attn_implementation_internal": "org/kernel"}),
        ("config.json", {"vision_config": {"_experts_implementation_internal": "org/kernel"}}),
        ("config.json", {"_attn_implementation": {"text_config": "org/kernel"}}),
        ("config.json", {"attn_implementation": "paged|org/kernel@v1:fn"}),
        ("tokenizer_config.json", {"pretrained_vocab_file": "vocab.bin"}),
        ("tokenizer_config.json", {"chat_template": ESCAPE}),
        ("tokenizer_config.json", {"chat_template": [{"name": "default", "template": ESCAPE}]}),
        ("processor_config.json", {"auto_map": {"AutoProcessor": "p.P"}}),
        ("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "p.P"}}),
        ("modules.json", [{"idx": 0, "name": "0", "path": "", "type": "their_package.Module"}]),
        ("any/other/name", {"trust_remote_code": "True"}),
        ("config.json", {"trust_remote_code": 1}),
        ("config.json", {"trust_remote_code": "1"}),
        ("config.json", {"trust_remote_code": ["x"]}),
        ("generation_config.json", {"compile_config": {"options": {"cpp.cxx": ["x"]}}}),
        ("modules.json", [{"idx": 0, "name": "0", "path": "/x", "type": "sentence_transformers.models.Transformer"}]),
        ("model_index.json", {"_class_name": ["pipeline", "Pipe"]}),
        ("adapter_config.json", {"auto_mapping": {"base_model_class": "X", "parent_library": "their.library"}}),
        ("model.safetensors.index.json", {"weight_map": {"a": "../model.safetensors"}}),
    ],
)
def test_no_file_of_settings_is_overlooked(name: str, document: Any) -> None:
    with pytest.raises(ConfigRefused):
        gate(name, json.dumps(document).encode())


def test_a_template_that_reaches_out_is_refused_in_a_file_of_its_own() -> None:
    with pytest.raises(ConfigRefused):
        gate("chat_template.jinja", ESCAPE.encode())
    gate("chat_template.jinja", b"{% for m in messages %}{{ m.content|trim }}{% endfor %}")


def _zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data", b"1")
    return file.getvalue()


def test_a_program_before_an_archive_is_a_program() -> None:
    data = b"\x7fELF\x02\x01\x01" + bytes(57) + _zipped()
    found = [one.name for one in sniff(from_bytes(data, Location(("model.bin",))).sample)]
    assert found[0] == "zip"
    with pytest.raises(RemoteCode):
        gate("model.bin", data, formats={"model.bin": telling(found)})


KEYS = (
    "__class__ __module__ __loader__ __doc__ :serialized: :type: idx type path class_name module registered_name lc id "
    "_class_name _diffusers_version compile_config options weight_map vocab nodes op loader_module code chat_template "
    "auto_map trust_remote_code adapters backbone quant_method requirements command model_file source a_name_or_path"
).split()
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(KEYS)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=5))
@example({"__class__": "str", "__module__": "builtins", "__loader__": []})
def test_no_value_under_a_key_that_loaders_read_stops_the_reading(document: dict[str, Any]) -> None:
    assert facts_of(json.dumps(document).encode())
