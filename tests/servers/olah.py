"""olah, a mirror of the Hub that is not ours, in front of git repositories on this machine."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO

import pytest

_CONFIGURATION = """
[basic]
host = "127.0.0.1"
port = 0
repos-path = "{folder}/repos"
mirror-scheme = "http"
mirror-netloc = "127.0.0.1"
mirrors-path = ["{folder}/mirrors"]
[accessibility]
offline = true
"""


@contextmanager
def olah(folder: Path) -> Iterator[str]:
    """Run olah over the repositories that `commit` made in `folder`; give its address."""
    program = shutil.which("olah-cli") or shutil.which("olah-cli", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("olah-cli is not installed (pip install olah, into an environment of its own)")
    (folder / "olah.toml").write_text(_CONFIGURATION.format(folder=folder))
    command = [program, "-c", str(folder / "olah.toml")]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        try:
            yield _address(process.stdout)
        finally:
            process.kill()


def commit(folder: Path, model: str, files: Mapping[str, bytes], large: Mapping[str, bytes]) -> str:
    """Commit files, the large ones as git-lfs pointers with the objects beside, and return the commit."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    repository = folder / "mirrors" / "models" / model
    for path, data in files.items():
        _write(repository / path, data)
    for path, data in large.items():
        oid = hashlib.sha256(data).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n"
        _write(repository / path, pointer.encode())
        _write(repository / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid, data)
    _git(repository, "init", "--quiet", "--initial-branch=main")
    _git(repository, "add", "--all")
    _git(repository, "commit", "--quiet", "--message=Files")
    return _git(repository, "rev-parse", "HEAD")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _git(repository: Path, *arguments: str) -> str:
    person = ["-c", "user.name=Tester", "-c", "user.email=tester@models.invalid", "-c", "commit.gpgsign=false"]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", *person, "-C", str(repository), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def _address(output: IO[bytes]) -> str:
    """Return the address that olah says it listens on, and go on emptying its output."""
    for line in output:
        if found := re.search(rb"running on (http://127\.0\.0\.1:[0-9]+)", line):
            Thread(target=output.read, daemon=True).start()
            return found[1].decode()
    raise RuntimeError("olah ended before it listened")
