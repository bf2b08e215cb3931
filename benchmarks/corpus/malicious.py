"""The hostile half of the accuracy corpus: files that run something, hide something or exhaust whoever loads them.

Run it as `python -m benchmarks.corpus.malicious FOLDER [FILES]` from the top of the repository. Nothing is pickled and
nothing is ever loaded: every file is assembled from opcodes. The same seed gives the same bytes.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

from . import (
    behaviours,
    constructions,
    containers,
    differentials,
    exhaustion,
    flows,
    forms,
    gadgets,
    graphs,
    hook_abuse,
    settings_files,
    streams,
    text_abuse,
    value_abuse,
)
from .payloads import Sample

SEED = 0
FAMILIES = (
    gadgets,
    streams,
    forms,
    constructions,
    behaviours,
    differentials,
    containers,
    exhaustion,
    settings_files,
    value_abuse,
    hook_abuse,
    flows,
    text_abuse,
)


def samples() -> list[Sample]:
    """Return every sample of every family, in a stable order."""
    return [sample for family in FAMILIES for sample in family.samples()]


def choose(everything: list[Sample], seed: int, part: int | None) -> list[Sample]:
    """Return `part` samples, one of every technique before the second of any, chosen by `seed`."""
    if part is None or part >= len(everything):
        return everything
    source = random.Random(seed)
    shuffled = source.sample(everything, len(everything))
    seen: Counter[str] = Counter()
    turns = []
    for sample in shuffled:
        turns.append((seen[sample.label], sample))
        seen[sample.label] += 1
    turns.sort(key=lambda turn: turn[0])
    return [sample for _, sample in turns[:part]]


def build(directory: Path, seed: int = SEED, part: int | None = None) -> list[tuple[Path, str]]:
    """Write the corpus, or `part` files of it, into `directory`; return each file and its technique."""
    written = []
    for sample in choose(samples(), seed, part):
        path = directory / sample.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.make())
        written.append((path, sample.label))
    return written


def main() -> None:
    """Build the corpus that the command line asks for and say what is in it."""
    part = int(sys.argv[2]) if len(sys.argv) > 2 else None
    written = build(Path(sys.argv[1]), SEED, part) + graphs.build(Path(sys.argv[1]) / "onnx")
    size = sum(path.stat().st_size for path, _ in written)
    techniques = len({label for _, label in written})
    print(f"{len(written)} files, {techniques} techniques, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
