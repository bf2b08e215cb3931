"""Trust entries of libraries beside the large frameworks: what ordinary files write is covered, and nothing near it."""

from __future__ import annotations

from pathlib import Path

import pytest
from examining import facts_of

from fixtures.assemble import P4, Ops
from weighbridge.facts import Program
from weighbridge.trust import Trust

TRUST = Trust(Path(__file__).parents[1] / "rules" / "trust")
CONFIG = "omegaconf.dictconfig:DictConfig"
SLICE = P4.call("dill._dill:_load_type", "slice")
RECONSTRUCT = P4.name("numpy._core.multiarray", "_reconstruct")
ANY = P4.name("typing", "Any")


def untrusted(value: object) -> list[str]:
    """Return the subjects of what no entry covers in a pickle of a value."""
    programs = [fact for fact in facts_of(P4.stream(value)) if isinstance(fact, Program)]
    assert programs
    return [event.subject for program in programs for event, _ in TRUST.untrusted(program)]


def made(name: str, **state: object) -> Ops:
    """Return an object of a class with a state."""
    return P4.build(P4.newobj(name), dict(state))


def dtype(kind: str = "f8") -> Ops:
    """Return a dtype as numpy writes it."""
    state = (3, "|" if kind == "O8" else "<", None, None, None, -1, -1, 63 if kind == "O8" else 0)
    return P4.build(P4.call("numpy:dtype", kind, False, True), state)


def array_of_dill(function: object, kind: str = "f8", data: object = bytes(8)) -> Ops:
    """Return an array as dill writes it."""
    arguments = (P4.name("numpy", "ndarray"), (0,), b"b")
    return P4.call("dill._dill:_create_array", function, arguments, (1, (1,), dtype(kind), False, data), None)


def config(key_type: object = ANY, **state: object) -> Ops:
    """Return a configuration of omegaconf."""
    metadata = made(
        "omegaconf.base:ContainerMetadata", key_type=key_type, element_type=ANY, ref_type=ANY, optional=True, flags=None
    )
    return made(CONFIG, _metadata=metadata, _parent=None, _content={}, **state)


ORDINARY: dict[str, Ops] = {
    "method of a text": P4.call("builtins:getattr", P4.name("builtins", "str"), "lower"),
    "error of numpy": P4.call("numpy.linalg:LinAlgError", "Singular matrix"),
    "part of a call": P4.build(
        P4.call("functools:partial", P4.name("numpy", "clip")), (P4.name("numpy", "clip"), (), {"a_min": 0}, None)
    ),
    "default that is stored": P4.call("collections:defaultdict", P4.name("numpy", "float64")),
    "generic": P4.call("types:GenericAlias", P4.name("builtins", "list"), (P4.name("builtins", "int"),)),
    "array": P4.call("array:_array_reconstructor", P4.name("array", "array"), "d", 16, bytes(8)),
    "stored function": made("argparse:Namespace", aggregate=P4.name("builtins", "max")),
    "schedule": P4.call("builtins:getattr", P4.name("torch.optim.lr_scheduler", "CyclicLR"), "_triangular_scale_fn"),
    "part of a distributed checkpoint": made(
        "torch.distributed.checkpoint.metadata:MetadataIndex", fqn="layer.weight", offset=None, index=0
    ),
    "word vectors": made("gensim.models.word2vec:Word2Vec", __numpys=["syn1neg"], hashfxn=P4.name("builtins", "hash")),
    "pipeline of imblearn": made("imblearn.pipeline:Pipeline", steps=[], verbose=False),
    "encoder": made("category_encoders.target_encoder:TargetEncoder", cols=["a"]),
    "study": made("optuna.study.study:Study", study_name="s", _study_id=0),
    "configuration": config(),
    "space": made("gymnasium.spaces.discrete:Discrete", n=3, start=0, _shape=()),
    "space of several": made("gymnasium.spaces.multi_discrete:MultiDiscrete", _shape=(2,), dtype=dtype("i8")),
    "normalised environment": made(
        "stable_baselines3.common.vec_env.vec_normalize:VecNormalize",
        observation_space=made("gymnasium.spaces.discrete:Discrete", n=3),
    ),
    "regression": made("statsmodels.base.data:PandasData", endog=None, exog=None),
    "slice of dill": P4.call(SLICE, 0, 4, 1),
    "array of dill": array_of_dill(RECONSTRUCT),
    "objects of dill": array_of_dill(RECONSTRUCT, "O8", ["a"]),
    "counts": P4.call("nltk.probability:FreqDist", {"a": 2}),
    "sentences": made(
        "nltk.tokenize.punkt:PunktSentenceTokenizer", _Token=P4.name("nltk.tokenize.punkt", "PunktToken")
    ),
    "recommender": made("surprise.prediction_algorithms.matrix_factorization:SVD", n_factors=3),
    "adapter": P4.call("peft.utils.peft_types:PeftType", "LORA"),
}
BENT: dict[str, Ops] = {
    "format of a text": P4.call("builtins:getattr", P4.name("builtins", "str"), "format"),
    "class of a text": P4.call("builtins:getattr", P4.name("builtins", "str"), "__class__"),
    "part of a call that is not stored": P4.call("functools:partial", P4.name("os", "system"), "id"),
    "default that is not stored": P4.call("collections:defaultdict", P4.name("os", "getcwd")),
    "part of a part": P4.call("functools:partial", P4.name("functools", "partial"), P4.name("os", "system")),
    "compiled hint": P4.call("types:GenericAlias", P4.name("builtins", "list"), ("__import__('os')",)),
    "getter of items": P4.call("operator:itemgetter", 1),
    "item of anything": P4.call("operator:getitem", {"a": 1}, "a"),
    "reduced by another": P4.call("functools:reduce", P4.name("_operator", "add"), ([1], [2])),
    "called function": P4.call("builtins:max", [1, 2], P4.name("os", "system")),
    "attribute of a schedule": P4.call("builtins:getattr", P4.name("torch.optim.lr_scheduler", "CyclicLR"), "__init__"),
    "place that is unpickled": made(
        "torch.distributed.checkpoint.filesystem:_StorageInfo", relative_path="__0_0.distcp", offset=0, length=9
    ),
    "part of a key that is missing": made("torch.distributed.checkpoint.metadata:MetadataIndex", fqn=["a"]),
    "arrays in another folder": made("gensim.models.word2vec:Word2Vec", __numpys=["../../x"]),
    "tables in another folder": made("gensim.models.word2vec:Word2Vec", __scipys=["../../x"]),
    "indexes that are files": made("gensim.similarities.docsim:Similarity", output_prefix="x"),
    "sampler that unpickles": made("optuna.samplers._cmaes:CmaEsSampler", _x0=None),
    "storage in a database": made("optuna.storages._rdb.storage:RDBStorage", url="sqlite:///x"),
    "compiled type": config(key_type="__import__('os')"),
    "space of much memory": made("gymnasium.spaces.multi_discrete:MultiDiscrete", _shape=(10**12,), dtype=dtype("i8")),
    "bounds that are no arrays": made("gymnasium.spaces.box:Box", low=P4.newobj("argparse:Namespace")),
    "environment": made("stable_baselines3.common.vec_env.base_vec_env:CloudpickleWrapper", var=b"\x80\x05\x95"),
    "normalised thing": made(
        "stable_baselines3.common.vec_env.vec_normalize:VecNormalize", observation_space=P4.newobj("argparse:Namespace")
    ),
    "formula": made("statsmodels.base.data:PandasData", restore_model_spec=True, formula="y ~ __import__('os')"),
    "formula of before": made("statsmodels.base.data:PandasData", restore_design_info=True, formula="y ~ x"),
    "code of dill": P4.call("dill._dill:_load_type", "CodeType"),
    "function of dill": P4.call("dill._dill:_load_type", "FunctionType"),
    "call of dill": array_of_dill(P4.name("os", "system")),
    "pointers of dill": array_of_dill(RECONSTRUCT, "O8", bytes(8)),
    "counts of anything": P4.call("nltk.probability:FreqDist", P4.newobj("argparse:Namespace")),
    "parser of another program": made("nltk.parse.malt:MaltParser", working_dir="/"),
    "whole model of adapters": made("peft.peft_model:PeftModel", base_model=None),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_what_ordinary_files_write_is_covered(name: str) -> None:
    assert untrusted(ORDINARY[name]) == []


@pytest.mark.parametrize("name", BENT)
def test_what_runs_code_or_reaches_elsewhere_is_not(name: str) -> None:
    assert untrusted(BENT[name])
