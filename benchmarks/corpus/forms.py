"""Evasions in how a call is made: old opcodes, discarded results, computed names, the extension registry."""

from __future__ import annotations

from collections.abc import Callable

from fixtures.assemble import (
    P0,
    P2,
    P4,
    STOP,
    Ops,
    Spelling,
    binary,
    discard,
    global_line,
    integer,
    proto,
    stack_global,
)

from .payloads import Payload, Sample, Technique, cross


def _hidden(make: Callable[[Payload, Spelling], Ops]) -> Technique:
    return lambda payload, write: write.stream(make(payload, write))


FORMS: dict[str, Technique] = {
    "inst": lambda payload, write: write.stream(write.inst(payload.module, payload.name, *payload.arguments)),
    "inst-without-proto": lambda payload, write: P0.stream(P0.inst(payload.module, payload.name, *payload.arguments)),
    "obj": lambda payload, write: write.stream(write.obj(payload.imported(write), *payload.arguments)),
    "newobj": lambda payload, write: write.stream(write.newobj(payload.imported(write), *payload.arguments)),
    "newobj-ex": lambda payload, write: P4.stream(P4.newobj_ex(payload.imported(P4), payload.arguments, {})),
    "newobj-ex-keywords": lambda payload, write: P4.stream(
        P4.newobj_ex(payload.imported(P4), (), {"args": "true", "shell": True})
    ),
    "global-without-proto": lambda payload, write: P0.stream(payload.call(P0)),
    "stack-global-without-proto": lambda payload, write: payload.call(P4) + STOP,
    "proto-late": lambda payload, write: payload.call(P0) + proto(4) + STOP,
    "proto-twice": lambda payload, write: proto(2) + proto(4) + payload.call(P4) + STOP,
    "proto-0": lambda payload, write: proto(0) + payload.call(P0) + STOP,
    "proto-5-old-opcodes": lambda payload, write: proto(5) + payload.call(P0) + STOP,
    "persistent-id-of-result": _hidden(lambda payload, write: Ops(payload.call(write) + b"Q")),
    "reduce-twice": _hidden(lambda payload, write: Ops(payload.call(write) + b")R")),
    "reduce-list-arguments": _hidden(
        lambda payload, write: Ops(payload.imported(write) + write.list_of(*payload.arguments) + b"R")
    ),
    "arguments-computed": _hidden(
        lambda payload, write: Ops(
            payload.imported(write) + write.call("builtins:tuple", list(payload.arguments)) + b"R"
        )
    ),
    "function-through-partial": _hidden(
        lambda payload, write: write.call(write.call("functools:partial", payload.imported(write)), *payload.arguments)
    ),
    "function-through-getattr": _hidden(
        lambda payload, write: write.call(
            write.call("builtins:getattr", write.call("builtins:__import__", payload.module), payload.name),
            *payload.arguments,
        )
    ),
    "function-through-list": _hidden(
        lambda payload, write: write.call(
            write.call(write.call("operator:itemgetter", 0), [payload.imported(write)]), *payload.arguments
        )
    ),
    "function-through-extension": _hidden(lambda payload, write: write.call(Ops(b"\x82\x01"), *payload.arguments)),
    "function-through-persistent-id": _hidden(
        lambda payload, write: write.call(Ops(b"Pos system\n"), *payload.arguments)
    ),
}

DISCARDED: dict[str, Technique] = {
    "pop": _hidden(lambda payload, write: discard(payload.call(write), write.value({"weights": 1}))),
    "pop-to-mark": _hidden(lambda payload, write: Ops(b"(" + payload.call(write) + b"1" + write.value({"a": 1}))),
    "obj-and-pop": _hidden(
        lambda payload, write: discard(write.obj(payload.imported(write), *payload.arguments), b"}")
    ),
    "inst-and-pop": _hidden(
        lambda payload, write: discard(write.inst(payload.module, payload.name, *payload.arguments), b"}")
    ),
    "memo-overwritten": _hidden(lambda payload, write: Ops(payload.call(write) + b"q\x000}q\x000h\x00")),
    "in-tuple": _hidden(lambda payload, write: Ops(write.tuple_of(1, payload.call(write)) + b"0N")),
    "in-list": _hidden(lambda payload, write: write.list_of(1, payload.call(write))),
    "as-value": _hidden(lambda payload, write: write.dict_of({"weights": payload.call(write)})),
    "as-key": _hidden(lambda payload, write: write.dict_of({payload.call(write): 1})),
    "as-member": _hidden(lambda payload, write: Ops(b"\x8f(" + payload.call(write) + b"\x90")),
    "as-frozen-member": _hidden(lambda payload, write: Ops(b"(" + payload.call(write) + b"\x91")),
    "in-state": _hidden(
        lambda payload, write: write.build(write.newobj("collections:OrderedDict"), {"a": payload.call(write)})
    ),
    "in-arguments": _hidden(lambda payload, write: write.call("collections:OrderedDict", [payload.call(write)])),
    "in-keywords": _hidden(lambda payload, write: P4.newobj_ex("collections:OrderedDict", (), {"a": payload.call(P4)})),
    "in-persistent-id": _hidden(lambda payload, write: Ops(write.tuple_of("storage", payload.call(write)) + b"Q")),
    "left-on-stack": _hidden(lambda payload, write: Ops(payload.call(write) + b"}")),
    "below-mark": _hidden(lambda payload, write: Ops(payload.call(write) + b"(}")),
}


def _computed(module: Ops, name: Ops) -> Technique:
    return lambda payload, write: P4.stream(P4.call(stack_global(module, name), *payload.arguments))


COMPUTED: dict[str, Technique] = {
    "join": _computed(P4.call("builtins:str.join", "", ["o", "s"]), P4.call("builtins:str.join", "", ["sys", "tem"])),
    "rot13": _computed(P4.call("_codecs:encode", "bf", "rot13"), P4.call("_codecs:encode", "flfgrz", "rot13")),
    "codecs-decode": _computed(P4.call("codecs:decode", b"os", "ascii"), P4.call("codecs:decode", b"system", "ascii")),
    "itemgetter": _computed(
        P4.call(P4.call("operator:itemgetter", 0), ["os"]), P4.call(P4.call("operator:itemgetter", 0), ["system"])
    ),
    "concat": _computed(P4.call("operator:concat", "o", "s"), P4.call("_operator:add", "sys", "tem")),
    "zlib": _computed(P4.call("zlib:decompress", b"x\x9c"), P4.call("zlib:decompress", b"x\x9c")),
    "base64": _computed(P4.call("base64:b64decode", "b3M="), P4.call("base64:b64decode", "c3lzdGVt")),
    "slice": _computed(P4.call("builtins:str.__getitem__", "xos", 1), P4.call("builtins:str.strip", " system ")),
    "format": _computed(P4.call("builtins:str.format", "{}", "os"), P4.call("builtins:format", "system", "")),
    "latin1-bytes": _computed(P4.call("_codecs:encode", "os", "latin1"), P4.call("_codecs:encode", "system", "latin1")),
    "subclass-of-str": _computed(P4.newobj("builtins:str", "os"), P4.newobj("builtins:str", "system")),
    "str-of-bytes": _computed(P4.call("builtins:str", b"os", "ascii"), P4.call("builtins:str", b"system", "ascii")),
    "chr": _computed(P4.call("builtins:chr", 111), P4.call("builtins:chr", 115)),
    "persistent-id": _computed(Ops(b"Pos\n"), Ops(b"Psystem\n")),
    "extension": _computed(Ops(b"\x82\x01"), Ops(b"\x82\x02")),
    "docstring": _computed(P4.name("os", "__name__"), P4.name("os", "system.__name__")),
    "bytes": _computed(binary(b"os"), binary(b"system")),
    "integers": _computed(integer(1), integer(2)),
}


def _extension(opcode: bytes, prepare: Ops | None = None) -> Technique:
    def make(payload: Payload, write: Spelling) -> bytes:
        call = P2.call(Ops(opcode), *payload.arguments)
        return P2.stream(Ops(discard(prepare, call)) if prepare is not None else call)

    return make


_REGISTER = P2.call("copyreg:add_extension", "os", "system", 1)
_TABLE = P2.set_item(P2.name("copyreg", "_inverted_registry"), 1, ("os", "system"))
_CACHE = P2.set_item(P2.name("copyreg", "_extension_cache"), 1, global_line("os", "system"))
EXTENSIONS: dict[str, Technique] = {
    "ext1": _extension(b"\x82\x01"),
    "ext2": _extension(b"\x83\x01\x00"),
    "ext4": _extension(b"\x84\x01\x00\x00\x00"),
    "ext4-negative": _extension(b"\x84\xff\xff\xff\xff"),
    "ext1-registered": _extension(b"\x82\x01", _REGISTER),
    "ext2-inverted-registry": _extension(b"\x83\x01\x00", _TABLE),
    "ext4-cache": _extension(b"\x84\x01\x00\x00\x00", _CACHE),
    "ext1-python2-registry": _extension(b"\x82\x01", P2.call("copy_reg:add_extension", "os", "system", 1)),
}


def samples() -> list[Sample]:
    """Return every sample of a form of call."""
    groups = {"forms": FORMS, "discarded": DISCARDED, "computed": COMPUTED, "extensions": EXTENSIONS}
    return [sample for family, techniques in groups.items() for sample in cross(family, techniques)]
