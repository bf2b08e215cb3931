"""Signatures of cosign in OCI registries: found by what refers to a manifest, verified without its layers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from keyless_signing import instance
from servers.fake_registry import FakeRegistry, fake_registry
from servers.fake_sigstore import Defect, Person
from servers.oci_layouts import modelpack
from servers.registry import MANIFEST, Descriptor
from servers.serving import Reply

from weighbridge.artifact import Artifact
from weighbridge.digest import Digest
from weighbridge.errors import UnavailableError
from weighbridge.evidence import referrers, trust_policy
from weighbridge.evidence.base import Evidence, Method
from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.evidence.referrers import SIGN, Attached
from weighbridge.evidence.signers import KeySigner
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.refusals import SignatureInvalid, SignatureMalformed, SignatureMissing, SignerUntrusted
from weighbridge.registries.base import Settings
from weighbridge.registries.oci.registry import OciRegistry

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PROVENANCE = "https://slsa.dev/provenance/v1"
NOW = datetime.now(UTC)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def subject(fake: FakeRegistry) -> Descriptor:
    """Return the model, whose layers the registry has lost: nothing here may ask for them."""
    made = modelpack(fake, "acme/m", "v1")
    fake.blobs.clear()
    return made


@pytest.fixture
def release() -> KeySigner:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    signer = KeySigner(pem, where="release.pem")
    return signer


def policy(folder: Path, release: KeySigner, **rule: Any) -> TrustPolicy:
    """Return a policy that trusts Alice and the key, and requires what is given."""
    root = json.dumps(instance().trusted_root()).encode()
    public = release.public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "root.json").write_bytes(root)
    (folder / "release.pub").write_bytes(public)
    keys = {"source": "oci://**", "require": ["alice"]} | rule
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    path = folder / "trust.toml"
    path.write_text(f"""\
version = 1
[roots.fake]
type = "sigstore"
trusted_root = "root.json"
sha256 = "{hashlib.sha256(root).hexdigest()}"
[signers.alice]
method = "sigstore"
root = "fake"
issuer = "https://login.acme.test"
identity = "alice@acme.test"
[signers.release]
method = "key"
public_key = "release.pub"
sha256_spki = "{release.identity.removeprefix("sha256:")}"
[[rules]]
{lines}
""")
    return trust_policy.read(path)


def statement(digest: str, predicate_type: str = SIGN, **more: Any) -> bytes:
    """Return a statement as cosign writes it: a subject without a name, and no predicate."""
    value = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": predicate_type,
    }
    return json.dumps(value | more).encode()


def attach(fake: FakeRegistry, subject: Descriptor, raw: bytes, media_type: str = BUNDLE, **more: Any) -> Descriptor:
    """Push a bundle that refers to a manifest, and return its descriptor."""
    empty = fake.blob("acme/m", b"{}", "application/vnd.oci.empty.v1+json")
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": BUNDLE,
        "config": empty,
        "layers": [fake.blob("acme/m", raw, media_type)],
        "subject": subject,
        "annotations": {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": SIGN},
    }
    return fake.manifest("acme/m", document | more)


def collect(fake: FakeRegistry, subject: Descriptor, *listed: Descriptor) -> Attached:
    """Have the registry list what refers to the model, and ask it."""
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": list(listed)}
    headers = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
    fake.replies["/v2/acme/m/referrers/"] = Reply(200, headers, json.dumps(index).encode())
    registry = OciRegistry(Settings(timeout=5, retries=0, notice=lambda _: None), environment={})
    artifact = registry.resolve(f"oci+http://{fake.host}/acme/m:v1")
    assert artifact.revision == subject["digest"]
    return referrers.collect(registry.repository(artifact), revision(artifact), artifact.pinned)


def revision(artifact: Artifact) -> Digest:
    return Digest(*artifact.revision.split(":"))


def check(attached: Attached, trust: TrustPolicy) -> tuple[Evidence, ...]:
    return referrers.signatures(attached, trust.rules[0], trust, now=NOW)


@pytest.mark.parametrize("version", [1, 2])
def test_a_keyless_signature_is_verified_without_the_layers(
    fake: FakeRegistry, subject: Descriptor, release: KeySigner, tmp_path: Path, version: int
) -> None:
    raw = instance().envelope(statement(subject["digest"]), rekor=version)
    (found,) = check(collect(fake, subject, attach(fake, subject, raw)), policy(tmp_path, release))
    assert (found.kind, found.format, found.predicate_type) == ("signature", "cosign", SIGN)
    assert str(found.subject) == subject["digest"]
    assert found.signature is not None
    assert (found.signature.signer, found.signature.method) == ("alice", Method.SIGSTORE)
    blobs = [request.path for request in fake.asked if "/blobs/" in request.path]
    assert len(blobs) == 1


def test_a_signature_with_a_key_is_verified(
    fake: FakeRegistry, subject: Descriptor, release: KeySigner, tmp_path: Path
) -> None:
    raw = release.sign(statement(subject["digest"]), IN_TOTO)
    trust = policy(tmp_path, release, require=["release"])
    (found,) = check(collect(fake, subject, attach(fake, subject, raw)), trust)
    assert found.signature is not None
    assert found.signature.identity == release.identity


def test_two_signers_are_found_among_many_bundles(
    fake: FakeRegistry, subject: Descriptor, release: KeySigner, tmp_path: Path
) -> None:
    right, other = statement(subject["digest"]), statement("sha256:" + "00" * 32)
    bundles = [
        instance().envelope(other),  # of another model
        instance().envelope(statement(subject["digest"], PROVENANCE)),  # of another kind
        instance().envelope(right, Person(identity="mallory@acme.test")),
        instance().envelope(right, defect=Defect.OTHER_KEY),
        b"{",
        release.sign(right, IN_TOTO),
        instance().envelope(right, rekor=2),
    ]
    listed = [attach(fake, subject, raw) for raw in bundles]
    trust = policy(tmp_path, release, require=["alice", "release"])
    found = check(collect(fake, subject, *listed), trust)
    assert [one.signature.signer for one in found if one.signature] == ["alice", "release"]


def _elsewhere(fake: FakeRegistry, subject: Descriptor) -> Descriptor:
    other = fake.manifest("acme/m", {"schemaVersion": 2, "mediaType": MANIFEST, "config": subject, "layers": []})
    return attach(fake, other, instance().envelope(statement(subject["digest"])))


def _two_layers(fake: FakeRegistry, subject: Descriptor) -> Descriptor:
    layer = fake.blob("acme/m", instance().envelope(statement(subject["digest"])), BUNDLE)
    return attach(fake, subject, b"", layers=[layer, layer])


MISSING: dict[str, tuple[Callable[[FakeRegistry, Descriptor], Descriptor], str]] = {
    "of another model": (
        lambda fake, subject: attach(fake, subject, instance().envelope(statement("sha256:" + "11" * 32))),
        "1 bundles refer to it",
    ),
    "of another kind": (
        lambda fake, subject: attach(fake, subject, instance().envelope(statement(subject["digest"], PROVENANCE))),
        "1 bundles refer to it",
    ),
    "referring to another manifest": (_elsewhere, "0 bundles"),
    "no statement": (lambda fake, subject: attach(fake, subject, instance().envelope(b"{}")), "1 bundles"),
    "over the bytes of the manifest": (
        lambda fake, subject: attach(fake, subject, instance().file(b"manifest")),
        "1 bundles",
    ),
    "no bundle": (lambda fake, subject: attach(fake, subject, b"[]"), "not a JSON object"),
    "two layers": (_two_layers, "2 layers"),
    "of cosign 2": (
        lambda fake, subject: attach(fake, subject, b"{}", "application/vnd.dev.cosign.simplesigning.v1+json"),
        "a signature of cosign before version 3",
    ),
    "of Notary": (lambda fake, subject: attach(fake, subject, b"{}", "application/jose+json"), "of Notary"),
    "something else": (lambda fake, subject: attach(fake, subject, b"{}", "application/spdx+json"), "0 bundles"),
}


@pytest.mark.parametrize(("make", "said"), MISSING.values(), ids=MISSING)
def test_what_is_no_signature_of_the_model_is_missing(
    fake: FakeRegistry,
    subject: Descriptor,
    release: KeySigner,
    tmp_path: Path,
    make: Callable[[FakeRegistry, Descriptor], Descriptor],
    said: str,
) -> None:
    with pytest.raises(SignatureMissing, match=said):
        check(collect(fake, subject, make(fake, subject)), policy(tmp_path, release))


def test_a_wrong_type_in_the_list_and_the_manifest_is_looked_past(
    fake: FakeRegistry, subject: Descriptor, release: KeySigner, tmp_path: Path
) -> None:
    raw = instance().envelope(statement(subject["digest"]))
    listed = attach(fake, subject, raw, artifactType="application/vnd.oci.empty.v1+json") | {"artifactType": "a/b"}
    assert len(check(collect(fake, subject, listed), policy(tmp_path, release))) == 1


def test_without_any_referrer_a_rule_decides(
    fake: FakeRegistry, subject: Descriptor, release: KeySigner, tmp_path: Path
) -> None:
    attached = collect(fake, subject)
    with pytest.raises(SignatureMissing, match="0 bundles refer to it"):
        check(attached, policy(tmp_path, release))
    assert check(attached, policy(tmp_path, release, missing="warn")) == ()


def test_a_signature_that_is_wrong_or_a_stranger_s_is_refused(
    fake: FakeRegistry, subject: Descriptor, release: KeySigner, tmp_path: Path
) -> None:
    right, trust = statement(subject["digest"]), policy(tmp_path, release)
    stranger = attach(fake, subject, instance().envelope(right, Person(identity="mallory@acme.test")))
    with pytest.raises(SignerUntrusted, match=r"mallory@acme\.test"):
        check(collect(fake, subject, stranger), trust)
    broken = attach(fake, subject, instance().envelope(right, defect=Defect.BAD_PROOF))
    with pytest.raises(SignatureInvalid, match="log"):
        check(collect(fake, subject, broken), trust)


def test_what_the_registry_changes_or_lacks_is_passed_over(
    fake: FakeRegistry, subject: Descriptor, release: KeySigner, tmp_path: Path
) -> None:
    changed, lacking = (attach(fake, subject, instance().envelope(statement(subject["digest"]))) for _ in range(2))
    layer = json.loads(fake.manifests[changed["digest"]][1])["layers"][0]["digest"]
    fake.blobs[layer] = fake.blobs[layer].replace(b"payload", b"Payload")
    del fake.manifests[lacking["digest"]]
    attached = collect(fake, subject, changed, lacking)
    assert not attached.bundles
    assert len(attached.passed) == 2
    with pytest.raises(SignatureMissing, match="passed over"):
        check(attached, policy(tmp_path, release))


def test_a_registry_that_does_not_answer_is_no_registry_without_signatures(
    fake: FakeRegistry, subject: Descriptor
) -> None:
    listed = attach(fake, subject, b"{}")
    fake.replies[f"/v2/acme/m/manifests/{listed['digest']}"] = Reply(503, {}, b"")
    with pytest.raises(UnavailableError):
        collect(fake, subject, listed)


def test_more_referrers_than_are_looked_at_are_refused(fake: FakeRegistry, subject: Descriptor) -> None:
    listed = [attach(fake, subject, b"%d" % number) for number in range(referrers.MAX_REFERRERS + 1)]
    with pytest.raises(SignatureMalformed, match="129 manifests refer to it"):
        collect(fake, subject, *listed)


def test_a_bundle_over_the_limit_is_not_fetched(
    fake: FakeRegistry, subject: Descriptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referrers, "MAX_BUNDLE", 100)
    (said,) = collect(fake, subject, attach(fake, subject, b" " * 101)).passed
    assert "a bundle of 101 bytes, limit is 100" in said
    assert not [request for request in fake.asked if "/blobs/" in request.path]


def test_an_attestation_is_verified_with_its_statement(
    fake: FakeRegistry, subject: Descriptor, release: KeySigner, tmp_path: Path
) -> None:
    payload = statement(subject["digest"], PROVENANCE, predicate={"buildDefinition": {}})
    attached = collect(fake, subject, attach(fake, subject, instance().envelope(payload)))
    trust = policy(tmp_path, release)
    (found,) = referrers.attestations(attached, PROVENANCE, trust.rules[0], trust, now=NOW)
    assert (found.evidence.kind, found.evidence.predicate_type) == ("attestation", PROVENANCE)
    assert dict(found.statement.predicate) == {"buildDefinition": {}}
    with pytest.raises(SignatureMissing):
        referrers.attestations(attached, "https://slsa.dev/verification_summary/v1", trust.rules[0], trust, now=NOW)
