"""What a configuration makes a loader do: values that name code, flags that let it run, templates, programs in texts.

The keys are those of the loaders that read such files (transformers, diffusers, sentence-transformers, PEFT, Keras,
skops, MLflow, Hydra, LangChain, ONNX Runtime GenAI …), and in general any key whose words say that its value is code.
Whether a value is one that every library has is for the vocabulary to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Anomaly, Fact, Gap, Native, Pointer
from weighbridge.formats import requirement
from weighbridge.formats.base import Context, gap
from weighbridge.formats.json import literals
from weighbridge.location import Location
from weighbridge.reader import Reader

MAX_DEPTH: Final = 128  # the limit of other readers, such as Rust's
SHOWN: Final = 200  # characters of a key's path and of a target
# Keys whose every text names code in this repository or another one, or code of any package.
_CODE: Final = frozenset(
    "auto_map custom_pipeline custom_pipelines custom_generate custom_objects loader_module parent_library "
    "megatron_core _target_ __loader__ custom_ops_library custom_ops_libraries transformers_weights quant_method _type "
    "python_model entry_points authorized_imports model_wrapper expr_str guards_code code_paths model_code_path "
    "skops_trusted_types custom_imports imports user_dir backend_path trt_extra_plugin_lib_paths".split()
)
# Keys whose text names another model that is fetched.
_MODELS: Final = frozenset(
    "base_model_name_or_path pretrained_model_name_or_path vision_tower mm_vision_tower audio_tower "
    "speech_tower".split()
)
# Keys that name another model when their text is the name of a repository, and what has several such.
_REPOSITORIES: Final = frozenset("backbone repo repo_or_path assistant_model adapters".split())
# Flags that let code run, and the value that does.
_PACKAGES: Final = frozenset(
    "requirements dependencies pip build_dependencies install_requires pip_requirements".split()
)
_FLAGS: Final = {
    "trust_remote_code": True,
    "allow_pickle": True,
    "allow_dangerous_deserialization": True,
    "enable_unsafe_deserialization": True,
    "use_unsafe_pickle": True,
    "custom_load": True,
    "safe_mode": False,
    "weights_only": False,
}
_FALSE: Final = ("false", "no", "off", "0", "none", "null", "")
# Words of keys whose value is code when it looks like a name to import; and those of lists of a model's own parts.
_NAMING: Final = frozenset(
    "class cls classname module function fn func callable callback factory loader target handler hook plugin entry "
    "entrypoint script import imports library lib dll runner activation type impl implementation constructor "
    "processor collator initializer object".split()
)
_PARTS: Final = frozenset("modules parameters params layers weights tensors names keys tokens".split())
_TABLED: Final = frozenset("type class callback hook plugin loader factory handler target".split())
_COMMANDS: Final = frozenset("command cmd shell scripts exec postcreatecommand entrypoint".split())
_SOURCES: Final = frozenset("code source src script program function python forward".split())
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_DOTTED: Final = re.compile(r"[A-Za-z_]\w*(?:[.:][A-Za-z_]\w*)+", re.ASCII)
_DIGEST: Final = re.compile(r"(?:sha|md|blake)\w{1,7}:[0-9a-f]{32,128}", re.ASCII)  # what records of bytes have
_FILE: Final = re.compile(r"[\w./\\:@~+-]{1,400}\.(?:pyc?|pyd|so|dll|dylib|sh|exe|bat|ps1|jar)(?:[.:]\w+)?\Z", re.ASCII)
_PICKLED: Final = (".pkl", ".pickle", ".bin", ".pt", ".pth", ".ckpt", ".joblib", ".dill")
# Modules that do anything, whatever key names what is in them; and what has an interpolation run code.
_ANYTHING: Final = re.compile(
    r"(?:os|posix|nt|subprocess|builtins|__builtin__|importlib|runpy|pty|shutil|ctypes|pickle|dill|cloudpickle|marshal)"
    r"[.:]\w[\w.]*\Z"
)
# Texts that say by themselves what they are, by the type of pointer.
_FORMS: Final = {
    "file": _FILE,
    "name": _ANYTHING,
    "interpolation": re.compile(r".*\$\{(?:eval|python|py|import|cmd|exec|shell)[:(]", re.DOTALL),
    "hub": re.compile(r"(?:hf[-_]hub|local-dir):\S+\Z"),
}
_DATA: Final = (
    ".json",
    ".safetensors",
    ".txt",
    ".model",
    ".bin",
    ".pt",
    ".onnx",
    ".jinja",
    ".yaml",
    ".md",
    ".npz",
    ".h5",
)
_NOTEBOOK: Final = "a notebook"
# Keys of documents that are programs of another kind.
_PROGRAMS: Final = {
    ("nbformat", "cells"): _NOTEBOOK,
    ("modelTopology",): "a model of TensorFlow.js",
    ("graph_module",): "a program that torch exported",
}
# What stable-baselines3 keeps pickled, and what it says beside it for people: its loader looks at the pickle alone.
_PICKLE: Final = ":serialized:"
_DESCRIBING: Final = (_PICKLE, ":type:", "__module__", "__doc__")
# Nodes of skops that make a plain value of their content, or name its type, and call nothing.
_PLAIN_NODES: Final = frozenset("JsonNode DictNode ListNode TupleNode SetNode SliceNode BytesNode TypeNode".split())
_PLAIN_TYPES: Final = frozenset("str int float bool complex NoneType list tuple dict set frozenset slice bytes".split())
_GRAPHS: Final = ("node", "nodes", "operators", "ops")
_OPERATORS: Final = ("op", "op_type", "opType", "opcode", "opcode_index", "op_name")
# Keys of a model's configuration whose lists name the kinds of its own layers.
_TYPES: Final = ("_types", "_type")
_REPOSITORY: Final = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_LEAVES: Final = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)|^[A-Za-z]:")
_PLAIN_NAME: Final = re.compile(r"[^/\\:\0]+")
# Vocabularies are never rendered, and have a million texts of all kinds.
_TABLES: Final = frozenset(("vocab", "merges"))


class _Node(NamedTuple):
    """A value of the document and the path that leads to it."""

    path: str
    key: str
    value: Any
    depth: int
    naming: bool = False  # in an object whose key says that its values are names to import


def place(reader: Reader, data: bytes, key: str) -> Location:
    """Return where a key is first written, as near as can be told; the start when it is written in another way."""
    return reader.at(max(0, data.find(json.dumps(key, ensure_ascii=False).encode("utf-8", "surrogatepass"))))


def observe(tree: Any, reader: Reader, data: bytes, context: Context) -> Iterator[Fact]:
    """Yield the facts of a document that was read from `data`; raise LimitError when it is nested too deep."""
    shape = _graph(tree)
    if shape:
        yield Gap(location=reader.origin, reason=f"{shape}, which is not understood", size=reader.size)
    if shape == _NOTEBOOK:
        return  # every cell is a program that nobody runs who loads the model
    stack = [_Node("", "", tree, 0)]
    while stack:
        node = stack.pop()
        context.budget.check_time(reader.origin)
        if node.depth > MAX_DEPTH:
            raise LimitError(reader.origin, f"nested deeper than {MAX_DEPTH}")
        where = _Where(reader, data, node.key)
        if isinstance(node.value, str):
            yield from _text(node, where, context)
        elif isinstance(node.value, dict):
            for type_, key, target in _object(node.value):
                yield where.pointer(type_, f"{node.path}.{key}".strip("."), target, key)
            yield from _members(node, where, stack, context)
        elif isinstance(node.value, list):
            stack.extend(
                _Node(f"{node.path}[{index}]", node.key, value, node.depth + 1)
                for index, value in enumerate(node.value)
                if isinstance(value, (str, dict, list))
            )


class _Where:
    """Where a value is, to be worked out for the few that become facts."""

    def __init__(self, reader: Reader, data: bytes, key: str) -> None:
        self.reader, self.data, self.key = reader, data, key

    @property
    def location(self) -> Location:
        """The place of the key."""
        return place(self.reader, self.data, self.key) if self.key else self.reader.origin

    def pointer(self, type_: str, path: str, target: str, key: str = "") -> Pointer:
        """Return the fact that a key names something."""
        location = place(self.reader, self.data, key) if key else self.location
        return Pointer(location=location, type=type_, key=path[:SHOWN], target=target[:SHOWN])


def _graph(tree: Any) -> str:
    """Return what a document is when it is a program of another kind: a notebook, or a graph of operators."""
    if not isinstance(tree, dict):
        return ""
    for keys, what in _PROGRAMS.items():
        if all(key in tree for key in keys):
            return what
    for inner in (tree, *(value for value in tree.values() if isinstance(value, dict))):
        for name in _GRAPHS:
            nodes = inner.get(name)
            if isinstance(nodes, list) and any(
                isinstance(node, dict) and any(operator in node for operator in _OPERATORS) for node in nodes
            ):
                return "a graph of operators in JSON"
    return ""


def _members(node: _Node, where: _Where, stack: list[_Node], context: Context) -> Iterator[Fact]:
    """Yield what the keys of an object say, and leave its values to be looked at."""
    pickled = isinstance(node.value.get(_PICKLE), str)
    for key, value in node.value.items():
        path = f"{node.path}.{key}" if node.path else key
        name = key.lower()
        if pickled and key == _PICKLE:
            yield from literals.serialized(value, where.location, where.reader.origin.inside(path[:SHOWN]), context)
        if pickled and key in _DESCRIBING:
            continue
        for type_, target in _named(name, value):
            yield where.pointer(type_, path, target, key)
        if name == "weight_map" and isinstance(value, dict):
            yield from _weights(value, where, key)
        elif isinstance(value, (str, dict, list)) and name not in _CODE and not (name in _TABLES and _is_flat(value)):
            naming = _is_table(key) if isinstance(value, dict) else node.naming
            stack.append(_Node(path[-SHOWN:], key, value, node.depth + 1, naming))


def _is_table(key: str) -> bool:
    """Tell whether a key says of an object that its values name what is imported, whatever their own keys are."""
    return bool(_words(key) & _TABLED)


def _named(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield type and target of everything that a key names, by its name in small letters."""
    if name in _CODE:
        yield from ((name, target) for target in _texts(value))
    elif name.endswith(("_implementation", "_implementation_internal")):  # some versions keep the second as it is
        yield from (("implementation", target) for target in _texts(value))
    elif isinstance(value, (dict, list)) and _COMMANDS.intersection(_WORD.findall(name)):
        yield from (("command", target) for target in _texts(value))
    elif name in _PACKAGES and isinstance(value, list):
        yield from (("requirement", requirement.target(one)) for one in value if isinstance(one, str))
    elif name.endswith("_file") and isinstance(value, str) and value.endswith(_PICKLED):
        yield "pickled", value
    elif name == "compile_config" and isinstance(value, dict) and value.get("options"):
        yield "compile_options", ", ".join(map(str, value["options"]))
    elif (name in _MODELS or _is_model(name)) and isinstance(value, str) and value:
        yield name, value
    elif name in _REPOSITORIES:
        yield from (("repository", target) for target in _texts(value) if _REPOSITORY.fullmatch(target))
    elif name in _FLAGS and _is_set(value, when=_FLAGS[name]):
        yield name, str(value).lower()


def _is_model(name: str) -> bool:
    """Tell whether a key names a model to fetch; with nothing before it, it only tells where this one came from."""
    return name.endswith("_name_or_path") and not name.startswith("_")


def _is_set(value: object, *, when: bool) -> bool:
    """Tell whether a flag is what lets code run; any value is true to Python that is not empty or zero."""
    if value is None:
        return False
    return (bool(value) and not (isinstance(value, str) and value.strip().lower() in _FALSE)) is when


def _weights(table: dict[str, Any], where: _Where, key: str) -> Iterator[Fact]:
    """Yield every file of an index of weights that is not beside it."""
    for target in sorted({str(value) for value in table.values()}):
        if not _PLAIN_NAME.fullmatch(target) or target in (".", ".."):
            detail = f"the index of weights names {target[:SHOWN]!r}, which is not a file beside it"
            yield Anomaly(location=place(where.reader, where.data, key), code="config-weight-path", detail=detail)


def _is_flat(value: object) -> bool:
    """Tell whether a table of tokens holds nothing but tokens and numbers."""
    if isinstance(value, dict):
        return all(type(one) in (int, float) for one in value.values())
    if not isinstance(value, list):
        return False
    return all(
        type(one) is str or (type(one) is list and all(type(part) in (str, int, float) for part in one))
        for one in value
    )


def _texts(value: object) -> Iterator[str]:
    """Yield every text in a value of a key that names code, as deep as such keys go."""
    level: list[object] = [value]
    for _ in range(4):
        following: list[object] = []
        for one in level:
            if isinstance(one, str):
                if one:
                    yield one
            elif isinstance(one, dict):
                following.extend(one.values())
            elif isinstance(one, list):
                following.extend(one)
        level = following
    if level:
        yield "nested deeper than any loader reads it"


def _object(value: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield type, key and target of what several keys of an object say together."""
    for told in (_skops, _keras, _langchain, _pipeline, _flavour, _module):
        yield from told(value)


def _skops(value: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    if isinstance(value.get("__class__"), str):
        module = value.get("__module__")
        node = str(value.get("__loader__"))
        if module == "builtins" and value["__class__"] in _PLAIN_TYPES and node in _PLAIN_NODES:
            return
        yield "class", "__class__", f"{module}.{value['__class__']}" if isinstance(module, str) else value["__class__"]


def _keras(value: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    name, module, registered = value.get("class_name"), value.get("module"), value.get("registered_name")
    if not isinstance(name, str):
        if isinstance(module, str) and _DOTTED.fullmatch(module):
            yield "module", "module", module
        return
    yield "class_name", "class_name", f"{module}.{name}" if isinstance(module, str) and module else name
    if isinstance(registered, str) and registered not in ("", name):
        yield "registered_name", "registered_name", registered


def _flavour(value: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the folder of code that MLflow puts on Python's path before it imports the module that loads."""
    if "loader_module" in value and isinstance(value.get("code"), str):
        yield "code", "code", value["code"]


def _module(value: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the folder of a module of sentence-transformers that is not in that of the model."""
    match value:
        case {"idx": _, "type": str(), "path": str(path)} if path.startswith(("/", "\\")) or _LEAVES.search(path):
            yield "module_path", "path", path


def _langchain(value: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    if "lc" in value and isinstance(value.get("id"), list):
        yield "constructor", "id", ".".join(map(str, value["id"]))


def _pipeline(value: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the components of a pipeline of diffusers: library and class of each."""
    if isinstance(value.get("_class_name"), list):
        yield "custom_pipeline", "_class_name", ".".join(map(str, value["_class_name"]))
    if "_class_name" not in value and "_diffusers_version" not in value:
        return
    for key, one in value.items():
        match one:
            case [str(library), str(name), *_] if not key.startswith("_") and not key.endswith(_TYPES):
                yield "component", key, f"{library}.{name}"


def _text(node: _Node, where: _Where, context: Context) -> Iterator[Fact]:
    """Yield what a text is that is more than a text."""
    text, reader = node.value, where.reader
    if len(text) < literals.SHORTEST:
        return
    if literals.is_template(text):
        yield from _template(node, where)
        return
    words = _words(node.key)
    type_ = _kind(node, words)
    if type_:
        yield where.pointer(type_, node.path, text)
    elif len(text) >= literals.PROGRAM:
        origin = reader.origin.inside(node.path[:SHOWN] or "text")
        statement = literals.statement(text) if words & _SOURCES else ""
        if statement:
            yield Native(location=where.location, type="python", detail=f"{node.path[:SHOWN]}: {statement}")
        yield from literals.encoded(text, where.location, origin, context)


def _kind(node: _Node, words: set[str]) -> str:
    """Return the type of the pointer that a text is, by how it looks and by the words of its key; nothing if none."""
    for type_, form in _FORMS.items():
        if form.match(node.value):
            return type_
    if words & _COMMANDS:
        return "command"
    return node.key.lower() if _is_name(node, words) else ""


def _words(key: str) -> set[str]:
    """Return the words of a key in small letters, those of lists in the singular too."""
    words = {word.lower() for word in _WORD.findall(key)}
    return words | {word.removesuffix("es" if word.endswith("sses") else "s") for word in words - _PARTS}


def _is_name(node: _Node, words: set[str]) -> bool:
    """Tell whether a text looks like a name to import, under a key that says it is one or in a table of such."""
    if not _DOTTED.fullmatch(node.value) or node.value.endswith(_DATA) or node.key == "module":
        return False
    if _DIGEST.fullmatch(node.value):
        return False
    return node.naming or bool(words & _NAMING and not words & _PARTS)


def _template(node: _Node, where: _Where) -> Iterator[Fact]:
    from weighbridge.formats.jinja.steps import observe as observe_template

    origin = where.reader.origin.inside(node.path[:SHOWN] or "text")
    try:
        yield from observe_template(node.value, origin)
    except ArtifactError as error:
        yield gap(error, "jinja")
