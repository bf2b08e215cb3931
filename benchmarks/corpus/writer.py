"""Where a corpus is written to: one folder per library, one file per value and way of saving it."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
# What libraries raise for a value they cannot make or save in this version or protocol.
UNSAVED = (ImportError, AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError, pickle.PicklingError)


class Corpus:
    """A folder of files being written; a value that a library cannot save leaves a note, not a hole."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.written: list[Path] = []
        self.notes: list[str] = []

    def path(self, name: str) -> Path:
        """Return the path of the file `name` (with `/`) and count it; its folder exists afterwards."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.written.append(path)
        return path

    def pickle(self, name: str, value: object, protocols: Iterable[int] = (pickle.DEFAULT_PROTOCOL,)) -> None:
        """Write `value` once for each protocol as `name-p<protocol>.pkl`."""
        for protocol in protocols:
            try:
                data = pickle.dumps(value, protocol)
            except UNSAVED as error:
                self.note(f"{name} in protocol {protocol}", error)
            else:
                self.path(f"{name}-p{protocol}.pkl").write_bytes(data)

    def note(self, name: str, error: Exception) -> None:
        """Remember why a file is not there."""
        self.notes.append(f"{name}: {type(error).__name__}: {str(error)[:120]}")

    @contextmanager
    def optional(self, name: str) -> Iterator[None]:
        """Run a block that some version of the library cannot do; note why and go on."""
        count = len(self.written)
        try:
            yield
        except UNSAVED as error:
            for path in self.written[count:]:
                path.unlink(missing_ok=True)
            del self.written[count:]
            self.note(name, error)
