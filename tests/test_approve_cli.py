"""Approving and attesting as a user does it, and what is refused afterwards."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from safetensors_files import tensor_file

from weighbridge import cli
from weighbridge.approve import check
from weighbridge.cli import group
from weighbridge.evidence import bundle, home, statement, trust_policy
from weighbridge.evidence.dsse import Envelope

HOSTILE = Path(__file__).parent.parent / "fixtures/models/booby_trapped.pt"


pytestmark = pytest.mark.usefixtures("work")


@pytest.fixture
def model() -> Path:
    folder = Path("model")
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(tensor_file({"w": bytes(8)}))
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "tokenizer/tokenizer_config.json").write_text('{"do_lower_case": true}')
    return folder


def run(*arguments: str) -> int:
    """Return the exit status of a command, as the process would have it."""
    return cli._run(group.run, list(arguments))


def said(raw: bytes) -> statement.Statement:
    content = bundle.parse(raw, "x").content
    assert isinstance(content, Envelope)
    return statement.parse(content.payload, content.payload_type, "x")


def test_whom_loaders_do_not_ask_is_told(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("approve", "model") == 0
    assert "will not take it" not in capfd.readouterr().err
    home.trust_path().write_text("version = 1\n")
    assert run("approve", "model") == 0
    assert f"loaders that ask {home.trust_path()} will not take it" in capfd.readouterr().err


def test_a_folder_in_the_place_of_an_approval_is_refused(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (model / "approval.json").mkdir()
    assert run("approve", "model", "--check") == 1
    assert "approval.json: not a file [APPROVAL_MALFORMED]" in capfd.readouterr().err


def test_an_approval_is_of_every_file_and_holds(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("approve", "model") == 0
    printed = capfd.readouterr()
    assert "made a key of your own" in printed.err
    assert "3 files" in printed.err
    assert run("approve", "model", "--check") == 0
    assert f"by {trust_policy.OWN} for {trust_policy.OWN_VERIFIER}" in capfd.readouterr().out
    found = said((model / "approval.json").read_bytes())
    names = [one.name for one in found.subjects]
    paths = ["config.json", "model.safetensors", "tokenizer/tokenizer_config.json"]
    assert names == [*paths, statement.TREE]
    assert found.predicate["resourceUri"] == model.absolute().as_uri()
    assert run("approve", "model") == 0
    assert run("approve", "model", "--check") == 0


@pytest.mark.parametrize("change", ["changed", "missing", "extra", "link", "leaves"])
def test_a_folder_that_changed_is_refused(model: Path, change: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("approve", "model", "-q") == 0
    if change == "changed":
        (model / "config.json").write_text('{"model_type": "BERT"}')
    elif change == "missing":
        (model / "config.json").unlink()
    elif change == "extra":
        (model / "modeling.py").write_text("import os")
    elif change == "link":
        (model / "config.json").rename("config.json")
        (model / "config.json").symlink_to(Path("config.json").absolute())
    expected = {"changed": 1, "missing": 1, "extra": 1, "link": 1, "leaves": 0}
    assert run("approve", "model", "--check") == expected[change]
    assert ("refused: " in capfd.readouterr().err) == bool(expected[change])


def test_what_does_not_pass_is_not_approved(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (model / "evil.pt").write_bytes(HOSTILE.read_bytes())
    assert run("approve", "model") == 1
    assert "model is not approved" in capfd.readouterr().err
    assert not (model / "approval.json").exists()
    (model / "evil.pt").write_bytes(b"\x00\x01\x02 nothing known")
    assert run("approve", "model", "-q") == 3
    assert run("approve", "model", "--check") == 1
    assert "[APPROVAL_MISSING]" in capfd.readouterr().err


def test_the_lock_names_the_model_only_while_it_is_the_model(model: Path) -> None:
    assert run("lock", "add", str(model), "--lock", "weighbridge.lock", "-q") == 0
    Path("weighbridge.lock").rename(model / "weighbridge.lock")
    assert run("approve", "model", "-q") == 0
    assert "@sha256:" in check(model, trust=trust_policy.default(), now=datetime.now(UTC)).resource
    (model / "config.json").write_text('{"model_type": "gpt2"}')
    assert run("approve", "model", "-q") == 0
    assert check(model, trust=trust_policy.default(), now=datetime.now(UTC)).resource == model.absolute().as_uri()


def test_a_revoked_model_is_refused(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("approve", "model", "-q") == 0
    tree = check(model, trust=trust_policy.default(), now=datetime.now(UTC)).tree
    key = home.public_key_path().read_text()
    digest = trust_policy.default().signers[trust_policy.OWN].sha256_spki
    Path("key.pem").write_text(key)
    Path("trust.toml").write_text(
        f"""version = 1
[signers.me]
method = "key"
public_key = "key.pem"
sha256_spki = "{digest}"
[approvers.me]
signer = "me"
verifier_id = "{trust_policy.OWN_VERIFIER}"
[deny]
tree_sha256 = ["{tree}"]
"""
    )
    assert run("approve", "model", "--check", "--trust", "trust.toml") == 1
    assert "[APPROVAL_REVOKED]" in capfd.readouterr().err


def test_an_approval_by_a_stranger_is_refused(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    home.make_key(Path("other.pem"), Path("other.pub.pem"))
    assert run("approve", "model", "-q", "--key", "other.pem") == 0
    assert run("approve", "model", "--check") == 1
    assert "names nobody who may approve" in capfd.readouterr().err
    assert run("key", "init") == 0
    assert run("approve", "model", "--check") == 1
    assert "none of the approvers self signed it" in capfd.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("approve", "model", "--check", "--key", "gate.pem"),
        ("approve", "model", "--check", "--allow", "config.json"),
        ("gate", "model", "--to", "there", "--lock", "models.lock"),
        ("gate", "model", "--to", "there", "--no-convert", "--state-dict", "ema"),
        ("pull", "model", "--to", "there", "--lock", "models.lock"),
        ("scan", "model", "--lock", "models.lock"),
    ],
    ids=" ".join,
)
def test_options_that_would_change_nothing_are_wrong_usage(
    model: Path, words: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    assert capfd.readouterr().err.startswith("weighbridge: error: ")
    assert not Path("there").exists()


def test_what_a_scan_found_is_attested_and_verified(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("key", "init") == 0
    assert run("attest", "model", "--output", "a.json") == 0
    assert run("verify-attestation", "a.json", "model", "--passed", "--type", "scan") == 0
    assert "signed by self" in capfd.readouterr().out
    assert run("verify-attestation", "a.json", "--payload") == 0
    assert json.loads(capfd.readouterr().out)["predicate"]["outcome"] == "pass"
    assert run("verify-attestation", "a.json", "--type", "decision") == 1
    (model / "config.json").write_text("{}")
    assert run("verify-attestation", "a.json", "model") == 1
    assert "1 changed (config.json)" in capfd.readouterr().err


@pytest.mark.parametrize(("kind", "key"), [("scan", "source"), ("decision", "resourceUri")])
def test_a_statement_says_which_model_it_is_about(model: Path, kind: str, key: str) -> None:
    assert run("key", "init") == 0
    for given, told in (([], model.absolute().as_uri()), (["--source", "hf://acme/m@1"], "hf://acme/m@1")):
        assert run("attest", "model", "--type", kind, *given, "--output", "a.json") == 0
        assert said(Path("a.json").read_bytes()).predicate[key] == told


def test_a_decision_says_what_failed(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("key", "init") == 0
    decided = ["--type", "decision", "--source", "hf://acme/m@1", "--verifier", "https://acme.example/gate"]
    assert run("attest", str(HOSTILE), "--output", "d.json", *decided) == 0
    by_key = ["--key", str(home.public_key_path())]
    assert (
        run("verify-attestation", "d.json", str(HOSTILE)) == 1
    )  # by default the own key speaks for this machine alone
    assert "[APPROVAL_UNTRUSTED]" in capfd.readouterr().err
    assert run("verify-attestation", "d.json", str(HOSTILE), *by_key) == 0
    found = said(Path("d.json").read_bytes())
    assert found.predicate["verificationResult"] == "FAILED"
    assert found.predicate["verifier"]["id"] == "https://acme.example/gate"
    assert run("verify-attestation", "d.json", *by_key, "--passed") == 1
    assert "[APPROVAL_FAILED]" in capfd.readouterr().err


def test_an_attestation_is_only_as_good_as_who_signed(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("key", "init") == 0
    assert run("attest", "model", "--output", "a.json") == 0
    forged = json.loads(Path("a.json").read_bytes())
    forged["dsseEnvelope"]["payload"] = forged["dsseEnvelope"]["payload"][:-4] + "fX0="
    Path("forged.json").write_text(json.dumps(forged))
    capfd.readouterr()
    assert run("verify-attestation", "forged.json") == 1
    assert "[SIG_INVALID]" in capfd.readouterr().err
    assert run("verify-attestation", "a.json", "--signer", "nobody") == 2
