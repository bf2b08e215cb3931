"""What the tests of keyless signatures share: one instance, a signer of a trust policy, a statement, no network."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers.fake_sigstore import ALICE, BUILD_CONFIG, BUILD_SIGNER, REF, REPOSITORY, FakeSigstore, Flaw, Person

from weighbridge.evidence import bundle, keyless, trusted_root
from weighbridge.evidence.base import Method, Signature
from weighbridge.evidence.trust_entries import TrustedSigner
from weighbridge.evidence.trusted_root import TrustedRoot

STATEMENT = json.dumps(
    {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": "00" * 32}}],
        "predicateType": "https://example.test/predicate",
        "predicate": {},
    }
).encode()

MODELS = "https://github.com/acme/models"
WORKFLOW = ".github/workflows/sign.yml"
MAIN = "refs/heads/main"
GITHUB = "https://token.actions.githubusercontent.com"
# A workflow as Fulcio names one.
ROBOT = Person(
    identity=f"{MODELS}/{WORKFLOW}@{MAIN}",
    issuer=GITHUB,
    claims={
        REPOSITORY: MODELS,
        REF: MAIN,
        BUILD_SIGNER: f"{MODELS}/{WORKFLOW}@{MAIN}",
        BUILD_CONFIG: f"{MODELS}/{WORKFLOW}@{MAIN}",
    },
)


@functools.cache
def instance() -> FakeSigstore:
    """Return the instance that a test process signs with."""
    return FakeSigstore()


def root(fake: FakeSigstore | None = None, flaw: Flaw | None = None) -> TrustedRoot:
    """Return the trust root of an instance."""
    made = fake or instance()
    return trusted_root.parse(json.dumps(made.trusted_root(flaw)).encode(), "root.json")


def signer(**changed: Any) -> TrustedSigner:
    """Return Alice as a trust policy has her, or somebody else."""
    keys = {"root": "fake", "identity": ALICE.identity, "issuer": ALICE.issuer} | changed
    return TrustedSigner(method=Method.SIGSTORE, name="alice", **keys)


def verify(raw: bytes, wanted: TrustedSigner | None = None, trusted: TrustedRoot | None = None) -> Signature:
    """Verify a bundle as the project does."""
    return keyless.verify(bundle.parse(raw, "model.sig"), wanted or signer(), trusted or root())


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Refuse every connection; return what counts the attempts."""
    import socket

    tried: list[object] = []

    def refuse(_: socket.socket, address: object) -> None:
        tried.append(address)
        raise OSError("this test is offline")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield lambda: len(tried)
    assert not tried
