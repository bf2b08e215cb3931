"""The ground of evidence: strict documents, envelopes, bundles, statements and keys."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import Refusal
from weighbridge.evidence import bundle, dsse, keys, statement, strict
from weighbridge.evidence.base import Method
from weighbridge.evidence.dsse import IN_TOTO, Envelope
from weighbridge.evidence.statement import Subject
from weighbridge.refusals import SignatureInvalid, SignatureMalformed, SignatureUnsupported

CURVES = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())


def document(**changes: Any) -> dict[str, Any]:
    made = json.loads(bundle.render(b"payload", IN_TOTO, b"signature", {"publicKey": {"hint": "a key"}}))
    made.update(changes)
    return {key: value for key, value in made.items() if value is not ...}


def parsed(**changes: Any) -> bundle.Bundle:
    return bundle.parse(json.dumps(document(**changes)).encode(), "b.json")


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_an_envelope_verifies_with_the_hash_that_goes_with_its_curve(curve: ec.EllipticCurve) -> None:
    private = ec.generate_private_key(curve)
    signature = private.sign(dsse.pae(IN_TOTO, b"payload"), ec.ECDSA(keys.curve_hash(curve.name)))
    envelope = Envelope(payload=b"payload", payload_type=IN_TOTO, signature=signature)
    dsse.verify(envelope, private.public_key(), "x")
    for changed in (
        Envelope(payload=b"Payload", payload_type=IN_TOTO, signature=signature),
        Envelope(payload=b"payload", payload_type="text/plain", signature=signature),
        Envelope(payload=b"payload", payload_type=IN_TOTO, signature=signature[:-1]),
    ):
        with pytest.raises(SignatureInvalid, match="not one by the key sha256:"):
            dsse.verify(changed, private.public_key(), "x")


def test_ed25519_and_rsa_verify_and_weak_kinds_do_not() -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    keys.check(private.public_key(), private.sign(b"m"), b"m", "x")
    with pytest.raises(SignatureInvalid):
        keys.check(private.public_key(), private.sign(b"n"), b"m", "x")
    for weak in (
        rsa.generate_private_key(public_exponent=65537, key_size=1024),
        ec.generate_private_key(ec.SECP256K1()),
        dsa.generate_private_key(key_size=1024),
    ):
        pem = weak.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(SignatureUnsupported, match="neither on P-256"):
            keys.load_public(pem, "k.pem")
    with pytest.raises(SignatureUnsupported, match="not a public key"):
        keys.load_public(b"-----BEGIN PUBLIC KEY-----\n", "k.pem")


def test_a_bundle_says_how_it_may_be_signed() -> None:
    assert parsed().methods == {Method.KEY}
    assert parsed().hint == "a key"
    raw = {"rawBytes": base64.b64encode(b"der").decode()}
    assert parsed(verificationMaterial={"certificate": raw, "tlogEntries": [{}]}).methods == {Method.SIGSTORE}
    chain = {"x509CertificateChain": {"certificates": [raw, raw]}}
    assert parsed(verificationMaterial=chain).methods == {Method.CERTIFICATE}
    assert parsed(verificationMaterial=chain).certificates == (b"der", b"der")
    logged = parsed(verificationMaterial={**chain, "tlogEntries": [{}]})
    assert logged.methods == {Method.CERTIFICATE, Method.SIGSTORE}


def test_a_bundle_over_a_file_has_its_digest() -> None:
    text = base64.b64encode(b"x").decode()
    message = {"messageDigest": {"algorithm": "SHA2_256", "digest": text}, "signature": text}
    content = parsed(dsseEnvelope=..., messageSignature=message).content
    assert isinstance(content, bundle.FileSignature)
    assert (content.algorithm, content.digest, content.signature) == ("SHA2_256", b"x", b"x")


ENVELOPE = document()["dsseEnvelope"]
MALFORMED: dict[str, dict[str, Any]] = {
    "no material": {"verificationMaterial": ...},
    "two identities": {"verificationMaterial": {"publicKey": {}, "certificate": {}}},
    "no identity": {"verificationMaterial": {"tlogEntries": []}},
    "empty chain": {"verificationMaterial": {"x509CertificateChain": {"certificates": []}}},
    "long chain": {"verificationMaterial": {"x509CertificateChain": {"certificates": [{"rawBytes": ""}] * 11}}},
    "no content": {"dsseEnvelope": ...},
    "two contents": {"messageSignature": {}},
    "no signature": {"dsseEnvelope": {**ENVELOPE, "signatures": []}},
    "two signatures": {"dsseEnvelope": {**ENVELOPE, "signatures": ENVELOPE["signatures"] * 2}},
    "signature of another kind": {"dsseEnvelope": {**ENVELOPE, "signatures": ["sig"]}},
    "payload with a line feed": {"dsseEnvelope": {**ENVELOPE, "payload": ENVELOPE["payload"] + "\n"}},
    "payload that is a number": {"dsseEnvelope": {**ENVELOPE, "payload": 1}},
    "no payload type": {"dsseEnvelope": {**ENVELOPE, "payloadType": None}},
}


@pytest.mark.parametrize("changes", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_bundle_is_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(SignatureMalformed, match=r"^b\.json: .* \[SIG_MALFORMED\]"):
        parsed(**changes)


def test_bundles_of_other_versions_are_not_understood() -> None:
    for media_type in ("application/vnd.dev.sigstore.bundle.v0.4+json", "", None, 3):
        with pytest.raises(SignatureUnsupported, match="media type"):
            parsed(mediaType=media_type)


def test_a_bundle_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "LIMIT", 10)
    with pytest.raises(SignatureMalformed, match="at most 10"):
        parsed()


AMBIGUOUS = {
    "duplicate key": b'{"a": 1, "a": 2}',
    "duplicate key below": b'{"a": {"b": 1, "b": 1}}',
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "half a pair": b'{"a": "\\ud800"}',
    "half a pair in a key": b'{"\\udfff": 1}',
    "too deep": b'{"a":' * 70 + b"1" + b"}" * 70,
    "far too deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "long number": b'{"a": 123456789012345678901}',
    "not UTF-8": b'{"a": "\xff"}',
    "a list": b"[]",
    "nothing": b"",
    "UTF-8 with a mark": b"\xef\xbb\xbf{}",
}


@pytest.mark.parametrize("raw", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_json_with_two_meanings_is_refused(raw: bytes) -> None:
    with pytest.raises(SignatureMalformed):
        strict.read_object(raw, "b.json")


@given(st.binary(max_size=200) | st.from_regex(rb'\{"[a-z]{0,3}": .{0,20}\}', fullmatch=True))
def test_any_bytes_are_an_object_or_refused(raw: bytes) -> None:
    try:
        strict.read_object(raw, "x")
        bundle.parse(raw, "x")
    except Refusal:
        pass


def test_a_statement_is_read_as_it_was_written() -> None:
    subjects = [Subject(name="a", digests={"sha256": "00"}), Subject(name="", digests={"sha256": "01", "sha512": "02"})]
    payload = statement.render(subjects, "urn:x", {"b": [1], "a": "é"})
    read = statement.parse(payload, IN_TOTO, "s")
    assert [(one.name, dict(one.digests)) for one in read.subjects] == [
        ("a", {"sha256": "00"}),
        ("", {"sha256": "01", "sha512": "02"}),
    ]
    assert (read.predicate_type, dict(read.predicate)) == ("urn:x", {"b": [1], "a": "é"})


def test_a_statement_may_lack_what_cosign_leaves_out() -> None:
    made = {"_type": statement.TYPE, "subject": [{"digest": {"sha256": "00"}}], "predicateType": "urn:x"}
    read = statement.parse(json.dumps(made).encode(), IN_TOTO, "s")
    assert (read.subjects[0].name, dict(read.predicate)) == ("", {})


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": []},
        {"subject": ["a"]},
        {"subject": [{"name": "a"}]},
        {"subject": [{"name": "a", "digest": {}}]},
        {"subject": [{"name": "a", "digest": {"sha256": 1}}]},
        {"subject": [{"name": 1, "digest": {"sha256": "00"}}]},
        {"predicateType": 1},
        {"predicate": []},
        {"_type": "https://in-toto.io/Statement/v2"},
    ],
)
def test_what_is_no_statement_is_refused(changes: dict[str, Any]) -> None:
    made = {"_type": statement.TYPE, "subject": [{"digest": {"sha256": "00"}}], "predicateType": "urn:x", **changes}
    with pytest.raises((SignatureMalformed, SignatureUnsupported)):
        statement.parse(json.dumps(made).encode(), IN_TOTO, "s")


def test_a_payload_of_another_type_is_no_statement() -> None:
    with pytest.raises(SignatureUnsupported, match="not an in-toto statement"):
        statement.parse(b"{}", "application/json", "s")
