"""Vocabulary: what configurations and templates ordinarily name, as data: `rules/config/vocabulary.json`.

A word of it says that a loader finds what is named in its own library, whatever else the files hold. Whatever is not
in it has to be spoken for by a rule or a waiver, like a callable that nobody has reviewed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final

from weighbridge.errors import DocumentError
from weighbridge.nameindex import is_glob

TABLE: Final = "config/vocabulary.json"  # below the folder of rules
SEPARATORS: Final = {"pointer": "=", "step": ":"}  # between type and name in the subject of each kind of fact


class Vocabulary:
    """The table: kind of fact, type, names and globs of names."""

    def __init__(self, words: Mapping[str, Mapping[str, Iterable[str]]]) -> None:
        self._plain: dict[str, set[str]] = {}
        self._globs: dict[str, list[str]] = {}
        for kind, types in words.items():
            subjects = {f"{type_}{SEPARATORS[kind]}{name}" for type_, names in types.items() for name in names}
            self._globs[kind] = sorted(filter(is_glob, subjects))
            self._plain[kind] = subjects.difference(self._globs[kind])

    def knows(self, kind: str, subject: str) -> bool:
        """Tell whether the subject of a fact is in the table."""
        if subject in self._plain.get(kind, ()):
            return True
        return any(fnmatchcase(subject, glob) for glob in self._globs.get(kind, ()))


def read(data: bytes, name: str) -> Vocabulary:
    """Return the table in a file; raise DocumentError when it is none."""
    try:
        document = json.loads(data)
    except ValueError as error:
        raise DocumentError(name, f"not JSON: {error}") from error
    if not isinstance(document, dict) or not document.keys() <= SEPARATORS.keys():
        raise DocumentError(name, f"not a vocabulary: an object with {' and '.join(SEPARATORS)}")
    for kind, types in document.items():
        if not isinstance(types, dict) or not all(isinstance(words, str) for words in types.values()):
            raise DocumentError(name, f"{kind}: not types with words, separated by spaces")
    return Vocabulary({kind: {key: words.split() for key, words in types.items()} for kind, types in document.items()})
