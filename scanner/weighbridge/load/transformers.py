"""Approved models with transformers: it gets verified tensors and a verified configuration, and no path to look at.

`from_pretrained(None, config=…, state_dict=…)` is transformers' own way to build a model of given weights; it opens no
file, fetches nothing and unpickles nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from weighbridge.errors import UsageError
from weighbridge.load.pretrained import Model, Where, known, opened
from weighbridge.location import printable
from weighbridge.refusals import RemoteCode, UnsupportedFormat

if TYPE_CHECKING:
    from weighbridge.evidence.trust_policy import TrustPolicy

# What would have transformers take something from elsewhere.
_TAKEN: Final = frozenset(
    "config state_dict pretrained_model_name_or_path revision subfolder token cache_dir variant".split()
)


def load_model(
    path: Where, *, cls: Any = None, trust: TrustPolicy | Where | None = None, config: Any = None, **options: Any
) -> Any:
    """Return the model of an approved folder, in evaluation mode.

    `cls` is a model class of transformers or one of its `AutoModel…` classes (None: what the configuration names as its
    architecture). `config` is used instead of the approved configuration. `options` are those of `from_pretrained`,
    such as `dtype` or `device_map`. Tensors that the weights lack are initialised as transformers does, with a warning.

    Raises what `weighbridge.load` does, RemoteCode for `trust_remote_code`, UnsupportedFormat for a model that
    transformers does not know, UsageError for an option that names another place.
    """
    check_options(options)
    with opened(path, trust) as model:
        config = config if config is not None else configuration(model)
        found = _class(cls, config, model.folder.where(model.path("config.json")))
        weights = model.weights(path, trust)
        loaded = found.from_pretrained(None, config=config, state_dict=weights, **options)
        if model.has("generation_config.json") and hasattr(loaded, "generation_config"):
            import transformers

            settings = model.document("generation_config.json")
            _built(loaded).generation_config = transformers.GenerationConfig.from_dict(settings)
    return loaded


def load_tokenizer(path: Where, *, cls: Any = None, trust: TrustPolicy | Where | None = None, **options: Any) -> Any:
    """Return the tokenizer of an approved folder, built from verified copies of its files.

    `cls` is any class of transformers with `from_pretrained` that reads no weights, such as `AutoProcessor` (None:
    `AutoTokenizer`). Raises as `load_model` does.
    """
    import transformers

    check_options(options)
    with opened(path, trust) as model, model.small_files() as place:
        return (cls or transformers.AutoTokenizer).from_pretrained(place, local_files_only=True, **options)


def configuration(model: Model) -> Any:
    """Return transformers' configuration of an approved model; raise UnsupportedFormat when it does not know it."""
    import transformers

    document = model.document("config.json")
    kind = document.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        where = model.folder.where(model.path("config.json"))
        raise UnsupportedFormat(where, f"transformers has no model_type {printable(str(kind))}", "give a config")
    return transformers.CONFIG_MAPPING[kind].from_dict(document)


def check_options(options: dict[str, Any]) -> None:
    """Raise for an option that would have a library run a model's code or look elsewhere."""
    if options.pop("trust_remote_code", False):
        raise RemoteCode("trust_remote_code", "code that a model brings is not run", "leave it out")
    for name in sorted(_TAKEN & options.keys()):
        raise UsageError(f"{name} is not for the caller: everything is taken from the approved folder")


def _class(cls: Any, config: Any, where: str) -> Any:
    """Return the class of the model: what an Auto class has for the configuration, or what that names."""
    import transformers

    if cls is None:
        names = getattr(config, "architectures", None) or [None]
        return known(transformers, names[0], transformers.PreTrainedModel, where)
    table = getattr(cls, "_model_mapping", None)
    if table is None:
        return cls
    if type(config) not in table:
        raise UnsupportedFormat(where, f"{cls.__name__} has no model for {type(config).__name__}")
    found = table[type(config)]
    return found[0] if isinstance(found, list | tuple) else found


def _built(loaded: Any) -> Any:
    """Return the model of what `from_pretrained` gives, which is a pair with `output_loading_info`."""
    return loaded[0] if isinstance(loaded, tuple) else loaded
