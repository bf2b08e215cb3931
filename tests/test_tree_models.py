"""Models of boosted trees in the forms of their own libraries: LightGBM's text and XGBoost's UBJSON."""

from __future__ import annotations

import struct

import pytest
from examining import facts_of, formats_of, reasons
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.facts import Metadata, Pointer, Recognised
from weighbridge.formats.lightgbm import FORMAT as LIGHTGBM
from weighbridge.formats.ubjson import FORMAT as UBJSON
from weighbridge.location import Location
from weighbridge.reader import from_bytes

TREES = b"""tree
version=v4
num_class=1
objective=binary sigmoid:1
feature_names=a "b" \xc3\xa9
feature_infos=[0:1] none [0.5:1e3]
tree_sizes=200

Tree=0
num_leaves=3
num_cat=0
split_feature=1 0
threshold=0.5 1.5e-1
leaf_value=0.1 -0.2 0.3
shrinkage=0.1


end of trees

feature_importances:
a=2
b=1.5

parameters:
[boosting: gbdt]
[data: ]
[metric: l1,l2]
end of parameters

pandas_categorical:[["x", "y"]]
"""


def length(value: int) -> bytes:
    return b"L" + value.to_bytes(8, "big")


def key(name: str) -> bytes:
    return length(len(name.encode())) + name.encode()


def text(value: str) -> bytes:
    return b"S" + key(value)


MODEL = (
    b"{" + key("learner") + b"{" + key("weights") + b"[$d#" + length(3) + struct.pack(">3f", 1, 2, 3)
    + key("names") + b"[#" + length(2) + text("a") + text("b") + key("flags") + b"[TFZN]" + key("small") + b"i\x05"
    + key("empty") + b"{}" + b"}" + key("version") + b"[$L#i\x03" + bytes(24) + b"}"
)  # fmt: skip


def test_a_model_of_lightgbm_is_understood_whole() -> None:
    facts = facts_of(TREES)
    assert formats_of(TREES) == {"lightgbm"}
    assert reasons(facts) == ""
    assert [(fact.key, fact.value) for fact in facts if isinstance(fact, Metadata)] == [("trees", "1")]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"num_leaves=3", b"num_leaves=999999999", "999999999 leaves"),
        (b"num_leaves=3", b"num_leaves=many", "not a number of leaves"),
        (b"num_cat=0", b"import os; os.system('id')", "not a line"),
        (b"num_cat=0", b"num_cat=0\x00", "no known format"),
        (b"b=1.5", b"b=__import__('os')", "not a line"),
        (b"end of parameters", b"end of parameters\n\x7fELF", "not a line"),
        (b"end of trees", b"", ""),
        (b'[["x", "y"]]', b"[[", "not JSON"),
        (b"\xc3\xa9", b"\xff", "UTF-8"),
        (b"Tree=0", b"Tree=x", ""),
    ],
)
def test_a_line_that_no_writer_writes_is_a_gap(old: bytes, new: bytes, reason: str) -> None:
    assert old in TREES
    found = reasons(facts_of(TREES.replace(old, new, 1)))
    assert reason in found
    assert found


def test_a_model_of_xgboost_is_understood_whole() -> None:
    facts = facts_of(MODEL)
    assert formats_of(MODEL) == {"ubjson"}
    assert [fact for fact in facts if not isinstance(fact, Recognised)] == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (MODEL[:-1], "want"),
        (MODEL + b"\0", "behind the document"),
        (MODEL.replace(b"[TFZN]", b"[TFXN]"), "begins with 0x58"),
        (MODEL.replace(key("small"), key("flags")), "comes twice"),
        (MODEL.replace(b"[$d#" + length(3), b"[$d#" + length(1 << 40)), "want"),
        (MODEL.replace(b"[#" + length(2), b"[#L" + b"\xff" * 8), "below zero"),
        (MODEL.replace(b"[$d#", b"[$dL"), "without a count"),
        (MODEL.replace(text("a"), b"S" + length(1) + b"\xff"), "UTF-8"),
        (b"{" + key("a") + b"[" * 1000, "nested deeper"),
    ],
)
def test_what_is_no_document_is_a_gap(data: bytes, reason: str) -> None:
    assert reason in reasons(facts_of(data))


def test_names_of_code_are_told_as_in_json() -> None:
    data = b"{" + key("loader_class") + text("os.system") + key("n") + b"i\x01}"
    assert [fact.target for fact in facts_of(data) if isinstance(fact, Pointer)] == ["os.system"]


@given(st.binary(max_size=200), st.sampled_from([TREES, MODEL]), st.integers(0, 200))
def test_any_bytes_give_facts_or_an_artifact_error(data: bytes, model: bytes, at: int) -> None:
    for one in (data, model[:at] + data + model[at + len(data) :]):
        for format_ in (LIGHTGBM, UBJSON):
            format_.sniff(from_bytes(one, Location(("model",))).sample)
        facts_of(one)
