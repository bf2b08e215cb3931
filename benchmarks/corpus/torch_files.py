# mypy: ignore-errors
# The libraries are installed where the corpus is built, not where the project is checked.
"""Ordinary PyTorch files: state dicts, checkpoints, whole modules, optimisers, TorchScript, exported programs."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn.utils import prune

from .writer import Corpus

DTYPES = [
    "float16",
    "float32",
    "float64",
    "bfloat16",
    "complex64",
    "complex128",
    "complex32",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
]
# class name and the arguments it is made with, as a literal tuple
MODULES = {
    "activation": (
        "ELU() GELU() GLU() Hardshrink() Hardsigmoid() Hardswish() Hardtanh() LeakyReLU() LogSigmoid() "
        "LogSoftmax(1) Mish() MultiheadAttention(4,2) PReLU() RReLU() ReLU() ReLU6() SELU() SiLU() Sigmoid() "
        "Softmax(1) Softmax2d() Softmin(1) Softplus() Softshrink() Softsign() Tanh() Tanhshrink() "
        "Threshold(0,1) CELU()"
    ),
    "convolution": (
        "Conv1d(2,2,3) Conv2d(2,2,3) Conv3d(2,2,3) ConvTranspose1d(2,2,3) ConvTranspose2d(2,2,3) "
        "ConvTranspose3d(2,2,3) LazyConv2d(2,3) Fold((4,4),2) Unfold(2) Upsample((4,4)) "
        "UpsamplingNearest2d((4,4)) UpsamplingBilinear2d((4,4)) PixelShuffle(2) PixelUnshuffle(2) "
        "ChannelShuffle(2)"
    ),
    "linear": (
        "Linear(3,4) Bilinear(2,3,4) Identity() LazyLinear(3) Embedding(5,3) EmbeddingBag(5,3) Flatten() "
        "Unflatten(1,(2,2))"
    ),
    "normalisation": (
        "BatchNorm1d(3) BatchNorm2d(3) BatchNorm3d(3) InstanceNorm1d(3) InstanceNorm2d(3) GroupNorm(1,3) "
        "LayerNorm(3) LocalResponseNorm(2) RMSNorm(3) SyncBatchNorm(3) CrossMapLRN2d(2) LazyBatchNorm2d()"
    ),
    "pooling": (
        "AdaptiveAvgPool1d(1) AdaptiveAvgPool2d(1) AdaptiveMaxPool2d((2,2)) AvgPool1d(2) AvgPool2d(2) "
        "AvgPool3d(2) FractionalMaxPool2d(2,2) LPPool1d(2,2) LPPool2d(2,2) MaxPool1d(2) MaxPool2d(2) "
        "MaxPool3d(2) MaxUnpool2d(2)"
    ),
    "padding": (
        "ConstantPad1d(1,0.0) ConstantPad2d(1,0.0) ReflectionPad2d(1) ReplicationPad2d(1) ZeroPad2d(1) CircularPad2d(1)"
    ),
    "dropout": "Dropout() Dropout1d() Dropout2d() Dropout3d() AlphaDropout() FeatureAlphaDropout()",
    "recurrent": "RNN(3,4) LSTM(3,4) GRU(3,4) RNNCell(3,4) LSTMCell(3,4) GRUCell(3,4)",
    "transformer": "Transformer(4,2,1,1,8) TransformerEncoderLayer(4,2,8) TransformerDecoderLayer(4,2,8)",
    "loss": (
        "L1Loss() MSELoss() CrossEntropyLoss() NLLLoss() PoissonNLLLoss() GaussianNLLLoss() KLDivLoss() "
        "BCELoss() BCEWithLogitsLoss() CTCLoss() HingeEmbeddingLoss() MarginRankingLoss() MultiMarginLoss() "
        "SmoothL1Loss() HuberLoss() SoftMarginLoss() TripletMarginLoss() TripletMarginWithDistanceLoss() "
        "CosineEmbeddingLoss() MultiLabelMarginLoss() CosineSimilarity() PairwiseDistance() "
        "AdaptiveLogSoftmaxWithLoss(4,8,(2,4))"
    ),
}
OPTIMISERS = [
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ASGD",
    "LBFGS",
    "Muon",
    "NAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
    "SparseAdam",
]


def module(expression: str) -> nn.Module:
    """Return the module that `Name(arguments)` describes."""
    name, _, arguments = expression.partition("(")
    literal = arguments.removesuffix(")")
    values = literal.replace("(", " ( ").replace(")", " ) ").replace(",", " ").split()
    return getattr(nn, name)(*_arguments(values))


def _arguments(words: list[str]) -> list[object]:
    """Return numbers and tuples of numbers."""
    found: list[object] = []
    inner: list[object] | None = None
    for word in words:
        if word == "(":
            inner = []
        elif word == ")":
            found.append(tuple(inner or ()))
            inner = None
        else:
            (found if inner is None else inner).append(float(word) if "." in word else int(word))
    return found


def network() -> nn.Module:
    """Return a small network with most common layers."""
    return nn.Sequential(
        collections.OrderedDict(
            stem=nn.Conv2d(3, 4, 3, padding=1),
            norm=nn.BatchNorm2d(4),
            act=nn.ReLU(inplace=True),
            pool=nn.AdaptiveAvgPool2d((1, 1)),
            flat=nn.Flatten(),
            head=nn.Linear(4, 2),
        )
    )


def build(corpus: Corpus) -> None:
    """Write every family of PyTorch file."""
    torch.manual_seed(0)
    for part in (tensors, quantised, modules, wrapped, checkpoints, optimisers, plain_pickles, programs):
        with corpus.optional(f"torch {part.__name__}"):
            part(corpus)


def save(corpus: Corpus, name: str, value: object, suffix: str = "pt") -> None:
    """Write `value` with torch.save in the zip format and in the one before it."""
    torch.save(value, corpus.path(f"torch/{name}.{suffix}"))
    with corpus.optional(f"torch legacy {name}"):
        torch.save(value, corpus.path(f"torch/{name}-legacy.{suffix}"), _use_new_zipfile_serialization=False)


def tensors(corpus: Corpus) -> None:
    """Write tensors of every dtype, layout and kind."""
    for name in DTYPES:
        with corpus.optional(f"torch {name}"):
            save(corpus, f"tensor-{name}", {"x": torch.zeros(2, 3, dtype=getattr(torch, name))})
    base = torch.arange(12.0).reshape(3, 4)
    kinds = {
        "views": [base, base[1:], base.t(), base[:, 0]],
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(base.clone()),
        "requires_grad": base.clone().requires_grad_(),
        "conjugate": torch.zeros(2, dtype=torch.complex64).conj(),
        "sparse_coo": torch.eye(3).to_sparse(),
        "sparse_csr": torch.eye(3).to_sparse_csr(),
        "sparse_csc": torch.eye(3).to_sparse_csc(),
        "sparse_bsr": torch.eye(4).to_sparse_bsr((2, 2)),
        "nested_strided": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
        "meta": torch.zeros(3, device="meta"),
        "channels_last": torch.zeros(1, 2, 3, 3).contiguous(memory_format=torch.channels_last),
        "storage": torch.FloatStorage(4),
        "untyped_storage": torch.UntypedStorage(16),
        "size_device_dtype": [
            torch.Size([1, 2]),
            torch.device("cpu"),
            torch.device("cuda", 0),
            torch.float32,
            torch.strided,
        ],
        "rng_state": torch.get_rng_state(),
        "generator": torch.Generator().get_state(),
        "tied": dict.fromkeys(("encoder.weight", "decoder.weight"), base),
        "large": {"weight": torch.zeros(128, 256), "bias": torch.zeros(256)},
    }
    for name, value in kinds.items():
        with corpus.optional(f"torch {name}"):
            save(corpus, f"kind-{name}", value)
    with corpus.optional("torch attribute"):
        tagged = torch.zeros(2)
        tagged.note = "an attribute of a tensor"
        save(corpus, "kind-attribute", tagged)


def quantised(corpus: Corpus) -> None:
    """Write quantised tensors and dynamically quantised modules."""
    values = torch.randn(3, 4)
    save(corpus, "quantised-tensor", torch.quantize_per_tensor(values, 0.1, 0, torch.qint8))
    channel = torch.quantize_per_channel(values, torch.ones(3), torch.zeros(3, dtype=torch.int64), 0, torch.quint8)
    save(corpus, "quantised-channel", channel)
    dynamic = torch.ao.quantization.quantize_dynamic(
        nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 4)), {nn.Linear, nn.LSTM}
    )
    save(corpus, "quantised-state-dict", dynamic.state_dict())
    save(corpus, "quantised-module", dynamic)


def modules(corpus: Corpus) -> None:
    """Write whole modules of every family, together and as state dicts."""
    for family, expressions in MODULES.items():
        made = nn.ModuleDict()
        for expression in expressions.split():
            with corpus.optional(f"torch {expression}"):
                made[expression.partition("(")[0]] = module(expression)
        save(corpus, f"modules-{family}", made, "pth")
        torch.save(made.state_dict(), corpus.path(f"torch/modules-{family}-state.pth"))
    containers = nn.ModuleList(
        [nn.ParameterList([nn.Parameter(torch.zeros(2))]), nn.ParameterDict({"a": torch.zeros(2)})]
    )
    save(corpus, "modules-container", containers)
    for name in ("TransformerEncoder", "TransformerDecoder"):
        layer = getattr(nn, f"{name}Layer")(4, 2, 8)
        save(corpus, f"modules-{name}", getattr(nn, name)(layer, 2))


def wrapped(corpus: Corpus) -> None:
    """Write modules with hooks, norms, wrappers and pruning masks, and a model after a training step."""
    trained = network()
    trained(torch.zeros(2, 3, 8, 8)).sum().backward()
    save(corpus, "module-trained", trained)
    save(corpus, "module-eval-half", network().eval().half())
    save(corpus, "module-data-parallel", nn.DataParallel(network()))
    save(corpus, "state-data-parallel", nn.DataParallel(network()).state_dict())
    save(corpus, "module-weight-norm", nn.utils.weight_norm(nn.Linear(3, 3)))
    save(corpus, "module-spectral-norm", nn.utils.spectral_norm(nn.Linear(3, 3)))
    parametrised = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    save(corpus, "state-parametrised", parametrised.state_dict())
    pruned = prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5)
    save(corpus, "module-pruned", pruned)
    averaged = torch.optim.swa_utils.AveragedModel(network())
    save(corpus, "state-averaged", averaged.state_dict())
    fused = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
    save(corpus, "module-quant-stubs", nn.Sequential(*fused))


def checkpoints(corpus: Corpus) -> None:
    """Write training checkpoints as the common frameworks nest them."""
    model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.zeros(2, 3, 8, 8)).sum().backward()
    optimiser.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, 5)
    state = {
        "epoch": 3,
        "model": model.state_dict(),
        "optimizer": optimiser.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
    }
    save(
        corpus,
        "checkpoint-imagenet",
        state | {"args": argparse.Namespace(lr=0.1, out=pathlib.Path("runs")), "best": 0.75},
        "pth",
    )
    lightning = {
        "epoch": 1,
        "global_step": 10,
        "pytorch-lightning_version": "2.2.0",
        "state_dict": model.state_dict(),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.5), "best_k_models": {}}
        },
        "optimizer_states": [optimiser.state_dict()],
        "lr_schedulers": [scheduler.state_dict()],
        "hparams_name": "kwargs",
        "hyper_parameters": {
            "lr": 1e-3,
            "layers": [1, 2],
            "path": pathlib.Path("data"),
            "when": datetime.datetime(2024, 1, 1),
        },
        "datamodule_hyper_parameters": collections.OrderedDict(batch=8),
    }
    save(corpus, "checkpoint-lightning", lightning, "ckpt")
    history = collections.defaultdict(list, loss=[1.0, 0.5], accuracy=[np.float64(0.5), np.float32(0.25)])
    mixed = {
        "state": model.state_dict(),
        "history": history,
        "date": datetime.date(2024, 1, 1),
        "rng": np.random.get_state(),
    }
    save(corpus, "checkpoint-mixed", mixed | {"metrics": np.arange(3), "classes": np.array(["cat", "dog"])}, "tar")
    scaler = {
        "scale": 65536.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 2000,
        "_growth_tracker": 0,
    }
    save(corpus, "checkpoint-scaler", {"scaler": scaler, "ema": {k: v.double() for k, v in model.state_dict().items()}})
    random_states = {
        "python": __import__("random").getstate(),
        "numpy": np.random.get_state(),
        "cpu": torch.random.get_rng_state(),
    }
    save(corpus, "rng_state", random_states, "pth")
    save(corpus, "checkpoint-version", {"torch": torch.__version__, "state_dict": model.state_dict()})


def optimisers(corpus: Corpus) -> None:
    """Write every optimiser after a step, its state dict, and every scheduler."""
    for name in OPTIMISERS:
        with corpus.optional(f"torch {name}"):
            parameter = nn.Parameter(torch.randn(3, 3))
            optimiser = getattr(torch.optim, name)([parameter], lr=0.01)
            gradient = torch.ones(3, 3).to_sparse() if name == "SparseAdam" else torch.ones(3, 3)
            parameter.grad = gradient
            optimiser.step(lambda: torch.tensor(0.0)) if name == "LBFGS" else optimiser.step()
            save(corpus, f"optimiser-{name}-state", optimiser.state_dict())
            save(corpus, f"optimiser-{name}", optimiser)
    schedule = torch.optim.lr_scheduler
    makers = {
        "StepLR": (3,),
        "MultiStepLR": ([3, 5],),
        "ExponentialLR": (0.9,),
        "CosineAnnealingLR": (10,),
        "CosineAnnealingWarmRestarts": (10,),
        "ReduceLROnPlateau": (),
        "OneCycleLR": (0.1, 10),
        "CyclicLR": (0.01, 0.1),
        "LinearLR": (),
        "ConstantLR": (),
        "PolynomialLR": (),
    }
    for name, arguments in makers.items():
        with corpus.optional(f"torch {name}"):
            optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1, momentum=0.9)
            scheduler = getattr(schedule, name)(optimiser, *arguments)
            save(corpus, f"scheduler-{name}-state", scheduler.state_dict())


def plain_pickles(corpus: Corpus) -> None:
    """Write tensors, parameters and modules with plain pickle, where storages travel as nested archives."""
    corpus.pickle("torch/pickled-tensor", torch.arange(4.0), (2, 3, 4, 5))
    corpus.pickle("torch/pickled-parameter", nn.Parameter(torch.arange(4.0)), (2, 4))
    corpus.pickle("torch/pickled-module", network(), (2, 4))
    corpus.pickle("torch/pickled-state-dict", network().state_dict(), (2, 4))
    corpus.pickle(
        "torch/pickled-mixed", {"x": torch.zeros(2, dtype=torch.bfloat16), "y": [torch.Size([2]), torch.int64]}
    )
    corpus.pickle(
        "torch/pickled-functions", [torch.nn.functional.relu, torch.relu, torch.nn.functional.gelu, torch.tanh]
    )


class _Scripted(nn.Module):
    """A module for TorchScript and export."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the network's answer."""
        return self.inner(x)


def programs(corpus: Corpus) -> None:
    """Write TorchScript archives and exported programs."""
    example = torch.zeros(1, 3, 8, 8)
    with corpus.optional("torch script"):
        torch.jit.save(torch.jit.script(_Scripted().eval()), corpus.path("torch/scripted.pt"))
    with corpus.optional("torch trace"):
        torch.jit.save(torch.jit.trace(_Scripted().eval(), example), corpus.path("torch/traced.pt"))
    with corpus.optional("torch export"):
        torch.export.save(torch.export.export(_Scripted().eval(), (example,)), corpus.path("torch/exported.pt2"))
    with corpus.optional("safetensors"):
        from safetensors.torch import save_file

        save_file(network().state_dict(), corpus.path("torch/network.safetensors"), metadata={"format": "pt"})
        for name in ("float16", "bfloat16", "int8", "bool", "float8_e4m3fn"):
            save_file({"x": torch.zeros(4, dtype=getattr(torch, name))}, corpus.path(f"torch/{name}.safetensors"))
