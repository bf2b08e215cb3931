"""`weighbridge rules`: list, show and test the rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

import click

from weighbridge.cli.options import FOLDER, load_rules, rules_option
from weighbridge.cli.output import emit
from weighbridge.desk import Desk
from weighbridge.errors import UsageError
from weighbridge.judgement import Judgement, prove
from weighbridge.limits import Limits
from weighbridge.location import printable
from weighbridge.pipeline import look
from weighbridge.report.base import counted
from weighbridge.rules import Rule, rules_directory


@click.group()
def rules() -> None:
    """List, show and test the rules.

    \b
    Examples:
      weighbridge rules list
      weighbridge rules show PKL001
      weighbridge rules test
    """


@rules.command("list")
@rules_option
def list_(rules_folder: str | None) -> None:
    """List every rule: id, severity, title.

    \b
    Example:
      weighbridge rules list
    """
    loaded, _ = load_rules(rules_folder)
    emit(f"{rule.id}  {rule.severity:<8}  {rule.title}" for rule in loaded.rules if not rule.retired)


@rules.command()
@click.argument("rule_id", metavar="ID")
@rules_option
def show(rule_id: str, rules_folder: str | None) -> None:
    """Show what rule ID means, what it matches and how to mend what it finds.

    \b
    Example:
      weighbridge rules show PKL001
    """
    loaded, _ = load_rules(rules_folder)
    for rule in loaded.rules:
        if rule.id == rule_id.upper():
            emit(_page(rule))
            return
    raise UsageError(f"{printable(rule_id)}: no such rule; `weighbridge rules list` names them")


@rules.command()
@click.option(
    "--fixtures", type=FOLDER, metavar="FOLDER", help="Where the examples lie.  [default: those of the source tree]"
)
@rules_option
def test(fixtures: str | None, rules_folder: str | None) -> int:
    """Scan the examples that every rule names: it must report some and must not report others.

    Rules and trust entries are read as strictly as they can be: a wrong one is told with its line and column.

    Exit status: 0 when every example holds, 1 otherwise, 2 when a rule or a trust entry is wrong.

    \b
    Example:
      weighbridge rules test --rules my-rules/ --fixtures my-fixtures/
    """
    loaded, trust = load_rules(rules_folder)
    folder = Path(fixtures) if fixtures else rules_directory().parent / "fixtures"
    if not folder.is_dir():
        raise UsageError("the examples are not installed; name their folder with --fixtures")
    packages = sum(len(file.packages) for file in trust.files())  # a scan reads those alone that it needs
    desk = Desk(rules=loaded, trust=trust, limits=Limits(), digest=False)

    def examine(fixture: str) -> Judgement:
        return look(str(folder / fixture), desk)

    wrong = [sentence for rule in loaded.rules if not rule.retired for sentence in prove(rule, examine)]
    held = f"{counted(len(loaded.rules), 'rule')}, trust entries for {counted(packages, 'package')}: all hold"
    emit(wrong or [held])
    return 1 if wrong else 0


def _page(rule: Rule) -> Iterator[str]:
    yield f"{rule.id}  {rule.title}"
    yield f"severity: {rule.severity}"
    yield ""
    yield from wrap(" ".join(rule.description.split()), 100)
    yield ""
    yield from wrap(f"Fix: {' '.join(rule.remediation.split())}", 100)
    yield ""
    for kind, patterns in sorted(rule.match.facts.items()):
        yield f"matches {kind}: {' '.join(patterns)}"
    for module, names in sorted(rule.match.names.items()):
        yield from wrap(f"matches {module}: {' '.join(names)}", 100, subsequent_indent="  ", break_on_hyphens=False)
    references = rule.references
    weaknesses = (f"CWE-{number}" for number in references.cwe)
    further = [*weaknesses, *references.atlas, *references.owasp, *references.advisories, *references.urls]
    if further:
        yield ""
        yield from wrap(f"See: {', '.join(further)}", 100, break_on_hyphens=False)
