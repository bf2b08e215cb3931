"""The documentation is current: generated pages, the README's example, and every link between pages."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from weighbridge.cli.group import run

TREE = Path(__file__).resolve().parent.parent
PAGES = [*TREE.glob("*.md"), *(TREE / "docs").glob("*.md")]


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


def examples() -> list[tuple[str, str]]:
    """Return the commands that the README shows and what it says they print."""
    text = (TREE / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```console\n\$ (.*)\n((?:.*\n)*?)```", text)


@pytest.mark.parametrize(("command", "shown"), examples())
def test_the_readme_shows_what_the_command_prints(
    command: str, shown: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.chdir(TREE)
    run(shlex.split(command)[1:])
    printed = capfdbinary.readouterr().out.decode()
    assert _without_digest(printed) == _without_digest(shown)


def _without_digest(text: str) -> str:
    """The digest of the rules changes with every rule."""
    return re.sub(r"rules [0-9a-f]{12}", "rules", text)


def test_the_readme_has_examples() -> None:
    assert len(examples()) == 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
