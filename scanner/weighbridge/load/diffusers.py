"""Approved models and pipelines with diffusers: built from verified configurations, then given verified tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from weighbridge.load.pretrained import Model, Where, known, opened
from weighbridge.load.transformers import configuration
from weighbridge.location import printable
from weighbridge.refusals import UnsupportedFormat

if TYPE_CHECKING:
    from weighbridge.evidence.trust_policy import TrustPolicy

_INDEX: Final = "model_index.json"
_NAMES: Final = "_class_name"


def load_model(path: Where, *, cls: Any = None, trust: TrustPolicy | Where | None = None, dtype: Any = None) -> Any:
    """Return a model of diffusers from an approved folder, or the folder of a component in one; in evaluation mode.

    `cls` is its class (None: what its configuration names), `dtype` what its numbers are made (None: as they are).
    Raises what `weighbridge.load` does, and UnsupportedFormat when the weights are not those of the model: some are
    missing, or there are others.
    """
    with opened(path, trust) as model:
        return _model(model, path, trust, cls, dtype)


def load_pipeline(path: Where, *, cls: Any = None, trust: TrustPolicy | Where | None = None, dtype: Any = None) -> Any:
    """Return a pipeline of diffusers from an approved folder; the arguments and errors are those of `load_model`.

    Its components are classes of diffusers and of transformers; any other library is refused.
    """
    import diffusers

    with opened(path, trust) as model:
        index, where = model.document(_INDEX), model.folder.where(model.path(_INDEX))
        found = cls or known(diffusers, index.get(_NAMES), diffusers.DiffusionPipeline, where)
        parts: dict[str, Any] = {}
        for name, value in index.items():
            if name.startswith("_"):
                continue
            match value:
                case [None, None]:
                    parts[name] = None
                case [str(library), str(kind)]:
                    parts[name] = _component(model, name, (library, kind), path, trust, dtype)
                case _:
                    parts[name] = value
        return found(**parts)


def _component(model: Model, name: str, named: tuple[str, str], path: Where, trust: Any, dtype: Any) -> Any:
    """Return one component of a pipeline."""
    import diffusers
    import transformers

    library, kind = named
    part, where = model.part(name), model.folder.where(model.path(_INDEX))
    if library == "diffusers":
        found = known(diffusers, kind, object, where)
        if issubclass(found, diffusers.ModelMixin):
            return _model(part, path, trust, found, dtype)
    elif library == "transformers":
        found = known(transformers, kind, object, where)
        if issubclass(found, transformers.PreTrainedModel):
            options = {} if dtype is None else {"dtype": dtype}
            weights = part.weights(path, trust)
            return found.from_pretrained(None, config=configuration(part), state_dict=weights, **options)
    else:
        raise UnsupportedFormat(where, f"{name} is a {printable(kind)} of {printable(library)}, which is not loaded")
    with part.small_files() as place:
        return found.from_pretrained(place, local_files_only=True)


def _model(model: Model, path: Where, trust: Any, cls: Any, dtype: Any) -> Any:
    import diffusers

    document, where = model.document("config.json"), model.folder.where(model.path("config.json"))
    found = cls or known(diffusers, document.get(_NAMES), diffusers.ModelMixin, where)
    built = found.from_config(document)
    weights = model.weights(path, trust)
    if dtype is not None:
        weights = {name: one.to(dtype) if one.is_floating_point() else one for name, one in weights.items()}
    try:
        built.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise UnsupportedFormat(
            where, f"the weights are not those of {found.__name__}: {printable(str(error))}"
        ) from error
    return built.eval()
