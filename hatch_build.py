"""A step of the build: compose the shipped YAML documents, so that no scan has to read YAML."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent


class ComposeDocuments(BuildHookInterface[Any]):
    """Writes `weighbridge/_composed.txt`, for wheels and for editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compose the documents before the files of the wheel are collected."""
        del version
        build_data["artifacts"].append(compose().relative_to(ROOT).as_posix())


def compose() -> Path:
    """Write the documents of `rules/` where `weighbridge.nodes` looks for them, and return the path.

    Under the digest of all rules stands what `RuleSet.shipped` has to know of them before any is decoded.
    """
    sys.path.insert(0, str(ROOT / "scanner"))
    from weighbridge import nodes
    from weighbridge.rules import RuleSet

    rules = RuleSet.load(ROOT / "rules")
    paths = sorted((ROOT / "rules").rglob("*.yaml"))
    texts = ((path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths)
    composed = Path(nodes.COMPOSED)
    written = composed.with_suffix(".new")
    subjects = f"{rules.digest.value} {json.dumps(rules.subjects)}\n"
    written.write_text(nodes.precompose(texts) + subjects, encoding="utf-8")
    return written.replace(composed)


if __name__ == "__main__":
    compose()
