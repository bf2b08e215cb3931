"""Scan hostile and ordinary files with Weighbridge and with its peers, and print the comparison as Markdown.

    python -m benchmarks.accuracy [--malicious DIR] [--benign DIR] [--part N] [--peer NAME=COMMAND ...]

Run it from the top of the repository with an interpreter that has Weighbridge; folders that are not given are built
(the ordinary files by the libraries that this interpreter has). Weighbridge scans every file; each peer a sample of
`--peer-files` of either kind, the same one for all. The exit status is 1 unless no hostile file passes, no ordinary
file fails and at most 1 % of them are inconclusive. ONNX models, under `onnx/` in either folder, count apart. So do
files under `local/`, which hold classes of a program that nobody else has and must not pass.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus import benign, graphs, malicious
from benchmarks.peers import FAIL, INCONCLUSIVE, PASS, PEERS, ask_all

MOST_INCONCLUSIVE = 0.01  # of ordinary files
OUTCOMES = (PASS, INCONCLUSIVE, FAIL)
LOCAL, ONNX = ", local classes", ", ONNX"
PARTS = {"local": LOCAL, "onnx": ONNX}  # of a corpus, by its folder


@dataclass(frozen=True)
class Row:
    """What one scanner says of a set of files, and how long it took."""

    scanner: str
    kind: str
    outcomes: Counter[str]
    seconds: float

    def render(self) -> str:
        """Return the row of the table."""
        total = self.outcomes.total()
        cells = [f"{self.outcomes[one]} ({100 * self.outcomes[one] / max(1, total):.1f} %)" for one in OUTCOMES]
        each = 1000 * self.seconds / max(1, total)
        return f"| {self.scanner} | {self.kind} | {total} | {' | '.join(cells)} | {each:.1f} ms |"


def scan(folder: Path, jobs: int) -> tuple[dict[str, str], float]:
    """Return Weighbridge's outcome for each file of a folder, by its path, and the wall time of the process."""
    command = [sys.executable, "-m", "weighbridge", "scan", str(folder), "--format", "json", "--exit-zero"]
    start = time.perf_counter()
    done = subprocess.run([*command, "--no-digest", "--jobs", str(jobs)], capture_output=True, check=True)
    seconds = time.perf_counter() - start
    return {file["path"]: file["outcome"] for file in json.loads(done.stdout)["files"]}, seconds


def rows(folder: Path, kind: str, jobs: int) -> tuple[list[Row], dict[str, dict[str, str]]]:
    """Return Weighbridge's rows for a folder, and the outcome of each file, by the part of the corpus that it is of."""
    outcomes, seconds = scan(folder, jobs)
    parts: dict[str, dict[str, str]] = {}
    for path, outcome in outcomes.items():
        first = Path(path).relative_to(folder).parts[0]
        parts.setdefault(PARTS.get(first, ""), {})[path] = outcome
    found = []
    for name, part in sorted(parts.items()):
        share = seconds * len(part) / len(outcomes)
        found.append(Row("weighbridge", f"{kind}{name}", Counter(part.values()), share))
    return found, parts


def compare(kinds: dict[str, list[str]], arguments: argparse.Namespace) -> Iterator[Row | str]:
    """Yield the rows of every peer for a sample of each kind, or that it is not installed."""
    installed = dict(one.split("=", 1) for one in arguments.peer)
    for peer in PEERS:
        command = peer.command(installed)
        if command is None:
            yield f"| {peer.name} | not installed | | | | | |"
            continue
        for kind, paths in kinds.items():
            chosen = sorted(random.Random(0).sample(paths, min(arguments.peer_files, len(paths))))
            outcomes, seconds = ask_all(peer, command, [Path(path) for path in chosen], arguments.jobs)
            yield Row(peer.name, f"{kind}, sample", Counter(outcomes), seconds)


def wrong(hostile: dict[str, dict[str, str]], ordinary: dict[str, dict[str, str]]) -> list[str]:
    """Return what keeps the result from what is required, one line each."""
    found = [f"hostile file passes: {path}" for path, outcome in _all(hostile) if outcome == PASS]
    local = ordinary.get(LOCAL, {})
    rest = {name: part for name, part in ordinary.items() if name != LOCAL}
    found += [f"ordinary file fails: {path}" for path, outcome in _all(rest) if outcome == FAIL]
    for part in rest.values():
        open_ones = [path for path, outcome in part.items() if outcome == INCONCLUSIVE]
        if len(open_ones) > MOST_INCONCLUSIVE * len(part):
            found += [f"too many ordinary files are inconclusive: {path}" for path in open_ones]
    return found + [f"class of an unknown program passes: {path}" for path, outcome in local.items() if outcome == PASS]


def _all(parts: dict[str, dict[str, str]]) -> Iterator[tuple[str, str]]:
    for part in parts.values():
        yield from part.items()


def options(words: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    parser.add_argument("--malicious", type=Path, help="folder of hostile files, instead of building them")
    parser.add_argument("--benign", type=Path, help="folder of ordinary files, instead of building them")
    parser.add_argument("--part", type=int, help="build only so many hostile files")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="where a peer's command is")
    parser.add_argument("--peer-files", type=int, default=500, help="files of each kind for every peer (0: no peers)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Build or take the corpora, scan them, print the table and what is wrong with it."""
    arguments = options(words)
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        hostile, ordinary = arguments.malicious, arguments.benign
        if hostile is None:
            hostile = folder / "hostile"
            malicious.build(hostile, part=arguments.part)
            graphs.build(hostile / "onnx")
        if ordinary is None:
            ordinary = folder / "ordinary"
            benign.build(ordinary)
        print("| scanner | files | number | pass | inconclusive | fail | time a file |", flush=True)
        print("|---|---|---|---|---|---|---|")
        hostile_rows, hostile_outcomes = rows(hostile, "hostile", arguments.jobs)
        ordinary_rows, ordinary_outcomes = rows(ordinary, "ordinary", arguments.jobs)
        for row in hostile_rows + ordinary_rows:
            print(row.render(), flush=True)
        if arguments.peer_files:
            kinds = {f"hostile{name}": list(part) for name, part in hostile_outcomes.items()}
            kinds |= {f"ordinary{name}": list(part) for name, part in ordinary_outcomes.items() if name != LOCAL}
            for line in compare(kinds, arguments):
                print(line.render() if isinstance(line, Row) else line, flush=True)
    found = wrong(hostile_outcomes, ordinary_outcomes)
    for line in found[:50]:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
