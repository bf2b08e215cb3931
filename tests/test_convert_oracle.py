"""Conversions against torch itself: what it loads from a file that it wrote is what the output holds, bit for bit.

Where torch is not installed these tests are skipped; `test_convert_torch.py` does without it.
"""

from __future__ import annotations

import collections
import itertools
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weighbridge.convert.conversion import convert, listing, verify
from weighbridge.errors import UnconvertibleError

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

TYPED = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64".split()
UNTYPED = """
    uint16 uint32 uint64 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2
""".split()
COUNTER = itertools.count()


def bits(tensor: Any) -> bytes:
    """Return the bytes of a tensor in C order."""
    flat = tensor.detach().reshape(-1).clone(memory_format=torch.contiguous_format)
    return bytes(flat.view(torch.uint8).numpy()) if flat.numel() else b""


def assert_same(output: Path, wanted: Mapping[str, Any]) -> None:
    """Compare an output, as the reference reader loads it, with tensors of torch."""
    found = safetensors_torch.load_file(output)
    assert sorted(found) == sorted(wanted)
    for name, tensor in wanted.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        assert bits(found[name]) == bits(tensor), name


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the tensors of containers by their paths."""
    if isinstance(value, torch.Tensor):
        yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, part in items:
        yield from flat(part, f"{path}.{key}" if path else str(key))


def converted(value: Any, folder: Path, *, legacy: bool = False, **options: Any) -> tuple[Path, Any]:
    """Save, convert and verify a value; return the output and what torch loads from the file."""
    source = folder / f"{next(COUNTER)}.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(value, source, _use_new_zipfile_serialization=not legacy)
        loaded = torch.load(source, weights_only=False)
    output = source.with_suffix(".safetensors")
    made = convert(source, output, **options)
    assert verify(source, output).state_dict == made.state_dict
    digests = listing(output, digests=True).digests
    assert dict(digests) == {tensor.name: made.digests[tensor.name] for tensor in made.tensors}
    return output, loaded


def filled(dtype: str, count: int, seed: int) -> Any:
    """Return a storage's worth of random bits."""
    kind = getattr(torch, dtype)
    generator = torch.Generator().manual_seed(seed)
    size = max(1, kind.itemsize)
    raw = torch.randint(0, 2 if dtype == "bool" else 256, (count * size,), dtype=torch.uint8, generator=generator)
    return raw.view(kind)


@pytest.mark.parametrize("dtype", [*TYPED, *UNTYPED])
def test_every_dtype(dtype: str, tmp_path: Path) -> None:
    values = filled(dtype, 60, 1)
    state = {"flat": values, "sides": values.view(3, 4, 5), "part": values[7:19], "none": values[:0]}
    if dtype != "float4_e2m1fn_x2":
        state |= {"turned": values.view(12, 5).t(), "one": values[3]}
    output, loaded = converted(state, tmp_path)
    assert_same(output, loaded)


@pytest.mark.parametrize("dtype", TYPED)
def test_every_dtype_of_the_format_before(dtype: str, tmp_path: Path) -> None:
    values = filled(dtype, 60, 1)
    state = {"flat": values, "part": values[7:19], "turned": values.view(12, 5).t(), "one": values[3]}
    output, loaded = converted(state, tmp_path, legacy=True)
    assert_same(output, loaded)


@pytest.mark.parametrize("dtype", ["complex128", "complex32", "bits8"])
def test_dtypes_without_a_form_are_refused_by_name(dtype: str, tmp_path: Path) -> None:
    kind = getattr(torch, dtype)
    value = torch.zeros(32, dtype=torch.uint8).view(kind) if dtype != "complex128" else torch.zeros(2, dtype=kind)
    with pytest.raises(UnconvertibleError, match=f"'w' .*{dtype}.*; "):
        converted({"w": value}, tmp_path)


def quietly(make: Any, *arguments: Any) -> Any:
    """Call what torch warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(*arguments)


UNFIT = {
    "a quantised tensor": lambda: quietly(torch.quantize_per_tensor, torch.rand(4), 0.1, 0, torch.qint8),
    "a sparse tensor": lambda: torch.eye(3).to_sparse(),
    "a conjugate": lambda: torch.rand(3, dtype=torch.complex64).conj(),
    "a nested tensor": lambda: quietly(torch.nested.nested_tensor, [torch.rand(2), torch.rand(3)]),
    "a meta tensor": lambda: torch.empty(3, device="meta"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_tensors_without_a_form_are_refused_with_what_to_do(what: str, tmp_path: Path) -> None:
    with pytest.raises(UnconvertibleError, match=f"'w'.*{what}.*; "):
        converted({"w": UNFIT[what](), "v": torch.rand(2)}, tmp_path)


# --- random checkpoints --------------------------------------------------------------------------------------------


@st.composite
def views(draw: st.DrawFn, base: Any) -> Any:
    """Draw a view of a storage, of any strides that stay inside it."""
    size = base.numel()
    kind = draw(st.sampled_from(["whole", "slice", "stepped", "turned", "expanded", "strided", "scalar", "empty"]))
    if size == 0 or kind == "empty":
        return base[:0].view(0, draw(st.integers(0, 3)))
    if kind == "slice":
        begin = draw(st.integers(0, size - 1))
        return base[begin : draw(st.integers(begin + 1, size))]
    if kind == "stepped":
        return base[draw(st.integers(0, size - 1)) :: draw(st.integers(1, 5))]
    if kind == "turned":
        rows = draw(st.integers(1, size))
        return base[: size // rows * rows].view(rows, -1).t()
    if kind == "expanded":
        return base[draw(st.integers(0, size - 1))].expand(draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    if kind == "strided":
        shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
        strides, left = [], size - 1
        for side in shape:
            stride = draw(st.integers(0, left // (side - 1))) if side > 1 else draw(st.integers(0, 9))
            left -= stride * (side - 1)
            strides.append(stride)
        return base.as_strided(shape, strides, draw(st.integers(0, left)))
    return base[draw(st.integers(0, size - 1))] if kind == "scalar" else base


@st.composite
def states(draw: st.DrawFn, dtypes: list[str]) -> dict[Any, Any]:
    """Draw a state dict: views of a few storages, ties, parameters, empty things."""
    bases = [
        filled(draw(st.sampled_from(dtypes)), draw(st.integers(0, 200)), draw(st.integers(0, 9999)))
        for _ in range(draw(st.integers(1, 4)))
    ]
    state: dict[Any, Any] = draw(st.sampled_from([dict, collections.OrderedDict]))()
    for index in range(draw(st.integers(1, 8))):
        view = draw(views(draw(st.sampled_from(bases))))
        if view.is_floating_point() and view.dtype.itemsize > 1 and draw(st.booleans()):
            view = torch.nn.Parameter(view, requires_grad=draw(st.booleans()))
        state[draw(st.sampled_from([f"layers.{index}.weight", f"w{index}", index]))] = view
    if draw(st.booleans()):
        state["tied"] = state[draw(st.sampled_from(list(state)))]
    return state


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_checkpoints(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    legacy = data.draw(st.booleans())
    state = data.draw(states(TYPED if legacy else TYPED + UNTYPED[:-1]))
    around = data.draw(st.sampled_from(["nothing", "checkpoint", "nested"]))
    options: dict[str, Any] = {}
    value: Any = state
    if around == "checkpoint":
        optimizer = {"state": {0: {"exp_avg": torch.rand(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
        value = {"epoch": 3, "weights": state, "optimizer": optimizer, "best": torch.tensor(0.5), "none": None}
    elif around == "nested":
        value = {"a": state, "b": {"c": [torch.rand(2), {"d": torch.rand(1)}]}, "e": torch.rand(1), "name": "x"}
        options = {"state_dict": "."}
    options["drop_aliases"] = data.draw(st.booleans())
    folder = tmp_path_factory.mktemp("random")
    output, loaded = converted(value, folder, legacy=legacy, **options)
    wanted = dict(flat(loaded["weights"] if around == "checkpoint" else loaded))
    if options["drop_aliases"]:
        names = {tensor.name for tensor in listing(output).tensors}
        wanted = {name: tensor for name, tensor in wanted.items() if name in names}
    assert_same(output, wanted)


# --- modules and optimizers ----------------------------------------------------------------------------------------


class Tied(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(7, 4)
        self.blocks = torch.nn.ModuleList([torch.nn.TransformerEncoderLayer(4, 2, 8) for _ in range(2)])
        self.table = torch.nn.ParameterDict({"x": torch.nn.Parameter(torch.rand(2))})
        self.head = torch.nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight
        self.shared = self.blocks[0]
        self.register_buffer("kept", torch.rand(3))
        self.register_buffer("passing", torch.rand(3), persistent=False)
        self.register_parameter("absent", None)
        self.loose = torch.rand(2)
        self.settings = {"a": 1}


MODULES = {
    "sequence": lambda: torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU()),
    "recurrent": lambda: torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True),
    "tied": Tied,
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_pickled_modules_have_their_state_dict(name: str, legacy: bool, tmp_path: Path) -> None:
    output, loaded = converted(MODULES[name](), tmp_path, legacy=legacy)
    assert_same(output, loaded.state_dict())


def test_a_module_of_a_checkpoint(tmp_path: Path) -> None:
    output, loaded = converted({"model": Tied(), "step": 7, "args": {"lr": 0.1}}, tmp_path)
    assert_same(output, loaded["model"].state_dict())


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "LBFGS"])
def test_an_optimizer_beside_is_left_out(name: str, tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    options = {"lr": 0.1} | ({"momentum": 0.9} if name == "SGD" else {})
    optimizer = getattr(torch.optim, name)(model.parameters(), **options)
    model(torch.rand(4, 3)).sum().backward()
    optimizer.step(lambda: model(torch.rand(4, 3)).sum())
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1}
    output, loaded = converted(state, tmp_path)
    assert_same(output, loaded["model"])


class Labelled(torch.Tensor):  # type: ignore[misc, name-defined]
    pass


def test_tensors_with_python_state(tmp_path: Path) -> None:
    plain = torch.rand(3)
    plain.note = "kept by torch"
    parameter = torch.nn.Parameter(torch.rand(2))
    parameter.note = {"a": 1}
    state = {"plain": plain, "parameter": parameter, "class": torch.rand(2, 2).as_subclass(Labelled)}
    source = tmp_path / "s.pt"
    torch.save(state, source)
    made = convert(source, tmp_path / "s.safetensors")
    assert_same(tmp_path / "s.safetensors", {name: tensor.as_subclass(torch.Tensor) for name, tensor in state.items()})
    told = {(one.path, one.what.split(" test_")[0]) for one in made.dropped}
    assert told >= {("plain", "attributes of a tensor"), ("parameter", "state of a parameter")}
    assert any(path == "class" and what.startswith("class") for path, what in told)


# --- models of transformers ----------------------------------------------------------------------------------------

TINY = {"vocab_size": 99, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
ARCHITECTURES = {
    "BertForMaskedLM": ("BertConfig", TINY),
    "GPT2LMHeadModel": ("GPT2Config", {"vocab_size": 99, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}),
    "LlamaForCausalLM": ("LlamaConfig", {**TINY, "num_key_value_heads": 1}),
    "Qwen2ForCausalLM": ("Qwen2Config", {**TINY, "num_key_value_heads": 1, "tie_word_embeddings": True}),
    "T5ForConditionalGeneration": (
        "T5Config",
        {"vocab_size": 99, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2},
    ),
    "ViTForImageClassification": (
        "ViTConfig",
        {key: value for key, value in TINY.items() if key != "vocab_size"} | {"image_size": 8, "patch_size": 4},
    ),
    "MixtralForCausalLM": ("MixtralConfig", {**TINY, "num_key_value_heads": 1, "num_local_experts": 2}),
}


@pytest.mark.parametrize("aliases", ["written", "dropped"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_transformers_gives_the_same_logits(name: str, aliases: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    kind, settings_ = ARCHITECTURES[name]
    torch.manual_seed(0)
    model = getattr(transformers, name)(getattr(transformers, kind)(**settings_)).eval()
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    torch.save(model.state_dict(), tmp_path / "old" / "pytorch_model.bin")
    model.config.save_pretrained(tmp_path / "new")
    output = tmp_path / "new" / "model.safetensors"
    convert(tmp_path / "old" / "pytorch_model.bin", output, drop_aliases=aliases == "dropped")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = getattr(transformers, name).from_pretrained(tmp_path / "new", use_safetensors=True).eval()
    tokens = torch.arange(12).reshape(2, 6)
    inputs: dict[str, Any] = {"input_ids": tokens}
    if "decoder" in name.lower() or name.startswith("T5"):
        inputs["decoder_input_ids"] = tokens
    if name.startswith("ViT"):
        inputs = {"pixel_values": torch.rand(1, 3, 8, 8)}
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, loaded(**inputs).logits)
