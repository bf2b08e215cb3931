"""`weighbridge lock`: which bytes references stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weighbridge.cli.fetching import canonical, desk_from, fetch_options, judge_order, order_from, tell, trust_option
from weighbridge.cli.judging import Reporting, policy_options, report_options
from weighbridge.cli.options import F, color_option, limit_options, rules_option, verbose_option
from weighbridge.cli.output import emit
from weighbridge.cli.place import Place
from weighbridge.cli.remote import registry_options
from weighbridge.errors import UsageError
from weighbridge.location import printable
from weighbridge.report.base import counted, exit_status

if TYPE_CHECKING:
    from weighbridge.lock import Lock, Locked

_file_option = click.option(
    "--lock",
    "lock_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default="weighbridge.lock",
    show_default=True,
    metavar="FILE",
    help="The lock.",
)
_quiet_option = click.option("--quiet", "-q", is_flag=True, help="The verdict only, in one line, and no progress.")


def _judging(command: F) -> F:
    """Add the options of a command that fetches and scans before it locks."""
    for option in (
        limit_options,
        color_option,
        verbose_option,
        rules_option,
        registry_options,
        _quiet_option,
        report_options,
        policy_options,
        trust_option,
        _file_option,
    ):
        command = option(command)
    return command


@click.group()
def lock() -> None:
    """Keep in a file which bytes references stand for.

    \b
    Examples:
      weighbridge lock add hf://org/name
      weighbridge lock update
      weighbridge lock check models/name
    """


@lock.command(cls=Reporting)
@click.argument("reference", metavar="REFERENCE")
@fetch_options
@_judging
def add(reference: str, **options: Any) -> int:
    """Fetch the model that REFERENCE names, and lock it if the verdict is pass.

    The bytes stay in the store, where `weighbridge pull --locked` finds them. What was locked under the same reference
    before is replaced.

    \b
    Examples:
      weighbridge lock add hf://org/name@main
      weighbridge lock add oci://registry.example/models/name:1.0 --lock models.lock

    Exit status: 0 locked, 1 fail, 2 wrong usage, 3 inconclusive, 4 the model cannot be had.
    """
    from weighbridge.store import Store
    from weighbridge.store.layout import default_home

    desk, order = desk_from(options), order_from(reference, options)
    path: Path = options["lock_file"]
    lock_ = _read(path)
    with Store(default_home()) as store:
        judged = judge_order(order, options, store, desk)
    if judged.locked is not None:
        _write(lock_.having(judged.locked), path)
        tell(f"{printable(str(path))}: {_line(judged.locked)}", options)
    return exit_status(judged.verdict)


@lock.command(cls=Reporting)
@click.argument("references", nargs=-1, metavar="[REFERENCE]...")
@click.option(
    "--connections",
    type=click.IntRange(min=1, max=64),
    default=4,
    show_default=True,
    metavar="N",
    help="Connections that share the download.",
)
@click.option("--jobs", "-j", type=click.IntRange(min=1), default=1, metavar="N", help="Processes that share the scan.")
@_judging
def update(references: tuple[str, ...], **options: Any) -> int:
    """Ask what the locked references mean now, all of them or those named, and lock that if it passes.

    A model that does not pass stays locked as it was.

    Exit status: that of the worst verdict.

    \b
    Examples:
      weighbridge lock update
      weighbridge lock update hf://org/name --policy strict
    """
    from weighbridge.lock import read
    from weighbridge.store import Store
    from weighbridge.store.layout import default_home

    desk = desk_from(options)
    path: Path = options["lock_file"]
    lock_ = read(path)
    worst = 0
    with Store(default_home()) as store:
        for model in _chosen(lock_, references, path):
            order = order_from(model.names[0], {**options, "include": model.include, "exclude": model.exclude})
            judged = judge_order(order, options, store, desk)
            worst = max(worst, exit_status(judged.verdict), key=_SEVERITY.index)
            if judged.locked is None:
                tell(f"{printable(str(path))}: {printable(model.names[0])} stays as it was", options)
                continue
            lock_ = lock_.having(judged.locked)
            _write(lock_, path)
            _tell_change(model, judged.locked, path, options)
    return worst


# Exit statuses of verdicts, from the best to the worst.
_SEVERITY = (0, 3, 1)


@lock.command()
@click.argument("folder", type=Place(kind="folder", path_type=Path), metavar="DIR")
@click.option(
    "--lock",
    "lock_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The lock.  [default: weighbridge.lock in DIR]",
)
@click.option("--model", "reference", metavar="REFERENCE", help="Which model of the lock, when it has several.")
def check(folder: Path, lock_file: Path | None, reference: str | None) -> int:
    """Digest every file in DIR, and name what is not as the lock has it: changed, missing or extra.

    Exit status: 0 when DIR is what was locked, 1 otherwise; 2 the lock is none, 4 DIR cannot be read.

    \b
    Examples:
      weighbridge lock check models/name
      weighbridge lock check models/name --lock weighbridge.lock --model hf://org/name
    """
    from weighbridge import approval
    from weighbridge import lock as locks

    path = lock_file or folder / locks.NAME
    model = _one(locks.read(path), reference, path)
    differences = locks.check(folder, model.manifest)
    name = printable(str(folder))
    emit([str(one) for one in differences])
    same = f"{name} is {_line(model)}"
    emit([f"{name} differs from {_line(model)}: {counted(len(differences), 'file')}" if differences else same])
    if differences and lock_file is None and (folder / approval.NAME).exists():
        emit([f"the gate made {name}, with files of its own: `weighbridge approve {name} --check` looks at those"])
    return 1 if differences else 0


def _read(path: Path) -> Lock:
    """Return the lock in a file, an empty one when there is no file."""
    from weighbridge.lock import VERSION, Lock, read

    return read(path) if path.exists() else Lock(version=VERSION)


def _write(lock_: Lock, path: Path) -> None:
    from weighbridge.lock import write

    write(lock_, path.resolve())  # a link stays one


def _chosen(lock_: Lock, references: tuple[str, ...], path: Path) -> list[Locked]:
    """Return the models that references name, all of them when there are none."""
    return [_find(lock_, reference, path) for reference in references] if references else list(lock_.models)


def _find(lock_: Lock, reference: str, path: Path) -> Locked:
    found = lock_.find(canonical(reference))
    if found is None:
        raise UsageError(f"{printable(reference)}: not in {printable(str(path))}")
    return found


def _one(lock_: Lock, reference: str | None, path: Path) -> Locked:
    if reference is not None:
        return _find(lock_, reference, path)
    if len(lock_.models) != 1:
        raise UsageError(f"{printable(str(path))} locks {counted(len(lock_.models), 'model')}; --model says which")
    return lock_.models[0]


def _tell_change(before: Locked, after: Locked, path: Path, options: dict[str, Any]) -> None:
    """Say what an update changed."""
    from weighbridge.lock import compare

    name = printable(str(path))
    if before.tree == after.tree and before.revision == after.revision:
        tell(f"{name}: {printable(after.source)} is what it was", options)
        return
    tell(f"{name}: {_line(after)}, before {printable(before.revision)}", options)
    for difference in compare(before.manifest, after.manifest):
        tell(f"  {difference}", options)


def _line(model: Locked) -> str:
    files = counted(len(model.files), "file")
    return f"{printable(model.source)} at {printable(model.revision)}, {files}, tree {model.tree}"
