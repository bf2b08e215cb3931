"""As much of vLLM as its published interface for model loaders has, to register with and load through.

The signatures are those of vllm/model_executor/model_loader/__init__.py and default_loader.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from types import ModuleType
from typing import Any


@dataclasses.dataclass
class LoadConfig:
    """How weights are loaded."""

    load_format: str = "auto"
    model_loader_extra_config: Any = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class ModelConfig:
    """Which model."""

    model: str
    revision: str | None = None
    quantization: str | None = None


class Module:
    """A model of a server: it keeps what it is given."""

    secondary_weights: tuple[Any, ...] = ()
    allow_patterns_overrides: list[str] | None = None

    def __init__(self) -> None:
        self.weights: dict[str, Any] = {}

    def load_weights(self, weights: Any) -> set[str]:
        """Take names and tensors."""
        self.weights.update(weights)
        return set(self.weights)


class BaseModelLoader:
    """The base of all loaders."""

    def __init__(self, load_config: LoadConfig) -> None:
        self.load_config = load_config


class DefaultModelLoader(BaseModelLoader):
    """The loader that others derive from."""

    @dataclasses.dataclass
    class Source:
        """A source of weights."""

        model_or_path: str
        revision: str | None
        subfolder: str | None = None
        prefix: str = ""
        fall_back_to_pt: bool = True
        allow_patterns_overrides: list[str] | None = None

    counter_before_loading_weights: float = 0.0

    def __init__(self, load_config: LoadConfig) -> None:
        super().__init__(load_config)
        unexpected = load_config.model_loader_extra_config.keys() - {"enable_multithread_load", "num_threads"}
        if unexpected:
            raise ValueError(f"Unexpected extra config keys for load format {load_config.load_format}: {unexpected}")

    def _get_weights_iterator(self, source: Source) -> Generator[tuple[str, Any], None, None]:
        raise NotImplementedError

    def get_all_weights(self, model_config: ModelConfig, model: Module) -> Generator[tuple[str, Any], None, None]:
        """Yield the weights of all sources."""
        overrides = getattr(model, "allow_patterns_overrides", None)
        yield from self._get_weights_iterator(
            DefaultModelLoader.Source(
                model_config.model, model_config.revision, prefix="", allow_patterns_overrides=overrides
            )
        )
        for source in getattr(model, "secondary_weights", ()):
            yield from self._get_weights_iterator(source)

    def load_weights(self, model: Module, model_config: ModelConfig) -> None:
        """Load weights into a model."""
        model.load_weights(self.get_all_weights(model_config, model))


def modules() -> tuple[dict[str, ModuleType], Callable[[LoadConfig], BaseModelLoader]]:
    """Return the modules by their names, and what finds the loader of a format."""
    loaders: dict[str, type[BaseModelLoader]] = {}

    def register_model_loader(load_format: str) -> Callable[[type], type]:
        def wrapper(cls: type) -> type:
            if not issubclass(cls, BaseModelLoader):
                raise TypeError("The model loader must be a subclass of `BaseModelLoader`.")
            loaders[load_format] = cls
            return cls

        return wrapper

    names = ("vllm", "vllm.model_executor", "vllm.model_executor.model_loader")
    found = {name: ModuleType(name) for name in (*names, f"{names[-1]}.default_loader")}
    vars(found[names[-1]])["register_model_loader"] = register_model_loader
    vars(found[f"{names[-1]}.default_loader"])["DefaultModelLoader"] = DefaultModelLoader
    return found, lambda config: loaders[config.load_format](config)
