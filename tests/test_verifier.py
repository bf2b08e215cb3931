"""A bundle held against a signer, and several against a rule: who is believed, and what is said of the others."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from certifying import NOW, SUBJECT, authority, private_pem, public_pem
from certifying import signer as certified
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from servers.fake_sigstore import FakeSigstore

from weighbridge.digest import Digest
from weighbridge.evidence import bundle, dsse, keys, verifier
from weighbridge.evidence.base import Method, Signature
from weighbridge.evidence.bundle import Bundle
from weighbridge.evidence.signers import CertificateSigner, KeySigner
from weighbridge.evidence.trust_policy import (
    Deny,
    Expired,
    Missing,
    Root,
    RootType,
    SourceRule,
    TrustedSigner,
    TrustPolicy,
)
from weighbridge.refusals import (
    EvidenceError,
    SignatureInvalid,
    SignatureMalformed,
    SignatureMethod,
    SignatureMissing,
    SignatureUnsupported,
    SignerExpired,
    SignerUntrusted,
    TrustCorrupt,
    TrustStale,
)

PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1"}'
KEYS: dict[str, Any] = {
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}
RSA = rsa.generate_private_key(65537, 2048)
ROOT = authority("Root")
LEAF = certified(ROOT)


def keyed(name: str, folder: Path, key: Any = None, **more: Any) -> TrustedSigner:
    """Return a signer with a key of ours."""
    pem = public_pem(key or KEYS[name])
    path = folder / f"{name}.pub"
    path.write_bytes(pem)
    spki = keys.key_digest(keys.load_public(pem, name)).value
    return TrustedSigner(method=Method.KEY, public_key=path.name, sha256_spki=spki, name=name, path=path, **more)


def keys_der(key: Any) -> bytes:
    der: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der


def policy(*signers: TrustedSigner, roots: Sequence[Root] = (), deny: Deny | None = None) -> TrustPolicy:
    return TrustPolicy(
        where="trust.toml",
        roots={one.name: one for one in roots},
        signers={one.name: one for one in signers},
        deny=deny or Deny(),
    )


def pinned(name: str, kind: RootType, raw: bytes, folder: Path, **more: Any) -> Root:
    path = folder / f"{name}.root"
    path.write_bytes(raw)
    more["pem" if kind is RootType.X509 else "trusted_root"] = path.name
    return Root(type=kind, sha256=Digest.of(raw).value, name=name, path=path, **more)


def signed(name: str, payload: bytes = PAYLOAD) -> Bundle:
    """Return a bundle that one of our keys signed."""
    made = KeySigner(private_pem(KEYS[name]), where=name).sign(payload, dsse.IN_TOTO)
    return bundle.parse(made, f"{name}.sig")


def verify(found: Bundle, wanted: TrustedSigner, *, now: datetime = NOW, **given: Any) -> Signature:
    return verifier.verify(found, wanted, policy(wanted, **given), now=now)


def refusal(found: Bundle, wanted: TrustedSigner, **given: Any) -> EvidenceError:
    with pytest.raises(EvidenceError) as caught:
        verify(found, wanted, **given)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", KEYS)
def test_a_signature_by_the_pinned_key(name: str, tmp_path: Path) -> None:
    found = signed(name)
    signature = verify(found, keyed(name, tmp_path))
    assert (signature.method, signature.signer, signature.payload) == (Method.KEY, name, PAYLOAD)
    assert signature.identity == str(keys.key_digest(KEYS[name].public_key()))
    assert (signature.bundle, signature.signed_at) == (found.digest, None)


@pytest.mark.parametrize("name", KEYS)
def test_the_key_of_somebody_else(name: str, tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    found = refusal(signed(name), keyed(name, tmp_path, key=other))
    assert isinstance(found, SignatureInvalid)
    assert str(keys.key_digest(other.public_key())) in str(found)
    assert str(found).startswith(f"{name}.sig: not signed with the key of '{name}', sha256:")
    assert f"the bundle says that another key signed ({signed(name).hint})" in found.fix


def test_a_payload_that_was_altered(tmp_path: Path) -> None:
    """The bundle still names the key that signed, so it is not somebody else's."""
    made = json.loads(signed("p256").raw)
    made["dsseEnvelope"]["payload"] = base64.b64encode(b"{}").decode()
    spki = hashlib.sha256(keys_der(KEYS["p256"])).digest()
    for hint in (made["verificationMaterial"]["publicKey"]["hint"], base64.b64encode(spki).decode(), ""):
        made["verificationMaterial"]["publicKey"]["hint"] = hint
        found = refusal(bundle.parse(json.dumps(made).encode(), "altered.sig"), keyed("p256", tmp_path))
        assert isinstance(found, SignatureInvalid)
        assert "was altered" in found.fix


@given(place=st.integers(0, 10_000), bits=st.integers(1, 255))
def test_no_changed_payload_or_signature_is_taken(
    place: int, bits: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is accepted is what was signed."""
    folder = tmp_path_factory.getbasetemp() / "verifier"
    folder.mkdir(exist_ok=True)
    good = signed("p256")
    raw = bytearray(good.raw)
    raw[place % len(raw)] ^= bits
    try:
        accepted = verify(bundle.parse(bytes(raw), "changed.sig"), keyed("p256", folder))
    except EvidenceError as error:
        assert error.code.startswith("SIG_")
    else:
        assert (accepted.payload, accepted.payload_type) == (PAYLOAD, dsse.IN_TOTO)


def test_a_bundle_names_no_method_for_itself(tmp_path: Path) -> None:
    """Who demands a keyless signature is not content with a key that somebody made, nor the other way round."""
    root = pinned("public", RootType.SIGSTORE, b"{}", tmp_path)
    keyless = TrustedSigner(method=Method.SIGSTORE, root="public", issuer="https://i", identity="a@b", name="ci")
    found = refusal(signed("p256"), keyless, roots=[root])
    assert isinstance(found, SignatureMethod)
    assert "is signed with key, and 'ci' signs with sigstore" in str(found)
    with_chain = bundle.parse(
        CertificateSigner(LEAF.key_pem, [LEAF.pem], where="x").sign(PAYLOAD, dsse.IN_TOTO), "c.sig"
    )
    assert isinstance(refusal(with_chain, keyed("p256", tmp_path)), SignatureMethod)
    assert isinstance(refusal(with_chain, keyless, roots=[root]), SignatureMethod)


def test_a_key_outside_of_its_days(tmp_path: Path) -> None:
    day = NOW.date()
    assert verify(signed("p256"), keyed("p256", tmp_path, not_before=day, not_after=day)).signer == "p256"
    late = keyed("p256", tmp_path, not_after=day - timedelta(days=1))
    assert isinstance(refusal(signed("p256"), late), SignerExpired)
    early = keyed("p256", tmp_path, not_before=day + timedelta(days=1))
    assert isinstance(refusal(signed("p256"), early), SignerExpired)


def test_a_key_file_that_is_not_the_pinned_one(tmp_path: Path) -> None:
    wanted = keyed("p256", tmp_path)
    wanted.path.write_bytes(public_pem(KEYS["p384"]))
    found = refusal(signed("p384"), wanted)
    assert isinstance(found, TrustCorrupt)
    assert f"'p256' pins {wanted.sha256_spki}" in str(found)
    wanted.path.write_bytes(b"nothing")
    assert isinstance(refusal(signed("p256"), wanted), TrustCorrupt)
    wanted.path.unlink()
    assert isinstance(refusal(signed("p256"), wanted), TrustCorrupt)


def over_file(digest: bytes, signature: bytes, algorithm: str = "SHA2_256") -> Bundle:
    """Return a bundle with a managed key over a plain file."""
    document = {
        "mediaType": bundle.MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": ""}, "tlogEntries": []},
        "messageSignature": {
            "messageDigest": {"algorithm": algorithm, "digest": base64.b64encode(digest).decode()},
            "signature": base64.b64encode(signature).decode(),
        },
    }
    return bundle.parse(json.dumps(document).encode(), "file.sig")


def test_a_signature_over_a_plain_file(tmp_path: Path) -> None:
    data = b"weights"
    digest = hashlib.sha256(data).digest()
    signature = KEYS["p256"].sign(data, ec.ECDSA(SHA256()))
    found = verify(over_file(digest, signature), keyed("p256", tmp_path))
    assert (found.payload, found.payload_type) == (digest, "")
    by_rsa = RSA.sign(data, padding.PKCS1v15(), SHA256())
    assert verify(over_file(digest, by_rsa), keyed("rsa", tmp_path, key=RSA)).payload == digest
    other = hashlib.sha256(b"other").digest()
    assert isinstance(refusal(over_file(other, signature), keyed("p256", tmp_path)), SignatureInvalid)
    assert isinstance(refusal(over_file(digest[:20], signature), keyed("p256", tmp_path)), SignatureMalformed)


@pytest.mark.parametrize(("name", "algorithm"), [("p384", "SHA2_256"), ("ed25519", "SHA2_256"), ("p256", "SHA2_512")])
def test_a_key_does_not_choose_its_own_hash(name: str, algorithm: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"weights").digest()
    signature = KEYS["p384"].sign(b"weights", ec.ECDSA(SHA384()))
    assert isinstance(refusal(over_file(digest, signature, algorithm), keyed(name, tmp_path)), SignatureUnsupported)


def chained(leaf: Any = LEAF, **more: Any) -> Bundle:
    """Return a bundle with a chain of certificates; `more` goes into its material."""
    made = json.loads(CertificateSigner(leaf.key_pem, [leaf.pem], where="x").sign(PAYLOAD, dsse.IN_TOTO))
    made["verificationMaterial"].update(more)
    return bundle.parse(json.dumps(made).encode(), "chain.sig")


def certificate_signer(**more: Any) -> TrustedSigner:
    return TrustedSigner(method=Method.CERTIFICATE, root="acme", subject=SUBJECT, name="acme", **more)


def test_a_signature_with_a_chain(tmp_path: Path) -> None:
    root = pinned("acme", RootType.X509, ROOT.pem, tmp_path)
    found = verify(chained(), certificate_signer(), roots=[root])
    assert (found.method, found.identity, found.issuer) == (Method.CERTIFICATE, SUBJECT, "CN=Root")
    assert isinstance(
        refusal(chained(certified(ROOT, subject="CN=Eve")), certificate_signer(), roots=[root]), SignerUntrusted
    )
    digest = Digest.of(LEAF.der).value
    assert isinstance(
        refusal(chained(), certificate_signer(), roots=[root], deny=Deny(cert_sha256=(digest,))), SignerUntrusted
    )


def test_a_chain_of_one_with_the_signature_of_another(tmp_path: Path) -> None:
    """A certificate is public: to show it is not to hold its key."""
    root = pinned("acme", RootType.X509, ROOT.pem, tmp_path)
    made = json.loads(chained(certified(ROOT)).raw)
    made["verificationMaterial"] = json.loads(chained().raw)["verificationMaterial"]
    mixed = bundle.parse(json.dumps(made).encode(), "mixed.sig")
    assert isinstance(refusal(mixed, certificate_signer(), roots=[root]), SignatureInvalid)


def test_a_root_that_grew_old(tmp_path: Path) -> None:
    old = {"max_age_days": 10, "updated": (NOW - timedelta(days=11)).date()}
    root = pinned("acme", RootType.X509, ROOT.pem, tmp_path, **old)
    assert isinstance(refusal(chained(), certificate_signer(), roots=[root]), TrustStale)
    root = pinned("public", RootType.SIGSTORE, b"{}", tmp_path, **old)
    keyless = TrustedSigner(method=Method.SIGSTORE, root="public", issuer="https://i", identity="a@b", name="ci")
    instance = FakeSigstore(now=NOW)
    assert isinstance(refusal(bundle.parse(instance.envelope(PAYLOAD), "k.sig"), keyless, roots=[root]), TrustStale)


def stamped(leaf: Any, instance: FakeSigstore, moment: datetime, over: bytes | None = None) -> Bundle:
    """Return a bundle with a chain and a timestamp over its signature, or over other bytes."""
    made = json.loads(chained(leaf).raw)
    signature = base64.b64decode(made["dsseEnvelope"]["signatures"][0]["sig"])
    stamp = instance.timestamps.stamp(hashlib.sha256(over or signature).digest(), moment)
    stamps = {"rfc3161Timestamps": [{"signedTimestamp": base64.b64encode(stamp).decode()}]}
    made["verificationMaterial"]["timestampVerificationData"] = stamps
    return bundle.parse(json.dumps(made).encode(), "chain.sig")


def test_a_certificate_that_ran_out_is_good_with_a_timestamp(tmp_path: Path) -> None:
    then = NOW - timedelta(days=50)
    old = certified(ROOT, end=NOW - timedelta(days=10))
    instance = FakeSigstore(now=then)
    trusted = pinned("stamps", RootType.SIGSTORE, json.dumps(instance.trusted_root()).encode(), tmp_path)
    roots = [pinned("acme", RootType.X509, ROOT.pem, tmp_path), trusted]
    lenient = certificate_signer(expired=Expired.ACCEPT_WITH_TSA, timestamp_root="stamps")

    assert verify(stamped(old, instance, then), lenient, roots=roots).signed_at == then
    assert verify(chained(), lenient, roots=roots).signed_at is None
    # The policy does not accept them, there is none, it is too late, over something else, or somebody else's.
    assert isinstance(refusal(stamped(old, instance, then), certificate_signer(), roots=roots), SignerExpired)
    assert isinstance(refusal(chained(old), lenient, roots=roots), SignerExpired)
    late = stamped(old, instance, NOW - timedelta(days=5))
    assert isinstance(refusal(late, lenient, roots=roots), SignerExpired)
    for wrong in (stamped(old, instance, then, b"other"), stamped(old, FakeSigstore(now=then), then)):
        found = refusal(wrong, lenient, roots=roots)
        assert isinstance(found, SignatureInvalid)
        assert found.step == "timestamp"


def test_timestamps_of_an_authority_that_did_not_serve_or_that_are_garbled(tmp_path: Path) -> None:
    then = NOW - timedelta(days=50)
    instance = FakeSigstore(now=then)
    trusted = pinned("stamps", RootType.SIGSTORE, json.dumps(instance.trusted_root()).encode(), tmp_path)
    roots = [pinned("acme", RootType.X509, ROOT.pem, tmp_path), trusted]
    lenient = certificate_signer(expired=Expired.ACCEPT_WITH_TSA, timestamp_root="stamps")
    early = stamped(LEAF, instance, instance.born - timedelta(days=1))
    assert isinstance(refusal(early, lenient, roots=roots), SignatureInvalid)
    for stamps, kind in (
        ([{"signedTimestamp": "AAAA"}], SignatureInvalid),
        ([{"signedTimestamp": "?"}], SignatureMalformed),
        ([7], SignatureMalformed),
        ([{"signedTimestamp": "AAAA"}] * 33, SignatureMalformed),
    ):
        garbled = chained(timestampVerificationData={"rfc3161Timestamps": stamps})
        assert isinstance(refusal(garbled, lenient, roots=roots), kind)


def test_a_keyless_signature_by_the_policy(tmp_path: Path) -> None:
    instance = FakeSigstore(now=NOW)
    root = pinned("public", RootType.SIGSTORE, json.dumps(instance.trusted_root()).encode(), tmp_path)
    wanted = TrustedSigner(
        method=Method.SIGSTORE,
        root="public",
        issuer="https://login.acme.test",
        identity="alice@acme.test",
        name="alice",
    )
    found = bundle.parse(instance.envelope(PAYLOAD), "keyless.sig")
    assert verify(found, wanted, roots=[root]).identity == "alice@acme.test"
    denied = Deny(cert_sha256=(Digest.of(found.certificates[0]).value,))
    assert isinstance(refusal(found, wanted, roots=[root], deny=denied), SignerUntrusted)
    root.path.write_bytes(b"{}")
    assert isinstance(refusal(found, wanted, roots=[root]), TrustCorrupt)


def enough(bundles: Sequence[Bundle], rule: SourceRule, folder: Path, **more: TrustedSigner) -> tuple[str, ...]:
    """Return the names of who signed as a rule wants it."""
    trusted = {name: keyed(name, folder) for name in KEYS} | more
    found = verifier.verify_any(bundles, rule, policy(*trusted.values()), now=NOW, where="models/bert")
    return tuple(one.signer for one in found)


def needs(*names: str, threshold: int | None = None, missing: Missing = Missing.DENY) -> SourceRule:
    return SourceRule(source="**", require=names, threshold=threshold, missing=missing)


def test_as_many_different_signers_as_a_rule_needs(tmp_path: Path) -> None:
    two = [signed("p384"), signed("p256")]
    assert enough(two, needs("p256", "p384"), tmp_path) == ("p256", "p384")
    assert enough(two[:1], needs("p256", "p384", threshold=1), tmp_path) == ("p384",)
    # Somebody else's bundle, and a second one of the same signer, neither help nor hinder.
    assert enough([signed("ed25519"), *two, *two], needs("p256", "p384"), tmp_path) == ("p256", "p384")


def test_too_few_signers(tmp_path: Path) -> None:
    once = [signed("p256")]
    with pytest.raises(
        SignatureMissing, match=r"models/bert: signed by p256 \(sha256:\w+\), and 2 different ones of p256, p384"
    ):
        enough(once, needs("p256", "p384"), tmp_path)
    with pytest.raises(SignatureInvalid):
        enough([*once, signed("p256", b"{}")], needs("p256", "p384"), tmp_path)
    with pytest.raises(SignatureMissing, match=r"models/bert: no signature, and p256 must sign.*model.sig"):
        enough([], needs("p256"), tmp_path)


def test_one_key_under_two_names_is_one_signer(tmp_path: Path) -> None:
    same = keyed("same", tmp_path, key=KEYS["p256"])
    with pytest.raises(SignatureMissing):
        enough([signed("p256"), signed("p256", b"{}")], needs("p256", "same"), tmp_path, same=same)


@pytest.mark.parametrize("missing", [Missing.WARN, Missing.ALLOW])
def test_a_signature_may_be_missing_but_not_wrong(missing: Missing, tmp_path: Path) -> None:
    assert enough([], needs("p256", missing=missing), tmp_path) == ()
    with pytest.raises(SignatureInvalid):
        enough([signed("p384")], needs("p256", missing=missing), tmp_path)


def test_where_nobody_need_sign_nothing_is_verified(tmp_path: Path) -> None:
    assert enough([signed("p256")], needs(missing=Missing.ALLOW), tmp_path) == ()


def test_the_refusal_that_came_furthest_is_told(tmp_path: Path) -> None:
    """Of a signer whose key has run out and a method that nobody asked for, the first is what helps."""
    late = keyed("late", tmp_path, key=KEYS["p256"], not_after=NOW.date() - timedelta(days=1))
    with pytest.raises(SignerExpired):
        enough([chained(), signed("p256")], needs("p384", "late"), tmp_path, late=late)


def test_a_folder_full_of_signatures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SignatureMalformed, match="65 files of signatures"):
        enough([signed("p256")] * 65, needs("p256"), tmp_path)
