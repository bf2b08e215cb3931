"""Measure the gate on a large torch checkpoint, from nothing, beside copying the file and hashing it once.

    python -m benchmarks.gate [--gib 2] [--rounds 3] [--folder FOLDER] [--torch PYTHON]

Run it from the top of the repository, on a machine that does nothing else. PYTHON is an interpreter that has torch and
writes the checkpoint. Each way is a process of its own, and they take turns. The checkpoint is in the page cache. What
the gate is held to is a copy on disk, where the gate's output is, too, and its sha256, one after the other. The sha256
of `sha256sum` does not use what processors have for it on every system, that of hashlib does; both are shown.
The gate fetches into its store, scans, converts, compares every byte, measures, signs and puts the folder to its place.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.convert import MAKE
from benchmarks.ways import Way, arguments, measure, table

RATIO = 1.6  # of the time of copying and hashing once
MEMORY = 300  # MB

COPY = 'cp "$0" "$1" && sync "$1" && '
SUM = COPY + 'sha256sum "$1"'
HASH = f"""{COPY} {sys.executable} -c '
import hashlib, sys
with open(sys.argv[1], "rb") as file:
    hashlib.file_digest(file, "sha256")' "$1"
"""


def ways(source: Path, folder: Path) -> list[Way]:
    """Return the ways that are compared; the second run of the gate finds what the first one left."""
    command = [sys.executable, "-m", "weighbridge", "gate", str(source), "--to", str(folder / "gated"), "--quiet"]
    command += ["--state-dict", "state_dict"]
    places = [str(source), str(folder / "copy")]
    return [
        Way("cp, sync, hashlib", ["sh", "-c", HASH, *places]),
        Way("cp, sync, sha256sum", ["sh", "-c", SUM, *places]),
        Way("gate, from nothing", command),
        Way("gate, again", command, keeps=True),
    ]


def main() -> None:
    """Write the checkpoint, measure, print, clean up."""
    options = arguments(__doc__, gib=2.0)
    folder = Path(tempfile.mkdtemp(prefix="weighbridge-gate-", dir=options.folder))
    try:
        source = folder / "model.pt"
        subprocess.run([options.torch, "-c", MAKE, str(options.gib), str(source)], check=True)
        os.environ |= {"WEIGHBRIDGE_HOME": str(folder / "store"), "WEIGHBRIDGE_CONFIG": str(folder / "config")}
        compared, compiled = ways(source, folder), folder / "compiled"
        measure(Way("warm", compared[2].command), compiled)
        for _ in range(options.rounds):
            for way in compared:
                if not way.keeps:
                    clear(folder)
                measure(way, compiled)
        report(compared, source.stat().st_size)
    finally:
        shutil.rmtree(folder)


def clear(folder: Path) -> None:
    """Remove what earlier ways wrote."""
    (folder / "copy").unlink(missing_ok=True)
    for name in ("gated", "store"):
        shutil.rmtree(folder / name, ignore_errors=True)


def report(compared: list[Way], size: int) -> None:
    """Print the table and what the figures are held to."""
    table(compared, size)
    print()
    for way in compared[:2]:
        ratios = [ours / theirs for ours, theirs in zip(compared[2].wall, way.wall, strict=True)]
        print(f"gate / {way.name}, round by round: {statistics.median(ratios):.2f} (aim {RATIO})")
    print(f"largest resident set: {max(max(way.memory) for way in compared[2:]):.0f} MB (aim {MEMORY})")


if __name__ == "__main__":
    main()
