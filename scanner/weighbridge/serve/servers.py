"""What is known of programs that serve models: options by which a model would run code, or other files be loaded.

A command that is not here runs as well, with everything else that `weighbridge run` does.

Sources: vLLM, vllm/engine/arg_utils.py, 0.6 to 0.12; SGLang, sglang/srt/server_args.py, 0.5; Text Generation Inference,
launcher/src/main.rs, 3.3; Triton, src/command_line_parser.cc, 25.10; llama.cpp, common/arg.cpp, b7000; MLflow,
mlflow/models/cli.py, 3.6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from weighbridge.records import dataclass, field

# What hubs and frameworks are told, whatever the command: fetch nothing, unpickle nothing that is no data.
ENVIRONMENT: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
}
# What would undo it, let a model run code, or is a secret that a program which fetches nothing has no use for.
REMOVED: Final = frozenset(
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD ORT_LOAD_CONFIG_FROM_MODEL TRUST_REMOTE_CODE VLLM_ALLOW_INSECURE_SERIALIZATION "
    "HF_TOKEN HUGGING_FACE_HUB_TOKEN HUGGINGFACE_HUB_TOKEN WEIGHBRIDGE_KEY_PASSWORD "
    "LLAMA_ARG_HF_REPO LLAMA_ARG_HF_FILE LLAMA_ARG_HF_REPO_V LLAMA_ARG_HF_FILE_V LLAMA_ARG_MODEL_URL "
    "LLAMA_ARG_MMPROJ_URL LLAMA_ARG_DOCKER_REPO".split()
)


class Kind(Enum):
    """What is wrong with an option."""

    NEVER = auto()  # whatever its value is
    VALUES = auto()  # with some values
    OUTSIDE = auto()  # when it names anything but an approved file or folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What an option may not say, and why; `values` belong to VALUES, `many` options take several values."""

    kind: Kind
    reason: str
    values: frozenset[str] = frozenset()
    many: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A program: the names of its command, the modules that Python runs as it, and the rules for its options.

    `options` are in their long form with dashes; `short` maps other spellings to them. `abbreviates` programs take the
    beginning of an option for it, and `glues` those that take the value of a short one without a space. The word after
    `before_model` is as good as the option `--model`. `required` are options that have to be there with this value when
    all of `when` are among the words.
    """

    name: str
    commands: str
    modules: tuple[str, ...] = ()
    options: Mapping[str, Rule]
    short: Mapping[str, str] = field(default_factory=dict)
    abbreviates: bool = False
    glues: bool = False
    before_model: str = ""
    required: Mapping[str, str] = field(default_factory=dict)
    when: tuple[str, ...] = ()

    def is_command(self, word: str) -> bool:
        """Tell whether a word of a command line starts this program."""
        return re.fullmatch(self.commands, word.replace("\\", "/").rpartition("/")[2].removesuffix(".exe")) is not None


_CODE: Final = Rule(kind=Kind.NEVER, reason="it runs code that the model brings")
_FETCHES: Final = Rule(kind=Kind.NEVER, reason="it fetches a model that was not approved")
_OTHER: Final = Rule(kind=Kind.OUTSIDE, reason="it names what is not among the approved files")
_OTHERS: Final = Rule(kind=Kind.OUTSIDE, reason="it names what is not among the approved files", many=True)
_HIDDEN: Final = Rule(kind=Kind.NEVER, reason="its file can set any other option")
_PICKLED: Final = Rule(
    kind=Kind.VALUES, reason="it loads pickled weights", values=frozenset({"pt", "npcache", "tensorizer"})
)

SERVERS: Final = (
    Server(
        name="vLLM",
        commands="vllm",
        modules=("vllm",),
        abbreviates=True,
        before_model="serve",
        options={
            "--trust-remote-code": _CODE,
            "--load-format": _PICKLED,
            "--model": _OTHER,
            "--tokenizer": _OTHER,
            "--hf-config-path": _OTHER,
            "--lora-modules": _OTHERS,
            "--speculative-config": _OTHER,
            "--config": _HIDDEN,
        },
    ),
    Server(
        name="SGLang",
        commands="sglang",
        modules=("sglang",),
        abbreviates=True,
        options={
            "--trust-remote-code": _CODE,
            "--load-format": _PICKLED,
            "--model-path": _OTHER,
            "--tokenizer-path": _OTHER,
            "--lora-paths": _OTHERS,
            "--speculative-draft-model-path": _OTHER,
            "--config": _HIDDEN,
        },
    ),
    Server(
        name="Text Generation Inference",
        commands="text-generation-(?:launcher|server|router)",
        options={
            "--trust-remote-code": _CODE,
            "--model-id": _OTHER,
            "--tokenizer-config-path": _OTHER,
            "--lora-adapters": _OTHER,
        },
    ),
    Server(
        name="Triton",
        commands="tritonserver",
        options={"--model-repository": _OTHERS, "--model-store": _OTHER},
    ),
    Server(
        name="llama.cpp",
        commands="llama|llama-(?:server|cli|run|simple|bench|batched|completion|embedding|mtmd-cli|perplexity|tts|imatrix)",
        options={
            "--model": _OTHER,
            "--mmproj": _OTHER,
            "--lora": _OTHER,
            "--lora-scaled": _OTHER,
            "--control-vector": _OTHER,
            "--control-vector-scaled": _OTHER,
            "--model-draft": _OTHER,
            "--model-vocoder": _OTHER,
            "--models-dir": _OTHER,
            "--models-preset": _OTHER,
            "--hf-repo": _FETCHES,
            "--hf-repo-draft": _FETCHES,
            "--hf-repo-v": _FETCHES,
            "--model-url": _FETCHES,
            "--mmproj-url": _FETCHES,
            "--docker-repo": _FETCHES,
        },
        short={
            "-m": "--model",
            "-mm": "--mmproj",
            "-mmu": "--mmproj-url",
            "-mu": "--model-url",
            "-md": "--model-draft",
            "-mv": "--model-vocoder",
            "-hf": "--hf-repo",
            "-hfr": "--hf-repo",
            "-hfd": "--hf-repo-draft",
            "-hfrd": "--hf-repo-draft",
            "-hfv": "--hf-repo-v",
            "-hfrv": "--hf-repo-v",
            "-dr": "--docker-repo",
        },
    ),
    Server(
        name="MLflow",
        commands="mlflow",
        modules=("mlflow",),
        options={"--model-uri": _OTHER},
        short={"-m": "--model-uri"},
        glues=True,
        required={"--env-manager": "local"},  # the others install the packages that the model lists
        when=("models",),
    ),
)
