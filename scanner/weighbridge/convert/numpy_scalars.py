"""numpy's single numbers in a pickle's symbolic result, which checkpoints have as scores and counts beside weights.

Source: numpy/_core/src/multiarray/scalartypes.c.src, `gentype_reduce`, and descriptor.c, `arraydescr_reduce`, numpy 1.0
to 2.4: `scalar(dtype(name, …), bytes)`, and a state of the dtype that has its order of bytes.
"""

from __future__ import annotations

import struct
from typing import Final

from weighbridge.symbols import Call, Global, Value

_FORMS: Final = {
    "f8": "d",
    "f4": "f",
    "f2": "e",
    "i8": "q",
    "i4": "i",
    "i2": "h",
    "i1": "b",
    "u8": "Q",
    "u4": "I",
    "u2": "H",
    "u1": "B",
    "b1": "?",
}
# By how an order of bytes is written; one byte has none.
_ORDERS: Final = {"<": "<", "=": "<", "|": "<", ">": ">"}


def number(value: Value) -> bool | int | float | None:
    """Return the number that a value is, None when it is something else, or its type is none of JSON's.

    >>> from weighbridge.convert.numpy_scalars import number
    >>> number(None) is None
    True
    """
    match value:
        case Call(
            callable=Global(dotted="numpy._core.multiarray.scalar"),
            arguments=(Call(callable=Global(dotted="numpy.dtype"), arguments=(str(name), *_), state=state), data),
            state=None,
        ):
            order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
            form = _FORMS.get(name.lstrip("<>|="), "")
            mark = _ORDERS.get(name[:1] if name[:1] in _ORDERS else str(order), "")
            raw = _bytes(data)
            if form and mark and raw is not None and len(raw) == struct.calcsize(mark + form):
                return struct.unpack(mark + form, raw)[0]  # type: ignore[no-any-return]  # by the form
    return None


def _bytes(data: Value) -> bytes | None:
    """Return bytes, which protocols before 3 write as a text of the same code points."""
    match data:
        case bytes():
            return data
        case Call(callable=Global(dotted="_codecs.encode"), arguments=(str(text), "latin1" | "latin-1")):
            return text.encode("latin-1") if max(map(ord, text), default=0) < 256 else None
    return None
