"""Bytes that no format here reads, and some other program runs or loads: they are no raw numbers of a tensor.

A file of raw numbers is inert because of what a graph says of it. A graph can say that of any file, also of one that
its user opens with another program, such as a graph of TensorFlow that reads and writes files. So a file that begins
as such a file does, or has a name by which loaders choose it, is what it was before the graph spoke: not understood.

Sources: https://protobuf.dev/programming-guides/encoding/; https://www.tensorflow.org/lite/ (`TFL3`).
"""

from __future__ import annotations

import os
from typing import Final

_HEAD: Final = 16
_BEGINS: Final = {
    b"Rar!\x1a\x07": "a RAR archive",
    b"MSCF": "a cabinet",
    b"MZ": "a program of DOS or Windows",
    b"PAR1": "a table of Parquet",
    b"ARROW1": "a table of Arrow",
    b"\xca\xfe\xba\xbe": "a class of Java",
    b"!<arch>": "an archive of objects",
    b"BC\xc0\xde": "bit code of LLVM",
    b"\x1bLua": "byte code of Lua",
    b"Obj\x01": "a table of Avro",
    b"SQLite format 3": "a database",
}
_BEHIND: Final = {b"TFL3": "a model of TensorFlow Lite", b"ORTM": "a model of ONNX Runtime"}  # at the fifth byte
# By these endings programs choose what they do with a file, whatever is in it.
_ENDINGS: Final = frozenset(
    ".py .pyc .pyd .pyw .so .dll .dylib .exe .sh .bat .ps1 .jar .class .wasm .h5 .hdf5 .keras .tflite .mlmodel .pkl "
    ".pickle .joblib .dill .pt .pth .ckpt .npy .npz .safetensors .gguf .msgpack .json .jsonl .yaml .yml .toml .cfg "
    ".ini .jinja .jinja2 .zip .tar .gz .7z .rar".split()
)
_FIELDS: Final = 4096  # of a message of protobuf; graphs have few on top
_WIRE_SIZES: Final = {1: 8, 5: 4, 3: 0, 4: 0}  # bytes of the types of fixed length; a group's ends have none


def foreign(name: str, path: str) -> str:
    """Return what another program takes a file for, nothing when it is none of what is known here.

    `name` is that in the artifact. Raises OSError when the file cannot be read.
    """
    ending = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a name with slashes, not a path
    if ending in _ENDINGS:
        return f"a name that ends as that of other files does ({ending})"
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        head = os.pread(descriptor, _HEAD, 0)
        for begin, what in _BEGINS.items():
            if head.startswith(begin):
                return what
        if head[4:8] in _BEHIND:
            return _BEHIND[head[4:8]]
        if _is_message(descriptor, size):
            return "a message of protobuf"
    return ""


def _is_message(descriptor: int, size: int) -> bool:
    """Tell whether a file is fields of protobuf from its first byte to its last, as a reader of graphs takes it."""
    at = fields = 0
    while at < size:
        window = os.pread(descriptor, 32, at)
        tag, used = _varint(window, 0)
        fields += 1
        if used == 0 or tag >> 3 == 0 or fields > _FIELDS:
            return fields > _FIELDS
        kind = tag & 7
        if kind == 2 or kind == 0:
            value, end = _varint(window, used)
            if end == 0:
                return False
            at += end + (value if kind == 2 else 0)
        elif kind in _WIRE_SIZES:
            at += used + _WIRE_SIZES[kind]
        else:
            return False
    return at == size and fields > 0


def _varint(window: bytes, begin: int) -> tuple[int, int]:
    """Return a number of variable length and where it ends; 0 for an end that is not there."""
    value = 0
    for index in range(begin, min(begin + 10, len(window))):
        value |= (window[index] & 0x7F) << 7 * (index - begin)
        if window[index] < 0x80:
            return value, index + 1
    return 0, 0
