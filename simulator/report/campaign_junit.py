"""A campaign as a JUnit report, in the form of ``pytest --junitxml``, for whatever shows those.

A test case for each of a hundred thousand plans would tell nobody anything.  There is one for each
kind of fault that happened and each verdict that would be a failure, one for each demanded mark,
and one for each plan that somebody has to look at, with the line that runs it again.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import pandas as pd

from simulator.campaign.job import PlanOutcome
from simulator.campaign.summary import NO_FAULT
from simulator.measures import Verdict

MOST_PLANS: Final = 1_000
"""So many failing plans have a test case of their own; the results have all."""
_CLASSES: Final = (Verdict.SAFETY, Verdict.LIVENESS, Verdict.OBJECTIVE, Verdict.INCONCLUSIVE)
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write."""


def junit_text(
    scenario: str,
    frame: pd.DataFrame,
    failures: Iterable[PlanOutcome],
    marks: Mapping[str, int],
    required: Sequence[str],
    results: Path,
) -> str:
    """The report.

    Arguments
    ---------
    scenario: its name.
    frame: as :meth:`Results.frame` gives it.
    failures: plans to be looked at.
    marks: in how many plans each was reached.
    required: marks that the campaign demanded.
    results: the file, for the lines that run a plan again.
    """
    suites = Element("testsuites", {"name": "simulator campaign"})
    suite = SubElement(suites, "testsuite", {"name": f"simulator campaign {_clean(scenario)}"})
    name = f"campaign.{_clean(scenario)}"
    _kinds(suite, name, frame)
    for mark in required:
        case = _case(suite, f"{name}.marks", mark)
        if not marks.get(mark):
            SubElement(case, "failure", {"message": f"reached by none of {len(frame)} plans"})
    left_out = 0
    for number, outcome in enumerate(failures):
        if number < MOST_PLANS:
            _plan(suite, name, outcome, results)
        else:
            left_out += 1
    if left_out:
        SubElement(suite, "system-out").text = f"{left_out} more failing plans are in {results}"
    cases = suite.findall("testcase")
    suite.attrib |= {
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "skipped": "0",
        "tests": str(len(cases)),
        "time": f"{float(frame['wall_seconds'].sum()):.3f}",
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    indent(suites)
    return tostring(suites, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="utf-8"?>\n', "\n")
    )


def _kinds(suite: Element, name: str, frame: pd.DataFrame) -> None:
    """One case for each kind of fault that happened and each verdict that is a failure."""
    kinds = sorted({kind for happened in frame["happened"] for kind in happened})
    for kind in (NO_FAULT, *kinds):
        chosen = [not each if kind == NO_FAULT else kind in each for each in frame["happened"]]
        group = frame[pd.Series(chosen, index=frame.index, dtype=bool)]
        if group.empty:
            continue
        for verdict in _CLASSES:
            case = _case(
                suite,
                f"{name}.{kind}",
                f"no plan ends: {verdict.value}",
                group["wall_seconds"].sum(),
            )
            bad = group[(group["verdict"] == verdict.value) & (group["plan"] != "")]
            if len(bad):
                first = ", ".join(str(number) for number in bad["number"][:10])
                tag = "error" if verdict is Verdict.INCONCLUSIVE else "failure"
                message = f"{len(bad)} of {len(group)} plans with this fault; numbers {first}"
                SubElement(case, tag, {"message": message})


def _plan(suite: Element, name: str, outcome: PlanOutcome, results: Path) -> None:
    case = _case(suite, f"{name}.plans", f"plan {outcome.number}", outcome.wall_seconds)
    tag = "error" if outcome.verdict is Verdict.INCONCLUSIVE else "failure"
    reason = outcome.reasons[0] if outcome.reasons else ""
    found = SubElement(case, tag, {"message": _clean(f"{outcome.verdict.value}: {reason}")})
    lines = [*outcome.reasons, "", "run it again:", f"  {replay_line(results, outcome.number)}"]
    found.text = _clean("\n".join([*lines, "", outcome.plan]))


def replay_line(results: Path, number: int) -> str:
    """The command that runs a plan of a campaign again."""
    return shlex.join(["simulator", "replay", str(results), "--number", str(number)])


def _case(suite: Element, classname: str, name: str, seconds: float = 0.0) -> Element:
    attributes = {"classname": classname, "name": name, "time": f"{float(seconds):.3f}"}
    return SubElement(suite, "testcase", attributes)


def _clean(text: str) -> str:
    """With control characters written out: no XML can hold them."""
    return _FORBIDDEN.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
