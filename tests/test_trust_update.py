"""Renewing a trust root: what several people signed is fetched and pinned, and nothing else is believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from keyless_signing import STATEMENT, instance
from securesystemslib.signer import CryptoSigner
from servers.fake_sigstore import FakeSigstore
from servers.fake_tuf import FakeTuf

from weighbridge.errors import DocumentError, SourceError, UsageError
from weighbridge.evidence import bundle, keyless, trust_policy, trust_update, trusted_root
from weighbridge.evidence.keyless import SigstoreSigner
from weighbridge.refusals import TrustCorrupt

TODAY = date(2026, 11, 21)
POLICY = """\
# Whom we believe.
version = 1

[roots.other]
type = "sigstore"
trusted_root = "roots/other.json"
sha256 = "{zeros}"
updated = 2020-01-01

[roots.fake]   # our own instance
type = "sigstore"
trusted_root = "roots/fake.json"
  sha256 = "{zeros}" # pinned
max_age_days = 30
updated = 2020-01-01

[signers.alice]
method = "sigstore"
root = "fake"
issuer = "https://login.acme.test"
identity = "alice@acme.test"
""".replace("{zeros}", "0" * 64)


def trusted(fake: FakeSigstore | None = None) -> bytes:
    return json.dumps((fake or instance()).trusted_root()).encode()


@pytest.fixture
def tuf() -> Iterator[FakeTuf]:
    with FakeTuf({trust_update.TRUSTED_ROOT: trusted()}) as repository:
        yield repository


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "trust.toml"
    path.write_text(POLICY)
    return path


def update(tuf: FakeTuf, policy: Path, name: str = "fake", *, first: bool = True) -> trust_update.Update:
    state = policy.parent / "state"
    root = tuf.root if first else None
    return trust_update.update(policy, name, today=TODAY, url=tuf.url, first=root, state=state)


def test_the_current_root_is_pinned_and_verifies(tuf: FakeTuf, policy: Path) -> None:
    done = update(tuf, policy)
    digest = hashlib.sha256(trusted()).hexdigest()
    assert (done.before, done.after, done.changed) == ("0" * 64, digest, True)
    assert done.path == policy.parent / "roots" / "fake.json"
    read = trust_policy.read(policy)
    root = read.roots["fake"]
    assert (root.sha256, root.updated) == (digest, TODAY)
    assert read.roots["other"].sha256 == "0" * 64
    parsed = trusted_root.parse(root.read(), "fake.json")
    made = bundle.parse(instance().envelope(STATEMENT), "model.sig")
    assert keyless.verify(made, read.signers["alice"], parsed).payload == STATEMENT


def test_the_rest_of_the_policy_stays_as_it_is_written(tuf: FakeTuf, policy: Path) -> None:
    update(tuf, policy)
    digest = hashlib.sha256(trusted()).hexdigest()
    pinned = f'  sha256 = "{digest}" # pinned\n  updated = {TODAY}\nmax_age_days = 30\n'
    assert policy.read_text() == POLICY.replace(
        f'  sha256 = "{"0" * 64}" # pinned\nmax_age_days = 30\nupdated = 2020-01-01\n', pinned
    )


def test_links_to_the_policy_and_the_root_stay(tuf: FakeTuf, policy: Path) -> None:
    policy.rename(policy.with_name("real.toml"))
    policy.symlink_to("real.toml")
    assert update(tuf, policy).changed
    assert policy.is_symlink()
    assert trust_policy.read(policy).roots["fake"].updated == TODAY


def test_an_update_after_the_first_starts_from_what_is_known(tuf: FakeTuf, policy: Path) -> None:
    update(tuf, policy)
    same = update(tuf, policy, first=False)
    assert not same.changed
    renewed = json.dumps(FakeSigstore().trusted_root()).encode()
    tuf.publish({trust_update.TRUSTED_ROOT: renewed})
    assert update(tuf, policy, first=False).after == hashlib.sha256(renewed).hexdigest()


def test_nothing_is_believed_of_an_unknown_repository(tuf: FakeTuf, policy: Path) -> None:
    with pytest.raises(UsageError, match="name the file of its first root of metadata"):
        update(tuf, policy, first=False)
    assert not tuf.server.log


def _spoiled(tuf: FakeTuf, how: str) -> None:
    """Make the repository say something that must not be believed."""
    (target,) = (path for path in tuf.files if path.startswith("/targets/"))
    match how:
        case "other bytes":
            tuf.files[target] = tuf.files[target].replace(b"fake", b"evil")
        case "longer bytes":
            tuf.files[target] += b" "
        case "signed by a stranger":
            tuf.signers["targets"] = CryptoSigner.generate_ed25519()
            tuf.publish({trust_update.TRUSTED_ROOT: trusted(FakeSigstore())})
        case "a stranger's timestamp":
            tuf.signers["timestamp"] = CryptoSigner.generate_ed25519()
            tuf.publish({trust_update.TRUSTED_ROOT: trusted()})
        case "expired":
            tuf.expires -= timedelta(days=3)
            tuf.publish({trust_update.TRUSTED_ROOT: trusted()})
        case "no such file":
            tuf.publish({"other.json": b"{}"})
        case "not a trust root":
            tuf.publish({trust_update.TRUSTED_ROOT: b"{}"})
        case "not metadata":
            tuf.files["/timestamp.json"] = b"<html>"


@pytest.mark.parametrize(
    "how",
    [
        *("other bytes", "longer bytes", "signed by a stranger", "a stranger's timestamp", "expired"),
        *("no such file", "not a trust root", "not metadata"),
    ],
)
def test_what_does_not_verify_changes_nothing(tuf: FakeTuf, policy: Path, how: str) -> None:
    _spoiled(tuf, how)
    with pytest.raises((TrustCorrupt, SourceError)):
        update(tuf, policy)
    assert policy.read_text() == POLICY
    assert not (policy.parent / "roots").exists()


def test_older_metadata_than_was_seen_is_refused(tuf: FakeTuf, policy: Path) -> None:
    old = dict(tuf.files)
    tuf.publish({trust_update.TRUSTED_ROOT: trusted(FakeSigstore())})
    update(tuf, policy)
    tuf.files = old
    with pytest.raises(TrustCorrupt, match="does not verify"):
        update(tuf, policy)


def test_a_repository_that_is_not_there_is_an_error_of_the_source(tuf: FakeTuf, policy: Path) -> None:
    tuf.server.close()
    with pytest.raises(SourceError, match="refused"):
        update(tuf, policy)
    assert policy.read_text() == POLICY


@pytest.mark.parametrize("name", ["alice", "missing", "fake]"])
def test_a_root_that_is_not_in_the_policy_is_an_error(tuf: FakeTuf, policy: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no root"):
        update(tuf, policy, name)


INLINE = f"""\
version = 1
roots = {{fake = {{type = "sigstore", trusted_root = "fake.json", sha256 = "{"0" * 64}"}}}}
"""


def test_a_policy_that_is_written_otherwise_is_left_to_people(tuf: FakeTuf, policy: Path) -> None:
    policy.write_text(INLINE)
    with pytest.raises(DocumentError, match="not edited; write sha256"):
        update(tuf, policy)
    assert policy.read_text() == INLINE


def test_a_policy_with_quoted_names_and_other_line_ends_is_edited(tuf: FakeTuf, policy: Path) -> None:
    text = (
        f"version = 1\r\n[ roots . 'fake' ]\r\ntype = 'sigstore'\r\ntrusted_root = 'f.json'\r\nsha256='{'0' * 64}'\r\n"
    )
    policy.write_bytes(text.encode())
    update(tuf, policy)
    edited = policy.read_bytes()
    assert edited.count(b"\r\n") == edited.count(b"\n") == 6
    assert trust_policy.read(policy).roots["fake"].updated == TODAY


def test_the_configuration_of_the_public_instance_is_whole(
    tuf: FakeTuf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is fetched of it is what a signer takes."""
    config = instance().trust_config()
    parts = {trust_update.TRUSTED_ROOT: config["trustedRoot"], trust_update.SIGNING_CONFIG: config["signingConfig"]}
    tuf.publish({name: json.dumps(part).encode() for name, part in parts.items()})
    monkeypatch.setattr(trust_update, "PUBLIC", tuf.url)
    monkeypatch.setattr(trust_update, "_shipped", lambda _: tuf.root)
    made = trust_update.public(tmp_path / "state")
    assert json.loads(made) == config
    with pytest.raises(UsageError, match="identity token"):
        SigstoreSigner("", made)


def test_the_public_instance_starts_from_what_sigstore_ships() -> None:
    shipped = trust_update._shipped(trust_update.PUBLIC)
    assert shipped is not None
    assert json.loads(shipped)["signed"]["_type"] == "root"
    assert trust_update._shipped("https://tuf.acme.test") is None


@pytest.mark.parametrize("served", [b"", b"[]", b"{", b'{"a": 1, "a": 2}'])
def test_a_configuration_that_is_no_document_is_refused(monkeypatch: pytest.MonkeyPatch, served: bytes) -> None:
    monkeypatch.setattr(trust_update, "fetch", lambda names, **_: dict.fromkeys(names, served))
    with pytest.raises(TrustCorrupt, match=trust_update.TRUSTED_ROOT):
        trust_update.public()
