"""Where the output of commands goes, and whether it has colors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import IO

from weighbridge.errors import UsageError


def use_color(choice: str, stream: IO[str]) -> bool:
    """Tell whether to color; https://no-color.org: any value of NO_COLOR but the empty one says no."""
    if choice == "auto":
        return stream.isatty() and not os.environ.get("NO_COLOR")
    return choice == "always"


def emit(lines: Iterable[str], output: str | None = None) -> None:
    """Write lines to a file, or to standard output as UTF-8 whatever the locale says.

    Raises UsageError when the file cannot be written. A reader of standard output that goes away early is no error.
    """
    if output is not None:
        from pathlib import Path

        try:
            with Path(output).open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in lines)
        except OSError as error:
            raise UsageError(f"{output}: {error.strerror}") from error
        return
    try:
        sys.stdout.flush()
        sys.stdout.buffer.writelines(f"{line}\n".encode() for line in lines)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Python flushes standard output once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
