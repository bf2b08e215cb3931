"""`weighbridge diff`: what changed between two models."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from weighbridge.cli.fetching import canonical
from weighbridge.cli.options import color_option, limit_options, limits_from, load_rules, rules_option, verbose_option
from weighbridge.cli.output import emit, use_color
from weighbridge.cli.remote import registry_options, settings_from
from weighbridge.location import printable
from weighbridge.registries import is_reference
from weighbridge.report.base import counted, sized

if TYPE_CHECKING:
    from weighbridge.diff import Comparison, Copy, FileChange, Side, TensorChange, TraitChange
    from weighbridge.registries.base import Settings
    from weighbridge.store import Store

# Lines of each part on a screen; --verbose shows all.
LINES: Final = 20
DIGEST_DIGITS: Final = 12

_SIGNS: Final = {"added": "+", "removed": "-", "changed": "~", "reshaped": "~"}
_COLORS: Final = {"+": "32", "-": "31", "~": "33"}


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="Text, or one JSON document."
)
@click.option("--quiet", "-q", is_flag=True, help="No report and no progress: the exit status only.")
@registry_options
@rules_option
@verbose_option
@color_option
@limit_options
def diff(before: str, after: str, **options: Any) -> int:
    """Show what changed from A to B, which are references or paths.

    Files are compared by sha256. Of those that differ it says what is new or gone in what loading them does (imports,
    calls, operators, findings, what nobody has reviewed), and which tensors were added, removed, reshaped or changed.
    Models in registries are fetched into the store's quarantine. There is no verdict.

    Exit status: 0 when the models are the same, 1 when they differ.

    \b
    Examples:
      weighbridge diff hf://org/name@v1 hf://org/name@v2
      weighbridge diff models/name hf://org/name --format json
    """
    from weighbridge.diff import compare

    limits = limits_from(options)
    rules, trust = load_rules(options["rules_folder"])
    settings = settings_from(options)
    with _store([before, after]) as store:
        sides = [_side(text, settings, store, quiet=options["quiet"]) for text in (before, after)]
        sides = _paired(*sides)
        found = compare(*sides, rules=rules, trust=trust, limits=limits)
    if options["quiet"]:
        return 0 if found.same else 1
    if options["form"] == "json":
        emit(json.dumps(_document(found), indent=2, sort_keys=True).splitlines())
    else:
        emit(_text(found, color=use_color(options["color"], sys.stdout), verbose=options["verbose"]))
    return 0 if found.same else 1


def _store(texts: list[str]) -> AbstractContextManager[Store | None]:
    """Return the store if a side comes from a registry."""
    if not any(map(is_reference, texts)):
        return nullcontext()
    from weighbridge.store import Store
    from weighbridge.store.layout import default_home

    return Store(default_home())


def _side(text: str, settings: Settings, store: Store | None, *, quiet: bool) -> Side:
    """Return a model: from a registry through the store, from a path as it lies there."""
    from weighbridge.approve import beside
    from weighbridge.diff import Copy, Side
    from weighbridge.sources import resolve

    resolved = resolve(canonical(text), settings)
    if store is None or not is_reference(text):
        top = Path(text)
        not_model = beside(file.path for file in resolved.artifact.files)
        files = {
            file.path: Copy(size=file.size, sha256=file.claims[0].value, place=top / file.path if top.is_dir() else top)
            for file in resolved.artifact.files
            if file.path not in not_model
        }
        return Side(name=text, files=files)
    from weighbridge.cli.progress import received
    from weighbridge.store import fetch

    fetched = fetch(resolved.artifact, resolved.registry, store, progress=received(quiet=quiet))
    copies = {
        entry.path: Copy(size=entry.size, sha256=entry.sha256, place=fetched.paths[entry.path])
        for entry in fetched.manifest.entries
    }
    return Side(name=resolved.artifact.pinned, files=copies)


def _paired(before: Side, after: Side) -> list[Side]:
    """Return two sides; single files on disk are compared with each other whatever they are called."""
    from weighbridge.diff import Side

    if not (Path(before.name).is_file() and Path(after.name).is_file()):
        return [before, after]
    (path,), (copy,) = before.files, after.files.values()
    return [before, Side(name=after.name, files={path: copy})]


def _text(found: Comparison, *, color: bool, verbose: bool) -> Iterator[str]:
    names = f"{printable(found.before)} and {printable(found.after)}"
    if found.same:
        yield f"same: {names}"
        return
    limit = None if verbose else LINES
    yield f"different: {names}"
    yield from _part("files", [_file(one) for one in found.files], limit, color=color)
    yield from _part("what they do", [_trait(one) for one in found.traits], limit, color=color)
    yield from _part("tensors", [_tensor(one) for one in found.tensors], limit, color=color)
    if found.uncompared:
        count = counted(found.uncompared, "more tensor")
        yield f"{count} of the same shape: where their bytes are is not known, so they were not compared"


def _part(title: str, lines: list[str], limit: int | None, *, color: bool) -> Iterator[str]:
    if not lines:
        return
    yield ""
    yield f"{title} ({len(lines)})"
    for line in lines[:limit]:
        yield f"  \x1b[{_COLORS[line[0]]}m{line}\x1b[0m" if color else f"  {line}"
    if limit is not None and len(lines) > limit:
        yield f"  … and {counted(len(lines) - limit, 'more line')}; --verbose shows them"


def _file(change: FileChange) -> str:
    sides = " → ".join(_copy(copy) for copy in (change.before, change.after) if copy is not None)
    return f"{_SIGNS[change.kind]} {printable(change.path)}: {sides}"


def _copy(copy: Copy) -> str:
    return f"{sized(copy.size)} sha256:{copy.sha256[:DIGEST_DIGITS]}"


def _trait(change: TraitChange) -> str:
    trait = change.trait
    text = f": {printable(trait.text)}" if trait.text else ""
    return f"{_SIGNS[change.kind]} {trait.kind} {printable(trait.subject)}{text} ({printable(change.path)})"


def _tensor(change: TensorChange) -> str:
    forms = " → ".join(dict.fromkeys(form for form in (change.before, change.after) if form))
    name = printable(change.name) or "the array"
    return f"{_SIGNS[change.kind]} {name}: {change.kind}, {printable(forms)} ({printable(change.path)})"


def _document(found: Comparison) -> dict[str, Any]:
    return {
        "before": printable(found.before),
        "after": printable(found.after),
        "same": found.same,
        "files": [
            {
                "change": one.kind,
                "path": printable(one.path),
                "before": _copy_document(one.before),
                "after": _copy_document(one.after),
            }
            for one in found.files
        ],
        "traits": [
            {
                "change": one.kind,
                "kind": one.trait.kind,
                "subject": printable(one.trait.subject),
                "text": printable(one.trait.text),
                "path": printable(one.path),
            }
            for one in found.traits
        ],
        "tensors": [
            {
                "change": one.kind,
                "name": printable(one.name),
                "path": printable(one.path),
                "before": printable(one.before) or None,
                "after": printable(one.after) or None,
            }
            for one in found.tensors
        ],
        "tensors_not_compared": found.uncompared,
    }


def _copy_document(copy: Copy | None) -> dict[str, Any] | None:
    return {"size": copy.size, "digest": f"sha256:{copy.sha256}"} if copy is not None else None
