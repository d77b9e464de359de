"""A scenario under a plan: what it answers, and what it says that it has reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.measures import Verdict
from simulator.plans.plan import FaultPlan
from simulator.run import run_scenario
from simulator.scenario import load_scenario
from simulator.testing import PlannedRun
from simulator.testing.fault_documents import plan_from
from simulator.testing.reached import States

SCENARIO = load_scenario(Path(__file__).resolve().parents[2] / "scenarios/suites/small.toml")


def under(*faults: dict[str, Any], **more: Any) -> PlannedRun:
    return PlannedRun(SCENARIO, plan_from(faults, SCENARIO), **more)


def test_it_is_the_run_of_the_scenario_with_these_faults_and_runs_once() -> None:
    run = under({"kind": "process_crash", "host": "source", "at": "1s"})
    assert not run.has_run
    result = run.result
    assert run.has_run
    assert run.result is result
    plain = SCENARIO.model_copy(update={"faults": run.plan.faults, "fault_seed": run.plan.seed})
    assert result.trace_hash == run_scenario(plain).trace_hash
    assert (run.verdict, run.reasons, run.breaches) == ("pass", [], [])
    assert run.rpo_seconds == result.rpo_seconds
    assert (run.wire_bytes, run.spool_peak_bytes, run.resynchronizations) == (
        result.wire_bytes,
        result.spool_peak_bytes,
        result.resynchronizations,
    )
    other = run.with_plan(FaultPlan(format=1))
    assert not other.has_run
    assert other.result.faults == []


def test_what_it_has_reached_has_names() -> None:
    run = under(
        {"kind": "link_outage", "at": "1s", "duration": "1500ms"},
        {"kind": "disk_full", "host": "source", "volume": "spool", "at": "1s", "duration": "1s"},
        {"kind": "power_loss", "host": "replica", "at": "3s", "when": "apply"},
    )
    assert run.reached >= {
        "link_outage",
        "link_outage of link while disconnected",
        "disk_full of source",
        "spool_full",
        "capture_stopped",
        "power_loss of replica",
        "power_loss of replica while apply",
        "synchronizing",
        "synchronized",
    }
    assert "power_loss of source" not in run.reached
    assert "writer_held" not in run.reached
    run.reach("something of mine")
    assert "something of mine" in run.reached
    [stopped] = run.events("capture_stopped", "source")
    assert 1 <= stopped.seconds <= 2
    assert "full" in str(stopped.values[0])
    assert run.events("capture_stopped", "replica") == []
    assert run.resynchronizations == 1


def test_checks_can_be_asked_for_by_the_state_of_the_source() -> None:
    run = under({"kind": "link_outage", "at": "1s", "duration": "1s"})
    everything = run.checks("prefix")
    cut_off = run.checks("prefix", while_="disconnected")
    assert cut_off
    assert len(cut_off) < len(everything)
    assert all(1 <= check.at_seconds <= 2.6 for check in cut_off)
    assert run.checks("prefix", while_="fenced") == []


def test_catching_up_is_told_from_not_having_been_seen_to() -> None:
    assert under().catch_up_seconds == 0
    outage = under({"kind": "link_outage", "at": "1s", "duration": "2s"})
    assert outage.catch_up_seconds is not None
    assert 0 < outage.catch_up_seconds < 2
    lost = under(
        {"kind": "link_outage", "at": "1s", "duration": "2s"},
        {"kind": "loss", "host": "source", "at": "2s"},
    )
    assert lost.catch_up_seconds in (0, None)
    assert 0.4 < lost.rpo_seconds < 1.5
    assert lost.verdict == "pass"


def test_a_fault_without_occasion_is_no_breach() -> None:
    run = under({"kind": "power_loss", "host": "replica", "at": "3900ms", "when": "resynchronize"})
    assert run.result.verdict.value == "inconclusive"
    assert (run.verdict, run.breaches) == ("pass", [])


@pytest.mark.parametrize(("tolerated", "breached"), [((), True), (("safety",), False)])
def test_a_broken_promise_is_a_breach_unless_it_is_tolerated(
    tolerated: tuple[str, ...], breached: bool
) -> None:
    crash = {"kind": "process_crash", "host": "replica", "at": "2s"}
    run = under(crash, mutant="redo_after_restart", tolerated=tolerated)
    assert run.verdict == "safety"
    assert bool(run.breaches) == breached
    assert under(crash).verdict == "pass"


def test_states_over_time() -> None:
    states = States()
    for at_ns, word in ((10, "a"), (20, ""), (30, "b"), (30, "c")):
        states.note(at_ns, word)
    assert states.during(0, 9) == set()
    assert states.during(12, 12) == {"a"}
    assert states.during(21, 29) == set()
    assert states.during(15, 30) == {"a", "b", "c"}
    assert states.during(31, 99) == {"c"}


IDLE = {"kind": "power_loss", "host": "replica", "at": "1s", "when": "resynchronize"}
"""Has no occasion: nothing is synchronized anew here."""


def test_a_missed_objective_is_not_hidden_by_a_fault_that_had_no_occasion() -> None:
    """The run as a whole is inconclusive; who tolerates that still wants the objective."""
    strict = SCENARIO.objectives.model_copy(update={"spool_peak_bytes": 1})
    scenario = SCENARIO.model_copy(update={"objectives": strict})
    run = PlannedRun(scenario, plan_from([IDLE], scenario), tolerated=("inconclusive",))
    assert run.result.verdict.value == "inconclusive"
    assert len(run.result.never_happened) == 1
    assert run.verdict == "objective"
    [missed] = run.breaches
    assert missed.startswith("spool peak: ")


def test_a_reason_counts_that_only_has_the_words_of_a_fault_without_occasion() -> None:
    run = under(IDLE)
    assert run.verdict == "pass"
    run.result.reasons.insert(0, "prefix is broken: /store/never happened.edb is not there")
    run.result.verdict = Verdict.SAFETY
    assert run.verdict == "safety" and len(run.breaches) == 1
