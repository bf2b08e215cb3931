"""Trust: default deny, per form and per argument; no decision rests on anything but the entries."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path

import pytest
from examining import facts_of

from weighbridge.errors import DocumentError
from weighbridge.facts import Program
from weighbridge.trust import Trust, read

ENTRIES = """\
framework: test
packages: [lib]
reviewed: for these tests
define:
  color: "'red' | 'blue'"
call:
  lib.make: "(color, int?) -> thing"
  lib.keyword: "(int, **{str: int}) -> thing"
  lib.only_called: "() -> other"
  lib.base: "(@class, none) -> @1"
  lib.method: "() -> bound"
  <bound>: "(int) -> thing"
new:
  lib.New: "(int) -> new"
state:
  lib.New: "(int, int)"
  <other>: "{str: int}"
items:
  <thing>: "{str: any}"
  <other>: "[int]"
keys: "<thing>"
persistent: "('storage', @lib.Storage, int)"
classes:
  lib: Plain
references:
  lib: constant Storage
"""


def op(dotted: str) -> bytes:
    module, _, name = dotted.rpartition(".")
    return b"\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93"


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    (tmp_path / "test.yaml").write_text(ENTRIES, encoding="utf-8")
    return Trust(tmp_path)


def untrusted(trust: Trust, data: bytes) -> list[str]:
    """Return the kind and reason of every event that is not trusted."""
    found = []
    for fact in facts_of(b"\x80\x04" + data + b"."):
        if isinstance(fact, Program):
            found += [f"{event.kind}: {reason}" for event, reason in trust.untrusted(fact)]
    return found


MAKE = op("lib.make") + text("red") + b"\x85R"


@pytest.mark.parametrize(
    "data",
    [
        MAKE,
        op("lib.make") + text("blue") + b"K\x05\x86R",
        op("lib.Plain") + b")\x81}(" + text("weight") + b"K\x01ub",
        op("lib.Plain") + b")\x81Nb",
        op("lib.Plain") + b")}\x92",
        op("lib.New") + b"K\x01\x85\x81K\x01K\x02\x86b",
        op("lib.base") + op("lib.Plain") + b"N\x86R}b",
        op("lib.keyword") + b"K\x01\x85}(" + text("a") + b"K\x01u" + b"\x92",
        op("lib.constant"),
        b"}" + MAKE + b"K\x01s",
        b"}" + op("lib.constant") + b"K\x01s",
        MAKE + text("key") + b"K\x01s",
        op("lib.only_called") + b")R(K\x01K\x02e",
        op("lib.only_called") + b")R}(" + text("a") + b"K\x01ub",
        op("lib.method") + b")RK\x01\x85R",
        b"(" + text("storage") + op("lib.Storage") + b"K\x07tQ",
    ],
)
def test_what_an_entry_covers_is_trusted(trust: Trust, data: bytes) -> None:
    expected = (
        ["call: reviewed for other uses, not to be called by NEWOBJ_EX"] if data.startswith(op("lib.keyword")) else []
    )
    assert untrusted(trust, data) == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (op("os.system"), "import: no trust entry names it"),
        (op("lib.other") + b")R", "call: no trust entry names it"),
        (op("lib.make") + text("green") + b"\x85R", "call: its arguments do not fit (color, int?) -> thing"),
        (op("lib.make") + text("red") + b"\x85\x81", "call: reviewed for other uses, not to be called by NEWOBJ"),
        (op("lib.make") + b"NR", "call: its arguments do not fit (color, int?) -> thing"),
        (op("lib.Plain") + b"K\x01\x85\x81", "call: reviewed for other uses, not to be called by NEWOBJ"),
        (op("lib.Plain") + b")R", "call: reviewed for other uses, not to be called by REDUCE"),
        (op("lib.constant") + b")R", "call: reviewed for other uses, not to be called by REDUCE"),
        (op("lib.make") + b")\x81", "call: reviewed for other uses, not to be called by NEWOBJ"),
        (op("lib.Plain") + b")\x81}(" + text("__class__") + b"K\x01ub", "state: its state is more than a dict"),
        (op("lib.Plain") + b")\x81N}(" + text("x") + b"K\x01u\x86b", "state: its state is more than a dict"),
        (op("lib.New") + b"K\x01\x85\x81K\x01b", "state: its state does not fit"),
        (MAKE + b"}b", "state: its class was not reviewed for a state"),
        (op("lib.Plain") + b"}b", "state: the state of something that is not a fresh object is replaced"),
        (b"]}b", "state: the state of something that is not a fresh object is replaced"),
        (op("lib.constant") + b"K\x01K\x02s", "items: something that is not a fresh container is changed"),
        (op("lib.Plain") + b")\x81K\x01K\x02s", "items: its class was not reviewed for items"),
        (MAKE + b"K\x01K\x02s", "items: its items do not fit"),
        (MAKE + b")R", "call: what it calls is computed"),
        (b"K\x01)R", "call: what it calls is computed"),
        (b"}" + op("lib.nope") + b")\x81K\x01s", "key: hashing it runs code that was not reviewed"),
        (b"}" + op("lib.nope") + b"K\x01s", "key: hashing it was not reviewed"),
        (b"}" + op("lib.Plain") + b")\x81K\x01s", "key: hashing it runs code that was not reviewed"),
        (b"}" + op("lib.only_called") + b")RK\x01s", "key: hashing it runs code that was not reviewed"),
        (op("lib.Plain") + b")\x81}b}b", "state: the object has a state already"),
        (b"(" + text("storage") + op("lib.Plain") + b"K\x07tQ", "persistent-id: the loading program decides"),
        (b"K\x01Q", "persistent-id: the loading program decides"),
        (b"\x82\x01", "extension: the extension registry"),
        (b"NN\x93", "computed-name: the name is computed"),
        (b"]" + op("lib.only_called") + b"a", "import: may be called with reviewed arguments, but is stored"),
        (
            b"}" + text("k") + op("lib.only_called") + b"s",
            "import: may be called with reviewed arguments, but is stored",
        ),
        (op("lib.only_called"), "import: may be called with reviewed arguments, but is stored"),
        (op("lib.Plain") + b")\x81}(" + text("f") + op("lib.make") + b"ub", "import: may be called with reviewed"),
    ],
)
def test_everything_else_is_denied_with_its_reason(trust: Trust, data: bytes, reason: str) -> None:
    assert [found for found in untrusted(trust, data) if found.startswith(reason)]


def test_a_name_found_only_as_a_reviewed_callee_is_not_stored(trust: Trust) -> None:
    assert untrusted(trust, b"(" + op("lib.only_called") + b")R" + MAKE + b"t") == []


def test_everything_is_denied_without_entries(tmp_path: Path) -> None:
    found = untrusted(Trust(tmp_path), pickle.dumps(collections.OrderedDict(a=1), 4)[2:-1])
    assert found == ["import: no trust entry names it", "call: no trust entry names it"]


def test_what_happens_to_an_object_is_told_once_with_its_call(trust: Trust) -> None:
    found = untrusted(trust, op("lib.nope") + b")\x81}bK\x01aK\x01K\x02s")
    assert found == ["import: no trust entry names it", "call: no trust entry names it"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("classes:", "clases:", "did you mean 'classes'?"),
        ("reviewed: for these tests\n", "", "missing key 'reviewed'"),
        ("int?) -> thing", "int?) > thing", "t.yaml:7:13: schema"),
        ('"(int, int)"', '"(int, foo)"', "t.yaml:16:12: schema '(int, foo)', column 7"),
        ('color: "', 'int: "', "'int' is a word of the schema language"),
        ("lib.make:", "posix.make:", "write 'posix.make' as 'os.make'"),
        ("lib: Plain", "numpy.core: Plain", "write 'numpy.core.Plain' as 'numpy._core.Plain'"),
    ],
)
def test_a_wrong_trust_file_names_the_place(old: str, new: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(ENTRIES.replace(old, new, 1), "t.yaml")
    assert message in str(caught.value)
