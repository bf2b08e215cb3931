"""Attempts to have files taken for signed that are not: beside, instead of and behind those that are."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path

import pytest
from certifying import NOW
from oms_files import FILES, payload, resources, write
from oms_files import bundle as signed_bundle
from oms_files import trust as key_policy

from weighbridge import approval, attest, lock
from weighbridge.errors import DocumentError
from weighbridge.evidence import bundle, dsse, requirement, statement, sums, verifier
from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.evidence.tree import Tree
from weighbridge.refusals import ApprovalMalformed, ContentMismatch, ManifestInvalid, SignatureUnsupported

HEX = "ab" * 32


# Files beside those that are signed


@pytest.mark.parametrize(
    ("ignored", "path", "status"),
    [
        (".git", ".git/config", "ignored"),
        (".git", ".gitx/evil.pkl", "extra"),
        (".git", ".gitattributes", "extra"),
        (".git/", ".git/hooks/x", "ignored"),
        (".git", "sub/.git/x", "extra"),
        (".git", ".GIT/x", "extra"),
        ("", "evil.pkl", "extra"),
        ("/", "evil.pkl", "extra"),
        (".", "evil.pkl", "extra"),
        ("*", "evil.pkl", "extra"),
        ("**", "a/evil.pkl", "extra"),
        ("./a", "a/evil.pkl", "extra"),
        ("a/../b", "b/evil.pkl", "extra"),
    ],
)
def test_a_path_that_may_be_ignored_is_that_path_alone(ignored: str, path: str, status: str, tmp_path: Path) -> None:
    model = write(tmp_path / "m", {**FILES, path: b"evil"})
    (model / "model.sig").write_bytes(signed_bundle(payload()))
    policy = key_policy(tmp_path / "trust", ignored_paths=(ignored,))
    with Tree(model) as tree:
        if status == "ignored":
            found = requirement.require(tree, "hf://acme/m", policy, now=NOW)
            assert path in found.uncovered
            return
        with pytest.raises(ContentMismatch) as caught:
            requirement.require(tree, "hf://acme/m", policy, now=NOW)
        assert caught.value.extra == (path,)


def test_a_second_name_of_a_covered_file_is_a_file_that_nothing_covers(tmp_path: Path) -> None:
    model = write(tmp_path / "m")
    (model / "model.sig").write_bytes(signed_bundle(payload()))
    policy = key_policy(tmp_path / "trust")
    for name, of in (("again.json", "config.json"), ("evil.oms.sig", "model.sig"), ("model.sig.bak", "model.sig")):
        os.link(model / of, model / name)
        with Tree(model) as tree, pytest.raises(ContentMismatch, match="1 not covered"):
            requirement.require(tree, "hf://acme/m", policy, now=NOW)
        (model / name).unlink()
    with Tree(model) as tree:
        assert requirement.require(tree, "hf://acme/m", policy, now=NOW).signed


def test_a_name_as_long_as_systems_have_them_and_letters_of_two_kinds(tmp_path: Path) -> None:
    files = {"n" * 255: b"1", "é": b"2", "e\u0301": b"3", "\u202efdp.exe": b"4", "m:0:1": b"5", "a b\u2028c": b"6"}
    model = write(tmp_path / "m", files)
    (model / "model.sig").write_bytes(signed_bundle(payload(resources(files))))
    with Tree(model) as tree:
        (found,) = requirement.require(tree, "hf://a/m", key_policy(tmp_path / "t"), now=NOW).evidence
    assert found.covered == tuple(sorted(files))
    (model / "é").rename(model / "x")
    (model / "e\u0301").rename(model / "é")
    with Tree(model) as tree, pytest.raises(ContentMismatch) as caught:
        requirement.require(tree, "hf://a/m", key_policy(tmp_path / "t"), now=NOW)
    assert (caught.value.changed, caught.value.missing, caught.value.extra) == (("é",), ("e\u0301",), ("x",))


def test_a_signature_of_one_model_is_none_of_another_and_none_of_another_kind(tmp_path: Path) -> None:
    """Replayed: beside other files, as a scan result, as an approval, and as the bytes of a file."""
    raw, policy = signed_bundle(payload()), key_policy(tmp_path / "trust")
    other = write(tmp_path / "other", {**FILES, "config.json": b"[]"})
    (other / "model.sig").write_bytes(raw)
    with Tree(other) as tree, pytest.raises(ContentMismatch, match="1 changed"):
        requirement.require(tree, "hf://a/m", policy, now=NOW)
    found = verifier.verify(bundle.parse(raw, "s"), policy.signers["signer0"], policy, now=NOW)
    for kind in (attest.SCAN_RESULT, statement.SUMMARY):
        with pytest.raises(SignatureUnsupported):
            attest.read(found, "s", kind=kind)
    with pytest.raises(ApprovalMalformed, match="the predicate is"):
        approval.read_statement(found, "approval.json")
    envelope = bundle.parse(raw, "s").content
    document = json.loads(raw)
    del document["dsseEnvelope"]
    signed = dsse.pae(IN_TOTO, found.payload)  # a file of these bytes has the same signature
    document["messageSignature"] = {
        "messageDigest": {
            "algorithm": "SHA2_256",
            "digest": base64.b64encode(hashlib.sha256(signed).digest()).decode(),
        },
        "signature": base64.b64encode(envelope.signature).decode(),
    }
    (other / "model.sig").write_text(json.dumps(document))
    with Tree(other) as tree, pytest.raises(ContentMismatch, match="3 not covered"):
        requirement.require(tree, "hf://a/m", policy, now=NOW)


SUMS = {
    "one name in two forms": f"{HEX}  a\nSHA256 (a) = {'cd' * 32}\n",
    "one name with and without an escape": f"{HEX}  a\n\\{HEX}  a\n",
    "a name behind another digest": f"{HEX}  {'cd' * 32}  a\n\\{HEX}  ../a\n",
    "a name that leaves in the form of BSD": f"SHA256 (../a) = {HEX}\n",
    "a name that leaves behind a dot": f"{HEX}  ./../a\n",
    "a part of dots": f"{HEX}  a/./b\n",
    "digits of another alphabet": f"{HEX[:-2]}\uff11\uff12  a\n",
    "a digest that is cut": f"{HEX[:-1]}  a\n",
    "a line feed of another alphabet": f"{HEX}  a\x85{HEX}  b\n",
    "a carriage return within": f"{HEX}  a\r{HEX}  b\n",
    "a NUL": f"{HEX}  a\0b\n",
    "an escape that is none": f"\\{HEX}  a\\tb\n",
    "a folder": f"{HEX}  a/\n",
    "a file that is a folder": f"{HEX}  a\n{HEX}  a/b\n",
    "leading space": f" {HEX}  a\n",
}


@pytest.mark.parametrize("text", SUMS.values(), ids=SUMS)
def test_a_list_that_two_readers_could_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises((ManifestInvalid, SignatureUnsupported)):
        sums.parse(text.encode(), "SHA256SUMS")


PARTS = ".".join("a" * 100_000)
LOCKS = {
    "a key of many parts": f"{PARTS} = 1\n",
    "one in a table": f'x = "", y = {{ {PARTS} = 1 }}\n',
    "one behind a string that seems a comment": f'x = ["""\n# """, {{ {PARTS} = 1 }}]\n',
    "one behind a string that seems a line of a lock": f"x = ['''\ny = \"''', {{ {PARTS} = 1 }}]\"\n",
    "many tables": "".join(f"[a.b{number}]\n" for number in range(100_000)),
    "many lists": "x = [" + "[]," * 1_000_000 + "]\n",
    "many keys": "".join(f"k{number} = 1\n" for number in range(100_000)),
    "deep lists": "a = " + "[" * 100_000,
}


@pytest.mark.parametrize("text", LOCKS.values(), ids=LOCKS)
@pytest.mark.parametrize("header", ["", lock.render(lock.Lock(version=1))])
def test_a_lock_that_would_be_read_for_hours_is_refused_and_is_no_part_of_a_model(
    text: str, header: str, tmp_path: Path
) -> None:
    """A model may bring one; it is looked at before anybody's signature is."""
    path = tmp_path / lock.NAME
    path.write_text(header + text)
    assert not lock.has_form(path)
    with pytest.raises(DocumentError):
        lock.read(path)


def test_a_lock_that_was_edited_by_hand_is_read(tmp_path: Path) -> None:
    path = tmp_path / lock.NAME
    path.write_text("# ours\r\nversion = 1  # the first\r\n\r\nmodels = []\r\n")
    assert lock.read(path) == lock.Lock(version=1)
    assert not lock.has_form(path)
