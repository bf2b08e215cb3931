"""Approved weights in vLLM: `--load-format weighbridge`.

vLLM calls `register` in every worker, by the entry point `vllm.general_plugins`. Tensors are then taken from the
approved folder alone, each verified when it is taken; where there is no approval, or bytes differ, the server does not
start. Options, in `--model-loader-extra-config`: `trust`, the path of a trust policy, and `mode`, that of
`weighbridge.open` (lazy by default).

vLLM reads configurations and tokenizers from the folder itself. `weighbridge run` makes those unchangeable too.

Source: vllm/model_executor/model_loader/__init__.py and default_loader.py, 0.10 to 0.12.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from weighbridge.errors import UsageError
from weighbridge.location import printable
from weighbridge.refusals import UnsupportedFormat

FORMAT: Final = "weighbridge"
_OPTIONS: Final = ("trust", "mode")


def register() -> None:
    """Make the load format known to the vLLM that this process runs."""
    from vllm.model_executor.model_loader import register_model_loader

    register_model_loader(FORMAT)(loader())


def loader() -> type[Any]:
    """Return the class of the loader, which can be made where vLLM is installed alone."""
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    class WeighbridgeLoader(DefaultModelLoader):  # type: ignore[misc]  # vLLM is not installed where this is checked
        """Gives vLLM the tensors of approved folders."""

        def __init__(self, load_config: Any) -> None:
            """Take our options out of the configuration, whose other ones vLLM checks."""
            given = getattr(load_config, "model_loader_extra_config", None) or {}
            if not isinstance(given, dict):
                raise UsageError("model_loader_extra_config: not an object")
            self._trust: str | None = given.get("trust")
            self._mode: str = given.get("mode", "lazy")
            rest = copy.copy(load_config)
            rest.model_loader_extra_config = {key: one for key, one in given.items() if key not in _OPTIONS}
            super().__init__(rest)

        def download_model(self, model_config: Any) -> None:
            """Fetch nothing: the model is in its approved folder, or it is refused."""
            from weighbridge.load.folder import open_folder

            open_folder(_folder(model_config.model), self._trust)[0].close()

        def _prepare_weights(self, model_name_or_path: str, *_: Any, **__: Any) -> Any:
            raise UnsupportedFormat(printable(str(model_name_or_path)), "files are not looked for by their names")

        def _get_weights_iterator(self, source: Any) -> Iterator[tuple[str, Any]]:
            """Yield names and tensors of a source, which is an approved folder or lies in one."""
            from weighbridge.load.loading import open as open_model

            patterns = source.allow_patterns_overrides
            if patterns and not any(pattern.endswith(".safetensors") for pattern in patterns):
                named = ", ".join(map(printable, patterns))
                raise UnsupportedFormat(printable(str(source.model_or_path)), f"the model wants weights of {named}")
            if not getattr(self, "counter_before_loading_weights", 0.0):
                self.counter_before_loading_weights = time.perf_counter()
            place = _folder(source.model_or_path) / (getattr(source, "subfolder", None) or "")
            with open_model(place, trust=self._trust, framework="torch", mode=self._mode) as model:  # type: ignore[arg-type]
                for name in model.offset_keys():
                    yield source.prefix + name, model.get_tensor(name)

    return WeighbridgeLoader


def _folder(model: str) -> Path:
    """Return the folder of a model; raise UsageError for the name of a repository."""
    path = Path(model)
    if not path.is_dir():
        raise UsageError(f"{printable(model)}: not a folder; pull and approve the model, and name its folder")
    return path
