"""Attempts to have something forged, replayed or denied accepted, or to make verifying take more than it may."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from certifying import BEGIN, END, NOW, SUBJECT, Held, authority, key_usage, public_pem, signer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from oms_files import bundle as signed_bundle
from oms_files import payload

from weighbridge.digest import Digest
from weighbridge.evidence import bundle, certificates, keys, statement, strict, verifier
from weighbridge.evidence.base import Method
from weighbridge.evidence.dsse import IN_TOTO, Envelope
from weighbridge.evidence.signers import CertificateSigner
from weighbridge.evidence.trust_policy import Root, RootType, SourceRule, TrustedSigner, TrustPolicy
from weighbridge.refusals import (
    SignatureInvalid,
    SignatureMalformed,
    SignatureMissing,
    SignatureUnsupported,
    SignerUntrusted,
)

ROOT = authority("Root")
HEX = "ab" * 32


# What a document costs before anything in it is verified


@pytest.mark.parametrize("many", [b"[],", b"{},", b"0,", b'{"a":{"a":[[', b'"a",'])
def test_a_document_of_many_values_is_refused_before_they_are_made(many: bytes) -> None:
    """64 MiB of empty lists take 3 GB of memory as Python has them."""
    with pytest.raises(SignatureMalformed, match="more than 3145728 values"):
        strict.read_object(b'{"a":[' + many * (strict.MAX_VALUES + 1), "model.sig")


def test_a_manifest_of_as_many_files_as_a_model_may_have_is_read() -> None:
    listed = [{"name": f"w/{number}", "algorithm": "sha256", "digest": HEX} for number in range(200_000)]
    raw = signed_bundle(payload(listed))
    envelope = bundle.parse(raw, "model.sig").content
    assert isinstance(envelope, Envelope)
    assert len(statement.parse(envelope.payload, IN_TOTO, "model.sig").predicate["resources"]) == 200_000


@pytest.mark.parametrize("kind", ["certificate", "x509CertificateChain"])
def test_a_large_certificate_is_refused_before_it_is_looked_at(kind: str) -> None:
    """Each of the names in one becomes an object."""
    one = {"rawBytes": base64.b64encode(bytes(bundle.MAX_CERTIFICATE + 1)).decode()}
    material: dict[str, Any] = {kind: one if kind == "certificate" else {"certificates": [one]}}
    document = json.loads(bundle.render(b"{}", IN_TOTO, b"s", {}))
    document["verificationMaterial"] = material
    with pytest.raises(SignatureMalformed, match="a certificate of 65537 bytes"):
        bundle.parse(json.dumps(document).encode(), "model.sig")


# Documents that two readers could read in two ways


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"payload": 1, "pay\u006coad": 2}',
        b'{"a": {"b": 1, "\\u0062": 2}}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": 1}\0',
        b'{"a": 1} {"a": 2}',
        b'{"a": 0x1}',
        b'{"a": 01}',
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 1} // b',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xc0\xaf"}',
        b'{"a": "\n"}',
        b'{"a": 184467440737095516160}',
    ],
)
def test_a_document_with_two_meanings_is_refused(raw: bytes) -> None:
    with pytest.raises(SignatureMalformed):
        strict.read_object(raw, "model.sig")


@pytest.mark.parametrize("number", [b"1.0", b"1e0", b"-0.0", b"true", b'"1"', b"1e400"])
def test_a_number_is_an_integer_and_nothing_like_one(number: bytes) -> None:
    with pytest.raises(SignatureMalformed, match="size is not a number"):
        strict.member(strict.read_object(b'{"size": ' + number + b"}", "x"), "size", int, "x")


@pytest.mark.parametrize(
    "text", ["QQ=", "QQ", "QQ===", "QQ==QQ==", "Q Q==", "QQ==\n", "-_-_", "QQ==\0", "\uff31\uff31==", "=QQ=", "QQ=\n="]
)
def test_base64_of_other_alphabets_and_paddings_is_refused(text: str) -> None:
    with pytest.raises(SignatureMalformed):
        strict.decode(text, "payload", "x")


# Keys and certificates


TORSION = [
    "00" * 32,
    "01" + "00" * 31,
    "ec" + "ff" * 30 + "7f",
    "ed" + "ff" * 30 + "7f",
    "ee" + "ff" * 30 + "7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
]


@pytest.mark.parametrize("sign", [0, 0x80])
@pytest.mark.parametrize("point", TORSION)
def test_a_key_under_which_anybody_can_sign_is_none(point: str, sign: int) -> None:
    """With a public key of small order and R of small order, S = 0 is a signature of many messages."""
    raw = bytearray.fromhex(point)
    raw[31] |= sign
    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(bytes(raw))
    except ValueError:
        return
    for number in range(16):
        with pytest.raises(SignatureUnsupported):
            keys.check(key, bytes.fromhex(TORSION[1]) + bytes(32), b"message %d" % number, "x")


def test_ed25519_signatures_cannot_be_rewritten() -> None:
    """(R, S + L) is the same to a verifier that does not ask for S below the order of the group."""
    private, order = ed25519.Ed25519PrivateKey.generate(), 2**252 + 27742317777372353535851937790883648493
    made = private.sign(b"m")
    scalar = int.from_bytes(made[32:], "little") + order
    with pytest.raises(SignatureInvalid):
        keys.check(private.public_key(), made[:32] + scalar.to_bytes(32, "little"), b"m", "x")


def test_rsa_takes_no_padding_with_something_behind_the_digest() -> None:
    """With e = 3 a cube root forges what is checked from the left alone (CVE-2006-4339)."""
    private = rsa.generate_private_key(3, 2048)
    numbers, prefix = private.private_numbers(), bytes.fromhex("3031300d060960864801650304020105000420")
    digest = hashlib.sha256(b"m").digest()
    for block in (
        b"\0\1" + b"\xff" * 8 + b"\0" + prefix + digest + bytes(256 - 11 - len(prefix) - 32),
        b"\0\1" + b"\xff" * (256 - 3 - 17 - 32) + b"\0" + prefix[:4] + prefix[6:].ljust(13, b"\0") + digest,
        b"\0\1" + b"\xff" * (256 - 3 - 32) + b"\0" + digest,
    ):
        number = pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n)
        with pytest.raises(SignatureInvalid):
            keys.check(private.public_key(), number.to_bytes(256, "big"), b"m", "x")
    keys.check(private.public_key(), private.sign(b"m", padding.PKCS1v15(), SHA256()), b"m", "x")


def test_one_of_several_keys_in_a_file_is_not_chosen(tmp_path: Path) -> None:
    mine, other = (public_pem(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
    for text in (mine + other, other + mine, mine + b"junk", b"junk\n" + mine):
        with pytest.raises(SignatureUnsupported, match="not a public key in PEM"):
            keys.pem_digest(text, "k.pem")


LIMITED = [
    ({"permitted_subtrees": ["C=DE,O=Other"], "excluded_subtrees": None}, "limit its subjects"),
    ({"permitted_subtrees": None, "excluded_subtrees": ["C=DE"]}, "limit its subjects"),
]


@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize(("subtrees", "said"), LIMITED)
def test_an_authority_for_some_subjects_vouches_for_no_other(
    subtrees: dict[str, list[str] | None], said: str, critical: bool, tmp_path: Path
) -> None:
    """RFC 5280 §4.2.1.10; cryptography passes over names of directories unless the extension is critical."""
    names = {
        kind: [x509.DirectoryName(x509.Name.from_rfc4514_string(one)) for one in found] if found else None
        for kind, found in subtrees.items()
    }
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string("CN=Sub"))
        .issuer_name(ROOT.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(key_usage(signs=False, certifies=True), critical=True)
        .add_extension(x509.NameConstraints(**names), critical=critical)
        .sign(ROOT.key, SHA256())
    )
    middle = Held(key=key, certificate=certificate)
    with pytest.raises(SignerUntrusted, match="nameConstraints|" + said):
        chained([signer(middle), middle], tmp_path)


def chained(chain: list[Held], folder: Path, roots: bytes = b"", subject: str = SUBJECT) -> certificates.Holder:
    """Verify a chain below a root."""
    path = folder / "root.pem"
    path.write_bytes(roots or ROOT.pem)
    root = Root(type=RootType.X509, pem=path.name, sha256=Digest.of(path.read_bytes()).value, name="acme", path=path)
    wanted = TrustedSigner(method=Method.CERTIFICATE, root="acme", subject=subject, name="release")
    return certificates.verify([one.der for one in chain], wanted, root, lambda _: False, at=NOW, where="model.sig")


@pytest.mark.parametrize(
    "subject",
    [
        "CN=Model Signing 001 ,O=Acme,C=DE".replace(" ,", "\\ ,"),
        "CN=Model Signing 001+O=Acme,C=DE",
        "O=Acme,CN=Model Signing 001,C=DE",
        "CN=model signing 001,O=Acme,C=DE",
        "CN=Model Signing 001,O=Acme,C=DE,C=DE",
        "CN=Model Signing 001,O=Аcme,C=DE",  # noqa: RUF001 - the A is Cyrillic
        "CN=Model Signing 001\\00,O=Acme,C=DE",
        "CN=Model\\20\\20Signing 001,O=Acme,C=DE",
        "OU=Model Signing 001,O=Acme,C=DE",
        "CN=Model Signing 001\\,O=Acme,C=DE",
    ],
)
def test_a_subject_that_looks_like_another_is_another(subject: str, tmp_path: Path) -> None:
    with pytest.raises(SignerUntrusted, match="signed by"):
        chained([signer(ROOT, subject=subject)], tmp_path)


def test_one_key_is_one_signer_by_whatever_method_and_name(tmp_path: Path) -> None:
    """Two of three who must sign are not one who has two certificates for one key."""
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    (tmp_path / "root.pem").write_bytes(ROOT.pem)
    (tmp_path / "key.pem").write_bytes(public_pem(key))
    root = Root(
        type=RootType.X509, pem="root.pem", sha256=Digest.of(ROOT.pem).value, name="acme", path=tmp_path / "root.pem"
    )
    spki = keys.key_digest(key.public_key()).value
    signers = {
        "one": TrustedSigner(method=Method.CERTIFICATE, root="acme", subject="CN=One", name="one"),
        "two": TrustedSigner(method=Method.CERTIFICATE, root="acme", subject="CN=Two", name="two"),
        "key": TrustedSigner(
            method=Method.KEY, public_key="key.pem", sha256_spki=spki, name="key", path=tmp_path / "key.pem"
        ),
    }
    rule = SourceRule(source="**", require=tuple(signers), threshold=2)
    trust = TrustPolicy(where="trust.toml", roots={"acme": root}, signers=signers, rules=(rule,))

    def made(private: Any, subject: str) -> bundle.Bundle:
        held = signer(ROOT, subject=subject, key=private)
        raw = CertificateSigner(held.key_pem, [held.pem], where="x").sign(payload(), IN_TOTO)
        return bundle.parse(raw, f"{subject}.sig")

    bare = bundle.parse(signed_bundle(payload(), key), "key.sig")
    with pytest.raises(SignatureMissing, match="2 different ones of one, two, key must sign"):
        verifier.verify_any([made(key, "CN=One"), made(key, "CN=Two"), bare], rule, trust, now=NOW, where="m")
    with pytest.raises(SignerUntrusted):
        verifier.verify_any([made(key, "CN=One"), made(other, "CN=One")], rule, trust, now=NOW, where="m")
    assert len(verifier.verify_any([made(other, "CN=One"), bare], rule, trust, now=NOW, where="m")) == 2
    linked = [made(other, "CN=One"), made(other, "CN=Two"), bare]
    assert len(verifier.verify_any(linked, rule, trust, now=NOW, where="m")) == 3


GENERATOR = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
P256, ORDER, B = (
    "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
    "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
)


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    return (
        bytes((tag, size) if size < 0x80 else (tag, 0x81, size) if size < 0x100 else (tag, 0x82, *divmod(size, 256)))
        + body
    )


def explicit(point: bytes, generator: bytes) -> bytes:
    """Return a public key that spells out its curve, P-256 but for the generator."""
    a = f"{int(P256, 16) - 3:064x}"
    field = der(0x30, bytes.fromhex("06072a8648ce3d0101"), der(2, b"\0", bytes.fromhex(P256)))
    curve = der(0x30, der(4, bytes.fromhex(a)), der(4, bytes.fromhex(B)))
    parameters = der(
        0x30, der(2, b"\1"), field, curve, der(4, generator), der(2, b"\0", bytes.fromhex(ORDER)), der(2, b"\1")
    )
    spki = der(0x30, der(0x30, bytes.fromhex("06072a8648ce3d0201"), parameters), der(3, b"\0", point))
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(spki) + b"-----END PUBLIC KEY-----\n"


def test_a_key_does_not_bring_its_own_generator() -> None:
    """With the public key as its generator, anybody has the private one: it is 1 (CVE-2020-0601)."""
    private = ec.generate_private_key(ec.SECP256R1())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert keys.load_public(explicit(point, GENERATOR), "k.pem") == private.public_key()
    with pytest.raises(SignatureUnsupported):
        keys.load_public(explicit(point, point), "k.pem")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_ecdsa_takes_no_zeros_and_no_numbers_out_of_range(curve: ec.EllipticCurve) -> None:
    """CVE-2022-21449: r = s = 0 verified every message."""
    private = ec.generate_private_key(curve)
    order = {256: ORDER, 384: "f" * 48 + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973"}.get(
        curve.key_size, "01" + "f" * 64 + "fffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409"
    )
    n, hashed = int(order, 16), ec.ECDSA(keys.curve_hash(curve.name))
    r, s = decode_dss_signature(private.sign(b"m", hashed))
    keys.check(private.public_key(), encode_dss_signature(r, s), b"m", "x")
    for pair in ((0, 0), (0, s), (r, 0), (n, n), (r + n, s), (r, s + n), (1, 0), (n, s)):
        with pytest.raises(SignatureInvalid):
            keys.check(private.public_key(), encode_dss_signature(*pair), b"m", "x")
    good = encode_dss_signature(r, s)
    size = (r.bit_length() + 8) // 8
    padded = der(0x30, der(2, b"\0" + r.to_bytes(size, "big")), der(2, s.to_bytes((s.bit_length() + 8) // 8, "big")))
    for text in (good + b"\0", good[:-1], padded, b"", good[:1] + b"\x84\0\0\0" + good[1:]):
        with pytest.raises(SignatureInvalid):
            keys.check(private.public_key(), text, b"m", "x")
