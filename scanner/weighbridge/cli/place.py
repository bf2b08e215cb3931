"""The paths of what commands are about: nothing there is status 4, wherever it is named."""

from __future__ import annotations

import os

import click

from weighbridge.errors import SourceError
from weighbridge.location import printable


class Place(click.Path):
    """A path to a model, or to what was said of one: where nothing is, it cannot be had, and the usage is not wrong."""

    def __init__(self, *, kind: str = "", path_type: type | None = None) -> None:
        """Take paths to files alone, to folders alone (`kind`), or to both."""
        super().__init__(exists=True, file_okay=kind != "folder", dir_okay=kind != "file", path_type=path_type)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the path; raise SourceError when nothing is there, click's own error when it is of the wrong kind."""
        try:
            os.stat(value)  # noqa: PTH116 - no other command has to import pathlib for this
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no path"
            raise SourceError(f"{printable(os.fspath(value))}: {reason}") from error
        return super().convert(value, param, ctx)
