"""What the configuration of a model says of files of weights that are called otherwise now.

Any text in a document of JSON that is the path of a renamed file is replaced: `transformers_weights` of transformers,
`weights_path` and the like. The rest of the document stays as it was read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from weighbridge.convert.shards import strict_json
from weighbridge.errors import ArtifactError
from weighbridge.location import Location
from weighbridge.records import dataclass

REWRITE_LIMIT: Final = 4 << 20  # bytes; configurations have kilobytes, vocabularies more and no paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """A text that was replaced: the file, the path of the key in it, what it said and what it says."""

    path: str
    key: str
    old: str
    new: str


def rewrite(path: str, data: bytes, renamed: Mapping[str, str]) -> tuple[bytes, list[Rewritten]]:
    """Return the document at `path` with the new paths of files, and what was replaced; as it is when nothing was.

    `renamed` has old and new paths from the folder of the artifact on. What is not JSON stays as it is.
    """
    names = {name.rpartition("/")[2] for name in renamed}
    if len(data) > REWRITE_LIMIT or not any(json.dumps(name)[1:-1].encode("ascii") in data for name in names):
        return data, []
    try:
        document = strict_json(data, Location((path,)))
    except ArtifactError:
        return data, []
    replacer = _Replacer(path, renamed)
    changed = replacer.value(document, "")
    if not replacer.done:
        return data, []
    return (json.dumps(changed, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass"), replacer.done


class _Replacer:
    """Walks one document; Python's own reader of JSON has bounded its depth."""

    def __init__(self, path: str, renamed: Mapping[str, str]) -> None:
        self.done: list[Rewritten] = []
        self._path = path
        self._folder = PurePosixPath(path).parent
        self._renamed = renamed

    def value(self, value: Any, key: str) -> Any:
        """Return a value with its texts replaced."""
        if isinstance(value, dict):
            return {name: self.value(one, f"{key}.{name}".strip(".")) for name, one in value.items()}
        if isinstance(value, list):
            return [self.value(one, f"{key}[{index}]") for index, one in enumerate(value)]
        return self._text(value, key) if isinstance(value, str) else value

    def _text(self, text: str, key: str) -> str:
        new = self._renamed.get((self._folder / text).as_posix()) if text else None
        if new is None:
            return text
        parts = text.split("/")
        told = "/".join([*parts[:-1], new.rpartition("/")[2]])
        self.done.append(Rewritten(path=self._path, key=key, old=text, new=told))
        return told
