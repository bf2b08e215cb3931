"""Count the bytes and requests that triage of a large model in a registry takes. Prints Markdown.

    python -m benchmarks.triage [--only WORD]

Run it from the top of the repository with an interpreter that has Weighbridge and its tests' libraries installed. Every
model has 1 GiB and lies on a Hub that this program serves on 127.0.0.1. The exit status is 1 when a requirement is not
met: of a torch file at most 0.03 % and five requests, those that find the file included.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.onnx import large
from fixtures.gguf_files import F32, Writer

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers.fake_hub import TOKEN, FakeHub

GIB = 1 << 30
TENSORS = 400
SHARE, REQUESTS = 0.0003, 5  # what a torch file may take


def torch_file(path: Path) -> None:
    """Write a checkpoint of 400 tensors as torch.save does: 64-byte alignment, the pickle first, then the storages."""
    rows = GIB // TENSORS // 4 // 1024
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("model/data.pkl", _state_dict(rows))
        archive.writestr("model/byteorder", b"little")
        zeros = bytes(rows * 1024 * 4)
        for index in range(TENSORS):
            info = zipfile.ZipInfo(f"model/data/{index}")
            info.extra = struct.pack("<HH", 0x4246, 28) + b"Z" * 28
            archive.writestr(info, zeros)
        archive.writestr("model/version", b"3\n")


def _state_dict(rows: int) -> bytes:
    ops = [b"\x80\x02}("]
    for index in range(TENSORS):
        ops.append(_text(f"model.layers.{index // 10}.mlp.projection_{index % 10}.weight"))
        ops.append(b"ctorch._utils\n_rebuild_tensor_v2\n((" + _text("storage") + b"ctorch\nFloatStorage\n")
        ops.append(_text(str(index)) + _text("cpu") + b"J" + struct.pack("<i", rows * 1024) + b"tQK\0J")
        ops.append(struct.pack("<i", rows) + b"M\x00\x04\x86M\x00\x04K\x01\x86\x89ccollections\nOrderedDict\n)RtR")
    return b"".join(ops) + b"u."


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def safetensors_file(path: Path) -> None:
    """Write a file of 400 tensors."""
    each = GIB // TENSORS
    header = {
        f"model.layers.{index}.weight": {
            "dtype": "U8",
            "shape": [each],
            "data_offsets": [index * each, (index + 1) * each],
        }
        for index in range(TENSORS)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + TENSORS * each)


def gguf_file(path: Path) -> None:
    """Write a file of 400 tensors and a vocabulary of 150 000 tokens."""
    write, items = Writer(), GIB // TENSORS // 4 // 8 * 8
    keys = [
        write.key("general.architecture", "llama"),
        write.key("tokenizer.ggml.tokens", [f"token{index}" for index in range(150_000)]),
    ]
    infos = [(f"blk.{index}.weight", (items,), F32, index * items * 4) for index in range(TENSORS)]
    path.write_bytes(write.file(keys, list(infos), b""))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + TENSORS * items * 4)


def onnx_file(path: Path) -> None:
    """Write a model of 200 tensors and 20 000 nodes."""
    large(path, GIB, holes=True)


CASES: dict[str, Callable[[Path], None]] = {
    "pytorch_model.bin": torch_file,
    "model.safetensors": safetensors_file,
    "model.gguf": gguf_file,
    "model.onnx": onnx_file,
}


def measure(name: str, path: Path) -> tuple[str, bool]:
    """Return a row of the table, and whether the requirement is met."""
    with FakeHub() as hub:
        hub.publish("bench/model", {name: path})
        environment = dict(os.environ, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
        began = time.perf_counter()
        command = [sys.executable, "-m", "weighbridge", "scan", "--triage", "hf://bench/model", "--format", "json"]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        took = time.perf_counter() - began
        found = json.loads(done.stdout)["triage"]["nothing_found"] if done.stdout else False
        share, requests = hub.sent / path.stat().st_size, len(hub.log)
    met = done.returncode == 0 and found and (name != "pytorch_model.bin" or (share <= SHARE and requests <= REQUESTS))
    return f"| {name} | {hub.sent:,} B | {100 * share:.4f} % | {requests} | {took:.2f} s |", met


def main() -> int:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="measure the files whose name holds this")
    only = parser.parse_args().only
    print("| 1 GiB | sent by the servers | of the file | requests, all | time |\n|---|---|---|---|---|")
    every = True
    with tempfile.TemporaryDirectory() as folder:
        for name, make in CASES.items():
            if only in name:
                path = Path(folder) / name
                make(path)
                row, met = measure(name, path)
                print(row, flush=True)
                every = every and met
                path.unlink()
    return 0 if every else 1


if __name__ == "__main__":
    raise SystemExit(main())
