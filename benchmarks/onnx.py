"""Measure whole processes on ONNX models: Weighbridge, `onnx.load` and modelaudit. Prints Markdown.

    python -m benchmarks.onnx [--only WORD] [--peer modelaudit=COMMAND]

Run it from the top of the repository, on a machine that does nothing else, with an interpreter that has Weighbridge
installed. A figure is the median of five runs (one, when it is slow), start of the interpreter included, with the
largest resident memory of any of them; files are not hashed. The exit status is 1 when a requirement is not met.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import PEERS
from benchmarks.speed import Figure, measure
from fixtures.onnx_models import expansion
from fixtures.protobuf import FLOAT, INT64, IR, field, message, model, node, opsets, value, varint

GIB = 1 << 30
_BLOCK = 1 << 24
# What is required: seconds, megabytes, and how many times better than the other.
SECONDS, MEGABYTES = 0.25, 120
FASTER_THAN_LOADING, SMALLER_THAN_LOADING, FASTER_THAN_MODELAUDIT = 10, 15, 20
NODES_SECONDS, BOMB_SECONDS = 1.0, 0.25

LOAD = "import sys, onnx; onnx.load(sys.argv[1], load_external_data=False)"
IMPORT = "import onnx"


@dataclass(frozen=True)
class Case:
    """A model to scan: `make` writes it, `wrong` says what the figures (ours, loading, the peer) do not meet.

    `status` is the exit status that the scan has to have: a fast wrong answer is none.
    """

    title: str
    make: Callable[[Path], None]
    wrong: Callable[[Figure, Figure, Figure | None], Iterator[str]]
    status: int = 0


def _weights(name: str, size: int) -> tuple[bytes, int]:
    """Return a TensorProto of floats up to where its raw data begin, and the size of the whole."""
    head = field(1, [size // 4]) + message({2: FLOAT, 8: name}) + varint(9 << 3 | 2) + varint(size)
    return head, len(head) + size


def large(path: Path, size: int, *, tensors: int = 200, nodes: int = 20_000, holes: bool) -> None:
    """Write a model of `size` bytes of weights in `tensors` tensors; with `holes` the weights take no space on disk."""
    each = size // tensors // 4 * 4
    graph = b"".join(
        field(1, node("Add", [f"v{index}", f"w{index % tensors}"], [f"v{index + 1}"])) for index in range(nodes)
    )
    graph += field(2, "g")
    ends = field(11, value("v0", ("n",))) + field(12, value(f"v{nodes}", ("n",)))
    weights = [_weights(f"w{index}", each) for index in range(tensors)]
    inner = len(graph) + len(ends) + sum(1 + len(varint(total)) + total for _, total in weights)
    block = random.Random(0).randbytes(_BLOCK)
    with path.open("wb") as file:
        file.write(message({1: IR, 2: "weighbridge"}) + varint(7 << 3 | 2) + varint(inner) + graph)
        for head, total in weights:
            file.write(varint(5 << 3 | 2) + varint(total) + head)
            if holes:
                file.seek(each, 1)
            else:
                for start in range(0, each, _BLOCK):
                    file.write(block[: each - start])
        file.write(ends + opsets(8, {"": 17}))


def many_nodes(path: Path) -> None:
    """Write a graph of 300 000 nodes, a third of which have attributes."""
    attribute = message({1: "to", 3: INT64, 20: 2})
    parts = []
    for index in range(100_000):
        base = 3 * index
        parts.append(field(1, node("Add", [f"v{base}", f"v{base}"], [f"v{base + 1}"])))
        parts.append(field(1, node("Cast", [f"v{base + 1}"], [f"v{base + 2}"], [attribute])))
        parts.append(field(1, node("Relu", [f"v{base + 2}"], [f"v{base + 3}"])))
    path.write_bytes(model(b"".join(parts) + field(2, "g") + field(11, value("v0")) + field(12, value("v300000"))))


def bomb(path: Path) -> None:
    """Write functions that unfold to two to the power of 25 nodes."""
    path.write_bytes(expansion(26))


def _too_large(ours: Figure, loading: Figure, peer: Figure | None) -> Iterator[str]:
    if ours.seconds is None or ours.seconds > SECONDS:
        yield f"{ours.render()}: over {SECONDS} s"
    if ours.memory > MEGABYTES * 1e6:
        yield f"{ours.render()}: over {MEGABYTES} MB"


def _side_by_side(ours: Figure, loading: Figure, peer: Figure | None) -> Iterator[str]:
    if ours.seconds is None or loading.seconds is None:
        yield "over the limit of time"
        return
    if loading.seconds < FASTER_THAN_LOADING * ours.seconds:
        yield f"only {loading.seconds / ours.seconds:.1f} times faster than onnx.load"
    if loading.memory < SMALLER_THAN_LOADING * ours.memory:
        yield f"only {loading.memory / ours.memory:.1f} times smaller than onnx.load"
    if peer is not None and peer.seconds is not None and peer.seconds < FASTER_THAN_MODELAUDIT * ours.seconds:
        yield f"only {peer.seconds / ours.seconds:.1f} times faster than modelaudit"


def _within(seconds: float) -> Callable[[Figure, Figure, Figure | None], Iterator[str]]:
    def wrong(ours: Figure, loading: Figure, peer: Figure | None) -> Iterator[str]:
        if ours.seconds is None or ours.seconds > seconds:
            yield f"{ours.render()}: over {seconds} s"

    return wrong


CASES = (
    Case("3 GiB of weights in the file", lambda path: large(path, 3 * GIB, holes=True), _too_large),
    Case("1 GiB of weights in the file", lambda path: large(path, GIB, holes=False), _side_by_side),
    Case("300 000 nodes", many_nodes, _within(NODES_SECONDS)),
    Case("functions of 2^25 nodes in 1.6 KB", bomb, _within(BOMB_SECONDS), status=1),
)


def row(case: Case, path: Path, peer: list[str] | None) -> tuple[str, list[str]]:
    """Return the row of a case, and what it does not meet."""
    subprocess.run([sys.executable, "-m", "benchmarks.onnx", "--write", case.title, str(path)], check=True)
    command = [sys.executable, "-m", "weighbridge", "scan", str(path), "--no-digest"]
    answer = subprocess.run(command, capture_output=True, check=False).returncode
    ours = measure(command)
    loading = measure([sys.executable, "-c", LOAD, str(path)])
    loads = subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, check=False).returncode == 0
    theirs = measure([*peer, str(path)]) if peer else None
    cells = [
        ours.render(),
        loading.render() if loads else f"cannot load it ({loading.render()})",
        theirs.render() if theirs else "not installed",
    ]
    wrong = [f"{case.title}: {one}" for one in case.wrong(ours, loading, theirs)]
    if answer != case.status:
        wrong.append(f"{case.title}: exit status {answer}, not {case.status}")
    return f"| {case.title} | {' | '.join(cells)} |", wrong


def main() -> int:
    """Make the models one by one, measure each and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.onnx")
    parser.add_argument("--only", metavar="WORD", default="", help="only cases whose title has this word")
    parser.add_argument("--write", nargs=2, metavar=("TITLE", "PATH"), help="only write a model")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="where a peer's command is")
    arguments = parser.parse_args()
    if arguments.write:
        # In a process of its own: a child begins with the peak of memory of the process that started it.
        next(case for case in CASES if case.title == arguments.write[0]).make(Path(arguments.write[1]))
        return 0
    installed = dict(one.split("=", 1) for one in arguments.peer)
    (peer,) = (one.command(installed) for one in PEERS if one.name == "modelaudit")
    print("| model | weighbridge | onnx.load | modelaudit |\n|---|---|---|---|", flush=True)
    print(f"| (starting) | | {measure([sys.executable, '-c', IMPORT]).render()} (`import onnx`) | |", flush=True)
    found = []
    for case in CASES:
        if arguments.only in case.title:
            with tempfile.TemporaryDirectory() as folder:
                text, wrong = row(case, Path(folder) / "model.onnx", peer)
            print(text, flush=True)
            found += wrong
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
