"""A bill of materials of a model: CycloneDX 1.6 or 1.7 in JSON, with a model card.

The model is a component of type `machine-learning-model`; its files are components in it with their digests, the data
sets that its card declares are components of type `data`, and what the scan found stands in properties. What a card or
a configuration declares is given as declared. Two parts belong together by `bom-ref`, never by name.

Source: https://cyclonedx.org/docs/1.6/json/, https://cyclonedx.org/docs/1.7/json/.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from weighbridge import attest
from weighbridge.artifact import Entry, Manifest
from weighbridge.card import Card
from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.policy import FileVerdict, Verdict
from weighbridge.reading import read_file
from weighbridge.records import dataclass, field

SPECIFICATIONS: Final = ("1.6", "1.7")
CONFIG: Final = "config.json"
# Bytes of a configuration; the largest on the Hub have 1 MB.
CONFIG_LIMIT: Final = 8 << 20
_NAMESPACE: Final = uuid.UUID("5c9bd8f4-3c0f-5d2f-9a41-1d1c2f9b7d10")  # of the serial numbers that are made here
# SPDX identifiers by the names that model cards give to licences; any other is given by its name.
_SPDX: Final = {
    name.lower(): name
    for name in (
        "AFL-3.0 AGPL-3.0 Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear BSL-1.0 CC0-1.0 "
        "CC-BY-2.0 CC-BY-3.0 CC-BY-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0 "
        "CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CC-BY-ND-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 ECL-2.0 EPL-1.0 "
        "EPL-2.0 EUPL-1.1 EUPL-1.2 GFDL-1.3 GPL-2.0 GPL-3.0 ISC LGPL-2.1 LGPL-3.0 LPPL-1.3c MIT MPL-2.0 MS-PL NCSA "
        "ODbL-1.0 OFL-1.1 OSL-3.0 PostgreSQL Unlicense WTFPL Zlib"
    ).split()
}
_HUB: Final = re.compile(r"hf://([^/:@]+/[^/:@]+|[^/:@]+)(?::[^@]*)?@([0-9a-f]{40})")
_OCI: Final = re.compile(r"oci://([^@]+?/)([^/@]+)@(sha256:[0-9a-f]{64})")
_MLFLOW: Final = re.compile(r"mlflow://(?:[^@]*/)?([^/@]+)@([0-9]+)")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a bill is about: the name of the model, where it is from, and what its card and configuration declare."""

    name: str
    source: str = ""
    card: Card = field(default_factory=Card)
    config: dict[str, Any] = field(default_factory=dict)


def render(verdict: Verdict, subject: Subject, *, at: datetime, specification: str = "1.6") -> str:
    """Return the bill of what a verdict is about; the same for the same arguments, to the byte.

    Raises UsageError when a file was not digested.
    """
    manifest = attest.manifest_of(verdict)
    card, model = subject.card, f"model:{manifest.digest.value}"
    datasets = [_dataset(name) for name in dict.fromkeys(card.datasets)]
    document = {
        "$schema": f"http://cyclonedx.org/schema/bom-{specification}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": specification,
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{manifest.digest} {subject.source}')}",
        "version": 1,
        "metadata": {
            "timestamp": attest.timestamp(at),
            "tools": {
                "components": [{"type": "application", "name": "weighbridge", "version": verdict.version}],
            },
            "component": _model(verdict, manifest, subject, model, [one["bom-ref"] for one in datasets]),
        },
        "components": datasets,
        "dependencies": [
            {"ref": model, "dependsOn": [one["bom-ref"] for one in datasets]},
            *({"ref": one["bom-ref"]} for one in datasets),
        ],
    }
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def purl(source: str) -> str:
    """Return the package URL of a pinned reference, empty when there is no type for its registry.

    Source: https://github.com/package-url/purl-spec/blob/main/PURL-TYPES.rst

    >>> purl("hf://acme/bert@" + "a" * 40)
    'pkg:huggingface/acme/bert@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
    """
    if found := _HUB.fullmatch(source):
        return f"pkg:huggingface/{quote(found[1])}@{found[2]}"
    if found := _OCI.fullmatch(source):
        where = quote(f"{found[1]}{found[2].partition(':')[0]}", safe="/")
        return f"pkg:oci/{quote(found[2].partition(':')[0])}@{quote(found[3], safe='')}?repository_url={where}"
    if found := _MLFLOW.fullmatch(source):
        return f"pkg:mlflow/{quote(found[1])}@{found[2]}"
    return ""


def _model(verdict: Verdict, manifest: Manifest, subject: Subject, ref: str, datasets: list[str]) -> Document:
    card = subject.card
    files = {file.path: file for file in verdict.files}
    document: Document = {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "name": printable(subject.name),
        "version": printable(subject.source.rpartition("@")[2]) if "@" in subject.source else manifest.digest.value,
        "components": [_file(entry, files[entry.path]) for entry in manifest.entries],
        "modelCard": _card(card, subject.config, datasets),
        "properties": [
            {"name": f"weighbridge:{name}", "value": value} for name, value in _found(verdict, manifest, subject)
        ],
    }
    if card.licences:
        document["licenses"] = [{"license": _licence(one)} for one in card.licences]
    if identity := purl(subject.source):
        document["purl"] = identity
    if card.tags:
        document["tags"] = sorted({printable(tag) for tag in card.tags if tag})
    return document


def _file(entry: Entry, file: FileVerdict) -> Document:
    return {
        "type": "file",
        "bom-ref": f"file:{quote(entry.path)}",
        "name": printable(entry.path),
        "hashes": [{"alg": "SHA-256", "content": entry.sha256}],
        "properties": [
            {"name": "weighbridge:size", "value": str(entry.size)},
            {"name": "weighbridge:formats", "value": " ".join(file.formats)},
            {"name": "weighbridge:outcome", "value": file.outcome.value},
        ],
    }


def _dataset(name: str) -> Document:
    shown = printable(name)
    return {
        "type": "data",
        "bom-ref": f"data:{quote(name, safe='')}",
        "name": shown,
        "data": [{"type": "dataset", "name": shown}],
    }


def _licence(name: str) -> Document:
    known = _SPDX.get(name.lower())
    return {"id": known} if known else {"name": printable(name)}


def _card(card: Card, config: dict[str, Any], datasets: list[str]) -> Document:
    """Return the model card: the task, the architecture and the data, as the card and the configuration declare."""
    parameters: Document = {"datasets": [{"ref": ref} for ref in datasets]} if datasets else {}
    if card.task:
        parameters["task"] = printable(card.task)
    if isinstance(family := config.get("model_type"), str):
        parameters["architectureFamily"] = printable(family)
    match config.get("architectures"):
        case [str(name), *_]:
            parameters["modelArchitecture"] = printable(name)
    return {"modelParameters": parameters}


def _found(verdict: Verdict, manifest: Manifest, subject: Subject) -> Iterator[tuple[str, str]]:
    """Yield what the scan found, and what the card declares and has no other place."""
    yield "tree", str(manifest.digest)
    yield "outcome", verdict.outcome.value
    yield "policy", f"{verdict.policy} {verdict.policy_digest}"
    yield "rules", verdict.rules_digest
    coverage = verdict.coverage
    yield "coverage", f"{coverage.parsed} parsed, {coverage.inert} inert, {coverage.unexamined} unexamined"
    for finding in verdict.findings:
        yield "finding", f"{finding.rule.id} {finding.rule.severity.value} {finding.location}"
    for gap in verdict.gaps:
        yield "gap", f"{gap.location} {printable(gap.reason)}"
    if subject.source:
        yield "source", printable(subject.source)
    card = subject.card
    for name, values in (("language", card.languages), ("base-model", card.base_models), ("library", (card.library,))):
        for value in values:
            if value:
                yield name, printable(value)
    if card.unreadable:
        yield "card", printable(card.unreadable)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a model in a folder, empty when there is none that can be read."""
    try:
        value = json.loads(read_file(folder / CONFIG, CONFIG_LIMIT))
    except (SourceError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
