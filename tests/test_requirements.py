"""What a policy asks besides a scan, and what a model card declares."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge import card, scan
from weighbridge.errors import DocumentError
from weighbridge.policy import Outcome, refuse
from weighbridge.policy_file import read_policy
from weighbridge.requirements import Requirements, Unmet, of_files, of_licences, of_source

SOURCE = "hf://acme/model"


def codes(found: list[Unmet]) -> list[str]:
    return [one.code for one in found]


def test_what_is_not_asked_is_met() -> None:
    asked = Requirements()
    assert of_source(asked, source=SOURCE, requested="main", revision="1" * 40, size=1 << 60) == []
    assert of_files(asked, [("a.pt", ("torch", "pickle"))]) == []
    assert of_licences(asked, (), SOURCE) == []


def test_a_source_is_allowed_by_pattern_alone() -> None:
    asked = Requirements(sources=("hf://acme/*", "oci://registry.example/*"))
    for source, expected in ((SOURCE, []), ("hf://acme.evil/model", ["SOURCE"]), ("xhf://acme/model", ["SOURCE"])):
        assert codes(of_source(asked, source=source, requested="1", revision="1", size=1)) == expected


def test_a_moving_reference_is_not_pinned() -> None:
    asked = Requirements(pinned=True)
    assert codes(of_source(asked, source=SOURCE, requested="1" * 40, revision="1" * 40, size=1)) == []
    for requested in ("main", ""):
        (unmet,) = of_source(asked, source=SOURCE, requested=requested, revision="1" * 40, size=1)
        assert unmet.fix == f"ask for {SOURCE}@{'1' * 40}"


def test_a_size_is_that_of_all_files() -> None:
    asked = Requirements(max_size=10)
    assert codes(of_source(asked, source=SOURCE, requested="1", revision="1", size=10)) == []
    assert codes(of_source(asked, source=SOURCE, requested="1", revision="1", size=11)) == ["SIZE"]


def test_formats_are_allowed_or_forbidden() -> None:
    files = [("a.safetensors", ("safetensors",)), ("b.pt", ("zip", "torch")), ("c.pt", ("torch",)), ("d", ("torch",))]
    files += [("e", ("torch",)), ("config.json", ("json",))]
    (unmet,) = of_files(Requirements(forbidden=("torch",)), files)
    assert (unmet.where, unmet.reason) == ("b.pt", "the policy allows no torch, and so for c.pt, d and 1 more")
    assert [one.where for one in of_files(Requirements(formats=("safetensors", "json", "torch")), files)] == ["b.pt"]
    assert of_files(Requirements(formats=("safetensors", "json", "torch", "zip")), files) == []


def test_licences_are_those_that_are_declared() -> None:
    asked = Requirements(licences=("Apache-2.0", "mit"))
    assert of_licences(asked, ("apache-2.0",), SOURCE) == []
    assert "declares gpl-3.0" in of_licences(asked, ("mit", "gpl-3.0"), SOURCE)[0].reason
    assert "no model card" in of_licences(asked, (), SOURCE)[0].reason


def test_a_verdict_with_something_unmet_fails() -> None:
    verdict = scan(["fixtures/models/ordinary.pt"])
    assert refuse(verdict, []).outcome is Outcome.PASS
    unmet = of_source(Requirements(max_size=1), source=SOURCE, requested="", revision="1", size=2)
    refused = refuse(verdict, unmet)
    assert (refused.outcome, refused.unmet) == (Outcome.FAIL, tuple(unmet))


def test_a_policy_file_says_what_is_required() -> None:
    policy = read_policy(b"name: ours\nrequire:\n  formats: [safetensors]\n  pinned: true\n  max_size: 5\n", "p.yaml")
    assert policy.require == Requirements(formats=("safetensors",), pinned=True, max_size=5)
    with pytest.raises(DocumentError, match=r"p\.yaml:3:3.*both among"):
        read_policy(b"name: ours\nrequire:\n  formats: [json]\n  forbidden: [json]\n", "p.yaml")
    with pytest.raises(DocumentError, match="max_size"):
        read_policy(b"name: ours\nrequire: {max_size: 0}\n", "p.yaml")


CARD = b"""---
license: apache-2.0
language:
- en
- de
datasets: [wikipedia, bookcorpus]
pipeline_tag: fill-mask
library_name: transformers
base_model: acme/base
tags: [a, b]
model-index: [{name: x}]
---
# A model
"""


def test_a_card_declares() -> None:
    read = card.read(CARD)
    assert (read.licences, read.datasets, read.languages) == (
        ("apache-2.0",),
        ("wikipedia", "bookcorpus"),
        ("en", "de"),
    )
    assert (read.task, read.library, read.base_models, read.tags) == (
        "fill-mask",
        "transformers",
        ("acme/base",),
        ("a", "b"),
    )
    assert not read.unreadable
    own = card.read(b"---\nlicense: other\nlicense_name: acme-1.0\n---\n")
    assert own.licences == ("acme-1.0",)


@pytest.mark.parametrize("data", [b"", b"# A model", b"---\n---\n", b"text\n---\nlicense: mit\n---\n"])
def test_a_card_without_front_matter_declares_nothing(data: bytes) -> None:
    assert card.read(data) == card.Card()


@pytest.mark.parametrize(
    "data", [b"---\na: 1\na: 2\n---\n", b"---\n- a\n---\n", b"---\na: &x b\n---\n", b"\xff", b"x" * (card.LIMIT + 1)]
)
def test_a_card_that_cannot_be_read_says_so(data: bytes) -> None:
    assert card.read(data).unreadable
    assert card.read(data).licences == ()


@given(st.binary(max_size=100) | st.text(max_size=60).map(lambda text: f"---\nlicense: {text}\n---\n".encode()))
def test_any_bytes_are_a_card(data: bytes) -> None:
    card.read(data)
