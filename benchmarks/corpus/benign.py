"""The ordinary half of the accuracy corpus: model files as the real libraries write them.

Run it with an interpreter that has the libraries: `python -m benchmarks.corpus.benign FOLDER`.
Each library is optional and a missing one leaves a note. Everything is seeded and small. The files under
`local/` hold classes of a program that nobody else has: a scan of them is rightly inconclusive.
"""

from __future__ import annotations

import importlib
import random
import sys
import types
from pathlib import Path

from .writer import Corpus

# library -> module of this package and its function
FAMILIES = {
    "python": ("python_files", "build"),
    "numpy": ("numpy_files", "build_numpy"),
    "scipy": ("numpy_files", "build_scipy"),
    "torch": ("torch_files", "build"),
    "sklearn": ("sklearn_files", "build"),
    "pandas": ("table_files", "build_pandas"),
    "xgboost": ("table_files", "build_xgboost"),
    "lightgbm": ("table_files", "build_lightgbm"),
    "catboost": ("table_files", "build_catboost"),
    "transformers": ("transformers_files", "build"),
    "onnx": ("onnx_files", "build"),
    "values": ("value_files", "build"),
    "libraries": ("library_files", "build"),
    "repositories": ("repositories", "build"),
}


def build(directory: Path, only: list[str] | None = None) -> Corpus:
    """Write the corpus into `directory` and return what was written and what was not."""
    corpus = Corpus(directory)
    for name, (module, function) in FAMILIES.items():
        if only and name not in only:
            continue
        random.seed(0)
        try:
            family = getattr(importlib.import_module(f".{module}", __package__), function)
        except ImportError as error:
            corpus.notes.append(f"{name} is not installed: {error}")
            continue
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(0)
        family(corpus)
    if not only or "local" in only:
        local(corpus)
    return corpus


def local(corpus: Corpus) -> None:
    """Write instances of classes and enums of a module `my_project.models`."""
    source = types.ModuleType("my_project.models")
    sys.modules["my_project"] = types.ModuleType("my_project")
    sys.modules["my_project.models"] = source
    for name in ("Config", "Vocabulary", "Trainer"):
        kind = type(name, (), {"__module__": "my_project.models"})
        setattr(source, name, kind)
        value = kind()
        value.__dict__.update(size=3, words=["a", "b"])
        corpus.pickle(f"local/{name}", value, (2, 4))
        corpus.pickle(f"local/{name}-class", {"class": kind})


def main() -> None:
    """Build the corpus that the command line asks for and say what is in it."""
    corpus = build(Path(sys.argv[1]), sys.argv[2:])
    size = sum(path.stat().st_size for path in corpus.written)
    for note in corpus.notes:
        print(f"not written: {note}", file=sys.stderr)
    print(f"{len(corpus.written)} files, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
