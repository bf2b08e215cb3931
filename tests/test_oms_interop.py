"""Interoperation with `model_signing`: each verifies what the other signs, and neither what was changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import certifying
import model_signing
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from oms_files import FILES, key, keys, trust, write

from weighbridge.cli.signing import check_made
from weighbridge.digest import Digest
from weighbridge.evidence import oms_write, requirement
from weighbridge.evidence.base import Method
from weighbridge.evidence.signers import CertificateSigner, KeySigner
from weighbridge.evidence.tree import Tree
from weighbridge.evidence.trust_entries import Root, RootType, TrustedSigner
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.refusals import ContentMismatch

# Its classes have no types.
hashing: Any = model_signing.hashing
signing: Any = model_signing.signing
verifying: Any = model_signing.verifying

CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
SIGNATURE = "model.sig"
NOW = datetime.now(UTC)

HASHING: dict[str, Callable[[], Any]] = {
    "sha256": hashing.Config,
    "blake2b": lambda: hashing.Config().use_file_serialization(hashing_algorithm="blake2"),
    "blake3": lambda: hashing.Config().use_file_serialization(hashing_algorithm="blake3"),
    "shards": lambda: hashing.Config().use_shard_serialization(shard_size=1000),
    "shards of a gigabyte": lambda: hashing.Config().use_shard_serialization(),
    "shards with blake2b": lambda: hashing.Config().use_shard_serialization(shard_size=999, hashing_algorithm="blake2"),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a folder whose names sort differently by parts and by characters."""
    return write(tmp_path / "model", {**FILES, "a/b": b"1", "a-b": b"2", "a.b": b"3", "ä b": b"4"})


def theirs(model: Path, private: Any, config: Any = None) -> Path:
    """Sign a model with `model_signing`, and return where the signature is: beside the model."""
    hidden, _ = keys(model.parent, private)
    signature = model.parent / SIGNATURE
    signing.Config().use_elliptic_key_signer(private_key=hidden).set_hashing_config(config or hashing.Config()).sign(
        model, signature
    )
    return signature


def verified(model: Path, signature: Path, policy: TrustPolicy) -> requirement.Satisfied:
    with Tree(model) as opened:
        given = {str(signature): signature.read_bytes()}
        return requirement.require(opened, "file:///model", policy, now=NOW, given=given)


def ours(model: Path, signer: Any) -> Path:
    signature = model / SIGNATURE
    oms_write.sign(model, signature, signer, lambda made: check_made(signer, made))
    return signature


@pytest.mark.parametrize("curve", CURVES)
def test_a_folder_that_they_sign_with_a_key_is_verified(curve: type[ec.EllipticCurve], model: Path) -> None:
    signature, policy = theirs(model, key(curve)), trust(model.parent, key(curve))
    assert verified(model, signature, policy).uncovered == ()
    write(model, {"a-b": b"5"})
    with pytest.raises(ContentMismatch, match=r"1 changed \(a-b\)"):
        verified(model, signature, policy)


@pytest.mark.parametrize("config", HASHING.values(), ids=HASHING)
def test_every_way_in_which_they_digest_is_understood(config: Callable[[], Any], model: Path) -> None:
    signature = theirs(model, key(), config())
    found = verified(model, signature, trust(model.parent))
    assert (found.signed, found.uncovered) == (True, ())
    with Tree(model) as opened:
        assert found.tree == requirement._tree(opened, opened.paths)
    write(model, {"weights/model.safetensors": b"\0" * 2999 + b"\1"})
    with pytest.raises(ContentMismatch, match="1 changed"):
        verified(model, signature, trust(model.parent))


@pytest.mark.parametrize("config", HASHING.values(), ids=HASHING)
def test_a_single_file_that_they_sign_is_verified(config: Callable[[], Any], tmp_path: Path) -> None:
    model = write(tmp_path, {"weights.bin": b"w" * 2500}) / "weights.bin"
    assert verified(model, theirs(model, key(), config()), trust(tmp_path)).signed


def test_what_they_leave_out_is_refused_until_it_is_named(model: Path) -> None:
    write(model, {".gitattributes": b"*", ".git/HEAD": b"ref"})
    signature = theirs(model, key())
    with pytest.raises(ContentMismatch) as caught:
        verified(model, signature, trust(model.parent))
    assert caught.value.extra == (".git/HEAD", ".gitattributes")
    lenient = trust(model.parent, ignored_paths=(".git", ".gitattributes"))
    assert verified(model, signature, lenient).uncovered == (".git/HEAD", ".gitattributes")


def test_an_empty_file_has_no_shard_and_is_not_covered(model: Path) -> None:
    write(model, {"__init__.py": b""})
    signature = theirs(model, key(), HASHING["shards"]())
    with pytest.raises(ContentMismatch, match=r"not covered \(__init__\.py\)"):
        verified(model, signature, trust(model.parent))


@pytest.mark.parametrize("curve", CURVES)
def test_a_folder_that_we_sign_with_a_key_is_verified_by_them(curve: type[ec.EllipticCurve], model: Path) -> None:
    _, public = keys(model.parent, key(curve))
    signature = ours(model, KeySigner(certifying.private_pem(key(curve)), where="k.pem"))
    config = verifying.Config().use_elliptic_key_verifier(public_key=public)
    config.verify(model, signature)
    write(model, {"a-b": b"5"})
    with pytest.raises(ValueError, match="a-b"):
        verifying.Config().use_elliptic_key_verifier(public_key=public).verify(model, signature)


def test_files_of_git_that_we_sign_are_verified_by_them_when_told(model: Path) -> None:
    write(model, {".gitattributes": b"*"})
    _, public = keys(model.parent)
    signature = ours(model, KeySigner(certifying.private_pem(key()), where="k.pem"))
    config = hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
    verifying.Config().use_elliptic_key_verifier(public_key=public).set_hashing_config(config).verify(model, signature)


@pytest.fixture
def chain(tmp_path: Path) -> tuple[certifying.Held, certifying.Held, TrustPolicy]:
    """Return an authority, who signs below it, and the policy that trusts the root above both."""
    span: dict[str, Any] = {"begin": NOW - timedelta(days=1), "end": NOW + timedelta(days=1)}
    root = certifying.authority("Root", **span)
    middle = certifying.authority("Middle", root, **span)
    leaf = certifying.signer(middle, **span)
    path = tmp_path / "root.pem"
    path.write_bytes(root.pem)
    trusted = Root(type=RootType.X509, pem=path.name, sha256=Digest.of(root.pem).value, name="root", path=path)
    signer = TrustedSigner(method=Method.CERTIFICATE, root="root", subject=certifying.SUBJECT, name="signer0")
    policy = replace_signer(trust(tmp_path), trusted, signer)
    return middle, leaf, policy


def replace_signer(policy: TrustPolicy, root: Root, signer: TrustedSigner) -> TrustPolicy:
    return TrustPolicy(where=policy.where, roots={"root": root}, signers={"signer0": signer}, rules=policy.rules)


def test_certificates_are_verified_both_ways(
    model: Path, chain: tuple[certifying.Held, certifying.Held, TrustPolicy], tmp_path: Path
) -> None:
    middle, leaf, policy = chain
    places = {"leaf.pem": leaf.key_pem, "leaf.crt": leaf.pem, "middle.crt": middle.pem}
    write(tmp_path, places)
    theirs_at = tmp_path / SIGNATURE
    signing.Config().use_certificate_signer(
        private_key=tmp_path / "leaf.pem",
        signing_certificate=tmp_path / "leaf.crt",
        certificate_chain=[tmp_path / "middle.crt"],
    ).sign(model, theirs_at)
    (evidence,) = verified(model, theirs_at, policy).evidence
    assert evidence.signature is not None
    assert evidence.signature.identity == certifying.SUBJECT
    made = ours(model, CertificateSigner(leaf.key_pem, [leaf.pem, middle.pem], where="leaf.pem"))
    verifying.Config().use_certificate_verifier(certificate_chain=[tmp_path / "root.pem"]).verify(model, made)
    write(model, {"a-b": b"5"})
    with pytest.raises(ContentMismatch):
        verified(model, theirs_at, policy)
