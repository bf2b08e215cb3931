"""Print the plain classes of a library that is not installed, from its source alone.

`python -m benchmarks.review_sources FOLDER torchvision [all]` reads the unpacked package in FOLDER and judges as
`benchmarks.review_classes` does, but by the class statements: no hook, no metaclass, no slots, and every base is plain
itself or one of `BASES`. Without `all` only modules of torch are printed.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from .review_classes import HOOKS

# Bases from other libraries that `review_classes` found to be plain.
BASES = frozenset(
    "object ABC Generic SimpleNamespace TrainingArguments nn.Module torch.nn.Module Module nn.Sequential "
    "Sequential nn.ModuleList nn.ModuleDict nn.Conv1d nn.Conv2d nn.Conv3d nn.Linear nn.BatchNorm1d nn.BatchNorm2d "
    "torch.nn.BatchNorm2d nn.SyncBatchNorm nn.modules.batchnorm._BatchNorm _NormBase nn.LayerNorm nn.GroupNorm "
    "nn.RMSNorm nn.InstanceNorm2d nn.ReLU torch.nn.ReLU nn.Identity nn.AvgPool2d nn.MaxPool2d "
    "nn.AdaptiveAvgPool2d nn.Dropout nn.Embedding nn.MultiheadAttention nn.TransformerEncoderLayer nn.Upsample "
    "nn.Hardswish nn.CrossEntropyLoss nn.BCEWithLogitsLoss torch.nn.Sequential torch.nn.Conv2d "
    "nn.modules.Conv2d".split()
)


@dataclass(frozen=True)
class Statement:
    """What a class statement says."""

    module: str
    name: str
    bases: tuple[str, ...]
    blemished: bool

    @property
    def of_torch(self) -> bool:
        """Whether a base is one of torch's modules, as far as this statement shows."""
        return any(base in BASES and ("Module" in base or "nn." in base) for base in self.bases)


def statements(folder: Path, package: str) -> list[Statement]:
    """Return every class statement of the package, its tests left out."""
    found = []
    for path in sorted((folder / package).rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        if "tests" not in parts:
            tree = ast.parse(path.read_text(encoding="utf-8-sig"))
            found += [statement(module, node) for node in tree.body if isinstance(node, ast.ClassDef)]
    return found


def statement(module: str, node: ast.ClassDef) -> Statement:
    """Return what a class statement says."""
    defined = {part.name for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)}
    for part in node.body:
        if isinstance(part, ast.Assign):
            defined |= {target.id for target in part.targets if isinstance(target, ast.Name)}
    blemished = bool(defined & {*HOOKS, "__slots__"}) or bool(node.keywords)
    bases = tuple(ast.unparse(base).partition("[")[0] for base in node.bases)
    return Statement(module, node.name, bases, blemished)


class Review:
    """The statements of one package by class name; a name that several modules use must be plain in all of them."""

    def __init__(self, found: list[Statement]) -> None:
        self.by_name: dict[str, list[Statement]] = defaultdict(list)
        for one in found:
            self.by_name[one.name].append(one)
        self._known: dict[Statement, bool] = {}

    def bases(self, one: Statement) -> list[list[Statement]]:
        """Return, for every base of the package itself, the statements it may mean."""
        names = [base.rpartition(".")[2] for base in one.bases if base not in BASES]
        return [[other for other in self.by_name[name] if other != one] for name in names]

    def plain(self, one: Statement) -> bool:
        """Tell whether a class and all its bases are plain; a class that is its own base is not."""
        if one not in self._known:
            self._known[one] = False
            clean = all(others and all(map(self.plain, others)) for others in self.bases(one))
            self._known[one] = clean and not one.blemished
        return self._known[one]

    def of_torch(self, one: Statement, depth: int = 0) -> bool:
        """Tell whether a class is a module of torch."""
        if one.of_torch or depth > 20:
            return one.of_torch
        return any(self.of_torch(other, depth + 1) for others in self.bases(one) for other in others)


def main() -> None:
    """Print the plain classes of the package that the command line names."""
    folder, package, *rest = sys.argv[1:]
    found = statements(Path(folder), package)
    review = Review(found)
    plain: dict[str, list[str]] = defaultdict(list)
    for one in found:
        if review.plain(one) and (rest or review.of_torch(one)):
            plain[one.module].append(one.name)
    print("classes:")
    for module, names in sorted(plain.items()):
        print(f"  {module}: {' '.join(sorted(names))}")


if __name__ == "__main__":
    main()
