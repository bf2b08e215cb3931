"""Trust entries: which callables a file may use, in which form and with which arguments.

Everything is denied that no entry covers. Entries are data, one file per framework under `rules/trust/`; a file is read
only when a stream names one of its packages. Nothing here depends on what is installed.

A name has roles: it may be called (`call`), made by `__new__` (`new`, `classes`), given a state (`state`, `classes`),
given items (`items`), or passed along as data (`references`, and classes of the modules in `stored`). To be imported it
needs any one of them. What a call returns may be a key, hashed and compared, only if its framework says so (`keys`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Final

from weighbridge import rule_files
from weighbridge.errors import DocumentError
from weighbridge.facts import Program
from weighbridge.location import printable
from weighbridge.session import NO_ENTRY as NO_ENTRY
from weighbridge.session import DoubtError, ProgramSession
from weighbridge.symbols import Event
from weighbridge.trust_files import Entry, TrustFile, open_file
from weighbridge.trust_files import read as read

if TYPE_CHECKING:
    from pathlib import Path

STANDARD: Final = "python"  # the file of the standard library, for every package that no other file claims
_PACKAGES: Final = rb"^packages:\s*\[([^\]]*)\]"
_NOTHING: Final = TrustFile("", {})
_HEAD: Final = 2048  # bytes of a trust file in which `packages` stands
REMEMBERED: Final = 10_000  # imports; a hostile stream may name a million


class Trust:
    """The trust entries of a directory, read file by file as streams ask for them."""

    def __init__(self, directory: Path | str, own: Iterable[tuple[str, str]] = ()) -> None:
        self._folder = str(directory)
        self._own = dict(own)
        self._files: dict[str, TrustFile] = {}
        self._entries: dict[tuple[str, str], Entry | None] = {}

    def extended(self, own: Iterable[tuple[str, str]]) -> Trust:
        """Return these entries with those of further files (name, text), for packages that no file here speaks for.

        Raises DocumentError when one of them is wrong or speaks for a package of another.
        """
        texts = dict(own)
        claimed = dict(self._names)
        if STANDARD in claimed:
            claimed |= dict.fromkeys((name.partition(".")[0] for name in self._load(STANDARD).entries), STANDARD)
        for name, text in texts.items():
            for package in read(text, name).packages:
                if package in claimed:
                    reason = f"{printable(claimed[package])} speaks for {package!r} already"
                    raise DocumentError(name, f"{reason}; --rules names a folder in which both can be one file")
                claimed[package] = name
        return Trust(self._folder, (self._own | texts).items())

    @cached_property
    def _names(self) -> dict[str, str]:
        """The name of the file that speaks for each package; a stream that imports nothing needs none."""
        names: dict[str, str] = {}
        for name in rule_files.names(self._folder):
            found = re.search(_PACKAGES, self._read(name)[:_HEAD], re.MULTILINE)
            for package in found[1].decode().split(",") if found else ():
                names.setdefault(package.strip(), name)
            names.setdefault(name, name)
        for name in self._own:
            names |= dict.fromkeys(self._load(name).packages, name)
        return names

    def _read(self, name: str) -> bytes:
        return rule_files.read(f"{self._folder}/{name}.yaml")

    def files(self) -> Iterator[TrustFile]:
        """Yield every file, for listings and tests."""
        for name in dict.fromkeys(self._names.values()):
            file = self._load(name)
            file.check()
            yield file

    def file_of(self, package: str) -> TrustFile:
        """Return the file that speaks for a top-level package."""
        name = self._names.get(package) or self._names.get(STANDARD)
        return _NOTHING if name is None else self._load(name)

    def entry(self, module: str, name: str) -> Entry | None:
        """Return the entry of an import, None when there is none; kept, for the files of a folder name the same."""
        try:
            return self._entries[module, name]
        except KeyError:
            package = module.partition(".")[0]
            file = self.file_of(package)
            entry = file.entry(f"{module}.{name}") or file.entry(f"{package}.*")
            if len(self._entries) < REMEMBERED:
                self._entries[module, name] = entry
            return entry

    def is_ordinary(self, text: str) -> bool:
        """Tell whether a text of an ordinary pickle may be imported as a module without doing what a file chose.

        That is no name of a module at all, a class's, an attribute's of an estimator, or a module of a known package.
        """
        if text.partition(".")[0] in self._names:
            return "__" not in text
        if "." in text:
            return False
        return not text.isidentifier() or text[0].isupper() or text in self.file_of("joblib").words

    def _load(self, name: str) -> TrustFile:
        file = self._files.get(name)
        if file is None:
            if name in self._own:
                file = open_file(self._own[name], name)
            else:
                file = open_file(self._read(name).decode(), f"trust/{name}.yaml")
            self._files[name] = file
        return file

    def untrusted(self, program: Program) -> Iterator[tuple[Event, str]]:
        """Yield every event of a program that no entry covers, with the reason, in the program's order.

        A `Run` stands for as many as it counts. Where an elided value may be what an entry does not cover, the program
        is judged value by value.
        """
        if program.exactly is None:
            return ProgramSession(self, program).judge()
        try:
            return iter(list(ProgramSession(self, program, careful=True).judge()))
        except DoubtError:
            return ProgramSession(self, program.exactly() or program).judge()
