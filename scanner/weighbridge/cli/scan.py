"""`weighbridge scan`: the verdict on files and folders, and on models in registries."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from weighbridge.cli.fetching import cache_for, canonical, locked_options, tell_kept
from weighbridge.cli.judging import Reporting, detailed, policy_from, policy_options, report, report_options
from weighbridge.cli.options import color_option, limit_options, limits_from, load_rules, rules_option, verbose_option
from weighbridge.cli.progress import received, scanned
from weighbridge.cli.remote import registry_options, settings_from
from weighbridge.errors import UsageError
from weighbridge.pipeline import scan as scan_paths
from weighbridge.registries import is_reference
from weighbridge.report.base import exit_status

if TYPE_CHECKING:
    from weighbridge.desk import Desk
    from weighbridge.limits import Limits
    from weighbridge.policy import Policy, Verdict
    from weighbridge.pull import Order
    from weighbridge.registries.base import Settings


@click.command(cls=Reporting)
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PATH...|REFERENCE")
@click.option(
    "--triage",
    is_flag=True,
    help="Of a reference, read only what shows code: it can fail or find nothing, and approves nothing.",
)
@policy_options
@report_options
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), default=1, metavar="N", help="Processes that share the files."
)
@click.option("--include", multiple=True, metavar="GLOB", help="In folders, scan only files that match; repeatable.")
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="In folders, leave out files that match, and say so; repeatable."
)
@click.option(
    "--cache/--no-cache",
    default=None,
    help="Keep the facts of files and take those that are kept.  [default: for references, whose digests are known]",
)
@click.option("--no-digest", is_flag=True, help="Compute no digests; waivers need them.")
@click.option("--second-opinion", is_flag=True, help="Add what fickling says; it does not change the verdict.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever the verdict; errors keep their status.")
@click.option("--quiet", "-q", is_flag=True, help="The verdict only, in one line, and no progress.")
@registry_options
@locked_options
@rules_option
@verbose_option
@color_option
@limit_options
def scan(**options: Any) -> int:
    """Say whether the files at PATH..., or the model that REFERENCE names, may be loaded: pass, fail or inconclusive.

    Folders are searched for files; a link out of a folder is reported and not followed. A model in a registry is
    pinned to a revision and fetched into the store's quarantine, where it stays; --triage fetches a few blocks only.
    The report goes to standard output, progress and warnings to standard error.

    \b
    Examples:
      weighbridge scan model.pt
      weighbridge scan models/ --jobs 4 --exclude '*.md'
      weighbridge scan hf://org/name@main --triage
      weighbridge scan oci://registry.example/models/name:1.0
      weighbridge scan model.pt --policy strict --waivers waivers.yaml
      weighbridge scan models/ --format text --format sarif --output weighbridge.sarif

    Exit status: 0 pass, or a triage that found nothing; 1 fail, 2 wrong usage, 3 inconclusive, 4 a file cannot be read
    or the model not be had, 70 internal error.
    """
    limits = limits_from(options)
    remote = [canonical(path) for path in options["paths"] if is_reference(path) or _is_foreign(path)]
    if remote and len(options["paths"]) > 1:
        raise UsageError(f"{remote[0]} is a reference, which is scanned alone; name one at a time")
    if options["triage"] and not remote:
        raise UsageError("--triage is for references: files that are here are read whole")
    if (options["locked"] or options["lock_file"]) and not remote:
        raise UsageError("a lock is for references; `weighbridge lock check` compares a folder with its lock")
    verdict = _scan_reference(remote[0], options, limits) if remote else _scan_paths(options, limits)
    report(verdict, options)
    tell_kept(verdict, options)
    return 0 if options["exit_zero"] else exit_status(verdict)


def _is_foreign(path: str) -> bool:
    """Tell whether a path that is not there looks like a reference to a registry that nobody knows."""
    return "://" in path and not os.path.lexists(path)


def _scan_paths(options: dict[str, Any], limits: Limits) -> Verdict:
    rules, trust = load_rules(options["rules_folder"])
    return scan_paths(
        options["paths"],
        policy=policy_from(options, options["paths"]),
        rules=rules,
        trust=trust,
        limits=limits,
        jobs=options["jobs"],
        digest=not options["no_digest"],
        include=options["include"],
        exclude=options["exclude"],
        progress=scanned(quiet=options["quiet"]),
        second_opinion=options["second_opinion"],
        detail=detailed(options),
        cache=cache_for(limits) if options["cache"] else None,
    )


def _scan_reference(reference: str, options: dict[str, Any], limits: Limits) -> Verdict:
    from weighbridge.cli.fetching import order_from
    from weighbridge.desk import Desk
    from weighbridge.policy import refuse
    from weighbridge.pull import obtain
    from weighbridge.sources import scan_fetched, unmet
    from weighbridge.store import Store
    from weighbridge.store.layout import default_home

    if options["second_opinion"]:
        raise UsageError("--second-opinion reads files on disk; pull the model first")
    rules, trust = load_rules(options["rules_folder"])
    policy = policy_from(options, [reference])
    desk = Desk(
        rules=rules,
        trust=trust,
        limits=limits,
        digest=not options["no_digest"] and not options["triage"],
        detail=detailed(options),
        cache=None if options["cache"] is False or options["triage"] else cache_for(limits),
    )
    settings, order = settings_from(options), order_from(reference, options)
    if options["triage"]:
        return _triage(order, settings, desk, policy)
    quiet = options["quiet"]
    with Store(default_home()) as store:
        fetched = obtain(order, settings, store, desk, received=received(quiet=quiet))
        verdict = scan_fetched(fetched, desk, store, policy=policy, jobs=options["jobs"], progress=scanned(quiet=quiet))
    return refuse(verdict, unmet(fetched, verdict, policy.require))


def _triage(order: Order, settings: Settings, desk: Desk, policy: Policy) -> Verdict:
    from weighbridge.remote import Allowance
    from weighbridge.sources import resolve, triage_reference

    if order.lock is not None:
        raise UsageError("--triage reads parts of files, which no lock can be compared with")
    resolved = resolve(order.reference, settings)
    return triage_reference(resolved, desk, patterns=order.patterns, allowance=Allowance(), policy=policy)
