"""Approvals for tests of what is done with them: made by hand, without a signature."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from weighbridge.approval import Allowed, Approval, ApprovedFile
from weighbridge.formats import sniff
from weighbridge.location import Location
from weighbridge.reader import from_bytes


def approved(
    files: Mapping[str, bytes],
    allowed: Iterable[Allowed] = (),
    *,
    digest: str = "",
    formats: Mapping[str, str] = MappingProxyType({}),
) -> Approval:
    """Return the approval of files by their paths, as if somebody had signed it.

    `formats` are those that the bytes do not tell.
    """
    return Approval(
        resource="file:///model",
        files=tuple(_file(path, data, formats.get(path)) for path, data in sorted(files.items())),
        tree="sha256:" + "0" * 64,
        policy="sha256:" + "1" * 64,
        rules="sha256:" + "2" * 64,
        weighbridge="0",
        verifier="urn:test",
        signer="tester",
        approved=datetime(2026, 1, 1, tzinfo=UTC),
        expires=datetime(2027, 1, 1, tzinfo=UTC),
        allowed=tuple(allowed),
        digest=digest,
    )


def _file(path: str, data: bytes, format_: str | None) -> ApprovedFile:
    found = sniff(from_bytes(data, Location((path,))).sample)
    return ApprovedFile(
        path=path,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        format=format_ or (found[0].name if found else ""),
        leaves="3" * 64,
    )
