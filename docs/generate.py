"""Write the pages of the documentation that come from the code: rules.md, cli.md, formats.md, limits.md.

`python docs/generate.py` writes them, and the digest of the rules into the README's examples; a test compares them with
what it would write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Final

import click

from weighbridge.cli.group import HELP_OPTIONS, weighbridge
from weighbridge.formats import FORMATS, VARIANTS
from weighbridge.limits import Limits
from weighbridge.rules import Rule, RuleSet, rules_directory
from weighbridge.trust import Trust

FOLDER: Final = Path(__file__).resolve().parent
README: Final = FOLDER.parent / "README.md"
NOTE: Final = "<!-- Written by docs/generate.py; `make docs` writes it again. -->"
WIDTH: Final = 100


def rules() -> Iterator[str]:
    """Yield the page of rules, one chapter per folder."""
    loaded = RuleSet.load(rules_directory())
    current = [rule for rule in loaded.rules if not rule.retired]
    yield "# Rules"
    yield ""
    yield (
        f"{len(current)} rules give names to what is dangerous. None of them makes anything acceptable: what no trust "
        "entry covers keeps a verdict from pass, with or without a rule."
    )
    for family, group in groupby(sorted(current, key=lambda r: (r.path.partition("/")[0], r.id)), _family):
        yield from ("", f"## {family}")
        for rule in group:
            yield from _rule(rule)
    yield from ("", "## Trust entries", "")
    yield "Reviewed names, per framework. An entry covers a name in certain forms of call with certain arguments only."
    yield from ("", "| Framework | Packages | Review |", "|---|---|---|")
    for file in sorted(Trust(rules_directory() / "trust").files(), key=lambda file: file.framework):
        reviewed = " ".join(file.reviewed.split()).replace("|", "\\|")
        yield f"| {file.framework} | {', '.join(f'`{name}`' for name in file.packages)} | {reviewed} |"


def _family(rule: Rule) -> str:
    return rule.path.partition("/")[0]


def _rule(rule: Rule) -> Iterator[str]:
    references = rule.references
    yield from ("", f"### {rule.id}: {rule.title}", "", f"Severity: **{rule.severity}**", "")
    yield " ".join(rule.description.split())
    yield ""
    yield f"*Fix:* {' '.join(rule.remediation.split())}"
    names = sum(len(found) for found in rule.match.names.values())
    matches = [f"{names} names and patterns in {len(rule.match.names)} modules"] if names else []
    matches += [f"{kind} {', '.join(f'`{s}`' for s in subjects)}" for kind, subjects in rule.match.facts.items()]
    yield from ("", f"Matches: {'; '.join(matches)}.")
    links = [f"[CWE-{cwe}](https://cwe.mitre.org/data/definitions/{cwe}.html)" for cwe in references.cwe]
    links += [*references.atlas, *references.owasp, *references.advisories, *(f"<{url}>" for url in references.urls)]
    if links:
        yield from ("", f"References: {', '.join(links)}.")


def cli() -> Iterator[str]:
    """Yield the help of every command."""
    yield "# Command line"
    yield from ("", "Exit statuses are explained in [exit-codes.md](exit-codes.md), limits in [limits.md](limits.md).")
    yield from _help(weighbridge, "weighbridge", None)


def _help(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(
        command, info_name=name.rpartition(" ")[2], parent=parent, terminal_width=WIDTH, help_option_names=HELP_OPTIONS
    )
    yield from ("", f"## {name}", "", "```text")
    yield from command.get_help(context).splitlines()
    yield "```"
    if isinstance(command, click.Group):
        for subcommand in command.list_commands(context):
            found = command.get_command(context, subcommand)
            if found is not None:
                yield from _help(found, f"{name} {subcommand}", context)


def formats() -> Iterator[str]:
    """Yield the table of formats."""
    yield "# Formats"
    yield ""
    yield (
        "A format is found by content, never by a file's name. When several recognise the same bytes, all of them "
        "parse, and that is an anomaly. Bytes that none recognises are a gap, so the verdict is not pass."
    )
    yield from ("", "| Name | What it is |", "|---|---|")
    for name, title in [*((one.name, one.title) for one in FORMATS), *VARIANTS.items()]:
        yield f"| `{name}` | {title} |"
    yield ""
    yield "Members of archives and of compressed streams are examined the same way, down to `--max-depth`."


def limits() -> Iterator[str]:
    """Yield the table of limits."""
    yield "# Limits"
    yield ""
    yield (
        "Every limit counts for one file. One that is hit leaves a gap that names the option to raise, so the verdict "
        "is not pass; what was found before stays."
    )
    yield from ("", "| Option | Default | Counts |", "|---|---|---|")
    for limit in fields(Limits):
        default = f"{limit.default:,}".replace(",", " ") if isinstance(limit.default, int) else f"{limit.default:g}"
        yield f"| `--{limit.name.replace('_', '-')}` | {default} | {limit.metadata['help']} |"


PAGES: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "rules.md": rules,
    "cli.md": cli,
    "formats.md": formats,
    "limits.md": limits,
}


def page(name: str) -> str:
    """Return the text of a generated page."""
    return "".join(f"{line}\n" for line in (NOTE, "", *(line.rstrip() for line in PAGES[name]())))


def readme() -> str:
    """Return the README with the digest of the rules as they are in what it shows of reports."""
    digest = RuleSet.load(rules_directory()).digest
    return re.sub(r"\brules [0-9a-f]{12}\b", f"rules {digest.value[:12]}", README.read_text(encoding="utf-8"))


def main() -> None:
    """Write every generated page."""
    README.write_text(readme(), encoding="utf-8")
    for name in PAGES:
        (FOLDER / name).write_text(page(name), encoding="utf-8")


if __name__ == "__main__":
    main()
