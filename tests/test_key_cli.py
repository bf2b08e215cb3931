"""`weighbridge key` as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from certifying import SUBJECT, authority, private_pem, public_pem, signer
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from weighbridge.cli import _run
from weighbridge.cli.group import run
from weighbridge.digest import Digest
from weighbridge.evidence import bundle, dsse, home, keys
from weighbridge.evidence.signers import KeySigner

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep what the person has on the machine out of the tests."""
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    for name in ("WEIGHBRIDGE_TRUST", "WEIGHBRIDGE_KEY_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "config"


@pytest.fixture
def key(capfd: pytest.CaptureFixture[str]) -> Command:
    """Return what runs the command and gives its status, its output and its errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        status = _run(run, ["key", *map(str, arguments)])
        return status, *capfd.readouterr()

    return call


def test_init_makes_a_key_of_ones_own_once(key: Command, config: Path) -> None:
    status, out, _ = key("init")
    spki = keys.key_digest(keys.load_public((config / "key.pub.pem").read_bytes(), "key")).value
    assert status == 0
    assert f"private key  {config}/key.pem\n" in out
    assert f"sha256_spki  {spki}\n" in out
    assert "can be loaded on this machine" in out
    before = (config / "key.pem").read_bytes()
    status, out, err = key("init")
    assert (status, out) == (2, "")
    assert err == f"weighbridge: error: {config}/key.pub.pem is there already; nothing was written\n"
    assert (config / "key.pem").read_bytes() == before


def test_what_init_makes_signs(key: Command, tmp_path: Path) -> None:
    path = tmp_path / "release.pem"
    assert key("init", path)[0] == 0
    assert path.stat().st_mode & 0o777 == 0o600
    signed = KeySigner(home.read_private(path), where="key").sign(b"{}", dsse.IN_TOTO)
    found = bundle.parse(signed, "made")
    assert isinstance(found.content, dsse.Envelope)
    public = (tmp_path / "release.pub.pem").read_bytes()
    dsse.verify(found.content, keys.load_public(public, "key"), "made")


def test_a_folder_that_is_not_there_is_not_made_for_a_named_key(key: Command, tmp_path: Path) -> None:
    status, _, err = key("init", tmp_path / "absent" / "release.pem")
    assert status == 2
    assert "absent/release.pem: No such file or directory" in err


def test_a_key_with_a_password(key: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "release.pem"
    monkeypatch.setenv("WEIGHBRIDGE_KEY_PASSWORD", "secret")
    assert key("init", path, "--encrypt")[0] == 0
    assert b"ENCRYPTED" in path.read_bytes()
    assert key("export", "--key", path)[1] == (tmp_path / "release.pub.pem").read_text()
    monkeypatch.setenv("WEIGHBRIDGE_KEY_PASSWORD", "wrong")
    status, _, err = key("export", "--key", path)
    assert (status, err) == (2, f"weighbridge: error: {path}: not a private key or the password is wrong\n")
    monkeypatch.setenv("WEIGHBRIDGE_KEY_PASSWORD", "")
    assert "an empty password encrypts nothing" in key("init", tmp_path / "other.pem", "--encrypt")[2]


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("", "can be loaded on this machine"),
        ('version = 1\n[approvers]\nme = { signer = "self", verifier_id = "x" }\n', "can be loaded on this machine"),
        ("version = 1\n", 'does not name it: under [approvers], self = { signer = "self"'),
        ("version = 2\n", "is wrong: "),
    ],
)
def test_init_says_what_the_key_is_good_for(key: Command, config: Path, policy: str, said: str) -> None:
    config.mkdir()
    if policy:
        (config / "trust.toml").write_text(policy)
    status, out, _ = key("init")
    assert (status, said in out) == (0, True)


def test_half_of_a_pair_is_not_left_behind(key: Command, tmp_path: Path) -> None:
    (tmp_path / "release.pub.pem").symlink_to("nowhere")
    status, _, err = key("init", tmp_path / "release.pem")
    assert (status, "release.pub.pem is there already" in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["release.pub.pem"]


def test_a_public_half_that_was_lost_is_written_anew(key: Command, config: Path) -> None:
    key("init")
    (config / "key.pub.pem").rename(config / "before")
    status, _, err = key("show")
    assert (status, f"`weighbridge key export --output {config / 'key.pub.pem'}` writes that of your key" in err) == (
        2,
        True,
    )
    assert key("export", "--output", config / "key.pub.pem")[0] == 0
    assert (config / "key.pub.pem").read_bytes() == (config / "before").read_bytes()


def test_a_password_that_nobody_gives_is_wrong_usage(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "weighbridge", "key", "init", str(tmp_path / "release.pem"), "--encrypt"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert done.returncode == 2
    assert "Password: nobody answers; WEIGHBRIDGE_KEY_PASSWORD gives it" in done.stderr
    assert not list(tmp_path.iterdir())


def test_show_gives_the_lines_of_a_trust_policy(key: Command, tmp_path: Path) -> None:
    path = tmp_path / "release.pub"
    private = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(public_pem(private))
    spki = keys.key_digest(private.public_key()).value
    lines = f'[signers.NAME]\nmethod = "key"\npublic_key = "{path}"\nsha256_spki = "{spki}"\n'
    assert key("show", path) == (0, lines, "")


def test_show_says_what_is_pinned_of_certificates(key: Command, tmp_path: Path) -> None:
    root = authority("Root")
    leaf = signer(root)
    path = tmp_path / "chain.pem"
    path.write_bytes(leaf.pem + root.pem)
    status, out, _ = key("show", path)
    assert status == 0
    assert f"sha256 of the file, for a root: {Digest.of(leaf.pem + root.pem).value}" in out
    assert f"cert_sha256 {Digest.of(root.der).value}" in out
    assert out.endswith(f'[signers.NAME]\nmethod = "certificate"\nroot = "ROOT"\nsubject = "{SUBJECT}"\n')


def test_show_never_shows_a_private_key(key: Command, tmp_path: Path) -> None:
    path = tmp_path / "private.pem"
    path.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))
    status, out, err = key("show", path)
    assert (status, out) == (2, "")
    assert "a private key; `weighbridge key export` writes its public half" in err


def test_what_is_no_key(key: Command, tmp_path: Path) -> None:
    assert "`weighbridge key init` makes one" in key("show")[2]
    assert "name a file in PEM" in key("show", tmp_path / "absent.pem")[2]
    assert "`weighbridge key init` makes one" in key("export")[2]
    path = tmp_path / "wrong.pem"
    for wrong in (b"", b"nothing", public_pem(rsa.generate_private_key(65537, 1024))):
        path.write_bytes(wrong)
        assert key("show", path)[0] == 2
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    assert "no certificates in PEM" in key("show", path)[2]


def test_export_writes_the_public_half_and_nothing_over_another(key: Command, config: Path, tmp_path: Path) -> None:
    key("init")
    public = (config / "key.pub.pem").read_text()
    assert key("export") == (0, public, "")
    path = tmp_path / "release.pub"
    assert key("export", "--output", path) == (0, "", "")
    assert path.read_text() == public
    assert "is there already; nothing was written" in key("export", "--output", path)[2]


def test_a_private_key_that_others_may_read_is_not_used(key: Command, config: Path) -> None:
    key("init")
    (config / "key.pem").chmod(0o644)
    status, _, err = key("export")
    assert status == 2
    assert f"{config}/key.pem: other users may read or write this key (mode 0644); chmod 600 it" in err
