"""`weighbridge convert`: weights out of other containers into safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from weighbridge.cli import say
from weighbridge.cli.judging import policy_options
from weighbridge.cli.options import limit_options, limits_from
from weighbridge.cli.output import emit
from weighbridge.errors import ArtifactError, MismatchError, UnconvertibleError, UsageError
from weighbridge.location import printable
from weighbridge.report.base import counted, sized

if TYPE_CHECKING:
    from weighbridge.convert.plan import Plan
    from weighbridge.convert.record import Conversion

EXIT_MISMATCH: Final = 1
EXIT_UNCONVERTIBLE: Final = 3
LINES: Final = 20  # of each part; the record has all


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="SRC")
@click.argument("destination", type=click.Path(path_type=Path), metavar="DST")
@click.option(
    "--state-dict",
    metavar="PATH",
    help="Which group of tensors to take, by its keys joined with dots; . takes all. Needed when there are several.",
)
@click.option("--drop-aliases", is_flag=True, help="Write tied tensors once, and name the others in the metadata.")
@click.option(
    "--max-output",
    type=click.IntRange(min=0),
    metavar="BYTES",
    help="Bytes of tensors that DST may have.  [default: 5% and 16 MiB more than SRC]",
)
@click.option("--verify", is_flag=True, help="Write nothing: compare DST, which is there, with SRC, byte for byte.")
@click.option("--no-digest", is_flag=True, help="Compute no digests of tensors, and leave checksums of SRC unchecked.")
@click.option("--copy-only", is_flag=True, help="Compare nothing afterwards either.")
@click.option("--overwrite", is_flag=True, help="Replace DST if it exists.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="Text, or the record as JSON."
)
@policy_options
@limit_options
def convert(source: Path, destination: Path, **options: Any) -> int:
    """Write the weights in SRC to DST as safetensors, bit for bit, without running or unpickling anything.

    What the container holds besides goes to DST's record, `<name>.conversion.json`: scalars and texts as they are, and
    a list of what was left out. When there are several groups of tensors, such as a model and its average, nothing is
    guessed: they are listed, and --state-dict says which. Every byte is compared after it is written. DST appears
    whole or not at all.

    A folder becomes a new folder: every checkpoint in it, shards with their index, and the configurations and
    tokenizers that pass the policy. Pickles and what does not pass are left out and listed in `conversion.json`.

    \b
    Examples:
      weighbridge convert pytorch_model.bin model.safetensors
      weighbridge convert checkpoint.pt model.safetensors --state-dict ema.state_dict
      weighbridge convert downloads/bert models/bert
      weighbridge convert --verify checkpoint.pt model.safetensors

    Exit status: 0 done, or DST is what SRC holds; 1 DST differs from SRC; 2 wrong usage; 3 SRC has no exact form in
    safetensors, or is damaged; 4 a file cannot be read or written.
    """
    limits = limits_from(options)
    try:
        if source.is_dir():
            from weighbridge.cli.converting import convert_directory

            return convert_directory(source, destination, limits, options)
        if any(options[name] for name in ("policy", "fail_at", "settings", "waivers")):
            raise UsageError("a policy is for folders: it says which files come along with the weights")
        if options["verify"]:
            return _verify(source, destination, limits, options)
        from weighbridge.convert.conversion import convert as convert_file

        made = convert_file(
            source,
            destination,
            state_dict=options["state_dict"],
            drop_aliases=options["drop_aliases"],
            max_output=options["max_output"],
            verify=not options["copy_only"],
            digests=not (options["copy_only"] or options["no_digest"]),
            checksums=not options["no_digest"],
            overwrite=options["overwrite"],
            limits=limits,
        )
    except MismatchError as error:
        return _refuse(str(error), (), EXIT_MISMATCH)
    except UnconvertibleError as error:
        return _refuse(str(error), error.details, EXIT_UNCONVERTIBLE)
    except ArtifactError as error:
        # What is no safetensors file is not what the source holds, either.
        differs = options["verify"] and error.location.path[:1] == (destination.as_posix(),)
        return _refuse(str(error), (), EXIT_MISMATCH if differs else EXIT_UNCONVERTIBLE)
    emit(made.text().splitlines() if options["form"] == "json" else _text(made))
    return 0


def _verify(source: Path, destination: Path, limits: Any, options: dict[str, Any]) -> int:
    from weighbridge.convert.conversion import verify

    if options["overwrite"] or options["drop_aliases"] or options["max_output"] is not None:
        raise UsageError("--verify writes nothing: options on writing make no sense with it")
    plan = verify(source, destination, state_dict=options["state_dict"], limits=limits)
    emit(_verified(source, destination, plan, form=options["form"]))
    return 0


def _verified(source: Path, destination: Path, plan: Plan, *, form: str) -> Iterator[str]:
    if form == "json":
        document = {"source": source.name, "output": destination.name, "tensors": len(plan.tensors), "verified": True}
        yield json.dumps({**document, "state_dict": plan.state_dict}, sort_keys=True)
        return
    tensors = counted(len(plan.tensors), "tensor")
    name, other = printable(destination.as_posix()), printable(source.as_posix())
    yield f"{name} has the {tensors} of {other}{_of(plan.state_dict)}: every byte compared"


def _refuse(text: str, details: tuple[str, ...], status: int) -> int:
    """Say why there is no output."""
    lines = details if len(details) > 1 else (text,)
    for line in lines:
        say(f"{'cannot convert' if status != 1 else 'differs'}: {line}")
    return status


def _text(made: Conversion) -> Iterator[str]:
    tensors = counted(len(made.tensors), "tensor")
    name = printable(made.destination.as_posix())
    yield f"{name}: {tensors}, {sized(made.size)}, from {made.format} {printable(made.source)}{_of(made.state_dict)}"
    yield f"  {'every byte compared' if made.verified else 'nothing compared'}; {_record(made)}"
    tied = "left out" if made.aliases_dropped else "written as often as named; --drop-aliases writes it once"
    yield from part(f"tied, {tied}", [f"{alias} = {kept}" for alias, kept in made.aliases.items()])
    yield from part("left out", [_dropped(one.path, one.what, one.tensors) for one in made.dropped])


def _of(path: str) -> str:
    return f" at {printable(path)}" if path else ""


def _record(made: Conversion) -> str:
    from weighbridge.convert.record import beside

    kept = [counted(len(made.digests), "digest")] if made.digests else []
    kept += [counted(len(made.scalars), "value")] if made.scalars else []
    name = printable(beside(made.destination).name)
    return f"{' and '.join(kept)} in {name}" if kept else f"record in {name}"


def part(title: str, lines: list[str], most: int = LINES) -> Iterator[str]:
    """Yield a part of what a conversion says, if there is anything in it; the record has what is too much."""
    if lines:
        yield f"  {title}:"
        yield from (f"    {printable(line)}" for line in lines[:most])
        if len(lines) > most:
            yield f"    … and {len(lines) - most} more, which the record names"


def _dropped(path: str, what: str, tensors: int) -> str:
    held = f" ({counted(tensors, 'tensor')})" if tensors > 1 else ""
    return f"{path or 'the file'}: {what}{held}"
