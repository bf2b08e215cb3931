"""The dtypes of safetensors, and the words that other containers have for them.

Source: safetensors/src/tensor.rs, 0.8; torch/csrc/utils/tensor_dtypes.cpp, torch 2.13.
"""

from __future__ import annotations

from typing import Final

from weighbridge.formats.safetensors.parse import BITS

__all__ = ["BITS", "COMPLEX", "NUMPY", "TORCH", "UNCONVERTIBLE"]

# torch's names without their module.
TORCH: Final = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    # Two numbers to a byte, which torch counts as one element and safetensors as two: the last side doubles.
    "float4_e2m1fn_x2": "F4",
}
# numpy's type strings without the byte order.
NUMPY: Final = {
    "f8": "F64",
    "f4": "F32",
    "f2": "F16",
    "i8": "I64",
    "i4": "I32",
    "i2": "I16",
    "i1": "I8",
    "u8": "U64",
    "u4": "U32",
    "u2": "U16",
    "u1": "U8",
    "b1": "BOOL",
    "?": "BOOL",
    "c8": "C64",
}
COMPLEX: Final = frozenset({"C64"})

_QUANTISED: Final = "dequantize it, or save its int_repr(), scale and zero_point as tensors of their own"
_SUB_BYTE: Final = "store it in uint8, packed as you like"
# What torch has and safetensors has not, with what to do about it.
UNCONVERTIBLE: Final = {
    "complex128": "save torch.view_as_real() of it, or convert it to complex64 if that loss is acceptable",
    "complex32": "convert it to complex64, which holds every one of its values",
    **dict.fromkeys(("qint8", "quint8", "qint32", "quint4x2", "quint2x4"), _QUANTISED),
    **dict.fromkeys(("bits8", "bits16"), "view it as uint8 or uint16"),
    **dict.fromkeys((f"{kind}{bits}" for kind in ("int", "uint") for bits in range(1, 8)), _SUB_BYTE),
    **dict.fromkeys(("bits1x8", "bits2x4", "bits4x2"), _SUB_BYTE),
}
