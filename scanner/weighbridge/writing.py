"""Files that appear whole or not at all: written beside their place, put on disk, and renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from weighbridge.errors import SourceError, WeighbridgeError
from weighbridge.location import printable


def write(
    path: Path, pieces: Iterable[bytes], *, error: type[WeighbridgeError] = SourceError, mode: int = 0o644
) -> None:
    """Write the bytes of a file, in place of an older one if there is one; raise `error` when the system refuses."""
    new = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}")
    try:
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as problem:
        raise error(f"{printable(str(path))}: {problem.strerror or problem}") from problem
