"""The user's own folder of settings: the trust policy, and the key that approves on this machine.

FOLDER/           WEIGHBRIDGE_CONFIG, else the user's settings; mode 0700
  trust.toml      the trust policy, when there is one
  key.pem         the private key, mode 0600: ECDSA on P-256, in PKCS #8
  key.pub.pem     its public key
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Final

from weighbridge.errors import UsageError
from weighbridge.location import printable

VARIABLE: Final = "WEIGHBRIDGE_CONFIG"
MAX_KEY: Final = 1 << 20  # bytes; a key of RSA 16384 takes 13 kB


def folder() -> Path:
    """Return the folder of settings, which need not exist; raise as `expanded` does."""
    if named := os.environ.get(VARIABLE):
        return expanded(named, VARIABLE).absolute()
    if sys.platform == "win32":
        base = os.environ.get("APPDATA") or "~/AppData/Roaming"
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    else:
        base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return expanded(base, VARIABLE).absolute() / "weighbridge"


def expanded(path: str, variable: str) -> Path:
    """Return a path in which `~` is the home of a user.

    Raises UsageError when the system knows of none, as for a user of a container who is but a number; `variable` is
    what names another place.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{printable(path)}: no such home is known here; name a folder with {variable}") from error


def trust_path() -> Path:
    """Return where the user's trust policy lies."""
    return folder() / "trust.toml"


def key_path() -> Path:
    """Return where the user's own private key lies."""
    return folder() / "key.pem"


def public_key_path() -> Path:
    """Return where the public half of the user's own key lies."""
    return public_of(key_path())


def public_of(path: Path) -> Path:
    """Return where the public half of a private key lies: `key.pub.pem` beside `key.pem`."""
    return path.with_name(f"{path.name.removesuffix('.pem')}.pub.pem")


def make_key(path: Path, public: Path, password: bytes | None = None) -> None:
    """Make a key on P-256, which every reader of OpenSSF Model Signing takes, and write both halves.

    Raises UsageError when either file is there already or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    encryption: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    )
    private_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    public_pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if path == key_path():
        make_folder(path.parent)
    if public.exists():
        raise UsageError(f"{printable(str(public))} is there already; nothing was written")
    write_new(path, private_pem, mode=0o600)
    try:
        write_new(public, public_pem, mode=0o644)
    except UsageError:
        path.unlink(missing_ok=True)  # nobody has seen it yet, and half of a pair is none
        raise


def make_folder(path: Path) -> None:
    """Make a folder that only the user may enter, unless it is there; raise UsageError when that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{printable(str(path))}: {error.strerror}") from error


def write_new(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file whole or not at all, and never over another; raise UsageError when that fails.

    The file has its mode before it has its bytes.
    """
    name = printable(str(path))
    staged = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}")
    try:
        with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(staged, path)
    except FileExistsError as error:
        raise UsageError(f"{name} is there already; nothing was written") from error
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error
    finally:
        staged.unlink(missing_ok=True)


def read_public(path: Path) -> bytes:
    """Return the bytes of a public key or of certificates; raise UsageError when they cannot be read."""
    name = printable(str(path))
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY)
    except FileNotFoundError as error:
        fix = "`weighbridge key init` makes one" if path == public_key_path() else "name a file in PEM"
        if path == public_key_path() and key_path().exists():
            fix = f"`weighbridge key export --output {name}` writes that of your key"
        raise UsageError(f"{name}: no such key; {fix}") from error
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error


def read_private(path: Path) -> bytes:
    """Return the bytes of a private key.

    Raises UsageError when it cannot be read, or when other users may read it.
    """
    name = printable(str(path))
    try:
        with path.open("rb") as file:
            if os.name == "posix" and (mode := stat.S_IMODE(os.fstat(file.fileno()).st_mode)) & 0o077:
                raise UsageError(f"{name}: other users may read or write this key (mode {mode:04o}); chmod 600 it")
            return file.read(MAX_KEY)
    except FileNotFoundError as error:
        fix = "`weighbridge key init` makes one" if path == key_path() else "name a file with a private key in PEM"
        raise UsageError(f"{name}: no such key; {fix}") from error
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error
