"""Print the plain classes of an installed library as the `classes:` of a trust file.

`python -m benchmarks.review_classes sklearn torch.nn` imports every module of the packages. A class is kept when NEWOBJ
and BUILD do no more than to make it without arguments and to fill its `__dict__`. A hook (`__setstate__`,
`__getattr__`, ...) is accepted only from a class in `REVIEWED`, whose source was read. The lists in `rules/trust/` are
this program's output, looked through by a person.

A hook that calls a method of what it is given, or of the object itself by a name that the state may hold, needs a
schema of that state in the trust file; so does one that hashes, compares or prints a part of it.
"""

from __future__ import annotations

import abc
import enum
import importlib
import pkgutil
import sys
import textwrap
import typing
import warnings
from collections import defaultdict
from collections.abc import Iterator
from types import ModuleType

# What loading may run: creation, state, attribute access while BUILD looks for __setstate__, destruction.
HOOKS = (
    "__new__",
    "__setstate__",
    "__getattr__",
    "__getattribute__",
    "__setattr__",
    "__delattr__",
    "__del__",
)
# Whose hooks were read, and what they do with a state of the attacker's choice.
REVIEWED = {
    "sklearn.base.BaseEstimator": "compares a version and puts it into a warning, so it must be text; updates __dict__",
    "sklearn.base._HTMLDocumentationLinkMixin": "none",
    "sklearn.isotonic.IsotonicRegression": "rebuilds an interpolation function from two arrays by a method of its own",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": "casts an array, which must be one",
    "sklearn.frozen._frozen.FrozenEstimator": "forwards attribute look-ups to the inner estimator",
    "sklearn.utils._metadata_requests.MetadataRequest": "computes requests for names that begin in composite methods",
    "torch.nn.modules.module.Module": "updates __dict__ and adds missing hook tables",
    "torch.nn.modules.conv._ConvNd": "adds a missing padding mode",
    "torch.nn.modules.rnn.RNNBase": "rebuilds the list of its own weights",
    "torch.nn.modules.activation.MultiheadAttention": "adds a missing flag",
    "torch.nn.modules.activation.Softmax": "adds a missing dimension",
    "torch.nn.modules.activation.Softmin": "adds a missing dimension",
    "torch.nn.modules.activation.LogSoftmax": "adds a missing dimension",
    "torch.nn.modules.upsampling.Upsample": "adds a missing flag",
    "torch.nn.modules.pooling.AvgPool3d": "adds missing defaults",
    "torch.nn.modules.transformer.TransformerEncoderLayer": "adds a missing activation",
    "torch.nn.modules.transformer.TransformerDecoderLayer": "adds a missing activation",
    "torch.nn.modules.linear_cross_entropy_options.LinearCrossEntropyOptions": "fills slots",
    "torch.ao.nn.quantized.dynamic.modules.rnn.RNNBase": "rebuilds the list of its own weights",
    "torch.optim.optimizer.Optimizer": "updates __dict__, calls methods of its own by name, and those of its tables",
    **dict.fromkeys(
        (
            f"torch.optim.{name}"
            for name in "Adafactor adadelta.Adadelta adagrad.Adagrad adam.Adam adamw.AdamW adamax.Adamax asgd.ASGD "
            "nadam.NAdam radam.RAdam rmsprop.RMSprop rprop.Rprop sgd.SGD".split()
        ),
        "adds missing settings to its parameter groups and turns step counts into tensors: both must be dicts",
    ),
}
SKIPPED = (
    "test",
    "conftest",
    "externals",
    "_build_utils",
    "__main__",
    "setup",
    "datasets",
    "callback",
    "experimental",
    "f2py",
)
METACLASSES = (type, abc.ABCMeta)


def modules(package: str) -> Iterator[ModuleType]:
    """Yield every module of the package that imports here and is not one of its tests."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.walk_packages(getattr(root, "__path__", ()), f"{package}.", onerror=lambda _: None):
        if any(part.lstrip("_").startswith(SKIPPED) for part in found.name.split(".")[1:]):
            continue
        try:
            yield importlib.import_module(found.name)
        except Exception as error:  # noqa: BLE001 - an optional dependency may fail in any way
            print(f"# not imported: {found.name}: {type(error).__name__}", file=sys.stderr)


def path(kind: type) -> str:
    """Return the dotted name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def owner(kind: type, attribute: str) -> type | None:
    """Return the class that defines `attribute` for `kind`, None for `object` or nobody."""
    for base in kind.__mro__[:-1]:
        if attribute in vars(base):
            return base
    return None


def objection(kind: type) -> str:
    """Return why a class is not plain, or nothing."""
    if type(kind) not in METACLASSES:
        return f"metaclass {type(kind).__name__}"
    if issubclass(kind, BaseException | enum.Enum):
        return "exception or enum"
    for base in kind.__mro__[:-1]:
        if base.__module__ == "builtins" or not base.__flags__ & 1 << 9:
            return f"built-in base {path(base)}"
    for hook in HOOKS:
        found = owner(kind, hook)
        if found is not None and found is not typing.Generic and path(found) not in REVIEWED:
            return f"{hook} of {path(found)}"
    return ""


def classes(packages: list[str]) -> tuple[dict[str, set[str]], dict[str, str]]:
    """Return module -> names of plain classes, and dotted name -> objection for the others."""
    plain: dict[str, set[str]] = defaultdict(set)
    refused: dict[str, str] = {}
    for package in packages:
        for module in modules(package):
            for kind in list(vars(module).values()):
                if not isinstance(kind, type) or not path(kind).startswith(f"{package}.") or "<" in path(kind):
                    continue
                reason = objection(kind)
                if reason:
                    refused[path(kind)] = reason
                else:
                    plain[kind.__module__].add(kind.__qualname__)
    return plain, refused


def main() -> None:
    """Print the plain classes of the packages on the command line; `--refused` prints the others and why."""
    warnings.simplefilter("ignore")
    plain, refused = classes([name for name in sys.argv[1:] if not name.startswith("--")])
    if "--refused" in sys.argv:
        for name, reason in sorted(refused.items()):
            print(f"{name}: {reason}")
        return
    print("classes:")
    for module, names in sorted(plain.items()):
        line = f"  {module}: {' '.join(sorted(names))}"
        if len(line) <= 150:
            print(line)
        else:
            print(
                f"  {module}: >-\n"
                + textwrap.fill(" ".join(sorted(names)), 146, initial_indent="    ", subsequent_indent="    ")
            )


if __name__ == "__main__":
    main()
