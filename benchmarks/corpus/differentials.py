"""Streams that readers take differently: text operands, frames, lengths, and what a pickle-only reader makes of joblib.

CPython's C unpickler accepts operands that `pickletools` refuses (cpython issues 126992, 126996, 135241, 135321), and
lets an operand cross the end of its frame when it reads from a file (issues 128853, 154848).
"""

from __future__ import annotations

import struct

from fixtures.assemble import P2, P3, P4, STOP, Ops, Spelling, discard, frame, mutable, proto, quoted, text

from .payloads import Payload, Sample, Technique, cross

# Operands that C takes; they stand before the call, so that a reader that gives up has seen nothing.
OPERANDS: dict[str, bytes] = {
    "int-hexadecimal": b"I0x10\n",
    "int-octal": b"I0o17\n",
    "int-binary": b"I0b11\n",
    "int-leading-zero": b"I010\n",
    "int-plus-zero": b"I+0\n",
    "int-nul": b"I1\x00z\n",
    "int-spaces": b"I 7 \n",
    "int-carriage-return": b"I1\r\n",
    "int-true-twice": b"I001\n",
    "long-hexadecimal": b"L0x10L\n",
    "long-octal": b"L0o17L\n",
    "long-without-l": b"L16\n",
    "long-nul": b"L1\x00L\n",
    "long-underscore": b"L1_0L\n",
    "float-nul": b"F1.0\x00z\n",
    "float-spaces": b"F 1.0 \n",
    "float-nan": b"Fnan\n",
    "float-infinity": b"F-Infinity\n",
    "float-hexadecimal-like": b"F1e5\n",
    "string-non-ascii": b"S'\xe9'\n",
    "string-escape": b"S'\\x41'\n",
    "string-octal": b"S'\\101'\n",
    "string-double-quotes": b'S"a"\n',
    "string-spaces": b"S'a' \n",
    "string-carriage-return": b"S'a'\r\n",
    "unicode-escape": b"V\\u0041\n",
    "unicode-latin-1": b"V\xe9\n",
    "short-binstring-non-ascii": b"U\x01\xe9",
    "binunicode-surrogate": b"X\x03\x00\x00\x00\xed\xa0\x80",
    "long1-empty": b"\x8a\x00",
    "long4-empty": b"\x8b\x00\x00\x00\x00",
    "put-nul": b"Np1\x00zz\n",
    "put-plus": b"Np+1\n",
    "put-spaces": b"Np 1 \n",
    "put-underscore": b"Np1_0\n",
    "put-leading-zero": b"Np01\n",
    "get-nul": b"Np1\n0g1\x00zz\n",
    "get-spaces": b"Np1\n0g 1 \n",
    "persistent-id-empty": b"P\n",
    "binfloat-nan": b"G\x7f\xf8\x00\x00\x00\x00\x00\x00",
}


def _operand(code: bytes) -> Technique:
    def make(payload: Payload, write: Spelling) -> bytes:
        return proto(2) + code + b"0" + payload.call(write) + STOP

    return make


def _escaped(payload: Payload, write: Spelling) -> bytes:
    """Names in STRING operands with every character escaped."""
    names = [
        Ops(b"S'" + b"".join(b"\\x%02x" % c for c in part.encode()) + b"'\n") for part in (payload.module, payload.name)
    ]
    return proto(4) + P2.call(Ops(names[0] + names[1] + b"\x93"), *payload.arguments) + STOP


def _escaped_unicode(payload: Payload, write: Spelling) -> bytes:
    """Names in UNICODE operands with every character escaped."""
    names = [Ops(b"V" + b"".join(b"\\u%04x" % ord(c) for c in part) + b"\n") for part in (payload.module, payload.name)]
    return proto(4) + P2.call(Ops(names[0] + names[1] + b"\x93"), *payload.arguments) + STOP


def _straddle(opcode: bytes, length: str, payload: Payload) -> bytes:
    """Let a literal cross the end of its frame.

    A reader in memory takes the literal's bytes in order and then a second literal that holds the call. The C unpickler
    drops the two bytes that are left of the frame, reads the whole literal behind it, and runs the call.
    """
    call = payload.call(P4) + b"0"
    swallow = b"B" + struct.pack("<I", len(call))
    dropped = b"A" * len(swallow)
    size = 64
    head = opcode + struct.pack(length, size)
    literal = b"A" * (size - len(dropped))
    return proto(4) + frame(head + dropped) + literal + swallow + call + b"N."


def _nested_frame(payload: Payload, write: Spelling) -> bytes:
    """Open a frame inside a frame: C reads the inner one from behind the outer one and drops what is between."""
    call = payload.call(P4) + b"0"
    swallow = b"B" + struct.pack("<I", len(call))
    inner = call + b"N."
    return proto(4) + frame(b"N0" + b"\x95" + struct.pack("<Q", len(inner)) + swallow) + inner


def _text_straddle(payload: Payload, write: Spelling) -> bytes:
    """Let a text line cross the end of its frame."""
    return proto(4) + frame(b"V" + b"a" * 8) + b"bb\n0" + payload.call(P4) + STOP


FRAMES: dict[str, Technique] = {
    "binbytes-straddles": lambda payload, write: _straddle(b"B", "<I", payload),
    "binunicode-straddles": lambda payload, write: _straddle(b"X", "<I", payload),
    "binbytes8-straddles": lambda payload, write: _straddle(b"\x8e", "<Q", payload),
    "binunicode8-straddles": lambda payload, write: _straddle(b"\x8d", "<Q", payload),
    "short-binbytes-straddles": lambda payload, write: _straddle(b"C", "<B", payload),
    "short-binunicode-straddles": lambda payload, write: _straddle(b"\x8c", "<B", payload),
    "binstring-straddles": lambda payload, write: _straddle(b"T", "<i", payload),
    "long1-straddles": lambda payload, write: _straddle(b"\x8a", "<B", payload),
    "bytearray-straddles": lambda payload, write: _straddle(b"\x96", "<Q", payload),
    "nested": _nested_frame,
    "line-straddles": _text_straddle,
    "too-long": lambda payload, write: proto(4) + frame(payload.call(P4) + STOP, 1 << 40),
    "too-long-by-one": lambda payload, write: proto(4) + frame(payload.call(P4) + STOP, len(payload.call(P4)) + 2),
    "too-short": lambda payload, write: proto(4) + frame(payload.call(P4) + STOP, 3),
    "empty": lambda payload, write: proto(4) + frame(b"") + payload.call(P4) + STOP,
    "many-empty": lambda payload, write: proto(4) + frame(b"") * 20 + payload.call(P4) + STOP,
    "without-proto": lambda payload, write: frame(payload.call(P4) + STOP),
    "in-protocol-2": lambda payload, write: proto(2) + frame(payload.call(P2) + STOP),
    "stop-outside": lambda payload, write: proto(4) + frame(payload.call(P4)) + STOP,
    "behind-stop": lambda payload, write: proto(4) + frame(b"N." + payload.call(P4) + STOP),
    "escaped-string-names": _escaped,
    "escaped-unicode-names": _escaped_unicode,
    "sign-of-binstring": lambda payload, write: b"T\x00\x00\x00\x80" + payload.call(write) + STOP,
    "literal-ends-with-stream": lambda payload, write: proto(4) + payload.call(P4) + b"B\xff\xff\xff\x7f",
    "out-of-band": lambda payload, write: proto(5) + b"\x97" + discard(payload.call(P4)) + STOP,
    "bytearray-names": lambda payload, write: (
        proto(5) + P4.call(Ops(mutable(b"os") + mutable(b"system") + b"\x93"), 1) + STOP
    ),
    "python2-names": lambda payload, write: (
        proto(2) + P2.call(Ops(quoted(payload.module) + quoted(payload.name) + b"\x93"), 1) + STOP
    ),
}


def wrapper(size: int, dtype: str, module: str = "joblib.numpy_pickle") -> Ops:
    """Return joblib's stand-in for an array of `size` items; the array's bytes follow its BUILD."""
    kind = P3.build(P3.call("numpy:dtype", dtype, False, True), P3.tuple_of(3, "|", None, None, None, -1, -1, 0))
    state: dict[object, object] = {
        "subclass": P3.name("numpy", "ndarray"),
        "shape": (size,),
        "order": "C",
        "dtype": kind,
        "allow_mmap": True,
    }
    return P3.build(P3.newobj(f"{module}:NumpyArrayWrapper"), state)


def _opcodes_as_array(payload: Payload, write: Spelling) -> bytes:
    """Raw array bytes that are a call to whoever reads the file with plain pickle."""
    code = discard(payload.call(P2)) + STOP
    return proto(3) + wrapper(len(code), "u1") + code + STOP


def _object_array(payload: Payload, write: Spelling) -> bytes:
    """An object array, which joblib reads as a pickle of its own (CVE-2024-34997)."""
    return proto(3) + wrapper(1, "O") + write.stream(payload.call(write)) + STOP


def _behind_array(payload: Payload, write: Spelling) -> bytes:
    return proto(3) + wrapper(4, "u1") + bytes(4) + b"0" + payload.call(P2) + STOP


def _size_by_call(payload: Payload, write: Spelling) -> bytes:
    """An array whose size only the loader knows."""
    code = payload.call(P2) + STOP
    kind = P3.call("numpy:dtype", "u1", False, True)
    state: dict[object, object] = {"shape": P3.tuple_of(P3.call("builtins:int", "4")), "dtype": kind, "order": "C"}
    return proto(3) + P3.build(P3.newobj("joblib.numpy_pickle:NumpyArrayWrapper"), state) + bytes(4) + code


JOBLIB: dict[str, Technique] = {
    "array-bytes-are-opcodes": _opcodes_as_array,
    "object-array": _object_array,
    "behind-array": _behind_array,
    "array-of-computed-size": _size_by_call,
    "wrapper-of-old-sklearn": lambda payload, write: (
        proto(3) + wrapper(1, "O", "sklearn.externals.joblib.numpy_pickle") + write.stream(payload.call(write)) + STOP
    ),
    "wrapper-called": lambda payload, write: P3.stream(
        P3.call("joblib.numpy_pickle:NumpyArrayWrapper", payload.imported(P3), (1,), "C", "O")
    ),
    "wrapper-of-other-class": lambda payload, write: (
        proto(3)
        + P3.build(
            P3.newobj("joblib.numpy_pickle:NumpyArrayWrapper"),
            {
                "subclass": payload.imported(P3),
                "shape": (0,),
                "order": "C",
                "dtype": P3.call("numpy:dtype", "u1", False, True),
            },
        )
        + STOP
    ),
    "old-wrapper-file": lambda payload, write: P2.stream(
        P2.build(
            P2.newobj("joblib.numpy_pickle_compat:NDArrayWrapper"),
            {"filename": "x_01.npy", "subclass": payload.imported(P2)},
        )
    ),
}


def samples() -> list[Sample]:
    """Return every sample that two readers read differently."""
    operands = {name: _operand(code) for name, code in OPERANDS.items()}
    operands["binunicode-nul"] = _operand(text("a\0b"))
    return [
        *cross("operands", operands),
        *cross("frames", FRAMES),
        *cross("joblib", JOBLIB, suffix="joblib"),
    ]
