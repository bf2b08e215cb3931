"""Signatures over plain files, and statements about files by their digests."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from oms_files import bundle as enveloped
from oms_files import key, keys, trust

from weighbridge import cli
from weighbridge.cli import group
from weighbridge.evidence import statement
from weighbridge.evidence.requirement import Satisfied, require
from weighbridge.evidence.statement import Subject
from weighbridge.evidence.tree import Tree
from weighbridge.refusals import ContentMismatch, SignatureInvalid, SignatureMalformed, SignatureUnsupported

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WEIGHTS = b"weights"


def signed_file(data: bytes, **changed: Any) -> bytes:
    """Return what `cosign sign-blob --bundle` writes with a key of one's own."""
    digest = hashlib.sha256(data).digest()
    made = key().sign(digest, ec.ECDSA(Prehashed(SHA256())))
    document = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": ""}},
        "messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": base64.b64encode(digest).decode()},
            "signature": base64.b64encode(made).decode(),
        },
    }
    document["messageSignature"]["messageDigest"].update(changed)  # type: ignore[index]
    return json.dumps(document).encode()


def stated(predicate_type: str, *data: bytes, algorithm: str = "sha256") -> bytes:
    subjects = [Subject(name="other", digests={algorithm: hashlib.sha256(one).hexdigest()}) for one in data]
    return enveloped(statement.render(subjects, predicate_type, {}))


def held(path: Path, raw: bytes, tmp_path: Path, **rule: Any) -> Satisfied:
    policy = trust(tmp_path, key(), **rule)
    with Tree(path) as tree:
        return require(tree, "file:///m", policy, now=NOW, given={"m.sigstore.json": raw})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    return folder


def test_a_signature_over_a_file_covers_that_file(model: Path, tmp_path: Path) -> None:
    for path in (model, model / "model.safetensors"):
        (evidence,) = held(path, signed_file(WEIGHTS), tmp_path).evidence
        assert (evidence.kind, evidence.format) == ("signature", "file")
        assert [Path(one).name for one in evidence.covered] == ["model.safetensors"]
        assert evidence.signature and evidence.signature.payload == hashlib.sha256(WEIGHTS).digest()


def test_a_file_that_is_not_the_signed_one_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ContentMismatch, match=r"1 not covered \(model\.safetensors\)"):
        held(model, signed_file(b"other"), tmp_path)
    (model / "evil.pkl").write_bytes(b"evil")
    with pytest.raises(ContentMismatch, match=r"1 not covered \(evil\.pkl\)"):
        held(model, signed_file(WEIGHTS), tmp_path)
    found = held(model, signed_file(WEIGHTS), tmp_path, unsigned_files="warn")
    assert found.uncovered == ("evil.pkl",)
    assert found.warnings == ("no signature covers evil.pkl",)
    with pytest.raises(ContentMismatch):
        held(model, signed_file(b"other"), tmp_path, unsigned_files="warn")
    assert held(model, signed_file(WEIGHTS), tmp_path, ignored_paths=("evil.pkl",)).uncovered == ("evil.pkl",)


def test_a_digest_that_was_not_signed_is_refused(model: Path, tmp_path: Path) -> None:
    other = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    with pytest.raises(SignatureInvalid):
        held(model, signed_file(WEIGHTS, digest=other), tmp_path)
    with pytest.raises(SignatureUnsupported):
        held(model, signed_file(WEIGHTS, algorithm="SHA2_512"), tmp_path)


@pytest.mark.parametrize("kind", ["https://slsa.dev/provenance/v1", "https://sigstore.dev/cosign/sign/v1"])
def test_a_statement_that_vouches_covers_files_by_their_digests(kind: str, model: Path, tmp_path: Path) -> None:
    (model / "config.json").write_bytes(b"{}")
    (evidence,) = held(model, stated(kind, WEIGHTS, b"{}", b"not here"), tmp_path).evidence
    assert (evidence.kind, evidence.predicate_type) == ("attestation", kind)
    assert evidence.covered == ("config.json", "model.safetensors")
    with pytest.raises(ContentMismatch):
        held(model, stated(kind, WEIGHTS), tmp_path)
    with pytest.raises(SignatureUnsupported, match="other digests"):
        held(model, stated(kind, WEIGHTS, b"{}", algorithm="sha512"), tmp_path)


@pytest.mark.parametrize("kind", ["https://cyclonedx.org/bom", "https://in-toto.io/attestation/vulns/v0.2", ""])
def test_a_statement_that_vouches_for_nothing_covers_nothing(kind: str, model: Path, tmp_path: Path) -> None:
    with pytest.raises(SignatureUnsupported, match="says nothing of a model's files"):
        held(model, stated(kind, WEIGHTS), tmp_path)


def test_an_envelope_never_passes_for_a_file(model: Path, tmp_path: Path) -> None:
    raw = enveloped(hashlib.sha256(WEIGHTS).digest(), payload_type="")
    with pytest.raises(SignatureMalformed, match="payloadType is empty"):
        held(model, raw, tmp_path)


def test_the_command_verifies_a_signed_file(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, public = keys(tmp_path, key())
    (tmp_path / "m.sigstore.json").write_bytes(signed_file(WEIGHTS))
    options = ["--key", str(public), "--signature", str(tmp_path / "m.sigstore.json")]
    assert cli._run(group.run, ["verify", str(model / "model.safetensors"), *options]) == 0
    assert "model.safetensors" in capfd.readouterr().out
    (model / "model.safetensors").write_bytes(b"changed")
    assert cli._run(group.run, ["verify", str(model / "model.safetensors"), *options]) == 1
    assert "[CONTENT_MISMATCH]" in capfd.readouterr().err
