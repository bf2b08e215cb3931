"""`weighbridge verify` as a user runs it: what it says, in which words and with which status."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import certifying
import pytest
from keyless_signing import instance
from oms_files import FILES, bundle, key, keys, payload, resources, write
from servers.fake_hub import FakeHub
from servers.fake_registry import FakeRegistry, fake_registry
from servers.fake_sigstore import ALICE
from servers.oci_layouts import modelpack
from servers.registry import MANIFEST, Descriptor
from servers.serving import Reply

from weighbridge import lock as locks
from weighbridge.artifact import Entry, Manifest
from weighbridge.cli import _run
from weighbridge.cli.group import run
from weighbridge.evidence.keys import key_digest
from weighbridge.evidence.signers import CertificateSigner
from weighbridge.lock import Lock, Locked, LockedFile, Passed

Command = Callable[..., tuple[int, str, str]]
TREE = str(
    Manifest(
        entries=tuple(Entry(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in FILES.items())
    ).digest
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what the person has on the machine out of the tests."""
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("WEIGHBRIDGE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WEIGHBRIDGE_TRUST", raising=False)


@pytest.fixture
def verify(capfd: pytest.CaptureFixture[str]) -> Command:
    """Return what runs the command and gives its status, its output and its errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        status = _run(run, ["verify", *map(str, arguments)])
        return status, *capfd.readouterr()

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a folder that is signed with a key, whose public half lies beside it."""
    keys(tmp_path)
    folder = write(tmp_path / "model")
    (folder / "model.sig").write_bytes(bundle(payload()))
    return folder


@pytest.fixture
def public(tmp_path: Path) -> Path:
    return tmp_path / "k.pub.pem"


def test_what_is_verified_is_said(verify: Command, model: Path, public: Path) -> None:
    status, out, err = verify(model, "--key", public)
    identity = key_digest(key().public_key())
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"verified: {model}",
        f"  signed by given ({identity}), with a key",
        f"  covered: 3 files, tree {TREE}",
        "  not covered: 1 file",
        "    model.sig",
    ]


def test_programs_get_a_document(verify: Command, model: Path, public: Path) -> None:
    status, out, err = verify(model, "--key", public, "--format", "json")
    found = json.loads(out)
    assert (status, err, found["verified"], found["signed"], found["tree"]) == (0, "", True, True, TREE)
    assert found["covered"] == sorted(FILES)
    assert found["uncovered"] == ["model.sig"]
    (evidence,) = found["evidence"]
    assert (evidence["format"], evidence["method"], evidence["signer"]) == ("oms-1.0", "key", "given")
    (model / "config.json").write_bytes(b"[]")
    (model / "\u202eevil").write_bytes(b"")
    status, out, err = verify(model, "--key", public, "--format", "json")
    found = json.loads(out)
    assert (status, err, found["verified"], found["code"]) == (1, "", False, "CONTENT_MISMATCH")
    assert (found["changed"], found["missing"], found["extra"]) == (["config.json"], [], ["\\u202eevil"])


def test_a_document_says_which_step_failed_and_who_signed(verify: Command, model: Path, public: Path) -> None:
    signed = json.loads(bundle(payload()))
    envelope = signed["dsseEnvelope"]
    envelope["payload"] = base64.b64encode(payload(ignore_paths=["x"])).decode()
    (model / "model.sig").write_text(json.dumps(signed))
    found = json.loads(verify(model, "--key", public, "--format", "json")[1])
    assert (found["code"], found["step"]) == ("SIG_INVALID", "signature")
    (model / "model.sig").write_bytes(instance().envelope(payload()))
    (model.parent / "root.json").write_text(json.dumps(instance().trusted_root()))
    who = ("--identity", "bob@acme.test", "--issuer", ALICE.issuer, "--trusted-root", model.parent / "root.json")
    found = json.loads(verify(model, *who, "--format", "json")[1])
    assert found["code"] == "SIGNER_UNTRUSTED" and found["fix"]
    assert ALICE.identity in found["actual"] and "bob@acme.test" in found["expected"]


def test_every_file_of_a_mismatch_is_named_and_nothing_drives_the_terminal(
    verify: Command, model: Path, public: Path
) -> None:
    write(model, {f"{number}.\u202epy": b"" for number in range(5)})
    status, out, err = verify(model, "--key", public)
    assert status == 1
    assert out.splitlines() == [f"not covered: {number}.\\u202epy" for number in range(5)]
    assert err.startswith(f"weighbridge: refused: {model}: 5 not covered (0.")
    assert "[CONTENT_MISMATCH]; remove them, or name what may lie there unsigned" in err
    arguments = [part for number in range(5) for part in ("--ignore", f"{number}.\u202epy")]
    assert verify(model, "--key", public, *arguments)[0] == 0


def _write_policy(folder: Path, **rule: Any) -> Path:
    settings = {"source": "hf://acme/*", "require": ["release"]} | rule
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    path = folder / "trust.toml"
    path.write_text(
        f"""version = 1
[signers.release]
method = "key"
public_key = "k.pub.pem"
sha256_spki = "{key_digest(key().public_key()).value}"
[[rules]]
"""
        + "\n".join(lines)
    )
    return path


def test_a_trust_policy_decides_by_source(verify: Command, model: Path, tmp_path: Path) -> None:
    policy = _write_policy(tmp_path)
    status, out, _ = verify(model, "--trust", policy, "--source", "hf://acme/bert")
    assert status == 0
    assert "signed by release (sha256:" in out
    for source in (["--source", "hf://other/bert"], []):
        status, out, err = verify(model, "--trust", policy, *source)
        assert (status, out) == (1, "")
        assert "has no rule for this source" in err
        assert "[POLICY_NO_RULE]" in err


def test_the_policy_of_the_environment_is_used_by_default(
    verify: Command, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verify(model)[0] == 1
    monkeypatch.setenv("WEIGHBRIDGE_TRUST", str(_write_policy(tmp_path, source="file://**")))
    assert verify(model)[0] == 0
    monkeypatch.setenv("WEIGHBRIDGE_TRUST", str(tmp_path / "nowhere.toml"))
    assert verify(model)[0] == 2


def test_what_a_rule_lets_in_unsigned_is_said_first(verify: Command, tmp_path: Path) -> None:
    keys(tmp_path)
    folder = write(tmp_path / "m", {**FILES, "A": b"", "a": b""})
    policy = _write_policy(tmp_path, missing="warn")
    status, out, _ = verify(folder, "--trust", policy, "--source", "hf://acme/m")
    lines = out.splitlines()
    assert status == 0
    assert lines[0] == f"UNSIGNED: {folder}: the trust policy lets it in without a signature"
    assert "  not covered: 5 files" in lines
    assert "  warning: no signature, and release should have signed" in lines
    assert "  warning: A and a are one on some systems" in lines
    found = json.loads(verify(folder, "--trust", policy, "--source", "hf://acme/m", "--format", "json")[1])
    assert (found["verified"], found["signed"], found["covered"]) == (True, False, [])


def test_certificates_are_believed_by_subject(verify: Command, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    begin, end = now - timedelta(days=1), now + timedelta(days=1)
    root = certifying.authority("Root", begin=begin, end=end)
    leaf = certifying.signer(root, begin=begin, end=end)
    folder = write(tmp_path / "m")
    signer = CertificateSigner(leaf.key_pem, [leaf.pem], where="leaf.pem")
    (folder / "model.sig").write_bytes(signer.sign(payload(), "application/vnd.in-toto+json"))
    (tmp_path / "root.pem").write_bytes(root.pem)
    chain = ("--certificate-chain", tmp_path / "root.pem")
    status, out, err = verify(folder, *chain, "--subject", certifying.SUBJECT)
    assert (status, err) == (0, "")
    assert f"signed by given ({certifying.SUBJECT}, issuer CN=Root), with a certificate" in out
    status, _, err = verify(folder, *chain, "--subject", "CN=Somebody")
    assert status == 1
    assert "[SIGNER_UNTRUSTED]" in err


def test_keyless_identities_are_believed_offline(
    verify: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "m")
    (folder / "model.sig").write_bytes(instance().envelope(payload()))
    (tmp_path / "root.json").write_text(json.dumps(instance().trusted_root()))
    monkeypatch.setattr(socket.socket, "connect", None)
    who = ("--issuer", ALICE.issuer, "--trusted-root", tmp_path / "root.json", "--offline")
    status, out, err = verify(folder, "--identity", ALICE.identity, *who)
    assert (status, err) == (0, "")
    assert f"signed by given ({ALICE.identity}, issuer {ALICE.issuer}), with a keyless identity" in out
    assert "signed at 20" in out
    status, _, err = verify(folder, "--identity", "mallory@acme.test", *who)
    assert status == 1
    assert "[SIGNER_UNTRUSTED]" in err
    assert ALICE.identity in err


def test_a_list_of_digests_says_that_nobody_signed(verify: Command, tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    sums = folder / "SHA256SUMS"
    sums.write_text("".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in FILES.items()))
    status, out, _ = verify(folder, "--checksums", sums)
    assert status == 0
    assert out.splitlines() == [
        f"verified: {folder}",
        "  every file as the list of digests says, which nobody signed",
        f"  covered: 3 files, tree {TREE}",
        "  not covered: 1 file",
        "    SHA256SUMS",
    ]
    assert json.loads(verify(folder, "--checksums", sums, "--format", "json")[1])["signed"] is False
    write(folder, {"extra": b""})
    assert verify(folder, "--checksums", sums)[0] == 1
    assert verify(folder, "--checksums", sums, "--ignore", "extra")[0] == 0
    assert verify(folder, "--checksums", sums, "--key", keys(tmp_path)[1])[0] == 1  # and a signature is asked for


def test_a_list_is_held_beside_a_signature(verify: Command, model: Path, public: Path, tmp_path: Path) -> None:
    sums = tmp_path / "SHA256SUMS"
    sums.write_text("".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in FILES.items()))
    status, out, _ = verify(model, "--checksums", sums, "--key", public)
    assert status == 0
    assert "signed by given" in out
    assert "every file as the list of digests says" in out
    sums.write_text(sums.read_text().replace("config.json", "config.yaml"))
    assert verify(model, "--checksums", sums, "--key", public)[0] == 1


def _lock(path: Path, files: dict[str, bytes]) -> Path:
    entries = tuple(Entry(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items())
    model = Locked(
        source="hf://acme/m",
        requested="main",
        revision="1" * 40,
        tree=str(Manifest(entries=entries).digest),
        files=tuple(LockedFile(path=one.path, size=one.size, sha256=one.sha256) for one in entries),
        verdict=Passed(policy="default", policy_digest="", rules_digest="", weighbridge="0"),
    )
    locks.write(Lock(version=1, models=(model,)), path)
    return path


def test_a_lock_says_what_a_folder_must_be(verify: Command, tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    inside = _lock(folder / locks.NAME, FILES)
    status, out, _ = verify(folder, "--lock", inside)
    assert status == 0
    assert "every file as the lock says, which nobody signed" in out
    assert verify(folder, "--lock", inside, "--source", "hf://acme/m@main")[0] == 0
    assert verify(folder, "--lock", inside, "--source", "hf://acme/other")[0] == 2
    (folder / "config.json").write_bytes(b"[]")
    assert verify(folder, "--lock", inside)[0] == 1


def test_the_lock_of_a_pull_is_no_stranger_and_nothing_else_with_its_name(
    verify: Command, model: Path, public: Path
) -> None:
    _lock(model / locks.NAME, FILES)
    assert verify(model, "--key", public)[0] == 0
    (model / locks.NAME).write_bytes(b"\x80\x04.")
    assert verify(model, "--key", public)[0] == 1
    (model / locks.NAME).unlink()
    _lock(write(model / "sub") / locks.NAME, FILES)
    assert verify(model, "--key", public)[0] == 1


def test_a_signature_may_lie_elsewhere_and_a_file_alone(verify: Command, public: Path, tmp_path: Path) -> None:
    keys(tmp_path)
    folder, signature = write(tmp_path / "m", {"weights.bin": b"1"}), tmp_path / "x.sig"
    signature.write_bytes(bundle(payload(resources({".": b"1"}))))
    assert verify(folder / "weights.bin", "--key", public, "--signature", signature)[0] == 0
    assert verify(folder, "--key", public, "--signature", signature)[0] == 1
    inside = folder / "any.name"
    inside.write_bytes(bundle(payload(resources({"weights.bin": b"1"}))))
    status, out, _ = verify(folder, "--key", public, "--signature", inside)
    assert status == 0
    assert "    any.name" in out


WRONG: dict[str, tuple[object, ...]] = {
    "two signers": ("--key", "k.pub.pem", "--identity", "a@b"),
    "a signer and a policy": ("--key", "k.pub.pem", "--trust", "trust.toml"),
    "no such key": ("--key", "nowhere.pem"),
    "a folder for a key": ("--key", "/"),
    "an identity without an issuer": ("--identity", "a@b", "--trusted-root", "k.pub.pem"),
    "an identity without a root": ("--identity", "a@b", "--issuer", "https://x"),
    "an identity with a wildcard": ("--identity", "*@b", "--issuer", "https://x", "--trusted-root", "k.pub.pem"),
    "an issuer without an identity": ("--key", "k.pub.pem", "--issuer", "https://x"),
    "authorities without a subject": ("--certificate-chain", "k.pub.pem"),
    "a subject without authorities": ("--subject", "CN=x"),
    "an empty subject": ("--certificate-chain", "k.pub.pem", "--subject", ""),
    "ignored paths with a policy": ("--ignore", "x"),
    "no such signature": ("--key", "k.pub.pem", "--signature", "nowhere.sig"),
    "no such list": ("--checksums", "nowhere"),
    "no such lock": ("--lock", "nowhere.lock"),
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_options_that_make_no_sense_are_usage_errors(
    arguments: tuple[object, ...], verify: Command, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = verify(model, *arguments)
    assert (status, out) == (2, "")
    assert err.isprintable() or err.count("\n") >= 1


def test_a_place_that_is_none_and_a_key_that_is_none(verify: Command, model: Path, tmp_path: Path) -> None:
    assert verify(tmp_path / "nowhere")[0] == 4
    assert verify("xyz://acme/m")[0] == 2
    (tmp_path / "bad.pem").write_bytes(b"no key")
    status, _, err = verify(model, "--key", tmp_path / "bad.pem")
    assert status == 2
    assert "not a public key in PEM" in err


def test_a_model_on_the_hub_is_fetched_and_verified(
    verify: Command, hub: FakeHub, tmp_path: Path, public: Path
) -> None:
    keys(tmp_path)
    hub.publish("acme/signed", {**FILES, "model.sig": bundle(payload())})
    status, out, _ = verify("hf://acme/signed", "--key", public)
    assert status == 0
    assert f"covered: 3 files, tree {TREE}" in out
    assert verify("hf://acme/signed", "--key", public)[0] == 0  # from the store, digested anew
    status, _, err = verify("hf://acme/signed", "--key", public, "--offline")
    assert status == 1
    assert "[OFFLINE]" in err
    assert verify("hf://acme/signed", "--source", "hf://acme/other", "--key", public)[0] == 2
    policy = _write_policy(tmp_path, pin="required")
    assert verify("hf://acme/signed", "--trust", policy)[0] == 1
    hub.publish("acme/signed", {**FILES, "config.json": b"[]", "model.sig": bundle(payload())})
    status, _, err = verify("hf://acme/signed", "--key", public)
    assert status == 1
    assert "1 changed (config.json)" in err


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as fake:
        yield fake


def _refer(fake: FakeRegistry, subject: Descriptor) -> None:
    """Put a bundle of cosign's kind beside a manifest, signed with our key, and list it."""
    stated = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": subject["digest"].removeprefix("sha256:")}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
    }
    kind, index = "application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.oci.image.index.v1+json"
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": fake.blob("acme/m", b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [fake.blob("acme/m", bundle(json.dumps(stated).encode()), kind)],
        "subject": subject,
    }
    listed = {"schemaVersion": 2, "mediaType": index, "manifests": [fake.manifest("acme/m", document)]}
    reply = Reply(200, {"Content-Type": index}, json.dumps(listed).encode())
    fake.replies["/v2/acme/m/referrers/"] = reply


def test_a_manifest_in_a_registry_is_verified_without_its_layers(
    verify: Command, registry: FakeRegistry, public: Path, tmp_path: Path
) -> None:
    keys(tmp_path)
    subject = modelpack(registry, "acme/m", "v1")
    digest = subject["digest"]
    registry.blobs.clear()
    name = f"oci+http://{registry.host}/acme/m"
    reference = f"{name}:v1"
    status, _, err = verify(reference, "--key", public)
    assert status == 1
    assert "[SIG_MISSING]" in err
    assert "[SIG_MISSING]" in err
    _refer(registry, subject)
    status, out, _ = verify(reference, "--key", public)
    assert status == 0
    assert "signed by given" in out
    assert f"manifest {digest}" in out
    assert "not covered" not in out
    policy = _write_policy(tmp_path, source="oci**", pin="required")
    assert verify(reference, "--trust", policy)[0] == 1
    assert verify(f"{name}@{digest}", "--trust", policy)[0] == 0
    policy.write_text(policy.read_text() + f'\n[deny]\ntree_sha256 = ["{digest}"]\n')
    assert verify(f"{name}@{digest}", "--trust", policy)[0] == 1


def test_a_signature_among_the_layers_is_found_when_nothing_refers_to_the_manifest(
    verify: Command, registry: FakeRegistry, public: Path, tmp_path: Path
) -> None:
    keys(tmp_path)
    kind = "application/vnd.cncf.model"
    layers = [
        registry.blob("acme/m", data, f"{kind}.weight.v1.raw", annotations={"org.cncf.model.filepath": path})
        for path, data in {**FILES, "model.sig": bundle(payload())}.items()
    ]
    config = registry.blob("acme/m", b"{}", f"{kind}.config.v1+json")
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
    registry.manifest("acme/m", {**document, "artifactType": f"{kind}.manifest.v1+json"}, "v1")
    reference = f"oci+http://{registry.host}/acme/m:v1"
    status, _, err = verify(reference, "--key", public)
    assert status == 1
    extra = f"vnd.cncf.model.config.v1+json-{config['digest'][7:19]}"
    assert f"1 not covered ({extra})" in err
    status, out, err = verify(reference, "--key", public, "--ignore", extra)
    assert status == 0, err
    assert f"covered: 3 files, tree {TREE}" in out


def test_verifying_with_a_key_imports_no_sigstore_and_no_rules(model: Path, public: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "weighbridge", "verify", str(model), "--key", str(public)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    ).stderr
    names = {line.rpartition("|")[2].strip() for line in told.splitlines()}
    assert "weighbridge.evidence.verifier" in names
    assert not names & {"sigstore", "securesystemslib", "weighbridge.formats.pickle", "yaml", "httpx2", "blake3"}


def test_a_trust_policy_that_came_with_the_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "trust.toml").write_text("version = 1\n")
    monkeypatch.setenv("WEIGHBRIDGE_TRUST", str(folder / "trust.toml"))
    for arguments in ([], ["--trust", str(folder / "trust.toml")]):
        assert _run(run, ["verify", str(folder), *arguments]) == 2
        assert "it came with the model" in capfd.readouterr().err


def test_an_option_that_names_no_key_is_wrong_usage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert _run(run, ["verify", str(folder), "--key", str(folder / "config.json")]) == 2
    assert "config.json: not a public key in PEM" in capfd.readouterr().err
