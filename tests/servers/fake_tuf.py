"""A repository of The Update Framework on 127.0.0.1, whose metadata tests can age, spoil and sign by strangers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Self, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from servers.serving import Faults, Reply, Request, Server

Role = TypeVar("Role", Root, Targets, Snapshot, Timestamp)

ROLES = ("root", "timestamp", "snapshot", "targets")


class FakeTuf:
    """The repository and its server; a context manager. `publish` makes a new version of everything but the root."""

    def __init__(self, targets: dict[str, bytes]) -> None:
        self.signers = {role: CryptoSigner.generate_ed25519() for role in ROLES}
        self.version = 0
        self.expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        self.files: dict[str, bytes] = {}
        root = Root(version=1, expires=self.expires, consistent_snapshot=True)
        for role, signer in self.signers.items():
            root.add_key(signer.public_key, role)
        self.root = self._signed("root", root)
        self.publish(targets)
        self.server = Server(self._answer, Faults())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    @property
    def url(self) -> str:
        return self.server.origin

    def publish(self, targets: dict[str, bytes]) -> None:
        """Make the next version, with these files."""
        self.version += 1
        listed = {name: TargetFile.from_data(name, data, ["sha256"]) for name, data in targets.items()}
        self.files |= {f"/targets/{listed[name].hashes['sha256']}.{name}": data for name, data in targets.items()}
        made = Targets(self.version, expires=self.expires, targets=listed)
        self.files[f"/{self.version}.targets.json"] = self._signed("targets", made)
        meta = {"targets.json": MetaFile(self.version)}
        snapshot = Snapshot(self.version, expires=self.expires, meta=meta)
        self.files[f"/{self.version}.snapshot.json"] = self._signed("snapshot", snapshot)
        stamp = Timestamp(self.version, expires=self.expires, snapshot_meta=MetaFile(self.version))
        self.files["/timestamp.json"] = self._signed("timestamp", stamp)

    def _signed(self, role: str, signed: Role) -> bytes:
        metadata = Metadata(signed)
        metadata.sign(self.signers[role])
        return metadata.to_bytes()

    def _answer(self, request: Request) -> Reply:
        found = self.files.get(request.path)
        return Reply(status=404) if found is None else Reply(body=found)
