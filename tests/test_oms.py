"""OpenSSF Model Signing: which statements are read, what of the files they cover, and the holes that others had."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from oms_files import (
    FILES,
    HASHES,
    NOW,
    bundle,
    key,
    keys,
    payload,
    resources,
    shards,
    signature,
    trust,
    write,
)

from weighbridge.artifact import Entry, Manifest
from weighbridge.errors import Refusal, UsageError
from weighbridge.evidence import oms, oms_write, requirement
from weighbridge.evidence.base import Evidence
from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.evidence.signers import KeySigner
from weighbridge.evidence.tree import Stored, Tree
from weighbridge.refusals import (
    ApprovalRevoked,
    ContentMismatch,
    EvidenceError,
    ManifestInvalid,
    SignatureInvalid,
    SignatureMalformed,
    SignatureMissing,
    SignatureUnsupported,
    SourceUncovered,
    UnsafeEntry,
)

TREE = Manifest(
    entries=tuple(Entry(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in FILES.items())
).digest


def held(folder: Path, signed: bytes, **more: Any) -> Evidence:
    """Return what a statement, taken for signed, proves of a folder."""
    with Tree(folder) as opened:
        return oms.verify(opened, signature(signed), "model.sig", **more)[0]


@pytest.mark.parametrize("algorithm", HASHES)
@pytest.mark.parametrize("size", [0, 1, 999, 1000, 3000, 10**9])
def test_a_statement_covers_the_files_that_it_lists(algorithm: str, size: int, tmp_path: Path) -> None:
    listed = shards(size=size, algorithm=algorithm) if size else resources(algorithm=algorithm)
    form: dict[str, Any] = {"method": "shards", "shard_size": float(size)} if size else {}
    found = held(write(tmp_path), payload(listed, hash_type=algorithm, **form))
    assert (found.kind, found.format, found.predicate_type) == ("signature", "oms-1.0", oms.PREDICATE)
    assert found.covered == tuple(sorted(FILES))
    assert (found.uncovered, found.subject) == ((), TREE)
    for path in FILES:
        write(tmp_path, {path: FILES[path][:-1] + b"\1"})
        with pytest.raises(ContentMismatch) as caught:
            held(tmp_path, payload(listed, hash_type=algorithm, **form))
        assert (caught.value.changed, caught.value.missing, caught.value.extra) == ((path,), (), ())
        write(tmp_path)


@pytest.mark.parametrize("change", [b"", b"\0" * 2999, b"\0" * 3001, b"\0" * 4000])
def test_shards_reach_to_the_end_of_a_file(change: bytes, tmp_path: Path) -> None:
    signed = payload(shards(), method="shards", shard_size=1000)
    write(tmp_path, {**FILES, "weights/model.safetensors": change})
    with pytest.raises(ContentMismatch, match="1 changed"):
        held(tmp_path, signed)


def test_the_files_may_be_listed_in_any_order(tmp_path: Path) -> None:
    """The reference sorts by the parts of paths, the specification by code points: the listed order is what counts."""
    held(write(tmp_path), payload(list(reversed(resources()))))
    swapped = payload(list(reversed(resources())), root=oms.root_digest([one["digest"] for one in resources()]))
    with pytest.raises(ManifestInvalid, match="its files have the digest"):
        held(tmp_path, swapped)


def test_what_changed_is_missing_or_is_not_covered_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"config.json": b"[]", "tokenizer.json": FILES["tokenizer.json"], "a/evil.pkl": b"."})
    with pytest.raises(ContentMismatch) as caught:
        held(tmp_path, payload())
    assert caught.value.changed == ("config.json",)
    assert caught.value.missing == ("weights/model.safetensors",)
    assert caught.value.extra == ("a/evil.pkl",)


def test_ignored_paths_are_those_of_the_verifier_alone(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, "notes/a.md": b"1", "notes.md": b"2", "model.sig": b"3"})
    signed = payload(ignore_paths=["notes", "notes.md", "model.sig", "."])
    with pytest.raises(ContentMismatch) as caught:
        held(tmp_path, signed)
    assert caught.value.extra == ("model.sig", "notes.md", "notes/a.md")
    found = held(tmp_path, signed, ignored=("notes/", "notes.md"), beside={"model.sig"})
    assert found.uncovered == ("model.sig", "notes.md", "notes/a.md")
    assert found.subject == TREE  # of what is covered, so that nothing uncovered can be taken for approved
    with pytest.raises(ContentMismatch, match=r"1 not covered \(notes\.md\)"):
        held(tmp_path, signed, ignored=("notes",), beside={"model.sig"})


def test_what_is_covered_is_compared_though_it_is_ignored(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, "config.json": b"[]"})
    with pytest.raises(ContentMismatch, match="1 changed"):
        held(tmp_path, payload(), ignored=("config.json",), beside={"config.json"})


@pytest.mark.parametrize("form", ["files", "shards"])
def test_a_single_file_has_no_name_of_its_own(form: str, tmp_path: Path) -> None:
    write(tmp_path, {"renamed.bin": b"12345"})
    itself = {".": b"12345"}
    signed = payload(resources(itself)) if form == "files" else payload(shards(itself, 2), method=form, shard_size=2)
    assert held(tmp_path / "renamed.bin", signed).covered == ("renamed.bin",)
    with pytest.raises(ManifestInvalid, match="it signs a single file, and this is a folder"):
        held(tmp_path, signed)
    named = payload(resources({"renamed.bin": b"12345"}))
    assert held(tmp_path / "renamed.bin", named).covered == ("renamed.bin",)


def test_a_list_of_digests_in_the_subjects_is_read_as_it_was_meant(tmp_path: Path) -> None:
    subjects = [{"name": one["name"], "digest": {"sha256": one["digest"]}} for one in resources()]
    signed = payload(TYPE=oms.DIGESTS, SUBJECT=subjects, PREDICATE={"unused": "x"})
    found = held(write(tmp_path), signed)
    assert (found.format, found.covered, found.subject) == ("oms-0.2", tuple(sorted(FILES)), TREE)
    for other in ({"sha256-sharded-1000": "0" * 64}, {"sha256": "0" * 64, "sha512": "0" * 128}):
        with pytest.raises(SignatureUnsupported, match="not sha256 alone"):
            held(tmp_path, payload(TYPE=oms.DIGESTS, SUBJECT=[{"name": "a", "digest": other}]))


ONE = resources({"a": b"1"})[0]
UNSAFE_NAMES = [
    *("", "/", "/etc/passwd", "..", "../secret", "a/../b", "a/..", ".", "./a", "a/.", "a//b", "a/", "a\\b"),
    *(
        "a" * 4097,
        "a/" * 65 + "a",
        "a/" * 2_000_000 + "a",
        "..\\a",
        "a\0b",
        "a\nb",
        "\x1b[2J",
        "a\x7fb",
        "a\x9bb",
        "C:\\a",
        "\\\\server\\a",
    ),
]


@pytest.mark.parametrize("name", UNSAFE_NAMES, ids=lambda name: ascii(name[:20]))
def test_an_unsafe_name_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path / "m", {"a": b"1"})
    write(tmp_path, {"secret": b"1"})
    listed = [ONE, {**ONE, "name": name}]
    for signed in (
        payload(listed),
        payload(
            TYPE=oms.DIGESTS, SUBJECT=[{"name": one["name"], "digest": {"sha256": ONE["digest"]}} for one in listed]
        ),
        payload(
            [{**one, "name": f"{one['name']}:0:1", "algorithm": "sha256-sharded-1"} for one in listed],
            method="shards",
            shard_size=1,
        ),
    ):
        with pytest.raises((ManifestInvalid, SignatureMalformed)) as caught:
            held(tmp_path / "m", signed)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000


def shard(name: str, size: int = 2) -> dict[str, str]:
    return {"name": name, "algorithm": f"sha256-sharded-{size}", "digest": ONE["digest"]}


def sharded(*names: str) -> bytes:
    return payload([shard(name) for name in names], method="shards", shard_size=2)


INVALID: dict[str, bytes] = {
    "a name twice": payload([ONE, ONE]),
    "a name twice with two digests": payload([ONE, {**ONE, "digest": "0" * 64}]),
    "a file that is a folder": payload([ONE, {**ONE, "name": "a/b"}]),
    "no resources": payload([]),
    "resources that are none": payload(PREDICATE={"resources": {}, "serialization": {}}),
    "no serialization": payload(PREDICATE={"resources": [ONE]}),
    "a resource that is none": payload([["a"]]),
    "a resource without a name": payload([{"algorithm": "sha256", "digest": "0" * 64}]),
    "a name that is a number": payload([{**ONE, "name": 1}]),
    "a digest that is short": payload([{**ONE, "digest": "00"}]),
    "a digest in capitals": payload([{**ONE, "digest": ONE["digest"].upper()}]),
    "a digest with a space": payload([{**ONE, "digest": " " + ONE["digest"][1:]}]),
    "a digest of other digits": payload([{**ONE, "digest": "\uff11" * 64}]),
    "another root": payload(root="0" * 64),
    "no root": payload(SUBJECT=[{"name": "m", "digest": {"sha512": "0"}}]),
    "two subjects": payload(SUBJECT=[{"digest": {"sha256": "0" * 64}}] * 2),
    "an algorithm other than the statement's": payload([{**ONE, "algorithm": "blake2b"}]),
    "an algorithm that is none": payload([{**ONE, "algorithm": None}]),
    "ignore_paths that is text": payload(ignore_paths="model.sig"),
    "ignore_paths with a number": payload(ignore_paths=[1]),
    "shards of nothing": payload([shard("a:0:1", 0)], method="shards", shard_size=0),
    "shards of a fraction": payload([shard("a:0:1")], method="shards", shard_size=2.5),
    "shards of no size": payload([shard("a:0:1")], method="shards"),
    "shards of a truth": payload([shard("a:0:1", 1)], method="shards", shard_size=True),
    "shards beyond exact numbers": payload([shard("a:0:1")], method="shards", shard_size=1e300),
    "a shard without offsets": sharded("a"),
    "a shard of a name with a colon": sharded("a:b:0:1"),
    "a shard that ends first": sharded("a:2:1"),
    "a shard of no bytes": sharded("a:0:0"),
    "a shard that is too long": sharded("a:0:3"),
    "a shard that is too short in the middle": sharded("a:0:1", "a:1:3"),
    "shards with a gap": sharded("a:0:2", "a:4:6"),
    "shards that overlap": sharded("a:0:2", "a:1:3"),
    "shards that begin later": sharded("a:2:4"),
    "a shard twice": sharded("a:0:2", "a:0:2"),
    "an offset with a sign": sharded("a:+0:2"),
    "an offset with a leading zero": sharded("a:00:2"),
    "an offset in other digits": sharded("a:0:\uff12"),
    "an offset of many digits": sharded("a:0:" + "9" * 5000),
    "a shard of another size than the statement's": payload([shard("a:0:1", 3)], method="shards", shard_size=2),
}


@pytest.mark.parametrize("signed", INVALID.values(), ids=INVALID)
def test_a_list_that_contradicts_itself_is_refused(signed: bytes) -> None:
    with pytest.raises(ManifestInvalid, match=r"^model\.sig: .* \[MANIFEST_INVALID\]"):
        oms.read(signature(signed), "model.sig")


UNSUPPORTED: dict[str, tuple[bytes, str]] = {
    "another predicate": (payload(TYPE="https://slsa.dev/provenance/v1"), IN_TOTO),
    "shards of version 0.2": (payload(TYPE="https://model_signing/ShardDigests/v0.1"), IN_TOTO),
    "a digest of digests": (payload(TYPE="https://model_signing/DigestOfDigests/v0.1"), IN_TOTO),
    "another method": (payload(method="tensors"), IN_TOTO),
    "no method": (payload(method=None), IN_TOTO),
    "md5": (payload(hash_type="md5"), IN_TOTO),
    "a hash that is a list": (payload(hash_type=["sha256"]), IN_TOTO),
    "another payload": (payload(), "application/json"),
    "the digest of a file": (b"0" * 64, ""),
    "another statement": (payload().replace(b"Statement/v1", b"Statement/v9"), IN_TOTO),
}


@pytest.mark.parametrize(("signed", "payload_type"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_is_not_understood_is_unsupported(signed: bytes, payload_type: str) -> None:
    with pytest.raises(SignatureUnsupported, match=r"\[SIG_UNSUPPORTED\]"):
        oms.read(signature(signed, payload_type), "model.sig")


def test_two_keys_of_one_name_are_malformed() -> None:
    signed = payload().replace(b'"predicate": {', b'"predicate": {"resources": [], ')
    with pytest.raises(SignatureMalformed, match="a key occurs twice"):
        oms.read(signature(signed), "model.sig")


# What a trust policy requires


def required(folder: Path, **given: Any) -> requirement.Satisfied:
    policy = given.pop("policy", None) or trust(folder.parent / "trust")
    with Tree(folder) as opened:
        return requirement.require(opened, "hf://acme/m", policy, now=NOW, **given)


def signed_model(tmp_path: Path, files: Mapping[str, bytes] = FILES, **statement: Any) -> Path:
    folder = write(tmp_path / "m", files)
    (folder / "model.sig").write_bytes(bundle(payload(resources(files), **statement)))
    return folder


def test_a_signed_model_satisfies_its_rule(tmp_path: Path) -> None:
    found = required(signed_model(tmp_path))
    assert (found.signed, found.tree, found.uncovered, found.warnings) == (True, TREE, ("model.sig",), ())
    (evidence,) = found.evidence
    assert evidence.signature is not None
    assert evidence.signature.signer == "signer0"


def test_a_required_signature_that_is_missing_or_wrong_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    with pytest.raises(SignatureMissing, match=r"\[SIG_MISSING\]"):
        required(folder)
    (folder / "model.sig").write_bytes(bundle(payload(), key(number=1)))
    with pytest.raises(SignatureInvalid, match=r"\[SIG_INVALID\]"):
        required(folder)
    (folder / "model.sig").write_bytes(b"{}")
    with pytest.raises(SignatureUnsupported):
        required(folder)
    (folder / "model.sig").write_bytes(b"")
    with pytest.raises(SignatureMalformed):
        required(folder)


def test_a_rule_may_only_warn_of_what_nobody_signed(tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    found = required(folder, policy=trust(tmp_path, missing="warn"))
    assert (found.signed, found.tree) == (False, TREE)
    assert found.warnings == ("no signature, and signer0 should have signed",)
    assert required(folder, policy=trust(tmp_path, require=(), missing="allow")).warnings == ()
    (folder / "model.sig").write_bytes(bundle(payload(), key(number=1)))
    with pytest.raises(SignatureInvalid):  # a wrong one is never taken for none
        required(folder, policy=trust(tmp_path, missing="warn"))


def test_a_rule_may_only_warn_of_what_is_not_covered(tmp_path: Path) -> None:
    folder = write(signed_model(tmp_path), {"notes.md": b""})
    found = required(folder, policy=trust(tmp_path, unsigned_files="warn"))
    assert (found.tree, found.uncovered) == (TREE, ("model.sig", "notes.md"))
    assert found.warnings == ("no signature covers notes.md",)


def test_as_many_sign_as_the_rule_says(tmp_path: Path) -> None:
    folder = signed_model(tmp_path)
    one, other = key(), key(ec.SECP384R1)
    both = trust(tmp_path, one, other)
    with pytest.raises(EvidenceError):
        required(folder, policy=both)
    (folder / "b.oms.sig").write_bytes(bundle(payload(), other))
    found = required(folder, policy=both)
    assert [each.signature.signer for each in found.evidence if each.signature] == ["signer0", "signer1"]
    assert found.uncovered == ("b.oms.sig", "model.sig")
    (folder / "model.sig").unlink()
    assert required(folder, policy=trust(tmp_path, one, other, threshold=1)).signed


def test_every_signature_that_counts_must_hold(tmp_path: Path) -> None:
    folder = signed_model(tmp_path)
    other = payload(resources({**FILES, "config.json": b"[]"}))
    (folder / "b.oms.sig").write_bytes(bundle(other, key(ec.SECP384R1)))
    with pytest.raises(ContentMismatch, match="1 changed"):
        required(folder, policy=trust(tmp_path, key(), key(ec.SECP384R1)))


def test_the_signature_of_a_stranger_is_a_file_like_any_other(tmp_path: Path) -> None:
    folder = signed_model(tmp_path)
    (folder / "b.oms.sig").write_bytes(bundle(payload(), key(number=1)))
    with pytest.raises(ContentMismatch, match=r"not covered \(b\.oms\.sig\)"):
        required(folder)


def test_a_signature_from_elsewhere_is_the_only_one_looked_at(tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    assert required(folder, given={"x.sig": bundle(payload())}).uncovered == ()
    with pytest.raises(SignatureInvalid, match=r"^x\.sig"):
        required(signed_model(tmp_path), given={"x.sig": bundle(payload(), key(number=1))})
    with pytest.raises(ContentMismatch, match=r"model\.sig"):
        required(folder, given={"x.sig": bundle(payload())})


def test_a_source_without_a_rule_and_a_moving_one_are_refused(tmp_path: Path) -> None:
    folder = signed_model(tmp_path)
    with pytest.raises(SourceUncovered, match=r"\[POLICY_NO_RULE\]"):
        required(folder, policy=trust(tmp_path, source="hf://other/*"))
    pinned = trust(tmp_path, pin="required")
    assert required(folder, policy=pinned).signed
    with pytest.raises(SourceUncovered, match="which revision"):
        required(folder, policy=pinned, pinned=False)


def test_a_denied_tree_is_refused_whoever_signed(tmp_path: Path) -> None:
    folder = signed_model(tmp_path)
    with Tree(folder) as opened:
        every = requirement._tree(opened, opened.paths)
    for denied in (TREE, every):
        with pytest.raises(ApprovalRevoked, match="denied"):
            required(folder, policy=trust(tmp_path, deny=(str(denied),)))
    with pytest.raises(ApprovalRevoked):
        required(write(tmp_path / "n"), policy=trust(tmp_path, deny=(str(TREE),), require=(), missing="allow"))


def test_many_files_that_may_be_signatures_are_too_many(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {f"{number}.oms.sig": b"" for number in range(17)})
    with pytest.raises(SignatureMalformed, match="17 files match"):
        required(folder)


def test_signatures_together_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = signed_model(tmp_path)
    monkeypatch.setattr("weighbridge.evidence.bundle.LIMIT", 100)
    with pytest.raises(SignatureMalformed, match="limit is 100"):
        required(folder)


def test_the_tree_is_what_all_signatures_cover(tmp_path: Path) -> None:
    folder = write(signed_model(tmp_path), {"notes": b""})
    (folder / "b.oms.sig").write_bytes(bundle(payload(resources({**FILES, "notes": b""})), key(ec.SECP384R1)))
    for first, second in ((key(), key(ec.SECP384R1)), (key(ec.SECP384R1), key())):
        found = required(folder, policy=trust(tmp_path, first, second, ignored_paths=("notes",)))
        assert (found.tree, found.uncovered) == (TREE, ("b.oms.sig", "model.sig", "notes"))


def test_what_was_fetched_is_held_against_its_signature(tmp_path: Path) -> None:
    folder = signed_model(tmp_path)
    with Tree(folder) as opened:
        sums = {path: hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in opened.paths}
    entries = tuple(Entry(path, (folder / path).stat().st_size, sums[path]) for path in sums)
    stored = Stored("hf://acme/m", entries, {path: folder / path for path in sums}, frozenset(sums.values()))
    found = requirement.require(stored, "hf://acme/m", trust(tmp_path), now=NOW)
    assert (found.signed, found.tree) == (True, TREE)


# The holes of model_signing 1.1.1, each of which it accepts (other tests: certificates, in test_certificates)


def test_hole_a_verifier_keeps_nothing_of_the_model_before(tmp_path: Path) -> None:
    """Paths that the first model's signer ignored were ignored in the second, too."""
    first = write(signed_model(tmp_path / "one", ignore_paths=["junk"]), {"junk": b"."})
    second = write(signed_model(tmp_path / "two"), {"junk": b"."})
    policy = trust(tmp_path, ignored_paths=("junk",))
    assert required(first, policy=policy).uncovered == ("junk", "model.sig")
    with pytest.raises(ContentMismatch, match=r"not covered \(junk\)"):
        required(second)


@pytest.mark.parametrize("path", [".git/evil.pkl", ".github/evil.pkl", ".gitignore", ".gitattributes", "tok.pkl"])
def test_hole_what_git_or_the_signer_leaves_out_is_not_covered(path: str, tmp_path: Path) -> None:
    folder = write(signed_model(tmp_path, ignore_paths=[".git", ".gitattributes", "tok.pkl"]), {path: b"."})
    with pytest.raises(ContentMismatch, match="not covered"):
        required(folder)


@pytest.mark.parametrize("target", ["weights", "../elsewhere"])
def test_hole_allowing_links_does_not_allow_them(target: str, tmp_path: Path) -> None:
    """Its content behind a link to a folder was not hashed, and could be anything."""
    folder = signed_model(tmp_path, allow_symlinks=True)
    write(tmp_path / "elsewhere", {"evil.pkl": b"."})
    (folder / "link").symlink_to(target)
    with pytest.raises(UnsafeEntry, match="symbolic link"):
        required(folder)


def test_hole_nothing_outside_of_the_model_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"a": b"1"})
    write(tmp_path, {"secret": b"2"})
    listed = resources({"../secret": b"2", "a": b"1"})
    (folder / "model.sig").write_bytes(bundle(payload(listed)))
    with pytest.raises(ManifestInvalid, match="empty or dotted part"):
        required(folder, policy=trust(tmp_path, unsigned_files="warn"))


def test_hole_the_last_of_two_digests_does_not_win(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"a": b"2"})
    listed = [*resources({"a": b"1"}), *resources({"a": b"2"})]
    (folder / "model.sig").write_bytes(bundle(payload(listed)))
    with pytest.raises(ManifestInvalid, match="listed twice"):
        required(folder)


def test_hole_a_second_signature_is_not_passed_over(tmp_path: Path) -> None:
    folder = signed_model(tmp_path)
    document = json.loads((folder / "model.sig").read_bytes())
    document["dsseEnvelope"]["signatures"].append({"sig": "AAAA", "keyid": "x"})
    (folder / "model.sig").write_text(json.dumps(document))
    with pytest.raises(SignatureMalformed, match="exactly one signature"):
        required(folder)


def test_hole_the_root_digest_is_not_the_identity_of_a_model(tmp_path: Path) -> None:
    """Over digests alone it is the same for model.safetensors and model.pkl."""
    weights, pickled = resources({"model.safetensors": b"x"}), resources({"model.pkl": b"x"})
    assert oms.root_digest([weights[0]["digest"]]) == oms.root_digest([pickled[0]["digest"]])
    one = held(write(tmp_path / "1", {"model.safetensors": b"x"}), payload(weights))
    other = held(write(tmp_path / "2", {"model.pkl": b"x"}), payload(pickled))
    assert one.subject != other.subject


def test_hole_the_broken_encoding_of_version_0_2_is_not_accepted(tmp_path: Path) -> None:
    """What it signed there was not the envelope, but that of Python's spelling of it."""
    signed = payload()
    kind = IN_TOTO
    broken = f"DSSEV1 {len(kind)} {kind} {len(signed)} {signed!r}".encode()
    private = key()
    from cryptography.hazmat.primitives.hashes import SHA256

    from weighbridge.evidence import bundle as bundles

    made = bundles.render(signed, IN_TOTO, private.sign(broken, ec.ECDSA(SHA256())), {"publicKey": {"hint": ""}})
    folder = write(tmp_path / "m")
    (folder / "model.sig").write_bytes(made)
    with pytest.raises(SignatureInvalid):
        required(folder)


def test_a_bundle_of_version_0_3_1_with_its_key_inside_is_held_against_ours(tmp_path: Path) -> None:
    """Those bundles had the key itself as PEM where now a hint is; what a bundle brings along proves nothing."""
    import base64

    folder = signed_model(tmp_path)
    document = json.loads((folder / "model.sig").read_bytes())
    _, pem = keys(tmp_path)
    inside = {"rawBytes": base64.b64encode(pem.read_bytes()).decode(), "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
    document["verificationMaterial"] = {"publicKey": inside, "tlogEntries": []}
    (folder / "model.sig").write_text(json.dumps(document))
    assert required(folder).signed
    with pytest.raises(SignatureInvalid):
        required(folder, policy=trust(tmp_path, key(number=1)))


# Writing


def written(folder: Path, destination: Path | None = None, **more: Any) -> Evidence:
    from certifying import private_pem

    from weighbridge.cli.signing import check_made

    signer = KeySigner(private_pem(key()), where="k.pem")
    return oms_write.sign(
        folder, destination or folder / "model.sig", signer, lambda made: check_made(signer, made), **more
    )


def test_what_is_written_is_verified(tmp_path: Path) -> None:
    files = {**FILES, ".gitattributes": b"*", ".git/HEAD": b"ref", "ä b:c": b""}
    folder = write(tmp_path / "m", files)
    made = written(folder)
    assert made.covered == tuple(sorted(files))
    assert required(folder).tree == made.subject
    assert {path.name for path in folder.iterdir()} == {path.split("/")[0] for path in (*files, "model.sig")}
    assert written(folder).subject == made.subject  # and again, over the old signature


def test_a_statement_is_the_same_for_the_same_files(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        write(tmp_path / name / "m", dict(reversed(FILES.items())) if name == "one" else FILES)
        with Tree(tmp_path / name / "m") as opened:
            made.append(oms_write.state(opened, "m", ["model.sig"]))
    assert made[0] == made[1]


def test_what_is_left_out_is_told_and_must_be_named_to_verify(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {**FILES, ".git/HEAD": b"ref"})
    assert written(folder, left_out=[".git/"]).uncovered == (".git/HEAD",)
    with pytest.raises(ContentMismatch, match=r"\.git/HEAD"):
        required(folder)
    assert required(folder, policy=trust(tmp_path, ignored_paths=(".git",))).tree == TREE


def test_what_cannot_be_signed_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    (folder / "link").symlink_to("config.json")
    cases: list[tuple[Path, type[Refusal | UsageError]]] = [
        (folder, UnsafeEntry),
        (folder / "config.json", UsageError),
        (write(tmp_path / "empty", {"model.sig": b""}), UsageError),
    ]
    for place, kind in cases:
        with pytest.raises(kind):
            written(place, tmp_path / "empty/model.sig")
    assert not (folder / "model.sig").exists()
    with pytest.raises(UsageError, match="No such file"):
        written(write(tmp_path / "good"), tmp_path / "nowhere/model.sig")


def test_a_signer_that_signs_something_else_is_found_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "m")

    class Liar:
        identity = "liar"

        def __init__(self, make: Callable[[bytes], bytes]) -> None:
            self._make = make

        def sign(self, payload: bytes, payload_type: str) -> bytes:
            return self._make(payload)

    from certifying import private_pem

    from weighbridge.cli.signing import check_made

    true = KeySigner(private_pem(key()), where="k.pem")
    for make in (lambda _: bundle(payload(resources({"a": b""}))), lambda made: bundle(made, key(number=1))):
        with pytest.raises((ContentMismatch, SignatureInvalid)):
            oms_write.sign(folder, folder / "model.sig", Liar(make), lambda made: check_made(true, made))
        assert not (folder / "model.sig").exists()
