"""Bundles for where there is no network: what they carry, and everything that may be wrong with one that arrives."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weighbridge import airgap, cli
from weighbridge.airgap import Cargo
from weighbridge.approve import check
from weighbridge.cli import group
from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UsageError, WeighbridgeError
from weighbridge.evidence import home, statement, trust_policy
from weighbridge.evidence.base import Method
from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.evidence.keys import pem_digest
from weighbridge.evidence.signers import KeySigner
from weighbridge.evidence.statement import Subject
from weighbridge.evidence.trust_policy import TrustedSigner, TrustPolicy
from weighbridge.refusals import BundleOlder, ContentMismatch, ManifestInvalid, SignatureInvalid, TrustCorrupt
from weighbridge.rules import RuleSet, rules_directory

TREE = Path(__file__).resolve().parent.parent
MODEL = TREE / "fixtures/models/ordinary.pt"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EARLIER = datetime(2026, 11, 20, 12, tzinfo=UTC)
FILES = {"rules/a.yaml": b"# a rule\n", "rules/b/c.json": b"{}", "trust/trust.toml": b"version = 1\n"}


@pytest.fixture(autouse=True)
def environment(work: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


def run(*arguments: str | Path) -> int:
    return cli._run(group.run, [str(one) for one in arguments])


@pytest.fixture
def signer() -> KeySigner:
    """Somebody with a key, whose public half is in key.pub.pem."""
    home.make_key(Path("key.pem"), Path("key.pub.pem"))
    return KeySigner(Path("key.pem").read_bytes(), where="key.pem")


def believing(*, key: str = "key.pub.pem") -> TrustPolicy:
    path = Path(key).absolute()
    digest = pem_digest(path.read_bytes(), key).value
    who = TrustedSigner(method=Method.KEY, public_key=key, sha256_spki=digest, name="given", path=path)
    return TrustPolicy(where="test", signers={"given": who})


def packed(signer: KeySigner, files: dict[str, bytes] | None = None, made: datetime = NOW) -> bytes:
    cargo = Cargo(files=dict(sorted((FILES if files is None else files).items())), made=made)
    return b"".join(airgap.pack(cargo, signer))


def read(raw: bytes) -> airgap.Received:
    Path("gap.tar").write_bytes(raw)
    return airgap.read(Path("gap.tar"), believing(), ["given"], now=NOW)


def test_rules_trust_policy_and_approvals_cross_the_gap(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("gate", MODEL, "--to", "approved", "-q") == 0
    assert run("trust", "init", Path("trust.toml").absolute()) == 0
    own = Path(os.environ["WEIGHBRIDGE_CONFIG"]) / "key.pub.pem"
    shutil.copy(own, "key.pub.pem")
    text = Path("trust.toml").read_text().replace(str(own), "key.pub.pem")
    Path("trust.toml").write_text(text)
    capsys.readouterr()
    assert run("bundle", "export", "gap.tar", "--trust", "trust.toml", "--approved", "approved") == 0
    written = capsys.readouterr().out
    assert run("bundle", "show", "gap.tar", "--key", "key.pub.pem") == 0
    assert run("bundle", "import", "gap.tar", "--to", "inside", "--key", "key.pub.pem") == 0
    shown = capsys.readouterr().out
    rules = str(RuleSet.load(rules_directory()).digest)
    tree = next(Path("inside/approvals").iterdir())
    for line in (f"rules {rules}", f"approval of tree sha256:{tree.name}"):
        assert line in written and shown.count(line) == 2

    # Inside: another user, on a machine that has never seen the key.
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(Path("elsewhere").absolute()))
    monkeypatch.setenv("WEIGHBRIDGE_TRUST", str(Path("inside/trust/trust.toml").absolute()))
    for name in ("approval.json", "approval.leaves"):
        assert (tree / name).read_bytes() == Path("approved", name).read_bytes()
    assert check(Path("approved"), trust=trust_policy.default(), now=datetime.now(UTC)).tree.endswith(tree.name)
    assert run("scan", MODEL, "--rules", "inside/rules", "-q") == 0
    assert run("bundle", "import", "gap.tar", "--to", "inside") == 0, "an approver of the policy inside signed it"


def test_the_same_content_gives_the_same_bytes_but_for_the_signature(signer: KeySigner) -> None:
    one, other = packed(signer), packed(signer)
    with tarfile.open(fileobj=io.BytesIO(one)) as archive:
        names = archive.getnames()
        assert names == ["bundle.json", *sorted(FILES)]
        assert {(member.mode, member.mtime, member.uid, member.uname) for member in archive} == {(0o444, 0, 0, "")}
        length = archive.getmember(names[1]).offset
    assert one[length:] == other[length:]
    assert read(one).cargo.files == FILES


def test_a_time_can_be_fixed(monkeypatch: pytest.MonkeyPatch, signer: KeySigner) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    assert run("bundle", "export", "gap.tar", "--key", "key.pem") == 0
    assert read(Path("gap.tar").read_bytes()).cargo.made == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    assert run("bundle", "export", "gap.tar", "--key", "key.pem") == 2


def test_a_fixed_time_makes_no_approval_hold_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("gate", MODEL, "--to", "approved", "-q") == 0
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    assert run("bundle", "export", "gap.tar", "--no-rules", "--approved", "approved") == 0
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "4000000000")
    assert run("bundle", "export", "gap.tar", "--no-rules", "--approved", "approved") == 0


@given(at=st.integers(0), flipped=st.integers(1, 255))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_is_refused_wherever_it_is(at: int, flipped: int, bundled: tuple[Path, bytes]) -> None:
    folder, raw = bundled
    altered = bytearray(raw)
    altered[at % len(raw)] ^= flipped
    path = folder / "altered.tar"
    path.write_bytes(altered)
    with pytest.raises(WeighbridgeError):
        found = airgap.read(path, believing(key=str(folder / "key.pub.pem")), ["given"], now=NOW)
        # What the signature does not cover of its own bundle is white space and the hint.
        assert found.cargo.files == FILES
        raise SourceError("the same content")


@pytest.fixture
def bundled(tmp_path: Path, signer: KeySigner) -> tuple[Path, bytes]:
    return tmp_path / "work", packed(signer)


@pytest.mark.parametrize("length", [0, 100, 512, 5000, -1024, -1, 1])
def test_a_bundle_of_another_length_is_refused(length: int, signer: KeySigner) -> None:
    raw = packed(signer)
    with pytest.raises(WeighbridgeError):
        read(raw[:length] if length <= 0 else raw + bytes(length) if length == 1 else raw[:length])


def test_somebody_else_signing_is_refused_and_nothing_is_written(
    signer: KeySigner, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("gap.tar").write_bytes(packed(signer))
    home.make_key(Path("other.pem"), Path("other.pub.pem"))
    assert run("bundle", "import", "gap.tar", "--to", "inside", "--key", "other.pub.pem") == 1
    assert "SIG_INVALID" in capsys.readouterr().err
    assert run("bundle", "import", "gap.tar", "--to", "inside") == 1, "nobody is trusted without a policy"
    assert run("bundle", "import", "gap.tar", "--to", "inside", "--key", "key.pub.pem", "--signer", "nobody") == 2
    assert not Path("inside").exists()


def test_whom_the_trust_policy_believes_about_models_is_not_believed_about_bundles(
    signer: KeySigner, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("gap.tar").write_bytes(packed(signer, {"trust/trust.toml": b"version = 1\n"}))
    spki = pem_digest(Path("key.pub.pem").read_bytes(), "key").value
    policy = f'version = 1\n[signers.x]\nmethod = "key"\npublic_key = "key.pub.pem"\nsha256_spki = "{spki}"\n'
    Path("trust.toml").write_text(policy)
    monkeypatch.setenv("WEIGHBRIDGE_TRUST", str(Path("trust.toml").absolute()))
    assert run("bundle", "show", "gap.tar") == 1
    assert "SIGNER_UNTRUSTED" in capsys.readouterr().err
    assert run("bundle", "show", "gap.tar", "--trust", "trust.toml") == 1
    assert run("bundle", "show", "gap.tar", "--signer", "x") == 0, "unless somebody says so"
    Path("trust.toml").write_text(policy + '[approvers]\na = { signer = "x", verifier_id = "urn:x" }\n')
    assert run("bundle", "show", "gap.tar") == 0


def test_names_in_any_script_are_carried_and_names_too_long_for_a_tar_are_not(signer: KeySigner) -> None:
    files = {"rules/é/ß.yaml": b"x", "trust/ключ.pem": b"y"}
    assert read(packed(signer, files)).cargo.files == files
    with pytest.raises(ManifestInvalid):
        packed(signer, {f"rules/{'a' * 101}.yaml": b""})
    with pytest.raises(ManifestInvalid):
        read(_signed(signer, {"rules/a.yaml": b""}, sizes={f"rules/{'a' * 101}.yaml": 0}))


def _signed(signer: KeySigner, files: dict[str, bytes], **predicate: Any) -> bytes:
    """Return a bundle whose signer signs whatever files and predicate there are."""
    cargo = Cargo(files=files, made=NOW)
    subjects = [Subject(name=path, digests={"sha256": "0" * 64}) for path in files]
    stated = {"made": "2026-11-21T12:00:00Z", "weighbridge": "0", "sizes": dict.fromkeys(files, 0)} | predicate
    payload = statement.render(subjects, airgap.PREDICATE, stated)

    class Other:
        identity = signer.identity

        def sign(self, _: bytes, payload_type: str) -> bytes:
            return signer.sign(payload, payload_type)

    return b"".join(airgap.pack(cargo, Other()))


@pytest.mark.parametrize(
    "path",
    [
        "../rules/a.yaml",
        "/rules/a.yaml",
        "rules/../../a.yaml",
        "rules/./a.yaml",
        "rules//a.yaml",
        "rules\\a.yaml",
        "rules/con.yaml",
        "rules/a.py",
        "config.json",
        "trust",
        "approvals/abc/approval.json",
        f"approvals/{'0' * 64}/model.bin",
        f"approvals/{'0' * 64}/../../a",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused_even_when_signed(path: str, signer: KeySigner) -> None:
    with pytest.raises(ManifestInvalid):
        read(_signed(signer, {path: b""}))


def test_paths_that_are_one_on_some_systems_are_refused(signer: KeySigner) -> None:
    with pytest.raises(ManifestInvalid):
        read(_signed(signer, {"rules/A.yaml": b"", "rules/a.yaml": b""}))


@pytest.mark.parametrize(
    "predicate",
    [
        {"sizes": {}},
        {"sizes": {"rules/a.yaml": -1}},
        {"sizes": {"rules/a.yaml": True}},
        {"sizes": {"rules/a.yaml": 1 << 60}},
        {"sizes": {"rules/a.yaml": 0, "rules/b.yaml": 0}},
        {"made": "yesterday"},
        {"made": None},
    ],
    ids=str,
)
def test_a_list_that_contradicts_itself_is_refused(predicate: dict[str, Any], signer: KeySigner) -> None:
    with pytest.raises(ManifestInvalid):
        read(_signed(signer, {"rules/a.yaml": b""}, **predicate))


def test_other_bytes_than_were_signed_are_refused(signer: KeySigner) -> None:
    with pytest.raises(ContentMismatch) as caught:
        read(_signed(signer, {"rules/a.yaml": b""}))
    assert caught.value.changed == ("rules/a.yaml",)


def _links(raw: bytes) -> bytes:
    """Turn the second member into a link out of the folder."""
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        at = archive.getmembers()[1].offset
    link = tarfile.TarInfo("rules/a.yaml")
    link.type, link.linkname, link.mode, link.size = tarfile.SYMTYPE, "/etc/passwd", 0o444, 0
    return raw[:at] + link.tobuf(tarfile.USTAR_FORMAT) + raw[at + 512 :]


def _extends(raw: bytes) -> bytes:
    """Put a header of pax before the second member, by which readers would take another name for it."""
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        at = archive.getmembers()[1].offset
    pax = tarfile.TarInfo.create_pax_global_header({"path": "/etc/passwd"})
    return raw[:at] + pax + raw[at:]


def _appends(raw: bytes) -> bytes:
    extra = tarfile.TarInfo("/etc/passwd").tobuf(tarfile.USTAR_FORMAT)
    return raw[:-1024] + extra + raw[-1024:]


@pytest.mark.parametrize("trick", [_links, _extends, _appends])
def test_tricks_of_tar_are_refused(trick: Callable[[bytes], bytes], signer: KeySigner) -> None:
    with pytest.raises(ManifestInvalid):
        read(trick(packed(signer)))


def test_an_older_bundle_replaces_a_newer_one_only_when_that_is_said(signer: KeySigner) -> None:
    shipped = airgap.collect(rules=rules_directory(), trust=None, approved=(), now=NOW)
    newer = read(b"".join(airgap.pack(shipped, signer)))
    older = read(packed(signer, {"trust/trust.toml": b"version = 1\n"}, EARLIER))
    place = Path("inside")
    airgap.install(newer, place)
    with pytest.raises(BundleOlder):
        airgap.install(older, place)
    assert (place / "rules").is_dir()
    airgap.install(older, place, older=True)
    assert not (place / "rules").exists()


def test_an_import_shows_what_changes(signer: KeySigner, capsys: pytest.CaptureFixture[str]) -> None:
    Path("trust.toml").write_text("version = 1\n")
    assert run("bundle", "export", "one.tar", "--key", "key.pem", "--trust", "trust.toml") == 0
    assert run("bundle", "export", "two.tar", "--key", "key.pem") == 0
    assert run("bundle", "import", "one.tar", "--to", "inside", "--key", "key.pub.pem") == 0
    capsys.readouterr()
    assert run("bundle", "import", "two.tar", "--to", "inside", "--key", "key.pub.pem") == 0
    assert "trust policy none, before sha256:" in capsys.readouterr().out


def test_what_somebody_keeps_in_the_folder_is_not_lost(signer: KeySigner) -> None:
    received = read(packed(signer, {"trust/trust.toml": b"version = 1\n"}))
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    for altered in ("mine", "inside"):
        if altered == "inside":
            airgap.install(received, Path("inside"))
            Path("inside/trust/extra.pem").write_text("mine")
        with pytest.raises(WeighbridgeError):
            airgap.install(received, Path(altered))
    assert Path("mine/notes.txt").read_text() == Path("inside/trust/extra.pem").read_text() == "mine"
    Path("link").symlink_to("mine")
    with pytest.raises(WeighbridgeError):
        airgap.install(received, Path("link"))


@pytest.mark.parametrize(
    "files", [{"rules/a.yaml": b"id: [\n"}, {"trust/trust.toml": b"version = 99\n"}, {"rules/trust/x.yaml": b"x: 1\n"}]
)
def test_what_this_version_cannot_read_is_not_installed(files: dict[str, bytes], signer: KeySigner) -> None:
    with pytest.raises(WeighbridgeError):
        airgap.install(read(packed(signer, files)), Path("inside"))
    assert [path.name for path in Path().iterdir() if path.is_dir()] == []


def test_only_what_holds_is_carried(signer: KeySigner, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bundle", "export", "gap.tar", "--no-rules", "--key", "key.pem") == 2
    Path("trust.toml").write_text(
        'version = 1\n[signers.x]\nmethod = "key"\npublic_key = "../key.pub.pem"\nsha256_spki = "'
        + pem_digest(Path("key.pub.pem").read_bytes(), "key").value
        + '"\n'
    )
    shutil.copy("key.pub.pem", "../key.pub.pem")
    assert run("bundle", "export", "gap.tar", "--trust", "trust.toml", "--key", "key.pem") == 2
    assert "own folder" in capsys.readouterr().err
    Path("trust.toml").write_text(Path("trust.toml").read_text().replace("../", ""))
    home.make_key(Path("other.pem"), Path("other.pub.pem"))
    assert run("bundle", "export", "gap.tar", "--trust", "trust.toml", "--key", "key.pem") == 0
    shutil.copy("other.pub.pem", "key.pub.pem")
    assert run("bundle", "export", "gap.tar", "--trust", "trust.toml", "--key", "key.pem") == 1, "another key is there"
    assert run("gate", MODEL, "--to", "approved", "-q", "--key", "other.pem") == 0
    assert run("bundle", "export", "other.tar", "--approved", "approved", "--key", "key.pem") == 1
    assert not Path("other.tar").exists()


def test_a_bundle_is_not_taken_for_an_attestation_nor_the_other_way_around(signer: KeySigner) -> None:
    payload = statement.render([Subject(name="a", digests={"sha256": "0" * 64})], "urn:weighbridge:approval:1", {})

    class Other:
        identity = signer.identity

        def sign(self, _: bytes, __: str) -> bytes:
            return signer.sign(payload, IN_TOTO)

    with pytest.raises(WeighbridgeError, match="predicate"):
        read(b"".join(airgap.pack(Cargo(files=FILES, made=NOW), Other())))


def test_the_signature_goes_with_what_was_imported(signer: KeySigner) -> None:
    airgap.install(read(packed(signer, {"trust/trust.toml": b"version = 1\n"})), Path("inside"))
    signed = json.loads(Path("inside/bundle.json").read_bytes())
    assert signed["mediaType"].startswith("application/vnd.dev.sigstore.bundle")
    with pytest.raises(SignatureInvalid):
        home.make_key(Path("x.pem"), Path("x.pub.pem"))
        airgap.read(Path("gap.tar"), believing(key="x.pub.pem"), ["given"], now=NOW)


def _x509(digest: str) -> str:
    return f'version = 1\n[roots.acme]\ntype = "x509"\npem = "roots/acme.pem"\nsha256 = "{digest}"\n'


def test_roots_travel_with_the_trust_policy_when_they_are_the_pinned_ones(signer: KeySigner) -> None:
    Path("roots").mkdir()
    Path("roots/acme.pem").write_bytes(b"certificates")
    Path("trust.toml").write_text(_x509(Digest.of(b"certificates").value))
    cargo = airgap.collect(rules=None, trust=Path("trust.toml"), approved=(), now=NOW)
    assert cargo.files["trust/roots/acme.pem"] == b"certificates"
    assert cargo.trust == str(Digest.of(Path("trust.toml").read_bytes()))
    Path("trust.toml").write_text(_x509("0" * 64))
    with pytest.raises(TrustCorrupt):
        airgap.collect(rules=None, trust=Path("trust.toml"), approved=(), now=NOW)


@pytest.mark.parametrize("named", ["/etc/passwd", "../acme.pem", "trust.toml", "roots/../../acme.pem", "."])
def test_a_root_outside_of_the_folder_of_the_policy_is_not_carried(named: str, signer: KeySigner) -> None:
    for place in ("acme.pem", "../acme.pem"):
        Path(place).write_bytes(b"certificates")
    text = _x509(Digest.of(b"certificates").value).replace("roots/acme.pem", named)
    Path("trust.toml").write_text(text)
    with pytest.raises((UsageError, TrustCorrupt)):
        airgap.collect(rules=None, trust=Path("trust.toml"), approved=(), now=NOW)


def test_rules_that_cannot_be_read_are_not_carried(signer: KeySigner, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(rules_directory(), "rules")
    assert run("bundle", "export", "gap.tar", "--rules", "rules", "--key", "key.pem") == 0
    Path("rules/trust/ours.yaml").write_text("framework: ours\npackages: [ours]\nreviewed: x\ncall: {ours.f: (zzz)}\n")
    capsys.readouterr()
    assert run("bundle", "export", "other.tar", "--rules", "rules", "--key", "key.pem") == 2
    assert "ours.yaml" in capsys.readouterr().err
    assert not Path("other.tar").exists()


def test_what_cannot_be_read_is_an_error_and_no_bundle(signer: KeySigner, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    os.mkfifo("pipe.tar")
    for words, status in (
        (("export", "gap.tar", "--rules", "empty", "--key", "key.pem"), 2),
        (("export", "gap.tar", "--rules", "empty", "--no-rules", "--key", "key.pem"), 2),
        (("export", "gap.tar", "--approved", "empty", "--key", "key.pem"), 1),
        (("export", "no/such/folder/gap.tar", "--key", "key.pem"), 2),
        (("export", "gap.tar"), 2),
        (("show", "missing.tar", "--key", "key.pub.pem"), 4),
        (("show", "pipe.tar", "--key", "key.pub.pem"), 4),
        (("show", "empty", "--key", "key.pub.pem"), 2),
        (("import", "missing.tar", "--to", "inside", "--key", "key.pub.pem"), 4),
    ):
        assert run("bundle", *words) == status, words
    assert not Path("gap.tar").exists() and not Path("inside").exists()


def test_a_folder_that_cannot_be_written_is_an_error(signer: KeySigner) -> None:
    received = read(packed(signer, {"trust/trust.toml": b"version = 1\n"}))
    Path("file").write_text("mine")
    with pytest.raises(WeighbridgeError):
        airgap.install(received, Path("file/inside"))
    with pytest.raises(WeighbridgeError):
        airgap.install(received, Path("file"))
    assert Path("file").read_text() == "mine"
