"""Measure pulls from a registry: the rate against curl, and the largest memory. Prints Markdown.

    python -m benchmarks.registry [--size MIB] [--runs N] [--rate MBIT ...] [--folder DIR]

The server is this interpreter, another process on this machine, which sends a file of random tensors with sendfile;
with a rate it sends no faster than that to all connections together. A figure is the best of the runs, each a whole
process: `curl -o FILE`, and `weighbridge pull` into an empty store and a new folder, which digests, syncs to disk,
scans and materialises besides. They take turns, so that a busy machine is busy for both; the processor time that each
takes is the lowest of the runs, and says more than the rate when others use the machine. Before the first, a pull that
is not counted leaves compiled modules behind, as an installed package has them.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_PIECE = 1 << 18
_MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


@dataclass(frozen=True)
class Figure:
    """Seconds, those of a processor among them, and the largest resident memory in bytes."""

    seconds: float
    processor: float
    memory: int


class Pace:
    """Lets so many bytes pass in a second, counted over all connections; none when the rate is 0."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def wait(self, count: int) -> None:
        """Wait until `count` bytes may pass."""
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._next = max(self._next, now - 0.01) + count / self._rate
            delay = self._next - now
        if delay > 0:
            time.sleep(delay)


def serve(path: Path, rate: float) -> None:
    """Answer for one file, by range too, until the process is ended; the port is the first line of the output."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    pace = Pace(rate)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_converse, args=(connection, path, pace), daemon=True).start()


def _converse(connection: socket.socket, path: Path, pace: Pace) -> None:
    size, waiting = path.stat().st_size, b""
    with suppress(ConnectionError), connection, path.open("rb") as file:
        while True:
            while b"\r\n\r\n" not in waiting:
                piece = connection.recv(1 << 16)
                if not piece:
                    return
                waiting += piece
            head, _, waiting = waiting.partition(b"\r\n\r\n")
            match = re.search(rb"(?i)\r\nrange: bytes=(\d+)-(\d+)", head)
            begin, end = (int(match[1]), int(match[2]) + 1) if match else (0, size)
            status = "206 Partial Content" if match else "200 OK"
            ranged = f"Content-Range: bytes {begin}-{end - 1}/{size}\r\n" if match else ""
            answer = f'HTTP/1.1 {status}\r\nContent-Length: {end - begin}\r\nETag: "a"\r\n{ranged}\r\n'
            connection.sendall(answer.encode())
            while begin < end and not head.startswith(b"HEAD"):
                count = os.sendfile(connection.fileno(), file.fileno(), begin, min(_PIECE, end - begin))
                pace.wait(count)
                begin += count


@contextmanager
def server(path: Path, rate: float) -> Iterator[str]:
    """Run a server in a process of its own and give the URL of the file."""
    command = [sys.executable, "-m", "benchmarks.registry", "--serve", str(path), "--rate", str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/model.safetensors"
        finally:
            process.kill()


def write_model(path: Path, size: int) -> None:
    """Write a safetensors file of one tensor of random bytes."""
    header = f'{{"w":{{"dtype":"U8","shape":[{size}],"data_offsets":[0,{size}]}}}}'.encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for begin in range(0, size, 1 << 20):
            file.write(os.urandom(min(1 << 20, size - begin)))


def once(command: Sequence[str], home: Path) -> Figure:
    """Run a command to its end, which must be a success."""
    environment = {**os.environ, "WEIGHBRIDGE_HOME": str(home), "PYTHONPYCACHEPREFIX": str(home.parent / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return Figure(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _MEMORY_UNIT)


def pulled(command: Sequence[str], home: Path, folder: Path) -> Figure:
    """Run a pull and remove what it brought."""
    figure = once(command, home)
    shutil.rmtree(home)
    shutil.rmtree(folder / "pulled")
    return figure


def pulls(folder: Path, size: int, runs: int, rate: float) -> str:
    """Return a row of the table for one rate, in bytes a second."""
    model = folder / "model.safetensors"
    curl, pull, synced = [], [], []
    with server(model, rate) as url:
        command = [sys.executable, "-m", "weighbridge", "pull", url, "--to", str(folder / "pulled"), "-q"]
        home, out = folder / "home", folder / "out"
        if not (folder / "compiled").exists():
            pulled(command, home, folder)
        for _ in range(runs):
            curl.append(once(["curl", "-s", "-o", str(out), url], home))
            begin = time.perf_counter()
            descriptor = os.open(out, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
            synced.append(curl[-1].seconds + time.perf_counter() - begin)
            out.unlink()
            pull.append(pulled(command, home, folder))
    best, ours = min(curl, key=lambda one: one.seconds).seconds, min(pull, key=lambda one: one.seconds).seconds
    shown = f"{rate * 8 / 1e6:,.0f} Mbit/s" if rate else "as fast as it goes"
    memory = max(one.memory for one in pull)
    theirs, busy = min(one.processor for one in curl), min(one.processor for one in pull)
    return (
        f"| {shown} | {best:.2f} s, {size / best / 1e6:.0f} MB/s | {min(synced):.2f} s | "
        f"{ours:.2f} s, {size / ours / 1e6:.0f} MB/s | {best / ours:.0%} | "
        f"{theirs:.2f} s | {busy:.2f} s | {memory / 1e6:.0f} MB |"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=3072, help="MiB of the file, so many that the start costs little")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rate", type=float, nargs="*", default=[0, 5000, 2500, 1000], help="Mbit/s; 0: no limit")
    parser.add_argument("--folder", type=Path, help="where files are written; a place in memory leaves the disk out")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.rate[0])
    size = options.size << 20
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        write_model(Path(name) / "model.safetensors", size)
        print(f"{options.size} MiB, best of {options.runs}\n")
        print("| link | curl | curl and sync | pull | of curl's rate | processor, curl | pull | memory |")
        print("|---|---|---|---|---|---|---|---|")
        for rate in options.rate:
            print(pulls(Path(name), size, options.runs, rate * 1e6 / 8), flush=True)


if __name__ == "__main__":
    main()
