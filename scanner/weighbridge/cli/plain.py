"""`weighbridge scan [--no-digest] [--quiet] PATH...`, the command that gates run for file after file.

Importing click takes longer than the scan of a small file, so this one command line does without. A test holds it to
what click makes of the same words.
"""

from __future__ import annotations

import os
import sys

from weighbridge.cli import PLAIN
from weighbridge.cli.output import emit, use_color
from weighbridge.cli.progress import scanned
from weighbridge.pipeline import scan
from weighbridge.report.base import Style, exit_status
from weighbridge.report.text import render
from weighbridge.settings import current_folder, is_silent


def run(arguments: list[str]) -> int:
    """Return the exit status of a plain scan; when settings ask for more, the whole command line takes over."""
    if not is_silent(os.environ, current_folder()):
        from weighbridge.cli.group import run as run_command

        return run_command(arguments)
    paths = [argument for argument in arguments[1:] if argument not in PLAIN]
    quiet = not {"--quiet", "-q"}.isdisjoint(arguments)
    verdict = scan(paths, digest="--no-digest" not in arguments, progress=scanned(quiet=quiet))
    emit(render(verdict, Style(color=use_color("auto", sys.stdout), quiet=quiet)))
    return exit_status(verdict)
