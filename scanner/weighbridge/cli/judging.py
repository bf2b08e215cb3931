"""What the commands that give a verdict share: the policy that judges, and the reports that are written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import click

from weighbridge.cli.options import F
from weighbridge.cli.output import emit, use_color
from weighbridge.errors import UsageError
from weighbridge.pipeline import DEFAULT_POLICY
from weighbridge.policy import Policy, Verdict, amend, load_policy, shipped_policy
from weighbridge.report import DETAILED, FORMATS
from weighbridge.report.base import Style
from weighbridge.rules import Severity

Reports = list[tuple[str, str | None]]


class Reporting(click.Command):
    """Keeps the order of --format and --output, which click does not: an output belongs to the format before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and keep the reports to write as the parameter `reports`, the time as `began`."""
        order = list(_in_order(args))
        rest = super().parse_args(ctx, args)
        ctx.params["reports"] = _pair(order)
        ctx.params["began"] = _now()
        return rest


def _now() -> datetime:
    """Return the time; https://reproducible-builds.org/specs/source-date-epoch/ may say another.

    Raises UsageError when that is no number of seconds.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return datetime.now(UTC)
    try:
        return datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"SOURCE_DATE_EPOCH: {epoch!r} is no number of seconds since 1970") from error


def _in_order(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (option, value) for every --format and --output."""
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if word == "--":
            return
        if option in ("--format", "--output"):
            yield option, value if equals else next(words, "")


def _pair(order: list[tuple[str, str]]) -> Reports:
    """Return the reports to write and where to; None is standard output."""
    reports: Reports = []
    for option, value in order:
        if option == "--format":
            reports.append((value, None))
        elif reports and reports[-1][1] is None:
            reports[-1] = (reports[-1][0], value)
        elif not reports:
            reports.append(("text", value))
        else:
            raise click.UsageError(f"--output {value}: each --output needs a --format of its own before it")
    reports = reports or [("text", None)]
    if sum(output is None for _, output in reports) > 1:
        raise click.UsageError("only one report can go to standard output; give the others an --output each")
    return reports


_POLICY: Final = (
    click.option("--policy", metavar="NAME|FILE", help="A shipped policy (default, strict) or a policy file."),
    click.option(
        "--fail-at",
        type=click.Choice([severity.value for severity in Severity]),
        help="Fail from this severity on, whatever the policy says.",
    ),
    click.option(
        "--waivers",
        type=click.Path(),
        metavar="FILE",
        help="Accept what these waivers name, beside those of the policy.",
    ),
)
_REPORTS: Final = (
    click.option(
        "--format",
        "formats",
        multiple=True,
        type=click.Choice(list(FORMATS)),
        help="Report to write; several are possible.  [default: text]",
    ),
    click.option(
        "--output",
        "outputs",
        multiple=True,
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="File for the report named by the --format before it, instead of standard output.",
    ),
)


def policy_options(command: F) -> F:
    """Add the options that choose the policy; `policy_from` reads them."""
    for option in reversed(_POLICY):
        command = option(command)
    return command


def report_options(command: F) -> F:
    """Add the options that choose the reports; the command's class is `Reporting`, and `report` reads them."""
    for option in reversed(_REPORTS):
        command = option(command)
    return command


def policy_from(options: dict[str, Any]) -> Policy:
    """Return the policy that the options describe."""
    name = options["policy"] or DEFAULT_POLICY
    named_file = any(mark in name for mark in ("/", "\\", "."))
    policy = load_policy(name) if named_file else shipped_policy(name)
    if options["fail_at"] or options["waivers"]:
        severity = Severity(options["fail_at"]) if options["fail_at"] else None
        policy = amend(policy, fail_at=severity, waivers=options["waivers"])
    if policy.waivers and options.get("no_digest"):
        raise UsageError("a waiver holds for the digest of a file, so --no-digest leaves nothing for it to hold for")
    return policy


def detailed(options: dict[str, Any]) -> bool:
    """Tell whether a report is asked for that shows more of the files than the verdict rests on."""
    return any(name in DETAILED for name, _ in options.get("reports", ()))


def report(verdict: Verdict, options: dict[str, Any]) -> None:
    """Write every report; files first, so that standard output closing early loses none of them."""
    times = {"began": options["began"], "ended": _now()}
    for name, output in sorted(options.get("reports", ()), key=lambda report: report[1] is None):
        color = output is None and use_color(options["color"], sys.stdout)
        style = Style(color=color, quiet=options["quiet"], verbose=options["verbose"], **times)
        emit(FORMATS[name]()(verdict, style), output)
