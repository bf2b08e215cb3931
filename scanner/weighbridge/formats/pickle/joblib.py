"""Arrays that joblib writes into the middle of a pickle stream.

`joblib.numpy_pickle.NumpyArrayWrapper` is pickled, and the array's bytes follow its BUILD opcode directly; joblib's
unpickler reads them before it goes on. An array of objects is a pickle of its own there, with a memo of its own, that
an ordinary unpickler reads. Plain `pickle.load` would run those bytes as opcodes instead, with the memo of the stream
around them, which is why a stream with such arrays has two readings (see `formats.pickle`).

Source: joblib/numpy_pickle.py, `NumpyArrayWrapper.read_array`, joblib 0.10 to 1.6.
"""

from __future__ import annotations

import math
import re
from typing import Final

from weighbridge.symbols import Call, Dict, Global, Value

WRAPPERS: Final = frozenset(
    {
        "joblib.numpy_pickle.NumpyArrayWrapper",
        "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper",
    }
)
AS_OPCODES: Final = "arrays as opcodes"  # how plain pickle reads what joblib reads as arrays
_STRINGS: Final = "numpy._core._internal._convert_to_stringdtype_kwargs"  # makes a dtype whose items are objects
_DTYPE: Final = re.compile(r"[<>|=]?([?biufcSUVMm])([0-9]*)(?:\[[0-9a-zA-Z]+\])?")
_BARE_SIZES: Final = {"?": 1, "b": 1, "S": 0, "U": 0, "V": 0}
_SIZE: Final = 5  # where the state of a dtype says its bytes per item
_POINTER: Final = 8  # bytes of an object field
_DTYPE_DEPTH: Final = 16  # nested structured types; numpy itself allows no deeper subarrays than 32


def fields(state: Value) -> dict[str, Value]:
    """Return the string-keyed items of a wrapper's state."""
    if not isinstance(state, Dict):
        return {}
    return {key: value for key, value in zip(state[::2], state[1::2], strict=False) if isinstance(key, str)}


def holds_objects(dtype: Value) -> bool | None:
    """Tell whether a pickled dtype holds Python objects; None when that cannot be told."""
    return _walk(dtype, _DTYPE_DEPTH)


def _walk(dtype: Value, depth: int) -> bool | None:
    text = _type_string(dtype)
    if isinstance(dtype, Call) and dtype.subject == _STRINGS:
        return True
    if depth == 0 or text is None or not isinstance(dtype, Call):
        return None
    if text.lstrip("<>|=").startswith("O"):
        return True
    state = dtype.state
    if not isinstance(state, tuple) or len(state) < 5:
        return False
    inner: list[Value] = []
    if isinstance(state[2], tuple):
        inner.append(state[2][0] if state[2] else None)
    if isinstance(state[4], Dict):
        inner += [field[0] if isinstance(field, tuple) and field else None for field in state[4][1::2]]
    elif state[4] is not None:
        return None
    answers = [_walk(part, depth - 1) for part in inner]
    return None if None in answers else True in answers


def _type_string(dtype: Value) -> str | None:
    match dtype:
        case Call(callable=Global(dotted="numpy.dtype"), arguments=(str(text), *_)):
            return text
        case Call(callable=Global(dotted="numpy.dtype"), arguments=(Global(name="record"), *_)):
            return "V"
    return None


def itemsize(dtype: Value) -> int | None:
    """Return the bytes per item of a pickled dtype, None when that cannot be told.

    The state of a text or record dtype replaces the size that its type string gives.
    """
    text = _type_string(dtype)
    match = _DTYPE.fullmatch(text) if text is not None else None
    if match is None or not isinstance(dtype, Call):
        return None
    kind, digits = match[1], match[2]
    if kind in "SUV" and isinstance(dtype.state, tuple) and len(dtype.state) > _SIZE:
        stated = dtype.state[_SIZE]
        return stated if type(stated) is int and stated >= 0 else None
    if not digits and kind not in _BARE_SIZES:
        return None
    size = int(digits) * (4 if kind == "U" else 1) if digits else _BARE_SIZES[kind]
    return 8 if kind in "Mm" else size


def fits(state: Value) -> bool:
    """Tell whether the parts of a record dtype lie inside its size, by its state; numpy does not check that."""
    match state:
        case (_, _, (dtype, shape), _, None, int(size), *_):
            lengths = shape if isinstance(shape, tuple) else (shape,)
            inner = itemsize(dtype)
            if inner is None or not all(type(length) is int and length >= 0 for length in lengths):
                return False
            return inner * math.prod(lengths) == size
        case (_, _, None, _, Dict() as parts, int(size), *_):
            return all(_inside(part, size) for part in parts[1::2])
        case (_, _, None, _, None, int(_), *_):
            return True
    return False


def _inside(field: Value, size: int) -> bool:
    match field:
        case (dtype, int(offset), *_):
            text = _type_string(dtype) or ""
            inner = _POINTER if text.lstrip("<>|=").startswith("O") else itemsize(dtype)
            return inner is not None and 0 <= offset <= size - inner
    return False


def payload(state: Value, pad: int) -> tuple[int, bool] | None:
    """Return (size in bytes, is a nested pickle) of the array behind a wrapper, None when it cannot be told.

    `pad` is the byte behind the BUILD opcode: the length of the padding when the writer aligned the array.
    """
    items = fields(state)
    shape, dtype = items.get("shape"), items.get("dtype")
    objects = holds_objects(dtype)
    if objects is None or not isinstance(shape, tuple):
        return None
    if objects:
        return 0, True
    size = itemsize(dtype)
    for length in shape:
        if type(length) is not int or length < 0 or size is None:
            return None
        size *= length
    if size is None:
        return None
    aligned = items.get("numpy_array_alignment_bytes")
    return (size + 1 + pad if aligned is not None else size), False
