"""The other scanners, each through its own command, and what their answers mean in Weighbridge's words.

One process per file, because a folder scan of theirs leaves files out by extension or stops at the first error, which
would be the benchmark's doing. The mapping takes each program at its word, which is its exit status:

| program | pass | fail | inconclusive |
|---|---|---|---|
| picklescan | 0, also when it scanned nothing | 1 | 2 (error while scanning) |
| picklescan --strict | 0 | 1 (suspicious names too) | 2 |
| modelscan | 0 | 1 | 2 (error), 3 (no file it supports) |
| fickling --check-safety | 0 | 1 | 2 (no pickle), 1 with a traceback |
| modelaudit scan | 0 | 1 | 2 (error) |

A process that takes longer than the limit is inconclusive, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
TIMEOUT = 60.0  # seconds for one file
# Their usage reports would wait for a network; these variables are the documented way to turn them off.
ENVIRONMENT = {**os.environ, "PROMPTFOO_DISABLE_TELEMETRY": "1", "NO_ANALYTICS": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True)
class Peer:
    """Another scanner: `program` is its command, `arguments` precede the file, `outcomes` says what a status means."""

    name: str
    program: str
    arguments: tuple[str, ...]
    outcomes: dict[int, str] = field(default_factory=lambda: {0: PASS, 1: FAIL, 2: INCONCLUSIVE, 3: INCONCLUSIVE})

    def command(self, installed: dict[str, str]) -> list[str] | None:
        """Return the command without the file, or None when the program is not there."""
        path = shutil.which(installed.get(self.program, self.program))
        return [path, *self.arguments] if path else None

    def ask(self, command: Sequence[str], file: Path) -> str:
        """Return the outcome of one file."""
        try:
            done = subprocess.run(
                [*command, str(file)], capture_output=True, timeout=TIMEOUT, env=ENVIRONMENT, check=False
            )
        except subprocess.TimeoutExpired:
            return INCONCLUSIVE
        if b"Traceback (most recent call last)" in done.stderr and done.returncode == 1:
            return INCONCLUSIVE
        return self.outcomes.get(done.returncode, INCONCLUSIVE)


PEERS = (
    Peer("picklescan", "picklescan", ("-p",)),
    Peer("picklescan --strict", "picklescan", ("--strict", "-p")),
    Peer("modelscan", "modelscan", ("-p",)),
    Peer("fickling", "fickling", ("--check-safety", "--json-output", os.devnull)),
    Peer("modelaudit", "modelaudit", ("scan", "--quiet", "--no-cache")),
)


def ask_all(peer: Peer, command: Sequence[str], files: Sequence[Path], jobs: int) -> tuple[list[str], float]:
    """Return the outcome of each file and the wall time of all in seconds."""
    start = time.perf_counter()
    ask: Callable[[Path], str] = lambda file: peer.ask(command, file)  # noqa: E731
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = list(pool.map(ask, files))
    return outcomes, time.perf_counter() - start
