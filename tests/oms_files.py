"""Models on disk, statements about them as OpenSSF Model Signing has them, and keys that sign those."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certifying import private_pem, public_pem
from cryptography.hazmat.primitives.asymmetric import ec

from weighbridge.digest import Digest
from weighbridge.evidence import oms
from weighbridge.evidence.base import Method, Signature
from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.evidence.keys import key_digest
from weighbridge.evidence.signers import KeySigner
from weighbridge.evidence.trust_entries import Deny, Missing, Pin, SourceRule, TrustedSigner, Uncovered
from weighbridge.evidence.trust_policy import TrustPolicy

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
FILES = {"config.json": b"{}", "weights/model.safetensors": b"\0" * 3000, "tokenizer.json": b'{"a":1}'}
HASHES: dict[str, Callable[[bytes], Any]] = {"sha256": hashlib.sha256, "blake2b": hashlib.blake2b}


def write(folder: Path, files: Mapping[str, bytes] = FILES) -> Path:
    """Write files below a folder and return it."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def resources(files: Mapping[str, bytes] = FILES, algorithm: str = "sha256") -> list[dict[str, str]]:
    """Return the resources of files."""
    return [
        {"name": path, "algorithm": algorithm, "digest": HASHES[algorithm](data).hexdigest()}
        for path, data in sorted(files.items())
    ]


def shards(files: Mapping[str, bytes] = FILES, size: int = 1000, algorithm: str = "sha256") -> list[dict[str, str]]:
    """Return the resources of the shards of files; one that is empty has none."""
    return [
        {
            "name": f"{path}:{begin}:{min(begin + size, len(data))}",
            "algorithm": f"{algorithm}-sharded-{size}",
            "digest": HASHES[algorithm](data[begin : begin + size]).hexdigest(),
        }
        for path, data in sorted(files.items())
        for begin in range(0, len(data), size)
    ]


def payload(listed: list[Any] | None = None, root: str | None = None, **changed: Any) -> bytes:
    """Return a statement about resources; `changed` are members of its serialization or, in capitals, of itself."""
    found = resources() if listed is None else listed
    digests = [one["digest"] for one in found if isinstance(one, dict) and isinstance(one.get("digest"), str)]
    try:
        true_root = oms.root_digest(digests)
    except ValueError:
        true_root = "0" * 64
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    serialization |= {key: value for key, value in changed.items() if key.islower()}
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": true_root if root is None else root}}],
        "predicateType": oms.PREDICATE,
        "predicate": {"resources": found, "serialization": serialization},
    }
    if "PREDICATE" in changed:
        document["predicate"] = changed["PREDICATE"]
    if "SUBJECT" in changed:
        document["subject"] = changed["SUBJECT"]
    if "TYPE" in changed:
        document["predicateType"] = changed["TYPE"]
    return json.dumps(document).encode()


def signature(signed: bytes, payload_type: str = IN_TOTO) -> Signature:
    """Return the signature that verifying a bundle with this payload would give."""
    return Signature(
        method=Method.KEY,
        signer="release",
        identity="sha256:1",
        payload_type=payload_type,
        payload=signed,
        bundle=Digest.of(b""),
    )


@functools.cache
def key(curve: type[ec.EllipticCurve] = ec.SECP256R1, number: int = 0) -> ec.EllipticCurvePrivateKey:
    """Return one of the keys of this process."""
    return ec.generate_private_key(curve())


def bundle(signed: bytes, private: Any = None, payload_type: str = IN_TOTO) -> bytes:
    """Return a bundle over a payload, signed."""
    return KeySigner(private_pem(private or key()), where="k.pem").sign(signed, payload_type)


def keys(folder: Path, private: Any = None, name: str = "k") -> tuple[Path, Path]:
    """Write both halves of a key, and return where they are: the private one, then the public one."""
    private = private or key()
    folder.mkdir(parents=True, exist_ok=True)
    hidden, shown = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    hidden.write_bytes(private_pem(private))
    hidden.chmod(0o600)
    shown.write_bytes(public_pem(private))
    return hidden, shown


def trust(folder: Path, *privates: Any, deny: tuple[str, ...] = (), **rule: Any) -> TrustPolicy:
    """Return a policy with a rule for every source that requires the given keys, `signer0` and so on."""
    signers = {}
    for number, private in enumerate(privates or (key(),)):
        _, public = keys(folder, private, name=f"signer{number}")
        signers[f"signer{number}"] = TrustedSigner(
            method=Method.KEY,
            public_key=public.name,
            sha256_spki=key_digest(private.public_key()).value,
            name=f"signer{number}",
            path=public,
        )
    settings: dict[str, Any] = {"source": "**", "require": tuple(signers)} | rule
    for name, kind in (("missing", Missing), ("unsigned_files", Uncovered), ("pin", Pin)):
        if name in settings:
            settings[name] = kind(settings[name])
    return TrustPolicy(
        where="trust.toml", signers=signers, rules=(SourceRule(**settings),), deny=Deny(tree_sha256=deny)
    )
