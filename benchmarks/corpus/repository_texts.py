# ruff: noqa: E501, RUF001  # templates are written as they come, in one line, with the tokens that they have
"""Files of ordinary repositories that people write: cards, templates, settings, attributes, licences, lists, logs.

The chat templates have the shapes of those of the large families: how they loop, what they call, filter and test.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib

LINES = [
    "The quick brown fox jumps over the lazy dog.",
    "A model is a file that somebody else wrote; read it before you load it.",
    "Numbers such as 3, 14 and 159 are words as well, and (brackets) are too.",
    "def f(x): return x + 1  # programs are text",
    "Größe, élan, 東京, данные: not every letter is one of ASCII.",
]

TEMPLATES = {
    "chatml": (
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
        "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "llama2": (
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
        "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
        "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Roles have to alternate: user, assistant, user …') }}{% endif %}"
        "{% if loop.index0 == 0 and system_message != false %}"
        "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
        "{% else %}{% set content = message['content'] %}{% endif %}"
        "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "llama3": (
        "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
        '{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}'
        "{%- endif %}{{- bos_token }}{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}"
        "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content']|trim %}"
        '{%- set messages = messages[1:] %}{%- else %}{%- set system_message = "" %}{%- endif %}'
        '{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}{%- if tools is not none %}'
        '{%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}{%- endif %}{{- system_message }}'
        "{%- for message in messages %}"
        "{%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}"
        "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim }}"
        "{%- elif 'tool_calls' in message %}{%- if not message.tool_calls|length == 1 %}"
        '{{- raise_exception("One call at a time") }}{%- endif %}{%- set tool_call = message.tool_calls[0].function %}'
        "{%- for arg_name, arg_val in tool_call.arguments | items %}{{- arg_name + '=\"' + arg_val + '\"' }}"
        '{%- if not loop.last %}{{- ", " }}{%- endif %}{%- endfor %}{%- endif %}{%- endfor %}'
    ),
    "mistral": (
        '{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}'
        "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}"
        '{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}'
        "{%- set ns = namespace() %}{%- set ns.index = 0 %}{{- bos_token }}{%- for message in loop_messages %}"
        '{%- if message["role"] == "user" %}{%- if tools is not none and (message == user_messages[-1]) %}'
        '{{- "[AVAILABLE_TOOLS] [" }}{%- for tool in tools %}{%- set tool = tool.function %}'
        '{{- \'{"type": "function", "function": {\' }}'
        '{%- for key, val in tool.items() if key != "return" %}{%- if val is string %}'
        "{{- '\"' + key + '\": \"' + val + '\"' }}{%- else %}{{- '\"' + key + '\": ' + val|tojson }}{%- endif %}"
        '{%- endfor %}{%- endfor %}{%- endif %}{{- "[INST] " + message["content"] + "[/INST]" }}'
        "{%- elif message.tool_calls is defined and message.tool_calls is not none %}"
        "{%- set out = message.tool_calls[0].function|tojson %}{{- out[:-1] }}{%- set ns.index = ns.index + 1 %}"
        "{%- endif %}{%- endfor %}"
    ),
    "qwen3": (
        "{%- if tools %}{{- '<|im_start|>system\\n' }}{%- for tool in tools %}{{- \"\\n\" }}{{- tool | tojson }}{%- endfor %}"
        "{%- endif %}{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}"
        "{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}"
        '{%- if ns.multi_step_tool and message.role == "user" and message.content is string and not('
        "message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}"
        "{%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}{%- endif %}{%- endfor %}"
        "{%- for message in messages %}{%- set reasoning_content = '' %}{%- if '</think>' in message.content %}"
        "{%- set reasoning_content = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}"
        "{%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}{%- endif %}"
        "{{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') }}"
        "{%- if (loop.first and message.content) or (not loop.first) %}{{- '\\n' }}{%- endif %}{%- endfor %}"
        "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    ),
    "hermes": (
        "{%- macro json_to_python_type(json_spec) %}{%- set basic_type_map = {'string': 'str', 'number': 'float'} %}"
        "{%- if basic_type_map[json_spec.type] is defined %}{{- basic_type_map[json_spec.type] }}"
        "{%- elif json_spec.type == 'array' %}{{- 'list[' + json_to_python_type(json_spec|items) + ']' }}"
        "{%- elif json_spec.type is iterable %}{{- 'Union[' }}{%- for t in json_spec.type %}"
        "{{- json_to_python_type({'type': t}) }}{%- if not loop.last %}{{- ',' }}{%- endif %}{%- endfor %}{{- ']' }}"
        "{%- else %}{{- 'Any' }}{%- endif %}{%- endmacro %}{{- bos_token }}{%- for tool in tools %}"
        "{%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}"
        "{%- for param_name, param_fields in tool.parameters.properties|items %}"
        "{{- param_name + ': ' + json_to_python_type(param_fields) }}{%- endfor %}"
        "{{- tool.parameters.properties | tojson }}{%- endfor %}"
    ),
    "gemma": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
        "{% else %}{% set role = message['role'] %}{% endif %}"
        "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{%- if messages[0]['content'] is iterable -%}{%- for item in messages[0]['content'] -%}"
        "{%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}{%- endif -%}{%- endfor -%}{%- endif -%}"
    ),
    "phi3": (
        "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}"
        "{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}"
        "{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}"
        "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
    ),
    "zephyr": (
        "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
        "{{ '<|user|>\n' + message['content'] + eos_token }}\n{% endif %}\n"
        "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
    ),
    "deepseek": (
        "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
        "{% set ns = namespace(is_first=false, is_tool=false, system_prompt='', is_first_sp=true) %}"
        "{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}"
        "{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}"
        "{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}"
        "{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}"
        "{%- if message['role'] == 'assistant' and 'tool_calls' in message %}"
        "{%- for tool in message['tool_calls'] %}{{'<｜tool▁call▁begin｜>' + tool['type'] + tool['function']['name'] + "
        "'\\n' + '```json' + '\\n' + tool['function']['arguments'] + '\\n' + '```'}}{%- endfor %}{%- endif %}"
        "{%- endfor -%}"
    ),
    "command": (
        "{{ bos_token }}{%- macro document_turn(documents) -%}\n{% for doc in documents %}{% if not loop.first %},\n"
        "{% endif %}{\"{{ loop.index0 }}\": {% for key, value in doc.items() %}{{ key }}: {{ value|replace('\\n', ' ') }}"
        "{% endfor %}}{% endfor %}{%- endmacro %}{{ document_turn(documents) }}"
        "{% if safety_mode|upper == 'STRICT' -%}strict{%- endif %}{%- for message in messages %}"
        "{%- if message.role|lower == 'user' %}{{ message.content }}{%- endif %}{%- endfor %}"
    ),
    "gpt_oss": (
        "{%- macro render_typescript_type(param_spec, required_params, is_nullable=false) -%}"
        "{%- if param_spec.type == 'array' -%}{%- if param_spec['items'] -%}"
        "{{- render_typescript_type(param_spec['items'], required_params) + '[]' -}}{%- endif -%}"
        "{%- elif param_spec.type is defined and param_spec.type is iterable and param_spec.type is not string "
        "and param_spec.type is not mapping and param_spec.type[0] is defined -%}{{- param_spec.type | join(' | ') -}}"
        "{%- elif param_spec.enum -%}{{- '\"' + param_spec.enum|join('\" | \"') + '\"' -}}{%- endif -%}{%- endmacro -%}"
        "{%- set model_identity = model_identity or 'a model' -%}"
        "{{- '<|start|>system<|message|>' + model_identity + '\\n' + strftime_now('%Y-%m-%d') -}}"
        "{%- for message in loop_messages -%}{%- set ns = namespace(last=none) -%}{%- if 'thinking' in message -%}"
        "{{- message.thinking -}}{%- endif -%}{%- endfor -%}{%- generation -%}{{- messages -}}{%- endgeneration -%}"
    ),
    "qwen_coder": (
        "{% macro render_extra_keys(json_dict, handled_keys) %}{%- if json_dict is mapping %}"
        "{%- for json_key in json_dict if json_key not in handled_keys %}"
        "{%- if json_dict[json_key] is mapping or (json_dict[json_key] is sequence and json_dict[json_key] is not string) %}"
        "{{- '\\n<' ~ json_key ~ '>' ~ (json_dict[json_key] | tojson | safe) ~ '</' ~ json_key ~ '>' }}"
        "{%- else %}{{-'\\n<' ~ json_key ~ '>' ~ (json_dict[json_key] | string) ~ '</' ~ json_key ~ '>' }}{%- endif %}"
        "{%- endfor %}{%- endif %}{% endmacro %}{%- for tool in tools %}"
        "{%- set handled_keys = ['name', 'description', 'parameters'] %}{{- render_extra_keys(tool, handled_keys) }}"
        "{%- endfor %}"
    ),
    "alpaca": (
        "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] | trim + '\n\n' }}{% endif %}"
        "{% for message in messages %}{{ '### ' + message['role'] | capitalize + ':\n' + message['content'] }}"
        "{{ '\n\n' if not loop.last }}{% endfor %}"
    ),
    "granite": (
        "{%- if documents %}{%- for document in documents %}{{- '\\nDocument ' + (document['doc_id'] | string) + '\\n' }}"
        "{%- endfor %}{%- endif %}{%- if tools %}{{- tools | tojson(indent=4) }}{%- endif %}{%- for message in messages %}"
        "{%- if message['role'] in ['user', 'system'] %}{{- '<|start_of_role|>' + message['role'] }}{%- endif %}"
        "{%- if loop.last and add_generation_prompt %}{{- '<|start_of_role|>assistant' }}"
        "{%- if controls %}{{- ' ' + controls | tojson() }}{%- endif %}{%- endif %}{%- endfor %}"
    ),
    "smollm": (
        "{#- The mode of thinking comes from the system's message. -#}\n"
        "{%- if enable_thinking is not defined -%}{%- set enable_thinking = true -%}{%- endif -%}"
        "{%- set today = strftime_now('%d %B %Y') -%}{%- if messages[0].role == \"system\" -%}"
        '{%- set system_message = messages[0].content -%}{%- if "/no_think" in system_message -%}'
        '{%- set reasoning_mode = "/no_think" -%}{%- endif -%}'
        '{%- set custom_instructions = system_message.replace("/no_think", "").replace("/think", "").rstrip() -%}'
        "{%- endif -%}{{- custom_instructions ~ today -}}{%- if xml_tools or python_tools -%}"
        '{%- set ns = namespace(xml_tool_string="") -%}{%- for tool in xml_tools[:] -%}'
        '{%- set ns.xml_tool_string = ns.xml_tool_string ~ (tool | string) ~ "\\n" -%}{%- endfor -%}{%- endif -%}'
    ),
}

CARD = """---
license: mit
language:
- en
- de
tags:
- text-classification
- pytorch
datasets:
- imdb
metrics:
- accuracy
- f1
pipeline_tag: text-classification
library_name: transformers
widget:
- text: "def greet(name):"
  example_title: Program
- text: >
    The capital of [MASK] is
    Paris.
model-index:
- name: example
  results:
  - task:
      type: text-classification
      name: Text Classification
    dataset: {name: imdb, type: imdb, config: plain_text, split: test, args: plain_text}
    metrics:
    - {type: accuracy, value: 0.93, name: Accuracy, verified: true}
---

<!-- This model card has been generated automatically. -->

# example-model

This model is a fine-tuned version of [bert-base](https://huggingface.co/bert-base-uncased) on the imdb dataset.

## How to use

```python
import torch
from transformers import pipeline

class Reader:
    pass

def main():
    print(pipeline("text-classification", model="example")("Hello!"))

if __name__ == "__main__":
    main()
```

```bash
pip install transformers
export HF_TOKEN=abc
curl https://example.org/x | sh
```

### Training hyperparameters

- learning_rate: 2e-05
- train_batch_size: 16
- optimizer: Adam with betas=(0.9,0.999) and epsilon=1e-08

| Epoch | Loss |
|:-----:|:----:|
| 1.0   | 0.25 |

$$\\frac{{a}}{{b}} = \\mathbf{{x}}_{{i}}$$

```bibtex
@inproceedings{devlin, title = {{BERT}: Pre-training of Deep Transformers}, author={A and B}, year = {{2019}}}
```
"""
PLAIN_CARD = (
    "# Example\n\nThis is a model that does one thing.\n\n```python\nimport torch\nmodel = torch.load('x')\n```\n"
)
HTML_CARD = (
    '<div align="center">\n  <img src="https://example.org/logo.png" width="60%" alt="Logo" />\n</div>\n\n# Example\n'
)
ATTRIBUTES = (
    "*.7z filter=lfs diff=lfs merge=lfs -text\n*.bin filter=lfs diff=lfs merge=lfs -text\n"
    "*.safetensors filter=lfs diff=lfs merge=lfs -text\nsaved_model/**/* filter=lfs diff=lfs merge=lfs -text\n"
    "*tfevents* filter=lfs diff=lfs merge=lfs -text\ntokenizer.json filter=lfs diff=lfs merge=lfs -text\n"
)
CONDA = """channels:
- conda-forge
dependencies:
- python=3.11.4
- pip<=23.2
- pip:
  - mlflow==2.9.2
  - scikit-learn==1.3.2
name: mlflow-env
"""
MLMODEL = """artifact_path: model
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    model_path: model.pkl
    predict_fn: predict
    python_version: 3.11.4
  sklearn:
    code: null
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.3.2
mlflow_version: 2.9.2
model_size_bytes: 1234
model_uuid: 0123456789abcdef0123456789abcdef
run_id: fedcba9876543210fedcba9876543210
signature:
  inputs: '[{"type": "double", "required": true, "name": "x"}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
utc_time_created: '2024-01-01 00:00:00.000000'
"""
TRAINING = """# The settings of the run
base_model: example/base
load_in_8bit: false
datasets:
  - path: example/data
    type: alpaca
sequence_len: 4096
lora_target_modules: [q_proj, v_proj]
learning_rate: 0.0002
special_tokens:
  pad_token: "<|pad|>"
defaults: &defaults
  steps: 10
other:
  <<: *defaults
"""
LATENT = """model:
  base_learning_rate: 1.0e-04
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    first_stage_key: "jpg"
    unet_config:
      target: ldm.modules.diffusionmodules.openaimodel.UNetModel
      params: {image_size: 32, in_channels: 4}
    cond_stage_config:
      target: ldm.modules.encoders.modules.FrozenCLIPEmbedder
"""
VOCABULARY = "\n".join(
    [
        *("[PAD]", *(f"[unused{n}]" for n in range(20)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        *"!\"#$%&'()*+,-./0123456789:;<=>?@[\\]^_`",
        *("a", "the", "##ing", "import", "os", "東", "##京"),
    ]
)
LABELS = {"id2label": {"0": "NEGATIVE", "1": "POSITIVE"}, "label2id": {"NEGATIVE": 0, "POSITIVE": 1}}
KERAS = {
    "module": "keras",
    "class_name": "Sequential",
    "config": {
        "name": "sequential",
        "dtype": {
            "module": "keras",
            "class_name": "DTypePolicy",
            "config": {"name": "float32"},
            "registered_name": None,
        },
        "layers": [
            {
                "module": "keras.layers",
                "class_name": "InputLayer",
                "config": {"batch_shape": [None, 4]},
                "registered_name": None,
            },
            {
                "module": "keras.layers",
                "class_name": "Dense",
                "config": {
                    "units": 2,
                    "activation": "relu",
                    "kernel_initializer": {
                        "module": "keras.initializers",
                        "class_name": "GlorotUniform",
                        "config": {"seed": None},
                        "registered_name": None,
                    },
                },
                "registered_name": None,
                "build_config": {"input_shape": [None, 4]},
            },
        ],
    },
    "registered_name": None,
    "compile_config": {"optimizer": "adam", "loss": "mse"},
}
TIMM = {
    "architecture": "resnet10t",
    "num_classes": 1000,
    "pretrained_cfg": {
        "tag": "c3_in1k",
        "custom_load": False,
        "input_size": [3, 176, 176],
        "mean": [0.485, 0.456, 0.406],
    },
}
QUANTISED = {
    "gptq": {"bits": 4, "group_size": 128, "quant_method": "gptq", "desc_act": True},
    "awq": {"bits": 4, "quant_method": "awq", "version": "gemm", "modules_to_not_convert": ["model.vision.encoder"]},
    "fp8": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]},
    "bnb": {"load_in_4bit": True, "quant_method": "bitsandbytes", "bnb_4bit_quant_type": "nf4"},
    "ct": {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int"}}},
        "ignore": ["lm_head", "re:.*mlp.gate$"],
        "format": "pack-quantized",
    },
}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.30.0",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "image_encoder": [None, None],
    "requires_safety_checker": True,
    "unet": ["diffusers", "UNet2DConditionModel"],
}
TRAINER = {
    "zero_optimization": {"stage": 2},
    "fp16": {"enabled": "auto"},
    "optimizer": {"type": "AdamW", "params": {"lr": "auto"}},
}


def ordinary() -> dict[str, bytes]:
    """Return the bytes of each file by its path."""
    trees = {
        "quantised/config.json": {"model_type": "llama", "quantization_config": QUANTISED["ct"]},
        "labels/config.json": {"model_type": "distilbert", **LABELS},
        "keras/config.json": KERAS,
        "keras/metadata.json": {"keras_version": "3.5.0", "date_saved": "2024-09-01@00:00:00"},
        "timm/config.json": TIMM,
        "sentence/modules.json": MODULES,
        "sentence/2_Dense/config.json": {
            "in_features": 8,
            "out_features": 4,
            "activation_function": "torch.nn.modules.activation.Tanh",
        },
        "sentence/config_sentence_transformers.json": {
            "__version__": {"sentence_transformers": "3.0.0", "transformers": "4.41.0", "pytorch": "2.3.0"},
            "prompts": {"query": "query: "},
            "similarity_fn_name": "cosine",
        },
        "sentence/sentence_bert_config.json": {"max_seq_length": 512, "do_lower_case": False},
        "diffusion/model_index.json": PIPELINE,
        "run/ds_config.json": TRAINER,
        "run/all_results.json": {"epoch": 3.0, "eval_loss": float("nan"), "eval_samples": 10},
        "dataset/dataset_infos.json": {
            "default": {"features": {"text": {"dtype": "string", "_type": "Value"}}, "builder_name": "csv"}
        },
        "torchao/config.json": {
            "quantization_config": {
                "quant_method": "torchao",
                "quant_type": {"default": {"_type": "Int8WeightOnlyConfig", "_version": 1, "_data": {}}},
            }
        },
        "shards/model.safetensors.index.json": {
            "metadata": {"total_size": 10},
            "weight_map": {"a.weight": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
        },
        "tokens/special_tokens_map.json": {"bos_token": {"content": "<s>", "lstrip": False}, "unk_token": "<unk>"},
        "tokens/added_tokens.json": {"<|im_start|>": 1, "<|im_end|>": 2},
        "tokens/vocab.json": {"{{": 0, "{%": 1, "auto_map": 2, "import": 3, "__class__": 4, "os.system": 5, "!": 6},
        "run/scores.json": [{"name": "a", "score": 0.5}, {"name": "b", "score": 1}],
    }
    trees |= {f"quantised-{name}/config.json": {"quantization_config": value} for name, value in QUANTISED.items()}
    trees |= {f"template-{name}/tokenizer_config.json": {"chat_template": text} for name, text in TEMPLATES.items()}
    texts = {
        "card/README.md": CARD,
        "card-plain/README.md": PLAIN_CARD,
        "card-html/README.md": HTML_CARD,
        "card/.gitattributes": ATTRIBUTES,
        "mlflow/conda.yaml": CONDA,
        "mlflow/MLmodel": MLMODEL,
        "mlflow/python_env.yaml": "python: 3.11.4\nbuild_dependencies:\n- pip==23.2\ndependencies:\n- -r requirements.txt\n",
        "mlflow/requirements.txt": "mlflow==2.9.2\nscikit-learn==1.3.2\nnumpy>=1.24,<2\n",
        "run/config.yaml": TRAINING,
        "diffusion/v1-inference.yaml": LATENT,
        "tokens/vocab.txt": VOCABULARY,
        "tokens/merges.txt": "#version: 0.2\nĠ t\nĠ a\nh e\nĠt he\ni n\np (\n( )\n",
        "tokens/example.tiktoken": "".join(f"{base64.b64encode(bytes([n])).decode()} {n}\n" for n in range(256)),
        "run/log.csv": "epoch,loss,accuracy\n1,0.5,0.9\n2,0.25,0.95\n",
        "run/log.tsv": "step\tloss\n10\t0.5\n20\t0.25\n",
        "run/log.jsonl": "".join(json.dumps({"step": n, "loss": 1 / (n + 1)}) + "\n" for n in range(10)),
    }
    texts |= {f"template-{name}/chat_template.jinja": text for name, text in TEMPLATES.items()}
    found = {name: json.dumps(tree, indent=2, ensure_ascii=False).encode() for name, tree in trees.items()}
    found |= {name: text.encode() for name, text in texts.items()}
    return found | {"card/picture.png": picture()}


def picture() -> bytes:
    """Return a small picture."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0),
        b"tEXt": b"Software\0example",
        b"IDAT": zlib.compress(b"\0\1\2\0\3\4"),
        b"IEND": b"",
    }
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
