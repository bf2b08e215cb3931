"""Measure conversions of a large torch checkpoint, side by side with `cp` and with torch itself. Prints Markdown.

    python -m benchmarks.convert [--gib 4] [--rounds 3] [--folder FOLDER] [--torch PYTHON]

Run it from the top of the repository, on a machine that does nothing else. PYTHON is an interpreter that has torch and
safetensors; it writes the checkpoint and does what we are compared with. Every way is a process of its own, start of
the interpreter included, and all of them take turns, so that what else the machine does falls on all alike. The
checkpoint is in the page cache. Before the first round, a run that is not counted leaves compiled modules behind, as an
installed package has them. A figure is the median of the rounds, with the least in brackets; memory is the
largest resident set of any round. `cp` does not wait for the disk, and a conversion does; so there is a line for `cp`
that waits as well, and that one is what conversions are held to.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.ways import Way, arguments, measure, table

RATIO = 1.15  # of the time of cp
MEMORY = 80  # MB
VERIFY = 1.2  # CPU-seconds for 4 GiB

# A checkpoint of many dtypes with what real ones have besides: a tie, views, a transposed matrix, an optimizer.
MAKE = """
import sys, torch
gib, path = float(sys.argv[1]), sys.argv[2]
left = int(gib * (1 << 30))
block = torch.randint(0, 256, (64 << 20,), dtype=torch.uint8)
kinds = [torch.bfloat16] * 6 + [torch.float32] * 3 + [torch.float8_e4m3fn]
state = {}
layer = 0
while left > 0:
    count = min(left, (4 + 9 * (layer % 3)) << 20)
    raw = block[: count // 8 * 8].roll(layer + 1)
    state[f"model.layers.{layer}.weight"] = raw.view(kinds[layer % 10])
    state[f"model.layers.{layer}.scale"] = torch.rand(64)
    left -= count
    layer += 1
whole = torch.rand(4096, 1024)
state["transposed"] = whole.t()
state["middle"] = whole[100:200]
state["tied"] = state["model.layers.0.weight"]
state["steps"] = torch.tensor(7)
state["mask"] = torch.rand(512) > 0.5
state["empty"] = torch.empty(0, 8)
optimizer = {"state": {0: {"exp_avg": torch.rand(1 << 16)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
torch.save({"state_dict": state, "optimizer": optimizer, "epoch": 3}, path)
"""

TORCH = """
import sys, torch
from safetensors.torch import save_file
state = torch.load(sys.argv[1], map_location="cpu", mmap=True, weights_only=True)["state_dict"]
storages = set()
for name, tensor in state.items():
    key = tensor.untyped_storage().data_ptr()
    if key in storages or not tensor.is_contiguous():
        state[name] = tensor.clone(memory_format=torch.contiguous_format)
    storages.add(key)
save_file(state, sys.argv[2], metadata={"format": "pt"})
"""


def prepare(way: Way, output: Path) -> None:
    """Remove what an earlier way wrote, unless this one needs it."""
    if not way.keeps:
        for old in (output, output.with_suffix(".conversion.json")):
            old.unlink(missing_ok=True)


def ways(source: Path, output: Path, python: str) -> list[Way]:
    """Return the ways that are compared."""
    convert = [sys.executable, "-m", "weighbridge", "convert", str(source), str(output)]
    return [
        Way("cp", ["cp", str(source), str(output)]),
        Way("cp, on disk", ["sh", "-c", 'cp "$0" "$1" && sync "$1"', str(source), str(output)]),
        Way("convert --copy-only", [*convert, "--copy-only"]),
        Way("convert --no-digest", [*convert, "--no-digest"]),
        Way("convert", convert),
        Way("convert --verify", [*convert, "--verify"], keeps=True),
        Way("torch.load and save_file", [python, "-c", TORCH, str(source), str(output)]),
    ]


def main() -> None:
    """Write the checkpoint, measure, print, clean up."""
    options = arguments(__doc__, gib=4.0)
    folder = Path(tempfile.mkdtemp(prefix="weighbridge-convert-", dir=options.folder))
    try:
        source, output = folder / "source.pt", folder / "output.safetensors"
        subprocess.run([options.torch, "-c", MAKE, str(options.gib), str(source)], check=True)
        compared = ways(source, output, options.torch)
        compiled = folder / "compiled"
        measure(Way("warm", ["cat", str(source)]), compiled)
        for way in (compared[-3], compared[-2]):  # a conversion and its verification
            prepare(way, output)
            measure(Way(way.name, way.command), compiled)
        for _ in range(options.rounds):
            for way in compared:
                prepare(way, output)
                measure(way, compiled)
        report(compared, source.stat().st_size)
    finally:
        shutil.rmtree(folder)


def report(compared: list[Way], size: int) -> None:
    """Print the table and what the figures are held to."""
    table(compared, size)
    named = {way.name: way for way in compared}
    cp, copy, torch = named["cp, on disk"], named["convert --copy-only"], named["torch.load and save_file"]
    ratios = [one / other for one, other in zip(copy.wall, cp.wall, strict=True)]
    print(f"\ncopy / cp, both on disk, round by round: {statistics.median(ratios):.2f} (aim {RATIO})")
    ours = [way for way in compared if way.name.startswith("convert")]
    print(f"largest resident set of any conversion: {max(max(way.memory) for way in ours):.0f} MB (aim {MEMORY})")
    verify = min(named["convert --verify"].cpu) * (4 << 30) / size
    print(f"verify, CPU seconds for 4 GiB: {verify:.2f} (aim {VERIFY})")
    for name in ("convert --copy-only", "convert"):
        way = named[name]
        time_ratio = statistics.median(torch.wall) / statistics.median(way.wall)
        memory_ratio = max(torch.memory) / max(way.memory)
        print(f"torch.load and save_file / {name}: time {time_ratio:.1f}, memory {memory_ratio:.0f}")


if __name__ == "__main__":
    main()
