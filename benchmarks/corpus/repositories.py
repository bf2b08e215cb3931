# mypy: ignore-errors
# The libraries are installed where the corpus is built, not where the project is checked.
"""Ordinary repositories: small random models, tokenizers and processors as the real libraries save them.

What the libraries do not write (cards, attributes of git, licences, chat templates of the large families) is in
`repository_texts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import repository_texts
from .writer import Corpus

SMALL = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 64,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
TEXT = [
    "Bert Roberta DistilBert Albert Electra Deberta DebertaV2 MPNet XLMRoberta Camembert ModernBert Nystromformer",
    "GPT2 GPTNeo GPTNeoX GPTJ OPT Bloom Falcon Llama Mistral Mixtral Qwen2 Qwen3 Qwen2Moe Qwen3Moe Gemma Gemma2",
    "Phi Phi3 Starcoder2 StableLm Olmo Olmo2 Cohere Granite Mamba Mamba2 Mpt CodeGen CTRL XGLM Persimmon Glm Nemotron",
    "Gemma3Text DeepseekV2 DeepseekV3 SmolLM3 Jamba RecurrentGemma Helium Bamba GptOss",
]
SEQUENCES = "T5 MT5 Bart MBart Pegasus Marian M2M100 Blenderbot ProphetNet LongT5 UMT5 SwitchTransformers"
OTHERS = (
    "CLIP CLIPText CLIPVision Siglip ViT DeiT Swin ConvNext ResNet Dinov2 Beit Segformer Wav2Vec2 Hubert Whisper "
    "SpeechT5 Blip Owlvit Detr"
)


def build(corpus: Corpus) -> None:
    """Write repositories of many architectures, of tokenizers and processors, and the files around them."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in [*" ".join(TEXT).split(), *SEQUENCES.split(), *OTHERS.split()]:
        with corpus.optional(f"repository {name}"), translated():
            model(corpus, transformers, name)
    for part in (tokens, processors, pipelines, adapters, sentences, pieces):
        with corpus.optional(f"repository {part.__name__}"), translated():
            part(corpus, transformers)
    for path, data in repository_texts.ordinary().items():
        write(corpus, f"repositories/{path}", data)


@contextmanager
def translated() -> Iterator[None]:
    """Raise ValueError for what the libraries raise of their own when a small model cannot be described."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except (StrictDataclassError, OSError) as error:
        raise ValueError(str(error).partition("\n")[0]) from error


def write(corpus: Corpus, name: str, data: bytes) -> None:
    """Write one file."""
    corpus.path(name).write_bytes(data)


def keep(corpus: Corpus, folder: Path) -> None:
    """Count the files that a library wrote into a folder of the corpus."""
    corpus.written += [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in corpus.written]


def shrink(config: Any) -> None:
    """Make a configuration describe a small model; what does not fit one is left alone."""
    sizes = {
        "hidden_size d_model n_embd embed_dim": 8,
        "projection_dim proj_dim": 8,
        "intermediate_size ffn_dim encoder_ffn_dim decoder_ffn_dim d_ff n_inner dff moe_intermediate_size": 16,
        "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_decoder_layers": 1,
        "num_attention_heads n_head num_heads encoder_attention_heads decoder_attention_heads num_key_value_heads": 2,
        "vocab_size": 64,
        "max_position_embeddings n_positions n_ctx": 32,
        "n_routed_experts num_experts num_local_experts": 4,
    }
    for names, value in sizes.items():
        for name in names.split():
            if isinstance(getattr(config, name, None), int):
                setattr(config, name, value)


def model(corpus: Corpus, transformers: Any, name: str) -> None:
    """Write the configuration of an architecture as its class has it, and a small model where that can be made."""
    kind = getattr(transformers, f"{name}Config")
    folder = corpus.path(f"repositories/{name.lower()}/config.json").parent
    kind().save_pretrained(folder)
    keep(corpus, folder)
    with corpus.optional(f"repository {name} with weights"), translated():
        small = {key: value for key, value in SMALL.items() if key in kind().to_dict()}
        config = kind(**small)
        shrink(config)
        made = transformers.AutoModel.from_config(config)
        if sum(parameter.numel() for parameter in made.parameters()) > 300_000:
            return
        folder = corpus.path(f"repositories/{name.lower()}-small/config.json").parent
        made.save_pretrained(folder, max_shard_size="40KB" if name in ("GPT2", "T5") else "5GB")
        keep(corpus, folder)


def tokens(corpus: Corpus, transformers: Any) -> None:
    """Write tokenizers of every kind, trained on a few lines, as fast and as plain vocabularies."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers

    lines = repository_texts.LINES
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    kinds = {
        "bpe": (models.BPE(), trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)),
        "wordpiece": (
            models.WordPiece(unk_token="[UNK]"),
            trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False),
        ),
        "unigram": (
            models.Unigram(),
            trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="[UNK]", show_progress=False),
        ),
        "wordlevel": (
            models.WordLevel(unk_token="[UNK]"),
            trainers.WordLevelTrainer(special_tokens=special, show_progress=False),
        ),
    }
    for index, (name, (kind, trainer)) in enumerate(kinds.items()):
        core = tokenizers.Tokenizer(kind)
        core.pre_tokenizer = pre_tokenizers.ByteLevel() if name == "bpe" else pre_tokenizers.Whitespace()
        if name == "bpe":
            core.decoder = decoders.ByteLevel()
        core.train_from_iterator(lines, trainer)
        core.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        fast = transformers.PreTrainedTokenizerFast(
            tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", model_max_length=512
        )
        fast.chat_template = list(repository_texts.TEMPLATES.values())[index]
        folder = corpus.path(f"repositories/tokenizer-{name}/tokenizer.json").parent
        fast.save_pretrained(folder)
        core.model.save(str(folder))
        fast.chat_template = {"default": fast.chat_template, "tool_use": repository_texts.TEMPLATES["hermes"]}
        fast.save_pretrained(folder / "several")
        fast.chat_template = repository_texts.TEMPLATES["qwen3"]
        fast.save_pretrained(folder / "inside", save_jinja_files=False)
        keep(corpus, folder)


def processors(corpus: Corpus, transformers: Any) -> None:
    """Write feature extractors, image processors, generation settings and the state of a run."""
    names = (
        "CLIPImageProcessor ViTImageProcessor SiglipImageProcessor DetrImageProcessor SamImageProcessor "
        "WhisperFeatureExtractor Wav2Vec2FeatureExtractor SpeechT5FeatureExtractor LlavaNextImageProcessor"
    )
    for name in names.split():
        with corpus.optional(f"processor {name}"):
            folder = corpus.path(f"repositories/processor-{name.lower()}/preprocessor_config.json").parent
            getattr(transformers, name)().save_pretrained(folder)
            keep(corpus, folder)
    folder = corpus.path("repositories/run/generation_config.json").parent
    transformers.GenerationConfig(max_new_tokens=5, do_sample=True, temperature=0.7).save_pretrained(folder)
    history = [{"loss": 0.5, "epoch": 1.0, "step": 10, "grad_norm": float("nan")}]
    transformers.TrainerState(epoch=1.0, log_history=history).save_to_json(str(folder / "trainer_state.json"))
    keep(corpus, folder)


def pipelines(corpus: Corpus, transformers: Any) -> None:
    """Write small pipelines of diffusers."""
    import diffusers

    schedulers = (
        "DDIM DDPM PNDM EulerDiscrete EulerAncestralDiscrete DPMSolverMultistep UniPCMultistep FlowMatchEulerDiscrete"
    )
    for name in schedulers.split():
        folder = corpus.path(f"repositories/scheduler-{name.lower()}/scheduler_config.json").parent
        getattr(diffusers, f"{name}Scheduler")().save_pretrained(folder)
        keep(corpus, folder)
    unet = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
    )
    folder = corpus.path("repositories/pipeline-ddpm/model_index.json").parent
    diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()).save_pretrained(folder)
    keep(corpus, folder)


def adapters(corpus: Corpus, transformers: Any) -> None:
    """Write adapters of PEFT."""
    import peft

    config = transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=64, n_positions=32)
    kinds = {
        "lora": peft.LoraConfig(r=2, target_modules=["c_attn"], base_model_name_or_path="openai-community/gpt2"),
        "ia3": peft.IA3Config(target_modules=["c_attn"], feedforward_modules=[]),
        "prompt": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
    }
    for name, settings in kinds.items():
        with corpus.optional(f"adapter {name}"):
            adapted = peft.get_peft_model(transformers.GPT2LMHeadModel(config), settings)
            folder = corpus.path(f"repositories/adapter-{name}/adapter_config.json").parent
            adapted.save_pretrained(folder)
            keep(corpus, folder)


def sentences(corpus: Corpus, transformers: Any) -> None:
    """Write a model of sentence-transformers with its modules."""
    import sentence_transformers
    from sentence_transformers import models

    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=400
    )
    folder = corpus.path("repositories/sentences/base/config.json").parent
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer = corpus.path("repositories/tokenizer-wordpiece/tokenizer.json").parent
    transformers.PreTrainedTokenizerFast.from_pretrained(tokenizer).save_pretrained(folder)
    parts = [models.Transformer(str(folder)), models.Pooling(8), models.Dense(8, 4), models.Normalize()]
    sentence_transformers.SentenceTransformer(modules=parts, device="cpu").save(str(folder.parent / "model"))
    keep(corpus, folder.parent)


def pieces(corpus: Corpus, transformers: Any) -> None:
    """Write models of sentencepiece."""
    import io

    import sentencepiece

    for kind in ("unigram", "bpe", "char", "word"):
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(repository_texts.LINES * 4),
            model_writer=out,
            model_type=kind,
            vocab_size=60,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        write(corpus, f"repositories/sentencepiece-{kind}/tokenizer.model", out.getvalue())
