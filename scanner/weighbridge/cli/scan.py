"""`weighbridge scan`: the verdict on files and folders."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import click

from weighbridge.cli.options import (
    color_option,
    emit,
    limit_options,
    limits_from,
    load_rules,
    rules_option,
    use_color,
    verbose_option,
)
from weighbridge.errors import UsageError
from weighbridge.pipeline import DEFAULT_POLICY
from weighbridge.pipeline import scan as scan_paths
from weighbridge.policy import Policy, Verdict, amend, load_policy, shipped_policy
from weighbridge.report import FORMATS
from weighbridge.report.base import EXIT_STATUS, Style
from weighbridge.rules import Severity

Reports = list[tuple[str, str | None]]

_PROGRESS_EVERY: Final = 0.1  # seconds


class _Scan(click.Command):
    """Keeps the order of --format and --output, which click does not: an output belongs to the format before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        order = list(_in_order(args))
        rest = super().parse_args(ctx, args)
        ctx.params["reports"] = _pair(order)
        return rest


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


@click.command(cls=_Scan)
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PATH...")
@click.option("--policy", metavar="NAME|FILE", help="A shipped policy (default, strict) or a policy file.")
@click.option(
    "--fail-at",
    type=click.Choice([severity.value for severity in Severity]),
    help="Fail from this severity on, whatever the policy says.",
)
@click.option(
    "--waivers",
    type=click.Path(),
    metavar="FILE",
    help="Accept what these waivers name, beside those of the policy.",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(list(FORMATS)),
    help="Report to write; several are possible.  [default: text]",
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="File for the report named by the --format before it, instead of standard output.",
)
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), default=1, metavar="N", help="Processes that share the files."
)
@click.option("--include", multiple=True, metavar="GLOB", help="In folders, scan only files that match; repeatable.")
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="In folders, leave out files that match, and say so; repeatable."
)
@click.option("--no-digest", is_flag=True, help="Compute no digests; waivers need them.")
@click.option("--second-opinion", is_flag=True, help="Add what fickling says; it does not change the verdict.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever the verdict; errors keep their status.")
@click.option("--quiet", "-q", is_flag=True, help="The verdict only, in one line, and no progress.")
@rules_option
@verbose_option
@color_option
@limit_options
def scan(**options: Any) -> int:
    """Say whether the files at PATH... may be loaded: pass, fail or inconclusive.

    Folders are searched for files; a link out of a folder is reported and not followed. The report goes to standard
    output, progress and warnings to standard error.

    \b
    Examples:
      weighbridge scan model.pt
      weighbridge scan models/ --jobs 4 --exclude '*.md'
      weighbridge scan model.pt --policy strict --waivers waivers.yaml
      weighbridge scan models/ --format text --format sarif --output weighbridge.sarif
    """
    limits = limits_from(options)
    rules, trust = load_rules(options["rules_folder"])
    verdict = scan_paths(
        options["paths"],
        policy=_policy(options),
        rules=rules,
        trust=trust,
        limits=limits,
        jobs=options["jobs"],
        digest=not options["no_digest"],
        include=options["include"],
        exclude=options["exclude"],
        progress=_progress(quiet=options["quiet"]),
        second_opinion=options["second_opinion"],
    )
    _report(verdict, options)
    return 0 if options["exit_zero"] else EXIT_STATUS[verdict.outcome]


def _policy(options: dict[str, Any]) -> Policy:
    """Return the policy that the options describe."""
    name = options["policy"] or DEFAULT_POLICY
    named_file = any(mark in name for mark in ("/", "\\", "."))
    policy = load_policy(name) if named_file else shipped_policy(name)
    if options["fail_at"] or options["waivers"]:
        severity = Severity(options["fail_at"]) if options["fail_at"] else None
        policy = amend(policy, fail_at=severity, waivers=options["waivers"])
    if policy.waivers and options["no_digest"]:
        raise UsageError("a waiver holds for the digest of a file, so --no-digest leaves nothing for it to hold for")
    return policy


def _report(verdict: Verdict, options: dict[str, Any]) -> None:
    """Write every report; files first, so that standard output closing early loses none of them."""
    for name, output in sorted(options["reports"], key=lambda report: report[1] is None):
        color = output is None and use_color(options["color"], sys.stdout)
        style = Style(color=color, quiet=options["quiet"], verbose=options["verbose"])
        emit(FORMATS[name]()(verdict, style), output)


def _progress(*, quiet: bool) -> Callable[[int, int], None] | None:
    """Return what shows progress on a terminal, or nothing when there is none to show it on."""
    if quiet or not sys.stderr.isatty():
        return None
    last = 0.0

    def show(done: int, of: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == of:
            sys.stderr.write("\r\x1b[K")
        elif now - last > _PROGRESS_EVERY:
            sys.stderr.write(f"\r\x1b[K{done} of {of} files")
            last = now
        sys.stderr.flush()

    return show
