"""JUnit reports: what a reader of them makes of a campaign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from simulator.campaign.results import Results
from simulator.measures import Verdict
from simulator.report.campaign_junit import MOST_PLANS, junit_text
from tests.campaign.commands import TINY, run
from tests.campaign.test_comparison import KEY, outcome

ODD = "a \x1b[31mred\x00 word, <tag> & \ud800 \uffff end"


def report(
    tmp_path: Path, outcomes: list[object], required: tuple[str, ...] = ()
) -> ElementTree.Element:
    results = Results(tmp_path / "r.db", KEY)
    results.add(outcomes)  # type: ignore[arg-type]
    frame, failures = results.frame(), list(results.failures())
    results.close()
    text = junit_text(ODD, frame, failures, {"reconnected": 1}, required, Path("my r.db"))
    return ElementTree.fromstring(text.encode())


def suite_of(root: ElementTree.Element) -> ElementTree.Element:
    """The one suite, after counting its cases as a reader does."""
    assert root.tag == "testsuites"
    [suite] = root.findall("testsuite")
    cases = suite.findall("testcase")
    assert suite.get("tests") == str(len(cases))
    for tag, name in (("failure", "failures"), ("error", "errors")):
        assert suite.get(name) == str(sum(case.find(tag) is not None for case in cases))
    assert all(float(case.get("time", "x")) >= 0 for case in cases)
    named = [(case.get("classname"), case.get("name")) for case in cases]
    assert len(set(named)) == len(named)
    return suite


def test_each_kind_and_verdict_has_a_case_and_each_failure_its_own(tmp_path: Path) -> None:
    broken = outcome(
        1, happened=("pause",), verdict=Verdict.SAFETY, reasons=(ODD,), plan="format = 1\n"
    )
    dead = outcome(2, verdict=Verdict.INCONCLUSIVE, reasons=("no end",), plan="format = 1\n")
    suite = suite_of(report(tmp_path, [outcome(0, happened=("pause",)), broken, dead]))
    cases = {(case.get("classname", ""), case.get("name")): case for case in suite}
    by_name = {(name.rpartition(".")[2], case): each for (name, case), each in cases.items()}
    assert by_name["pause", "no plan ends: safety"].find("failure").get("message") == (
        "1 of 2 plans with this fault; numbers 1"
    )
    assert by_name["pause", "no plan ends: liveness"].find("failure") is None
    assert by_name["none", "no plan ends: inconclusive"].find("error") is not None
    failure = by_name["plans", "plan 1"].find("failure")
    assert "simulator replay 'my r.db' --number 1" in failure.text
    assert "\\x1b[31mred\\x00 word, <tag> & " in failure.get("message")
    assert by_name["plans", "plan 2"].find("error") is not None
    assert ("plans", "plan 0") not in by_name


def test_demanded_marks_have_cases(tmp_path: Path) -> None:
    suite = suite_of(report(tmp_path, [outcome(0)], ("reconnected", "taken_over")))
    marks = {c.get("name"): c for c in suite if c.get("classname", "").endswith(".marks")}
    assert marks["reconnected"].find("failure") is None
    assert marks["taken_over"].find("failure").get("message") == "reached by none of 1 plans"


def test_very_many_failures_are_cut_and_counted(tmp_path: Path) -> None:
    failed = replace(outcome(0), verdict=Verdict.SAFETY, reasons=("x",), plan="p")
    suite = suite_of(report(tmp_path, [replace(failed, number=n) for n in range(MOST_PLANS + 7)]))
    plans = [case for case in suite if case.get("classname", "").endswith(".plans")]
    assert len(plans) == MOST_PLANS
    assert suite.findtext("system-out", "").startswith("7 more failing plans")


def test_a_campaign_writes_one_and_refuses_a_wrong_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database, target = tmp_path / "r.db", tmp_path / "junit.xml"
    arguments = ("campaign", TINY, "--plans", 6, "--workers", 1, "--results", database)
    done = run(capsys, *arguments, "--junit", target, "--failures", tmp_path / "f")
    assert done.code == 0
    assert suite_of(ElementTree.parse(target).getroot()).get("failures") == "0"
    for wrong in ("/nowhere/x.xml", database, "-", TINY):
        refused = run(capsys, *arguments, "--resume", "--junit", wrong)
        assert refused.code == 64 and "--junit" in refused.errors
