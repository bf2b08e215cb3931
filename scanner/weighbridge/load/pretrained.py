"""What loading with transformers and with diffusers shares: verified documents, weights and small files of a folder."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from weighbridge.approval import Approval
from weighbridge.errors import UsageError
from weighbridge.load.folder import Folder, open_folder
from weighbridge.load.loading import open_approved
from weighbridge.location import printable
from weighbridge.refusals import ApprovalMismatch, UnsupportedFormat

if TYPE_CHECKING:
    from weighbridge.evidence.trust_policy import TrustPolicy

# Weights are never among the small files: tokenizers, schedulers and processors are texts, tables and vocabularies.
_SMALL: Final = frozenset("json yaml jinja text document tokens merges ranks table sentencepiece".split())

Where = str | os.PathLike[str]


class Model:
    """The folder of one model or component, open and approved: `rest` is its path in the approved folder."""

    def __init__(self, folder: Folder, rest: str) -> None:
        self.folder = folder
        self.rest = rest

    @property
    def approval(self) -> Approval:
        """The approval that holds for it."""
        return self.folder.approval

    def path(self, name: str) -> str:
        """Return the path of one of its files in the approved folder."""
        return f"{self.rest}/{name}".strip("/")

    def has(self, name: str) -> bool:
        """Tell whether a file of this name is approved."""
        return self.path(name) in self.folder.files

    def part(self, name: str) -> Model:
        """Return a component, in a folder of its own."""
        return Model(self.folder, self.path(name))

    def document(self, name: str) -> dict[str, Any]:
        """Return the object in a JSON file, verified; raise UnsupportedFormat when it is none."""
        where = self.folder.where(self.path(name))
        try:
            found = json.loads(self.folder.read(self.path(name)).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise UnsupportedFormat(where, f"not JSON: {error}") from error
        if not isinstance(found, dict):
            raise UnsupportedFormat(where, "not an object")
        return found

    def weights(self, where: Where, trust: TrustPolicy | Where | None) -> dict[str, Any]:
        """Return its tensors, verified, as torch's.

        Raises what `weighbridge.load` does, ApprovalMismatch when the folder has become that of another model.
        """
        folder, _ = open_folder(where, trust)
        if folder.approval != self.approval:
            folder.close()
            raise ApprovalMismatch(folder.where(self.rest), "another approval than when its configuration was read")
        with open_approved(folder, self.rest, framework="torch", mode="stream") as handle:
            return handle.get_tensors()

    @contextmanager
    def small_files(self) -> Iterator[Path]:
        """Give a private folder with verified copies of the files that are no weights, for as long as it is needed."""
        with tempfile.TemporaryDirectory(prefix="weighbridge-") as name:
            for path, file in self.folder.files.items():
                parent, _, base = path.rpartition("/")
                if parent == self.rest and file.format in _SMALL:
                    (Path(name) / base).write_bytes(self.folder.read(path))
            yield Path(name)


@contextmanager
def opened(path: Where, trust: TrustPolicy | Where | None) -> Iterator[Model]:
    """Give an approved folder, or a folder in one; raise as `weighbridge.load` does."""
    folder, rest = open_folder(path, trust)
    with folder:
        if rest in folder.files:
            raise UsageError(f"{printable(os.fspath(path))} is a file; name the folder of the model")
        yield Model(folder, rest)


def known(library: Any, name: object, base: type, where: str) -> Any:
    """Return the class that a library has under a name that a file gives; raise UnsupportedFormat for anything else."""
    found = getattr(library, name, None) if isinstance(name, str) else None
    if not isinstance(found, type) or not issubclass(found, base):
        shown = printable(str(name))
        raise UnsupportedFormat(where, f"{library.__name__} has no {shown} that is a {base.__name__}", "name the class")
    return found
