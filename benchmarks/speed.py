"""Measure whole processes: Weighbridge, its peers, and the physical limit of each case. Prints Markdown.

    python -m benchmarks.speed [--quick] [--peer NAME=COMMAND ...]

Run it from the top of the repository, on a machine that does nothing else. A figure is the median of five runs, start
of the interpreter included, with the largest resident memory of any of them. The limit is a process of the same
interpreter that loads the pickle with the C unpickler and inert classes, hashes the file with hashlib, copies the
folder, or only opens the file. A peer that needs longer than the limit of time is shown as such.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import ENVIRONMENT, PEERS
from benchmarks.speed_cases import CASES, Case

RUNS = 5
SLOW = 10.0  # seconds; what takes longer is run once
TIMEOUT = 120.0
_MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss

# The physical limits. The loader makes an inert class of every name and keeps the garbage collector off, as torch does;
# what takes items is the container it is, and what takes the state of an array drops it without running Python.
LIMITS = {
    "load": """
import collections, gc, pickle, sys
class Inert:
    def __new__(cls, *a, **k): return object.__new__(cls)
    def __init__(self, *a, **k): pass
class Array(Inert):
    __setstate__ = staticmethod(id)
class Loader(pickle.Unpickler):
    def find_class(self, module, name):
        if module == "collections": return getattr(collections, name)
        return Array if module.startswith(("numpy", "pandas")) else Inert
    def persistent_load(self, pid): return None
gc.disable()
Loader(open(sys.argv[1], "rb")).load()
""",
    "hash": """
import hashlib, sys
hashlib.file_digest(open(sys.argv[1], "rb"), "sha256").hexdigest()
""",
    "cp": """
import shutil, sys, tempfile
with tempfile.TemporaryDirectory() as folder: shutil.copytree(sys.argv[1], folder + "/copy")
""",
    "open": """
import sys
open(sys.argv[1], "rb").read(4096)
""",
}


@dataclass(frozen=True)
class Figure:
    """Seconds (None: over the time limit) and the largest resident memory in bytes."""

    seconds: float | None
    memory: int

    def render(self) -> str:
        """Return a cell of the table."""
        if self.seconds is None:
            return f"over {TIMEOUT:.0f} s"
        return f"{self.seconds:.3f} s, {self.memory / 1e6:.0f} MB"


def once(command: Sequence[str]) -> Figure:
    """Run a command to its end or to the time limit."""
    start = time.perf_counter()
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        timer = threading.Timer(TIMEOUT, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    over = seconds >= TIMEOUT
    return Figure(None if over else seconds, usage.ru_maxrss * _MEMORY_UNIT)


def measure(command: Sequence[str]) -> Figure:
    """Return the median of five runs, or the first when it is slow."""
    figures = [once(command)]
    if figures[0].seconds is None or figures[0].seconds > SLOW:
        return figures[0]
    figures += [once(command) for _ in range(RUNS - 1)]
    seconds = [one.seconds for one in figures if one.seconds is not None]
    return Figure(statistics.median(seconds), max(one.memory for one in figures))


def commands(case: Case, path: Path, installed: dict[str, str]) -> dict[str, list[str]]:
    """Return the command of every scanner that is installed."""
    ours = [sys.executable, "-m", "weighbridge", "scan", str(path)]
    found = {"weighbridge": ours if case.digest else [*ours, "--no-digest"]}
    for peer in PEERS:
        command = peer.command(installed)
        if command is not None and "--strict" not in command:
            found[peer.name] = [*command, str(path)]
    return found


def row(case: Case, path: Path, installed: dict[str, str], names: Sequence[str]) -> str:
    """Return the row of a case: the limit, Weighbridge, the ratio of the two, the peers."""
    limit = measure([sys.executable, "-c", LIMITS[case.limit], str(path)])
    known = commands(case, path, installed)
    ours = measure(known.pop("weighbridge"))
    ratio = f"{ours.seconds / limit.seconds:.1f}" if ours.seconds and limit.seconds else ""
    cells = [measure(known[name]).render() if name in known else "not installed" for name in names]
    return " | ".join(["", case.title, f"{limit.render()} ({case.limit})", ours.render(), ratio, *cells, ""]).strip()


def main() -> int:
    """Make the cases, measure each and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed")
    parser.add_argument("--quick", action="store_true", help="leave out the files of a gigabyte")
    parser.add_argument("--only", metavar="WORD", default="", help="only cases whose title has this word")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="where a peer's command is")
    arguments = parser.parse_args()
    installed = dict(one.split("=", 1) for one in arguments.peer)
    names = [peer.name for peer in PEERS if "--strict" not in peer.arguments]
    print(f"| case | limit | weighbridge | ratio | {' | '.join(names)} |")
    print("|" + "---|" * (4 + len(names)))
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if (case.big and arguments.quick) or arguments.only not in case.title:
                continue
            path = Path(folder) / case.name
            # Made by another process: the memory of this one would count as that of every process it starts.
            subprocess.run([sys.executable, "-m", "benchmarks.speed_cases", case.name, str(path)], check=True)
            print(row(case, path, installed, names), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
