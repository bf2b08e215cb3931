"""Measure loading of an approved model, side by side with the safetensors library. Prints Markdown.

    python -m benchmarks.load [--gib 4] [--rounds 3] [--folder FOLDER] [--python PYTHON] [--framework numpy|torch]

Run it from the top of the repository, on a machine that does nothing else. PYTHON is an interpreter that has
weighbridge, safetensors and the framework. Every way is a process of its own, start of the interpreter and imports
included, which ends with all tensors in its memory; all ways take turns, so that what else the machine does falls on
all alike. The file is in the page cache. A figure is the median of the rounds, with the least in brackets; ratios are
taken round by round. Memory is what the process had besides the size of the model, at most, in any round.

What is compared with: the library's default, which maps the file (`mmap`; here every page is touched once, as any use
would); its load into private memory (`pread`); and hashing the file before that, which proves nothing when somebody
writes to it in between.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from weighbridge.approve import RESERVED, Terms, approve
from weighbridge.desk import Desk
from weighbridge.evidence import home
from weighbridge.evidence.signers import KeySigner
from weighbridge.evidence.trust_policy import OWN_VERIFIER
from weighbridge.limits import Limits
from weighbridge.rule_files import shipped_folder
from weighbridge.rules import RuleSet
from weighbridge.sources import scan_folder
from weighbridge.trust import Trust

PREAD_RATIO = 1.3  # of the library's load into private memory
HASH_RATIO = 0.6  # of hashing first
MEMORY = 64  # MB besides the model
NAME = "model.safetensors"

LIBRARY = "import sys; from safetensors.{framework} import load_file; found = load_file(sys.argv[1], {options})"
# Every page once, as any use of the weights would.
TOUCH = "\nfor one in found.values(): one.reshape(-1)[::1024].max()"
HASH = """
import hashlib, sys
with open(sys.argv[1], "rb", buffering=0) as file:
    hashlib.file_digest(file, "sha256")
"""
OURS = "import sys, weighbridge; found = weighbridge.load(sys.argv[1], framework={framework!r}, mode={mode!r})"
ONE = """
import sys, weighbridge
def read():
    return int(next(line.split()[1] for line in open("/proc/self/io") if line.startswith("rchar")))
with weighbridge.open(sys.argv[1], framework={framework!r}) as handle:
    names = [name for name in handle.offset_keys() if "weight" in name]
    name = names[len(names) // 2]
    before = read()
    found = handle.get_tensor(name)
    print(found.nbytes, read() - before)
"""
HELD = OURS + '\nprint("ready", flush=True)\nsys.stdin.read()'
DEVICE = """
import sys, time, torch
def timed(name, load):
    torch.cuda.synchronize()
    begin = time.perf_counter()
    found = load()
    torch.cuda.synchronize()
    size = sum(one.nbytes for one in found.values())
    seconds = time.perf_counter() - begin
    print(f"| {name} | {seconds:.2f} | {size / seconds / 1e9:.2f} |", flush=True)
    del found
    torch.cuda.empty_cache()
torch.zeros(1, device="cuda")
import weighbridge
from safetensors.torch import load_file
ways = {
    "safetensors, mmap": lambda: load_file(sys.argv[1], device="cuda"),
    "safetensors, pread": lambda: load_file(sys.argv[1], device="cuda", backend="pread"),
    "weighbridge, stream": lambda: weighbridge.load(sys.argv[1], framework="torch", device="cuda"),
}
held = []
try:
    from fastsafetensors import SafeTensorsFileLoader, SingleGroup
except ImportError:
    print("fastsafetensors is not installed: skipped", file=sys.stderr)
else:
    def fast():
        loader = SafeTensorsFileLoader(SingleGroup(), torch.device("cuda:0"), nogds=True)
        loader.add_filenames({0: [sys.argv[1]]})
        buffer = loader.copy_files_to_device()
        held[:] = [loader, buffer]
        return {name: buffer.get_tensor(name) for name in loader.get_keys()}
    ways["fastsafetensors"] = fast
for _ in range(int(sys.argv[2])):
    for name, way in ways.items():
        timed(name, way)
        held.clear()
"""


@dataclass(slots=True)
class Way:
    """A way to load, with what it took in each round: wall seconds, CPU seconds, MB besides the model."""

    name: str
    program: str
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def make(path: Path, size: int) -> None:
    """Write a model of half-precision matrices of the sizes that real ones have, and a few vectors."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = layer = 0
    while offset < size:
        for name, shape in (("weight", (4096, 1024 + 2048 * (layer % 5))), ("bias", (4096,))):
            end = offset + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
            entry = {"dtype": "F16", "shape": shape, "data_offsets": [offset, end]}
            header[f"model.layers.{layer}.{name}"] = entry
            offset = end
        layer += 1
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    block = os.urandom(16 << 20)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        while offset:
            offset -= file.write(block[: min(offset, len(block))])


def approve_folder(folder: Path) -> float:
    """Scan and approve the model; return how many seconds that took."""
    key = home.key_path()
    key.parent.mkdir()
    home.make_key(key, home.public_key_path())
    now = datetime.now(UTC).replace(microsecond=0)
    terms = Terms(at=now, expires=now + timedelta(days=1), verifier=OWN_VERIFIER, resource=f"file://{folder}")
    begin = time.perf_counter()
    desk = Desk(rules=RuleSet.shipped(), trust=Trust(f"{shipped_folder()}/trust"), limits=Limits(), digest=True)
    verdict = scan_folder(folder, desk, beside=RESERVED)
    approve(folder, verdict, KeySigner(key.read_bytes(), where="key"), terms)
    return time.perf_counter() - begin


def measure(way: Way, command: list[str], model: int) -> None:
    """Run a way once."""
    begin = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    way.wall.append(time.perf_counter() - begin)
    if status:
        raise SystemExit(f"{way.name} ended with {os.waitstatus_to_exitcode(status)}")
    way.cpu.append(usage.ru_utime + usage.ru_stime)
    way.memory.append((usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) - model) / 1e6)


def ways(framework: str) -> list[Way]:
    """Return the ways that are compared."""
    pread = LIBRARY.format(framework=framework, options='backend="pread"')
    mapped = LIBRARY.format(framework=framework, options="") + TOUCH
    modes = ("stream", "lazy", "shared")
    return [
        Way("nothing but the imports of the library", f"from safetensors.{framework} import load_file"),
        Way("safetensors, mmap and touch", mapped),
        Way("safetensors, pread", pread),
        Way("sha256, then safetensors, pread", HASH + pread),
        *(Way(f"weighbridge, {mode}", OURS.format(framework=framework, mode=mode)) for mode in modes),
        Way("weighbridge, one tensor", ONE.format(framework=framework).replace("print(", "(")),
    ]


def report(compared: list[Way]) -> None:
    """Print the table and what the figures are held to."""
    print("| way | wall s | CPU s | MB besides the model |")
    print("|---|---:|---:|---:|")
    for way in compared:
        wall, cpu = (f"{statistics.median(of):.2f} ({min(of):.2f})" for of in (way.wall, way.cpu))
        print(f"| {way.name} | {wall} | {cpu} | {max(way.memory):.0f} |")
    named = {way.name: way for way in compared}
    stream = named["weighbridge, stream"]
    for other, aim in (("safetensors, pread", PREAD_RATIO), ("sha256, then safetensors, pread", HASH_RATIO)):
        ratios = [one / two for one, two in zip(stream.wall, named[other].wall, strict=True)]
        median, least = statistics.median(ratios), min(stream.wall) / min(named[other].wall)
        print(f"\nstream / ({other}), round by round: {median:.2f}, least / least: {least:.2f} (aim {aim})")
    ours, theirs = (max(way.memory) for way in (stream, named["safetensors, pread"]))
    print(
        f"\nbesides the model: {ours:.0f} MB, the library {theirs:.0f} MB, the framework included (aim {MEMORY}, numpy)"
    )


def report_one(python: list[str], path: Path, framework: str) -> None:
    """Print how much of the file is read for one tensor."""
    program = ONE.format(framework=framework)
    answer = subprocess.run([*python, program, str(path)], check=True, capture_output=True, text=True).stdout
    size, read = map(int, answer.split())
    print(f"\nlazy: {read} bytes read for a tensor of {size}, of a file of {path.stat().st_size}")


def report_shared(python: list[str], path: Path, framework: str) -> None:
    """Print how much memory four processes that share a model take together."""
    command = [*python, HELD.format(framework=framework, mode="shared"), str(path)]
    before = shared_memory()
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    streams = [process.stdout for process in processes if process.stdout]
    for stream in streams:
        stream.readline()
    used = shared_memory() - before
    private = [proportional(process.pid) for process in processes]
    for process in processes:
        process.communicate()
    size = path.stat().st_size
    print(
        f"\nshared: four processes hold {used / size:.2f} copies in shared memory (aim 1), "
        f"and {max(private) / 1e6:.0f} MB each besides"
    )


def shared_memory() -> int:
    """Return the bytes of shared memory in use on the machine."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Shmem:"))


def proportional(process: int) -> int:
    """Return the bytes that are a process's own."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


def report_device(python: list[str], path: Path, rounds: int) -> None:
    """Print how fast weights come to a GPU, where there is one."""
    probe = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    if subprocess.run([*python, probe], check=False, stderr=subprocess.DEVNULL).returncode:
        print("\nGPU: skipped, there is none that torch can use here")
        return
    print("\n| way to the GPU | wall s | GB/s |\n|---|---:|---:|", flush=True)
    subprocess.run([*python, DEVICE, str(path), str(rounds)], check=True)


def main() -> None:
    """Write and approve the model, measure, print, clean up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--framework", choices=("numpy", "torch"), default="numpy")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="weighbridge-load-", dir=options.folder))
    try:
        os.environ |= {"WEIGHBRIDGE_CONFIG": str(folder / "config"), "XDG_RUNTIME_DIR": str(folder)}
        os.environ.pop("WEIGHBRIDGE_TRUST", None)
        path = folder / "model" / NAME
        path.parent.mkdir()
        make(path, int(options.gib * (1 << 30)))
        size, seconds = path.stat().st_size, approve_folder(path.parent)
        print(f"{size / 2**30:.2f} GiB, {os.cpu_count()} cores, {options.framework}; approved in {seconds:.1f} s\n")
        python, compared = [options.python, "-c"], ways(options.framework)
        for _ in range(options.rounds):
            for way in compared:
                measure(way, [*python, way.program, str(path)], size)
        report(compared)
        for part in (report_one, report_shared) if Path("/proc/self/io").exists() else ():
            part(python, path, options.framework)
        report_device(python, path, options.rounds)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
