"""Whether a pickled column of Arrow has the buffers that its type and length ask for.

`pyarrow.lib._restore_array` makes an array of whatever it is given: no buffer is measured before somebody reads the
column, and a number of buffers that is not the type's own ends the process. pandas keeps its texts, and the names of
its columns, in such arrays wherever pyarrow is installed.

The offsets inside a column of texts are not read here, nor by whoever loads it: forged ones can crash the program
that uses the column.

Source: pyarrow/array.pxi, `_reduce_array_data` and `_restore_array`, pyarrow 10 to 26; the layout of buffers,
https://arrow.apache.org/docs/format/Columnar.html#buffer-listing-for-each-layout
"""

from __future__ import annotations

from typing import Final

from weighbridge.symbols import Call, Span, Value

# Bits of a value as a column holds it, by the name of its type.
_BITS: Final = {
    "bool": 1,
    "int8": 8,
    "uint8": 8,
    "int16": 16,
    "uint16": 16,
    "halffloat": 16,
    "int32": 32,
    "uint32": 32,
    "float": 32,
    "date32[day]": 32,
    "time32[s]": 32,
    "time32[ms]": 32,
    "int64": 64,
    "uint64": 64,
    "double": 64,
    "date64[ms]": 64,
    "time64[us]": 64,
    "time64[ns]": 64,
    "duration[s]": 64,
    "duration[ms]": 64,
    "duration[us]": 64,
    "duration[ns]": 64,
}
# Bits of an offset into the bytes of a column of texts.
_OFFSETS: Final = {"string": 32, "binary": 32, "large_string": 64, "large_binary": 64}
_TIMESTAMP: Final = 64
_MOST: Final = 1 << 40  # values of a column; the bits of so many are counted without a thought of overflow


def fills_its_buffers(column: Value) -> bool:
    """Tell whether the data of a column are what pyarrow writes: (type, length, nulls, offset, buffers, [], none)."""
    if type(column) is not tuple or len(column) != 7:
        return False
    kind, length, nulls, offset, buffers, children, dictionary = column
    if type(length) is not int or type(offset) is not int or type(nulls) is not int or type(buffers) is not list:
        return False
    if not 0 <= length < _MOST or not 0 <= offset < _MOST or not -1 <= nulls <= length:
        return False
    if type(children) is not list or children or dictionary is not None:
        return False
    needed = _needed(_name(kind), length + offset)
    if needed is None or len(buffers) != len(needed):
        return False
    # the first buffer tells which values are missing; there is none when no value is
    whole = buffers[0] is None and nulls <= 0
    return all(_size(one) >= size for one, size in zip(buffers[whole:], needed[whole:], strict=True))


def _name(kind: Value) -> str:
    """Return the name of a type that a call names, nothing when it is none of those that are measured here."""
    if type(kind) is not Call or type(kind.arguments) is not tuple or not kind.arguments:
        return ""
    if kind.subject == "pyarrow.lib.timestamp":
        return "timestamp"
    name = kind.arguments[0]
    return name if kind.subject == "pyarrow.lib.type_for_alias" and type(name) is str else ""


def _needed(name: str, end: int) -> list[int] | None:
    """Return how many bytes each buffer has to have for `end` values, None for a type that is not known."""
    present = _bytes(end)
    if name in _OFFSETS:
        return [present, _bytes((end + 1) * _OFFSETS[name]) if end else 0, 0]
    bits = _TIMESTAMP if name == "timestamp" else _BITS.get(name)
    return None if bits is None else [present, _bytes(end * bits)]


def _bytes(bits: int) -> int:
    return (bits + 7) // 8


def _size(buffer: Value) -> int:
    """Return how many bytes a buffer has, none for a buffer that is left out, -1 when that cannot be told."""
    if buffer is None:
        return 0
    part = buffer
    for name in ("pyarrow.lib.py_buffer", "builtins.bytearray", "_codecs.encode"):
        if type(part) is Call and part.subject == name:
            if type(part.arguments) is not tuple or not part.arguments:
                return 0 if name == "builtins.bytearray" else -1
            part = part.arguments[0]
            if name == "_codecs.encode":  # in Latin-1, or the call is not covered itself
                return len(part) if type(part) is str else -1
    if type(part) is Span:
        return -1 if part.kind == "str" else part.size
    return len(part) if type(part) is bytes else -1
