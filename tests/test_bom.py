"""Bills of materials: valid by the library's strict validator, complete, and with nothing joined by name."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given
from hypothesis import strategies as st

from weighbridge import bom, card
from weighbridge.cli.group import weighbridge
from weighbridge.desk import Desk
from weighbridge.limits import Limits
from weighbridge.policy import Verdict
from weighbridge.rule_files import shipped_folder
from weighbridge.rules import RuleSet
from weighbridge.sources import scan_folder
from weighbridge.trust import Trust

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ORDINARY = Path(__file__).parent.parent / "fixtures/models/ordinary.pt"
CARD = b"---\nlicense: [apache-2.0, acme-1.0]\ndatasets: [wikipedia, acme/own data]\npipeline_tag: fill-mask\n"
CARD += b"language: en\nbase_model: acme/base\nlibrary_name: transformers\ntags: [b, a, b]\n---\n# A model\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    (made / "README.md").write_bytes(CARD)
    (made / "config.json").write_text('{"model_type": "bert", "architectures": ["BertForMaskedLM"]}')
    (made / "weights [1].pt").write_bytes(ORDINARY.read_bytes())
    return made


@pytest.fixture(scope="module")
def verdict(folder: Path) -> Verdict:
    desk = Desk(rules=RuleSet.shipped(), trust=Trust(f"{shipped_folder()}/trust"), limits=Limits(), digest=True)
    return scan_folder(folder, desk)


def bill(verdict: Verdict, folder: Path, specification: str = "1.6", **changes: Any) -> tuple[str, dict[str, Any]]:
    given: dict[str, Any] = {"name": "model", "source": "hf://acme/model@" + "a" * 40, "card": card.read(CARD)}
    subject = bom.Subject(**given | {"config": bom.read_config(folder)} | changes)
    text = bom.render(verdict, subject, at=AT, specification=specification)
    return text, json.loads(text)


@pytest.mark.parametrize("specification", bom.SPECIFICATIONS)
def test_a_bill_is_valid(verdict: Verdict, folder: Path, specification: str) -> None:
    text, _ = bill(verdict, folder, specification)
    assert JsonStrictValidator(SchemaVersion.from_version(specification)).validate_str(text) is None
    assert text == bill(verdict, folder, specification)[0]


def test_a_bill_says_what_is_declared_and_what_was_found(verdict: Verdict, folder: Path) -> None:
    _, made = bill(verdict, folder)
    model = made["metadata"]["component"]
    assert model["purl"] == "pkg:huggingface/acme/model@" + "a" * 40
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}, {"license": {"name": "acme-1.0"}}]
    assert [one["name"] for one in model["components"]] == ["README.md", "config.json", "weights [1].pt"]
    digests = {file.path: file.digest.value for file in verdict.files if file.digest}
    assert {one["name"]: one["hashes"][0]["content"] for one in model["components"]} == digests
    parameters = model["modelCard"]["modelParameters"]
    assert (parameters["task"], parameters["architectureFamily"]) == ("fill-mask", "bert")
    assert parameters["modelArchitecture"] == "BertForMaskedLM"
    refs = [one["ref"] for one in parameters["datasets"]]
    assert refs == [one["bom-ref"] for one in made["components"]]
    assert [one["name"] for one in made["components"]] == ["wikipedia", "acme/own data"]
    found = {one["name"]: one["value"] for one in model["properties"]}
    assert found["weighbridge:outcome"] == "pass"
    assert found["weighbridge:base-model"] == "acme/base"
    assert model["tags"] == ["a", "b"]


def test_a_bill_without_a_card_is_valid(verdict: Verdict, folder: Path) -> None:
    text, made = bill(verdict, folder, card=card.Card(unreadable="not UTF-8"), config={}, source="")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    model = made["metadata"]["component"]
    assert "purl" not in model
    assert {"name": "weighbridge:card", "value": "not UTF-8"} in model["properties"]


@pytest.mark.parametrize("source", ["", "hf://acme/model", "file:///models/model"])
def test_the_version_of_a_model_without_a_revision_is_its_tree(verdict: Verdict, folder: Path, source: str) -> None:
    model = bill(verdict, folder, source=source)[1]["metadata"]["component"]
    assert f"model:{model['version']}" == model["bom-ref"]


@pytest.mark.parametrize("content", [None, "[]", "{", "a folder"])
def test_a_configuration_that_says_nothing_is_left_out(tmp_path: Path, content: str | None) -> None:
    place = tmp_path / bom.CONFIG
    if content == "a folder":
        place.mkdir()
    elif content is not None:
        place.write_text(content)
    assert bom.read_config(tmp_path) == {}


@given(st.lists(st.text(max_size=20), max_size=4), st.text(max_size=20), st.text(max_size=20))
def test_whatever_a_card_declares_the_bill_is_valid(
    verdict: Verdict, folder: Path, names: list[str], task: str, name: str
) -> None:
    declared = card.Card(licences=tuple(names), datasets=tuple(names), tags=tuple(names), task=task, library=task)
    text, _ = bill(verdict, folder, card=declared, name=name, config={"model_type": task, "architectures": names})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hf://gpt2@" + "b" * 40, "pkg:huggingface/gpt2@" + "b" * 40),
        ("hf://acme/bert:w/model.pt@" + "b" * 40, "pkg:huggingface/acme/bert@" + "b" * 40),
        (
            "oci://registry.example/models/bert@sha256:" + "c" * 64,
            "pkg:oci/bert@sha256%3A" + "c" * 64 + "?repository_url=registry.example/models/bert",
        ),
        ("mlflow://bert@3", "pkg:mlflow/bert@3"),
        ("s3://bucket/key@version:1", ""),
        ("file:///models/bert", ""),
    ],
)
def test_references_have_package_urls(source: str, expected: str) -> None:
    assert bom.purl(source) == expected


@pytest.mark.parametrize(
    ("source", "name"), [("hf://acme/bert", "bert"), ("hf://acme/bert@main", "bert"), ("file:///a%20b", "a b")]
)
def test_a_bill_is_named_after_the_reference(folder: Path, tmp_path: Path, source: str, name: str) -> None:
    place = tmp_path / "x.json"
    done = CliRunner().invoke(weighbridge, ["bom", str(folder), "--source", source, "--output", str(place)])
    assert done.exception is None, done.output
    assert json.loads(place.read_text())["metadata"]["component"]["name"] == name


def test_the_command_writes_a_bill(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(weighbridge, ["bom", str(folder), "--output", str(tmp_path / "x.json"), "--name", "m"])
    assert done.exception is None, done.output
    made = json.loads((tmp_path / "x.json").read_text())
    assert made["metadata"]["component"]["name"] == "m"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str((tmp_path / "x.json").read_text()) is None
