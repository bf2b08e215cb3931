"""What the commands that fetch models share: what is fetched and how, and what is said beside the report."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import click

from weighbridge.cli import say
from weighbridge.cli.judging import clock, detailed, on_disk, policy_from, report
from weighbridge.cli.options import F, limits_from, load_rules
from weighbridge.cli.remote import settings_from
from weighbridge.errors import UsageError
from weighbridge.location import printable
from weighbridge.registries import is_reference
from weighbridge.report.base import counted

if TYPE_CHECKING:
    from weighbridge.cache import Cache
    from weighbridge.desk import Desk
    from weighbridge.evidence.trust_policy import TrustPolicy
    from weighbridge.limits import Limits
    from weighbridge.policy import Verdict
    from weighbridge.pull import Judged, Order
    from weighbridge.store import Store

_FETCHING: Final = (
    click.option("--include", multiple=True, metavar="GLOB", help="Fetch only files that match; repeatable."),
    click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out files that match; repeatable."),
    click.option(
        "--connections",
        type=click.IntRange(min=1, max=64),
        default=4,
        show_default=True,
        metavar="N",
        help="Connections that share the download.",
    ),
    click.option(
        "--jobs", "-j", type=click.IntRange(min=1), default=1, metavar="N", help="Processes that share the scan."
    ),
    click.option("--no-cache", is_flag=True, help="Parse every file, even if the facts of its bytes are kept."),
)
_LOCKING: Final = (
    click.option("--locked", is_flag=True, help="Take the revision of the lock, and refuse any byte that differs."),
    click.option(
        "--lock",
        "lock_file",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="The lock for --locked.  [default: weighbridge.lock]",
    ),
)
trust_option = click.option(
    "--trust",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="The trust policy: who has to have signed.  [default: the user's own]",
)


def fetch_options(command: F) -> F:
    """Add the options that say what is fetched and how; `order_from` and `judge_order` read them."""
    for option in reversed(_FETCHING):
        command = option(command)
    return command


def locked_options(command: F) -> F:
    """Add the options that hold a command to a lock; `order_from` reads them."""
    for option in reversed(_LOCKING):
        command = option(command)
    return command


def order_from(reference: str, options: dict[str, Any]) -> Order:
    """Return what the options ask to fetch; raise UsageError when they name a lock and do not hold to it."""
    from pathlib import Path

    from weighbridge.lock import NAME, read
    from weighbridge.pull import Order
    from weighbridge.walk import Patterns

    if options.get("locked") is False and options["lock_file"]:
        raise UsageError(f"--lock {printable(options['lock_file'])}: it binds nothing without --locked")
    return Order(
        reference=canonical(reference),
        patterns=Patterns(include=tuple(options["include"]), exclude=tuple(options["exclude"])),
        lock=read(Path(options["lock_file"] or NAME)) if options.get("locked") else None,
        connections=options.get("connections", 4),
    )


def canonical(reference: str) -> str:
    """Return what the user wrote as a reference; a path becomes a `file:` URL.

    Raises UsageError when it is neither.
    """
    if is_reference(reference):
        return reference
    if "://" in reference:
        raise UsageError(f"{printable(reference)}: no registry has such references; docs/registries.md lists them")
    from pathlib import Path

    return Path(os.path.normpath(Path(reference).absolute())).as_uri()


def desk_from(options: dict[str, Any]) -> Desk:
    """Return what it takes to scan by the options."""
    from weighbridge.desk import Desk

    limits = limits_from(options)
    rules, trust = load_rules(options["rules_folder"])
    cache = cache_for(limits) if options.get("no_cache") is False else None
    return Desk(rules=rules, trust=trust, limits=limits, digest=True, detail=detailed(options), cache=cache)


def cache_for(limits: Limits) -> Cache | None:
    """Return the cache of facts in the store, None when there can be none; see `weighbridge.cache`."""
    from weighbridge.cache import open_cache
    from weighbridge.store.layout import default_home

    return open_cache(default_home(), limits)


def trust_from_file(options: dict[str, Any], source: str) -> TrustPolicy:
    """Return the trust policy that `--trust` names, or the user's own; raise UsageError when it lies in the source."""
    from weighbridge.evidence import trust_policy

    return trust_policy.choose(options["trust"], on_disk(source))


def judge_order(order: Order, options: dict[str, Any], store: Store, desk: Desk, **more: Any) -> Judged:
    """Return what is ordered and the verdict on it, having written the report."""
    from weighbridge.cli.progress import received, scanned
    from weighbridge.pull import judge

    judged = judge(
        order,
        settings_from(options),
        store,
        desk,
        policy=policy_from(options, [order.reference]),
        trust=trust_from_file(options, order.reference),
        clock=clock,
        jobs=options["jobs"],
        received=received(quiet=options["quiet"]),
        progress=scanned(quiet=options["quiet"]),
        **more,
    )
    report(judged.verdict, options)
    tell_kept(judged.verdict, options)
    return judged


def tell_kept(verdict: Verdict, options: dict[str, Any]) -> None:
    """Tell a person that files were not parsed because their facts were kept."""
    kept = sum(file.kept for file in verdict.files)
    if kept:
        tell(
            f"{kept} of {counted(len(verdict.files), 'file')} known from before by their bytes: judged without parsing",
            options,
        )


def tell(text: str, options: dict[str, Any]) -> None:
    """Tell a person something beside the report."""
    if not options["quiet"]:
        say(text)
