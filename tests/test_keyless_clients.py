"""Keyless signatures between us and the real clients: `sigstore` and `model_signing`, signing on 127.0.0.1."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from keyless_signing import STATEMENT
from servers.fake_sigstore import ALICE, Person, SigstoreServer
from servers.serving import Answer, Reply, Request, Server

from weighbridge.errors import SourceError, UsageError
from weighbridge.evidence import bundle, keyless, trusted_root
from weighbridge.evidence.base import Method, Signature
from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.evidence.keyless import SigstoreSigner
from weighbridge.evidence.oms import PREDICATE
from weighbridge.evidence.oms_write import state
from weighbridge.evidence.statement import parse
from weighbridge.evidence.tree import Tree
from weighbridge.evidence.trust_entries import TrustedSigner
from weighbridge.refusals import SignerUntrusted

WHO = ("--cert-identity", ALICE.identity, "--cert-oidc-issuer", ALICE.issuer)


@pytest.fixture
def served() -> Iterator[SigstoreServer]:
    with SigstoreServer() as server:
        yield server


@pytest.fixture(params=[1, 2], ids=["rekor-1", "rekor-2"])
def config(request: pytest.FixtureRequest, served: SigstoreServer, tmp_path: Path) -> Path:
    """Return the configuration of a client, with each version of the log."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(served.instance.trust_config(request.param)))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"w" * 1000)
    (folder / "sub" / "config.json").write_bytes(b"{}")
    return folder


def run(command: str, *arguments: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a client that is installed beside us, with nothing of the person's own."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_COLOR": "1"}
    program = Path(sys.executable).with_name(command)
    return subprocess.run([program, *arguments], capture_output=True, text=True, env=environment, check=False)


def verify(raw: bytes, config: Path, *, identity: str = ALICE.identity) -> Signature:
    wanted = TrustedSigner(method=Method.SIGSTORE, root="fake", identity=identity, issuer=ALICE.issuer, name="alice")
    root = trusted_root.within(config.read_bytes(), "config.json")
    return keyless.verify(bundle.parse(raw, "model.sig"), wanted, root)


def test_a_file_signed_by_sigstore_is_verified_after_the_server_is_gone(
    served: SigstoreServer, config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"weights")
    signed = run("sigstore", "--trust-config", config, "sign", "--identity-token", served.token(), file, home=tmp_path)
    assert signed.returncode == 0, signed.stderr
    served.server.close()
    raw = (tmp_path / "weights.bin.sigstore.json").read_bytes()
    found = verify(raw, config)
    assert (found.identity, found.payload) == (ALICE.identity, hashlib.sha256(b"weights").digest())
    with pytest.raises(SignerUntrusted):
        verify(raw, config, identity="mallory@acme.test")


def test_what_we_sign_is_verified_by_sigstore(served: SigstoreServer, config: Path, tmp_path: Path) -> None:
    file, made = tmp_path / "weights.bin", tmp_path / "made.json"
    file.write_bytes(b"weights")
    payload = STATEMENT.replace(b"00" * 32, hashlib.sha256(b"weights").hexdigest().encode())
    signer = SigstoreSigner(served.token(), config.read_bytes())
    assert signer.identity == f"{ALICE.identity}, issuer {ALICE.issuer}"
    made.write_bytes(signer.sign(payload, IN_TOTO))
    parsed = bundle.parse(made.read_bytes(), "made.json")
    assert signer.check(parsed).payload == payload
    arguments = ("--trust-config", config, "verify", "identity", "--bundle", made)
    accepted = run("sigstore", *arguments, *WHO, file, home=tmp_path)
    assert accepted.returncode == 0, accepted.stderr
    refused = run("sigstore", *arguments, "--cert-identity", "mallory@acme.test", *WHO[2:], file, home=tmp_path)
    assert refused.returncode == 1


def test_a_folder_signed_by_model_signing_is_verified(
    served: SigstoreServer, config: Path, model: Path, tmp_path: Path
) -> None:
    where = tmp_path / "model.sig"
    arguments = ("--trust_config", config, "--identity_token", served.token(), "--signature", where)
    signed = run("model_signing", "sign", "sigstore", model, *arguments, home=tmp_path)
    assert signed.returncode == 0, signed.stderr + signed.stdout
    served.server.close()
    found = verify(where.read_bytes(), config)
    stated = parse(found.payload, found.payload_type, "model.sig")
    assert stated.predicate_type == PREDICATE
    assert [one["name"] for one in stated.predicate["resources"]] == ["model.safetensors", "sub/config.json"]


def test_a_folder_that_we_sign_is_verified_by_model_signing(
    served: SigstoreServer, config: Path, model: Path, tmp_path: Path
) -> None:
    where = tmp_path / "model.sig"
    with Tree(model) as tree:
        payload = state(tree, "model")
    where.write_bytes(SigstoreSigner(served.token(), config.read_bytes()).sign(payload, IN_TOTO))
    who = ("--identity", ALICE.identity, "--identity_provider", ALICE.issuer)
    arguments = ("verify", "sigstore", model, "--trust_config", config, "--signature", where, *who)
    accepted = run("model_signing", *arguments, home=tmp_path)
    assert accepted.returncode == 0, accepted.stderr + accepted.stdout
    (model / "model.safetensors").write_bytes(b"x")
    assert run("model_signing", *arguments, home=tmp_path).returncode == 1


def test_statements_that_sigstore_does_not_sign_are_named(served: SigstoreServer) -> None:
    signer = SigstoreSigner(served.token(), json.dumps(served.instance.trust_config()).encode())
    with pytest.raises(UsageError, match="over in-toto statements, not 'text/plain'"):
        signer.sign(STATEMENT, "text/plain")
    with pytest.raises(UsageError, match="sigstore does not sign this statement"):
        signer.sign(b"{}", IN_TOTO)
    assert not served.asked


@pytest.mark.parametrize("token", ["", "a.b.c", "no token"])
def test_a_token_that_is_none_is_refused(served: SigstoreServer, token: str) -> None:
    with pytest.raises(UsageError, match="identity token"):
        SigstoreSigner(token, json.dumps(served.instance.trust_config()).encode())


def test_a_token_of_yesterday_or_for_others_is_refused(served: SigstoreServer) -> None:
    config = json.dumps(served.instance.trust_config()).encode()
    for token in (served.token(exp=1_000_000), served.token(aud="others"), served.token(sub=None)):
        with pytest.raises(UsageError) as refused:
            SigstoreSigner(token, config)
        assert token not in str(refused.value)


@pytest.mark.parametrize("config", [b"", b"{}", b"\xff", b'{"trustedRoot": {}}'])
def test_a_configuration_that_is_none_is_refused(served: SigstoreServer, config: bytes) -> None:
    with pytest.raises(UsageError, match="not that of a client of sigstore"):
        SigstoreSigner(served.token(), config)


def test_an_authority_that_refuses_or_is_not_there_is_an_error_of_the_source(served: SigstoreServer) -> None:
    config = json.dumps(served.instance.trust_config()).encode()
    with SigstoreServer() as other:
        stranger = SigstoreSigner(other.token(), config)
    with pytest.raises(SourceError, match="sigstore did not sign"):
        stranger.sign(STATEMENT, IN_TOTO)
    signer = SigstoreSigner(served.token(Person()), config)
    served.server.close()
    with pytest.raises(SourceError, match="sigstore did not sign"):
        signer.sign(STATEMENT, IN_TOTO)


def test_the_token_of_a_workflow_is_found(
    served: SigstoreServer, serve: Callable[[Answer], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = served.token()
    asked: list[Request] = []

    def answer(request: Request) -> Reply:
        asked.append(request)
        return Reply(body=json.dumps({"value": token}).encode())

    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", raising=False)
    with pytest.raises(UsageError, match="the CI system gives no identity token"):
        keyless.ambient_token()
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{serve(answer).origin}/token?v=1")
    assert keyless.ambient_token() == token
    assert asked[-1].query["audience"] == "sigstore"
