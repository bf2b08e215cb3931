"""The verdict is a function of findings, unknowns, gaps, the policy and the day."""

from __future__ import annotations

from datetime import date
from itertools import product

import pytest

from weighbridge.digest import Digest
from weighbridge.documents import Words
from weighbridge.errors import DocumentError
from weighbridge.facts import Gap, Observed
from weighbridge.judgement import Finding, Judgement, Unknown
from weighbridge.location import Location
from weighbridge.policy import (
    Coverage,
    Examined,
    Outcome,
    Policy,
    Response,
    Verdict,
    Waiver,
    judge,
)
from weighbridge.policy_file import read_policy, shipped_policy
from weighbridge.rules import Examples, Match, Rule, Severity

TODAY = date(2026, 5, 1)
DIGEST = Digest("sha256", "a" * 64)
HERE = Location(("model.pkl",), 3)
FACT = Observed(location=HERE, kind="call", name="os.system", expression="os.system('id')", form="REDUCE")
GAP = Gap(location=HERE, reason="truncated")
UNKNOWN = Unknown(fact=FACT, reason="no trust entry")


def finding(severity: Severity) -> Finding:
    rule = Rule(
        id="PKL001",
        title="t",
        severity=severity,
        description="d",
        remediation="r",
        match=Match(names={"os": Words(("system",))}),
        examples=Examples(match=("a",), no_match=("b",)),
    )
    return Finding(rule=rule, fact=FACT)


def waiver(**changes: object) -> Waiver:
    values = {"rule": "PKL001", "digest": str(DIGEST), "reason": "r", "approver": "a", "expires": TODAY, **changes}
    return Waiver(**values)  # type: ignore[arg-type]


def verdict(judgement: Judgement, policy: Policy, *, digest: Digest | None = DIGEST, parsed: int = 10) -> Verdict:
    file = Examined(path="model.pkl", size=10, digest=digest, coverage=Coverage(parsed=parsed), judgement=judgement)
    return judge([file], policy, today=TODAY, rules_digest="sha256:r", version="1")


@pytest.mark.parametrize(("severity", "fail_at"), list(product(Severity, Severity)))
def test_a_finding_fails_from_the_severity_of_the_policy_on(severity: Severity, fail_at: Severity) -> None:
    result = verdict(Judgement(findings=(finding(severity),)), Policy(name="p", fail_at=fail_at))
    order = ["low", "medium", "high", "critical"]
    fails = order.index(severity) >= order.index(fail_at)
    assert result.outcome == (Outcome.FAIL if fails else Outcome.PASS)
    assert len(result.blocking) == fails
    assert len(result.findings) == 1


@pytest.mark.parametrize("response", list(Response))
def test_a_gap_never_passes(response: Response) -> None:
    policy = Policy(name="p", gaps=response, waivers=(waiver(rule="unknown"), waiver()))
    result = verdict(Judgement(gaps=(GAP,)), policy)
    assert result.outcome == Outcome(response)
    assert result.gaps == (GAP,)


@pytest.mark.parametrize("response", list(Response))
def test_an_unknown_passes_only_with_a_waiver(response: Response) -> None:
    judgement = Judgement(unknowns=(UNKNOWN,))
    assert verdict(judgement, Policy(name="p", unknown=response)).outcome == Outcome(response)
    waived = verdict(judgement, Policy(name="p", unknown=response, waivers=(waiver(rule="unknown"),)))
    assert waived.outcome == Outcome.PASS
    assert [one.item for one in waived.waived] == [UNKNOWN]


def test_nothing_to_judge_is_inconclusive() -> None:
    result = judge([], Policy(name="p"), today=TODAY, rules_digest="", version="1")
    assert result.outcome == Outcome.INCONCLUSIVE


def test_the_worst_file_decides() -> None:
    good = Examined(path="a", size=0, coverage=Coverage(), judgement=Judgement())
    unknown = Examined(path="b", size=0, coverage=Coverage(), judgement=Judgement(unknowns=(UNKNOWN,)))
    bad = Examined(path="c", size=0, coverage=Coverage(), judgement=Judgement(findings=(finding(Severity.HIGH),)))
    result = judge([bad, good, unknown], Policy(name="p"), today=TODAY, rules_digest="", version="1")
    assert result.outcome == Outcome.FAIL
    assert [(file.path, file.outcome) for file in result.files] == [("a", "pass"), ("b", "inconclusive"), ("c", "fail")]


@pytest.mark.parametrize("coverage", [Coverage(parsed=9), Coverage(parsed=9, unexamined=1), Coverage(inert=4)])
def test_bytes_without_an_account_never_pass(coverage: Coverage) -> None:
    file = Examined(path="model.pkl", size=10, coverage=coverage, judgement=Judgement())
    result = judge([file], Policy(name="p"), today=TODAY, rules_digest="", version="1")
    assert result.outcome == Outcome.INCONCLUSIVE
    assert result.gaps


@pytest.mark.parametrize(
    ("changes", "covers"),
    [
        ({}, True),
        ({"subject": "os.*"}, True),
        ({"subject": "sys.*"}, False),
        ({"rule": "PKL002"}, False),
        ({"rule": "unknown"}, False),
        ({"digest": "sha256:" + "b" * 64}, False),
        ({"expires": date(2026, 4, 30)}, False),
        ({"expires": date(2026, 10, 28)}, True),
        ({"expires": date(2026, 10, 29)}, False),  # 181 days
    ],
)
def test_a_waiver_accepts_one_rule_in_one_file_until_its_last_day(changes: dict[str, object], covers: bool) -> None:
    policy = Policy(name="p", waivers=(waiver(**changes),))
    result = verdict(Judgement(findings=(finding(Severity.CRITICAL),)), policy)
    assert result.outcome == (Outcome.PASS if covers else Outcome.FAIL)
    reason = "expired" if changes.get("expires") == date(2026, 4, 30) else "unused"
    assert [stale.reason for stale in result.stale] == ([] if covers else [reason])


def test_no_waiver_accepts_a_file_without_a_digest() -> None:
    policy = Policy(name="p", waivers=(waiver(),))
    result = verdict(Judgement(findings=(finding(Severity.CRITICAL),)), policy, digest=None)
    assert result.outcome == Outcome.FAIL
    assert len(result.stale) == 1


POLICY = f"""\
name: mine
fail_at: medium
unknown: fail
waivers:
  - rule: PKL001
    digest: {DIGEST}
    reason: reviewed by hand
    approver: model board
    expires: 2026-12-31
"""


def test_reads_a_policy() -> None:
    policy = read_policy(POLICY.encode(), "mine.yaml")
    assert (policy.fail_at, policy.unknown, policy.gaps) == (Severity.MEDIUM, Response.FAIL, Response.INCONCLUSIVE)
    assert policy.waivers[0].expires == date(2026, 12, 31)
    assert policy.digest == str(Digest.of(POLICY.encode()))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("reason: reviewed by hand", "reason: ' '", "mine.yaml:5:5: a waiver needs a reason"),
        ("approver: model board", "approver: ''", "mine.yaml:5:5: a waiver needs an approver"),
        ("rule: PKL001", "rule: gaps", "mine.yaml:5:5: 'gaps' is neither a rule id such as PKL001 nor 'unknown'"),
        (f"digest: {DIGEST}", "digest: abc", "mine.yaml:5:5: 'abc' is not a digest"),
        ("    expires: 2026-12-31\n", "", "mine.yaml:5:5: missing key 'expires'"),
        ("fail_at: medium", "fail_at: never", "mine.yaml:2:10: 'never' is not one of low, medium, high, critical"),
        ("unknown: fail", "unknown: pass", "mine.yaml:3:10: 'pass' is not one of inconclusive, fail"),
        ("name: mine", "name: mine\ndigest: x", "mine.yaml:2:1: unknown key 'digest'"),
    ],
)  # fmt: skip
def test_a_wrong_policy_is_refused_at_its_place(old: str, new: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_policy(POLICY.replace(old, new).encode(), "mine.yaml")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "fail_at", "response"),
    [("default", Severity.HIGH, Response.INCONCLUSIVE), ("strict", Severity.LOW, Response.FAIL)],
)
def test_the_shipped_policies(name: str, fail_at: Severity, response: Response) -> None:
    policy = shipped_policy(name)
    assert (policy.name, policy.fail_at, policy.unknown, policy.gaps) == (name, fail_at, response, response)
    assert policy.waivers == ()


def test_an_unknown_policy_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(DocumentError, match="did you mean 'strict'"):
        shipped_policy("strikt")
