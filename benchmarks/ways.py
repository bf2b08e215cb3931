"""Ways to do the same with a large checkpoint, measured side by side: each a process of its own, in turns."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Way:
    """A way to make the output, with what it took in each round: wall seconds, CPU seconds, MB."""

    name: str
    command: list[str]
    keeps: bool = False  # needs the output of the way before it
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def measure(way: Way, compiled: Path) -> None:
    """Run a way once; `compiled` is where Python keeps what it compiles."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(compiled)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begin = time.perf_counter()
    process = subprocess.Popen(way.command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    way.wall.append(time.perf_counter() - begin)
    if status:
        raise SystemExit(f"{way.name} ended with {os.waitstatus_to_exitcode(status)}")
    way.cpu.append(usage.ru_utime + usage.ru_stime)
    way.memory.append(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6)


def arguments(doc: str | None, *, gib: float) -> argparse.Namespace:
    """Return what the command line says of the checkpoint, the rounds and the folder."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=gib)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON")
    return parser.parse_args()


def table(compared: list[Way], size: int) -> None:
    """Print what every way took, for a checkpoint of `size` bytes: the median of the rounds and the least."""
    print(f"{size / 2**30:.2f} GiB, {os.cpu_count()} cores\n")
    print("| way | wall s | CPU s | MB |")
    print("|---|---:|---:|---:|")
    for way in compared:
        wall, cpu = (f"{statistics.median(of):.2f} ({min(of):.2f})" for of in (way.wall, way.cpu))
        print(f"| {way.name} | {wall} | {cpu} | {max(way.memory):.0f} |")
