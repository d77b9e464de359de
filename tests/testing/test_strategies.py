"""All that the strategies draw fits its scenario, lies on the grid, and shrinks to the plainest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st

from replicator.errors import BadInput
from simulator.plans.draw import space_of
from simulator.plans.plan import FaultPlan, parse_plan, plan_text
from simulator.scenario import Scenario, load_scenario
from simulator.testing import strategies
from simulator.testing.fault_documents import KINDS, table_kind

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = [
    load_scenario(ROOT / "scenarios" / name)
    for name in ("campaign.toml", "quickstart.toml", "suites/small.toml")
]
SMALL = SCENARIOS[0]
MS = 1_000_000


@given(st.data(), st.sampled_from(SCENARIOS))
def test_every_plan_fits_its_scenario_and_lies_on_the_grid(
    data: st.DataObject, scenario: Scenario
) -> None:
    plan = data.draw(strategies.fault_plans(scenario, kinds=KINDS, max_faults=8))
    assert parse_plan(plan_text(plan), scenario) == plan
    grid_ns = space_of(scenario).grid_ns
    assert all(fault.at_ns % grid_ns == 0 for fault in plan.faults)
    assert all(getattr(fault, "duration_ns", 0) % grid_ns == 0 for fault in plan.faults)
    assert [f.at_ns for f in plan.faults] == sorted(f.at_ns for f in plan.faults)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_drawn_and_its_plainest_fault_comes_early(kind: str) -> None:
    fault = find(strategies.faults(SMALL, kind), lambda _fault: True)
    assert fault.kind == table_kind(kind)
    assert fault.at_ns <= space_of(SMALL).grid_ns
    assert getattr(fault, "duration_ns", None) in (None, space_of(SMALL).grid_ns)
    assert getattr(fault, "survive", "none") == "none"


def test_a_plan_shrinks_to_the_faults_that_it_needs() -> None:
    def needed(plan: FaultPlan) -> bool:
        at = [fault.at_ns for fault in plan.faults if fault.kind == "link_outage"]
        return any(
            fault.kind == "power_loss" and fault.host == "source" and min(at) < fault.at_ns
            for fault in plan.faults
            if at
        )

    kinds = ("link_reset", "link_outage", "pause", "power_loss", "power_loss_within", "disk_full")
    drawn = strategies.fault_plans(SMALL, kinds=kinds)
    plan = find(drawn, needed, settings=settings(max_examples=5000))
    assert [fault.kind for fault in plan.faults] == ["link_outage", "power_loss"]
    assert [fault.at_ns for fault in plan.faults] == [0, space_of(SMALL).grid_ns]
    assert plan.faults[0].duration_ns == space_of(SMALL).grid_ns


@given(strategies.times(SMALL, begin_ns=1_005 * MS, end_ns=2 * 1_000 * MS, grid_ns=50 * MS))
def test_times_stay_within_their_window(at_ns: int) -> None:
    assert 1_050 * MS <= at_ns <= 2_000 * MS
    assert at_ns % (50 * MS) == 0


def test_a_window_without_any_instant_is_refused() -> None:
    with pytest.raises(BadInput, match="no multiple of 10ms lies from 11ms to 12ms"):
        strategies.times(SMALL, begin_ns=11 * MS, end_ns=12 * MS)


@given(strategies.fault_plans(SMALL, kinds=["loss", "process_crash", "link_reset"], max_faults=8))
def test_nothing_befalls_a_host_that_is_lost(plan: FaultPlan) -> None:
    assume(any(fault.kind == "loss" for fault in plan.faults))
    for at, fault in enumerate(plan.faults):
        if fault.kind == "loss":
            later = plan.faults[at + 1 :]
            assert all(getattr(each, "host", "") != fault.host for each in later)


@given(
    strategies.fault_plans(
        SMALL,
        kinds=[{"kind": "disk_full", "volume": "spool", "free": st.sampled_from(["0B", "8KiB"])}],
        min_faults=1,
    )
)
def test_keys_that_are_given_are_kept_and_name_the_host(plan: FaultPlan) -> None:
    for fault in plan.faults:
        assert (fault.host, fault.volume) == ("source", "spool")
        assert fault.free_bytes in (0, 8192)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"kinds": ["disk_ful"]}, "no kind of fault 'disk_ful': did you mean 'disk_full'"),
        ({"kinds": []}, "no kind of fault to draw"),
        ({"kinds": [{"host": "source"}]}, "no kind of fault None"),
    ],
)
def test_unknown_kinds_are_refused_at_once(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        strategies.fault_plans(SMALL, **arguments)


def test_keys_that_do_not_fit_are_refused_when_it_draws() -> None:
    first = settings(max_examples=1, phases=[Phase.generate])
    with pytest.raises(BadInput, match="host"):
        find(strategies.faults(SMALL, "pause", host="third"), lambda _fault: True, settings=first)


@given(strategies.fault_plans(SMALL, seeds=st.integers(0, 5)))
def test_the_seed_of_what_faults_leave_open_may_be_drawn(plan: FaultPlan) -> None:
    assert 0 <= plan.seed <= 5
