"""Transparency logs as Rekor keeps them, versions 1 and 2: entries, inclusion proofs, checkpoints and promises.

Sources: RFC 6962 section 2.1 (Merkle trees), https://github.com/sigstore/rekor/tree/main/types (bodies of version 1),
https://github.com/sigstore/rekor-tiles (version 2), https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from servers.fake_sigstore.authority import log_id
from servers.fake_sigstore.defects import Defect

FILLERS = 5  # entries before the first, so that no proof is empty

LogKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def canonical(value: object) -> bytes:
    """Return JSON as RFC 8785 has it, for ASCII text and whole numbers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def leaf_hash(body: bytes) -> bytes:
    return hashlib.sha256(b"\0" + body).digest()


def root_of(leaves: list[bytes]) -> bytes:
    """Return the root of the tree over hashed leaves."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + root_of(leaves[:half]) + root_of(leaves[half:])).digest()


def path_to(index: int, leaves: list[bytes]) -> list[bytes]:
    """Return the hashes that lead from a leaf to the root."""
    if len(leaves) == 1:
        return []
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < half:
        return [*path_to(index, leaves[:half]), root_of(leaves[half:])]
    return [*path_to(index - half, leaves[half:]), root_of(leaves[:half])]


class Log:
    """A log: its key, the origin that its checkpoints name, and the hashes of its entries."""

    def __init__(self, origin: str, key: LogKey) -> None:
        self.origin, self.key = origin, key
        self._leaves = [leaf_hash(b"filler %d" % number) for number in range(FILLERS)]
        if isinstance(key, ec.EllipticCurvePrivateKey):
            self.id = log_id(key)
        else:  # the identifier of a key in a signed note
            raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            self.id = hashlib.sha256(origin.encode() + b"\n\x01" + raw).digest()

    def add(self, body: bytes, kind: str, version: str, defect: Defect | None = None) -> dict[str, Any]:
        """Append an entry; return it with its proof."""
        index = len(self._leaves)
        self._leaves.append(leaf_hash(body))
        entry = {
            "logIndex": str(index),
            "logId": {"keyId": b64(bytes(32) if defect is Defect.UNKNOWN_LOG else self.id)},
            "kindVersion": {"kind": kind, "version": version},
            "inclusionProof": self._proof(index, defect),
            "canonicalizedBody": b64(body),
        }
        if defect is Defect.NO_PROOF:
            del entry["inclusionProof"]
        return entry

    def promise(self, entry: dict[str, Any], now: datetime, defect: Defect | None) -> dict[str, Any]:
        """Return an entry with the time at which the log took it, and the log's signature of that."""
        moment = int(now.timestamp())
        document = {
            "body": entry["canonicalizedBody"],
            "integratedTime": moment,
            "logID": base64.b64decode(entry["logId"]["keyId"]).hex(),
            "logIndex": int(entry["logIndex"]),
        }
        key = ec.generate_private_key(ec.SECP256R1()) if defect is Defect.BAD_PROMISE else self.key
        stated = moment + 60 if defect is Defect.LOG_TIME_MOVED else moment
        promised = {"integratedTime": str(stated)}
        if defect is Defect.NO_PROMISE:
            return entry | promised
        return entry | promised | {"inclusionPromise": {"signedEntryTimestamp": b64(_sign(key, canonical(document)))}}

    def _proof(self, index: int, defect: Defect | None) -> dict[str, Any]:
        shown = index - 1 if defect is Defect.PROOF_OF_OTHER_ENTRY else index
        path = path_to(shown, self._leaves)
        if defect is Defect.BAD_PROOF:
            path = [bytes(32), *path[1:]]
        root = root_of(self._leaves)
        proof = {
            "logIndex": str(shown),
            "rootHash": b64(root),
            "treeSize": str(len(self._leaves)),
            "hashes": [b64(one) for one in path],
            "checkpoint": {"envelope": self._checkpoint(root, defect)},
        }
        if defect is Defect.NO_CHECKPOINT:
            del proof["checkpoint"]
        return proof

    def _checkpoint(self, root: bytes, defect: Defect | None) -> str:
        if defect is Defect.GARBLED_CHECKPOINT:
            return f"{self.origin}\n1\n!\n\n\u2014 name A\n"
        if defect is Defect.CHECKPOINT_OTHER_ROOT:
            root = bytes(32)
        note = f"{self.origin}\n{len(self._leaves)}\n{b64(root)}\n"
        key = self.key
        if defect is Defect.CHECKPOINT_OTHER_KEY:
            other = isinstance(key, ed25519.Ed25519PrivateKey)
            key = ed25519.Ed25519PrivateKey.generate() if other else ec.generate_private_key(ec.SECP256R1())
        name = self.origin.partition(" ")[0]
        return f"{note}\n\u2014 {name} {b64(self.id[:4] + _sign(key, note.encode()))}\n"


def _sign(key: LogKey, message: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    return key.sign(message, ec.ECDSA(SHA256()))


class Rekor:
    """Both versions of the log of one instance."""

    def __init__(self, host: str) -> None:
        self.v1 = Log(f"{host} - 1234", ec.generate_private_key(ec.SECP256R1()))
        self.v2 = Log(f"{host}/v2", ed25519.Ed25519PrivateKey.generate())

    def log_envelope(
        self, payload: bytes, signature: bytes, certificate: x509.Certificate, now: datetime, defect: Defect | None
    ) -> dict[str, Any]:
        """Return the entry of version 1 for an envelope; of its own hash nobody can check anything."""
        verifier = b64(certificate.public_bytes(Encoding.PEM))
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(signature + payload).hexdigest()},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [{"signature": b64(signature), "verifier": verifier}],
        }
        body = canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        return self.v1.promise(self.v1.add(body, "dsse", "0.0.1", defect), now, defect)

    def log_digest(
        self, digest: bytes, signature: bytes, certificate: x509.Certificate, now: datetime, defect: Defect | None
    ) -> dict[str, Any]:
        """Return the entry of version 1 for the signature over a file."""
        key = {"content": b64(certificate.public_bytes(Encoding.PEM))}
        spec = {
            "data": {"hash": {"algorithm": "sha256", "value": digest.hex()}},
            "signature": {"content": b64(signature), "publicKey": key},
        }
        body = canonical({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec})
        return self.v1.promise(self.v1.add(body, "hashedrekord", "0.0.1", defect), now, defect)

    def log_v2(
        self, digest: bytes, signature: bytes, certificate: x509.Certificate, defect: Defect | None
    ) -> dict[str, Any]:
        """Return the entry of version 2, which has no time; for an envelope `digest` is that of what is signed."""
        verifier = {
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "x509Certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))},
        }
        record = {
            "data": {"algorithm": "SHA2_256", "digest": b64(digest)},
            "signature": {"content": b64(signature), "verifier": verifier},
        }
        body = canonical({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": record}})
        return self.v2.add(body, "hashedrekord", "0.0.2", defect)


def later(now: datetime, defect: Defect | None) -> datetime:
    """Return the time that a timestamp states."""
    return now + timedelta(hours=1) if defect is Defect.TIMESTAMP_OUTSIDE else now
