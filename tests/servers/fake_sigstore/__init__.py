"""A private instance of sigstore for tests: certificate authority, logs, timestamp authority, OIDC, trust root.

Every artefact is real, made with keys of its own, so that nothing in a client is replaced: `FakeSigstore` makes bundles
in memory, whole or with one `Defect`; `SigstoreServer` serves the same instance on 127.0.0.1 to clients that sign.
"""

from __future__ import annotations

from servers.fake_sigstore.defects import Defect, Flaw
from servers.fake_sigstore.instance import ALICE, BUILD_CONFIG, BUILD_SIGNER, REF, REPOSITORY, FakeSigstore, Person
from servers.fake_sigstore.service import SigstoreServer

__all__ = [
    "ALICE",
    "BUILD_CONFIG",
    "BUILD_SIGNER",
    "REF",
    "REPOSITORY",
    "Defect",
    "FakeSigstore",
    "Flaw",
    "Person",
    "SigstoreServer",
]
