"""Which of many lists of names speaks for a name: one dictionary lookup for a name as it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Final, Generic, TypeVar

from weighbridge.names import reachable

Owner = TypeVar("Owner")

# Names that are remembered with their owner; a hostile stream must not grow the table for ever.
REMEMBERED: Final = 65536

# How close a match is; the closest wins.
_EXACT, _STEP, _PATTERN, _COPY, _MODULE = range(5)


def is_glob(pattern: str) -> bool:
    """Tell whether `pattern` means more than itself."""
    return "*" in pattern or "?" in pattern or "[" in pattern


class NameIndex(Generic[Owner]):
    """Names of modules, each with its owner.

    When several owners list a name, the closest wins: the name as written, then an attribute that it passes
    through (module `*`), then a glob, then the same name in a module of another path (a vendored copy), then
    a whole module; among equals the owner that came first.
    """

    def __init__(self, lists: Iterable[tuple[Owner, Mapping[str, tuple[str, ...]]]]) -> None:
        self._owners: list[Owner] = []
        self._exact: dict[str, int] = {}
        self._steps: dict[str, int] = {}
        self._globs: dict[str, list[tuple[str, int]]] = {}
        self._modules: dict[str, int] = {}
        self._found: dict[tuple[str, str], Owner | None] = {}
        for owner, modules in lists:
            self._owners.append(owner)
            for module, names in modules.items():
                self._add(module, names, len(self._owners) - 1)

    def _add(self, module: str, names: tuple[str, ...], place: int) -> None:
        for name in names:
            if module == "*":
                self._steps.setdefault(name, place)
            elif name == "*":
                self._modules.setdefault(module, place)
            elif is_glob(name):
                self._globs.setdefault(module, []).append((name, place))
            else:
                self._exact.setdefault(f"{module}.{name}", place)

    def find(self, module: str, name: str) -> Owner | None:
        """Return the owner of a normalised name, or of a step on the way to it."""
        key = (module, name)
        if key not in self._found:
            if len(self._found) >= REMEMBERED:
                self._found.clear()
            closest = min(self._candidates(module, name), default=None)
            self._found[key] = None if closest is None else self._owners[closest[1]]
        return self._found[key]

    def _candidates(self, module: str, name: str) -> Iterator[tuple[int, int]]:
        """Yield (how close, whose) for every list that has the name."""
        spellings = reachable(module, name)
        # Spellings that begin inside the module's own path are other copies of a module, or mere
        # coincidence (`lab.code.Layer` is not in `code`): for them a list must have the very name.
        walked = {s for s in spellings if s.startswith(f"{module}.")}
        walked.update(reachable("", name))
        for spelling in spellings:
            if spelling in self._exact:
                yield (_EXACT if spelling in walked else _COPY), self._exact[spelling]
        for step in name.split("."):
            if step in self._steps:
                yield _STEP, self._steps[step]
        for spelling in walked:
            yield from self._in_modules(spelling)

    def _in_modules(self, spelling: str) -> Iterator[tuple[int, int]]:
        end = spelling.find(".")
        while end > 0:
            module, rest = spelling[:end], spelling[end + 1 :]
            for pattern, place in self._globs.get(module, ()):
                if fnmatchcase(rest, pattern):
                    yield _PATTERN, place
            if module in self._modules:
                yield _MODULE, self._modules[module]
            end = spelling.find(".", end + 1)
