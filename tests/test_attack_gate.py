"""Attacks on the gate and on approving: by publishers, by who can write to files here, by earlier decisions."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from checkpoints import checkpoint, values
from loading import Part, packed

from weighbridge import approval, cli
from weighbridge import gate as gating
from weighbridge.approve import check, measure_folder
from weighbridge.artifact import Entry, Manifest
from weighbridge.cli import group
from weighbridge.digest import Digest
from weighbridge.errors import Refusal, SourceError
from weighbridge.evidence import home, trust_policy
from weighbridge.load import load
from weighbridge.refusals import ApprovalRevoked
from weighbridge.store.materialise import fill

CONFIG = b'{"model_type": "bert", "architectures": ["BertModel"]}'
WEIGHTS = packed({"w": Part("F32", (4,), bytes(range(16)))})


pytestmark = pytest.mark.usefixtures("work")


@pytest.fixture
def model() -> Path:
    """A folder with safetensors, which cross as they are."""
    folder = Path("model")
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "config.json").write_bytes(CONFIG)
    return folder


def run(*arguments: str) -> int:
    """Return the exit status of a command, as the process would have it."""
    return cli._run(group.run, list(arguments))


def gate(source: str | Path, *arguments: str) -> int:
    return run("gate", str(source), "--to", "out", "-q", *arguments)


def pickled(model: Path) -> None:
    """Make it a model whose weights have to be converted."""
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(checkpoint({"a.weight": (3, 4), "b.bias": (5,)}))


def deny(text: str) -> None:
    """Write a trust policy in which the user's own key approves, and which denies something."""
    digest = trust_policy.default().signers[trust_policy.OWN].sha256_spki
    home.trust_path().write_text(
        f"""version = 1
[signers.me]
method = "key"
public_key = "key.pub.pem"
sha256_spki = "{digest}"
[approvers.me]
signer = "me"
verifier_id = "{trust_policy.OWN_VERIFIER}"
[deny]
{text}
"""
    )


def digest_of(folder: Path) -> str:
    """Return the tree digest of a folder's files."""
    entries = [
        Entry(one.relative_to(folder).as_posix(), one.stat().st_size, Digest.of(one.read_bytes()).value)
        for one in folder.rglob("*")
    ]
    return str(Manifest(entries=tuple(entries)).digest)


@pytest.mark.parametrize("converted", [False, True])
def test_bytes_that_change_in_the_store_after_the_scan_are_not_approved(
    model: Path, converted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if converted:
        pickled(model)

    def poisoned(folder: Path, manifest: Manifest, store: Any, **options: Any) -> None:
        for entry in manifest.entries:
            if entry.path == "config.json":
                place = store.path(entry.sha256)
                place.chmod(0o644)
                place.write_bytes(CONFIG.replace(b"bert", b"gpt2"))
        fill(folder, manifest, store, **options)

    monkeypatch.setattr("weighbridge.gate.fill", poisoned)
    assert gate(model) == 4
    assert not Path("out").exists()


def test_what_somebody_writes_to_the_destination_meanwhile_is_not_replaced(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gate(model) == 0

    def measured(*arguments: Any) -> Any:
        Path("out/mine").write_text("mine")
        return measure_folder(*arguments)

    monkeypatch.setattr(gating, "measure_folder", measured)
    (model / "config.json").write_bytes(CONFIG.replace(b"bert", b"bort"))
    assert (gate(model), Path("out/mine").read_text()) == (2, "mine")
    assert Path("out/config.json").read_bytes() == CONFIG


def test_a_checkpoint_whose_checksum_does_not_hold_is_not_converted(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pickled(model)
    place = model / "pytorch_model.bin"
    data = place.read_bytes()
    assert data.count(values(5, 1)) == 1
    place.write_bytes(data.replace(values(5, 1), values(5, 2)))
    assert (gate(model), Path("out").exists()) == (1, False)
    place.write_bytes(data)
    assert gate(model) == 0
    capfd.readouterr()
    place.write_bytes(data.replace(values(5, 1), values(5, 2)))
    assert run("gate", str(model), "--to", "out") == 1
    assert "archive/data/1 has CRC" in capfd.readouterr().out


def test_an_approval_that_lasts_longer_than_is_asked_now_is_not_the_same(model: Path) -> None:
    assert gate(model, "--expires", "90d") == 0
    assert gate(model, "--expires", "10d") == 0
    found = check(Path("out"), trust=trust_policy.default(), now=datetime.now(UTC))
    assert (found.expires - datetime.now(UTC)).days < 11


@pytest.mark.parametrize("converted", [False, True])
def test_a_denied_model_does_not_cross(model: Path, converted: bool) -> None:
    if converted:
        pickled(model)
    run("key", "init")
    deny(f'tree_sha256 = ["{digest_of(model)}"]')
    assert gate(model) == 1
    assert not Path("out").exists()


def test_what_was_made_of_a_denied_model_is_not_loaded(model: Path) -> None:
    pickled(model)
    assert gate(model) == 0
    deny(f'tree_sha256 = ["{digest_of(model)}"]')
    with pytest.raises(ApprovalRevoked):
        load("out")


def test_what_a_denied_model_would_become_does_not_cross(model: Path) -> None:
    pickled(model)
    assert gate(model) == 0
    deny(f'tree_sha256 = ["{load_approval().tree}"]')
    assert gate(model) == 1


def test_a_denied_approval_is_not_the_same_as_none(model: Path) -> None:
    assert gate(model) == 0
    deny(f'approval_sha256 = ["{load_approval().digest}"]')
    assert gate(model, "--expires", "90d") == 0
    assert load("out")


def load_approval() -> approval.Approval:
    return check(Path("out"), trust=trust_policy.default(), now=datetime.now(UTC))


@pytest.mark.parametrize(
    ("setting", "more", "status"),
    [
        ("require.signature=true", [], 1),
        ("require.max_size=1", [], 1),
        ("require.licences=mit", [], 1),
        ("require.sources=hf://acme/*", [], 1),
        ("require.sources=hf://acme/*", ["--source", "hf://other/m@" + "5" * 40], 1),
        ("require.sources=hf://acme/*", ["--source", "hf://acme/m@" + "5" * 40], 0),
        ("require.licences=apache-2.0", [], 0),
    ],
)
def test_what_a_policy_requires_is_required_of_who_approves_too(
    model: Path, setting: str, more: list[str], status: int
) -> None:
    if "apache" in setting:
        (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    assert run("approve", "model", "-q", "--set", setting, *more) == status
    assert (model / "approval.json").exists() == (status == 0)


def test_a_file_with_a_reserved_name_in_other_letters_is_not_approved(model: Path) -> None:
    (model / "Approval.JSON").write_bytes(b"{}")
    assert run("approve", "model", "-q") == 2
    assert not (model / "approval.json").exists()


def test_a_pipe_in_the_place_of_the_lock_is_not_waited_for(model: Path) -> None:
    os.mkfifo(model / "weighbridge.lock")
    assert run("approve", "model", "-q") == 0


def test_names_that_differ_in_how_a_letter_is_written_are_one_file() -> None:
    names = [unicodedata.normalize(form, "modèle.json") for form in ("NFC", "NFD")]
    with pytest.raises(SourceError, match="are one on some systems"):
        Manifest(entries=tuple(Entry(name, 0, "0" * 64) for name in names))


def test_links_that_await_the_approval_lead_nowhere(model: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in ("approval.json", "approval.leaves", "weighbridge.lock", "report.json", "report.html"):
        (model / name).symlink_to(precious)
    run("approve", "model", "-q")
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("command", ["gate", "pull"])
def test_the_destination_does_not_lie_in_the_source(model: Path, command: str) -> None:
    assert run(command, "model", "--to", "model/out", "-q") == 2
    Path("link").symlink_to("model")
    assert run(command, "model", "--to", "link/out", "-q") == 2
    assert not Path("model/out").exists()


def test_a_bundle_of_a_publisher_in_a_folder_below_is_no_approval(model: Path) -> None:
    (model / "unet").mkdir()
    (model / "unet" / "model.safetensors").write_bytes(WEIGHTS)
    (model / "unet" / "approval.json").write_bytes(b"{}")
    if run("approve", "model", "-q") == 0:
        with pytest.raises(Refusal):
            load("model/unet")


def test_what_others_leave_beside_the_destination_is_in_nobodys_way(model: Path, tmp_path: Path) -> None:
    home_name = hashlib.sha256(os.fsencode(tmp_path / "home")).hexdigest()[:12]
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    Path(f".weighbridge-{home_name}-theirs").symlink_to(precious)
    assert gate(model) == 0
    assert (precious / "file").read_text() == "mine"


def test_an_option_that_is_allowed_with_another_value_is_another(model: Path) -> None:
    assert gate(model, "--allow", ":--load-format=pt") == 0
    first = load_approval()
    assert gate(model, "--allow", ":--load-format=pt") == 0
    assert load_approval() == first
    assert gate(model, "--allow", ":--load-format=npcache") == 0
    assert load_approval().allowed != first.allowed


def test_what_nobody_looked_at_is_told(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (model / "report.html").write_text("<script>document.title = 'pass'</script>")
    assert run("approve", "model") == 0
    assert "but for report.html, which nobody looked at" in capfd.readouterr().err
