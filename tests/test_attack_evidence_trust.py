"""Attempts to get by a trust policy: what it denies, for whom a rule is, and for what a signature was made."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from keyless_signing import instance
from oms_files import FILES, NOW, bundle, key, keys, payload, resources, trust, write
from servers.fake_sigstore import ALICE

from weighbridge import attest, cli, refusals, registries
from weighbridge.artifact import Entry, tree_digest
from weighbridge.cli import group
from weighbridge.digest import Digest
from weighbridge.errors import Refusal, UsageError
from weighbridge.evidence import bundle as bundles
from weighbridge.evidence import home, requirement, verifier
from weighbridge.evidence.base import Method
from weighbridge.evidence.fingerprints import twins
from weighbridge.evidence.keys import key_digest, pem_digest
from weighbridge.evidence.statement import SUMMARY, TREE
from weighbridge.evidence.tree import Tree
from weighbridge.evidence.trust_policy import (
    OWN_VERIFIER,
    Deny,
    Missing,
    Root,
    RootType,
    SourceRule,
    TrustedSigner,
    TrustPolicy,
)
from weighbridge.refusals import ApprovalRevoked, SignatureInvalid, SignerUntrusted

HEX = "ab" * 32


pytestmark = pytest.mark.usefixtures("own_places")


def run(*arguments: object) -> int:
    """Return the exit status of a command, as the process would have it."""
    return cli._run(group.run, list(map(str, arguments)))


# What is denied


def tree_of(*paths: str) -> str:
    """Return the tree digest of some of the files."""
    entries = (Entry(path, len(FILES[path]), hashlib.sha256(FILES[path]).hexdigest()) for path in paths)
    return tree_digest(entries).value


def test_the_tree_that_is_told_of_two_signatures_can_be_denied(tmp_path: Path) -> None:
    """Each of them covers more than both do together, and what they both cover is what every report names."""
    folder, (first, *others, last) = write(tmp_path / "m"), sorted(FILES)
    for name, left_out, private in (("model.sig", first, key()), ("b.oms.sig", last, key(number=1))):
        listed = resources({path: data for path, data in FILES.items() if path != left_out})
        (folder / name).write_bytes(bundle(payload(listed), private))

    def required(*denied: str) -> requirement.Satisfied:
        policy = trust(tmp_path, key(), key(number=1), deny=denied, ignored_paths=(first, last))
        with Tree(folder) as opened:
            return requirement.require(opened, "hf://acme/m", policy, now=NOW)

    told = required().tree.value
    assert told == tree_of(*others)
    for denied in (told, tree_of(*others, first), tree_of(*others, last), tree_of(*FILES)):
        with pytest.raises(ApprovalRevoked):
            required(denied)


def keyless(folder: Path, *denied: str) -> tuple[bundles.Bundle, TrustedSigner, TrustPolicy]:
    """Return a keyless bundle, who signed it, and a policy that denies certificates."""
    raw = json.dumps(instance().trusted_root()).encode()
    (folder / "root.json").write_bytes(raw)
    root = Root(
        type=RootType.SIGSTORE,
        trusted_root="root.json",
        sha256=Digest.of(raw).value,
        name="public",
        path=folder / "root.json",
    )
    alice = TrustedSigner(
        method=Method.SIGSTORE, root="public", issuer=ALICE.issuer, identity=ALICE.identity, name="alice"
    )
    policy = TrustPolicy(
        where="trust.toml", roots={"public": root}, signers={"alice": alice}, deny=Deny(cert_sha256=denied)
    )
    return bundles.parse(instance().envelope(payload()), "model.sig"), alice, policy


def test_a_denied_authority_of_sigstore_vouches_for_nothing(tmp_path: Path) -> None:
    """The bundle has the leaf alone; those above it are in the trust root."""
    found, alice, policy = keyless(tmp_path)
    assert verifier.verify(found, alice, policy, now=NOW).identity == ALICE.identity
    (authority, *_) = instance().trusted_root()["certificateAuthorities"]
    chain = [base64.b64decode(one["rawBytes"]) for one in authority["certChain"]["certificates"]]
    assert len(chain) == 2
    for raw in (*chain, *found.certificates):
        _, alice, policy = keyless(tmp_path, Digest.of(raw).value)
        with pytest.raises(SignerUntrusted):
            verifier.verify(found, alice, policy, now=NOW)
    assert all(list(twins(raw)) for raw in chain)


def test_a_denied_authority_of_timestamps_vouches_for_no_time(tmp_path: Path) -> None:
    (authority, *_) = instance().trusted_root()["timestampAuthorities"]
    raw = base64.b64decode(authority["certChain"]["certificates"][0]["rawBytes"])
    _, alice, policy = keyless(tmp_path, Digest.of(raw).value)
    stamped = bundles.parse(instance().envelope(payload(), rekor=2), "model.sig")
    with pytest.raises(SignatureInvalid, match="time of the signature does not verify"):
        verifier.verify(stamped, alice, policy, now=NOW)


# For whom a rule is


def policy(folder: Path, *rules: str) -> Path:
    """Write a trust policy of rules for sources, each of which requires the key of `oms_files.key`, or nobody."""
    _, public = keys(folder)
    spki = key_digest(key().public_key()).value
    lines = ["version = 1", "[signers.release]", 'method = "key"', f'public_key = "{public.name}"']
    lines.append(f'sha256_spki = "{spki}"')
    for source in rules:
        signed = 'require = ["release"]' if not source.endswith("**") else 'missing = "allow"'
        lines += ["[[rules]]", f'source = "{source}"', signed]
    path = folder / "trust.toml"
    path.write_text("\n".join(lines))
    return path


SOURCES = [
    "hf://acme/bert",
    "hf://acme/bert@main",
    "hf://models/acme/bert",
    "hf://acme/bert:model.safetensors",
    "hf://acme/bert@v1:onnx/model.onnx",
    "hf://acme/bert:onnx/model.onnx@" + "5" * 40,
    "https://huggingface.co/acme/bert",
    "https://HuggingFace.co/acme/bert/",
    "https://hf.co/acme/bert/tree/main",
    "https://www.huggingface.co/acme/bert/resolve/main/model.safetensors?download=true",
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_model_is_the_same_however_it_is_written(source: str, tmp_path: Path) -> None:
    trust_file = policy(tmp_path, "hf://acme/bert", "hf://**", "https://**")
    model = write(tmp_path / "m")
    assert run("verify", model, "--trust", trust_file, "--source", source) == 1
    assert run("verify", model, "--trust", trust_file, "--source", "hf://other/bert") == 0
    (model / "model.sig").write_bytes(bundle(payload()))
    assert run("verify", model, "--trust", trust_file, "--source", source) == 0


@pytest.mark.parametrize(
    "source",
    [
        "oci://Registry.example/acme/m",
        "oci://registry.example/acme/m:v1",
        f"oci://registry.example/acme/m@sha256:{HEX}",
    ],
)
def test_a_manifest_is_the_same_however_it_is_written(source: str, tmp_path: Path) -> None:
    trust_file = policy(tmp_path, "oci://registry.example/acme/m", "oci://**")
    assert run("verify", write(tmp_path / "m"), "--trust", trust_file, "--source", source) == 1


def test_a_path_through_a_trusted_folder_is_not_one_in_it(tmp_path: Path) -> None:
    """What is let in unsigned below one folder is not let in by a path, or a link, that only begins there."""
    (tmp_path / "own").mkdir()
    own = (tmp_path / "own").as_uri()
    trust_file = policy(tmp_path, f"{own}/**")
    inside, outside = write(tmp_path / "own/m"), write(tmp_path / "theirs")
    (tmp_path / "own/link").symlink_to(outside)
    assert run("verify", inside, "--trust", trust_file) == 0
    for path in ("own/../theirs", "own/link", "own/m/../../theirs"):
        assert run("verify", tmp_path / path, "--trust", trust_file) == 1
    for source in (f"{own}/../theirs", f"{own}/%2e%2e/theirs", f"{own}/link", f"{own}/link/"):
        assert run("verify", outside, "--trust", trust_file, "--source", source) == 1


def test_a_rule_for_files_of_a_model_does_not_loosen_that_for_the_model() -> None:
    strict = SourceRule(source="hf://acme/*", require=("release",))
    loose = SourceRule(source="hf://**", missing=Missing.ALLOW)
    trusted = TrustPolicy(where="trust.toml", rules=(loose, strict))
    for source in ("hf://acme/bert", "hf://acme/bert:a/b/c", "hf://acme/bert:a"):
        assert trusted.rule_for(source) is strict
    for source in ("hf://acm/bert", "hf://acme", "hf://other/acme:hf://acme/bert", "https://acme/bert:x"):
        assert source.startswith("https") or trusted.rule_for(source) is loose


# What was made for something else


def approved(folder: Path) -> Path:
    """Return a folder that the user's own key has approved, and make that key."""
    model = write(folder / "m", {"config.json": b'{"model_type": "bert"}'})
    assert run("approve", model, "-q") == 0
    return model


def own_policy(folder: Path, *more: str, verifier_id: str = OWN_VERIFIER) -> Path:
    """Write a policy in which the user's own key may approve in the name of a verifier."""
    public = home.public_key_path()
    spki = pem_digest(public.read_bytes(), "key").value
    path = folder / "own.toml"
    lines = [f'[signers.me]\nmethod = "key"\npublic_key = "{public}"\nsha256_spki = "{spki}"']
    lines.append(f'[approvers]\nme = {{ signer = "me", verifier_id = "{verifier_id}" }}')
    path.write_text("\n".join(["version = 1", *lines, *more]))
    return path


def test_an_approval_is_denied_by_the_digest_of_its_file_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What `sha256sum approval.json` prints is what somebody in a hurry will deny."""
    model = approved(tmp_path)
    assert run("approve", model, "--check", "--trust", own_policy(tmp_path)) == 0
    digest = Digest.of((model / "approval.json").read_bytes()).value
    assert run("approve", model, "--check", "--trust", own_policy(tmp_path, f'[deny]\napproval_sha256 = ["{digest}"]'))
    assert "[APPROVAL_REVOKED]" in capfd.readouterr().err


def decided(folder: Path, verifier: str) -> Path:
    """Return the signed decision on a model, made in somebody's name with the user's own key."""
    path = folder / "vsa.json"
    model = folder / "m"
    assert run("attest", model, "--type", "decision", "--output", path, "--verifier", verifier) == 0
    return path


def test_a_decision_in_the_name_of_another_verifier_is_not_taken(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Who may sign for one gate may not speak for another: SLSA's consumers accept known pairs alone."""
    approved(tmp_path)
    trusted = own_policy(tmp_path, verifier_id="https://acme.example/gate")
    mine, other = (f"https://acme.example/{name}" for name in ("gate", "gate2"))
    for name, status in ((mine, 0), (other, 1), (f"{mine}/", 1), (f"{mine}#", 1)):
        vsa = decided(tmp_path, name)
        assert run("verify-attestation", vsa, tmp_path / "m", "--trust", trusted, "--passed") == status
        assert run("verify-attestation", vsa, "--trust", trusted, "--signer", "me") == status
        # Whoever names a key, and no policy, has not said for whom it may speak.
        assert run("verify-attestation", vsa, "--key", home.public_key_path()) == 0
    assert "may only for https://acme.example/gate" in capfd.readouterr().err


def stated(kind: str, predicate: dict[str, object], subjects: list[dict[str, object]]) -> bytes:
    """Return a signed statement of some kind."""
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": kind,
        "predicate": predicate,
        "subject": subjects,
    }
    return bundle(json.dumps(document).encode())


def subjects(*more: dict[str, object]) -> list[dict[str, object]]:
    named: list[dict[str, object]] = [
        {"name": path, "digest": {"sha256": hashlib.sha256(data).hexdigest()}} for path, data in FILES.items()
    ]
    return [*named, *more]


PASSING: list[tuple[str, dict[str, object], int]] = [
    (attest.SCAN_RESULT, {"outcome": "pass"}, 0),
    (SUMMARY, {"verificationResult": "PASSED"}, 0),
    (SUMMARY, {"verificationResult": "FAILED", "outcome": "pass"}, 1),
    (SUMMARY, {"outcome": "pass"}, 1),
    (SUMMARY, {"verificationResult": ["PASSED"]}, 1),
    (SUMMARY, {"verificationResult": "passed"}, 1),
    (attest.SCAN_RESULT, {"outcome": "fail", "verificationResult": "PASSED"}, 1),
    (attest.SCAN_RESULT, {"outcome": True}, 1),
    ("https://in-toto.io/attestation/test-result/v0.1", {"outcome": "pass", "verificationResult": "PASSED"}, 1),
    ("https://slsa.dev/verification_summary/v1 ", {"verificationResult": "PASSED"}, 1),
]


@pytest.mark.parametrize(("kind", "predicate", "status"), PASSING)
def test_only_what_a_statement_of_its_kind_says_is_a_pass(
    kind: str, predicate: dict[str, object], status: int, tmp_path: Path
) -> None:
    _, public = keys(tmp_path)
    (tmp_path / "a.json").write_bytes(stated(kind, predicate, subjects()))
    assert run("verify-attestation", tmp_path / "a.json", "--key", public, "--passed") == status


def test_a_statement_that_contradicts_itself_is_about_no_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of two digests of one file, one reader takes the first and one the last."""
    _, public = keys(tmp_path)
    model, path = write(tmp_path / "m"), tmp_path / "a.json"
    first = next(iter(FILES))
    bad: dict[str, object] = {"name": first, "digest": {"sha256": HEX}}
    tree: dict[str, object] = {"name": TREE, "digest": {"sha256": tree_of(*FILES)}}
    other: dict[str, object] = {"name": TREE, "digest": {"sha256": HEX}}
    for said, status in (
        (subjects(), 0),
        (subjects(tree), 0),
        ([bad, *subjects()], 1),
        (subjects(bad), 1),
        (subjects(other), 1),
        (subjects(tree, other), 1),
        (subjects({"name": "x", "digest": {"sha256": HEX}}), 1),
        (subjects()[1:], 1),
    ):
        path.write_bytes(stated(attest.SCAN_RESULT, {"outcome": "pass"}, said))
        assert run("verify-attestation", path, model, "--key", public, "--passed") == status
    assert "[MANIFEST_INVALID]" in capfd.readouterr().err


OTHER_FORMS = {
    "oci://Registry.Example:443/acme/m:v1": "oci://registry.example/acme/m",
    "oci://registry.example:8443/acme/m": "oci://registry.example:8443/acme/m",
    "oci://registry.example:80/acme/m": "oci://registry.example:80/acme/m",
    "oci+http://registry.example:80/acme/m": "oci+http://registry.example/acme/m",
    "oci+http://registry.example:443/acme/m": "oci+http://registry.example:443/acme/m",
    "oci://localhost:80/m": "oci://localhost/m",
    "oci://[::1]:80/m": "oci://[::1]/m",
    "oci://docker.io:443/m": "oci://docker.io/library/m",
    "OCI://index.docker.io/m": "oci://docker.io/library/m",
}


@pytest.mark.parametrize(("written", "known"), OTHER_FORMS.items())
def test_a_registry_is_the_same_with_the_port_that_it_has_anyway(written: str, known: str) -> None:
    assert registries.known_as(written) == known
    assert registries.known_as(known) == known


def test_every_refusal_has_the_code_that_its_page_says() -> None:
    """Programs tell refusals by their codes, which must neither change nor be shared."""
    listed = dict(re.findall(r"^ +\* (\w+) +([A-Z]+_[A-Z_]+|OFFLINE)\b", refusals.__doc__ or "", re.MULTILINE))
    codes = {
        name: kind.code
        for name, kind in vars(refusals).items()
        if isinstance(kind, type) and issubclass(kind, Refusal) and name in listed
    }
    assert codes == listed
    assert all(getattr(refusals, name).usual_fix for name in listed), "a refusal says what to do"
    assert len(set(listed.values())) == len(listed) > 30
    wanted = (
        "SIG_MISSING SIG_MALFORMED SIG_UNSUPPORTED SIG_METHOD SIG_INVALID SIGNER_UNTRUSTED SIGNER_CHANGED "
        "SIGNER_EXPIRED TRUST_STALE TRUST_CORRUPT POLICY_NO_RULE MANIFEST_INVALID CONTENT_MISMATCH UNSAFE_ENTRY "
        "CHANGED_DURING_READ APPROVAL_MISSING APPROVAL_EXPIRED APPROVAL_UNTRUSTED APPROVAL_FAILED APPROVAL_REVOKED "
        "APPROVAL_MISMATCH OFFLINE"
    )
    assert set(wanted.split()) <= set(listed.values())


@pytest.mark.parametrize("text", ["s3://b/k@1", "https://h/m.bin@sha256:" + HEX, "https://h/m@etag:a/b", "x://y"])
def test_a_revision_that_cannot_be_told_from_a_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        registries.known_as(text)
