"""Shrinking: what is left still fails, and no part of it can be missed."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.campaign.failures import distinct, shrink_failure, signature
from simulator.campaign.job import PlanOutcome, run_plan
from simulator.measures import Verdict
from simulator.mutants import mutated
from simulator.plans.draw import PlanSpace, draw_plan, without
from simulator.plans.plan import FaultPlan, parse_plan, plan_text
from simulator.plans.shrink import Shrinker
from simulator.prepared import prepare
from tests.campaign.test_plans import SCENARIO, SPACE

LARGE = PlanSpace(4_000_000_000, fewest=20, most=30, swarm=False)


def needs(*kinds: str):
    """Fails when all of these kinds are in a plan, in this order."""

    def fails(plan: FaultPlan) -> bool:
        left = list(kinds)
        for fault in plan.faults:
            if left and fault.kind == left[0]:
                left.pop(0)
        return not left

    return fails


@given(st.integers(0, 10_000), st.sampled_from([("pause",), ("link_reset", "process_crash")]))
def test_what_is_left_is_what_the_failure_needs(number: int, kinds: tuple[str, ...]) -> None:
    plan = draw_plan(f"shrink {number}", LARGE)
    fails = needs(*kinds)
    if not fails(plan):
        return
    shrinker = Shrinker(fails, LARGE.grid_ns)
    smallest = shrinker.shrink(plan)
    assert [fault.kind for fault in smallest.faults] == list(kinds)
    assert all(fault.at_ns == 0 for fault in smallest.faults)
    assert all(getattr(f, "duration_ns", 0) in (0, LARGE.grid_ns) for f in smallest.faults)
    assert shrinker.runs <= 400


def test_the_count_of_runs_is_bounded() -> None:
    plan = draw_plan("bounded", LARGE)
    # Half of the faults can be missed, each by itself: many runs would be needed.
    kept = set(plan.faults[::2])
    shrinker = Shrinker(lambda p: kept <= set(p.faults), LARGE.grid_ns, most_runs=7)
    assert set(shrinker.shrink(plan).faults) >= kept
    assert shrinker.runs == 7


@pytest.mark.full
def test_a_planted_defect_that_needs_two_faults_comes_down_to_them() -> None:
    """A sync of the replica fails, is taken for done, and then its power goes."""
    prepared = prepare(SCENARIO)
    with mutated("failed_sync_ends_the_process") as safeguards:

        def outcome(plan: FaultPlan) -> PlanOutcome:
            return run_plan(prepared, plan, 0, False, safeguards)

        found = None
        for number in range(400):
            # A full disk makes syncs fail as well: that would be another way to the defect.
            plan = draw_plan(f"planted {number}", without(LARGE, "disk_full"))
            first = outcome(plan)
            if first.failed:
                found = plan
                break
        assert found is not None
        assert len(found.faults) >= 20
        wanted = signature(first)

        def fails(plan: FaultPlan) -> bool:
            other = outcome(plan)
            return other.failed and signature(other) == wanted

        smallest = Shrinker(fails, SPACE.grid_ns).shrink(found)
        assert 1 <= len(smallest.faults) <= 2
        assert "sync_failure" in {fault.kind for fault in smallest.faults}
        assert fails(smallest)


def made(number: int, reason: str, verdict: Verdict = Verdict.SAFETY) -> PlanOutcome:
    return PlanOutcome(
        number, verdict, (reason,), "", (), (), 0, None, None, None, 0, 0, 0.0, 0, 0, 0.0, 0.0
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            "prefix is broken at 1.4 s (power_loss of replica): x",
            "prefix is broken at 2.0 s: y",
            True,
        ),
        ("prefix is broken at 1.4 s: x", "mountable is broken at 1.4 s: x", False),
    ],
)
def test_failures_that_differ_by_figures_only_are_one(one: str, other: str, same: bool) -> None:
    assert (signature(made(1, one)) == signature(made(2, other))) == same
    assert len(distinct([made(1, one), made(2, other)])) == 2 - same


def test_what_is_shrunk_can_be_loaded() -> None:
    """A replica that is restored from a copy made before it was there is no plan."""
    text = plan_text(
        FaultPlan.model_validate(
            {
                "format": 1,
                "seed": 1,
                "faults": [{"kind": "replica_restored", "at": "3s", "age": "1s"}],
            }
        )
    )
    failure = replace(made(0, "prefix is broken at 3.0 s: x"), plan=text)
    passed = made(0, "", Verdict.PASS)
    fails = mock.patch(
        "simulator.campaign.failures.run_plan",
        lambda _scenario, plan, *_: failure if plan.faults else passed,
    )
    with fails:
        plan, outcome, _runs = shrink_failure(SCENARIO, failure, SPACE)
    assert parse_plan(plan_text(plan), SCENARIO) == plan
    assert outcome is failure and plan.faults[0].at_ns < 3_000_000_000
