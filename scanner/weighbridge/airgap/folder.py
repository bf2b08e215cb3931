"""The folder on the other side: what a bundle put there, and to put another one there in one step."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from weighbridge.airgap.cargo import LIMIT, READ_ONLY, TRUST, Cargo, check_rules
from weighbridge.airgap.form import NAME, Received, listed_in
from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UsageError
from weighbridge.evidence import bundle, trust_policy
from weighbridge.evidence.dsse import Envelope
from weighbridge.evidence.statement import TIME
from weighbridge.location import printable
from weighbridge.reading import read_file
from weighbridge.refusals import BundleOlder
from weighbridge.store.materialise import put


def held(folder: Path) -> Cargo | None:
    """Return what `install` put into a folder, None when there is no such folder or nothing in it.

    Raises UsageError when the folder is another's, or was altered since.
    """
    name = printable(str(folder))
    if not os.path.lexists(folder):
        return None
    if folder.is_symlink() or not folder.is_dir():
        raise UsageError(f"{name}: not a folder")
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not _is_folder(path)}
    if not there:
        return None
    if NAME not in there:
        raise UsageError(f"{name}: holds something else than a bundle; name another folder")
    content = bundle.parse(read_file(there.pop(NAME), LIMIT), name).content
    if not isinstance(content, Envelope):
        raise UsageError(f"{name}: holds something else than a bundle; name another folder")
    listed = listed_in(content.payload, content.payload_type, name)
    files = {path: read_file(place, LIMIT) for path, place in sorted(there.items()) if path in listed.files}
    altered = [path for path, data in files.items() if Digest.of(data).value != listed.files[path][1]]
    if altered or there.keys() != listed.files.keys():
        raise UsageError(
            f"{name}: was altered since a bundle was put there; move what is yours, or name another folder"
        )
    return Cargo(files=files, made=listed.made, weighbridge=listed.weighbridge)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def install(received: Received, folder: Path, *, older: bool = False) -> None:
    """Put what a bundle carries, and its signature, into a folder, in one step.

    What an earlier bundle put there is replaced. Raises BundleOlder when that was made later, unless `older`;
    DocumentError when rules or trust policy cannot be read by this version; UsageError as `held` does, and SourceError
    when the system refuses. The folder is untouched then.
    """
    before, cargo, where = held(folder), received.cargo, printable(str(folder))
    if before is not None and before.made > cargo.made and not older:
        reason = f"holds what was bundled at {before.made:{TIME}}; this bundle is older, of {cargo.made:{TIME}}"
        raise BundleOlder(where, reason, "bring a newer one, or say --older if going back is meant")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".weighbridge-", dir=folder.parent))
        try:
            new = place / "new"
            _write(new, {NAME: received.signature, **cargo.files})
            _check(new)
            put(new, folder)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    except OSError as error:
        raise SourceError(f"{where}: {error.strerror or error}") from error


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, READ_ONLY), "wb") as file:  # noqa: PTH123
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _check(folder: Path) -> None:
    """Raise DocumentError when this version cannot read the rules or the trust policy."""
    if (folder / "rules").is_dir():
        check_rules(folder / "rules")
    if (folder / TRUST).is_file():
        trust_policy.read(folder / TRUST)
