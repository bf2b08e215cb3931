"""`safetensors.numpy` for approved files: what is loaded is verified first."""

from __future__ import annotations

import os
from typing import Any

from weighbridge.load.loading import load
from weighbridge.safetensors import check_backend


def load_file(filename: str | os.PathLike[str], *, backend: str = "mmap") -> dict[str, Any]:
    """Return the arrays of an approved file, as `safetensors.numpy.load_file` does; raise what `load` does."""
    check_backend(backend)
    return load(filename, framework="numpy")
