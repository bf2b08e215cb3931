"""Where the rule and trust files and the tables beside them are, their bytes, and the digest over all of them.

Paths are text here: importing pathlib, and the urllib that it imports, takes 3 of the 50 ms that a small scan takes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from weighbridge.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

ENDINGS: Final = (".yaml", ".json")  # of rules and trust entries, and of tables


def shipped_folder() -> str:
    """Return the folder of the rules that ship with the package, or that of the checkout in an editable install."""
    package = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120
    shipped = f"{package}/_rules"
    return shipped if os.path.isdir(shipped) else f"{os.path.dirname(os.path.dirname(package))}/rules"  # noqa: PTH112, PTH120


def rules_directory() -> Path:
    """Return `shipped_folder` as a path."""
    from pathlib import Path

    return Path(shipped_folder())


def read(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read()


def names(folder: str) -> list[str]:
    """Return the names of the YAML files of a folder, without their ending and sorted; none when there is no folder."""
    if not os.path.isdir(folder):  # noqa: PTH112
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))


def read_files(folder: str) -> dict[str, bytes]:
    """Return the bytes of every rule, trust file and table by its path below `folder`, in the order of the paths.

    Policies are left out: they are no rules, and a verdict names the digest of its own.
    """
    files: dict[str, bytes] = {}
    prefixes = [""]
    for prefix in prefixes:
        with os.scandir(f"{folder}/{prefix}") as entries:
            for entry in entries:
                name = prefix + entry.name
                if name.endswith(ENDINGS):
                    files[name] = read(entry.path)
                elif name != "policies" and entry.is_dir():
                    prefixes.append(f"{name}/")
    return dict(sorted(files.items()))


def digest_of(files: Mapping[str, bytes]) -> Digest:
    """Return the digest of names and bytes."""
    whole = hashlib.sha256()
    for name, data in files.items():
        whole.update(b"%d %d %s" % (len(name), len(data), name.encode()))
        whole.update(data)
    return Digest("sha256", whole.hexdigest())
