"""`weighbridge doctor`: what this installation has and lacks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from weighbridge.cli.output import emit
from weighbridge.report.base import counted
from weighbridge.version import __version__

if TYPE_CHECKING:
    from weighbridge.doctor import Check

VERSION: Final = 1  # of the JSON document


@click.command()
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="Text, or one JSON document."
)
def doctor(form: str) -> int:
    """Say what is installed, what is missing and what that means, and what is wrong: nothing is changed or fetched.

    It looks at the package and its extras, the rules, the trust policy with the age of its roots, your own key, the
    store, the environment (no secret is shown) and the layers of the sandbox. What is missing may not be needed.

    Exit status: 0 when there are no errors, 1 otherwise.

    \b
    Examples:
      weighbridge doctor
      weighbridge doctor --format json
    """
    from datetime import UTC, datetime

    from weighbridge.doctor import Status, examine

    checks = list(examine(now=datetime.now(UTC)))
    errors = sum(one.status is Status.ERROR for one in checks)
    emit(_document(checks, errors) if form == "json" else _text(checks, errors))
    return 1 if errors else 0


def _text(checks: Sequence[Check], errors: int) -> Iterator[str]:
    area = ""
    for one in checks:
        if one.area != area:
            yield from ([""] if area else [])
            yield one.area
            area = one.area
        yield f"  {one.status.value:8} {one.name}: {one.text}{f'; {one.fix}' if one.fix else ''}"
    yield ""
    warnings = sum(one.status.value == "warning" for one in checks)
    yield f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"


def _document(checks: Sequence[Check], errors: int) -> Iterator[str]:
    listed = [
        {"area": one.area, "name": one.name, "status": one.status.value, "text": one.text, "fix": one.fix}
        for one in checks
    ]
    document = {"version": VERSION, "weighbridge": __version__, "errors": errors, "checks": listed}
    yield from json.dumps(document, indent=2, sort_keys=True).splitlines()
