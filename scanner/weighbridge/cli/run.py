"""`weighbridge run`: a command over the approved files, and nothing else of the folder."""

from __future__ import annotations

import click

from weighbridge.cli import say
from weighbridge.cli.place import Place


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--approved",
    required=True,
    type=Place(kind="folder"),
    metavar="DIR",
    help="The approved folder, as the command names it.",
)
@click.option(
    "--trust",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="The trust policy.  [default: the user's own]",
)
@click.option("--source", metavar="REFERENCE", help="Refuse the approval of any other model, such as hf://org/name.")
@click.option(
    "--place",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Where the private copy is made, such as /dev/shm.  [default: the system's folder for temporary files]",
)
@click.option("--quiet", "-q", is_flag=True, help="Do not say what is run.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    approved: str, trust: str | None, source: str | None, place: str | None, command: tuple[str, ...], *, quiet: bool
) -> None:
    """Verify an approved folder and run COMMAND over a private, read-only copy of it.

    Wherever a word of the command names the folder or an approved file in it, the copy takes its place. The command
    runs offline, loads weights only, and can gain no privileges; options by which a known server (vLLM, SGLang, Text
    Generation Inference, Triton, llama.cpp, MLflow) would run a model's code or load other files are refused.
    The copy is removed when the command ends.

    \b
    Examples:
      weighbridge run --approved models/name -- vllm serve models/name
      weighbridge run --approved models/name -- llama-server -m models/name/model.gguf
      weighbridge run --approved models/name --place /dev/shm -- python serve.py models/name

    Exit status: that of the command; 1 when the folder or the command is refused, 2 for wrong usage, 4 when there is no
    room for the copy or a file cannot be read.
    """
    from weighbridge.serve import run as serve

    serve(
        approved,
        command,
        trust=trust,
        source=source,
        place=place,
        notice=lambda text: None if quiet else say(text),
    )
