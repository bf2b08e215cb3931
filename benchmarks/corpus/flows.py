"""What one stream makes and another uses: pickles behind joblib's wrappers, in literals, and the five of torch.

An object is harmless where its own stream has it, and is used as something else by the stream around it; or two
readers give the same opcodes another memo, so that they name something else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from fixtures.archives import tar_archive, tar_member
from fixtures.assemble import P2, P4, STOP, Ops, Spelling, discard, frame, proto, short_text

from .differentials import wrapper
from .hook_abuse import CLASS, CONFIGURATION, FUNCTION, GENERATION, OBJECT, array, holder, keyed, layer, stream, wrapped
from .payloads import Payload, Sample, Technique, cross

MAGIC = 0x1950A86A20F9469CFC6C
ORDINARY = Payload("collections", "OrderedDict", ())
GET_AND_CALL = b"h\0h\1\x93h\2R"
STORABLE = P2.name("torch.nn.modules.linear", "Linear")
FLOAT = P2.name("torch", "FloatStorage")
CALLED_ONLY = P2.name("torch.amp.grad_scaler", "GradScaler")
MADE_WITH_SOURCE = "class Linear: ..."


def memoised(payload: Payload) -> bytes:
    """Return code that leaves nothing but a module, a name and arguments, in the next three entries of the memo."""
    return b"".join(P4.value(part) + b"\x940" for part in (payload.module, payload.name, payload.arguments))


def put(payload: Payload, size: int = 0) -> bytes:
    """Return code that puts these into entries 0, 1 and 2, whatever they held; not fewer bytes than `size`."""
    parts = enumerate((payload.module, payload.name, payload.arguments))
    code = b"".join(P4.value(part) + b"p%d\n0" % index for index, part in parts)
    return code + discard(short_text("a" * (size - len(code) - 3)), b"") if size > len(code) else code


def _memo_of_outer(payload: Payload, write: Spelling) -> bytes:
    """To plain pickle, what the inner pickle takes from its memo is what the outer one put there."""
    inner = proto(4) + memoised(ORDINARY) + GET_AND_CALL + b"0" + array(OBJECT, ["a"]) + STOP
    return proto(4) + memoised(payload) + _behind_wrapper(inner) + STOP


def _memo_of_inner(payload: Payload, write: Spelling) -> bytes:
    """To joblib, what looks like an array inside an inner pickle are opcodes."""
    code = b"0" + GET_AND_CALL + b"0" + array(OBJECT, ["a"]) + STOP
    inner = proto(4) + memoised(payload) + wrapper(len(code), "u1") + code
    return proto(4) + memoised(ORDINARY) + _behind_wrapper(inner + b"0" + array(OBJECT, ["a"]) + STOP) + STOP


def _array_behind_frame(payload: Payload, write: Spelling) -> bytes:
    """To joblib, the array is not what follows its wrapper, but what follows the frame in which that stands."""
    size = max(len(put(payload)), len(put(ORDINARY))) + 4
    begin = wrapper(size, "u1") + put(payload, size)
    return proto(4) + frame(begin) + put(ORDINARY, size) + b"0g0\ng1\n\x93g2\nR" + STOP


def _loop_in_array(payload: Payload, write: Spelling) -> bytes:
    """To a loop of plain pickle, an array is the end of one pickle and another one."""
    code = STOP + P2.stream(payload.call(P2))
    return proto(3) + wrapper(len(code), "u1") + code + STOP


def _loop_behind_array(payload: Payload, write: Spelling) -> bytes:
    """To a loop of plain pickle, what follows an inner pickle begins with an empty memo."""
    inner = proto(2) + array(OBJECT, ["a"]) + STOP
    return proto(4) + memoised(ORDINARY) + _behind_wrapper(inner) + memoised(payload) + GET_AND_CALL + STOP


def _behind_wrapper(inner: bytes) -> bytes:
    state = {"subclass": P4.name("numpy", "ndarray"), "shape": (1,), "order": "C", "dtype": OBJECT}
    return P4.build(P4.newobj("joblib.numpy_pickle:NumpyArrayWrapper"), state) + inner


def _mapped(objects: Ops) -> Ops:
    """Return an array whose pointers joblib takes from the file when it is told to map arrays into memory."""
    state = {"subclass": P4.name("numpy", "ndarray"), "shape": (1,), "order": "C", "dtype": OBJECT, "allow_mmap": True}
    return Ops(P4.build(P4.newobj("joblib.numpy_pickle:NumpyArrayWrapper"), state) + P4.stream(objects, framed=False))


MEMOS: dict[str, Technique] = {
    "memo-of-outer": _memo_of_outer,
    "memo-of-inner": _memo_of_inner,
    "array-behind-frame": _array_behind_frame,
    "loop-in-array": _loop_in_array,
    "loop-behind-array": _loop_behind_array,
}


def legacy(result: Ops, *, version: object = 1001, keys: tuple[str, ...] = (), data: bytes = b"") -> bytes:
    """Return a file of torch before 1.6 with one object."""
    parts = (P2.stream(MAGIC), P2.stream(version), P2.stream({}), P2.stream(result), P2.stream(list(keys)))
    return b"".join(parts) + data


def persistent(*parts: object) -> Ops:
    """Return what a persistent id stands for."""
    return Ops(P2.tuple_of(*parts) + b"Q")


def from_bytes(data: bytes) -> Ops:
    """Return what torch loads from a literal."""
    return P4.call("torch.storage:_load_from_bytes", data)


STORAGE = persistent("storage", FLOAT, "0", "cpu", 2, None)
FLOATS = legacy(STORAGE, keys=("0",), data=struct.pack("<q2f", 2, 0.5, 1.5))


def tensor(storage: Ops) -> Ops:
    """Return a tensor of two numbers in a storage."""
    return P4.call("torch._utils:_rebuild_tensor", storage, 0, (2,), (1,))


def first_format(
    storage: object, *, views: tuple[object, ...] = (), tensors: tuple[object, ...] = (), result: object = None
) -> bytes:
    """Return a file of torch before 0.2 with one storage of no items, and tensors of no dimension."""
    storages = P2.stream(1) + P2.stream(storage) + bytes(8) + P2.stream(list(views))
    shapes = b"".join(P2.stream(one) + bytes(16) for one in tensors)
    return tar_archive(
        tar_member("sys_info", P2.stream({"protocol_version": 1000})),
        tar_member("pickle", P2.stream(result)),
        tar_member("tensors", P2.stream(len(tensors)) + shapes),
        tar_member("storages", storages),
    )


ABUSES: dict[str, bytes] = {
    # what joblib reads for an array is used as one
    "array-of-joblib-list": stream(wrapped(P4.list_of(CLASS))),
    "array-of-joblib-class": stream(wrapped(CLASS)),
    "array-of-joblib-object": stream(wrapped(holder(dtype=holder(byteorder=">"), byteswap=FUNCTION))),
    "array-of-joblib-dict": stream(layer(_buffers=wrapped(P4.value(CONFIGURATION)))),
    "array-of-joblib-items": stream(wrapped(array(OBJECT, [CLASS]))),
    "array-of-joblib-key": stream(keyed(wrapped(GENERATION))),
    "array-of-joblib-state": stream(P4.build(wrapped(layer()), {"forward": FUNCTION})),
    "array-of-joblib-mapped": stream(_mapped(array(OBJECT, ["a"]))),
    # what torch loads from a literal is used as a storage
    "literal-list": P4.stream(tensor(from_bytes(legacy(P2.list_of(1))))),
    "literal-class": P4.stream(P4.list_of(from_bytes(legacy(STORABLE)))),
    "literal-key": P4.stream(keyed(from_bytes(legacy(GENERATION)))),
    "literal-without-magic": P4.stream(tensor(from_bytes(P2.stream(STORAGE)))),
    # what a persistent id stands for
    "persistent-class": legacy(P2.list_of(persistent("module", CALLED_ONLY, "linear.py", MADE_WITH_SOURCE))),
    "persistent-argument": legacy(
        P2.call("torch.jit._pickle:restore_type_tag", persistent("module", CALLED_ONLY, "", ""), "x")
    ),
    "persistent-storage": legacy(tensor(persistent("module", STORABLE, "linear.py", MADE_WITH_SOURCE))),
    # what torch looks up, asks how it begins, or multiplies
    "first-format-key": first_format((GENERATION, "cpu", FLOAT)),
    "first-format-location": first_format((1, holder(startswith=FUNCTION), FLOAT)),
    "first-format-view": first_format((1, "cpu", FLOAT), views=((GENERATION, 1, 0, 0),)),
    "first-format-views": first_format((1, "cpu", FLOAT), views=((2, 1, 0, layer()),)),
    "first-format-tensor": first_format((1, "cpu", FLOAT), tensors=((GENERATION, 1, FLOAT),)),
    # what torch compares with a number
    "version-of-torch": legacy(P2.dict_of({}), version=GENERATION),
}


def samples() -> list[Sample]:
    """Return every sample of a result that flows from one stream into another."""
    fixed = [Sample(f"flows/{name}.pkl", f"flows/{name}", _given(data)) for name, data in ABUSES.items()]
    return [*cross("flows", MEMOS, suffix="joblib"), *fixed]


def _given(data: bytes) -> Callable[[], bytes]:
    return lambda: data
