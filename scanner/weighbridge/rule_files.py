"""Where the rule and trust files are, their bytes, and the digest over all of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from weighbridge.digest import Digest


def rules_directory() -> Path:
    """Return the folder of the rules that ship with the package, or that of the checkout in an editable install."""
    package = Path(__file__).resolve().parent
    shipped = package / "_rules"
    return shipped if shipped.is_dir() else package.parent.parent / "rules"


def read_files(directory: Path) -> dict[str, bytes]:
    """Return the bytes of every rule and trust file by its path below `directory`, in the order of the paths.

    Policies are left out: they are no rules, and a verdict names the digest of its own.
    """
    files: dict[str, bytes] = {}
    folders = [""]
    for prefix in folders:
        with os.scandir(f"{directory}/{prefix}") as entries:
            for entry in entries:
                name = prefix + entry.name
                if name.endswith(".yaml"):
                    with open(entry.path, "rb", buffering=0) as file:  # noqa: PTH123 - a Path for each takes 1 ms
                        files[name] = file.read()
                elif name != "policies" and entry.is_dir():
                    folders.append(f"{name}/")
    return dict(sorted(files.items()))


def digest_of(files: Mapping[str, bytes]) -> Digest:
    """Return the digest of names and bytes."""
    whole = hashlib.sha256()
    for name, data in files.items():
        whole.update(b"%d %d %s" % (len(name), len(data), name.encode()))
        whole.update(data)
    return Digest("sha256", whole.hexdigest())
