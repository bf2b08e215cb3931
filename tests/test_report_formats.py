"""Reports for other programs: what their schemas ask for, and that nothing from a file is taken for a command."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from test_report import DIGEST, ODD, PICKLE, PROCESS, everything, examined, observed, passing, render, unmet, weigh

from weighbridge.facts import Anomaly, Gap, Observed
from weighbridge.judgement import Finding, Judgement, Unknown
from weighbridge.location import Location, printable
from weighbridge.policy import Outcome, Triage, Verdict, Waiver, refuse
from weighbridge.records import replace
from weighbridge.remote import TRIAGE
from weighbridge.report import FORMATS
from weighbridge.report.base import Style
from weighbridge.report.github import SHOWN
from weighbridge.rules import Severity

SCHEMAS = Path(__file__).parent / "schemas"
BEGAN = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
TIMES = Style(began=BEGAN, ended=datetime(2026, 1, 31, 12, 0, 7, tzinfo=UTC))

# What a file can be called or say that would be markup, a command or a field somewhere.
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "::error::owned",
    "a\n::set-output name=x::y",
    "a\r\n##[error]owned",
    "100%25,title=x:y::z",
    "`*_[x](javascript:alert(1))_*`|x|",
    "</code></details> | a | b |",
    "@everyone #1 www.evil.example https://evil.example a@evil.example",
    "\x1b[31m\u202eevil\u2066\u2028",
    "]]><!-- &lt; &#60; -->",
    "{{7*7}}${{ secrets.X }}",
)


def hostile(text: str) -> Verdict:
    """Return a verdict in which a file says a text everywhere it can."""
    place = Location((text.replace("\0", "") or "x", text))
    fact = Observed(location=place, kind="call", name=text, expression=text, form="REDUCE", spelled=text)
    judgement = Judgement(
        findings=(Finding(rule=PROCESS, fact=fact), Finding(rule=ODD, fact=fact)),
        unknowns=(Unknown(fact=fact, reason=text),),
        gaps=(Gap(location=place, reason=text),),
    )
    reason = text if text.strip() else "x"
    waiver = Waiver(rule="TST002", digest=str(DIGEST), reason=reason, approver=reason, expires=date(2026, 7, 1))
    verdict = weigh(examined(place.path[0], judgement, parsed=1), waivers=(waiver,))
    return replace(refuse(verdict, unmet(text, text)[:1]), source=text, excluded=(text,))


def without_files() -> Verdict:
    return weigh()


def triaged() -> Verdict:
    """Return the verdict on a model of which only parts were fetched and in which nothing was found."""
    gap = Gap(location=Location(("a.pt",)), reason="not fetched", size=1, limit=TRIAGE)
    verdict = weigh(examined("a.pt", Judgement(gaps=(gap,)), parsed=1, unexamined=1))
    return replace(verdict, triage=Triage(fetched=1, size=2, requests=1))


VERDICTS = {
    "everything": everything(),
    "passing": passing(),
    "no file": without_files(),
    "triaged": triaged(),
    "refused": refuse(passing(), unmet()),
    "refused early": refuse(without_files(), unmet()),
    **{f"hostile {number}": hostile(text) for number, text in enumerate(HOSTILE)},
}
each_verdict = pytest.mark.parametrize("verdict", VERDICTS.values(), ids=VERDICTS)


def document(name: str, verdict: Verdict) -> Any:
    return json.loads("\n".join(FORMATS[name]()(verdict, TIMES)))


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("sarif", "sarif-2.1.0.json"),
        ("gitlab-sast", "gitlab-sast.json"),
        ("gitlab-codequality", "gitlab-codequality.json"),
        ("openvex", "openvex-0.2.0.json"),
    ],
)
@each_verdict
def test_a_document_keeps_to_its_schema(name: str, schema: str, verdict: Verdict) -> None:
    rules = json.loads((SCHEMAS / schema).read_text(encoding="utf-8"))
    checker = jsonschema.Draft202012Validator(rules, format_checker=jsonschema.FormatChecker())
    checker.check_schema(rules)
    checker.validate(document(name, verdict))


@each_verdict
def test_junit_keeps_to_the_schema_and_counts_what_it_holds(verdict: Verdict) -> None:
    text = render("junit", verdict)
    xmlschema.XMLSchema(str(SCHEMAS / "junit-10.xsd")).validate(text)
    suites = ElementTree.fromstring(text)
    cases = list(suites.iter("testcase"))
    assert cases
    assert int(suites.attrib["tests"]) == len(cases)
    assert int(suites.attrib["failures"]) == len(list(suites.iter("failure")))
    assert int(suites.attrib["errors"]) == len(list(suites.iter("error")))
    for suite in suites.iter("testsuite"):
        assert int(suite.attrib["skipped"]) == len(list(suite.iter("skipped")))
    red = bool(list(suites.iter("failure")) or list(suites.iter("error")))
    assert red == (verdict.outcome is not Outcome.PASS)


def test_junit_tells_failures_doubts_and_waivers_apart() -> None:
    suites = ElementTree.fromstring(render("junit", everything()))
    found = {case.attrib["name"]: [child.tag for child in case] for case in suites.iter("testcase")}
    assert found["TST001: Pickle starts a process"] == ["failure"]
    assert found["TST002: Archive is read in two ways"] == ["system-out"]
    assert found["SIG_MISSING: A required signature is missing"] == ["failure"]
    assert found["signed by the lab (release@lab.example, issuer https://accounts.example): 1 file"] == []
    assert found["UNK001: Loading the file uses a name that nobody has reviewed"] == ["error"]
    assert found["GAP001: Bytes of the file were not understood"] == ["error"]
    assert found["TST002: Archive is read in two ways (waived)"] == ["skipped"]
    assert found["loading does nothing that the policy refuses"] == []


def test_gitlab_is_told_when_the_scan_was() -> None:
    scan = document("gitlab-sast", passing())["scan"]
    assert (scan["start_time"], scan["end_time"]) == ("2026-01-31T12:00:00", "2026-01-31T12:00:07")


@pytest.mark.parametrize("name", ["gitlab-sast", "gitlab-codequality"])
def test_gitlab_is_told_of_gaps_and_unknowns_and_not_of_what_is_waived(name: str) -> None:
    found = document(name, everything())
    if name == "gitlab-sast":
        rules = [one["identifiers"][0]["value"] for one in found["vulnerabilities"]]
        keys = [one["id"] for one in found["vulnerabilities"]]
        assert "waived: TST002 at b@0x0" in "".join(one["value"] for one in found["scan"]["messages"])
    else:
        rules, keys = [one["check_name"] for one in found], [one["fingerprint"] for one in found]
    assert rules[:3] == ["SIG_MISSING", "FORMAT", "FORMAT"]
    assert rules[3:] == ["TST001", "TST001", "TST002", "UNK001", "GAP001", "GAP001"]
    assert len(set(keys)) == len(keys)


def test_gitlab_names_a_finding_by_its_rule_and_weaknesses_alone() -> None:
    found = document("gitlab-sast", everything())["vulnerabilities"][3]
    assert [one["type"] for one in found["identifiers"]] == ["weighbridge_rule", "cwe", "cwe"]
    assert found["links"] == [{"name": "CVE-2025-1716", "url": "https://nvd.nist.gov/vuln/detail/CVE-2025-1716"}]
    assert found["severity"] == "Critical"


@pytest.mark.parametrize("name", ["gitlab-sast", "gitlab-codequality"])
def test_gitlab_paths_are_relative_to_the_project(name: str) -> None:
    finding = Finding(rule=PROCESS, fact=replace(observed(1, "x", "x()"), location=Location(("./models/a.pt",))))
    text = render(name, weigh(examined("./models/a.pt", Judgement(findings=(finding,)), parsed=1)))
    assert '"models/a.pt"' in text


def test_fingerprints_for_gitlab_outlive_a_shift_of_offsets() -> None:
    def prints(offset: int) -> list[str]:
        finding = Finding(rule=PROCESS, fact=observed(offset, "os.system", "os.system('x')"))
        verdict = weigh(examined("a.pt", Judgement(findings=(finding,)), parsed=1))
        return [
            document("gitlab-codequality", verdict)[0]["fingerprint"],
            document("gitlab-sast", verdict)["vulnerabilities"][0]["id"],
        ]

    assert prints(1) == prints(100)


def test_a_waiver_is_a_statement_of_openvex_in_its_approvers_words() -> None:
    statements = document("openvex", everything())["statements"]
    (waived,) = [one for one in statements if one["status"] == "not_affected"]
    assert waived["vulnerability"]["name"] == "TST002"
    assert waived["products"][0]["hashes"] == {"sha-256": DIGEST.value}
    assert waived["impact_statement"] == "accepted by the team until 2026-07-01: known"
    assert [one["status"] for one in statements].count("affected") == 5
    assert {one["vulnerability"]["name"] for one in statements if one["status"] == "under_investigation"} == {
        "UNK001",
        "GAP001",
    }


def test_openvex_tells_what_is_required_of_the_model_by_its_name() -> None:
    statement, *_ = document("openvex", replace(refuse(passing(), unmet()), source="hf://lab/model@abc"))["statements"]
    assert statement["products"] == [{"@id": "hf://lab/model@abc"}]
    assert (statement["status"], statement["action_statement"]) == ("affected", "ask the lab to sign it")


def test_an_openvex_document_has_a_name_by_what_it_states_and_not_by_when() -> None:
    now, later = document("openvex", everything()), json.loads(render("openvex", everything()))
    assert now["@id"] == later["@id"] != document("openvex", passing())["@id"]
    assert (now["timestamp"], later["timestamp"]) == ("2026-01-31T12:00:07Z", "1970-01-01T00:00:00Z")
    assert document("openvex", passing())["statements"] == []


def test_a_waiver_is_a_suppression_of_sarif_with_its_particulars() -> None:
    results = document("sarif", everything())["runs"][0]["results"]
    (suppression,) = [one["suppressions"][0] for one in results if "suppressions" in one]
    assert suppression["kind"] == "external"
    assert suppression["properties"] == {"approver": "the team", "digest": str(DIGEST), "expires": "2026-07-01"}
    (invocation,) = document("sarif", everything())["runs"][0]["invocations"]
    assert "expired waiver: TST002" in invocation["toolConfigurationNotifications"][0]["message"]["text"]


COMMAND = re.compile(r"::(error|warning|notice) ((?:[a-z]+=[^:,\r\n]*)(?:,[a-z]+=[^:,\r\n]*)*)::([^\r\n]*)")


def told(verdict: Verdict, **style: bool) -> list[tuple[str, dict[str, str], str]]:
    """Return the annotations that GitHub would read out of a log."""
    found = []
    for line in render("github", verdict, **style).splitlines():
        match = COMMAND.fullmatch(line)
        assert match, line
        values = dict(part.split("=", 1) for part in match[2].split(","))
        found.append((match[1], {key: unescaped(value) for key, value in values.items()}, unescaped(match[3])))
    return found


def unescaped(text: str) -> str:
    """Undo what @actions/core does, as the runner does."""
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_from_a_file_becomes_a_workflow_command(text: str) -> None:
    found = told(hostile(text), verbose=True)
    assert [level for level, _, _ in found] == ["error"] * 5 + ["notice"]
    assert all(set(values) <= {"file", "line", "title"} for _, values, _ in found)
    assert {values["file"] for _, values, _ in found if "file" in values} == {printable(text).removeprefix("./")}


def test_annotations_are_few_and_the_worst_come_first() -> None:
    judgement = Judgement(
        findings=tuple(Finding(rule=PROCESS, fact=observed(n, "os.system", "os.system('x')")) for n in range(50))
    )
    many = weigh(*(examined(f"{n}.pt", judgement, parsed=1) for n in range(3)))
    assert len(told(many)) == 2  # the verdict, and one for the file that the findings are in
    spread = Judgement(
        findings=tuple(
            Finding(rule=PROCESS, fact=replace(observed(1, "x", "x()"), location=Location((f"{n}.pt",))))
            for n in range(50)
        )
    )
    verdict = weigh(examined("a", spread, parsed=1))
    errors = [message for level, _, message in told(verdict) if level == "error"]
    assert len(errors) == SHOWN
    assert errors[0] == "50 findings at or above high"
    assert errors[-1] == "… and 42 more errors; other reports have all"
    assert len(told(verdict, verbose=True)) == 51
    assert len(told(verdict, quiet=True)) == 1


@pytest.mark.parametrize(
    ("verdict", "level"), [(passing(), "notice"), (triaged(), "notice"), (without_files(), "error")]
)
def test_the_first_annotation_is_the_verdict(verdict: Verdict, level: str) -> None:
    first = told(verdict)[0]
    assert (first[0], first[1]) == (level, {"title": f"Weighbridge: {verdict.outcome.value}"})


class Shown(HTMLParser):
    """What a page shows and what it is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.codes: list[str] = []
        self._open = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not attrs or tag in ("th", "td"), (tag, attrs)
        if tag == "code":
            self.codes.append("")
            self._open += 1

    def handle_endtag(self, tag: str) -> None:
        self._open -= tag == "code"

    def handle_data(self, data: str) -> None:
        if self._open:
            self.codes[-1] += data


MARKDOWN = MarkdownIt("gfm-like", {"html": True, "linkify": False})
TAGS = {
    "h2",
    "h3",
    "p",
    "strong",
    "code",
    "ul",
    "li",
    "details",
    "summary",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}


@given(text=st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(codec=None), max_size=60)))
def test_nothing_from_a_file_is_markup_on_a_page_of_markdown(text: str) -> None:
    page = "\n".join(FORMATS["markdown"]()(hostile(text), Style()))
    shown = Shown(MARKDOWN.render(page))
    assert shown.tags == TAGS | {"sub"}
    if text.strip() == text and "  " not in text and text:
        assert shown.codes.count(printable(text)) >= 3


def test_a_page_of_markdown_fits_what_github_takes() -> None:
    many = tuple(Finding(rule=PROCESS, fact=observed(n, "x", "x" * 5000)) for n in range(5000))
    verdict = weigh(*(examined(f"{n}.pt", Judgement(findings=many[:1]), parsed=1) for n in range(2000)))
    assert len(render("markdown", replace(verdict, findings=many)).encode()) < 1 << 20
    assert render("markdown", passing(), quiet=True).count("\n") == 3


def test_severities_are_those_of_each_program() -> None:
    finding = {
        severity: Finding(rule=replace(PROCESS, severity=severity), fact=observed(1, "x", "x()"))
        for severity in Severity
    }
    for severity, gitlab, quality in (
        (Severity.CRITICAL, "Critical", "blocker"),
        (Severity.HIGH, "High", "critical"),
        (Severity.MEDIUM, "Medium", "major"),
        (Severity.LOW, "Low", "minor"),
    ):
        verdict = weigh(examined("a.pt", Judgement(findings=(finding[severity],)), parsed=1))
        assert document("gitlab-sast", verdict)["vulnerabilities"][0]["severity"] == gitlab
        assert document("gitlab-codequality", verdict)[0]["severity"] == quality


def test_an_anomaly_is_told_in_every_report() -> None:
    finding = Finding(rule=PROCESS, fact=Anomaly(location=PICKLE, code="zip-crc", detail="the CRC is wrong"))
    verdict = weigh(examined(PICKLE.path[0], Judgement(findings=(finding,)), parsed=1))
    for name in FORMATS:
        text = re.sub(r"&#(\d+);", lambda match: chr(int(match[1])), render(name, verdict))
        assert "the CRC is wrong" in text, name
