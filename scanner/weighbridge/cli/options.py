"""Options that several commands share, and where their output goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import IO, Any, Final, TypeVar

import click

from weighbridge.errors import UsageError
from weighbridge.limits import Limits
from weighbridge.rule_files import shipped_folder
from weighbridge.rules import RuleSet
from weighbridge.trust import Trust

F = TypeVar("F", bound=Callable[..., Any])

FOLDER: Final = click.Path(exists=True, file_okay=False)
_UNITS: Final = {"max_seconds": "SECONDS", "max_unpacked": "BYTES"}

color_option = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="Color the text report; auto: on a terminal, unless NO_COLOR is set.",
)
verbose_option = click.option(
    "--verbose", "-v", is_flag=True, help="Show every place and every file, and tracebacks of internal errors."
)
rules_option = click.option(
    "--rules",
    "rules_folder",
    type=FOLDER,
    metavar="FOLDER",
    help="Use the rules and trust entries of this folder instead of those that ship.",
)


def limit_options(command: F) -> F:
    """Add an option for every limit."""
    for limit in reversed(fields(Limits)):
        number = click.FloatRange(min=0) if isinstance(limit.default, float) else click.IntRange(min=0)
        command = click.option(
            f"--{limit.name.replace('_', '-')}",
            type=number,
            default=limit.default,
            show_default=True,
            metavar=_UNITS.get(limit.name, "N"),
            help=f"Limit: {limit.metadata['help']}.",
        )(command)
    return command


def limits_from(options: dict[str, Any]) -> Limits:
    """Take the limits out of a command's options."""
    return Limits(**{limit.name: options.pop(limit.name) for limit in fields(Limits)})


def load_rules(folder: str | None) -> tuple[RuleSet, Trust]:
    """Return the rules and trust entries of a folder, of the package by default.

    Raises UsageError when there is no rule in it: the folder is then not what the user meant.
    """
    if folder is None:
        return RuleSet.shipped(), Trust(f"{shipped_folder()}/trust")
    from pathlib import Path

    rules = RuleSet.load(Path(folder))
    if not rules.rules:
        raise UsageError(f"{folder}: no rules in this folder")
    return rules, Trust(f"{folder}/trust")


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
