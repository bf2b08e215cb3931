# mypy: ignore-errors
# The libraries are installed where the corpus is built, not where the project is checked.
"""Ordinary files that transformers and accelerate leave beside a model."""

from __future__ import annotations

import random
import tempfile
from typing import Any

import numpy as np
import torch

from .writer import Corpus


def build(corpus: Corpus) -> None:
    """Write training arguments, configurations, small models, encodings and the state of a training run."""
    import transformers

    for part in (arguments, models, tokens, states):
        with corpus.optional(f"transformers {part.__name__}"):
            part(corpus, transformers)


def arguments(corpus: Corpus, transformers: Any) -> None:
    """Write training_args.bin in several settings."""
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, dict[str, Any]] = {
            "default": {},
            "steps": {"eval_strategy": "steps", "eval_steps": 10, "save_strategy": "epoch", "logging_strategy": "no"},
            "schedule": {"lr_scheduler_type": "cosine", "optim": "adafactor", "warmup_steps": 5, "max_steps": 10},
            "hub": {"hub_strategy": "end", "push_to_hub": False, "report_to": "none", "label_names": ["labels"]},
        }
        for name, extra in settings.items():
            with corpus.optional(f"transformers {name}"):
                value = transformers.TrainingArguments(output_dir="out", use_cpu=True, **extra)
                torch.save(value, corpus.path(f"transformers/training_args-{name}.bin"))
        value = transformers.Seq2SeqTrainingArguments(
            output_dir=folder[:0] + "out", use_cpu=True, predict_with_generate=True
        )
        torch.save(value, corpus.path("transformers/training_args-seq2seq.bin"))


def models(corpus: Corpus, transformers: Any) -> None:
    """Write small models whole, their state dicts and their configurations."""
    small = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "vocab_size": 20,
    }
    kinds = {
        "bert": ("BertConfig", "BertForSequenceClassification", small),
        "gpt2": ("GPT2Config", "GPT2LMHeadModel", {"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 20}),
        "llama": ("LlamaConfig", "LlamaForCausalLM", small | {"num_key_value_heads": 2}),
        "t5": (
            "T5Config",
            "T5ForConditionalGeneration",
            {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 20},
        ),
    }
    for name, (config_name, model_name, values) in kinds.items():
        with corpus.optional(f"transformers {name}"):
            config = getattr(transformers, config_name)(**values)
            model = getattr(transformers, model_name)(config)
            corpus.pickle(f"transformers/config-{name}", config, (2, 4))
            torch.save(model.state_dict(), corpus.path(f"transformers/pytorch_model-{name}.bin"))
            torch.save(model, corpus.path(f"transformers/model-{name}.pt"))
    corpus.pickle("transformers/generation_config", transformers.GenerationConfig(max_new_tokens=5))


def tokens(corpus: Corpus, transformers: Any) -> None:
    """Write tokenizers that need no download, and what they return."""
    import tokenizers

    vocabulary = {"[UNK]": 0, "[PAD]": 1, "hello": 2, "world": 3}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    corpus.pickle("transformers/tokenizer-core", core)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]")
    corpus.pickle("transformers/tokenizer-fast", fast)
    corpus.pickle(
        "transformers/encoding", transformers.BatchEncoding({"input_ids": [[1, 2]], "attention_mask": [[1, 1]]})
    )
    corpus.pickle("transformers/encoding-tensors", fast(["hello world"], return_tensors="pt"))
    corpus.pickle("transformers/added_token", tokenizers.AddedToken("<x>"))


def states(corpus: Corpus, transformers: Any) -> None:
    """Write what a trainer saves beside the weights."""
    model = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 2)).sum().backward()
    optimiser.step()
    schedule = transformers.get_linear_schedule_with_warmup(optimiser, 1, 10)
    torch.save(optimiser.state_dict(), corpus.path("transformers/optimizer.pt"))
    torch.save(schedule.state_dict(), corpus.path("transformers/scheduler.pt"))
    generators = {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.random.get_rng_state()}
    torch.save(generators, corpus.path("transformers/rng_state.pth"))
    accelerate_states = {
        "step": 1,
        "random_state": random.getstate(),
        "numpy_random_seed": np.random.get_state(),
        "torch_manual_seed": torch.get_rng_state(),
    }
    corpus.pickle("accelerate/random_states_0", accelerate_states)
    torch.save(accelerate_states, corpus.path("accelerate/random_states_0.pkl"))
    torch.save({"scale": 65536.0, "_growth_tracker": 3}, corpus.path("accelerate/scaler.pt"))
    output = transformers.modeling_outputs.BaseModelOutput(last_hidden_state=torch.zeros(1, 2))
    corpus.pickle("transformers/model_output", output)
    corpus.pickle(
        "transformers/prediction_output",
        transformers.trainer_utils.PredictionOutput(np.zeros(2), np.zeros(2), {"loss": 0.5}),
    )
    corpus.pickle("transformers/trainer_state", transformers.TrainerState(epoch=1.0, log_history=[{"loss": 0.5}]))
