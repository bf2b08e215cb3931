"""Who signs: with keys, with certificates, and with keys that a token keeps; what they sign verifies elsewhere too."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certifying import SUBJECT, authority, private_pem, public_pem
from certifying import signer as certified
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from weighbridge.errors import UsageError
from weighbridge.evidence import bundle, dsse, keys
from weighbridge.evidence.base import Method
from weighbridge.evidence.signers import CertificateSigner, KeySigner, Pkcs11Signer

PAYLOAD = b'{"a":1}'
PIN = "1234"
KEYS: dict[str, Any] = {
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def verified(made: bytes, public: bytes) -> bundle.Bundle:
    """Return a bundle whose envelope we and securesystemslib take for signed by a key."""
    found = bundle.parse(made, "made")
    assert isinstance(found.content, dsse.Envelope)
    dsse.verify(found.content, keys.load_public(public, "key"), "made")
    document = json.loads(made)["dsseEnvelope"]
    document["signatures"][0]["keyid"] = "pinned"
    key = SSlibKey.from_crypto(load_pem_public_key(public), keyid="pinned")
    Envelope.from_dict(document).verify([key], 1)
    return found


@pytest.mark.parametrize("name", KEYS)
def test_what_a_key_signs(name: str) -> None:
    key = KEYS[name]
    signer = KeySigner(private_pem(key), where=name)
    found = verified(signer.sign(PAYLOAD, dsse.IN_TOTO), public_pem(key))
    assert signer.identity == str(keys.key_digest(key.public_key()))
    assert found.methods == {Method.KEY}
    assert found.hint == hashlib.sha256(public_pem(key)).hexdigest()
    assert isinstance(found.content, dsse.Envelope)
    assert (found.content.payload, found.content.payload_type) == (PAYLOAD, dsse.IN_TOTO)


def test_a_key_behind_a_password() -> None:
    pem = private_pem(KEYS["p256"], b"secret")
    verified(KeySigner(pem, password=b"secret", where="key").sign(PAYLOAD, dsse.IN_TOTO), public_pem(KEYS["p256"]))
    with pytest.raises(UsageError, match="key: not a private key or the password is wrong"):
        KeySigner(pem, password=b"wrong", where="key")
    with pytest.raises(UsageError, match="key: the key is encrypted; give its password"):
        KeySigner(pem, where="key")
    with pytest.raises(UsageError, match="key: the key is not encrypted, and a password was given"):
        KeySigner(private_pem(KEYS["p256"]), password=b"secret", where="key")


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256K1()), rsa.generate_private_key(65537, 2048)], ids=["bitcoin", "rsa"]
)
def test_keys_that_others_would_not_verify_do_not_sign(key: Any) -> None:
    with pytest.raises(UsageError, match="neither on P-256, P-384 or P-521, nor Ed25519"):
        KeySigner(private_pem(key), where="key")


def test_a_public_key_does_not_sign() -> None:
    for wrong in (public_pem(KEYS["p256"]), b"", b"\xff"):
        with pytest.raises(UsageError, match="key: not a private key in PEM"):
            KeySigner(wrong, where="key")


def test_what_a_certificate_signs() -> None:
    root = authority("Root")
    middle = authority("Middle", root)
    leaf = certified(middle)
    for certificates in ([leaf.pem, middle.pem], [leaf.pem + middle.pem]):
        signer = CertificateSigner(leaf.key_pem, certificates, where="key")
        found = verified(signer.sign(PAYLOAD, dsse.IN_TOTO), public_pem(leaf.key))
        assert signer.identity == SUBJECT
        assert found.methods == {Method.CERTIFICATE}
        assert found.certificates == (leaf.der, middle.der)


def test_a_certificate_of_another_key_does_not_sign() -> None:
    root = authority("Root")
    leaf = certified(root)
    with pytest.raises(UsageError, match="first certificate is of another key"):
        CertificateSigner(leaf.key_pem, [root.pem, leaf.pem], where="key")
    with pytest.raises(UsageError, match="no certificates in PEM"):
        CertificateSigner(leaf.key_pem, [b"nothing"], where="key")
    with pytest.raises(UsageError, match="11 certificates; a bundle holds 1 to 10"):
        CertificateSigner(leaf.key_pem, [leaf.pem * 11], where="key")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("pkcs12:token=a;id=%01", "a key on a token is named pkcs11:token=NAME;id=%01"),
        ("pkcs11:token=a;object=b", "name the key by its id"),
        ("pkcs11:token=a;id=%00%01", "does not begin with a zero byte"),
    ],
)
def test_a_uri_that_names_no_key(uri: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Pkcs11Signer(uri, lambda: "")


@pytest.mark.parametrize(
    "uri", ["pkcs12:token=a?pin-value=1234", "pkcs11:id=%00?pin-value=1234", "pkcs11:token=a;pin-value=1234"]
)
def test_no_message_shows_a_pin(uri: str) -> None:
    with pytest.raises(UsageError) as refused:
        Pkcs11Signer(uri, lambda: "")
    assert PIN not in str(refused.value)


MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the module of a token `test`, in software, with the keys 1 (P-256), 2 (P-384) and 3 (P-521)."""
    tool, found = shutil.which("softhsm2-util"), next((one for one in MODULES if Path(one).exists()), None)
    pytest.importorskip("pkcs11")
    if tool is None or found is None:
        pytest.skip("SoftHSM 2 is not installed")
    (tmp_path / "tokens").mkdir()
    settings = tmp_path / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
    subprocess.run(
        [tool, "--init-token", "--free", "--label", "test", "--pin", PIN, "--so-pin", PIN],
        check=True,
        capture_output=True,
    )
    for number, name in enumerate(("p256", "p384", "p521"), start=1):
        file = tmp_path / f"{name}.pem"
        file.write_bytes(private_pem(KEYS[name]))
        which = ["--token", "test", "--pin", PIN, "--label", name, "--id", f"{number:02x}"]
        subprocess.run([tool, "--import", str(file), *which], check=True, capture_output=True)
    yield found


def on_token(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own: a module, once loaded, keeps the tokens that it found."""
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)


SIGN = """
import os, sys
from weighbridge.errors import UsageError
from weighbridge.evidence.signers import Pkcs11Signer
try:
    signer = Pkcs11Signer(sys.argv[1], lambda: sys.argv[2])
    made = signer.sign(b'{"a":1}', "application/vnd.in-toto+json")
except UsageError as error:
    sys.exit(str(error))
assert "PYKCS11LIB" not in os.environ
sys.stdout.write(signer.identity + "\\n" + made.decode())
"""


@pytest.mark.parametrize(("number", "name"), [(1, "p256"), (2, "p384")])
def test_what_a_key_on_a_token_signs(number: int, name: str, module: str) -> None:
    done = on_token(SIGN, f"pkcs11:token=test;id=%{number:02x}?module-path={module}", PIN)
    assert done.returncode == 0, done.stderr
    identity, made = done.stdout.split("\n", 1)
    verified(made.encode(), public_pem(KEYS[name]))
    assert identity == str(keys.key_digest(KEYS[name].public_key()))


def test_a_model_is_signed_and_approved_with_a_key_on_a_token(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the commands, as a machine runs them: the PIN is in the environment, where other users cannot read it."""
    model, public, uri = tmp_path / "m", tmp_path / "p256.pub", f"pkcs11:token=test;id=%01?module-path={module}"
    model.mkdir()
    (model / "config.json").write_text("{}")
    public.write_bytes(public_pem(KEYS["p256"]))
    for name, value in (("CONFIG", str(tmp_path / "config")), ("KEY_PASSWORD", PIN)):
        monkeypatch.setenv(f"WEIGHBRIDGE_{name}", value)

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "weighbridge", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    for words in (
        ("sign", model, "--pkcs11", uri, "--signature", tmp_path / "m.sig"),
        ("verify", model, "--key", public, "--signature", tmp_path / "m.sig"),
        ("attest", model, "--pkcs11", uri, "--output", tmp_path / "scan.json"),
        ("verify-attestation", tmp_path / "scan.json", model, "--key", public, "--passed"),
        ("approve", model, "--pkcs11", uri, "--verifier", "urn:acme:gate"),
    ):
        done = run(*words)
        assert done.returncode == 0, done.stderr
    verified((model / "approval.json").read_bytes(), public_pem(KEYS["p256"]))
    monkeypatch.delenv("WEIGHBRIDGE_KEY_PASSWORD")
    done = run("sign", model, "--pkcs11", uri)
    assert (done.returncode, done.stderr.count("WEIGHBRIDGE_KEY_PASSWORD gives it")) == (2, 1)


def test_a_token_signs_for_us_and_for_model_signing_alike(module: str, tmp_path: Path) -> None:
    pytest.importorskip("PyKCS11")
    model, public = tmp_path / "m", tmp_path / "p256.pub"
    model.mkdir()
    (model / "config.json").write_text("{}")
    public.write_bytes(public_pem(KEYS["p256"]))
    place = f"pkcs11:token=test;object=p256;id=%01?module-path={module}&pin-value={PIN}"

    def run(program: str, *words: str | Path) -> None:
        command = [sys.executable, "-m", program, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"HOME": tmp_path})
        assert done.returncode == 0, done.stdout + done.stderr

    run("model_signing", "sign", "pkcs11-key", model, "--signature", tmp_path / "theirs.sig", "--pkcs11_uri", place)
    run("weighbridge", "verify", model, "--key", public, "--signature", tmp_path / "theirs.sig")
    run("weighbridge", "sign", model, "--pkcs11", place, "--signature", tmp_path / "ours.sig")
    run("model_signing", "verify", "key", model, "--signature", tmp_path / "ours.sig", "--public_key", public)


@pytest.mark.parametrize(
    ("uri", "pin", "said"),
    [
        ("pkcs11:token=test;id=%01?module-path={module}", "9999", "the token refuses: PinIncorrect"),
        ("pkcs11:token=test;id=%09?module-path={module}&pin-value=1234", "", "could not find ECDSA"),
        ("pkcs11:token=test;id=%03?module-path={module}&pin-value=1234", "", "not a supported EC curve"),
        ("pkcs11:token=none;id=%01?module-path={module}", PIN, "No PKCS#11 token found for label none"),
        ("pkcs11:token=test;id=%01", PIN, "PYKCS11LIB environment variable must be set"),
        ("pkcs11:token=test;id=%01?module-path=/nowhere.so", PIN, "the token refuses"),
    ],
)
def test_what_a_token_refuses_is_told_in_one_line(uri: str, pin: str, said: str, module: str) -> None:
    done = on_token(SIGN, uri.format(module=module), pin)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.startswith("pkcs11:token=")
    assert PIN not in done.stderr
    assert done.stderr.count("\n") == 1
