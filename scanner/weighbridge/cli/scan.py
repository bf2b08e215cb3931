"""`weighbridge scan`: the verdict on files and folders."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Final

import click

from weighbridge.cli.judging import Reporting, policy_from, policy_options, report, report_options
from weighbridge.cli.options import color_option, limit_options, limits_from, load_rules, rules_option, verbose_option
from weighbridge.pipeline import scan as scan_paths
from weighbridge.report.base import exit_status

_PROGRESS_EVERY: Final = 0.1  # seconds


@click.command(cls=Reporting)
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PATH...")
@policy_options
@report_options
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
        policy=policy_from(options),
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
    report(verdict, options)
    return 0 if options["exit_zero"] else exit_status(verdict)


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
