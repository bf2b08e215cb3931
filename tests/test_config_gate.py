"""The gate for configurations: what makes a loader run code or read other files is refused unless it was allowed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from approving import approved
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.approval import Allowed
from weighbridge.load import config_gate
from weighbridge.load.config_gate import check, demands, digest_of
from weighbridge.refusals import ConfigRefused, LoadError, RemoteCode

WEIGHTS = b"\x08\0\0\0\0\0\0\0{}      "
PLAIN = {"model_type": "llama", "torch_dtype": "bfloat16", "_attn_implementation": "sdpa", "trust_remote_code": False}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "auto_map": ("config.json", {"auto_map": {"AutoModel": "modeling.Model"}}, "auto_map"),
    "auto_map of another repository": (
        "tokenizer_config.json",
        {"auto_map": {"AutoTokenizer": "o/r--t.T"}},
        "auto_map",
    ),
    "trust_remote_code": ("config.json", {"trust_remote_code": True}, "trust_remote_code"),
    "custom_pipeline": ("model_index.json", {"custom_pipeline": "org/pipe"}, "custom_pipeline"),
    "custom_pipelines": ("config.json", {"custom_pipelines": {"x": {"impl": "p.P"}}}, "custom_pipelines"),
    "custom_generate": ("generation_config.json", {"custom_generate": "org/repo"}, "custom_generate"),
    "hub kernel": ("config.json", {"_attn_implementation": "evil/kernel2"}, "_attn_implementation"),
    "hub kernel, public key": ("config.json", {"attn_implementation": "org/repo"}, "attn_implementation"),
    "hub kernel of a part": (
        "config.json",
        {"text_config": {"attn_implementation": "org/repo:fn"}},
        "text_config.attn_implementation",
    ),
    "pickled weights": ("config.json", {"transformers_weights": "adapter_model.bin"}, "transformers_weights"),
    "weights elsewhere": ("config.json", {"transformers_weights": "../other.safetensors"}, "transformers_weights"),
    "weights not approved": ("config.json", {"transformers_weights": "more.safetensors"}, "transformers_weights"),
    "base model": ("adapter_config.json", {"base_model_name_or_path": "org/base"}, "base_model_name_or_path"),
    "foreign component": (
        "model_index.json",
        {"_class_name": "StableDiffusionPipeline", "unet": ["evil", "UNet"]},
        "unet",
    ),
    "quantisation": (
        "config.json",
        {"quantization_config": {"quant_method": "evil"}},
        "quantization_config.quant_method",
    ),
    "hydra": ("config.json", {"model": {"_target_": "os.system"}}, "model._target_"),
    "onnx runtime": ("genai_config.json", {"custom_ops_library": "x.so"}, "custom_ops_library"),
}


def gate(files: dict[str, bytes], *allowed: Allowed) -> None:
    check(approved(files, allowed), files.__getitem__)


@pytest.mark.parametrize(("name", "document", "key"), REFUSED.values(), ids=REFUSED)
def test_a_key_that_reaches_code_or_other_files_is_refused(name: str, document: dict[str, Any], key: str) -> None:
    files = {name: json.dumps({**PLAIN, **document}).encode(), "model.safetensors": WEIGHTS}
    with pytest.raises(ConfigRefused, match=r"\[LOAD_CONFIG\]") as refused:
        gate(files)
    assert refused.value.key == key
    assert refused.value.where == name
    assert refused.value.fix.endswith((f"--allow {name}:{key}", f"--allow {name}"))


@pytest.mark.parametrize(("name", "document", "key"), REFUSED.values(), ids=REFUSED)
def test_what_the_approval_names_by_its_digest_is_let_through(name: str, document: dict[str, Any], key: str) -> None:
    value: Any = document
    for part in key.split("."):
        value = value[part]
    files = {name: json.dumps({**PLAIN, **document}).encode()}
    gate(files, Allowed(path=name, key=key, digest=digest_of(value)))
    gate(files, Allowed(path=name, key="", digest=hashlib.sha256(files[name]).hexdigest()))
    for other in (
        Allowed(path=name, key=key, digest=digest_of("something else")),
        Allowed(path="other.json", key=key, digest=digest_of(value)),
        Allowed(path=name, key="other", digest=digest_of(value)),
        Allowed(path=name, key="", digest=digest_of(value)),
    ):
        with pytest.raises(ConfigRefused):
            gate(files, other)


def test_ordinary_configurations_pass() -> None:
    index = {"metadata": {"total_size": 8}, "weight_map": {"w": "model.safetensors"}}
    pipeline = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    gate(
        {
            "config.json": json.dumps({**PLAIN, "transformers_weights": "model.safetensors"}).encode(),
            "model.safetensors.index.json": json.dumps(index).encode(),
            "model_index.json": json.dumps(pipeline).encode(),
            "model.safetensors": WEIGHTS,
            "README.md": b"---\nlicense: mit\n---\n# A model\n",
            "empty.txt": b"",
        }
    )


def test_weights_are_not_read() -> None:
    read: list[str] = []

    def note(path: str) -> bytes:
        read.append(path)
        return b"{}"

    check(approved({"config.json": b"{}", "model.safetensors": WEIGHTS}), note)
    assert read == ["config.json"]


@pytest.mark.parametrize(
    "name", ["modeling.py", "a/b/handler.PY", "x.pyc", "kernel.so", "kernel.so.1", "k.pyd", "k.dll"]
)
def test_a_file_of_code_is_refused_by_its_name(name: str) -> None:
    files = {name: b'{"a": 1}'}
    with pytest.raises(RemoteCode, match=r"a file of code .*\[LOAD_CODE\]"):
        gate(files)
    gate(files, Allowed(path=name, key="", digest=hashlib.sha256(files[name]).hexdigest()))
    with pytest.raises(RemoteCode):
        gate(files, Allowed(path=name, key="", digest="0" * 64))


def test_code_is_refused_whatever_its_name() -> None:
    with pytest.raises(RemoteCode, match="python"):
        gate({"notes": b"import os\nos.system('true')\n"})


def test_a_key_that_comes_twice_can_only_be_allowed_with_its_file() -> None:
    data = b'{"auto_map": {"A": "a.B"}, "auto_map": {"A": "a.C"}}'
    value = Allowed(path="config.json", key="auto_map", digest=digest_of({"A": "a.C"}))
    with pytest.raises(ConfigRefused, match="comes twice"):
        gate({"config.json": data}, value)
    gate({"config.json": data}, Allowed(path="config.json", key="", digest=hashlib.sha256(data).hexdigest()))


def test_two_values_of_one_path_cannot_be_allowed_by_it() -> None:
    data = json.dumps({"a": {"auto_map": "m.M"}, "a.auto_map": "m.M"}).encode()
    found = [one for one in demands(approved({"config.json": data}).files, lambda _: data) if one.key == "a.auto_map"]
    assert found
    assert {one.digest for one in found} == {""}


@pytest.mark.parametrize("data", [b'{"a": ', b"\0\0\x80\x3f" * 4])
def test_a_file_that_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(LoadError, match="cannot be read"):
        gate({"config.json": data})


def test_bytes_that_tensors_of_another_file_lie_in_are_not_read() -> None:
    approval = approved({"weights.bin": b"\0\0\x80\x3f" * 4}, formats={"weights.bin": "raw tensors"})
    check(approval, lambda path: pytest.fail(f"{path} is read"))


def test_yaml_is_read_too() -> None:
    with pytest.raises(ConfigRefused, match=r"os\.system"):
        gate({"model.yaml": b"model:\n  _target_: os.system\n  args: [1]\n"})


def test_an_approval_that_passed_is_not_read_again() -> None:
    approval = approved({"config.json": b"{}"}, digest="sha256:" + "a" * 64)
    try:
        check(approval, lambda _: b"{}")
        check(approval, lambda path: pytest.fail(f"{path} is read"))
    finally:
        config_gate._PASSED.discard(approval.digest)


@pytest.mark.parametrize("name", ["auto_map.json", "custom_pipeline.json", "hub_kernel.json", "weights.json"])
def test_what_the_rules_of_a_scan_find_is_refused(name: str) -> None:
    data = (Path(__file__).parent.parent / "fixtures" / "config" / name).read_bytes()
    with pytest.raises(ConfigRefused):
        gate({name: data})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=4), one, max_size=3),
        max_leaves=10,
    )
)
def test_the_digest_of_a_value_does_not_depend_on_how_it_is_written(value: Any) -> None:
    assert digest_of(value) == digest_of(json.loads(json.dumps(value, indent=3)))
