# mypy: ignore-errors
# The libraries are installed where the corpus is built, not where the project is checked.
"""Ordinary ONNX models: converters of scikit-learn and PyTorch, transformers, ONNX Runtime's tools, the onnx library.

Weights are random and small. A model with external data is a folder of its own.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .writer import Corpus

OPSET = 17


def build(corpus: Corpus) -> None:
    """Write what each library makes, then what ONNX Runtime makes of that."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for part in (by_hand, backend, sklearn_models, torch_models, transformers_models, runtime_models, stored_elsewhere):
        try:
            part(corpus)
        except ImportError as error:
            corpus.notes.append(f"onnx {part.__name__}: {error}")
    logging.disable(logging.NOTSET)


@contextlib.contextmanager
def attempt(corpus: Corpus, name: str) -> Iterator[None]:
    """Run a block whose library may fail in ways of its own; note why and go on."""
    count = len(corpus.written)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    except Exception as error:  # noqa: BLE001 - exporters raise what they like
        for path in corpus.written[count:]:
            path.unlink(missing_ok=True)
        del corpus.written[count:]
        corpus.note(name, error)


def save(corpus: Corpus, name: str, model: Any) -> Path:
    """Write a model and return its path."""
    path = corpus.path(f"onnx/{name}.onnx")
    path.write_bytes(model.SerializeToString())
    return path


def info(name: str, shape: Any = (None, 4), kind: int = TensorProto.FLOAT) -> Any:
    """Return the description of a tensor."""
    return helper.make_tensor_value_info(name, kind, shape)


def made(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: Any = (), **more: Any) -> Any:
    """Return a model of one graph."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid(domain, version) for domain, version in more.pop("opsets", {"": OPSET}).items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def by_hand(corpus: Corpus) -> None:
    """Write control flow, functions, sparse tensors, texts and training graphs with the onnx library's own helpers."""
    random = np.random.default_rng(0)
    weight = numpy_helper.from_array(random.random((4, 4), np.float32), "w")
    matmul = helper.make_node("MatMul", ["x", "w"], ["y"])
    save(corpus, "hand/matmul", made([matmul], [info("x")], [info("y")], [weight]))
    then = helper.make_graph([helper.make_node("Relu", ["x"], ["a"])], "then", [], [info("a")])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])], "else", [], [info("b")])
    choice = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    save(corpus, "hand/if", made([choice], [info("x"), info("c", [], TensorProto.BOOL)], [info("y")]))
    counter = numpy_helper.from_array(np.array(10, np.int64), "n")
    start = numpy_helper.from_array(np.array(True), "go")
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Add", ["v", "v"], ["u"])],
        "body",
        [info("i", [], TensorProto.INT64), info("c", [], TensorProto.BOOL), info("v")],
        [info("d", [], TensorProto.BOOL), info("u")],
    )
    loop = helper.make_node("Loop", ["n", "go", "x"], ["y"], body=body)
    save(corpus, "hand/loop", made([loop], [info("x")], [info("y")], [counter, start]))
    layer = helper.make_function(
        "lab", "Layer", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", OPSET)]
    )
    call = helper.make_node("Layer", ["x"], ["y"], domain="lab")
    opsets = {"": OPSET, "lab": 1}
    save(corpus, "hand/function", made([call], [info("x")], [info("y")], opsets=opsets, functions=[layer]))
    values = helper.make_tensor("s", TensorProto.FLOAT, [2], [1.0, 2.0])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("i", TensorProto.INT64, [2], [0, 5]), [4, 4])
    model = made([helper.make_node("MatMul", ["x", "s"], ["y"])], [info("x")], [info("y")])
    model.graph.sparse_initializer.append(sparse)
    save(corpus, "hand/sparse", model)
    for kind in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 21, 22, 23):
        with attempt(corpus, f"hand/type-{kind}"):
            held = helper.make_tensor("t", kind, [4], np.array([0, 1, 1, 0]))
            save(corpus, f"hand/type-{kind}", made([matmul], [info("x")], [info("y")], [weight, held]))
    texts = helper.make_tensor("s", TensorProto.STRING, [3], [b"cat", "Käse".encode(), b""])
    node = helper.make_node("Identity", ["s"], ["y"])
    save(corpus, "hand/strings", made([node], [], [info("y", [3], TensorProto.STRING)], [texts]))
    model = made([matmul], [info("x")], [info("y")], [weight], doc_string="A matrix.\nSee https://example.org/card.")
    helper.set_model_props(model, {"author": "weighbridge", "url": "https://example.org", "labels": '["a", "b"]'})
    save(corpus, "hand/described", model)


def backend(corpus: Corpus) -> None:
    """Write the models by which the onnx library tests runtimes: every operator in most of its uses."""
    from onnx.backend.test.case.node import collect_testcases

    with attempt(corpus, "onnx backend"):
        for case in collect_testcases(None):
            if case.model is not None:
                save(corpus, f"backend/{case.name}", case.model)


def sklearn_models(corpus: Corpus) -> None:
    """Write what skl2onnx makes of estimators and pipelines."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType
    from sklearn import (
        cluster,
        decomposition,
        ensemble,
        feature_extraction,
        linear_model,
        naive_bayes,
        neighbors,
        neural_network,
        pipeline,
        preprocessing,
        svm,
        tree,
    )

    random = np.random.default_rng(0)
    rows = random.random((60, 4)).astype(np.float32)
    classes, values = (rows[:, 0] > rows[:, 1]).astype(int), rows.sum(axis=1)
    estimators = {
        "logistic": linear_model.LogisticRegression(),
        "linear": linear_model.LinearRegression(),
        "sgd": linear_model.SGDClassifier(),
        "ridge": linear_model.Ridge(),
        "forest": ensemble.RandomForestClassifier(5),
        "forest_regressor": ensemble.RandomForestRegressor(5),
        "extra_trees": ensemble.ExtraTreesClassifier(5),
        "boosting": ensemble.GradientBoostingClassifier(n_estimators=5),
        "hist_boosting": ensemble.HistGradientBoostingClassifier(max_iter=5),
        "isolation": ensemble.IsolationForest(n_estimators=5),
        "adaboost": ensemble.AdaBoostClassifier(n_estimators=3),
        "voting": ensemble.VotingClassifier([("a", linear_model.LogisticRegression()), ("b", svm.SVC())]),
        "tree": tree.DecisionTreeClassifier(max_depth=4),
        "svc": svm.SVC(probability=False),
        "linear_svc": svm.LinearSVC(),
        "one_class": svm.OneClassSVM(),
        "neighbors": neighbors.KNeighborsClassifier(3),
        "bayes": naive_bayes.GaussianNB(),
        "mlp": neural_network.MLPClassifier((8,), max_iter=5),
        "kmeans": cluster.KMeans(3, n_init=1),
        "pca": decomposition.PCA(2),
        "scaled": pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()),
        "polynomial": pipeline.make_pipeline(preprocessing.PolynomialFeatures(2), linear_model.Lasso()),
        "binned": pipeline.make_pipeline(preprocessing.KBinsDiscretizer(3), naive_bayes.BernoulliNB()),
    }
    for name, estimator in estimators.items():
        with attempt(corpus, f"skl2onnx {name}"):
            target = values if "regress" in name or name in ("linear", "ridge", "polynomial") else classes
            save(corpus, f"sklearn/{name}", to_onnx(estimator.fit(rows, target), rows[:1]))
    texts = np.array([["a first text"], ["the second text"], ["third one here"], ["and a last one"]])
    for name, vectorizer in {
        "tfidf": feature_extraction.text.TfidfVectorizer(),
        "counts": feature_extraction.text.CountVectorizer(ngram_range=(1, 2)),
    }.items():
        with attempt(corpus, f"skl2onnx {name}"):
            fitted = pipeline.make_pipeline(vectorizer, linear_model.LogisticRegression()).fit(
                texts[:, 0], [0, 1, 0, 1]
            )
            save(corpus, f"sklearn/{name}", to_onnx(fitted, initial_types=[("text", StringTensorType([None, 1]))]))
    with attempt(corpus, "skl2onnx categories"):
        encoder = preprocessing.OneHotEncoder(handle_unknown="ignore").fit(texts)
        save(corpus, "sklearn/categories", to_onnx(encoder, initial_types=[("text", StringTensorType([None, 1]))]))


def _torch_modules() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    import torch
    from torch import nn

    torch.manual_seed(0)
    convolutions = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 49, 5)
    )
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    class Masked(nn.Module):
        def forward(self, x: Any, mask: Any) -> Any:
            scores = x @ x.transpose(-1, -2)
            scores = torch.where(mask.bool()[:, None, :], scores, torch.finfo(scores.dtype).min)
            return torch.softmax(scores, -1) @ x

    class Gated(nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.where(x > 0, x, x * 0.1) + (x == x.max()).float()

    return {
        "linear": (nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)), (torch.zeros(1, 4),)),
        "convolutions": (convolutions, (torch.zeros(1, 3, 16, 16),)),
        "upsample": (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Upsample(scale_factor=2)), (torch.zeros(1, 1, 8, 8),)),
        "lstm": (nn.LSTM(4, 8, batch_first=True), (torch.zeros(1, 5, 4),)),
        "gru": (nn.GRU(4, 8, 2, bidirectional=True), (torch.zeros(5, 1, 4),)),
        "embedding": (nn.EmbeddingBag(10, 4, mode="mean"), (torch.zeros(2, 3, dtype=torch.long),)),
        "transformer": (nn.TransformerEncoder(layer, 2), (torch.zeros(1, 5, 8),)),
        "attention": (nn.MultiheadAttention(8, 2), (torch.zeros(5, 1, 8),) * 3),
        "normalised": (nn.Sequential(nn.LayerNorm(4), nn.InstanceNorm1d(3), nn.Hardswish()), (torch.zeros(1, 3, 4),)),
        "masked": (Masked(), (torch.zeros(1, 5, 4), torch.ones(1, 5, dtype=torch.long))),
        "gated": (Gated(), (torch.zeros(1, 4),)),
    }


def _export(module: Any, inputs: tuple[Any, ...], path: Path, *, dynamo: bool, **more: Any) -> None:
    import torch

    extra = {"optimize": True, "external_data": False} if dynamo else {"opset_version": OPSET}
    torch.onnx.export(module.eval(), inputs, str(path), dynamo=dynamo, verbose=False, **(extra | more))


def torch_models(corpus: Corpus) -> None:
    """Write what both exporters of torch make of small modules."""
    for name, (module, inputs) in _torch_modules().items():
        for dynamo in (True, False):
            way = "dynamo" if dynamo else "script"
            with attempt(corpus, f"torch {name} {way}"):
                _export(module, inputs, corpus.path(f"onnx/torch/{name}-{way}.onnx"), dynamo=dynamo)


def _transformers_modules() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    import torch
    import transformers as t

    small = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    words = small | {"vocab_size": 32, "max_position_embeddings": 32}
    image = small | {"image_size": 16, "patch_size": 8}
    tokens = torch.ones(1, 6, dtype=torch.long)
    pixels = torch.zeros(1, 3, 16, 16)
    kinds: dict[str, tuple[Callable[[], Any], tuple[Any, ...]]] = {
        "bert": (lambda: t.BertForSequenceClassification(t.BertConfig(**words)), (tokens, tokens)),
        "roberta": (lambda: t.RobertaModel(t.RobertaConfig(**words)), (tokens,)),
        "distilbert": (
            lambda: t.DistilBertModel(t.DistilBertConfig(vocab_size=32, dim=8, n_layers=2, n_heads=2, hidden_dim=16)),
            (tokens, tokens),
        ),
        "gpt2": (
            lambda: t.GPT2LMHeadModel(t.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=32, use_cache=False)),
            (tokens,),
        ),
        "llama": (
            lambda: t.LlamaForCausalLM(t.LlamaConfig(**words, num_key_value_heads=2, use_cache=False)),
            (tokens,),
        ),
        "qwen2": (
            lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**words, num_key_value_heads=2, use_cache=False)),
            (tokens,),
        ),
        "mixtral": (
            lambda: t.MixtralForCausalLM(
                t.MixtralConfig(**words, num_key_value_heads=2, num_local_experts=2, use_cache=False)
            ),
            (tokens,),
        ),
        "t5": (
            lambda: t.T5EncoderModel(t.T5Config(d_model=8, d_kv=4, d_ff=16, num_layers=2, num_heads=2, vocab_size=32)),
            (tokens,),
        ),
        "vit": (lambda: t.ViTForImageClassification(t.ViTConfig(**image)), (pixels,)),
        "clip": (lambda: t.CLIPVisionModel(t.CLIPVisionConfig(**image)), (pixels,)),
        "deit": (lambda: t.DeiTModel(t.DeiTConfig(**image)), (pixels,)),
    }
    return {name: (make(), inputs) for name, (make, inputs) in kinds.items()}


def transformers_models(corpus: Corpus) -> None:
    """Write what both exporters make of transformers with two random layers."""
    from torch import nn

    class First(nn.Module):
        """The first result of a model, which is what a graph is made for."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            return self.model(*inputs)[0]

    for name, (model, inputs) in _transformers_modules().items():
        module = First(model)
        for dynamo in (True, False):
            way = "dynamo" if dynamo else "script"
            with attempt(corpus, f"transformers {name} {way}"):
                _export(module, inputs, corpus.path(f"onnx/transformers/{name}-{way}.onnx"), dynamo=dynamo)


def runtime_models(corpus: Corpus) -> None:
    """Write what ONNX Runtime's optimisers, quantisers and converter make of the models that are there."""
    import onnxruntime

    folder = corpus.directory / "onnx"
    everything = [*folder.glob("sklearn/*.onnx"), *folder.glob("t*/*.onnx"), *folder.glob("hand/*.onnx")]
    for path in sorted(everything):
        for level in ("BASIC", "EXTENDED", "ALL"):
            name = f"optimised/{path.parent.name}-{path.stem}-{level.lower()}"
            for suffix in ("onnx", "ort") if level == "ALL" else ("onnx",):
                with attempt(corpus, name):
                    options = onnxruntime.SessionOptions()
                    options.log_severity_level = 4
                    options.graph_optimization_level = getattr(
                        onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}"
                    )
                    options.optimized_model_filepath = str(corpus.path(f"onnx/{name}.{suffix}"))
                    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    fused(corpus, folder)
    quantised(corpus, folder)


def fused(corpus: Corpus, folder: Path) -> None:
    """Write transformers fused into operators of com.microsoft, in single and half precision."""
    from onnxruntime.transformers import optimizer

    for path in sorted(folder.glob("transformers/*.onnx")):
        kind = path.stem.partition("-")[0]
        model_type = {"gpt2": "gpt2", "vit": "vit", "clip": "clip", "t5": "t5"}.get(kind, "bert")
        for half in (False, True):
            with attempt(corpus, f"fused {path.stem}"):
                found = optimizer.optimize_model(
                    str(path), model_type=model_type, num_heads=2, hidden_size=8, opt_level=0
                )
                if half:
                    found.convert_float_to_float16()
                found.save_model_to_file(str(corpus.path(f"onnx/fused/{path.stem}{'-half' if half else ''}.onnx")))


def quantised(corpus: Corpus, folder: Path) -> None:
    """Write models in eight and four bits."""
    from onnxruntime import quantization

    for path in sorted([*folder.glob("torch/*.onnx"), *folder.glob("transformers/*-script.onnx")]):
        with attempt(corpus, f"quantised {path.stem}"):
            target = corpus.path(f"onnx/quantised/{path.stem}-dynamic.onnx")
            quantization.quantize_dynamic(str(path), str(target))
        with attempt(corpus, f"four bits {path.stem}"):
            from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

            quantizer = MatMulNBitsQuantizer(onnx.load(path), block_size=16)
            quantizer.process()
            quantizer.model.save_model_to_file(str(corpus.path(f"onnx/quantised/{path.stem}-nbits.onnx")), False)
        for form in ("QDQ", "QOperator"):
            with attempt(corpus, f"{form} {path.stem}"):
                target = corpus.path(f"onnx/quantised/{path.stem}-{form.lower()}.onnx")
                reader = _Calibration(onnx.load(path))
                quantization.quantize_static(str(path), str(target), reader, getattr(quantization.QuantFormat, form))


class _Calibration:
    """Two rows of ones for every input."""

    def __init__(self, model: Any) -> None:
        self._rows = iter([{one.name: self._ones(one) for one in model.graph.input}] * 2)

    def _ones(self, one: Any) -> Any:
        shape = [dim.dim_value or 1 for dim in one.type.tensor_type.shape.dim]
        return np.ones(shape, helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type))

    def get_next(self) -> Any:
        """Return the next row, None behind the last."""
        return next(self._rows, None)


def stored_elsewhere(corpus: Corpus) -> None:
    """Write models whose weights are in files beside them."""
    for path in sorted((corpus.directory / "onnx").glob("t*/*.onnx")):
        for single in (True, False):
            name = f"onnx/external/{path.stem}-{'one' if single else 'many'}/model.onnx"
            with attempt(corpus, name):
                onnx.save_model(
                    onnx.load(path),
                    str(corpus.path(name)),
                    save_as_external_data=True,
                    all_tensors_to_one_file=single,
                    location="model.onnx.data" if single else None,
                    size_threshold=64,
                )
