"""Every example that `--help` shows is run, in a folder that holds what it speaks of."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType

import click
import pytest
from certifying import authority, signer
from checkpoints import checkpoint, tensor, values
from keyless_signing import instance
from oms_files import payload, resources, write
from safetensors_files import tensor_file
from servers.fake_hub import FakeHub
from servers.fake_registry import fake_registry
from servers.fake_sigstore import Person
from servers.fake_tuf import FakeTuf
from servers.oci_layouts import oras

from fixtures.archives import torch_zip
from fixtures.assemble import P2
from weighbridge import cli
from weighbridge.cli import group
from weighbridge.evidence import trust_update
from weighbridge.evidence.keys import pem_digest

TREE = Path(__file__).resolve().parent.parent
WEIGHTS = tensor_file({"w": bytes(8)})
MODEL = {"model.safetensors": WEIGHTS, "config.json": b'{"model_type": "bert"}'}
CI = Person(identity="ci@acme.example", issuer="https://accounts.example")
# Who believes whom: the keys are those that examples name.
TRUST = """\
version = 1
[roots.internal]
type = "sigstore"
tuf = "{tuf}"
trusted_root = "roots/internal.json"
sha256 = "{root}"
updated = {today}
max_age_days = 120
[signers.gate]
method = "key"
public_key = "gate.pub.pem"
sha256_spki = "{gate}"
[signers.release]
method = "key"
public_key = "release.pub.pem"
sha256_spki = "{release}"
[[rules]]
source = "hf://acme/name"
require = ["release"]
[[rules]]
source = "oci://**"
missing = "allow"
[approvers]
gate = {{ signer = "gate", verifier_id = "https://acme.example/gate" }}
release = {{ signer = "release", verifier_id = "https://acme.example/release" }}
"""
GATE = "--key gate.pem --verifier https://acme.example/gate"
# What has to have happened before an example, by how it begins; the longest beginning counts.
BEFORE = {
    "approve models/name --check": [f"approve models/name {GATE}"],
    "approve models/name --expires": [
        "policy init",
        "scan models/name --format json --output report.json",
        "waive report.json CFG001 --reason 'read' --expires 90d",
    ],
    "attest": ["key init"],
    "bundle export": ["approve models/name", "approve models/one", "approve models/two"],
    "bundle export gap.tar --trust": [f"approve models/{name} {GATE}" for name in ("name", "one", "two")],
    "bundle show": ["bundle export gap.tar --key release.pem"],
    "bundle import": ["bundle export gap.tar --trust trust.toml --key release.pem"],
    "bundle import gap.tar --to /srv/weighbridge --trust": [
        "bundle export gap.tar --trust trust.toml --key release.pem",
        "bundle import gap.tar --to /srv/weighbridge --key release.pub",
    ],
    "convert --verify": ["convert checkpoint.pt model.safetensors --overwrite"],
    "key export": ["key init"],
    "key show": ["key init"],
    "lock check": ["pull hf://org/name --to models/name"],
    "lock check models/name --lock": ["pull hf://org/name --to models/name", "lock add hf://org/name"],
    "lock update": ["lock add hf://org/name"],
    "policy lint": ["policy init"],
    "pull hf://org/name --to models/name --locked": ["lock add hf://org/name"],
    "run": ["approve models/name"],
    "sign models/name": ["key init"],
    "trust": ["key init", "trust init"],
    "trust init": ["key init"],
    "trust update": ["trust update internal --trust trust.toml --root root.json"],
    "verify models/name --key": ["sign models/name --key publisher.pem"],
    "verify models/name --source": ["sign models/name --key release.pem"],
    "verify-attestation name.scan": ["attest models/name --key gate.pem --output name.scan.json"],
    "verify-attestation name.vsa": [f"attest models/name --type decision {GATE} --output name.vsa.json"],
    "waive": ["policy init", "scan models/ --format json --output report.json"],
}
# What an example makes, and refuses to make when it is there.
MAKES = {
    "convert": ["model.safetensors"],
    "gate": ["models/name"],
    "pull": ["models/name"],
    "key init release.pem": ["release.pem", "release.pub.pem"],
    "key export": ["release.pub"],
    "lock check": ["models/name"],
    "trust init": ["trust.toml"],
    "waive": ["waivers.yaml"],
}
# Exit statuses that are no success, and what the shelf has that makes them right.
STATUSES = {
    "diff hf://org/name@v1 hf://org/name@v2": 1,  # other weights
    "diff models/name hf://org/name --format json": 1,  # the folder has another configuration
    "scan models/ --format json --output report.json": 1,  # something to waive
    "trust lint trust.toml --strict": 1,  # a rule that lets in what nobody has signed
}


def examples() -> list[str]:
    """Return every example of every command, without the name of the program and what a shell makes of its output."""
    found: list[str] = []

    def walk(command: click.Command, context: click.Context) -> None:
        parts = re.split(r"^\s*Examples?:\n", command.help or "", flags=re.MULTILINE)
        assert len(parts) == 2, f"{context.command_path} has no examples"
        text = parts[1].partition("\n\n")[0].replace("\\\n", " ")
        found.extend(re.findall(r"^\s*(?:source <\()?weighbridge ([^>)\n]*)", text, flags=re.MULTILINE))
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                walk(inner, click.Context(inner, parent=context, info_name=name))

    walk(group.weighbridge, click.Context(group.weighbridge, info_name="weighbridge"))
    return sorted({" ".join(one.split()) for one in found})


def longest(table: dict[str, list[str]], example: str) -> list[str]:
    """Return what a table has for the longest beginning of an example."""
    return table.get(max((one for one in table if example.startswith(one)), key=len, default=""), [])


@pytest.fixture
def addresses(work: None, hub_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Run what examples fetch from, and return what stands for what in them."""
    with FakeHub() as hub, fake_registry() as registry, FakeTuf({trust_update.TRUSTED_ROOT: _trusted()}) as tuf:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        for ref, weights in (("v1", bytes(8)), ("v2", b"\1" * 8), ("main", bytes(8)), ("refs/pr/1", bytes(8))):
            hub.publish("org/name", MODEL | {"model.safetensors": tensor_file({"w": weights})}, ref=ref)
        oras(registry, "models/name", "1.0")
        Path("root.json").write_bytes(tuf.root)
        there = Path("srv").absolute()
        yield {"registry.example": registry.host, "/srv": str(there), "TUF": tuf.url}


def _trusted() -> bytes:
    return json.dumps(instance().trusted_root()).encode()


def _models() -> None:
    """Write the models that examples speak of."""
    for name in ("name", "one", "two"):
        write(Path("models", name), MODEL)
    plain, under = checkpoint({"w": (2, 3)}), checkpoint({"w": (2,)}, beside={}, under="ema")
    deep = {"ema": {"state_dict": {"w": tensor("0", (2,))}}, "epoch": 3}
    write(Path(), {"model.pt": plain, "pytorch_model.bin": plain, "downloads/model.pt": under, "serve.py": b""})
    write(Path(), {"model.safetensors": WEIGHTS, "checkpoint.pt": torch_zip(P2.stream(deep), {"0": values(2)})})
    write(Path("downloads/bert"), {"pytorch_model.bin": plain, "config.json": MODEL["config.json"]})


def _settings(tuf: str) -> None:
    """Write keys, certificates, policies and rules."""
    for name in ("gate", "release", "publisher"):
        assert run(f"key init {name}.pem") == 0
    shutil.copy("release.pub.pem", "release.pub")
    digests = {name: pem_digest(Path(f"{name}.pub.pem").read_bytes(), name) for name in ("gate", "release")}
    root = hashlib.sha256(_trusted()).hexdigest()
    Path("trust.toml").write_text(TRUST.format(tuf=tuf, root=root, today=date.today(), **digests))
    above = authority("Acme")
    leaf = signer(above)
    write(Path(), {"leaf.crt": leaf.pem, "signer-certificate.pem": leaf.pem, "authority.crt": above.pem})
    Path("leaf.pem").touch(mode=0o600)
    write(Path(), {"leaf.pem": leaf.key_pem, "waivers.yaml": b"waivers: []\n"})
    write(Path(), dict.fromkeys(("trusted_root.json", "roots/internal.json"), _trusted()))
    write(Path(), {"policies/strictest.yaml": b"fail_at: low\n"})
    for name in ("rules", "fixtures"):
        Path(f"my-{name}").symlink_to(TREE / name)


def _commands(folder: Path) -> None:
    """Write commands that end at once, for those that are not here."""
    for name in ("vllm", "llama-server", "python"):
        write(folder, {name: b"#!/bin/sh\nexit 0\n"})
        (folder / name).chmod(0o755)


def _particulars(example: str) -> None:
    """Write what one example needs and others must not find."""
    folder = Path("models/name")
    if "auto_map" in example:
        write(folder, {"config.json": b'{"auto_map": {"AutoModel": "org/name--modeling.Model"}}'})
    if "diff" in example:
        write(folder, {"config.json": b"{}"})
    if "model.gguf" in example:
        shutil.copy(TREE / "fixtures/gguf/plain.gguf", folder / "model.gguf")
    if example.startswith(("waive", "scan models/ --format json")):
        shutil.copy(TREE / "fixtures/pickle/nested_deserialisation.pkl", "models/model.pkl")
    if "--identity" in example:
        write(folder, {"model.sig": instance().envelope(payload(resources(MODEL)), CI)})
    if "--checksums" in example:
        lines = (f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in MODEL.items())
        Path("SHA256SUMS").write_text("".join(lines))


def run(line: str, places: Mapping[str, str] = MappingProxyType({})) -> int:
    """Return the exit status of a command, with places of this test in it."""
    for word, place in places.items():
        line = line.replace(word, place)
    if line.startswith("run "):  # which becomes the command
        return subprocess.run([sys.executable, "-m", "weighbridge", *shlex.split(line)], check=False).returncode
    return cli._run(group.run, shlex.split(line))


@pytest.mark.parametrize("example", examples())
def test_an_example_works(
    example: str, addresses: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    _commands(tmp_path / "bin")
    _models()
    _settings(addresses.pop("TUF"))
    _particulars(example)
    for made in longest(MAKES, example):
        place = Path(made)
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    for line in longest(BEFORE, example):
        run(line, addresses)
    if example.startswith("trust update"):
        monkeypatch.setenv("WEIGHBRIDGE_TRUST", "trust.toml")
    if "--encrypt" in example:
        monkeypatch.setenv("WEIGHBRIDGE_KEY_PASSWORD", "secret")
    soon = str(date.today() + timedelta(days=30))
    assert run(example.replace("2027-01-31", soon), addresses) == STATUSES.get(example, 0)
