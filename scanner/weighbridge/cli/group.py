"""The `weighbridge` command and its subcommands, each imported when it is called."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import click

from weighbridge.cli import EXIT_INTERNAL, mutter, say
from weighbridge.version import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def _scan() -> click.Command:
    from weighbridge.cli.scan import scan

    return scan


def _inspect() -> click.Command:
    from weighbridge.cli.inspect import inspect

    return inspect


def _run_command() -> click.Command:
    from weighbridge.cli.run import run

    return run


def _rules() -> click.Command:
    from weighbridge.cli.rules import rules

    return rules


def _pull() -> click.Command:
    from weighbridge.cli.pull import pull

    return pull


def _lock() -> click.Command:
    from weighbridge.cli.lock import lock

    return lock


def _diff() -> click.Command:
    from weighbridge.cli.diff import diff

    return diff


def _store() -> click.Command:
    from weighbridge.cli.store import store

    return store


def _convert() -> click.Command:
    from weighbridge.cli.convert import convert

    return convert


def _tensors() -> click.Command:
    from weighbridge.cli.tensors import tensors

    return tensors


def _verify() -> click.Command:
    from weighbridge.cli.verify import verify

    return verify


def _sign() -> click.Command:
    from weighbridge.cli.sign import sign

    return sign


def _gate() -> click.Command:
    from weighbridge.cli.gate import gate

    return gate


def _approve() -> click.Command:
    from weighbridge.cli.approve import approve

    return approve


def _attest() -> click.Command:
    from weighbridge.cli.attest import attest

    return attest


def _verify_attestation() -> click.Command:
    from weighbridge.cli.attest import verify_attestation

    return verify_attestation


def _policy() -> click.Command:
    from weighbridge.cli.policy import policy

    return policy


def _waive() -> click.Command:
    from weighbridge.cli.waive import waive

    return waive


def _key() -> click.Command:
    from weighbridge.cli.key import key

    return key


def _trust() -> click.Command:
    from weighbridge.cli.trust import trust

    return trust


def _bom() -> click.Command:
    from weighbridge.cli.bom import bom

    return bom


def _bundle() -> click.Command:
    from weighbridge.cli.bundle import bundle

    return bundle


def _doctor() -> click.Command:
    from weighbridge.cli.doctor import doctor

    return doctor


def _completion() -> click.Command:
    from weighbridge.cli.completion import completion

    return completion


# What there is, in the order of the help: what each command does, and what imports it.
SECTIONS: Final[dict[str, dict[str, tuple[str, Callable[[], click.Command]]]]] = {
    "Let a model in": {
        "gate": ("fetch, verify, scan, convert and approve a model", _gate),
        "scan": ("say whether files, or a model elsewhere, may be loaded", _scan),
        "pull": ("fetch a model into a folder if it passes", _pull),
        "approve": ("sign or check the approval of a folder", _approve),
        "run": ("start a server over a verified copy of what is approved", _run_command),
    },
    "Look at a model": {
        "inspect": ("formats, members, imports, and pickles as Python", _inspect),
        "tensors": ("the tensors of any container: names, shapes, digests", _tensors),
        "diff": ("what changed between two models", _diff),
        "convert": ("weights as safetensors, bit for bit, running nothing", _convert),
        "bom": ("a CycloneDX bill of materials with a model card", _bom),
    },
    "Know who made it": {
        "verify": ("who signed a model, and whether every byte is theirs", _verify),
        "sign": ("sign every file of a folder", _sign),
        "attest": ("sign what a scan found, or what was decided", _attest),
        "verify-attestation": ("who signed a statement, what it says, and about what", _verify_attestation),
        "trust": ("the trust policy: who is believed about which model", _trust),
        "key": ("make and show keys", _key),
    },
    "Decide": {
        "policy": ("begin, check and explain policies", _policy),
        "waive": ("accept a finding of a report until a day", _waive),
        "rules": ("list, show and test the rules", _rules),
        "lock": ("keep which bytes references stand for", _lock),
    },
    "Keep house": {
        "store": ("list, verify and clear the store of fetched files", _store),
        "bundle": ("carry rules, trust and approvals over an air gap", _bundle),
        "doctor": ("what is installed, what is missing, and what that means", _doctor),
        "completion": ("what a shell needs to complete commands", _completion),
    },
}
COMMANDS: Final = {name: load for section in SECTIONS.values() for name, (_, load) in section.items()}


# By which a shell asks for completions; the name is click's.
COMPLETE: Final = "_WEIGHBRIDGE_COMPLETE"
HELP_OPTIONS: Final = ["-h", "--help"]


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        load = COMMANDS.get(cmd_name)
        return load() if load else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each command does, which imports none of them."""
        width = max(map(len, COMMANDS))
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), summary) for name, (summary, _) in section.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return names alone: to say what each command does would import all of them, which takes ten times as long."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name) for name in COMMANDS if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


@click.command(cls=_Lazy, context_settings={"help_option_names": HELP_OPTIONS, "max_content_width": 100})
@click.version_option(__version__, prog_name="weighbridge")
def weighbridge() -> None:
    """Let models in that do nothing but what they should, and load nothing else.

    Nothing that is looked at is ever executed, imported or unpickled.

    \b
    Examples:
      weighbridge gate hf://org/name --to models/name
      weighbridge scan model.pt
      weighbridge scan models/ --format sarif --output weighbridge.sarif
      weighbridge convert model.pt model.safetensors
      weighbridge verify models/name --key publisher.pub.pem
      weighbridge run --approved models/name -- vllm serve models/name

    \b
    Exit status: 0 pass, 1 fail or refused, 2 wrong usage, 3 inconclusive, 4 a source cannot be had, 70 internal error.
    """


def run(arguments: list[str]) -> int:
    """Run the command and return its exit status; click's own errors become status 2."""
    if instruction := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(weighbridge, {}, "weighbridge", COMPLETE, instruction)
    try:
        status = weighbridge.main(arguments, prog_name="weighbridge", standalone_mode=False)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        mutter(shown.getvalue())
        return error.exit_code
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except SystemExit:  # click's word for a pipe that broke; its own help is all that it writes to one
        if {*HELP_OPTIONS, "--version"}.isdisjoint(arguments):
            say("internal error: a pipe broke")
            return EXIT_INTERNAL
        return 0
    return status if isinstance(status, int) else 0
