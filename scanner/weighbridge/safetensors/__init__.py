"""A drop-in for the safetensors library: the same calls, for files of approved folders alone.

    from weighbridge.safetensors import safe_open           # in place of: from safetensors import safe_open
    from weighbridge.safetensors.torch import load_file     # in place of: from safetensors.torch import load_file
    from weighbridge.safetensors.numpy import load_file     # in place of: from safetensors.numpy import load_file

The file's folder, or one above it, holds the approval; the trust policy is the user's own. The `backend` of the library
is taken and changes nothing: bytes are in private memory, verified.
"""

from __future__ import annotations

import os
from typing import Final

from weighbridge.errors import UsageError
from weighbridge.load.handle import Handle
from weighbridge.load.loading import open as open_lazily

__all__ = ["check_backend", "safe_open"]

_BACKENDS: Final = ("mmap", "pread")


def safe_open(
    filename: str | os.PathLike[str], framework: str, device: str | int = "cpu", *, backend: str = "mmap"
) -> Handle:
    """Return a handle on an approved file, as `safetensors.safe_open` does; each tensor is verified when it is taken.

    `framework` is one of pt, torch, pytorch, np, numpy, flax and jax. Raises what `weighbridge.open` does.
    """
    check_backend(backend)
    return open_lazily(filename, framework=framework, device=device)


def check_backend(backend: str) -> None:
    """Raise UsageError when the library has no such backend."""
    if backend not in _BACKENDS:
        raise UsageError(f"backend {backend!r} is not one of {', '.join(_BACKENDS)}")
