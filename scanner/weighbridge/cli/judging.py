"""What the commands that give a verdict share: the policy that judges, and the reports that are written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

import click

from weighbridge.cli.options import F
from weighbridge.cli.output import emit, use_color
from weighbridge.errors import UsageError
from weighbridge.location import printable
from weighbridge.policy import Policy, Verdict
from weighbridge.report import DETAILED, FORMATS
from weighbridge.report.base import Style
from weighbridge.rules import Severity
from weighbridge.settings import Asked, Chosen, choose, current_folder

Reports = list[tuple[str, str | None]]


class Reporting(click.Command):
    """Keeps the order of --format and --output, which click does not: an output belongs to the format before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and keep the reports to write as the parameter `reports`, the time as `began`."""
        order = list(_in_order(args))
        rest = super().parse_args(ctx, args)
        ctx.params["reports"] = _pair(order)
        ctx.params["began"] = clock()
        return rest


def clock() -> datetime:
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
    click.option(
        "--policy",
        metavar="NAME|FILE",
        help="A shipped policy (default, strict, safetensors-only) or a policy file.  [default: WEIGHBRIDGE_POLICY, "
        "the nearest weighbridge.toml or pyproject.toml with [tool.weighbridge], default]",
    ),
    click.option(
        "--fail-at",
        type=click.Choice([severity.value for severity in Severity]),
        help="Fail from this severity on, whatever the policy says.",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change a setting of the policy, as in --set require.pinned=true; repeatable. docs/policy.md lists them.",
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


def policy_from(options: dict[str, Any], scanned: Sequence[str | os.PathLike[str]] = ()) -> Policy:
    """Return the policy that the options, the environment and the files here describe for what is scanned.

    A reference to files on disk counts as them. With --verbose, say on standard error which file it is.
    """
    chosen = choice_from(options, scanned)
    if chosen.path and options.get("verbose"):
        click.echo(f"weighbridge: policy {printable(chosen.path)} ({chosen.why})", err=True)
    if chosen.policy.waivers and options.get("no_digest"):
        raise UsageError("a waiver holds for the digest of a file, so --no-digest leaves nothing for it to hold for")
    return chosen.policy


def choice_from(options: dict[str, Any], scanned: Sequence[str | os.PathLike[str]] = ()) -> Chosen:
    """Return the policy that the options describe, with the layers that it is made of."""
    told = [("fail_at", options["fail_at"], "--fail-at")] if options.get("fail_at") else []
    for text in options.get("settings", ()):
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {printable(text)}: write KEY=VALUE")
        told.append((key.strip(), value.strip(), f"--set {key.strip()}"))
    return choose(
        Asked(policy=options["policy"], waivers=options["waivers"], settings=tuple(told)),
        environ=os.environ,
        folder=current_folder(),
        today=date.today(),
        scanned=[on_disk(one) for one in scanned],
    )


def on_disk(one: str | os.PathLike[str]) -> str:
    """Return the path of what is scanned; a reference to something elsewhere is no path, and that is well."""
    text = os.fspath(one)
    if not text.startswith("file:"):
        return text
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(text).path, errors="surrogateescape")  # names need not be UTF-8


def detailed(options: dict[str, Any]) -> bool:
    """Tell whether a report is asked for that shows more of the files than the verdict rests on."""
    return any(name in DETAILED for name, _ in options.get("reports", ()))


def report(verdict: Verdict, options: dict[str, Any]) -> None:
    """Write every report; files first, so that standard output closing early loses none of them."""
    times = {"began": options["began"], "ended": clock()}
    for name, output in sorted(options.get("reports", ()), key=lambda report: report[1] is None):
        color = output is None and use_color(options["color"], sys.stdout)
        style = Style(color=color, quiet=options["quiet"], verbose=options["verbose"], **times)
        emit(FORMATS[name]()(verdict, style), output)
