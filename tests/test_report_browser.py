"""The HTML report in a browser: no error in its console, no request, nothing run. Skipped where no Chromium is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from test_report import detail, everything, render
from test_report_formats import HOSTILE, hostile

from weighbridge.policy import Verdict
from weighbridge.records import replace

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

# A browser that finds no name in the network, so that what it does on its own account goes nowhere.
QUIET = (
    *"--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking".split(),
    *"--disable-component-update --disable-sync --disable-default-apps --disable-extensions".split(),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    *"--enable-logging=stderr --v=0 --hide-scrollbars --window-size=1200,3000".split(),
)


class Visit:
    """What a browser made of a page: the document, what stands in the console, and the addresses it asked for."""

    def __init__(self, page: str, folder: Path, *more: str) -> None:
        file, log = folder / "report.html", folder / "net.json"
        file.write_text(page, encoding="utf-8")
        command = [
            str(CHROMIUM),
            *QUIET,
            *more,
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={log}",
            "--dump-dom",
            file.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        self.dom = done.stdout
        self.console = re.findall(r"CONSOLE.*?\] (.*)", done.stderr)
        self.requests = set(_asked(json.loads(log.read_text(encoding="utf-8"))))


def _asked(log: Any) -> Iterator[str]:
    """Yield the addresses that a page asks for, out of the browser's own record of the network.

    What the browser asks for by itself has no origin; the origin of a file is `null`.
    """
    for event in log["events"]:
        values = event.get("params", {})
        if values.get("initiator", "not an origin") != "not an origin" and not values["url"].startswith("data:"):
            yield values["url"]


class Elements(HTMLParser):
    """The names of the elements of a document."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")], attrs


def worst() -> Verdict:
    """Return a verdict in which files say everything hostile at once."""
    said = "".join(HOSTILE)
    verdict = hostile(said)
    return replace(verdict, files=tuple(replace(file, detail=detail(said, said)) for file in verdict.files))


@pytest.mark.parametrize("verdict", [everything(), worst()], ids=["everything", "hostile"])
def test_the_page_asks_for_nothing_runs_nothing_and_complains_of_nothing(verdict: Verdict, tmp_path: Path) -> None:
    visit = Visit(render("html", verdict), tmp_path)
    assert "<h1>" in visit.dom
    assert visit.console == []
    assert visit.requests == set()
    assert not Elements(visit.dom).tags & {"script", "img", "iframe", "object", "embed", "form", "base"}


def test_what_a_page_does_is_noticed(tmp_path: Path) -> None:
    page = render("html", everything())
    tampered = page.replace("<main", "<script>document.title = 'owned'</script><main")
    visit = Visit(tampered, tmp_path)
    assert any("Content Security Policy" in line for line in visit.console)
    assert "<title>owned" not in visit.dom
    open_ = re.sub("<meta http-equiv=[^>]*>", "", page).replace("<main", "<img src='http://127.0.0.1:9/x'><main")
    (tmp_path / "open").mkdir()
    assert Visit(open_, tmp_path / "open").requests == {"http://127.0.0.1:9/x"}


def test_the_page_prints(tmp_path: Path) -> None:
    pdf = tmp_path / "report.pdf"
    (tmp_path / "page.html").write_text(render("html", everything()), encoding="utf-8")
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={pdf}"]
    subprocess.run([*command, (tmp_path / "page.html").as_uri()], capture_output=True, check=True, timeout=120)
    assert pdf.read_bytes().startswith(b"%PDF-")
