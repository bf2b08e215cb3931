"""`weighbridge sign` as a user runs it, and that whoever verifies takes what it makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifying
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from oms_files import FILES, key, keys, write
from servers.fake_sigstore import ALICE, SigstoreServer

from weighbridge.cli import _run
from weighbridge.cli.group import run
from weighbridge.evidence import home
from weighbridge.evidence.keys import key_digest

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what the person has on the machine out of the tests."""
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    for name in ("WEIGHBRIDGE_TRUST", "WEIGHBRIDGE_KEY_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def weighbridge(capfd: pytest.CaptureFixture[str]) -> Command:
    """Return what runs a command and gives its status, its output and its errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        status = _run(run, list(map(str, arguments)))
        return status, *capfd.readouterr()

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "model", {**FILES, ".gitattributes": b"*"})


@pytest.mark.parametrize(
    "private",
    [key(), key(ec.SECP384R1), key(ec.SECP521R1), ed25519.Ed25519PrivateKey.generate()],
    ids=["P-256", "P-384", "P-521", "Ed25519"],
)
def test_a_folder_is_signed_with_a_key_and_verified(private: object, weighbridge: Command, model: Path) -> None:
    hidden, public = keys(model.parent, private)
    status, out, err = weighbridge("sign", model, "--key", hidden)
    assert (status, err) == (0, "")
    assert out.splitlines()[1:] == [
        f"  by {key_digest(private.public_key())}",  # type: ignore[attr-defined]
        f"  in {model / 'model.sig'}",
    ]
    assert out.startswith(f"signed: {model}: 4 files, tree sha256:")
    assert weighbridge("verify", model, "--key", public)[0] == 0
    write(model, {"config.json": b"[]"})
    assert weighbridge("verify", model, "--key", public)[0] == 1


def test_the_users_own_key_signs_by_default(weighbridge: Command, model: Path) -> None:
    status, out, err = weighbridge("sign", model)
    assert (status, out) == (2, "")
    assert "`weighbridge key init` makes one" in err
    home.make_key(home.key_path(), home.public_key_path())
    assert weighbridge("sign", model)[0] == 0
    assert weighbridge("verify", model, "--key", home.public_key_path())[0] == 0


def test_a_key_with_a_password_takes_it_from_the_environment(
    weighbridge: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden, public = keys(model.parent)
    hidden.write_bytes(certifying.private_pem(key(), b"secret"))
    monkeypatch.setenv("WEIGHBRIDGE_KEY_PASSWORD", "wrong")
    status, _, err = weighbridge("sign", model, "--key", hidden)
    assert status == 2
    assert "the password is wrong" in err
    assert not (model / "model.sig").exists()
    monkeypatch.setenv("WEIGHBRIDGE_KEY_PASSWORD", "secret")
    assert weighbridge("sign", model, "--key", hidden)[0] == 0
    assert weighbridge("verify", model, "--key", public)[0] == 0


def test_a_certificate_signs(weighbridge: Command, model: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    begin, end = now - timedelta(days=1), now + timedelta(days=1)
    root = certifying.authority("Root", begin=begin, end=end)
    middle = certifying.authority("Middle", root, begin=begin, end=end)
    leaf = certifying.signer(middle, begin=begin, end=end)
    write(tmp_path, {"l.pem": leaf.key_pem, "l.crt": leaf.pem, "m.crt": middle.pem, "r.crt": root.pem})
    (tmp_path / "l.pem").chmod(0o600)
    with_chain = ("--certificate", tmp_path / "l.crt", "--certificate", tmp_path / "m.crt")
    status, out, _ = weighbridge("sign", model, "--key", tmp_path / "l.pem", *with_chain)
    assert status == 0
    assert f"  by {certifying.SUBJECT}" in out
    trusted = ("--certificate-chain", tmp_path / "r.crt", "--subject", certifying.SUBJECT)
    assert weighbridge("verify", model, *trusted)[0] == 0
    assert weighbridge("sign", model, *with_chain)[0] == 2
    assert weighbridge("sign", model, "--key", tmp_path / "l.pem", "--certificate", tmp_path / "m.crt")[0] == 2
    (tmp_path / "none.crt").write_text("none")
    status, _, err = weighbridge("sign", model, "--key", tmp_path / "l.pem", "--certificate", tmp_path / "none.crt")
    assert (status, f"{tmp_path / 'none.crt'}: no certificates in PEM" in err) == (2, True)


def test_a_keyless_identity_signs(weighbridge: Command, model: Path, tmp_path: Path) -> None:
    with SigstoreServer() as served:
        write(tmp_path, {"token": served.token().encode()})
        (tmp_path / "config.json").write_text(json.dumps(served.instance.trust_config()))
        (tmp_path / "root.json").write_text(json.dumps(served.instance.trusted_root()))
        made = ("--keyless", "--identity-token", tmp_path / "token", "--sigstore", tmp_path / "config.json")
        status, out, err = weighbridge("sign", model, *made)
    assert (status, err) == (0, "")
    assert f"  by {ALICE.identity}, issuer {ALICE.issuer}" in out
    who = ("--identity", ALICE.identity, "--issuer", ALICE.issuer, "--trusted-root", tmp_path / "root.json")
    assert weighbridge("verify", model, *who)[0] == 0


def test_a_signature_may_lie_elsewhere(weighbridge: Command, model: Path, tmp_path: Path) -> None:
    hidden, public = keys(tmp_path)
    assert weighbridge("sign", model, "--key", hidden, "--signature", tmp_path / "m.sig")[0] == 0
    assert not (model / "model.sig").exists()
    status, out, _ = weighbridge("verify", model, "--key", public, "--signature", tmp_path / "m.sig")
    assert status == 0
    assert "not covered" not in out


def test_a_second_signer_signs_the_first_signature_too(weighbridge: Command, model: Path, tmp_path: Path) -> None:
    (one, _), (other, public) = keys(tmp_path), keys(tmp_path, key(number=1), name="other")
    assert weighbridge("sign", model, "--key", one)[0] == 0
    status, out, _ = weighbridge("sign", model, "--key", other, "--signature", model / "b.oms.sig")
    assert (status, out.count("5 files")) == (0, 1)
    assert weighbridge("verify", model, "--key", public, "--signature", model / "b.oms.sig")[0] == 0


def test_what_is_left_out_is_told(weighbridge: Command, model: Path, tmp_path: Path) -> None:
    hidden, public = keys(tmp_path)
    status, out, _ = weighbridge("sign", model, "--key", hidden, "--leave-out", ".gitattributes")
    assert status == 0
    assert out.splitlines()[3:] == ["  not signed: 1 file", "    .gitattributes"]
    assert weighbridge("verify", model, "--key", public)[0] == 1
    assert weighbridge("verify", model, "--key", public, "--ignore", ".gitattributes")[0] == 0


WRONG = {
    "two ways": ("--key", "k.pem", "--pkcs11", "pkcs11:id=%01"),
    "keyless without a token": ("--keyless",),
    "a token for nothing": ("--identity-token", "k.pem"),
    "no such key": ("--key", "nowhere.pem"),
    "a key that anybody may read": ("--key", "open.pem"),
    "a public key": ("--key", "k.pub.pem"),
    "a certificate without a key": ("--certificate", "k.pub.pem"),
    "a place that is none": ("--key", "k.pem", "--signature", "nowhere/m.sig"),
    "a token that is none": ("--pkcs11", "token=x"),
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_options_that_make_no_sense_are_usage_errors(
    arguments: tuple[str, ...], weighbridge: Command, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden, public = keys(tmp_path)
    public.chmod(0o600)
    write(tmp_path, {"open.pem": hidden.read_bytes()})
    (tmp_path / "open.pem").chmod(0o644)
    monkeypatch.chdir(tmp_path)
    status, out, err = weighbridge("sign", model, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("weighbridge: error: ")
    assert not (model / "model.sig").exists()


def test_links_are_not_signed(weighbridge: Command, model: Path, tmp_path: Path) -> None:
    hidden, _ = keys(tmp_path)
    (model / "link").symlink_to("config.json")
    status, _, err = weighbridge("sign", model, "--key", hidden)
    assert status == 1
    assert "[UNSAFE_ENTRY]" in err
    assert not (model / "model.sig").exists()
