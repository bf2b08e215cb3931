"""What a bundle carries, by the paths that it has a place for."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from weighbridge import rule_files
from weighbridge.artifact import admit
from weighbridge.digest import Digest
from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.refusals import ManifestInvalid
from weighbridge.rules import RuleSet
from weighbridge.trust import Trust
from weighbridge.version import __version__

TRUST: Final = "trust/trust.toml"
# Bytes: rules take 0.4 MB, an approval 3 MB for 100 GB of weights; all of it is in memory until it is verified.
LIMIT: Final = 512 << 20
READ_ONLY: Final = 0o444  # the mode of every file, in the bundle and where it is put
_PATH: Final = re.compile(
    r"approvals/[0-9a-f]{64}/(approval\.(json|leaves)|weighbridge\.lock)|rules/.+\.(yaml|json)|trust/.+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cargo:
    """What is carried: the bytes of every file by its path in the bundle, and when they were put together (UTC)."""

    files: Mapping[str, bytes]
    made: datetime
    weighbridge: str = __version__

    @property
    def rules(self) -> str:
        """The digest of the rules, as a verdict names it; empty when there are none."""
        named = {path.removeprefix("rules/"): data for path, data in self.files.items() if path.startswith("rules/")}
        counted = {path: data for path, data in named.items() if not path.startswith("policies/")}
        return str(rule_files.digest_of(dict(sorted(counted.items())))) if counted else ""

    @property
    def trust(self) -> str:
        """The digest of the trust policy; empty when there is none."""
        return str(Digest.of(self.files[TRUST])) if TRUST in self.files else ""

    @property
    def approvals(self) -> tuple[str, ...]:
        """The trees that are approved."""
        trees = {path.split("/")[1] for path in self.files if path.startswith("approvals/")}
        return tuple(f"sha256:{tree}" for tree in sorted(trees))


def check_rules(folder: Path) -> RuleSet:
    """Return the rules of a folder; raise DocumentError when this version cannot read them or their trust entries."""
    rules = RuleSet.load(folder)
    for _ in Trust(str(folder / "trust")).files():
        pass
    return rules


def check_paths(paths: Collection[str], where: str) -> None:
    """Raise ManifestInvalid for a path that leaves the folder, or that a bundle has no place for."""
    try:
        admit(paths, where)
    except SourceError as error:
        raise ManifestInvalid(where, f"an unsafe path: {error}") from error
    for path in paths:
        if not _PATH.fullmatch(path):
            raise ManifestInvalid(where, f"a bundle does not carry {printable(path)}")
