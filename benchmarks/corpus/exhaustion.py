"""Streams and archives that exhaust whoever loads them, or whoever looks for what stands behind the flood.

The first kind is harmful by itself: hashes of shared tuples, allocations by length or by call. The second kind is a
payload behind a flood of harmless opcodes that tires a scanner.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from fixtures.archives import Entry, gzip_file, torch_entries, torch_zip, zip_archive
from fixtures.assemble import P2, P4, STOP, Ops, Spelling, discard, proto

from .payloads import Payload, Sample, Technique, cross


def tuple_graph(depth: int) -> Ops:
    """A tuple that holds the one before it twice, `depth` times: 2 ** depth parts in a few bytes."""
    return Ops(b")" + b"2\x86" * depth)


def list_graph(depth: int) -> Ops:
    """The same of lists."""
    return Ops(
        b"]" + b"".join(b"q" + bytes([i]) + b"0](h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(depth))
    )


def _zip_in_zip(depth: int) -> bytes:
    data = bytes(1 << 16)
    for level in range(depth):
        data = zip_archive(*(Entry(name=f"{level}-{part}.zip", data=data, method=8) for part in range(2)))
    return data


def _overlap(count: int) -> bytes:
    """Many directory entries on the same compressed bytes (Fifield, "A better zip bomb")."""
    kernel = Entry(name="archive/data/0", data=bytes(1 << 20), method=8)
    head = torch_entries(P2.stream({}))
    others = [Entry(name=f"archive/data/{i}", data=kernel.data, method=8, offset=0) for i in range(1, count)]
    archive = zip_archive(*head, kernel)
    start = archive.find(b"archive/data/0") - 30
    body = archive[: archive.find(b"PK\x01\x02")]
    directory = archive[archive.find(b"PK\x01\x02") : archive.rfind(b"PK\x05\x06")]
    directory += b"".join(other.central(start) for other in others)
    entries = len(head) + count
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, entries, entries, len(directory), len(body), 0)
    return body + directory + end


ALONE: dict[str, Callable[[], bytes]] = {
    "hash-of-tuple-graph": lambda: P2.stream(P2.dict_of({tuple_graph(40): 1})),
    "hash-of-tuple-graph-member": lambda: proto(4) + b"\x8f(" + tuple_graph(40) + b"\x90" + STOP,
    "hash-of-frozensets": lambda: proto(4) + b"}" + b"(" + b")" + b"2\x86" * 60 + b"\x91N" + b"s" + STOP,
    "repr-of-list-graph": lambda: P4.stream(P4.call("builtins:repr", list_graph(40))),
    "str-of-tuple-graph": lambda: P4.stream(P4.call("builtins:str", tuple_graph(40))),
    "bytearray-call": lambda: P4.stream(P4.call("builtins:bytearray", 10**12)),
    "bytes-call": lambda: P4.stream(P4.call("builtins:bytes", 10**12)),
    "power-call": lambda: P4.stream(P4.call("builtins:pow", 10, 10**10)),
    "range-list": lambda: P4.stream(P4.call("builtins:list", P4.call("builtins:range", 10**12))),
    "repeat-list": lambda: P4.stream(P4.call("builtins:list", P4.call("itertools:repeat", 1))),
    "string-repeat": lambda: P4.stream(P4.call("operator:mul", "a", 10**12)),
    "ljust": lambda: P4.stream(P4.call("builtins:str.ljust", "a", 10**12)),
    "numpy-zeros": lambda: P4.stream(P4.call("numpy:zeros", (1 << 40,))),
    "numpy-shape": lambda: P4.stream(
        P4.call("numpy._core.multiarray:_reconstruct", P4.name("numpy", "ndarray"), (1 << 40,), b"b")
    ),
    "numpy-shapes": lambda: P4.stream(
        P4.call("numpy._core.multiarray:_reconstruct", P4.name("numpy", "ndarray"), (1 << 20, 1 << 20), b"b")
    ),
    "deque-maxlen": lambda: P4.stream(P4.call("collections:deque", P4.call("itertools:count"), 10**12)),
    "sleep": lambda: P4.stream(P4.call("time:sleep", 10**6)),
    "memo-index": lambda: b"Nr\xff\xff\xff\x7f.",
    "memo-index-text": lambda: b"Np2147483647\n.",
    "memo-index-huge": lambda: b"Np99999999999999999999\n.",
    "unicode-length": lambda: proto(4) + b"\x8d" + struct.pack("<Q", 1 << 62) + b"a.",
    "bytes-length": lambda: proto(4) + b"\x8e" + struct.pack("<Q", 1 << 62) + b"a.",
    "bytearray-length": lambda: proto(5) + b"\x96" + struct.pack("<Q", 1 << 62) + b"a.",
    "bytearray-length-largest": lambda: proto(5) + b"\x96" + b"\xff" * 8 + b"a.",
    "binbytes-length": lambda: proto(3) + b"B\xff\xff\xff\xffa.",
    "long4-length": lambda: proto(2) + b"\x8b\xff\xff\xff\x7fa.",
    "frame-length": lambda: proto(4) + b"\x95" + b"\xff" * 8 + b"N.",
    "overlapping-members": lambda: _overlap(200),
    "zip-in-zip": lambda: _zip_in_zip(10),
    "gzip-in-gzip": lambda: _gzips(20),
    "gzip-of-zeros": lambda: gzip_file(gzip_file(bytes(1 << 24))),
    "torch-zip-of-zeros": lambda: zip_archive(
        *torch_entries(P2.stream({})), Entry(name="archive/extra", data=bytes(1 << 22), method=8)
    ),
}


def _gzips(depth: int) -> bytes:
    data = P2.stream({})
    for _ in range(depth):
        data = gzip_file(data)
    return data


def _behind(flood: Callable[[], bytes]) -> Technique:
    def make(payload: Payload, write: Spelling) -> bytes:
        return proto(4) + flood() + payload.call(write) + STOP

    return make


FLOODS: dict[str, Technique] = {
    "opcodes": _behind(lambda: b"N0" * 60_000),
    "memo-puts": _behind(lambda: b"".join(b"Nr" + struct.pack("<I", i) + b"0" for i in range(8_000))),
    "memo-gets": _behind(lambda: b"Nq\x000" + b"h\x000" * 20_000),
    "nested-tuples": _behind(lambda: b")" + b"\x85" * 60_000 + b"0"),
    "nested-lists": _behind(lambda: b"(" * 30_000 + b"l" * 30_000 + b"0"),
    "nested-dicts": _behind(lambda: b"N" + b"q\x000}Nh\x00s" * 10_000 + b"0"),
    "marks": _behind(lambda: b"(" * 60_000 + b"1" * 60_000),
    "tuple-graph": _behind(lambda: tuple_graph(60) + b"0"),
    "tuple-graph-deep": _behind(lambda: tuple_graph(5_000) + b"0"),
    "list-graph": _behind(lambda: list_graph(60) + b"0"),
    "list-in-itself": _behind(lambda: b"]q\x00h\x00a0"),
    "dict-in-itself": _behind(lambda: b"}q\x00Nh\x00s0"),
    "long-integer": _behind(lambda: b"\x8b" + struct.pack("<i", 70_000) + b"\x7f" * 70_000 + b"0"),
    "long-integer-text": _behind(lambda: b"L" + b"9" * 4_000 + b"L\n0"),
    "long-integer-text-huge": _behind(lambda: b"L" + b"9" * 100_000 + b"L\n0"),
    "long-string": _behind(lambda: b"V" + b"a" * 100_000 + b"\n0"),
    "long-name": _behind(lambda: b"c" + b"a." * 20_000 + b"a\nb" + b".c" * 20_000 + b"\n0"),
    "many-names": _behind(lambda: b"".join(b"cmodule%d\nname\n0" % i for i in range(2_000))),
    "many-streams": lambda payload, write: P2.stream(None) * 3_000 + write.stream(payload.call(write)),
    "shared-calls": _behind(lambda: b"ccollections\nOrderedDict\nq\x000" + b"h\x00)R0" * 10_000),
    "duplicated-keys": _behind(lambda: b"}(" + b"K\x01N" * 20_000 + b"u0"),
}


def _large_member(payload: Payload, write: Spelling) -> bytes:
    """A torch file whose payload lies behind a long list."""
    return torch_zip(P2.stream(Ops(P2.list_of(*range(20_000)) + b"0" + discard(payload.call(P2)))))


def samples() -> list[Sample]:
    """Return every sample that exhausts a loader or tires a scanner."""
    alone = [Sample(f"exhaustion/{name}.pkl", f"exhaustion/{name}", make) for name, make in ALONE.items()]
    floods = cross("flood", FLOODS, (Payload("os", "system"), Payload("weighbridge_unlisted", "run")))
    return alone + floods + cross("flood", {"torch-list": _large_member}, suffix="pt")
