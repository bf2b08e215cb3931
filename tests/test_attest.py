"""Attestations and approvals: what is said, that it keeps to its schema, and what a reader refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from weighbridge import approval, attest, scan
from weighbridge.approval import EXTENSION, Allowed, Approval, ApprovedFile
from weighbridge.artifact import Manifest
from weighbridge.attest import Input
from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UsageError
from weighbridge.evidence import statement, strict
from weighbridge.evidence.base import Method, Signature
from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.evidence.statement import SUMMARY, TREE
from weighbridge.policy import Verdict
from weighbridge.refusals import ApprovalFailed, ApprovalMalformed, ContentMismatch, SignatureUnsupported

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads((ROOT / "docs/schema/scan-result-1.schema.json").read_text())
MODELS = str(ROOT / "fixtures/models")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = AT + timedelta(days=180)
HEX = "ab" * 32


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    return scan([MODELS])


@pytest.fixture(scope="module")
def passed() -> Verdict:
    return scan([f"{MODELS}/ordinary.pt"])


def signed(payload: bytes, payload_type: str = IN_TOTO) -> Signature:
    return Signature(
        method=Method.KEY,
        signer="gate",
        identity=f"sha256:{HEX}",
        payload_type=payload_type,
        payload=payload,
        bundle=Digest.of(b"bundle"),
    )


def test_a_scan_result_keeps_to_its_schema_and_says_what_was_found(verdict: Verdict) -> None:
    payload = attest.scan_result(verdict, at=AT, root=MODELS)
    made = json.loads(payload)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(made["predicate"], SCHEMA)
    files = {file["path"]: file for file in made["predicate"]["files"]}
    assert set(files) == {"booby_trapped.pt", "ordinary.pt"}
    assert files["ordinary.pt"]["outcome"] == "pass"
    assert files["ordinary.pt"]["complete"]
    (finding,) = files["booby_trapped.pt"]["findings"]
    assert (finding["rule"], finding["members"]) == ("PKL001", ["booby_trapped/data.pkl"])
    assert "os.system" in finding["message"]
    assert made["predicate"]["scannedAt"] == "2026-01-02T03:04:05Z"
    assert [one["name"] for one in made["subject"]] == ["booby_trapped.pt", "ordinary.pt", TREE]
    assert payload == attest.scan_result(verdict, at=AT, root=MODELS)


def test_a_file_with_a_gap_is_not_complete(tmp_path: Path) -> None:
    (tmp_path / "odd.bin").write_bytes(b"\x93no format at all\x00\x01")
    made = json.loads(attest.scan_result(scan([tmp_path]), at=AT, root=str(tmp_path)))
    jsonschema.validate(made["predicate"], SCHEMA)
    (file,) = made["predicate"]["files"]
    assert (file["outcome"], file["complete"], bool(file["gaps"])) == ("inconclusive", False, True)


def test_nothing_is_attested_without_digests() -> None:
    with pytest.raises(UsageError, match="scan it with digests"):
        attest.scan_result(scan([MODELS], digest=False), at=AT)


def test_a_decision_is_a_verification_summary(verdict: Verdict, passed: Verdict) -> None:
    inputs = [Input(uri="urn:weighbridge:scan-result:1", digest=Digest.of(b"result"))]
    for judged, result, levels in ((verdict, "FAILED", []), (passed, "PASSED", ["WEIGHBRIDGE_PASS"])):
        manifest = attest.manifest_of(judged, MODELS)
        made = json.loads(
            attest.decision(judged, manifest, at=AT, verifier="urn:x", resource="hf://acme/m@1", inputs=inputs)
        )
        assert made["predicateType"] == SUMMARY
        predicate = made["predicate"]
        assert (predicate["verificationResult"], predicate["verifiedLevels"]) == (result, levels)
        assert predicate["verifier"]["id"] == "urn:x"
        assert predicate["policy"]["digest"]["sha256"] == judged.policy_digest.removeprefix("sha256:")
        assert predicate["inputAttestations"][0]["digest"] == {"sha256": Digest.of(b"result").value}


def test_a_statement_is_compared_with_what_is_there(verdict: Verdict) -> None:
    manifest = attest.manifest_of(verdict, MODELS)
    found = attest.read(signed(attest.scan_result(verdict, at=AT, root=MODELS)), "a.json", kind=attest.SCAN_RESULT)
    attest.compare(found.statement, manifest, "a.json")
    first, second = manifest.entries
    changed = Manifest(entries=(first, type(second)(second.path, second.size, HEX)))
    with pytest.raises(ContentMismatch, match=r"1 changed \(ordinary\.pt\)"):
        attest.compare(found.statement, changed, "a.json")
    with pytest.raises(ContentMismatch, match=r"1 missing \(ordinary\.pt\)"):
        attest.compare(found.statement, Manifest(entries=(first,)), "a.json")
    more = Manifest(entries=(first, second, type(first)("x", 1, HEX)))
    with pytest.raises(ContentMismatch, match=r"1 not covered \(x\)"):
        attest.compare(found.statement, more, "a.json")
    with pytest.raises(SignatureUnsupported, match="predicate"):
        attest.read(found.signature, "a.json", kind=SUMMARY)


def granted(passed: Verdict) -> bytes:
    files = [
        ApprovedFile(path="w/model.safetensors", size=9, sha256=HEX, format="safetensors", leaves="cd" * 32),
        ApprovedFile(path="config.json", size=2, sha256="01" * 32, format="json", leaves="23" * 32),
    ]
    return attest.grant(
        passed,
        files,
        at=AT,
        expires=LATER,
        verifier="urn:gate",
        resource="hf://acme/m@1",
        allowed=[Allowed(path="config.json", key="auto_map", digest=HEX)],
        derived_from=f"sha256:{HEX}",
    )


def test_an_approval_says_again_what_was_granted(passed: Verdict) -> None:
    read = approval.read_statement(signed(granted(passed)), "approval.json")
    assert [(file.path, file.size, file.format) for file in read.files] == [
        ("config.json", 2, "json"),
        ("w/model.safetensors", 9, "safetensors"),
    ]
    assert read.formats == ("json", "safetensors")
    assert (read.approved, read.expires, read.signer, read.verifier) == (AT, LATER, "gate", "urn:gate")
    assert (read.policy, read.rules) == (passed.policy_digest, passed.rules_digest)
    assert read.allowed == (Allowed(path="config.json", key="auto_map", digest=HEX),)
    assert read.derived_from == f"sha256:{HEX}"
    assert read.digest == str(Digest.of(granted(passed)))


def test_only_what_passed_is_approved(verdict: Verdict) -> None:
    with pytest.raises(ValueError, match="only what passed"):
        attest.grant(verdict, [], at=AT, expires=LATER, verifier="urn:gate", resource="x")


def test_unsafe_paths_are_not_approved(passed: Verdict) -> None:
    outside = ApprovedFile(path="../x", size=1, sha256=HEX, format="json", leaves=HEX)
    with pytest.raises(SourceError, match="refused"):
        attest.grant(passed, [outside], at=AT, expires=LATER, verifier="urn:gate", resource="x")


def bent(passed: Verdict, bend: Callable[[dict[str, Any]], None]) -> Approval:
    made = json.loads(granted(passed))
    bend(made)
    return approval.read_statement(signed(strict.canonical(made)), "approval.json")


def extension(made: dict[str, Any]) -> dict[str, Any]:
    return made["predicate"][EXTENSION]  # type: ignore[no-any-return]


BENT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no predicate": lambda made: made.update(predicate=None),
    "another predicate": lambda made: made.update(predicateType="urn:x"),
    "no extension": lambda made: made["predicate"].pop(EXTENSION),
    "a subject more": lambda made: made["subject"].append({"name": "x", "digest": {"sha256": HEX}}),
    "a subject less": lambda made: made["subject"].pop(0),
    "a subject twice": lambda made: made["subject"].append(made["subject"][0]),
    "no tree": lambda made: made["subject"].pop(),
    "two trees": lambda made: made["subject"].append(made["subject"][-1]),
    "another tree": lambda made: made["subject"][-1]["digest"].update(sha256=HEX),
    "another size": lambda made: extension(made)["files"]["config.json"].update(size=3),
    "a negative size": lambda made: extension(made)["files"]["config.json"].update(size=-3),
    "a size that is true": lambda made: extension(made)["files"]["config.json"].update(size=True),
    "another digest": lambda made: made["subject"][0]["digest"].update(sha256="00" * 32),
    "a digest in capitals": lambda made: made["subject"][0]["digest"].update(sha256="AB" * 32),
    "no sha256": lambda made: made["subject"][0].update(digest={"sha512": HEX}),
    "no leaves": lambda made: extension(made)["files"]["config.json"].pop("leaves"),
    "no expiry": lambda made: extension(made).pop("expires"),
    "an expiry of another form": lambda made: extension(made).update(expires="2027"),
    "an expiry elsewhere": lambda made: extension(made).update(expires="2027-01-01T00:00:00+02:00"),
    "what is allowed as text": lambda made: extension(made).update(allowed=["x"]),
    "no verifier": lambda made: made["predicate"].pop("verifier"),
    "no policy": lambda made: made["predicate"]["policy"].pop("digest"),
}


@pytest.mark.parametrize("bend", BENT.values(), ids=BENT)
def test_an_approval_that_contradicts_itself_is_none(passed: Verdict, bend: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(ApprovalMalformed, match=r"^approval\.json: "):
        bent(passed, bend)


def test_an_approval_of_what_failed_says_so(passed: Verdict) -> None:
    with pytest.raises(ApprovalFailed, match="FAILED"):
        bent(passed, lambda made: made["predicate"].update(verificationResult="FAILED"))


def test_an_approval_of_an_unsafe_path_is_none(passed: Verdict) -> None:
    def rename(made: dict[str, Any]) -> None:
        made["subject"][0]["name"] = "../config.json"
        extension(made)["files"]["../config.json"] = extension(made)["files"].pop("config.json")

    with pytest.raises(ApprovalMalformed, match="unsafe path"):
        bent(passed, rename)


def test_a_payload_of_another_type_is_no_approval(passed: Verdict) -> None:
    with pytest.raises(ApprovalMalformed, match="in-toto"):
        approval.read_statement(signed(granted(passed), "application/json"), "approval.json")
    assert statement.parse(granted(passed), IN_TOTO, "x").predicate_type == SUMMARY
