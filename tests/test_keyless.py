"""Keyless signatures: each thing that can be wrong with one is refused with its own code, and without any network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any, TypeAlias
from urllib.parse import quote

import pytest
from keyless_signing import GITHUB, MAIN, MODELS, ROBOT, STATEMENT, WORKFLOW, instance, offline, root, signer, verify
from servers.fake_sigstore import ALICE, REF, REPOSITORY, Defect, FakeSigstore, Flaw, Person

from weighbridge.evidence import trusted_root
from weighbridge.evidence.base import Method
from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.refusals import EvidenceError, SignatureInvalid, SignerUntrusted, TrustCorrupt

__all__ = ["offline"]

pytestmark = pytest.mark.usefixtures("offline")

INVALID, UNTRUSTED, EXPIRED = "SIG_INVALID", "SIGNER_UNTRUSTED", "SIGNER_EXPIRED"
MALFORMED, UNSUPPORTED = "SIG_MALFORMED", "SIG_UNSUPPORTED"

Row: TypeAlias = tuple[Defect, tuple[int, ...], str, str, str]
# For each defect: the versions of the log with which it is one, the code, the step of an invalid signature, and a part
# of what is said.
DEFECTS: list[Row] = [
    (Defect.UNKNOWN_CA, (1, 2), UNTRUSTED, "", "of no authority of the trust root"),
    (Defect.FORGED_CA, (1, 2), UNTRUSTED, "", "of no authority of the trust root"),
    (Defect.EXPIRED, (1, 2), EXPIRED, "", "its certificate is valid from"),
    (Defect.NOT_YET_VALID, (1, 2), EXPIRED, "", "its certificate is valid from"),
    (Defect.WRONG_EKU, (1, 2), UNTRUSTED, "", "not for signing code"),
    (Defect.NO_EKU, (1, 2), UNTRUSTED, "", "not for signing code"),
    (Defect.NO_DIGITAL_SIGNATURE, (1, 2), UNTRUSTED, "", "not for signatures"),
    (Defect.IS_CA, (1, 2), UNTRUSTED, "", "not for signatures"),
    (Defect.TWO_IDENTITIES, (1, 2), UNTRUSTED, "", "names 2 identities"),
    (Defect.NO_IDENTITY, (1, 2), UNTRUSTED, "", "of no authority"),
    (Defect.ISSUERS_DIFFER, (1, 2), UNTRUSTED, "", "names 2 issuers"),
    (Defect.NO_ISSUER, (1, 2), UNTRUSTED, "", "names 0 issuers"),
    (Defect.GARBLED_ISSUER, (1, 2), MALFORMED, "", "certificate cannot be read"),
    (Defect.RSA_KEY, (1, 2), UNSUPPORTED, "", "ECDSA is understood"),
    (Defect.GARBLED_CERTIFICATE, (1, 2), MALFORMED, "", "certificate cannot be read"),
    (Defect.NO_SCT, (1, 2), INVALID, "sct", "does not contain a signed certificate timestamp"),
    (Defect.SCT_OTHER_KEY, (1, 2), INVALID, "sct", "SCT verify failed"),
    (Defect.SCT_OTHER_CERTIFICATE, (1, 2), INVALID, "sct", "SCT verify failed"),
    (Defect.TWO_SCTS, (1, 2), INVALID, "sct", "found 2"),
    (Defect.NO_ENTRY, (1, 2), INVALID, "log", "one entry of a log"),
    (Defect.TWO_ENTRIES, (1, 2), INVALID, "log", "one entry of a log"),
    (Defect.NO_PROOF, (1, 2), INVALID, "log", "no proof"),
    (Defect.NO_CHECKPOINT, (1, 2), INVALID, "log", "with a checkpoint"),
    (Defect.BAD_PROOF, (1, 2), INVALID, "log", "invalid root hash"),
    (Defect.PROOF_OF_OTHER_ENTRY, (1, 2), INVALID, "log", "invalid root hash"),
    (Defect.CHECKPOINT_OTHER_KEY, (1, 2), INVALID, "log", "checkpoint: invalid signature"),
    (Defect.CHECKPOINT_OTHER_ROOT, (1, 2), INVALID, "log", "invalid root hash signature"),
    (Defect.GARBLED_CHECKPOINT, (1, 2), INVALID, "log", "base64"),
    (Defect.BAD_PROMISE, (1,), INVALID, "log", "inclusion promise"),
    (Defect.NO_PROMISE, (1,), INVALID, "timestamp", "nobody vouches for when"),
    (Defect.LOG_TIME_MOVED, (1,), INVALID, "log", "inclusion promise"),
    (Defect.LOGGED_OTHER_PAYLOAD, (1, 2), INVALID, "log", "log entry"),
    (Defect.LOGGED_OTHER_SIGNATURE, (1, 2), INVALID, "log", "log entry"),
    (Defect.LOGGED_OTHER_CERTIFICATE, (1, 2), INVALID, "log", "log entry"),
    (Defect.UNKNOWN_LOG, (1, 2), INVALID, "log", "Signature not found for log ID"),
    (Defect.NO_TIMESTAMP, (2,), INVALID, "timestamp", "nobody vouches for when"),
    (Defect.TIMESTAMP_OTHER_MESSAGE, (2,), INVALID, "timestamp", "not enough sources of verified time"),
    (Defect.TIMESTAMP_OTHER_AUTHORITY, (2,), INVALID, "timestamp", "not enough sources of verified time"),
    (Defect.TIMESTAMP_OUTSIDE, (2,), EXPIRED, "", "its certificate is valid from"),
    (Defect.TIMESTAMP_TWICE, (2,), INVALID, "timestamp", "duplicate timestamp"),
    (Defect.GARBLED_TIMESTAMP, (2,), INVALID, "timestamp", "timestamp cannot be read"),
    (Defect.OTHER_KEY, (1, 2), INVALID, "signature", "invalid"),
]
# What is wrong with the signature itself differs between an envelope and a file.
ENVELOPES: list[Row] = [
    (Defect.OTHER_PAYLOAD, (1, 2), INVALID, "signature", "invalid signature"),
    (Defect.NO_SIGNATURE, (1, 2), MALFORMED, "", "exactly one signature"),
    (Defect.TWO_SIGNATURES, (1, 2), MALFORMED, "", "exactly one signature"),
]
FILES: list[Row] = [(Defect.OTHER_PAYLOAD, (1, 2), INVALID, "signature", "invalid")]


def _each(*tables: list[Row]) -> list[Any]:
    return [
        pytest.param(version, defect, code, step, said, id=f"{defect}-v{version}")
        for table in tables
        for defect, versions, code, step, said in table
        for version in versions
    ]


def _check(raw: bytes, code: str, step: str, said: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        verify(raw)
    assert refused.value.code == code
    assert getattr(refused.value, "step", "") == step
    text = str(refused.value)
    assert said in text
    assert text.startswith("model.sig: ")
    assert "\n" not in text
    assert len(text) < 600


@pytest.mark.parametrize(("version", "defect", "code", "step", "said"), _each(DEFECTS, ENVELOPES))
def test_a_defect_of_a_signed_statement_is_refused(
    version: int, defect: Defect, code: str, step: str, said: str
) -> None:
    _check(instance().envelope(STATEMENT, rekor=version, defect=defect), code, step, said)


@pytest.mark.parametrize(("version", "defect", "code", "step", "said"), _each(DEFECTS, FILES))
def test_a_defect_of_a_signed_file_is_refused(version: int, defect: Defect, code: str, step: str, said: str) -> None:
    _check(instance().file(b"weights", rekor=version, defect=defect), code, step, said)


def test_every_defect_is_tried() -> None:
    assert {defect for defect, *_ in (*DEFECTS, *ENVELOPES)} == set(Defect)


# The name of a user, as Fulcio has it for issuers that know no mail addresses.
USER = Person(identity="alice!acme.test")


@pytest.mark.parametrize("person", [ALICE, ROBOT, USER], ids=["person", "workflow", "user"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_good_statement_is_verified(version: int, person: Person) -> None:
    raw = instance().envelope(STATEMENT, person, rekor=version)
    found = verify(raw, signer(identity=person.identity, issuer=person.issuer))
    assert (found.method, found.signer, found.payload, found.payload_type) == (
        Method.SIGSTORE,
        "alice",
        STATEMENT,
        IN_TOTO,
    )
    assert (found.identity, found.issuer) == (person.identity, person.issuer)
    assert found.signed_at is not None
    assert abs(found.signed_at - datetime.now(UTC)) < timedelta(minutes=10)
    assert found.bundle.value == hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("version", [1, 2])
def test_a_good_signature_over_a_file_gives_its_digest(version: int) -> None:
    found = verify(instance().file(b"weights", rekor=version))
    assert (found.payload, found.payload_type) == (hashlib.sha256(b"weights").digest(), "")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_bundle_is_read(version: int) -> None:
    assert verify(instance().envelope(STATEMENT, version=version)).payload == STATEMENT
    assert verify(instance().file(b"weights", version=version)).payload == hashlib.sha256(b"weights").digest()


def test_a_timestamp_beside_the_time_of_the_log_is_verified_too() -> None:
    assert verify(instance().envelope(STATEMENT, stamped=True)).payload == STATEMENT
    raw = instance().envelope(STATEMENT, stamped=True, defect=Defect.TIMESTAMP_OUTSIDE)
    _check(raw, EXPIRED, "", "its certificate is valid from")


def test_what_was_signed_long_ago_is_verified_today() -> None:
    fake = FakeSigstore(now=datetime(2024, 2, 29, 12, 0, 30, tzinfo=UTC))
    for version in (1, 2):
        found = verify(fake.envelope(STATEMENT, rekor=version), trusted=root(fake))
        assert found.signed_at == fake.now()


WHO = {
    "another identity": ({"identity": "mallory@acme.test"}, ALICE),
    "the identity in capitals": ({"identity": "Alice@acme.test"}, ALICE),
    "another issuer": ({"issuer": "https://login.evil.test"}, ALICE),
    "the issuer with a slash": ({"issuer": f"{ALICE.issuer}/"}, ALICE),
    "a pattern for others": ({"identity": "", "identity_glob": "*@other.test"}, ALICE),
    "a pattern that ends early": ({"identity": "", "identity_glob": "a*@acme.tes"}, ALICE),
    "a pattern with another issuer": (
        {"identity": "", "identity_glob": "*@acme.test", "issuer": "https://login.evil.test"},
        ALICE,
    ),
    "a person where a workflow is wanted": (
        {"identity": "", "source_repository": MODELS, "workflow": WORKFLOW, "ref": MAIN},
        ALICE,
    ),
}
WORKFLOWS = {
    "another repository": {"source_repository": "https://github.com/evil/models"},
    "another workflow": {"workflow": ".github/workflows/other.yml"},
    "another ref": {"ref": "refs/tags/v1"},
    "another issuer": {"issuer": "https://gitlab.com"},
    "a pattern of other refs": {"ref": "refs/tags/*"},
}


@pytest.mark.parametrize(("wanted", "person"), WHO.values(), ids=WHO)
def test_somebody_else_is_refused_by_name(wanted: dict[str, str], person: Person) -> None:
    keys = {"issuer": GITHUB} | wanted if "workflow" in wanted else wanted
    with pytest.raises(SignerUntrusted, match=r"alice@acme\.test, issuer https://login\.acme\.test") as refused:
        verify(instance().envelope(STATEMENT, person), signer(**keys))
    assert refused.value.actual == "alice@acme.test, issuer https://login.acme.test"
    assert refused.value.expected in str(refused.value)


def _workflow(**changed: str) -> Any:
    keys = {"identity": "", "issuer": GITHUB, "source_repository": MODELS, "workflow": WORKFLOW, "ref": MAIN}
    return signer(**(keys | changed))


@pytest.mark.parametrize("ref", [MAIN, "refs/heads/*", "refs/**"])
def test_a_workflow_is_known_by_repository_path_and_ref(ref: str) -> None:
    assert verify(instance().envelope(STATEMENT, ROBOT), _workflow(ref=ref)).identity == ROBOT.identity


@pytest.mark.parametrize("changed", WORKFLOWS.values(), ids=WORKFLOWS)
def test_another_workflow_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(SignerUntrusted, match=r"sign\.yml@refs/heads/main, issuer"):
        verify(instance().envelope(STATEMENT, ROBOT), _workflow(**changed))


def test_a_workflow_called_from_another_repository_is_refused() -> None:
    """The identity is then of the workflow that was called, the claims are of who called it."""
    caller = Person(identity=ROBOT.identity, issuer=GITHUB, claims={REPOSITORY: "https://github.com/evil/m", REF: MAIN})
    with pytest.raises(SignerUntrusted):
        verify(instance().envelope(STATEMENT, caller), _workflow())
    called = Person(identity=f"{MODELS}/x.yml@{MAIN}", issuer=GITHUB, claims={REPOSITORY: MODELS, REF: MAIN})
    with pytest.raises(SignerUntrusted):
        verify(instance().envelope(STATEMENT, called), _workflow())


def test_a_pattern_of_identities_goes_with_its_issuer() -> None:
    found = verify(instance().envelope(STATEMENT), signer(identity="", identity_glob="*@acme.test"))
    assert found.identity == "alice@acme.test"


@pytest.mark.parametrize(("version", "code"), [(1, UNTRUSTED), (2, INVALID)])
def test_another_instance_is_refused(version: int, code: str) -> None:
    """Its timestamp is looked at before its certificate."""
    with pytest.raises(EvidenceError) as refused:
        verify(FakeSigstore().envelope(STATEMENT, rekor=version))
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("flaw", "code", "step"),
    [
        (Flaw.RETIRED_CA, UNTRUSTED, ""),
        (Flaw.FUTURE_CA, UNTRUSTED, ""),
        (Flaw.RETIRED_LOG, INVALID, "log"),
        (Flaw.RETIRED_CT_LOG, INVALID, "sct"),
        (Flaw.RETIRED_TSA, INVALID, "timestamp"),
        (Flaw.NO_TSA, INVALID, "timestamp"),
        (Flaw.NO_CA, "TRUST_CORRUPT", ""),
        (Flaw.NO_LOGS, "TRUST_CORRUPT", ""),
        (Flaw.NO_CT_LOG, "TRUST_CORRUPT", ""),
    ],
)
def test_a_service_that_did_not_serve_then_vouches_for_nothing(flaw: Flaw, code: str, step: str) -> None:
    raw = instance().envelope(STATEMENT, rekor=2)
    with pytest.raises(EvidenceError) as refused:
        verify(raw, trusted=root(flaw=flaw))
    assert (refused.value.code, getattr(refused.value, "step", "")) == (code, step)


@pytest.mark.parametrize("spoil", ["", "[]", "{}", '{"tlogs": 1}', '{"mediaType": "x", "mediaType": "y"}', "\xff"])
def test_a_trust_root_that_is_none_is_corrupt(spoil: str) -> None:
    with pytest.raises(TrustCorrupt):
        trusted_root.parse(spoil.encode("latin-1"), "root.json")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document["tlogs"][0].pop("publicKey"),
        lambda document: document["tlogs"][0]["publicKey"].update(validFor={"start": "yesterday"}),
        lambda document: document["tlogs"][0]["publicKey"].update(validFor={"start": "2024-01-01"}),
        lambda document: document["tlogs"][0]["publicKey"].update(validFor=[]),
        lambda document: document["certificateAuthorities"][0].pop("validFor"),
        lambda document: document.update(mediaType="application/json"),
    ],
)
def test_a_trust_root_with_a_wrong_service_is_corrupt(spoil: Callable[[Any], object]) -> None:
    document = instance().trusted_root()
    spoil(document)
    with pytest.raises(TrustCorrupt):
        trusted_root.parse(json.dumps(document).encode(), "root.json")


def test_a_trust_root_that_sigstore_cannot_read_is_corrupt() -> None:
    document = instance().trusted_root()
    document["certificateAuthorities"][0]["certChain"] = {"certificates": [{"rawBytes": "MIA="}]}
    with pytest.raises(TrustCorrupt, match="not a sigstore trust root"):
        verify(instance().envelope(STATEMENT), trusted=trusted_root.parse(json.dumps(document).encode(), "root.json"))


@pytest.mark.parametrize("kind", ["text/plain", "application/vnd.in-toto", f"{IN_TOTO} "])
def test_a_payload_of_another_type_is_refused(kind: str) -> None:
    _check(instance().envelope(STATEMENT, payload_type=kind), UNSUPPORTED, "", "not an in-toto statement")


def _changed(change: Callable[[Any], object], **options: Any) -> bytes:
    document = json.loads(instance().envelope(STATEMENT, **options))
    change(document)
    return json.dumps(document).encode()


def _entry(document: Any) -> Any:
    return document["verificationMaterial"]["tlogEntries"][0]


CHANGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "a key instead": (
        lambda document: document.update(verificationMaterial={"publicKey": {"hint": ""}, "tlogEntries": []}),
        "SIG_METHOD",
    ),
    "the newest version": (lambda document: document.update(mediaType=document["mediaType"] + "x"), UNSUPPORTED),
    "an older version": (
        lambda document: document.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.1"),
        MALFORMED,
    ),
    "an unknown field": (lambda document: document["verificationMaterial"].update(more=1), MALFORMED),
    "the other name of a field": (lambda document: document.update(dsse_envelope=document["dsseEnvelope"]), MALFORMED),
    "an entry of another version": (
        lambda document: _entry(document)["kindVersion"].update(version="0.0.9"),
        UNSUPPORTED,
    ),
    "an entry of another kind": (lambda document: _entry(document)["kindVersion"].update(kind="intoto"), INVALID),
    "a time that is no number": (lambda document: _entry(document).update(integratedTime="now"), MALFORMED),
    "a time before 1970": (lambda document: _entry(document).update(integratedTime="-5"), MALFORMED),
    "a time in Arabic digits": (lambda document: _entry(document).update(integratedTime="١٢"), MALFORMED),
    "a time beyond calendars": (lambda document: _entry(document).update(integratedTime="9" * 18), MALFORMED),
    "a time as a number": (lambda document: _entry(document).update(integratedTime=1700000000), MALFORMED),
    "another time": (lambda document: _entry(document).update(integratedTime="1700000000"), EXPIRED),
    "timestamps that are no list": (
        lambda document: document["verificationMaterial"].update(timestampVerificationData={"rfc3161Timestamps": "x"}),
        MALFORMED,
    ),
    "timestamp data that is no object": (
        lambda document: document["verificationMaterial"].update(timestampVerificationData=[1]),
        MALFORMED,
    ),
    "33 timestamps": (
        lambda document: document["verificationMaterial"].update(
            timestampVerificationData={"rfc3161Timestamps": [{"signedTimestamp": "AAAA"}] * 33}
        ),
        MALFORMED,
    ),
    "entries that are no list": (
        lambda document: document["verificationMaterial"].update(tlogEntries={"a": 1}),
        INVALID,
    ),
    "a log index of 70 bits": (lambda document: _entry(document).update(logIndex=str(1 << 70)), MALFORMED),
    "a signature that is none": (
        lambda document: document["dsseEnvelope"]["signatures"][0].update(sig=base64.b64encode(b"x").decode()),
        INVALID,
    ),
    "an empty signature": (lambda document: document["dsseEnvelope"]["signatures"][0].update(sig=""), INVALID),
}


@pytest.mark.parametrize(("change", "code"), CHANGES.values(), ids=CHANGES)
def test_a_changed_bundle_is_refused(change: Callable[[Any], object], code: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        verify(_changed(change))
    assert refused.value.code == code


def test_a_file_signed_by_another_hash_is_unsupported() -> None:
    document = json.loads(instance().file(b"weights"))
    document["messageSignature"]["messageDigest"]["algorithm"] = "SHA2_512"
    _check(json.dumps(document).encode(), UNSUPPORTED, "", "SHA2_256 is understood")


def test_an_error_about_cryptography_comes_before_one_about_the_signer() -> None:
    """Who is named as the actual signer did sign."""
    raw = instance().envelope(STATEMENT, defect=Defect.OTHER_KEY)
    with pytest.raises(SignatureInvalid):
        verify(raw, signer(identity="mallory@acme.test"))


@pytest.mark.parametrize("host", ["tuf-repo-cdn.sigstore.dev", "tuf-repo-cdn.sigstage.dev"])
def test_the_roots_that_sigstore_ships_are_read_and_trust_nobody_else(host: str) -> None:
    """No bundle comes with sigstore-python; its embedded trust roots are those of the public instance and its twin."""
    raw = files("sigstore").joinpath("_store", quote(f"https://{host}", safe=""), "trusted_root.json").read_bytes()
    public = trusted_root.parse(raw, host)
    for version, code in ((1, UNTRUSTED), (2, INVALID)):
        with pytest.raises(EvidenceError) as refused:
            verify(instance().envelope(STATEMENT, rekor=version), trusted=public)
        assert refused.value.code == code
