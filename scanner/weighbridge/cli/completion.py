"""`weighbridge completion`: the lines by which a shell completes the command."""

from __future__ import annotations

import click

from weighbridge.cli.output import emit


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what a shell needs to complete commands, options and their values.

    \b
    Examples:
      weighbridge completion bash > ~/.local/share/bash-completion/completions/weighbridge
      weighbridge completion zsh > "${fpath[1]}/_weighbridge"
      weighbridge completion fish > ~/.config/fish/completions/weighbridge.fish
      source <(weighbridge completion bash)
    """
    from click.shell_completion import get_completion_class

    from weighbridge.cli.group import COMPLETE

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"this version of click has no completion for {shell}")
    lines = found(click.get_current_context().find_root().command, {}, "weighbridge", COMPLETE)
    emit((lines.source_template % lines.source_vars()).strip().splitlines())
