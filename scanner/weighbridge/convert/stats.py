"""What values a tensor has, without numpy: for a person who wants to see whether weights are weights.

Dtypes of one and two bytes are counted value by value, so that each distinct one is decoded once; wider ones are read
as numbers block by block. Sums are those of Python floats.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import inf, isfinite, isnan, nan
from typing import Any, Final

from weighbridge.convert.blocks import Block, blocks
from weighbridge.convert.plan import PlannedTensor
from weighbridge.convert.sources.base import Store
from weighbridge.records import dataclass


@dataclass(slots=True)
class Stats:
    """The values of a tensor: the finite ones by their least, greatest and mean, the others by their number."""

    count: int = 0
    total: float = 0.0
    least: float | None = None
    greatest: float | None = None
    zero: int = 0
    nan: int = 0
    infinite: int = 0

    @property
    def mean(self) -> float | None:
        """The mean of the finite values, None when there are none."""
        return self.total / self.count if self.count else None

    def add(self, values: Iterable[tuple[float, int]]) -> None:
        """Count values, each as often as it says."""
        for value, times in values:
            if isnan(value):
                self.nan += times
            elif not isfinite(value):
                self.infinite += times
            else:
                self.count += times
                self.total += value * times
                self.zero += times * (value == 0)
                self.least = value if self.least is None else min(self.least, value)
                self.greatest = value if self.greatest is None else max(self.greatest, value)

    def add_plain(self, values: Sequence[float]) -> None:
        """Count values, whole blocks of finite ones at once."""
        total = sum(values)
        if not isfinite(total):
            self.add((value, 1) for value in values)
            return
        self.count += len(values)
        self.total += total
        self.zero += values.count(0)
        self.least = min(values) if self.least is None else min(self.least, min(values))
        self.greatest = max(values) if self.greatest is None else max(self.greatest, max(values))

    def document(self) -> dict[str, Any]:
        """Return them as JSON has them."""
        return {
            "min": self.least,
            "max": self.greatest,
            "mean": self.mean,
            "zero": self.zero,
            "nan": self.nan,
            "infinite": self.infinite,
        }


def stats(stores: Sequence[Store], tensor: PlannedTensor) -> Stats | None:
    """Return what values a tensor has, None for dtypes whose values have no order."""
    found = Stats()
    if tensor.dtype in _WIDE:
        code, size = _WIDE[tensor.dtype], struct.calcsize(_WIDE[tensor.dtype])
        for block in _whole(blocks(stores, tensor), size):
            found.add_plain(struct.unpack(f"<{len(block) // size}{code}", block))
        return found
    if tensor.dtype not in _NARROW:
        return None
    code, decode = _NARROW[tensor.dtype]
    counts: Counter[int] = Counter()
    for block in _whole(blocks(stores, tensor), struct.calcsize(code)):
        counts.update(memoryview(bytes(block)).cast("H" if code == "H" else "B"))
    for bits, times in counts.items():
        found.add((value, times) for value in decode(bits))
    return found


def _whole(parts: Iterable[Block], size: int) -> Iterable[Block]:
    """Cut blocks where items end; ranges of a tensor may join in the middle of one."""
    rest = b""
    for part in parts:
        whole = part if not rest and len(part) % size == 0 else rest + bytes(part)
        end = len(whole) - len(whole) % size
        rest = bytes(whole[end:])
        yield whole[:end] if rest else whole


_Decode = Callable[[int], tuple[float, ...]]


def _packed(code: str, kind: str, bits: int) -> tuple[float, ...]:
    return struct.unpack(kind, struct.pack(code, bits))


def _brain(bits: int) -> tuple[float, ...]:
    return _packed("<I", "<f", bits << 16)


def _small(exponents: int, mantissas: int, bias: int, kind: str, bits: int) -> tuple[float, ...]:
    """Decode a float of eight bits; `kind` is ieee (infinities), fn (one NaN to a sign) or fnuz (NaN for minus zero).

    Source: the OCP 8-bit floating point specification 1.0, and ONNX's table of float 8 types.
    """
    sign = -1.0 if bits >> (exponents + mantissas) else 1.0
    exponent, mantissa = bits >> mantissas & (1 << exponents) - 1, bits & (1 << mantissas) - 1
    last = exponent == (1 << exponents) - 1
    if kind == "fnuz" and bits == 0x80:
        return (nan,)
    if kind == "ieee" and last:
        return (nan if mantissa else sign * inf,)
    if kind == "fn" and last and mantissa == (1 << mantissas) - 1:
        return (nan,)
    fraction = mantissa / (1 << mantissas)
    scale = 2.0 ** (max(exponent, 1) - bias)
    return (sign * scale * (fraction + (exponent > 0)),)


def _power(bits: int) -> tuple[float, ...]:
    return (nan if bits == 0xFF else 2.0 ** (bits - 127),)


def _pair(bits: int) -> tuple[float, ...]:
    return (*_small(2, 1, 1, "plain", bits & 15), *_small(2, 1, 1, "plain", bits >> 4))


_WIDE: Final = {"F64": "d", "F32": "f", "I64": "q", "I32": "i", "U64": "Q", "U32": "I"}
_NARROW: Final[dict[str, tuple[str, _Decode]]] = {
    "F16": ("H", partial(_packed, "<H", "<e")),
    "BF16": ("H", _brain),
    "I16": ("H", partial(_packed, "<H", "<h")),
    "U16": ("H", lambda bits: (bits,)),
    "I8": ("B", partial(_packed, "<B", "<b")),
    "U8": ("B", lambda bits: (bits,)),
    "BOOL": ("B", lambda bits: (bits,)),
    "F8_E4M3": ("B", partial(_small, 4, 3, 7, "fn")),
    "F8_E5M2": ("B", partial(_small, 5, 2, 15, "ieee")),
    "F8_E4M3FNUZ": ("B", partial(_small, 4, 3, 8, "fnuz")),
    "F8_E5M2FNUZ": ("B", partial(_small, 5, 2, 16, "fnuz")),
    "F8_E8M0": ("B", _power),
    "F4": ("B", _pair),
}
