"""The trust entries that ship: well formed, at odds with no rule, wide enough for ordinary files and no wider."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from examining import facts_of

from benchmarks.corpus.gadgets import STORED
from benchmarks.corpus.python_files import values
from benchmarks.corpus.writer import Corpus
from fixtures.assemble import P4, Ops
from weighbridge.facts import Program
from weighbridge.rules import RuleSet
from weighbridge.trust import Trust

RULES = Path(__file__).parents[1] / "rules"
TRUST = Trust(RULES / "trust")
FILES = {file.framework: file for file in TRUST.files()}

NDARRAY = P4.call("numpy._core.multiarray:_reconstruct", P4.name("numpy", "ndarray"), (0,), b"b")
VOID = P4.call("numpy:dtype", "V8", False, True)
BARE = P4.call("numpy:dtype", "f8", False, True)
BARE_OBJECT = P4.call("numpy:dtype", "O8", False, True)
FLOAT = P4.build(BARE, (3, "<", None, None, None, -1, -1, 0))
OBJECT = P4.build(BARE_OBJECT, (3, "|", None, None, None, -1, -1, 63))
NORMAL = P4.newobj("scipy.stats._continuous_distns:norm_gen")
SYSTEM = P4.name("os", "system")


def untrusted(body: Ops) -> list[str]:
    programs = [fact for fact in facts_of(P4.stream(body)) if isinstance(fact, Program)]
    assert programs
    return [event.subject for program in programs for event, _ in TRUST.untrusted(program)]


def test_every_trust_file_decodes_and_says_how_it_was_reviewed() -> None:
    assert len(FILES) == len(list((RULES / "trust").glob("*.yaml")))
    assert all(file.reviewed and file.packages for file in FILES.values())


def test_a_package_belongs_to_one_file() -> None:
    counts = Counter(package for file in FILES.values() for package in file.packages)
    assert [package for package, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("framework", sorted(FILES))
def test_a_file_speaks_only_for_names_that_are_looked_up_in_it(framework: str) -> None:
    file = FILES[framework]
    strangers = [
        name
        for name in (*file.entries, *file.state, *file.items)
        if not name.startswith("<") and TRUST.file_of(name.partition(".")[0]) is not file
    ]
    assert strangers == []


def test_no_dangerous_name_is_a_reference() -> None:
    """What is dangerous to call, but calls nothing that is not a reference itself, may be stored."""
    rules = RuleSet.load(RULES)
    stored = {name.replace(":", ".") for name in STORED}
    dangerous = [
        name
        for file in FILES.values()
        for name, entry in file.entries.items()
        if entry.reference and name not in stored and rules.named(*name.rpartition(".")[::2])
    ]
    assert dangerous == []


def test_pointers_cannot_be_made_by_calling_an_array() -> None:
    entry = FILES["numpy"].entries["numpy.ndarray"]
    assert entry.reference
    assert not entry.call
    assert not entry.new


def test_values_of_the_standard_library_are_trusted(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    for name, value in values().items():
        corpus.pickle(name, value, range(6))
    for path in corpus.written:
        for fact in facts_of(path.read_bytes()):
            assert not isinstance(fact, Program) or [*TRUST.untrusted(fact)] == [], path.name


def plain_state(size: int = 8, flags: int = 0, fields: object = None) -> tuple[object, ...]:
    """Return the state of a dtype."""
    return (3, "|", None, ("a",) if fields else None, fields, size, 1, flags)


ORDINARY = {
    "array": P4.build(NDARRAY, (1, (2,), FLOAT, False, b"x" * 16)),
    "record dtype": P4.build(VOID, plain_state(8, 16, {"a": (FLOAT, 0)})),
    "record dtype with objects": P4.build(VOID, plain_state(8, 27, {"a": (OBJECT, 0)})),
    "object array": P4.build(NDARRAY, (1, (2,), OBJECT, False, [None, "a"])),
    "booster": P4.build(P4.newobj("xgboost.core:Booster"), {"handle": P4.call("builtins:bytearray", b"model")}),
    "partial": P4.build(
        P4.call("functools:partial", P4.name("torch.nn.modules.normalization", "LayerNorm")),
        (P4.name("torch.nn.modules.normalization", "LayerNorm"), (), {"eps": 1e-6}, None),
    ),
    "enumeration": P4.call("transformers.trainer_utils:IntervalStrategy", "steps"),
    "configuration": P4.build(P4.newobj("transformers.models.bert.configuration_bert:BertConfig"), {"hidden_size": 8}),
    "time zone": P4.call(P4.call("builtins:getattr", P4.name("zoneinfo", "ZoneInfo"), "_unpickle"), "Europe/Paris", 1),
}


@pytest.mark.parametrize("body", ORDINARY.values(), ids=ORDINARY.keys())
def test_ordinary_objects_are_trusted(body: Ops) -> None:
    assert untrusted(body) == []


HOSTILE = {
    # arrays whose bytes become pointers
    "ndarray called": P4.call("numpy:ndarray", (1,), OBJECT, b"\0" * 8),
    "object field under flags that deny it": P4.build(VOID, plain_state(8, 16, {"a": (OBJECT, 0)})),
    "object dtype that says it is plain": P4.build(BARE_OBJECT, (3, "|", None, None, None, -1, -1, 0)),
    "float dtype that says it holds objects": P4.build(BARE, (3, "<", None, None, None, -1, -1, 63)),
    "field outside the item": P4.build(VOID, plain_state(8, 16, {"a": (FLOAT, 1000)})),
    "subarray larger than the item": P4.build(VOID, (3, "|", (FLOAT, (1000,)), None, None, 8, 1, 0)),
    "dtype that grows under its array": P4.build(FLOAT, (3, "<", None, None, None, -1, -1, 0)),
    "array before the state of its dtype": P4.build(NDARRAY, (1, (2,), BARE, False, b"x" * 16)),
    "negative item size": P4.build(P4.call("numpy:dtype", "S8", False, True), plain_state(-800)),
    "array interface through attributes that are items": P4.set_item(
        P4.newobj("sklearn.utils._bunch:Bunch"), "__array_interface__", {"data": (1, False)}
    ),
    "fill value that numpy asks for an address": P4.build(
        P4.call(
            "numpy.ma.core:_mareconstruct", P4.name("numpy.ma", "MaskedArray"), P4.name("numpy", "ndarray"), (0,), "b"
        ),
        (1, (1,), FLOAT, False, b"x" * 8, b"\0", P4.newobj("torch.nn.modules.linear:Linear")),
    ),
    # text and numbers that a library runs or frees
    "template of a distribution": P4.build(NORMAL, {"_parse_arg_template": "import os\nos.system('id')"}),
    "template behind scipy's own": P4.build(
        NORMAL,
        {"_parse_arg_template": "def _parse_args(self, loc=0):\n    return (), loc, 1\n__import__('os').system('id')"},
    ),
    "template under a key that is not text": P4.build(
        NORMAL, {P4.call("numpy._core.multiarray:scalar", P4.call("numpy:dtype", "U19"), b"x"): "x"}
    ),
    "handle of a booster": P4.build(P4.newobj("xgboost.core:Booster"), {"handle": 4096}),
    "handle of the other booster": P4.build(P4.newobj("lightgbm.basic:Booster"), {"_handle": 4096}),
    "compiled class of another kind": P4.build(
        P4.newobj("torch:ScriptObject"), ((), "__torch__.torch.classes.dist_rpc.WorkerInfo")
    ),
    # callables in disguise
    "partial of a command": P4.call("functools:partial", SYSTEM, "id"),
    "partial whose state names a command": P4.build(
        P4.call("functools:partial", P4.name("torch.nn.functional", "relu")), (SYSTEM, ("id",), {}, None)
    ),
    "factory": P4.call("collections:defaultdict", SYSTEM),
    "attribute of a class": P4.call("builtins:getattr", P4.name("builtins", "object"), "__subclasses__"),
    "codec": P4.call("_codecs:encode", "x", "rot13"),
    "tensor function": P4.call(
        "torch._tensor:_rebuild_from_type_v2", SYSTEM, P4.name("torch", "Tensor"), ("id",), None
    ),
    "tensor attribute": P4.call(
        "torch._tensor:_rebuild_from_type_v2",
        P4.name("torch._utils", "_rebuild_meta_tensor_no_storage"),
        P4.name("torch", "Tensor"),
        (P4.name("torch", "float32"), (1,), (1,), False),
        {"__class__": P4.name("torch.nn.parameter", "Parameter")},
    ),
    "constructor of random generators": P4.call("numpy.random._pickle:__randomstate_ctor", "MT19937", SYSTEM),
    "ufunc of another module": P4.call("numpy._core:_ufunc_reconstruct", "os", "system"),
    "attribute map": P4.build(
        P4.newobj("transformers.models.bert.configuration_bert:BertConfig"), {"attribute_map": {"__setstate__": "x"}}
    ),
    "hook in a state": P4.build(P4.newobj("argparse:Namespace"), {"__setstate__": P4.name("builtins", "len")}),
    "class made by name": P4.call(
        "copyreg:_reconstructor", P4.name("subprocess", "Popen"), P4.name("builtins", "object"), None
    ),
    "distance function": P4.call(
        "sklearn.metrics._dist_metrics:newObj", P4.name("sklearn.metrics._dist_metrics", "PyFuncDistance64")
    ),
    "bytes that were not examined": P4.call("torch.storage:_load_from_bytes", P4.call("builtins:bytes", b"x")),
    # work without end
    "bytearray of a number": P4.call("builtins:bytearray", 10**12),
    "fraction with an exponent": P4.call("fractions:Fraction", "1e999999999"),
    "time zone outside its folder": P4.call(
        P4.call("builtins:getattr", P4.name("zoneinfo", "ZoneInfo"), "_unpickle"), "../../etc/passwd", 1
    ),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_abuses_a_trusted_name_is_not_trusted(body: Ops) -> None:
    assert untrusted(body)
