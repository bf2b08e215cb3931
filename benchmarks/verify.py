"""Measure verifying a signed folder against the raw hashing rate of the machine, and its start. Prints Markdown.

    python -m benchmarks.verify [--size MIB] [--files N] [--threads N] [--runs N] [--folder DIR] [--theirs]

The folder has N files of random bytes, all in the page cache, signed with a key. Raw hashing is what a program can do
at most: as many threads, each with `hashlib.sha256` over files that it reads into one buffer, and nothing else. They
take turns, so that a busy machine is busy for both; a ratio is that of the medians, with the ratio of the best beside
it, and the seconds of a processor say more than the rate when others use the machine. `--theirs` adds model_signing.

Starting is `weighbridge verify` of a folder of one small file with a key, a whole process each time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from weighbridge.evidence import home, oms_write, trust_entries
from weighbridge.evidence.base import Method, Signature
from weighbridge.evidence.bundle import Bundle
from weighbridge.evidence.dsse import Envelope
from weighbridge.evidence.keys import pem_digest
from weighbridge.evidence.requirement import require
from weighbridge.evidence.signers import KeySigner
from weighbridge.evidence.tree import Tree
from weighbridge.evidence.trust_policy import TrustPolicy

BUFFERS = (128 << 10, 1 << 20)


class Figure(NamedTuple):
    """Seconds, and those of a processor."""

    seconds: float
    processor: float


def write_model(folder: Path, size: int, files: int) -> int:
    """Write random files and return how many bytes they have."""
    folder.mkdir(parents=True)
    block = os.urandom(8 << 20)
    for number in range(files):
        with (folder / f"model-{number:05}.bin").open("wb") as file:
            left = size // files
            file.write(number.to_bytes(8, "big"))
            left -= 8
            while left > 0:
                left -= file.write(block[: min(left, len(block))])
    return sum(path.stat().st_size for path in folder.iterdir())


def raw(folder: Path, threads: int, buffer_size: int) -> None:
    """Hash every file, largest first, with nothing around it."""
    waiting = deque(sorted(folder.glob("model-*"), key=lambda path: -path.stat().st_size))

    def work() -> None:
        buffer = bytearray(buffer_size)
        view = memoryview(buffer)
        while True:
            try:
                path = waiting.popleft()
            except IndexError:
                return
            digest = hashlib.sha256()
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(view):
                    digest.update(view[:count])
            digest.hexdigest()

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work) for _ in range(threads)]:
            future.result()


def policy(public: Path) -> TrustPolicy:
    """Return a policy that requires the key for everything."""
    signer = trust_entries.TrustedSigner(
        method=Method.KEY,
        public_key=public.name,
        sha256_spki=pem_digest(public.read_bytes(), str(public)).value,
        name="key",
        path=public,
    )
    rule = trust_entries.SourceRule(source="**", require=("key",))
    return TrustPolicy(where="here", signers={"key": signer}, rules=(rule,))


def verify(folder: Path, trust: TrustPolicy, threads: int) -> None:
    """Verify the folder as the command does."""
    with Tree(folder, threads=threads) as tree:
        require(tree, "file:///m", trust, now=datetime.now(UTC))


def sign(folder: Path, key: Path) -> None:
    """Sign the folder with a key."""
    signer = KeySigner(key.read_bytes(), where=str(key))

    def check(made: Bundle) -> Signature:
        assert isinstance(made.content, Envelope)
        return Signature(
            method=Method.KEY,
            signer="key",
            identity="",
            payload_type=made.content.payload_type,
            payload=made.content.payload,
            bundle=made.digest,
        )

    oms_write.sign(folder, folder / oms_write.NAME, signer, check)


def theirs(folder: Path, public: Path) -> Callable[[], None]:
    """Return what verifies the folder with model_signing."""
    import model_signing

    verifying: Any = model_signing.verifying

    def run() -> None:
        verifying.Config().use_elliptic_key_verifier(public_key=public).verify(folder, folder / oms_write.NAME)

    return run


def timed(work: Callable[[], None]) -> Figure:
    """Return how long something takes."""
    began, processor = time.perf_counter(), time.process_time()
    work()
    return Figure(time.perf_counter() - began, time.process_time() - processor)


def measure(works: dict[str, Callable[[], None]], runs: int) -> dict[str, list[Figure]]:
    """Return the figures of several pieces of work, which take turns; the first turn does not count."""
    found: dict[str, list[Figure]] = {name: [] for name in works}
    for turn in range(runs + 1):
        for name, work in works.items():
            figure = timed(work)
            if turn:
                found[name].append(figure)
    return found


def show(found: dict[str, list[Figure]], size: int, base: str) -> None:
    """Print a table of rates, and of each to that of `base`."""
    print(f"| | GB/s, median | GB/s, best | of {base}, median | of {base}, best | processor, s |")
    print("|---|---:|---:|---:|---:|---:|")
    base_median = statistics.median(one.seconds for one in found[base])
    base_best = min(one.seconds for one in found[base])
    for name, figures in found.items():
        median, best = statistics.median(one.seconds for one in figures), min(one.seconds for one in figures)
        processor = min(one.processor for one in figures)
        ratios = f"{base_median / median:.0%} | {base_best / best:.0%}"
        print(f"| {name} | {size / median / 1e9:.2f} | {size / best / 1e9:.2f} | {ratios} | {processor:.2f} |")


def start(folder: Path, public: Path, runs: int) -> list[float]:
    """Return how long whole processes take that verify a small folder."""
    program = Path(sys.executable).with_name("weighbridge")
    found = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        subprocess.run([program, "verify", folder, "--key", public], check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - began)
    return found[1:]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096, help="MiB of the folder")
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write the model; removed afterwards")
    parser.add_argument("--theirs", action="store_true", help="measure model_signing, too")
    given = parser.parse_args(arguments)
    place = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        key, public = place / "k.pem", place / "k.pub.pem"
        home.make_key(key, public)
        size = write_model(place / "large", given.size << 20, given.files)
        write_model(place / "small", 1 << 10, 1)
        for folder in (place / "large", place / "small"):
            sign(folder, key)
        trust = policy(public)
        works: dict[str, Callable[[], None]] = {}
        for buffer in BUFFERS:
            works[f"raw, {buffer >> 10} KiB"] = lambda buffer=buffer: raw(place / "large", given.threads, buffer)  # type: ignore[misc]
        works["weighbridge"] = lambda: verify(place / "large", trust, given.threads)
        if given.theirs:
            works["model_signing"] = theirs(place / "large", public)
        print(f"{size / (1 << 30):.2f} GiB in {given.files} files, {given.threads} threads, {given.runs} runs\n")
        found = measure(works, given.runs)
        base = min((name for name in works if name.startswith("raw")), key=lambda name: min(found[name]).seconds)
        show(found, size, base)
        begun = start(place / "small", public, given.runs)
        print(f"\n`weighbridge verify` with a key: {statistics.median(begun):.3f} s, best {min(begun):.3f} s")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
