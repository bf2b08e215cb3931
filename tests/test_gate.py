"""The gate as a user walks through it: what crosses, what does not, and that nothing half-way is ever left."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from checkpoints import checkpoint
from safetensors_files import tensor_file
from servers.fake_hub import TOKEN, FakeHub

import weighbridge
from weighbridge import approval, cli
from weighbridge.approve import check
from weighbridge.cli import group
from weighbridge.convert import verify
from weighbridge.errors import Refusal
from weighbridge.evidence import home, trust_policy
from weighbridge.evidence.keys import pem_digest
from weighbridge.lock import read as read_lock
from weighbridge.refusals import ApprovalMismatch

SCHEMA = json.loads((Path(__file__).parent.parent / "docs/schema/verdict-1.schema.json").read_text())
WEIGHTS = {"a.weight": (3, 4), "b.bias": (5,)}
CONFIG = b'{"model_type": "bert", "architectures": ["BertModel"]}'
CARD = b"# A model\n\nIt was made for a test, and does nothing else.\n"
HOSTILE = b"\x80\x04cos\nsystem\n(X\x07\x00\x00\x00echo hitR."
STRANGE = b"\x80\x04cmy_project.models\nConfig\n)\x81."
# What lies beside the approved files, and is no part of them.
BESIDE = {"approval.json", "approval.leaves", "weighbridge.lock", "report.json", "report.html"}


@pytest.fixture(autouse=True)
def environment(work: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have a token for the Hub, and a place for what its library keeps."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def model() -> Path:
    """A folder with a torch checkpoint, its configuration and a stray pickle without weights."""
    folder = Path("model")
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(checkpoint(WEIGHTS))
    (folder / "config.json").write_bytes(CONFIG)
    return folder


def run(arguments: list[str]) -> int:
    """Return the exit status of a command, as the process would have it."""
    return cli._run(group.run, arguments)


def gate(source: str | Path, *arguments: str, to: str = "out") -> int:
    return run(["gate", str(source), "--to", to, "-q", *arguments])


def held(folder: str | Path = "out") -> set[str]:
    top = Path(folder)
    return {path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()} - BESIDE


def now() -> datetime:
    return datetime.now(UTC)


def test_a_checkpoint_crosses_as_safetensors(model: Path) -> None:
    (model / "training_args.bin").write_bytes(b"\x80\x04]\x94.")
    assert gate(model) == 0
    assert held() == {"model.safetensors", "config.json", "conversion.json", "model.conversion.json"}
    verify(model / "pytorch_model.bin", Path("out/model.safetensors"))
    found = check(Path("out"), trust=trust_policy.default(), now=now())
    assert {file.path for file in found.files} == held()
    assert {file.path: file.format for file in found.files}["model.safetensors"] == "safetensors"
    (locked,) = read_lock(Path("out/weighbridge.lock")).models
    assert found.resource == f"{locked.source}@{locked.revision}"
    assert found.derived_from == locked.tree
    assert [file.path for file in locked.files] == ["config.json", "pytorch_model.bin", "training_args.bin"]
    report = json.loads(Path("out/report.json").read_text())
    assert (report["outcome"], len(report["files"])) == ("pass", 3)
    assert Path("out/report.html").read_text().startswith("<!doctype html>")
    assert {path.stat().st_mode & 0o777 for path in Path("out").iterdir()} == {0o444}


def test_safetensors_cross_as_they_are(model: Path) -> None:
    (model / "pytorch_model.bin").unlink()
    (model / "model.safetensors").write_bytes(tensor_file({"w": bytes(8)}))
    assert gate(model) == 0
    assert held() == {"model.safetensors", "config.json"}
    assert Path("out/model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


def test_what_is_there_as_safetensors_too_and_pickles_without_weights_stay_behind(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (model / "model.safetensors").write_bytes(tensor_file({"w": bytes(8)}))
    (model / "training_args.bin").write_bytes(b"\x80\x04]\x94.")
    (model / "last").mkdir()
    (model / "last" / "scheduler.pt").write_bytes(b"\x80\x04]\x94.")
    told = ["gate", "model", "--to", "out", "--policy", "safetensors-only"]
    assert run(told) == 0
    assert held() == {"model.safetensors", "config.json"}
    assert not Path("out/last").exists()
    assert Path("out/model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert "left out pytorch_model.bin: model.safetensors is in the folder already" in capfd.readouterr().err
    assert run(told) == 0
    assert "holds it already" in capfd.readouterr().err
    assert gate(model, "--no-convert") == 0
    assert held() == {"model.safetensors", "config.json", "pytorch_model.bin", "training_args.bin", "last/scheduler.pt"}
    assert gate(model) == 0
    assert held() == {"model.safetensors", "config.json"}


def test_a_single_file_crosses(model: Path) -> None:
    assert gate(model / "pytorch_model.bin") == 0
    assert held() == {"model.safetensors", "conversion.json", "model.conversion.json"}


def test_without_conversion_files_cross_as_they_came(model: Path) -> None:
    assert gate(model, "--no-convert") == 0
    assert held() == {"pytorch_model.bin", "config.json"}
    check(Path("out"), trust=trust_policy.default(), now=now())


@pytest.mark.parametrize(("data", "status"), [(HOSTILE, 1), (STRANGE, 3), (b"\x00\x01 no format", 3)])
def test_anything_but_pass_leaves_the_folder_untouched(model: Path, data: bytes, status: int) -> None:
    assert gate(model) == 0
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    (model / "other.bin").write_bytes(data)
    assert gate(model) == status
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before
    assert gate(model, to="elsewhere") == status
    assert not Path("elsewhere").exists()
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["model", "out"]


def test_the_same_again_does_nothing_and_says_so(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["gate", "model", "--to", "out"]) == 0
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in Path("out").iterdir()}
    said = capfd.readouterr().err
    assert "made a key of your own" in said
    assert "will not take it" not in said
    assert run(["gate", "model", "--to", "out"]) == 0
    said = capfd.readouterr().err
    assert "holds it already" in said
    assert "made a key" not in said
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in Path("out").iterdir()} == before
    assert gate("model", "--anew") == 0
    assert Path("out/approval.json").stat().st_ino != before[Path("out/approval.json")][1]


def test_whom_loaders_do_not_ask_is_told(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("trust.toml").write_text("version = 1\n")
    assert run(["gate", "model", "--to", "out", "--trust", "trust.toml"]) == 0
    assert "loaders that ask trust.toml will not take it" in capfd.readouterr().err


@pytest.mark.parametrize("reference", ["nowhere", "hf://acme/bert", "model"])
def test_what_does_not_cross_leaves_no_key_behind(model: Path, reference: str) -> None:
    (model / "other.bin").write_bytes(HOSTILE)
    assert run(["gate", reference, "--to", "out", "--offline"]) == (1 if reference == "model" else 4)
    assert not home.key_path().exists()
    assert home.folder().exists() == (reference == "model"), "facts of it are kept"


def test_what_the_gate_writes_passes_as_it_lies_whatever_was_waived(model: Path) -> None:
    (model / "other.pkl").write_bytes(b"\x80\x04cos\ngetcwd\n)R.")
    assert run(["scan", "model/other.pkl", "--format", "json", "--output", "report.json"]) == 1
    assert (
        run(["waive", "report.json", "1", "--reason", "x", "--expires", "9d", "--approver", "x", "--to", "w.yaml"]) == 0
    )
    assert gate(model, "--no-convert", "--waivers", "w.yaml") == 0
    assert "os.getcwd" in Path("out/report.json").read_text()
    assert run(["scan", "out", "--waivers", "w.yaml"]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes on Linux")
def test_a_folder_may_have_any_name(model: Path) -> None:
    named = model.rename("n\udcff%20#?")
    for source in (
        named,
        named.absolute().as_uri(),
        f"file://{named.absolute().as_posix()}".replace("%20#?", "%2520%23%3F"),
    ):
        assert run(["gate", os.fspath(source), "--to", "out"]) == 0
    assert run(["approve", "out", "--check"]) == 0
    assert run(["scan", named.absolute().as_uri()]) == 0
    assert run(["pull", os.fspath(named), "--to", "elsewhere"]) == 0
    assert run(["pull", os.fspath(named), "--to", f"{named}/inner"]) == 2


def test_other_rules_policies_or_names_approve_again(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert gate(model) == 0
    for arguments in (
        ["--policy", "strict"],
        ["--verifier", "urn:weighbridge:verifier:local", "--fail-at", "critical"],
    ):
        before = Path("out/approval.json").read_bytes()
        capfd.readouterr()
        assert run(["gate", "model", "--to", "out", *arguments]) == 0
        assert "holds it already" not in capfd.readouterr().err
        assert Path("out/approval.json").read_bytes() != before


def test_a_new_revision_replaces_what_was_approved(model: Path) -> None:
    assert gate(model) == 0
    (model / "pytorch_model.bin").write_bytes(checkpoint({"c": (2,)}))
    assert gate(model) == 0
    verify(model / "pytorch_model.bin", Path("out/model.safetensors"))
    check(Path("out"), trust=trust_policy.default(), now=now())


def test_a_check_by_the_lock_of_what_the_gate_made_names_the_other_check(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert gate(model) == 0
    assert run(["lock", "check", "out"]) == 1
    assert "`weighbridge approve out --check`" in capfd.readouterr().out


def test_what_somebody_changed_is_not_replaced(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert gate(model) == 0
    Path("out/config.json").chmod(0o644)
    Path("out/config.json").write_bytes(CONFIG.replace(b"bert", b"BERT"))
    assert gate(model) == 2
    said = capfd.readouterr().err
    assert "1 changed (config.json) [CONTENT_MISMATCH]: somebody has changed" in said
    assert "publisher" not in said
    assert run(["approve", "out", "--check"]) == 1
    said = capfd.readouterr().err
    assert "approve what is there now with `weighbridge approve`" in said
    assert "publisher" not in said
    Path("out/config.json").write_bytes(CONFIG)
    Path("out/mine.txt").write_text("mine")
    assert gate(model) == 2
    assert Path("out/mine.txt").exists()


def test_a_trust_policy_without_approvers_leaves_the_gate_its_own(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trust = tmp_path / "trust.toml"
    trust.write_text('version = 1\n[[rules]]\nsource = "file://**"\nmissing = "allow"\n')
    assert gate(model, "--trust", str(trust)) == 0
    capfd.readouterr()
    assert run(["gate", "model", "--to", "out", "--trust", str(trust)]) == 0
    assert "holds it already" in capfd.readouterr().err
    home.make_key(tmp_path / "other.pem", tmp_path / "other.pub.pem")
    assert gate(model, "--trust", str(trust), "--key", str(tmp_path / "other.pem")) == 2
    assert "no gate here put there" in capfd.readouterr().err


@pytest.mark.parametrize("there", ["file", "link", "folder", "unsigned"])
def test_a_place_that_is_taken_is_not_replaced(model: Path, there: str, capfd: pytest.CaptureFixture[str]) -> None:
    place = Path("out")
    if there == "file":
        place.write_text("mine")
    elif there == "link":
        place.symlink_to("model")
    else:
        place.mkdir()
        (place / ("approval.json" if there == "unsigned" else "mine")).write_text("{}")
    assert gate(model) == 2
    assert "weighbridge: error: " in capfd.readouterr().err
    assert there != "folder" or (place / "mine").read_text() == "{}"


def test_a_folder_of_another_model_is_not_replaced(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert gate(model) == 0
    shutil.copytree(model, "second")
    assert gate("second") == 2
    assert "the folder holds file://" in capfd.readouterr().err


def test_names_of_the_gates_own_are_refused(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (model / "report.json").write_bytes(b"{}")
    assert gate(model) == 4
    assert "report.json is a name of the gate's own; --exclude leaves it out" in capfd.readouterr().err
    assert not Path("out").exists()


def test_what_cannot_be_converted_fails_with_what_to_do(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    groups = checkpoint(WEIGHTS, beside={"ema": {}, "step": 3})
    (model / "pytorch_model.bin").write_bytes(groups)
    assert gate(model, "--state-dict", "nowhere") == 1
    assert not Path("out").exists()
    assert run(["gate", "model", "--to", "out", "--state-dict", "nowhere"]) == 1
    said = capfd.readouterr().out
    assert "fail: the weights cannot be converted to safetensors\n\npytorch_model.bin!" in said
    assert "[UNCONVERTIBLE]" in said
    assert "--no-convert" in said
    assert "/source/" not in said
    assert gate(model, "--state-dict", "model") == 0


POLICIES = {
    "FORMAT": "require: {formats: [safetensors, json]}",
    "SIZE": "require: {max_size: 10}",
    "SOURCE": "require: {sources: ['hf://acme/*']}",
    "LICENCE": "require: {licences: [mit]}",
    "UNPINNED": "require: {pinned: true}",
    "SIG_MISSING": "require: {signature: true}",
}


@pytest.mark.parametrize("code", POLICIES)
def test_what_the_policy_requires_besides_is_required(
    model: Path, code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("p.yaml").write_text(f"name: ours\n{POLICIES[code]}\n")
    assert run(["gate", "model", "--to", "out", "--policy", "p.yaml", "--no-convert"]) == 1
    said = capfd.readouterr()
    assert f"[{code}]" in said.out
    assert re.match(r"fail: [12] requirements? of the policy not met", said.out)
    assert "out is untouched" in said.err
    assert not Path("out").exists()


def test_what_is_too_large_is_not_fetched(model: Path, tmp_path: Path) -> None:
    Path("p.yaml").write_text(f"name: ours\n{POLICIES['SIZE']}\n")
    assert gate(model, "--policy", "p.yaml") == 1
    assert not [path for path in (tmp_path / "home/files").rglob("*") if path.is_file()]


def test_formats_are_those_of_what_crosses(model: Path) -> None:
    Path("p.yaml").write_text(f"name: ours\n{POLICIES['FORMAT']}\n")
    assert gate(model, "--policy", "p.yaml") == 0


def test_a_licence_is_the_declared_one(model: Path) -> None:
    (model / "README.md").write_bytes(b"---\nlicense: mit\n---\n# A model\n")
    Path("p.yaml").write_text(f"name: ours\n{POLICIES['LICENCE']}\n")
    assert gate(model, "--policy", "p.yaml") == 0


def trusting(source: str, tmp_path: Path) -> None:
    """Make the user's own key, and a trust policy by which it has to sign models from a source."""
    run(["key", "init"])
    digest = pem_digest(home.public_key_path().read_bytes(), "key").value
    home.trust_path().write_text(
        f"""version = 1
[signers.me]
method = "key"
public_key = "key.pub.pem"
sha256_spki = "{digest}"
[[rules]]
source = "{source}"
require = ["me"]
[approvers.me]
signer = "me"
verifier_id = "{trust_policy.OWN_VERIFIER}"
"""
    )


def test_a_signature_that_is_required_is_verified(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trusting("file://**", tmp_path)
    assert run(["gate", "model", "--to", "out"]) == 1
    assert "[SIG_MISSING]" in capfd.readouterr().out
    assert run(["sign", "model"]) == 0
    capfd.readouterr()
    assert run(["gate", "model", "--to", "out", "--policy", "strict"]) == 0
    assert "signed by me (sha256:" in capfd.readouterr().out
    assert json.loads(Path("out/report.json").read_text())["evidence"][0]["signer"] == "me"
    assert "model.sig" not in held()
    assert "config.json" in held()
    for arguments in ([], ["--no-convert"]):
        assert run(["gate", "model", "--to", "out", *arguments]) == 0
        assert "left out model.sig: no signature covers it" in capfd.readouterr().err
        assert run(["gate", "model", "--to", "out", *arguments]) == 0
        assert "holds it already" in capfd.readouterr().err
    (model / "config.json").write_bytes(CONFIG.replace(b"bert", b"tampered"))
    assert run(["gate", "model", "--to", "out"]) == 1
    said = capfd.readouterr().out
    assert "[CONTENT_MISMATCH]" in said
    assert "1 changed (config.json)" in said


def steps(path: str) -> list[dict[str, str | None]]:
    """Return the history in a JSON report, which keeps to its schema."""
    document = json.loads(Path(path).read_text())
    jsonschema.validate(document, SCHEMA)
    history: list[dict[str, str | None]] = document["history"]
    return history


def test_the_steps_of_the_decision_are_kept(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model / "training_args.bin").write_bytes(b"\x80\x04]\x94.")
    trusting("file://**", tmp_path)
    assert run(["sign", "model"]) == 0
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    asked = ["gate", "model", "--to", "out", "-q", "--format", "json", "--output"]
    assert run([*asked, "first.json"]) == 0
    beside, first = steps("out/report.json"), steps("first.json")
    assert [one["what"] for one in beside] == [
        "Resolved",
        "Fetched",
        "Compared digests",
        "Verified a signature",
        "Scanned",
        "Judged: pass",
        "Left out",
        "Converted",
        "Left out",
        "Scanned what is to be approved",
        "Judged: pass",
    ]
    assert {one["when"] for one in beside} == {"2027-01-15T08:00:00+00:00"}
    assert first[:-1] == beside
    (locked,) = read_lock(Path("out/weighbridge.lock")).models
    notes = [str(one["note"]) for one in beside]
    assert locked.revision in notes[0]
    assert locked.tree in notes[2]
    assert "of me (sha256:" in notes[3]
    assert "model.sig (no signature covers it)" in notes[6]
    assert "pytorch_model.bin to model.safetensors" in notes[7]
    assert "training_args.bin" in notes[8]
    approved = check(Path("out"), trust=trust_policy.default(), now=now())
    assert first[-1]["what"] == "Approved"
    own = pem_digest(home.public_key_path().read_bytes(), "key")
    assert first[-1]["who"] == f"{own}, in the name of {trust_policy.OWN_VERIFIER}"
    assert approved.tree in str(first[-1]["note"])
    assert run([*asked, "again.json"]) == 0
    again = steps("again.json")[-1]
    assert (again["what"], again["when"]) == ("Approved before", first[-1]["when"])
    assert str(again["who"]).startswith("me, in the name of ")


def test_the_steps_of_a_refusal_end_where_it_stopped(model: Path) -> None:
    told = ["-q", "--format", "json", "--output", "r.json"]
    Path("p.yaml").write_text("name: ours\nrequire: {sources: ['hf://acme/*']}\n")
    assert run(["gate", "model", "--to", "out", "--policy", "p.yaml", *told]) == 1
    assert [one["what"] for one in steps("r.json")] == ["Resolved", "Judged: fail"]
    (model / "pytorch_model.bin").write_bytes(checkpoint(WEIGHTS, beside={"ema": {}, "step": 3}))
    assert run(["gate", "model", "--to", "out", "--state-dict", "nowhere", *told]) == 1
    assert [one["what"] for one in steps("r.json")][-2:] == ["Judged: pass", "Could not convert"]
    (model / "other.bin").write_bytes(HOSTILE)
    assert run(["gate", "model", "--to", "out", *told]) == 1
    *_, last = steps("r.json")
    assert (last["what"], str(last["note"]).startswith("1 finding at or above high")) == ("Judged: fail", True)


def test_a_source_that_no_rule_is_for_is_denied(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trusting("hf://acme/**", tmp_path)
    assert run(["gate", "model", "--to", "out"]) == 1
    assert "[POLICY_NO_RULE]" in capfd.readouterr().out


def test_another_signer_than_the_locked_one_is_refused(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trusting("file://**", tmp_path)
    assert run(["sign", "model"]) == 0
    assert run(["lock", "add", "model", "-q"]) == 0
    assert gate(model, "--locked") == 0
    text = Path("weighbridge.lock").read_text()
    assert 'signer = "me"' in text
    Path("weighbridge.lock").write_text(re.sub(r'identity = "[^"]*"', 'identity = "sha256:other"', text))
    capfd.readouterr()
    assert run(["gate", "model", "--to", "out", "--locked"]) == 1
    assert "[SIGNER_CHANGED]" in capfd.readouterr().out


def test_what_loaders_refuse_is_told_and_can_be_allowed(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = json.dumps({"model_type": "bert", "auto_map": {"AutoModel": "modeling.Foo"}})
    (model / "config.json").write_text(config)
    assert run(["gate", "model", "--to", "out", "--fail-at", "critical"]) == 0
    assert "loaders will refuse config.json:auto_map" in capfd.readouterr().err
    assert run(["gate", "model", "--to", "out", "--fail-at", "critical", "--allow", "config.json:nothing"]) == 2
    capfd.readouterr()
    assert run(["gate", "model", "--to", "out", "--fail-at", "critical", "--allow", "config.json:auto_map"]) == 0
    assert "loaders will refuse" not in capfd.readouterr().err
    (allowed,) = check(Path("out"), trust=trust_policy.default(), now=now()).allowed
    assert (allowed.path, allowed.key) == ("config.json", "auto_map")


def test_other_wishes_are_other_results(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--no-convert"], [], ["--state-dict", "."]):
        capfd.readouterr()
        assert run(["gate", "model", "--to", "out", *arguments]) == 0
        assert "holds it already" not in capfd.readouterr().err
        assert run(["gate", "model", "--to", "out", *arguments]) == 0
        assert "holds it already" in capfd.readouterr().err


@pytest.mark.parametrize("expires", ["0d", "-3d", "2020-01-01", "soon", "9999999999999d"])
def test_an_approval_ends_some_time_to_come(model: Path, expires: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert gate(model, "--expires", expires) == 2
    assert "--expires" in capfd.readouterr().err


def test_the_day_of_expiry_is_kept(model: Path) -> None:
    assert gate(model, "--expires", "2099-01-31") == 0
    found = check(Path("out"), trust=trust_policy.default(), now=now())
    assert found.expires == datetime(2099, 1, 31, tzinfo=UTC)
    with pytest.raises(Refusal, match="APPROVAL_EXPIRED"):
        check(Path("out"), trust=trust_policy.default(), now=found.expires)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub(prefix="/hub") as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        yield fake
        assert not fake.leaks


def test_a_model_of_a_hub_crosses(hub: FakeHub) -> None:
    hub.publish("acme/m", {"pytorch_model.bin": checkpoint(WEIGHTS), "config.json": CONFIG, "README.md": CARD})
    assert gate("hf://acme/m", "--timeout", "2") == 0
    found = check(Path("out"), trust=trust_policy.default(), now=now())
    assert found.resource.startswith("hf://acme/m@")
    assert held() == {"model.safetensors", "config.json", "README.md", "conversion.json", "model.conversion.json"}


def test_an_approval_is_bound_to_who_may_approve(model: Path, tmp_path: Path) -> None:
    assert gate(model, "--verifier", "https://acme.example/gate") == 0
    descriptor = os.open("out", os.O_RDONLY)
    with pytest.raises(Refusal, match="APPROVAL_UNTRUSTED"):
        approval.read(descriptor, trust=trust_policy.default(), now=now(), where="out")
    os.close(descriptor)


def test_the_approval_of_another_model_is_none_where_one_is_expected(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert gate(model) == 0
    resource = check(Path("out"), trust=trust_policy.default(), now=now()).resource
    source = resource.rpartition("@")[0]
    for expected in (resource, source):
        assert run(["approve", "out", "--check", "--source", expected]) == 0
        assert set(weighbridge.load("out", source=expected)) == set(WEIGHTS)
    for other in ("hf://acme/m", f"{source}@sha256:{'0' * 64}", source[:-1], ""):
        assert run(["approve", "out", "--check", "--source", other]) == 1
        assert "[APPROVAL_MISMATCH]" in capfd.readouterr().err
        with pytest.raises(ApprovalMismatch, match="not of"):
            weighbridge.load("out", source=other)
        assert run(["run", "--approved", "out", "--source", other, "--", "true", "out"]) == 1
