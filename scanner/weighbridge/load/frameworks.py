"""Verified bytes as tensors of numpy, torch and jax; each is imported when it is asked for, and never before.

A tensor shares the memory that its bytes were verified in, and nothing is converted: a dtype that a framework has not
is refused.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from weighbridge.convert.dtypes import NUMPY, TORCH
from weighbridge.errors import UsageError
from weighbridge.header import BITS, Tensor
from weighbridge.leaves import CHUNK
from weighbridge.refusals import MalformedHeader, UnsupportedFormat

_NUMPY: Final = {word: f"<{code}" for code, word in NUMPY.items() if code != "?"}
_TORCH: Final = {word: name for name, word in TORCH.items()}
# What the package ml_dtypes adds to numpy. It keeps F4 and F6 in whole bytes, which safetensors does not.
_ML_DTYPES: Final = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}
_WIDE: Final = frozenset({"F64", "I64", "U64"})  # what jax makes narrower unless it is told not to


class Framework(Protocol):
    """What makes tensors of memory; `accelerator` is the device that bytes can be streamed to, None for others."""

    accelerator: Any

    def check(self, tensor: Tensor, where: str) -> None:
        """Raise UnsupportedFormat or UsageError when there is no such tensor in this framework."""

    def tensor(self, view: Any, tensor: Tensor) -> Any:
        """Return a tensor that shares memory, or bytes that are on the device."""

    def copy(self, value: Any) -> Any:
        """Return a tensor with memory of its own."""

    def place(self, value: Any) -> Any:
        """Return a tensor on the device that was asked for."""


def framework(name: str, device: Any = None) -> Framework:
    """Return a framework by its name, or by the one that the safetensors library gives it.

    Raises UsageError when it is not known or not installed, or when it has no such device.
    """
    try:
        match name:
            case "numpy" | "np":
                return _Numpy(device)
            case "torch" | "pt" | "pytorch":
                return _Torch(device)
            case "jax" | "flax":
                return _Jax(device)
    except ImportError as error:
        raise UsageError(f"framework {name}: {error}") from error
    raise UsageError(f"framework {name!r} is not one of numpy, torch, jax")


def check_booleans(view: memoryview, tensor: Tensor, where: str) -> None:
    """Raise MalformedHeader when a boolean is neither 0 nor 1: what compilers make of it is anything."""
    if tensor.dtype != "BOOL":
        return
    if any(bytes(view[begin : begin + CHUNK]).translate(None, b"\0\1") for begin in range(0, len(view), CHUNK)):
        raise MalformedHeader(where, f"tensor {tensor.name!r}: booleans other than 0 and 1", rule="boolean")


def _missing(tensor: Tensor, where: str, framework: str) -> UnsupportedFormat:
    return UnsupportedFormat(where, f"tensor {tensor.name!r}: {framework} has no {tensor.dtype}")


class _Numpy:
    accelerator = None

    def __init__(self, device: Any) -> None:
        import numpy

        if device not in (None, "cpu"):
            raise UsageError(f"device {device!r}: numpy knows the processor alone")
        self._numpy = numpy

    def check(self, tensor: Tensor, where: str) -> None:
        """Raise UnsupportedFormat or UsageError when numpy has not this dtype."""
        if tensor.dtype not in _NUMPY and tensor.dtype not in _ML_DTYPES:
            raise _missing(tensor, where, "numpy")
        self.dtype(tensor.dtype)

    def dtype(self, word: str) -> Any:
        """Return numpy's dtype; raise UsageError when the package that has it is not installed."""
        if word in _NUMPY:
            return self._numpy.dtype(_NUMPY[word])
        try:
            import ml_dtypes
        except ImportError as error:
            raise UsageError(f"{word} in numpy needs the package ml_dtypes, or framework='torch'") from error
        return self._numpy.dtype(getattr(ml_dtypes, _ML_DTYPES[word]))

    def tensor(self, view: memoryview, tensor: Tensor) -> Any:
        """Return an array that shares memory."""
        return self._numpy.frombuffer(view, self._numpy.uint8).view(self.dtype(tensor.dtype)).reshape(tensor.shape)

    def copy(self, value: Any) -> Any:
        """Return an array with memory of its own."""
        return self._numpy.array(value)

    def place(self, value: Any) -> Any:
        """Return the array."""
        return value


class _Torch:
    def __init__(self, device: Any) -> None:
        import torch

        self._torch = torch
        try:
            self.device = torch.device("cpu" if device is None else device)
        except (RuntimeError, TypeError) as error:
            raise UsageError(f"device {device!r}: {error}") from error
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise UsageError(f"device {device!r}: torch finds none here")
        self.accelerator = self.device if self.device.type == "cuda" else None

    def check(self, tensor: Tensor, where: str) -> None:
        """Raise UnsupportedFormat when this torch has not this dtype."""
        if not hasattr(self._torch, _TORCH.get(tensor.dtype, "-")):
            raise _missing(tensor, where, "torch")

    def tensor(self, view: Any, tensor: Tensor) -> Any:
        """Return a tensor that shares memory, or bytes that are on the device."""
        torch, shape = self._torch, list(tensor.shape)
        if BITS[tensor.dtype] < 8 and shape:
            shape[-1] //= 2  # torch counts the bytes of two numbers, safetensors the numbers
        dtype = getattr(torch, _TORCH[tensor.dtype])
        if not len(view):
            return torch.empty(shape, dtype=dtype)
        flat = torch.frombuffer(view, dtype=torch.uint8) if isinstance(view, memoryview) else view
        return flat.view(dtype).reshape(shape)

    def copy(self, value: Any) -> Any:
        """Return a tensor with memory of its own."""
        return value.clone()

    def place(self, value: Any) -> Any:
        """Return the tensor on the device."""
        return value.to(self.device)


class _Jax(_Numpy):
    def __init__(self, device: Any) -> None:
        super().__init__(None)
        import jax

        self._jax = jax
        try:
            self._device = jax.devices(device)[0] if isinstance(device, str) else device
        except RuntimeError as error:
            raise UsageError(f"device {device!r}: {error}") from error

    def check(self, tensor: Tensor, where: str) -> None:
        """Raise what numpy's does, and UsageError when jax would make the numbers narrower."""
        super().check(tensor, where)
        if tensor.dtype in _WIDE and not self._jax.config.jax_enable_x64:
            raise UsageError(f"{where}: jax makes {tensor.dtype} narrower unless jax_enable_x64 is set")

    def place(self, value: Any) -> Any:
        """Return the array on the device."""
        return self._jax.device_put(value, self._device)
