"""The documentation is current: generated pages, the README's example, and every link between pages."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import click
import pytest

from weighbridge.cli.group import run, weighbridge
from weighbridge.trust_files import read

TREE = Path(__file__).resolve().parent.parent
PAGES = [*TREE.glob("*.md"), *(TREE / "docs").glob("*.md")]
# What else calls the command.
SCRIPTS = [
    *(TREE / "deploy").glob("*/*"),
    *(TREE / "templates").iterdir(),
    *(TREE / name for name in ("Dockerfile", "Makefile", ".pre-commit-hooks.yaml")),
]


def generator() -> ModuleType:
    """Return docs/generate.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("generate", TREE / "docs/generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", list(generator().PAGES))
def test_generated_pages_are_current(name: str) -> None:
    page = (TREE / "docs" / name).read_text(encoding="utf-8")
    assert page == generator().page(name), "`make docs` writes it again"


def sessions(text: str) -> list[tuple[str, str]]:
    """Return the commands of a text and what follows each, without empty lines at the end."""
    found = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
    return [(command, output.rstrip("\n")) for command, output in found]


def examples(*, gate: bool) -> list[tuple[str, str]]:
    """Return the commands that the README shows and what it says they print: those of `make gate`, or the others."""
    blocks = re.findall(r"```console\n(.*?)```", (TREE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return [one for one in sessions("".join(blocks)) if one[0].startswith("weighbridge gate ") == gate]


@pytest.mark.parametrize(("command", "shown"), examples(gate=False))
def test_the_readme_shows_what_the_command_prints(
    command: str, shown: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.chdir(TREE)
    run(shlex.split(command)[1:])
    printed = capfdbinary.readouterr().out.decode().rstrip("\n")
    assert _on_any_day(printed) == _on_any_day(shown)


@pytest.mark.skipif(not examples(gate=True), reason="the README shows no gate")
def test_the_readme_shows_what_make_gate_prints() -> None:
    command = [sys.executable, "-m", "fixtures.demo", str(Path(sysconfig.get_path("scripts"), "weighbridge"))]
    done = subprocess.run(command, cwd=TREE, capture_output=True, encoding="utf-8", check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    printed = [(command, _on_any_day(output)) for command, output in sessions(done.stdout)]
    assert [(command, _on_any_day(shown)) for command, shown in examples(gate=True)] == printed


def _on_any_day(text: str) -> str:
    """Leave out what changes from day to day, and the digest of the rules, which has a test of its own."""
    return re.sub(r"\b\d{4}-\d\d-\d\d\b", "DATE", re.sub(r"rules [0-9a-f]{12}", "rules", text))


def test_the_readme_has_the_digest_of_the_rules_as_they_are() -> None:
    assert (TREE / "README.md").read_text(encoding="utf-8") == generator().readme(), "`make docs` writes it again"


def test_the_readme_has_examples() -> None:
    assert examples(gate=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def calls(text: str) -> list[tuple[click.Command, set[str]]]:
    """Return the commands that a text names after the program's name, each with the options that it gives them."""
    found = []
    for line in re.findall(r"\bweighbridge ((?:[a-z-]+ ?)[^`#|\n]*)", text.replace("\\\n", " ")):
        words = line.partition(" -- ")[0].split()
        command: click.Command | None = weighbridge
        context = click.Context(weighbridge)
        while isinstance(command, click.Group) and words and (inner := command.get_command(context, words[0])):
            command, words = inner, words[1:]
        if command is not None and command is not weighbridge:
            found.append((command, {word.strip("[]();:,.\"'") for word in words if re.match(r"[\[(]?--[a-z]", word)}))
    return found


@pytest.mark.parametrize("page", [*PAGES, *SCRIPTS], ids=lambda page: page.name)
def test_commands_that_are_shown_have_the_options_that_they_are_shown_with(page: Path) -> None:
    for command, given in calls(page.read_text(encoding="utf-8")):
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        wrong = {one for one in given if one.partition("=")[0] not in {*known, "--help"}}
        assert not wrong, f"{command.name} {wrong}"


def test_options_that_there_are_not_are_found() -> None:
    (found,) = calls("run `weighbridge key init release.pem --encryptt` now")
    assert (found[0].name, found[1]) == ("init", {"--encryptt"})


def test_the_trust_entries_that_are_shown_are_some() -> None:
    (shown,) = re.findall(r"```yaml\n(framework: .*?)```", (TREE / "docs/policy.md").read_text("utf-8"), re.DOTALL)
    file = read(shown, "ours.yaml")
    assert (file.packages, file.entries["ours.models.Config"].storable) == (("ours",), True)
