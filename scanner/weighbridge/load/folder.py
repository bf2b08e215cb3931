"""An approved folder: the approval first, and then nothing but the files that it names."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weighbridge import approval as approvals
from weighbridge.approval import Approval, ApprovedFile
from weighbridge.evidence import bundle
from weighbridge.leaves import CHUNK, Leaves, Sidecar
from weighbridge.load.opening import Anchor
from weighbridge.location import printable
from weighbridge.reading import pread
from weighbridge.refusals import ApprovalMismatch, ApprovalMissing, ContentMismatch, DigestMismatch

if TYPE_CHECKING:
    from weighbridge.evidence.trust_policy import TrustPolicy

_FIX: Final = "approve it with `weighbridge approve`, or load a model that was"
_FIX_ABSENT: Final = "name the folder that `weighbridge gate` wrote, or a file in it"


class Folder:
    """An approved folder that is held open; a context manager.

    `approval` is verified, or the caller answers for it. Files are opened beneath the folder as it was when it was
    opened, wherever its path leads later.
    """

    def __init__(self, anchor: Anchor, approval: Approval) -> None:
        self.anchor = anchor
        self.approval = approval
        self.files = {file.path: file for file in approval.files}
        self._sidecar: tuple[int, Sidecar] | None = None

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the folder; files that were opened stay open."""
        if self._sidecar is not None:
            os.close(self._sidecar[0])
            self._sidecar = None
        self.anchor.close()

    def where(self, path: str) -> str:
        """Return how messages name a file of the folder."""
        return self.anchor.where(path)

    def file(self, path: str) -> ApprovedFile:
        """Return what was approved under a path; raise ApprovalMismatch when nothing was."""
        try:
            return self.files[path]
        except KeyError:
            raise ApprovalMismatch(self.where(path), "the approval does not name this file", _FIX) from None

    def open(self, path: str) -> int:
        """Return a descriptor of an approved file that has the approved size; its bytes are still to be verified.

        Raises what `Anchor.open` does, ApprovalMismatch when the file was not approved, DigestMismatch when it has
        another size.
        """
        file = self.file(path)
        descriptor = self.anchor.open(path)
        size = os.fstat(descriptor).st_size
        if size != file.size:
            os.close(descriptor)
            raise DigestMismatch(self.where(path), chunk=min(size, file.size) // CHUNK)
        return descriptor

    def read(self, path: str) -> bytes:
        """Return the bytes of an approved file, verified; raise as `open` does."""
        file = self.file(path)
        descriptor = self.open(path)
        try:
            data = bytes(pread(descriptor, 0, file.size))
        finally:
            os.close(descriptor)
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise DigestMismatch(self.where(path))
        return data

    def leaves(self, file: ApprovedFile) -> Leaves:
        """Return the approved leaves of a file; raise ApprovalMalformed when the sidecar has not got them."""
        if self._sidecar is None:
            try:
                descriptor = self.anchor.open(approvals.LEAVES)
            except ContentMismatch as error:
                raise ApprovalMissing(self.where(approvals.LEAVES), "the leaves are not there", _FIX) from error
            try:
                self._sidecar = descriptor, Sidecar(descriptor, self.where(approvals.LEAVES))
            finally:
                if self._sidecar is None:
                    os.close(descriptor)
        return self._sidecar[1].leaves(file.leaves, file.size, file.format)


def open_folder(
    path: str | os.PathLike[str], trust: TrustPolicy | str | os.PathLike[str] | None, source: str | None = None
) -> tuple[Folder, str]:
    """Return the approved folder that `path` is or is in, and the path of what is meant in it (empty: the folder).

    The approval is that of the nearest folder above, and of `source` when that is given. Raises a NotApproved when
    there is none that holds, what the gate for configurations refuses, and UsageError when the trust policy lies in the
    folder.
    """
    from weighbridge.load import config_gate

    top, rest = _approved(Path(os.path.abspath(path)))  # noqa: PTH100 (`resolve` would follow links)
    anchor = Anchor(top)
    try:
        approval = approvals.verify(
            _bundle(anchor), trust=_policy(trust, top), now=datetime.now(UTC), where=anchor.where(approvals.NAME)
        )
        if source is not None:
            approvals.expect(approval, source, anchor.where(approvals.NAME))
        folder = Folder(anchor, approval)
        config_gate.check(approval, folder.read)
    except BaseException:
        anchor.close()
        raise
    return folder, rest


def _policy(trust: TrustPolicy | str | os.PathLike[str] | None, top: Path) -> TrustPolicy:
    """Return the trust policy that is meant; raise UsageError for one in the folder: no model says who approves it."""
    from weighbridge.evidence import trust_policy

    if trust is None or isinstance(trust, str | os.PathLike):
        return trust_policy.choose(trust, top)
    return trust


def _approved(path: Path) -> tuple[Path, str]:
    for folder in (path, *path.parents):
        if os.path.lexists(folder / approvals.NAME):
            return folder, path.relative_to(folder).as_posix() if path != folder else ""
    if not os.path.lexists(path):
        raise ApprovalMissing(printable(str(path)), "there is no such file or folder", _FIX_ABSENT)
    raise ApprovalMissing(printable(str(path)), f"no {approvals.NAME} in it or above it", _FIX)


def _bundle(anchor: Anchor) -> bytes:
    where = anchor.where(approvals.NAME)
    try:
        descriptor = anchor.open(approvals.NAME)
    except ContentMismatch as error:
        raise ApprovalMissing(where, "the approval is not there", _FIX) from error
    try:
        size = os.fstat(descriptor).st_size
        return bytes(pread(descriptor, 0, min(size, bundle.LIMIT + 1)))
    finally:
        os.close(descriptor)
