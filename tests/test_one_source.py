"""One source: a replica takes over while its source lives, and the judge of what follows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.expectations import ONE_SOURCE
from simulator.judgement import Claim
from simulator.measures import (
    ORDERED_FAILOVER,
    WRITTEN_AFTERWARDS,
    Check,
    RunResult,
    Verdict,
)
from simulator.mutants import BY_PLAN, mutated
from simulator.objectives import catch_up
from simulator.one_source import fencing_bound_ns
from simulator.plans.draw import DEFAULT_WEIGHTS
from simulator.plans.plan import FaultPlan, wrong_with
from simulator.run import ScenarioRun, run_scenario
from simulator.scenario import BadScenario, load_scenario, parse_scenario
from simulator.systems.byte_level import PROGRAMS, REPLICA, SOURCE
from simulator.testing import strategies
from tests.test_faults import fault

ROOT = Path(__file__).resolve().parents[1]
SECOND_NS = 1_000_000_000
CAMPAIGN = load_scenario(ROOT / "scenarios/campaign.toml")
SMALL = (
    (ROOT / "scenarios/campaign.toml")
    .read_text(encoding="utf-8")
    .replace('duration = "4s"', 'duration = "20s"')
    .replace('"640KiB"', '"16MiB"')
    .replace('"2/s"', '"7/s"')
    + """
[failover]
mount_per_log = "0s"
redirect = "500ms"
"""
)
OUTAGE = fault("link_outage", 3, duration="4s")
FAILOVER = fault("failover", 5)
SPLIT = OUTAGE + FAILOVER


def started(text: str) -> ScenarioRun:
    return ScenarioRun(parse_scenario(SMALL + text))


def run(text: str) -> RunResult:
    return started(text).run()


def of_one_source(result: RunResult) -> list[Check]:
    return [check for check in result.checks if check.invariant == ONE_SOURCE]


def closed_at(text: str) -> tuple[RunResult, list[float], ScenarioRun]:
    """A run, when its old source was closed, and the run itself."""
    made, when = started(text), []
    clock = made.world.clock
    made.world.observers.append(
        lambda _machine, event, _values: (
            when.append(clock.now() / SECOND_NS) if event == "fence_kept" else None
        )
    )
    return made.run(), when, made


# -- the scenario ------------------------------------------------------------------------------


def test_the_scenario_that_is_shipped() -> None:
    result = run_scenario(load_scenario(ROOT / "scenarios/split_brain.toml"))
    assert result.verdict is Verdict.PASS, result.reasons
    lost, later = result.losses
    assert (lost.failure, later.failure) == (ORDERED_FAILOVER, WRITTEN_AFTERWARDS)
    assert result.worst_loss is lost and result.written_afterwards is later
    # The line had been down for a minute; the source went on until it was whole again.
    assert 55 < lost.seconds <= 60 and lost.messages and lost.at_seconds == 180
    assert 90 < later.seconds < 95 and later.messages and later.operations
    assert result.recovery is not None
    assert result.recovery.detect == result.recovery.decide == 0
    assert result.recovery.redirect == 60
    [kept] = [each for each in of_one_source(result) if "in no copy" in each.detail]
    assert kept.detail.startswith("operations ") and " of epoch 1, which its" in kept.detail


def test_a_source_behind_an_outage_is_closed_when_it_hears_of_the_failover() -> None:
    result, when, made = closed_at(SPLIT)
    assert result.verdict is Verdict.PASS, result.reasons
    [at] = when
    bound_s = fencing_bound_ns(made.scenario) / SECOND_NS
    assert 7 < at < 7 + bound_s
    assert PROGRAMS not in made.system.source_machine.processes
    truth = made.system.truth
    assert at <= truth.times_ns[-1] / SECOND_NS + 2, "they wrote until shortly before"
    assert made.world.clock.now() / SECOND_NS < 20, "nobody waits for what will not come"
    assert catch_up(made.scenario, result).seconds is None, "nobody catches up afterwards"


def test_a_source_that_is_connected_is_closed_at_once() -> None:
    result, [at], _made = closed_at(FAILOVER)
    assert result.verdict is Verdict.PASS, result.reasons
    assert 5 < at < 6
    assert result.worst_loss is not None and result.worst_loss.failure == ORDERED_FAILOVER
    assert result.worst_loss.seconds < 0.1


def test_a_source_whose_link_never_comes_back_is_not_waited_for_longer_than_that() -> None:
    result, when, _made = closed_at(fault("link_outage", 3, duration="10m") + FAILOVER)
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.written_afterwards is not None
    assert result.written_afterwards.seconds > 14, "its programs worked to their end"
    assert len(when) == 1, "even then it was closed when the link was whole"


def test_a_source_that_is_lost_after_the_failover_needs_no_closing() -> None:
    result, when, _made = closed_at(SPLIT + fault("loss", 6, SOURCE))
    assert result.verdict is Verdict.PASS, result.reasons
    assert not when and result.recovery is not None
    assert result.worst_loss is not None and result.worst_loss.failure == ORDERED_FAILOVER
    assert "source is broken" not in " ".join(result.reasons)


@pytest.mark.parametrize(
    "more",
    [
        fault("process_crash", 7.4, SOURCE),
        fault("power_loss", 6, SOURCE),
        fault("power_loss", 8.5, SOURCE),
        fault("process_crash", 4.9, REPLICA),
        fault("power_loss", 5.1, REPLICA),
        fault("power_loss", 6.5, REPLICA) + fault("link_reset", 7.2),
        fault("sync_failure", 7, SOURCE, count=2),
        fault("disk_full", 4, SOURCE, duration="8s", volume="spool"),
        fault("bit_rot", 5.5, REPLICA, where="checkpoint", count=400)
        + fault("process_crash", 6.2, REPLICA),
    ],
)
def test_whatever_befalls_the_two_meanwhile(more: str) -> None:
    result, when, made = closed_at(SPLIT + more)
    assert result.verdict is Verdict.PASS, result.reasons
    assert when, "it was closed all the same"
    assert PROGRAMS not in made.system.source_machine.processes


def test_a_source_that_is_started_again_stays_closed() -> None:
    result, when, made = closed_at(SPLIT + fault("process_crash", 11, SOURCE))
    assert result.verdict is Verdict.PASS, result.reasons
    assert len(when) == 1 and when[0] < 11
    assert PROGRAMS not in made.system.source_machine.processes


def test_a_failover_before_anything_was_synchronized_never_happens() -> None:
    result = run(fault("link_outage", 0, duration="3s") + fault("failover", 1))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "no image had ever been completed" in result.reasons[0]


def test_a_lost_replica_takes_nothing_over() -> None:
    text = fault("failover", 5) + fault("loss", 4, REPLICA)
    with pytest.raises(BadScenario, match="at 5s the replica is gone already"):
        parse_scenario(SMALL + text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (fault("loss", 4, SOURCE) + FAILOVER, r"the source is gone already \(lost at 4s\)"),
        (FAILOVER + fault("failover", 6), "the replica has taken over already"),
        (FAILOVER + fault("replica_restored", 6, age="2s"), "its copy is nobody's replica"),
        (FAILOVER + fault("second_source", 6, duration="2s"), "its copy is nobody's replica"),
        (fault("failover", 5, "replica"), "unknown key 'host'"),
    ],
)
def test_what_contradicts_a_failover(text: str, words: str) -> None:
    with pytest.raises(BadScenario, match=words):
        parse_scenario(SMALL + text)


# -- every run is judged -----------------------------------------------------------------------


def test_a_run_without_a_failover_is_judged_as_well() -> None:
    [check] = of_one_source(run(fault("power_loss", 5, SOURCE)))
    assert check.holds and check.detail == "no image of an epoch before 2 came back"


def test_an_image_of_an_epoch_that_is_over_is_told() -> None:
    made = started("")
    judge = made._one_source
    assert judge is not None
    made.oracle.durable = {1: 90, 3: 0}
    judge.image(Claim(3, 0, 0), "end of run")
    judge.image(Claim(2, 5, 0, damage="rot"), "end of run")
    assert not of_one_source_of(made)
    judge.image(Claim(1, 95, 0), "power_loss of replica")
    [check] = of_one_source_of(made)
    assert not check.holds and check.occasion == "power_loss of replica"
    assert "epoch 3 had begun" in check.detail and "operation 95 of epoch 1" in check.detail
    made.world.close()


def of_one_source_of(made: ScenarioRun) -> list[Check]:
    return [check for check in made.oracle.checks if check.invariant == ONE_SOURCE]


def test_the_bound_follows_from_the_times_of_the_protection() -> None:
    scenario = parse_scenario(SMALL)
    bound_ns = fencing_bound_ns(scenario)
    slower = parse_scenario(SMALL, ["protection.reconnect=1200ms"])
    assert fencing_bound_ns(slower) == bound_ns + 3 * SECOND_NS
    patient = parse_scenario(SMALL, ["protection.heartbeat_misses=14"])
    assert fencing_bound_ns(patient) == bound_ns + 3 * SECOND_NS
    narrow = parse_scenario(SMALL, ["link.bandwidth=32768B/s"])
    assert SECOND_NS * 0.9 < fencing_bound_ns(narrow) - bound_ns < SECOND_NS


# -- drawn plans -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(
    plan=strategies.fault_plans(
        CAMPAIGN, kinds=["failover", "loss", "replica_restored", "second_source", "link_outage"]
    )
)
def test_drawn_plans_with_a_failover_fit_their_scenario(plan: FaultPlan) -> None:
    assert not wrong_with(plan, CAMPAIGN)
    assert [fault.kind for fault in plan.faults].count("failover") <= 1


def test_no_plan_is_drawn_with_a_failover_unless_it_is_asked_for() -> None:
    assert "failover" not in DEFAULT_WEIGHTS
    assert "failover" not in strategies.DEFAULT_KINDS


# -- each rule taken away ----------------------------------------------------------------------

FOUND_BY = {
    "promoted_refuses": (SPLIT, "the old source was told that operation"),
    "promotion_is_durable": (
        SPLIT + fault("power_loss", 6.5, REPLICA),
        "the old source was told that operation",
    ),
    "promotion_outlives_checkpoints": (
        SPLIT
        + fault("bit_rot", 5.5, REPLICA, where="checkpoint", count=400)
        + fault("process_crash", 6.2, REPLICA),
        "the old source was told that operation",
    ),
    "takes_over_at_once": (FAILOVER, "began to take over at 5.000 s, with the image after"),
    "refused_source_stops": (SPLIT, "after it had to be closed"),
    "fence_is_kept": (SPLIT, "after it had to be closed"),
    "fence_is_heeded": (SPLIT, "after it had to be closed"),
    "fenced_spool_stays": (SPLIT, "its spool lacks"),
}


def test_each_rule_has_its_plan() -> None:
    assert list(FOUND_BY) == [mutant.name for mutant in BY_PLAN]


@pytest.mark.parametrize("name", FOUND_BY)
def test_without_the_rule_the_breach_is_found(name: str) -> None:
    text, words = FOUND_BY[name]
    assert run(text).verdict is Verdict.PASS, "with the rule it holds"
    with mutated(name):
        result = run(text)
    assert result.verdict is Verdict.SAFETY, result.reasons
    broken = [check for check in of_one_source(result) if not check.holds]
    assert any(words in check.detail for check in broken), broken
    assert any(reason.startswith("one source is broken") for reason in result.reasons)


# -- no false alarm ----------------------------------------------------------------------------

TENTHS = st.integers(10, 120).map(lambda tenths: tenths / 10)
BLOWS = st.lists(
    st.tuples(
        st.sampled_from(["process_crash", "power_loss"]),
        st.sampled_from([SOURCE, REPLICA]),
        TENTHS,
    ),
    max_size=3,
)


@settings(deadline=None, max_examples=60)
@given(
    outages=st.lists(st.tuples(TENTHS, st.integers(1, 60)), max_size=2),
    failover=TENTHS,
    blows=BLOWS,
)
def test_outages_crashes_and_a_failover_in_whatever_order(
    outages: list[tuple[float, int]], failover: float, blows: list[tuple[str, str, float]]
) -> None:
    text = fault("failover", failover)
    for at, tenths in outages:
        text += fault("link_outage", at, duration=f"{100 * tenths}ms")
    for kind, host, at in blows:
        text += fault(kind, at, host)
    result = run(text)
    # A crash of what is down already cannot happen, and is said; nothing else may be wrong.
    told = [reason for reason in result.reasons if "never happened" not in reason]
    assert not told, told
    assert all(check.holds for check in of_one_source(result))
