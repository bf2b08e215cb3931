"""What parsers found, kept by the digest of the bytes: when rules or policies change, nothing is read again.

    HOME/facts/      mode 0700, beside the store
      ab/<key>       the facts of one file, mode 0600

An entry is for these bytes under this name, read by these parsers (the sources of everything below the rules) with
these limits. It is found under the digest of all that, and begins with a MAC over that and what follows, by a key that
lies in the user's folder of settings: a cache that was restored from elsewhere, that somebody else wrote, or that is
damaged in any way is no more than an empty one. Nothing here fails a scan: what cannot be read is parsed again, and
what cannot be written is not kept.

Facts with a gap are not kept. A gap may be of this moment (time that ran out, a library that is missing), and what was
not understood is looked at again every time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Final

from weighbridge import fact_codec
from weighbridge.digest import Digest
from weighbridge.errors import UsageError
from weighbridge.evidence import home
from weighbridge.examination import Tally
from weighbridge.fact_codec import CodecError
from weighbridge.facts import Fact, Gap
from weighbridge.limits import Limits
from weighbridge.records import dataclass, fields

FOLDER: Final = "facts"
KEY: Final = "cache.key"  # in the folder of settings
KEY_SIZE: Final = 32
MAX_ENTRY: Final = 1 << 20  # bytes; facts that take more take longer to read than bytes to parse
MAX_FOLDER: Final = 2 << 20  # bytes of the entries in one of the 256 folders; the oldest go when there are more
_MAGIC: Final = b"weighbridge facts 1\n"
_MAC: Final = hashlib.sha256().digest_size
# What a parse depends on beside the formats.
MODULES: Final = (
    *("cache", "digest", "errors", "examination", "expression", "fact_codec", "fact_forms", "facts", "header"),
    *("limits", "location", "names", "reader", "records", "remote", "symbols", "unpack"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """The facts that are kept in a folder, for parsers and limits of one `version`; `secret` is the key of the MAC.

    A `fresh` one is not in the user's folder of settings yet, and is put there with the first facts.
    """

    folder: str
    secret: bytes
    version: str
    fresh: bool = False

    def has(self, digest: Digest, name: str) -> bool:
        """Tell whether there is an entry for the bytes with a digest under a name, good or bad."""
        return os.path.exists(self._path(self._key(digest, name)))  # noqa: PTH110 - see `rule_files`

    def find(self, digest: Digest, name: str) -> tuple[list[Fact], Tally] | None:
        """Return the facts of the bytes with a digest and the account of them, None when they are not kept."""
        key = self._key(digest, name)
        try:
            with open(os.open(self._path(key), _READ), "rb") as file:  # noqa: PTH123 - a descriptor
                data = file.read(MAX_ENTRY + 1)
                os.utime(file.fileno())  # it was of use, and stays longer
        except OSError:
            return None
        head, payload = data[: len(_MAGIC) + _MAC], data[len(_MAGIC) + _MAC :]
        if len(data) > MAX_ENTRY or not hmac.compare_digest(head, self._head(key, payload)):
            return None
        try:
            facts, (size, inert, unexamined) = fact_codec.decode(payload)
        except CodecError:
            return None
        if any(isinstance(fact, Gap) for fact in facts):
            return None
        return facts, Tally(size, inert, unexamined)

    def keep(self, digest: Digest, name: str, facts: list[Fact], tally: Tally) -> None:
        """Keep the facts of bytes, if all of them were understood and there are not too many."""
        if any(isinstance(fact, Gap) for fact in facts):
            return
        try:
            payload = fact_codec.encode(facts, (tally.size, tally.inert, tally.unexamined))
        except CodecError:
            return
        if len(payload) + len(_MAGIC) + _MAC > MAX_ENTRY:
            return
        if self.fresh and not _put_secret(self.secret):
            return
        key = self._key(digest, name)
        path = Path(self._path(key))
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _write(path, self._head(key, payload) + payload)
            _trim(path.parent)
        except OSError:
            return

    def _key(self, digest: Digest, name: str) -> bytes:
        whole = hashlib.sha256()
        for part in (self.version, str(digest), name):
            data = part.encode("utf-8", "surrogatepass")
            whole.update(b"%d " % len(data) + data)
        return whole.digest()

    def _head(self, key: bytes, payload: bytes) -> bytes:
        return _MAGIC + hmac.digest(self.secret, key + payload, "sha256")

    def _path(self, key: bytes) -> str:
        return f"{self.folder}/{key[:1].hex()}/{key.hex()}"


_READ: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def _write(path: Path, data: bytes) -> None:
    """Put a file to its place in one step, without waiting for the disk: what a power cut spoils has no right MAC."""
    new = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with open(os.open(new, _WRITE, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def open_cache(store: Path, limits: Limits) -> Cache | None:
    """Return the cache in the folder of a store; None when there can be none that nobody else may write."""
    folder = store / FOLDER
    try:
        store.mkdir(parents=True, mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if not _is_own(folder):
            return None
        secret, fresh = _secret()
        return Cache(folder=str(folder), secret=secret, version=_version(limits), fresh=fresh) if secret else None
    except (OSError, UsageError):
        return None


def _is_own(folder: Path) -> bool:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return False
    return os.name != "posix" or (status.st_uid == os.geteuid() and not status.st_mode & 0o077)


def _secret() -> tuple[bytes, bool]:
    """Return the key of the user's cache, and whether it is a new one; nothing when another file has its place."""
    path = home.folder() / KEY
    if not path.exists():
        return secrets.token_bytes(KEY_SIZE), True
    secret = home.read_private(path)
    return secret if len(secret) == KEY_SIZE else b"", False


def _put_secret(secret: bytes) -> bool:
    """Tell whether a new key is that of the user's cache now, for which another process may have been first."""
    path = home.folder() / KEY
    try:
        if not path.exists():
            home.make_folder(path.parent)
            home.write_new(path, secret, mode=0o600)
        return home.read_private(path) == secret
    except UsageError:
        return False


def _version(limits: Limits) -> str:
    """Return what tells parsers and their limits from all others."""
    told = [parsers(), sys.version, zlib.ZLIB_RUNTIME_VERSION]
    told += [f"{limit.name}={getattr(limits, limit.name)!r}" for limit in fields(limits)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


@cache
def parsers() -> str:
    """Return the digest of the sources of everything that facts depend on."""
    package = Path(__file__).parent
    sources = [package / f"{name}.py" for name in MODULES]
    sources += (package / "formats").rglob("*.py")
    whole = hashlib.sha256()
    for path in sorted(sources):
        data = path.read_bytes()
        whole.update(f"{path.relative_to(package).as_posix()} {len(data)}\n".encode())
        whole.update(data)
    return whole.hexdigest()


def _trim(folder: Path) -> None:
    """Remove the entries of a folder that were of no use for longest, when all of them take too much."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            found.append((status.st_mtime, status.st_size, entry.path))
    left = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if left <= MAX_FOLDER:
            return
        os.unlink(path)  # noqa: PTH108
        left -= size
