"""What the commands that talk to registries share: the options that say how to talk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from weighbridge.cli import say

if TYPE_CHECKING:
    from weighbridge.cli.options import F
    from weighbridge.registries.base import Settings

_OPTIONS: Final = (
    click.option("--offline", is_flag=True, help="Connect to nothing; use what the store has."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for a registry to connect, and between two pieces of an answer.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(min=0),
        default=4,
        show_default=True,
        metavar="N",
        help="How often a request to a registry is repeated.",
    ),
)


def registry_options(command: F) -> F:
    """Add the options that say how to talk to registries; `settings_from` reads them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def settings_from(options: dict[str, Any]) -> Settings:
    """Return how to talk to registries; what a person should know goes to standard error."""
    from weighbridge.registries.base import Settings

    quiet = options.get("quiet", False)
    return Settings(
        offline=options["offline"],
        timeout=options["timeout"],
        retries=options["retries"],
        notice=lambda text: None if quiet else say(text),
    )
