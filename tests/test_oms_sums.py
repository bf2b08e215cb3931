"""Lists of digests that nobody signed: the forms that are read, and what they say."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oms_files import FILES, write

from weighbridge.artifact import Artifact, Entry, File, Manifest
from weighbridge.digest import Digest
from weighbridge.evidence import sums
from weighbridge.evidence.base import Evidence
from weighbridge.evidence.tree import Tree
from weighbridge.refusals import ContentMismatch, ManifestInvalid, SignatureUnsupported

HEX = hashlib.sha256(b"1").hexdigest()


def listed(text: str) -> dict[str, str]:
    return {path: one.digests[0] for path, one in sums.parse(text.encode(), "SHA256SUMS").items()}


def held(folder: Path, text: str, **more: object) -> Evidence:
    with Tree(folder) as tree:
        return sums.verify(tree, sums.parse(text.encode(), "SHA256SUMS"), sums.SUMS, **more)[0]  # type: ignore[arg-type]


FORMS = {
    "GNU": f"{HEX}  a b\n",
    "GNU, binary": f"{HEX} *a b\n",
    "BSD": f"SHA256 (a b) = {HEX}\n",
    "no last line feed": f"{HEX}  a b",
    "lines that end as on Windows": f"{HEX}  a b\r\n",
    "capitals": f"{HEX.upper()}  a b\n",
    "a leading dot": f"{HEX}  ./a b\n",
    "comments and empty lines": f"# made by hand\n\n{HEX}  a b\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_every_form_is_read(text: str) -> None:
    assert listed(text) == {"a b": HEX}


def test_names_may_hold_what_the_forms_are_made_of() -> None:
    names = ["a) = b", "(x", " leading", "*star", f"{HEX}  c", "SHA256 (d) = e"]
    assert list(listed("".join(f"{HEX}  {name}\n" for name in names))) == names
    assert list(listed("".join(f"SHA256 ({name}) = {HEX}\n" for name in names))) == names


INVALID = {
    "nothing": "",
    "comments alone": "# nothing\n",
    "a line of text": "hello\n",
    "one space": f"{HEX} a\n",
    "no name": f"{HEX}  \n",
    "a name twice": f"{HEX}  a\n{HEX}  a\n",
    "a name twice after all": f"{HEX}  a\n{HEX}  ./a\n",
    "an absolute name": f"{HEX}  /etc/passwd\n",
    "a name that leaves": f"{HEX}  ../a\n",
    "a name with an escaped line feed": f"\\{HEX}  a\\nb\n",
    "a name with a backslash": f"\\{HEX}  a\\\\b\n",
    "a name with a control character": f"{HEX}  a\x1bb\n",
}


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID)
def test_what_is_no_safe_list_is_refused(text: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        listed(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        f"{'0' * 128}  a\n",
        f"{'0' * 40}  a\n",
        f"MD5 (a) = {'0' * 32}\n",
        f"SHA512 (a) = {'0' * 128}\n",
        "-----BEGIN PGP SIGNED MESSAGE-----\n",
    ],
)
def test_lists_of_other_digests_are_unsupported(text: str) -> None:
    with pytest.raises(SignatureUnsupported, match=r"SHA256SUMS:1"):
        listed(text)


def test_a_list_has_a_limit_and_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ManifestInvalid, match="UTF-8"):
        sums.parse(b"\xff", "x")
    monkeypatch.setattr(sums, "LIMIT", 3)
    with pytest.raises(ManifestInvalid, match="at most 3"):
        sums.parse(b"1234", "x")


@given(st.binary(max_size=200) | st.from_regex(rb"\\?[0-9a-f]{64} [ *].{0,20}\n", fullmatch=True))
def test_any_bytes_are_a_list_or_refused(raw: bytes) -> None:
    with suppress(ManifestInvalid, SignatureUnsupported):
        sums.parse(raw, "x")


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs coreutils")
def test_what_sha256sum_writes_is_read(tmp_path: Path) -> None:
    write(tmp_path / "m", FILES)
    for option in ("--text", "--binary", "--tag"):
        done = subprocess.run(["sha256sum", option, *FILES], cwd=tmp_path / "m", capture_output=True, check=True)
        found = held(tmp_path / "m", done.stdout.decode())
        assert (found.kind, found.format, found.signature) == ("digests", "sha256sums", None)
        assert found.covered == tuple(sorted(FILES))


def test_every_file_must_be_listed(tmp_path: Path) -> None:
    write(tmp_path, {"a": b"1", "b": b"1", "SHA256SUMS": b""})
    with pytest.raises(ContentMismatch) as caught:
        held(tmp_path, f"{HEX}  a\n{HEX}  c\n")
    assert (caught.value.missing, caught.value.extra) == (("c",), ("SHA256SUMS", "b"))
    found = held(tmp_path, f"{HEX}  a\n", ignored=("b",), beside={"SHA256SUMS"})
    assert (found.covered, found.uncovered) == (("a",), ("SHA256SUMS", "b"))


def test_a_lock_holds_sizes_and_digests(tmp_path: Path) -> None:
    write(tmp_path, {"a": b"1"})
    for size, right in ((1, True), (2, False)):
        manifest = Manifest(entries=(Entry("a", size, HEX),))
        with Tree(tmp_path) as tree:
            if right:
                found, _ = sums.verify(tree, sums.of_manifest(manifest), sums.LOCK)
                assert found.subject == manifest.digest
            else:
                with pytest.raises(ContentMismatch):
                    sums.verify(tree, sums.of_manifest(manifest), sums.LOCK)


def test_what_a_registry_declares_covers_what_it_declares() -> None:
    files = (
        File(path="a", size=1, claims=(Digest("sha256", HEX),)),
        File(path="b", size=1, claims=(Digest("git-sha1", "0" * 40),)),
        File(path="c", size=1),
    )
    artifact = Artifact(reference="hf://acme/m", requested="main", revision="1" * 40, files=files)
    manifest = Manifest(entries=tuple(Entry(file.path, 1, HEX) for file in files))
    found = sums.claims(artifact, manifest)
    assert (found.kind, found.format, found.subject) == ("digests", "claims", manifest.digest)
    assert (found.covered, found.uncovered) == (("a",), ("b", "c"))
    with pytest.raises(ContentMismatch, match=r"1 changed \(a\)"):
        sums.claims(artifact, Manifest(entries=(Entry("a", 1, "0" * 64),)))
