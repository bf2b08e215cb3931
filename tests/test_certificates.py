"""Chains of certificates: each thing that can be wrong with one is refused, and time alone is told apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from certifying import BEGIN, CODE, END, NOW, SUBJECT, Held, authority, signer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.digest import Digest
from weighbridge.evidence import certificates, fingerprints
from weighbridge.evidence.base import Method
from weighbridge.evidence.trust_policy import Deny, Root, RootType, TrustedSigner
from weighbridge.refusals import (
    EvidenceError,
    SignatureMalformed,
    SignatureUnsupported,
    SignerExpired,
    SignerUntrusted,
    TrustCorrupt,
)

ROOT = authority("Root")
MIDDLE = authority("Middle", ROOT, depth=0)
LEAF = signer(MIDDLE)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)


def verify(
    chain: Sequence[Held | bytes],
    folder: Path,
    *,
    roots: bytes = ROOT.pem,
    at: datetime = NOW,
    cert_sha256: str = "",
    denied: tuple[str, ...] = (),
) -> certificates.Holder:
    """Verify a chain against a signer of a policy."""
    path = folder / "root.pem"
    path.write_bytes(roots)
    root = Root(type=RootType.X509, pem=path.name, sha256=Digest.of(roots).value, name="acme", path=path)
    wanted = TrustedSigner(
        method=Method.CERTIFICATE, root="acme", subject=SUBJECT, cert_sha256=cert_sha256, name="release"
    )
    raw = [one.der if isinstance(one, Held) else one for one in chain]
    return certificates.verify(raw, wanted, root, Deny(cert_sha256=denied).certificate, at=at, where="model.sig")


def refusal(chain: Sequence[Held | bytes], folder: Path, **given: object) -> EvidenceError:
    """Return why a chain is refused."""
    with pytest.raises(EvidenceError) as caught:
        verify(chain, folder, **given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_chain_to_the_root_gives_the_holder(tmp_path: Path) -> None:
    holder = verify([LEAF, MIDDLE], tmp_path)
    assert holder.subject == SUBJECT
    assert holder.issuer == "CN=Middle"
    assert holder.key == LEAF.key.public_key()


def test_the_order_of_authorities_and_a_root_among_them_do_not_matter(tmp_path: Path) -> None:
    upper = authority("Upper", ROOT)
    lower = authority("Lower", upper)
    leaf = signer(lower)
    for chain in ([leaf, lower, upper], [leaf, upper, lower], [leaf, upper, lower, ROOT], [leaf, ROOT, upper, lower]):
        assert verify(chain, tmp_path).subject == SUBJECT


@pytest.mark.parametrize("key", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_the_curves_of_model_signing_are_good(key: ec.EllipticCurve, tmp_path: Path) -> None:
    leaf = signer(ROOT, key=ec.generate_private_key(key))
    assert verify([leaf], tmp_path).key == leaf.key.public_key()


@pytest.mark.parametrize(
    ("signs", "purposes"),
    [(True, ()), (None, CODE), (True, CODE), (True, (*SERVER, *CODE))],
    ids=["key usage alone", "extended key usage alone", "both", "also a server"],
)
def test_a_certificate_says_that_it_signs(
    signs: bool | None, purposes: tuple[ObjectIdentifier, ...], tmp_path: Path
) -> None:
    """NVIDIA's have a key usage alone."""
    assert verify([signer(ROOT, signs=signs, purposes=purposes)], tmp_path).subject == SUBJECT


UNTRUSTED = {
    "that of a server": ([signer(ROOT, purposes=SERVER)], "extendedKeyUsage lacks codeSigning"),
    "for anything": ([signer(ROOT, purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,))], "lacks codeSigning"),
    "for timestamps": ([signer(ROOT, purposes=(ExtendedKeyUsageOID.TIME_STAMPING,))], "lacks codeSigning"),
    "not for signatures": ([signer(ROOT, signs=False)], "keyUsage lacks digitalSignature"),
    "no usage at all": ([signer(ROOT, signs=None, purposes=())], "neither keyUsage nor extendedKeyUsage"),
    "of an authority": ([signer(ROOT, ca=True)], "that of an authority"),
    "below one that is none": ([signer(m := authority("No", ROOT, ca=False)), m], "cA must be asserted"),
    "below one that does not say": ([signer(m := authority("Mute", ROOT, ca=None)), m], "basicConstraints"),
    "below a signer": ([signer(LEAF), LEAF, MIDDLE], "cA must be asserted"),
    "below one that may not certify": ([signer(m := authority("No", ROOT, certifies=False)), m], "lacks keyCertSign"),
    "below one for servers": ([signer(m := authority("Web", ROOT, purposes=SERVER)), m], "lacks codeSigning"),
    "longer than it may be": ([signer(m := authority("Deeper", MIDDLE)), m, MIDDLE], "path length"),
    "of another root": ([signer(authority("Root"))], "no chain leads"),
    "without what is between": ([LEAF], "nothing in the bundle or the root issued it"),
    "signed by itself": ([signer(None)], "no chain leads"),
    "of another subject": ([signer(ROOT, subject="CN=Model Signing 002,O=Acme,C=DE")], "'CN=Model Signing 002,O=Acme"),
    "of a part of the subject": ([signer(ROOT, subject="CN=Model Signing 001")], "is 'CN=Model Signing 001,O=Acme"),
    "with a comma in a name": ([signer(ROOT, subject="CN=Model Signing 001\\,O=Acme\\,C=DE")], "001\\\\,O=Acme"),
    "with an unknown demand": (
        [signer(ROOT, critical=[x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\5\0")])],
        "unaccounted-for critical",
    ),
}


@pytest.mark.parametrize(("chain", "said"), UNTRUSTED.values(), ids=UNTRUSTED)
def test_a_certificate_of_somebody_else_is_refused(chain: list[Held], said: str, tmp_path: Path) -> None:
    found = refusal(chain, tmp_path)
    assert isinstance(found, SignerUntrusted)
    assert said in str(found)
    assert found.actual
    assert found.fix


def test_the_refusal_names_who_signed_and_who_should_have(tmp_path: Path) -> None:
    found = refusal([signer(ROOT, subject="CN=Eve")], tmp_path)
    assert isinstance(found, SignerUntrusted)
    assert (found.actual, found.expected) == ("CN=Eve", SUBJECT)
    assert str(found).startswith("model.sig: signed by 'CN=Eve', and 'release' of the trust policy is 'CN=Model")


def test_a_chain_has_no_more_authorities_than_are_looked_at(tmp_path: Path) -> None:
    chain = [authority("A0", ROOT)]
    for number in range(1, certificates.MAX_DEPTH + 1):
        chain.insert(0, authority(f"A{number}", chain[0]))
    assert verify([signer(chain[1]), *chain[1:]], tmp_path).subject == SUBJECT
    assert "no chain leads" in str(refusal([signer(chain[0]), *chain], tmp_path))


def test_a_key_on_ed25519_is_good_and_a_short_one_is_not(tmp_path: Path) -> None:
    assert verify([signer(ROOT, key=ed25519.Ed25519PrivateKey.generate())], tmp_path).subject == SUBJECT
    short = rsa.generate_private_key(65537, 1024)
    assert isinstance(refusal([signer(ROOT, key=short)], tmp_path), SignatureUnsupported)
    weak = authority("Weak", ROOT, key=short)
    assert isinstance(refusal([signer(weak), weak], tmp_path), SignerUntrusted)


EARLY, LATE = BEGIN - timedelta(days=1), END + timedelta(days=1)


@pytest.mark.parametrize("at", [EARLY, LATE])
def test_a_certificate_outside_of_its_days_has_expired(at: datetime, tmp_path: Path) -> None:
    found = refusal([LEAF, MIDDLE], tmp_path, at=at)
    assert isinstance(found, SignerExpired)
    assert f"not at {at:%Y-%m-%d}" in str(found)


def test_the_day_of_an_authority_counts_too(tmp_path: Path) -> None:
    short = authority("Short", ROOT, end=NOW - timedelta(days=1))
    found = refusal([signer(short), short], tmp_path)
    assert isinstance(found, SignerExpired)
    assert "'CN=Short'" in str(found)
    old = authority("Old", end=NOW - timedelta(days=1))
    assert isinstance(refusal([signer(old)], tmp_path, roots=old.pem), SignerExpired)


def test_who_is_untrusted_is_not_merely_late(tmp_path: Path) -> None:
    """Waiting for a renewed certificate would help nobody whom no root vouches for."""
    assert isinstance(refusal([signer(authority("Root"), end=NOW - timedelta(days=1))], tmp_path), SignerUntrusted)
    assert isinstance(refusal([signer(ROOT, purposes=SERVER)], tmp_path, at=LATE), SignerUntrusted)


def test_an_expired_root_of_somebody_else_changes_nothing(tmp_path: Path) -> None:
    other = authority("Other", end=NOW - timedelta(days=1))
    assert verify([signer(ROOT)], tmp_path, roots=other.pem + ROOT.pem).subject == SUBJECT
    assert isinstance(refusal([LEAF], tmp_path, roots=other.pem + ROOT.pem), SignerUntrusted)


def test_one_certificate_can_be_pinned(tmp_path: Path) -> None:
    pinned = Digest.of(LEAF.der).value
    assert verify([LEAF, MIDDLE], tmp_path, cert_sha256=pinned).subject == SUBJECT
    found = refusal([signer(MIDDLE), MIDDLE], tmp_path, cert_sha256=pinned)
    assert isinstance(found, SignerUntrusted)
    assert pinned in str(found)


@pytest.mark.parametrize("held", [LEAF, MIDDLE])
def test_a_denied_certificate_vouches_for_nothing(held: Held, tmp_path: Path) -> None:
    found = refusal([LEAF, MIDDLE], tmp_path, denied=(f"sha256:{Digest.of(held.der).value}",))
    assert isinstance(found, SignerUntrusted)
    assert "denies" in str(found)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_a_denied_certificate_is_denied_with_its_signature_rewritten(curve: ec.EllipticCurve, tmp_path: Path) -> None:
    """Whoever has (r, s) has (r, n - s), which verifies as well and gives the certificate another digest."""
    root = authority("Root", key=ec.generate_private_key(curve))
    leaf = signer(root)
    denied = (Digest.of(leaf.der).value,)
    accepted = []
    for twin in fingerprints.twins(leaf.der):
        assert Digest.of(twin).value not in denied
        assert isinstance(refusal([twin], tmp_path, roots=root.pem, denied=denied), SignerUntrusted)
        try:
            accepted.append(verify([twin], tmp_path, roots=root.pem))
        except SignerUntrusted:
            continue  # of the order of another curve
    assert len(accepted) == 1


@pytest.mark.parametrize("key", [None, rsa.generate_private_key(65537, 2048)], ids=["ecdsa", "rsa"])
def test_a_denied_certificate_is_denied_with_bits_said_to_be_unused(key: Any, tmp_path: Path) -> None:
    root = authority("Root", key=key)
    leaf = signer(root)
    while leaf.certificate.signature[-1] & 1:  # the last bit, which is to be unused, must be 0
        leaf = signer(root)
    changed = bytearray(leaf.der)
    changed[len(changed) - len(leaf.certificate.signature) - 1] = 1
    assert verify([bytes(changed)], tmp_path, roots=root.pem).subject == SUBJECT
    denied = (Digest.of(leaf.der).value,)
    assert isinstance(refusal([bytes(changed)], tmp_path, roots=root.pem, denied=denied), SignerUntrusted)


def test_a_denied_authority_among_the_roots_vouches_for_nothing(tmp_path: Path) -> None:
    denied = (Digest.of(ROOT.der).value,)
    assert isinstance(refusal([signer(ROOT)], tmp_path, denied=denied), SignerUntrusted)
    other = authority("Other")
    assert "nothing in the bundle or the root issued it" in str(
        refusal([signer(ROOT)], tmp_path, roots=other.pem + ROOT.pem, denied=denied)
    )
    assert verify([signer(other)], tmp_path, roots=other.pem + ROOT.pem, denied=denied).subject == SUBJECT


def test_a_signer_may_be_pinned_as_its_own_root(tmp_path: Path) -> None:
    own = signer(None)
    assert verify([own], tmp_path, roots=own.pem).subject == SUBJECT


def test_a_file_without_certificates_is_no_root(tmp_path: Path) -> None:
    assert isinstance(refusal([LEAF, MIDDLE], tmp_path, roots=b"nothing"), TrustCorrupt)


def test_what_is_no_certificate_is_malformed(tmp_path: Path) -> None:
    for garbled in (b"", b"\x30\x00", LEAF.der[:-1], LEAF.der + b"\0", MIDDLE.pem):
        assert isinstance(refusal([garbled], tmp_path), SignatureMalformed)
        assert isinstance(refusal([LEAF, garbled], tmp_path), SignatureMalformed)


@given(place=st.integers(0, len(LEAF.der) - 1), bits=st.integers(1, 255))
def test_no_changed_certificate_is_taken(place: int, bits: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    changed = bytearray(LEAF.der)
    changed[place] ^= bits
    folder = tmp_path_factory.getbasetemp() / "changed"
    folder.mkdir(exist_ok=True)
    refusal([bytes(changed), MIDDLE], folder)
