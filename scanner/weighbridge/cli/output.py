"""Where the output of commands goes, and whether it has colors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import IO

from weighbridge.cli import silence
from weighbridge.errors import UsageError


def use_color(choice: str, stream: IO[str] | None) -> bool:
    """Tell whether to color; https://no-color.org: any value of NO_COLOR but the empty one says no."""
    if choice == "auto":
        return stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")
    return choice == "always"


def emit(lines: Iterable[str], output: str | None = None) -> None:
    """Write lines to a file, or to standard output as UTF-8 whatever the locale says.

    Raises UsageError when the lines cannot be written. A reader of standard output that goes away early is no error.
    """
    if output is not None:
        from pathlib import Path

        try:
            with Path(output).open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in lines)
        except OSError as error:
            raise UsageError(f"{output}: {error.strerror}") from error
        return
    if sys.stdout is None:
        raise UsageError("standard output is closed")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.writelines(f"{line}\n".encode() for line in lines)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError as error:
        silence(sys.stdout)
        raise UsageError(f"standard output: {error.strerror}") from error
