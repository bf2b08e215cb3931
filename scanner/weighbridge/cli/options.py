"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Final, TypeVar

import click

from weighbridge.errors import UsageError
from weighbridge.limits import Limits
from weighbridge.location import printable
from weighbridge.records import fields
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


def day_from(given: str, today: date) -> date:
    """Return the day that `--expires` names, as 90d or 2027-01-31; raise UsageError when that is none."""
    try:
        if re.fullmatch(r"\d+d", given, re.ASCII):
            return today + timedelta(days=int(given[:-1]))
        return date.fromisoformat(given)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--expires {printable(given)}: neither days, as 90d, nor a date, as 2027-01-31") from error


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
