"""The operators of a model: which ones, how often, and where first."""

from __future__ import annotations

from collections.abc import Iterator

from weighbridge.facts import Fact, Operator
from weighbridge.formats.onnx.scene import Scene

STANDARD: str = "ai.onnx"


def domain_of(name: str) -> str:
    """Return a domain as most models write it: the one of the standard has no name."""
    return "" if name == STANDARD else name


class Operators:
    """The operators seen so far."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}
        self._count: dict[tuple[str, str], int] = {}

    def add(self, domain: str, name: str, count: int) -> bool:
        """Count nodes of an operator; return whether its first place is still to be told."""
        key = domain, name
        self._count[key] = self._count.get(key, 0) + count
        return key not in self._seen

    def place(self, domain: str, name: str, offset: int, version: int) -> None:
        """Take down where an operator was seen first, and the version of its domain there."""
        self._seen[domain, name] = (offset, version)

    def facts(self, scene: Scene, defined: set[tuple[str, str]]) -> Iterator[Fact]:
        """Yield every operator once; `defined` are those that functions of the model define."""
        for (domain, name), (offset, version) in self._seen.items():
            yield Operator(
                location=scene.at(offset),
                domain=domain,
                name=name,
                version=version,
                count=self._count[domain, name],
                defined=(domain, name) in defined,
            )
