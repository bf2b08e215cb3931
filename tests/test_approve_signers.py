"""Approvals and statements signed without a key, or with a certificate: made by the commands, and demanded by them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifying
import pytest
from keyless_signing import offline
from oms_files import write
from safetensors_files import tensor_file
from servers.fake_sigstore import ALICE, Person, SigstoreServer

import weighbridge
from weighbridge import cli
from weighbridge.cli import group
from weighbridge.refusals import ApprovalUntrusted

__all__ = ["offline"]

pytestmark = pytest.mark.usefixtures("work")

VERIFIER = "https://acme.example/gate"
MALLORY = Person(identity="mallory@acme.test", issuer=ALICE.issuer)
KEYLESS = """\
version = 1
[roots.fake]
type = "sigstore"
trusted_root = "root.json"
sha256 = "{digest}"
[signers.alice]
method = "sigstore"
root = "fake"
identity = "{identity}"
issuer = "{issuer}"
[approvers]
gate = {{ signer = "alice", verifier_id = "https://acme.example/gate" }}
"""
CERTIFIED = """\
version = 1
[roots.acme]
type = "x509"
pem = "root.crt"
sha256 = "{digest}"
[signers.acme]
method = "certificate"
root = "acme"
subject = "{subject}"
[approvers]
gate = {{ signer = "acme", verifier_id = "https://acme.example/gate" }}
"""


@pytest.fixture
def model() -> Path:
    """Put a model into the current folder."""
    return write(Path("model"), {"model.safetensors": tensor_file({"w": bytes(8)}), "config.json": b"{}"})


@pytest.fixture
def served() -> Iterator[SigstoreServer]:
    """Run an instance of sigstore, whose root is what trust.toml believes."""
    with SigstoreServer() as server:
        root = json.dumps(server.instance.trusted_root()).encode()
        digest = hashlib.sha256(root).hexdigest()
        policy = KEYLESS.format(digest=digest, identity=ALICE.identity, issuer=ALICE.issuer)
        config = json.dumps(server.instance.trust_config()).encode()
        write(Path(), {"root.json": root, "config.json": config, "trust.toml": policy.encode()})
        yield server


def by(server: SigstoreServer, person: Person = ALICE) -> list[str]:
    """Return the options by which a person signs."""
    Path("token").write_text(server.token(person))
    return ["--keyless", "--identity-token", "token", "--sigstore", "config.json", "--verifier", VERIFIER]


def run(*arguments: str) -> int:
    return cli._run(group.run, list(arguments))


def test_an_identity_approves_and_the_loader_asks_no_network(
    model: Path, served: SigstoreServer, request: pytest.FixtureRequest
) -> None:
    assert run("approve", "model", *by(served)) == 0
    request.getfixturevalue("offline")
    assert run("approve", "model", "--check", "--trust", "trust.toml") == 0
    loaded = weighbridge.load(model, framework="numpy", trust="trust.toml")
    assert list(loaded) == ["w"]
    assert run("approve", "model", "--check") == 1, "the own key of this machine did not sign"


def test_another_identity_or_verifier_approves_nothing(
    model: Path, served: SigstoreServer, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("approve", "model", *by(served, MALLORY)) == 0
    assert run("approve", "model", "--check", "--trust", "trust.toml") == 1
    told = capfd.readouterr().err
    assert "[APPROVAL_UNTRUSTED]" in told and MALLORY.identity in told
    with pytest.raises(ApprovalUntrusted):
        weighbridge.load(model, framework="numpy", trust="trust.toml")
    assert run("approve", "model", *by(served)[:-1], "https://acme.example/other") == 0
    assert run("approve", "model", "--check", "--trust", "trust.toml") == 1
    assert "https://acme.example/other" in capfd.readouterr().err


def test_a_gate_signs_without_a_key(model: Path, served: SigstoreServer, tmp_path: Path) -> None:
    assert run("gate", "model", "--to", "crossed", "--trust", "trust.toml", *by(served)) == 0
    assert run("approve", "crossed", "--check", "--trust", "trust.toml") == 0
    assert not (tmp_path / "config/key.pem").exists()


@pytest.mark.parametrize("kind", ["scan", "decision"])
def test_statements_are_signed_without_a_key(model: Path, served: SigstoreServer, kind: str) -> None:
    assert run("attest", "model", "--type", kind, *by(served), "--output", "a.json") == 0
    assert run("verify-attestation", "a.json", "model", "--trust", "trust.toml", "--type", kind, "--passed") == 0
    who = ["--identity", ALICE.identity, "--issuer", ALICE.issuer, "--trusted-root", "root.json"]
    assert run("verify-attestation", "a.json", *who) == 0
    assert run("verify-attestation", "a.json", "--identity", MALLORY.identity, *who[2:]) == 1


def test_a_certificate_approves(model: Path) -> None:
    now = datetime.now(UTC)
    begin, end = now - timedelta(days=1), now + timedelta(days=1)
    root = certifying.authority("Root", begin=begin, end=end)
    leaf = certifying.signer(root, begin=begin, end=end)
    Path("leaf.pem").touch(mode=0o600)
    digest = hashlib.sha256(root.pem).hexdigest()
    write(Path(), {"leaf.pem": leaf.key_pem, "leaf.crt": leaf.pem, "root.crt": root.pem})
    Path("trust.toml").write_text(CERTIFIED.format(digest=digest, subject=certifying.SUBJECT))
    signer = ["--key", "leaf.pem", "--certificate", "leaf.crt", "--verifier", VERIFIER]
    assert run("approve", "model", *signer) == 0
    assert run("approve", "model", "--check", "--trust", "trust.toml") == 0
    assert list(weighbridge.load(model, framework="numpy", trust="trust.toml")) == ["w"]
    assert run("attest", "model", *signer, "--output", "a.json") == 0
    assert run("verify-attestation", "a.json", "model", "--trust", "trust.toml", "--passed") == 0
