"""Convert folders of tiny models of many architectures, load them with transformers, compare what they compute.

`PYTHONPATH=scanner python benchmarks/convert_models.py`, where torch, transformers and the package's own dependencies
are installed. Every model is saved as `torch.save` does it, whole and in shards with an index; its folder is
converted, the policy saying what comes along; and what `from_pretrained` makes of it has to give the same numbers, bit
for bit, while `torch.load` is not there to be called.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from transformers import logging

from weighbridge.cli.converting import judged_by
from weighbridge.convert.directory import FolderConversion, convert_folder
from weighbridge.convert.directory_proof import verify_folder
from weighbridge.limits import Limits
from weighbridge.policy_file import shipped_policy

SIDES: Final = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 99,
}
T5: Final = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 99}
BART: Final = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
DISTILBERT: Final = {"dim": 32, "n_layers": 2, "n_heads": 4, "vocab_size": 99}
CONVOLUTIONS: Final = {
    "conv_dim": (16, 16),
    "conv_stride": (5, 2),
    "conv_kernel": (10, 3),
    "num_feat_extract_layers": 2,
}
IMAGES: Final = {**SIDES, "image_size": 32, "patch_size": 8}
# The class, the class of its configuration, and what to set in that.
MODELS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "bert": ("BertForMaskedLM", "BertConfig", SIDES),
    "roberta": ("RobertaForMaskedLM", "RobertaConfig", SIDES),
    "distilbert": ("DistilBertForMaskedLM", "DistilBertConfig", DISTILBERT),
    "albert": ("AlbertForMaskedLM", "AlbertConfig", {**SIDES, "embedding_size": 16}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99}),
    "llama": ("LlamaForCausalLM", "LlamaConfig", {**SIDES, "num_key_value_heads": 2}),
    "llama-tied": ("LlamaForCausalLM", "LlamaConfig", {**SIDES, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", {**SIDES, "num_key_value_heads": 2}),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", {**SIDES, "num_key_value_heads": 2, "num_local_experts": 2}),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", {**SIDES, "num_key_value_heads": 2, "head_dim": 8}),
    "t5": ("T5ForConditionalGeneration", "T5Config", T5),
    "bart": ("BartForConditionalGeneration", "BartConfig", {**BART, "vocab_size": 99}),
    "whisper": ("WhisperForConditionalGeneration", "WhisperConfig", {**BART, "vocab_size": 99, "pad_token_id": 1}),
    "vit": ("ViTForImageClassification", "ViTConfig", IMAGES),
    "clip": ("CLIPModel", "CLIPConfig", {"text_config": SIDES, "vision_config": IMAGES, "projection_dim": 16}),
    "wav2vec2": ("Wav2Vec2Model", "Wav2Vec2Config", {**SIDES, **CONVOLUTIONS}),
}


def main() -> int:
    """Run every model; return how many differ."""
    logging.set_verbosity_error()
    names = sys.argv[1:] or list(MODELS)
    failed = 0
    for name in names:
        for sharded in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                failed += not _one(name, Path(folder), sharded=sharded)
    sys.stdout.write(f"{2 * len(names) - failed} of {2 * len(names)} folders give identical outputs\n")
    return failed


def _one(name: str, folder: Path, *, sharded: bool) -> bool:
    """Convert one model; tell whether it computes the same afterwards, and say what was seen."""
    torch.manual_seed(0)
    kind, configuration, settings = MODELS[name]
    config = getattr(transformers, configuration)(**settings)
    config.architectures = [kind]
    model = getattr(transformers, kind)(config).eval()
    source, out = folder / "source", folder / "out"
    source.mkdir()
    _save(model, source, sharded=sharded)
    made = convert_folder(source, out, judge=judged_by(shipped_policy("default"), Limits()))
    verify_folder(source, out)
    with _no_torch_load():
        loaded, told = getattr(transformers, kind).from_pretrained(
            out, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    missing = sorted(told["missing_keys"]) + sorted(told["unexpected_keys"])
    same = not missing and all(
        torch.equal(one, other) for one, other in zip(_outputs(model), _outputs(loaded.eval()), strict=True)
    )
    _say(name, made, same=same, sharded=sharded, missing=missing)
    return same


def _save(model: Any, folder: Path, *, sharded: bool) -> None:
    """Save a model as its own library did before safetensors."""
    model.config.save_pretrained(folder)
    if model.can_generate():
        model.generation_config.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A tiny model\n")
    state = model.state_dict()
    if not sharded:
        torch.save(state, folder / "pytorch_model.bin")
        return
    names, table = list(state), {}
    for index in range(3):
        file = f"pytorch_model-{index + 1:05}-of-00003.bin"
        part = names[index::3]
        torch.save({key: state[key] for key in part}, folder / file)
        table.update(dict.fromkeys(part, file))
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    index_file = folder / "pytorch_model.bin.index.json"
    index_file.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": table}))


class _no_torch_load:  # noqa: N801 - reads as the words it stands for
    """`torch.load` raises inside."""

    def __enter__(self) -> None:
        self._load: Callable[..., Any] = torch.load
        torch.load = self._refuse

    def __exit__(self, *_: object) -> None:
        torch.load = self._load

    @staticmethod
    def _refuse(*_: object, **__: object) -> None:
        raise RuntimeError("torch.load was called")


def _outputs(model: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors that a model gives for inputs that are always the same."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 90, (2, 7), generator=generator)
    pixels = torch.rand((2, 3, 32, 32), generator=generator)
    kind = type(model).__name__
    inputs: dict[str, Any] = {"input_ids": ids}
    if kind.startswith(("T5", "Bart")):
        inputs["decoder_input_ids"] = ids
    elif kind.startswith("Whisper"):
        inputs = {"input_features": torch.rand((2, 80, 3000), generator=generator), "decoder_input_ids": ids}
    elif kind.startswith("ViT"):
        inputs = {"pixel_values": pixels}
    elif kind.startswith("CLIP"):
        inputs["pixel_values"] = pixels
    elif kind.startswith("Wav2Vec2"):
        inputs = {"input_values": torch.rand((1, 800), generator=generator)}
    with torch.no_grad():
        found = model(**inputs)
    yield from (value for value in found.values() if isinstance(value, torch.Tensor))


def _say(name: str, made: FolderConversion, *, same: bool, sharded: bool, missing: list[str]) -> None:
    tensors = sum(len(one.tensors) for one in made.conversions.values())
    tied = sum(len(one.aliases) for one in made.conversions.values() if one.aliases_dropped)
    what = "identical" if same else f"DIFFERENT {missing}"
    beside = f"{', '.join(made.copied)}{f'; left out {dict(made.left_out)}' if made.left_out else ''}"
    files = "3 shards" if sharded else "1 file"
    sys.stdout.write(f"{name:12} {files:8} {tensors:4} tensors, {tied} ties once: {what}; {beside}\n")


if __name__ == "__main__":
    sys.exit(main())
