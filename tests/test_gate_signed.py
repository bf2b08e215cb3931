"""The gate in front of models in a registry that cosign signed without a key: who signed decides, and nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from certifying import private_pem
from cryptography.hazmat.primitives.asymmetric import ec
from keyless_signing import instance
from servers.fake_registry import FakeRegistry, fake_registry
from servers.fake_sigstore import ALICE, Defect, Person
from servers.oci_layouts import oras
from servers.registry import Descriptor
from servers.serving import Reply
from test_referrers import attach, policy, statement

from weighbridge import cli
from weighbridge.cli import group
from weighbridge.evidence.signers import KeySigner

pytestmark = pytest.mark.usefixtures("work")

INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """Run a registry; trust.toml asks for Alice's signature on what comes from it, and lets the own key approve."""
    assert run("key", "init") == 0
    release = KeySigner(private_pem(ec.generate_private_key(ec.SECP256R1())), where="release")
    policy(Path(), release, source="oci+http://**")
    with Path("trust.toml").open("a") as rules:
        rules.write('[approvers]\nme = { signer = "self", verifier_id = "urn:weighbridge:verifier:local" }\n')
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def model(fake: FakeRegistry) -> Descriptor:
    return oras(fake, "acme/m", "v1")


def run(*words: str) -> int:
    return cli._run(group.run, list(words))


def gate(fake: FakeRegistry, *refer: Descriptor) -> tuple[int, list[str]]:
    """Return the status of the gate when these refer to the model, and the codes of what is not met."""
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(refer)}
    fake.replies["/v2/acme/m/referrers/"] = Reply(200, {"Content-Type": INDEX}, json.dumps(index).encode())
    reference, reports = f"oci+http://{fake.host}/acme/m:v1", ("--format", "json", "--output", "report.json")
    status = run("gate", reference, "--to", "there", "--trust", "trust.toml", *reports)
    return status, [one["code"] for one in json.loads(Path("report.json").read_text())["unmet"]]


def test_what_the_right_identity_signed_crosses(fake: FakeRegistry, model: Descriptor) -> None:
    raw = instance().envelope(statement(model["digest"]))
    assert gate(fake, attach(fake, model, raw)) == (0, [])
    found = json.loads(Path("there/report.json").read_text())["evidence"]
    assert ALICE.identity in {one["identity"] for one in found}
    assert run("approve", "there", "--check", "--trust", "trust.toml") == 0


@pytest.mark.parametrize(
    ("person", "defect", "code"),
    [
        (Person(identity="mallory@acme.test"), None, "SIGNER_UNTRUSTED"),
        (Person(issuer="https://other.test"), None, "SIGNER_UNTRUSTED"),
        (ALICE, Defect.UNKNOWN_CA, "SIGNER_UNTRUSTED"),
        (ALICE, Defect.BAD_PROOF, "SIG_INVALID"),
        (ALICE, Defect.NO_SCT, "SIG_INVALID"),
    ],
)
def test_what_somebody_else_signed_or_nobody_logged_does_not(
    fake: FakeRegistry, model: Descriptor, person: Person, defect: Defect | None, code: str
) -> None:
    raw = instance().envelope(statement(model["digest"]), person, defect=defect)
    assert gate(fake, attach(fake, model, raw)) == (1, [code])
    assert not Path("there").exists()


def test_a_signature_of_another_model_is_none(fake: FakeRegistry, model: Descriptor) -> None:
    assert gate(fake) == (1, ["SIG_MISSING"])
    raw = instance().envelope(statement("sha256:" + "0" * 64))
    status, codes = gate(fake, attach(fake, model, raw))
    assert (status, len(codes)) == (1, 1)
    assert not Path("there").exists()
