"""Renew the trust root of a sigstore instance: the only part of evidence that uses the network.

The Update Framework (TUF) tells which trust root is the current one: metadata that several people sign, that expires,
and that never goes back. It starts from a root of metadata that is known already, for the public instance the one that
comes with sigstore-python. Its digest then stands in the trust policy, and verifying needs no network.

Source: https://theupdateframework.github.io/specification/latest/, https://docs.sigstore.dev/about/security/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from weighbridge.digest import Digest
from weighbridge.errors import DocumentError, SourceError, UnavailableError, UsageError
from weighbridge.evidence import home, trust_policy, trusted_root
from weighbridge.evidence.strict import read_object
from weighbridge.evidence.trust_entries import MAX_ROOT, Root, RootType
from weighbridge.location import printable
from weighbridge.records import dataclass, replace
from weighbridge.refusals import SignatureMalformed, TrustCorrupt
from weighbridge.writing import write

if TYPE_CHECKING:
    from tuf.ngclient import Updater

PUBLIC: Final = "https://tuf-repo-cdn.sigstore.dev"
TRUSTED_ROOT: Final = "trusted_root.json"
SIGNING_CONFIG: Final = "signing_config.v0.2.json"
_CONFIG: Final = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What an update did: the file of the trust root, and its digest before and after."""

    path: Path
    before: str
    after: str

    @property
    def changed(self) -> bool:
        """Whether the trust root is another one than before."""
        return self.before != self.after


def update(
    policy: Path, name: str, *, today: date, url: str = PUBLIC, first: bytes | None = None, state: Path | None = None
) -> Update:
    """Fetch the current trust root of an instance and pin it as the root `name` of the trust policy in a file.

    `url` is the instance's repository of metadata. `first` is the root of metadata to start from; without it that of
    an earlier update, for the public instance the one that comes with sigstore-python. `state` is the folder that
    remembers metadata, so that nobody can serve older one; by default it lies among the user's settings.

    The file of the trust root is replaced, then the trust policy; in between every signature would be refused.

    Raises DocumentError when the trust policy is wrong or cannot be rewritten, UsageError when it has no such root,
    SourceError when the repository cannot be reached, TrustCorrupt when what it says does not verify.
    """
    before = trust_policy.read(policy)
    root = before.roots.get(name)
    if root is None or root.type is not RootType.SIGSTORE:
        known = ", ".join(one.name for one in before.roots.values() if one.type is RootType.SIGSTORE)
        raise UsageError(f"{before.where} has no root {printable(name)!r} of type sigstore; it has {known or 'none'}")
    raw = fetch([TRUSTED_ROOT], url=url, first=first, state=state)[TRUSTED_ROOT]
    trusted_root.parse(raw, f"{url}: {TRUSTED_ROOT}")
    after = Digest.of(raw).value
    text = _pinned(policy, root, after, today)
    home.make_folder(root.path.parent)
    _replace(root.path, raw)
    _replace(policy, text.encode("utf-8"))
    return Update(path=root.path, before=root.sha256.removeprefix("sha256:"), after=after)


def public(state: Path | None = None) -> bytes:
    """Return the configuration, as JSON, with which a client signs with the public instance; raises as `update`."""
    found = fetch([TRUSTED_ROOT, SIGNING_CONFIG], url=PUBLIC, state=state)
    try:
        root, signing = (read_object(found[name], f"{PUBLIC}: {name}") for name in (TRUSTED_ROOT, SIGNING_CONFIG))
    except SignatureMalformed as error:
        raise TrustCorrupt(error.where, error.reason, "ask who runs the instance") from error
    return json.dumps({"mediaType": _CONFIG, "trustedRoot": root, "signingConfig": signing}).encode("ascii")


def fetch(
    names: Iterable[str], *, url: str = PUBLIC, first: bytes | None = None, state: Path | None = None
) -> dict[str, bytes]:
    """Return the current files of an instance's repository by name; for the arguments and errors see `update`."""
    from tuf.api.exceptions import DownloadError, RepositoryError

    base = url.rstrip("/")
    folder = (state or home.folder() / "tuf") / quote(base, safe="")
    start = first or _shipped(base)
    if start is None and not (folder / "root.json").exists():
        fix = "name the file of its first root of metadata with --root"
        raise UsageError(f"nothing is known yet of {printable(base)}; {fix}")
    home.make_folder(folder)
    try:
        updater = _updater(base, folder, start)
        return {name: _target(updater, name, base) for name in names}
    except DownloadError as error:
        raise UnavailableError(f"{printable(base)}: {_said(error)}") from error
    except (RepositoryError, ValueError) as error:
        reason = f"its metadata does not verify: {printable(str(error))}"
        raise TrustCorrupt(printable(base), reason, "ask who runs the instance") from error
    except OSError as error:
        raise SourceError(f"{printable(str(folder))}: {error.strerror or error}") from error


def _said(error: Exception) -> str:
    """Return why there was no answer; where tuf has no words for it, urllib3 has."""
    before = error.__cause__ or error.__context__
    return printable(str(error) or str(getattr(before, "reason", before)) or type(error).__name__)


def _updater(base: str, folder: Path, start: bytes | None) -> Updater:
    from tuf.ngclient import Updater, UpdaterConfig

    updater = Updater(
        str(folder),
        base,
        target_dir=str(folder),
        target_base_url=f"{base}/targets/",
        config=UpdaterConfig(app_user_agent="weighbridge"),
        bootstrap=start,
    )
    updater.refresh()
    return updater


def _target(updater: Updater, name: str, base: str) -> bytes:
    """Return the bytes of a file of the repository, verified as they were read."""
    found = updater.get_targetinfo(name)
    if found is None:
        raise TrustCorrupt(printable(base), f"its metadata names no {name}", "ask who runs the instance")
    if found.length > MAX_ROOT:
        raise TrustCorrupt(printable(base), f"{name} has {found.length} bytes, limit is {MAX_ROOT}")
    raw = Path(updater.download_target(found)).read_bytes()
    found.verify_length_and_hashes(raw)
    return raw


def _shipped(base: str) -> bytes | None:
    """Return the root of metadata that comes with sigstore-python, None for other instances."""
    from importlib.resources import files

    try:
        return files("sigstore").joinpath("_store", quote(base, safe=""), "root.json").read_bytes()
    except FileNotFoundError:
        return None


def _pinned(policy: Path, root: Root, sha256: str, today: date) -> str:
    """Return the text of a trust policy with another digest and day of a root, and nothing else changed."""
    text = policy.read_bytes().decode("utf-8")  # with the ends of lines as they are
    edited = _edited(text, root.name, sha256, today)
    before, after = trust_policy.parse(text, policy), trust_policy.parse(edited, policy)
    roots = {**before.roots, root.name: replace(root, sha256=sha256, updated=today)}
    if replace(before, roots=roots, digest="") != replace(after, roots=dict(after.roots), digest=""):
        by_hand = f'write sha256 = "{sha256}" and updated = {today} into the table [roots.{root.name}]'
        raise DocumentError(before.where, f"the root {root.name!r} is written in a way that is not edited; {by_hand}")
    return edited


def _edited(text: str, name: str, sha256: str, today: date) -> str:
    """Return a text in TOML with the lines `sha256` and `updated` of the table of a root replaced."""
    lines, inside, done = [], False, False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            inside = re.match(rf"""\s*\[\s*roots\s*\.\s*(["']?){re.escape(name)}\1\s*\]""", line) is not None
        if inside and re.match(r"\s*updated\s*=", line):
            continue
        if inside and not done and (match := re.match(r"""(\s*sha256\s*=\s*)("[^"]*"|'[^']*')""", line)):
            end = "\r\n" if line.endswith("\r\n") else "\n"
            indent = line[: len(line) - len(line.lstrip())]
            rest = line[match.end() :].rstrip("\r\n")
            lines.append(f'{match[1]}"{sha256}"{rest}{end}{indent}updated = {today.isoformat()}{end}')
            done = True
            continue
        lines.append(line)
    return "".join(lines)


def _replace(path: Path, data: bytes) -> None:
    """Write a file in the place of another, with the rights that the other had; a link stays one."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    write(path.resolve(), [data], error=UsageError, mode=mode)
