"""`weighbridge policy`: begin a policy file, check one, and say what holds here and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import click

from weighbridge.cli.judging import choice_from, policy_options
from weighbridge.cli.output import emit
from weighbridge.errors import DocumentError, UsageError
from weighbridge.location import printable
from weighbridge.policy import Policy, Response
from weighbridge.policy_file import Setting, settings
from weighbridge.report.base import counted, sized
from weighbridge.settings import FILE, POLICY_VARIABLE, Chosen, current_folder, find

TEMPLATE: Final = """\
# What this project asks of the models that it lets in. What is left out holds as it is shown here.
# `weighbridge policy lint` checks this file, `weighbridge policy explain` says what holds and why.

# name = "ours"                 # how reports call this policy
# profile = "default"           # what this file changes: default, strict or safetensors-only

fail_at = "high"                # fail from this severity on: low, medium, high, critical
unknown = "inconclusive"        # names that nobody has reviewed: inconclusive or fail
gaps = "inconclusive"           # bytes that were not understood: inconclusive or fail
# max_waiver_days = 180         # how far ahead the end of a waiver may lie

# trust = ["trust/ours.yaml"]   # trust entries for your own packages, by paths from this file

# [require]
# formats = ["safetensors", "json", "text"]   # only these may cross
# forbidden = ["pickle"]                      # these may not
# sources = ["hf://our-org/*"]                # only from there
# licences = ["apache-2.0", "mit"]            # the model card has to declare one of these
# max_size = "50GB"                           # of all files together
# pinned = true                               # a revision that cannot move has to be asked for
# signature = true                            # somebody whom the trust policy names has to have signed

# A waiver accepts one rule's findings in one exact file until a day; `weighbridge waive` writes one.
# [[waivers]]
# rule = "PKL004"
# digest = "sha256:…"
# reason = "read line by line; see ticket 12"
# approver = "the model team"
# expires = 2026-12-31
"""


@click.group(invoke_without_command=False)
def policy() -> None:
    """Begin, check and explain policy files.

    \b
    Examples:
      weighbridge policy init
      weighbridge policy lint weighbridge.toml
      weighbridge policy explain --set require.pinned=true
    """


@policy.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path), default=FILE, metavar="[FILE]")
def init(file: Path) -> int:
    """Write a commented weighbridge.toml, or FILE, that changes nothing yet.

    \b
    Example:
      weighbridge policy init

    Exit status: 0 written, 2 there is such a file already.
    """
    try:
        with file.open("x", encoding="utf-8", newline="\n") as out:
            out.write(TEMPLATE)
    except FileExistsError as error:
        raise UsageError(f"{printable(str(file))}: it is there already; nothing was written") from error
    except OSError as error:
        raise UsageError(f"{printable(str(file))}: {error.strerror}") from error
    emit([f"{printable(str(file))} is written; `weighbridge policy explain` says what holds"])
    return 0


@policy.command()
@click.argument("files", nargs=-1, type=click.Path(), metavar="[FILE]...")
def lint(files: tuple[str, ...]) -> int:
    """Check policy files, or the one that holds here, with all that they name.

    Every wrong file is told, with the line and the column and the nearest right name.

    \b
    Examples:
      weighbridge policy lint
      weighbridge policy lint weighbridge.toml policies/strictest.yaml

    Exit status: 0 all are right, 2 one is wrong.
    """
    # What is named is a file, even if a shipped policy is called like that.
    found = [file if os.path.dirname(file) else os.path.join(".", file) for file in files]  # noqa: PTH118, PTH120
    found = found or [one for one in (os.environ.get(POLICY_VARIABLE) or find(current_folder()),) if one]
    if not found:
        raise UsageError(f"there is no policy file here; `weighbridge policy init` writes {FILE}")
    wrong = 0
    for file in found:
        problem = _problem(file)
        wrong += problem is not None
        emit([f"error: {problem}" if problem is not None else f"{printable(os.path.normpath(file))}: nothing is wrong"])
    return 2 if wrong else 0


def _problem(file: str) -> DocumentError | None:
    from weighbridge.cli.options import load_rules

    try:
        chosen = choice_from({"policy": file, "waivers": None})
        load_rules(None)[1].extended((one.name, one.text) for one in chosen.policy.trust)
    except DocumentError as error:
        return error
    return None


@policy.command()
@policy_options
def explain(**options: Any) -> int:
    """Say in words what the policy that holds here does, and where each setting is from.

    A setting is from the command line, else from the environment (WEIGHBRIDGE_FAIL_AT, WEIGHBRIDGE_REQUIRE_PINNED …),
    else from the policy file, else from the shipped policy that the file names, else it is the default.

    \b
    Examples:
      weighbridge policy explain
      weighbridge policy explain --policy strict --set require.pinned=true
    """
    chosen = choice_from(options)
    emit(
        [_headline(chosen), "", *_words(chosen.policy), "", *_table(settings(chosen.layers)), *_waivers(chosen.policy)]
    )
    return 0


def _headline(chosen: Chosen) -> str:
    policy = chosen.policy
    origin = f"{printable(chosen.path)}, {chosen.why}" if chosen.path else chosen.why or "there is no policy file"
    return f"policy {printable(policy.name)} ({origin})\n{policy.digest}"


def _words(policy: Policy) -> list[str]:
    verdicts = {Response.FAIL: "fails", Response.INCONCLUSIVE: "is inconclusive, which is no pass"}
    require = policy.require
    lines = [
        f"A finding of severity {policy.fail_at} or worse fails.",
        f"A name that nobody has reviewed {verdicts[policy.unknown]}.",
        f"What could not be read {verdicts[policy.gaps]}.",
    ]
    if require.formats:
        lines.append(f"Files may only be {_list(require.formats)}.")
    if require.forbidden:
        lines.append(f"No file may be {_list(require.forbidden)}.")
    if require.sources:
        lines.append(f"Models come from {_list(require.sources)} alone.")
    if require.licences:
        lines.append(f"The model card declares {_list(require.licences)}.")
    if require.max_size is not None:
        lines.append(f"All files together have at most {sized(require.max_size)} ({require.max_size} bytes).")
    if require.pinned:
        lines.append("A revision that cannot move is asked for.")
    if require.signature:
        lines.append("Somebody whom the trust policy names has signed.")
    lines += [f"Trust entries of {printable(text.name)} count as well." for text in policy.trust]
    return lines


def _list(words: tuple[str, ...]) -> str:
    return " or ".join(printable(word) for word in words)


def _table(found: list[Setting]) -> list[str]:
    rows = [(one.key, _shown(one.value), printable(one.source) or "default") for one in found]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{key:{widths[0]}}  {value:{min(widths[1], 40)}}  {source}" for key, value, source in rows]


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(printable(one) for one in value) or "-"
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)


def _waivers(policy: Policy) -> list[str]:
    if not policy.waivers:
        return []
    lines = ["", f"{counted(len(policy.waivers), 'waiver')}:"]
    for one in policy.waivers:
        names = f" of {printable(one.subject)}" if one.subject else ""
        why = f"{printable(one.reason)} ({printable(one.approver)})"
        lines.append(f"  {one.rule}{names} in {one.digest} until {one.expires}: {why}")
    return lines
