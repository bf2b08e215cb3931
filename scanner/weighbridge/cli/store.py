"""`weighbridge store`: what is in the store, whether it is sound, and what of it can go."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from weighbridge.cli.output import emit
from weighbridge.report.base import counted, sized

if TYPE_CHECKING:
    from weighbridge.store.upkeep import Held

_DAY: Final = 86_400

_form_option = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="Text, or one JSON document."
)


@click.group()
def store() -> None:
    """List, verify and clear the store of fetched files.

    It lies in WEIGHBRIDGE_HOME, else in the user's cache. Files are named by their sha256, and are in quarantine until
    a scan of a model that has them passes.

    \b
    Examples:
      weighbridge store list
      weighbridge store verify
      weighbridge store gc --days 7
    """


@store.command("list")
@_form_option
def list_(form: str) -> None:
    """List every file: sha256, state, size, last use, and how many names it has outside of the store.

    \b
    Example:
      weighbridge store list
    """
    from weighbridge.store import Store
    from weighbridge.store.layout import default_home
    from weighbridge.store.upkeep import held

    with Store(default_home()) as opened:
        found = list(held(opened))
    emit(json.dumps(_document(found), indent=2, sort_keys=True).splitlines() if form == "json" else _lines(found))


@store.command()
@click.option("--remove", is_flag=True, help="Remove what is damaged, so that it is fetched anew.")
def verify(*, remove: bool) -> int:
    """Digest every file, and name those whose bytes are not what their name says.

    Exit status: 0 when all are sound, 1 otherwise.

    \b
    Example:
      weighbridge store verify --remove
    """
    from weighbridge.store import Store, upkeep
    from weighbridge.store.layout import default_home

    with Store(default_home()) as opened:
        count = sum(1 for _ in opened.names("files"))
        bad = list(upkeep.verify(opened, remove=remove))
    done = ", removed" if remove else ""
    emit([f"damaged: {sha256} is sha256:{found} now{done}" for sha256, found in bad])
    emit([f"{counted(count, 'file')}, {len(bad)} damaged"])
    return 1 if bad else 0


@store.command()
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="N",
    help="Keep what was used within so many days.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
def gc(days: float, *, dry_run: bool) -> None:
    """Remove files that nobody has used for long, and downloads that nobody has finished.

    Folders that were pulled keep their files. It is refused while another process uses the store.

    \b
    Example:
      weighbridge store gc --days 7 --dry-run
    """
    from weighbridge.store import Store
    from weighbridge.store.layout import default_home
    from weighbridge.store.upkeep import collect

    opened = Store(default_home())
    with opened.alone():
        swept = collect(opened, now=time.time(), days=days, pretend=dry_run)
    files, downloads = counted(swept.files, "file"), counted(swept.downloads, "unfinished download")
    emit([f"{'would remove' if dry_run else 'removed'} {files} and {downloads}, {sized(swept.size)}"])


def _lines(found: list[Held]) -> Iterator[str]:
    now = time.time()
    for one in found:
        state = "quarantine" if one.admission is None else "admitted"
        age = counted(max(0, int((now - one.used) // _DAY)), "day")
        names = f", {counted(one.links, 'name')} outside" if one.links else ""
        yield f"{one.sha256}  {state:<10}  {sized(one.size):>10}  used {age} ago{names}"
    quarantined = sum(one.admission is None for one in found)
    yield f"{counted(len(found), 'file')}, {sized(sum(one.size for one in found))}, {quarantined} in quarantine"


def _document(found: list[Held]) -> list[dict[str, Any]]:
    return [
        {
            "sha256": one.sha256,
            "size": one.size,
            "used": int(one.used),
            "links": one.links,
            "admitted": None
            if one.admission is None
            else {
                "policy_digest": one.admission.policy,
                "rules_digest": one.admission.rules,
                "weighbridge": one.admission.weighbridge,
            },
        }
        for one in found
    ]
