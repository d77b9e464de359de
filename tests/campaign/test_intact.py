"""The intact replicator under drawn plans: no false alarm, and no defect that such plans find.

A short run of what `docs/campaigns.md` tells at full length, and the same with the policy *hold*.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.campaign.job import plan_number, run_plan
from simulator.measures import Verdict
from simulator.plans.draw import space_of
from simulator.prepared import prepare
from simulator.scenario import load_scenario

CAMPAIGN = Path(__file__).resolve().parents[2] / "scenarios" / "campaign.toml"
HOLD = "protection.spool_full=hold"


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    ("overrides", "plans", "mark"),
    [
        ([], 20, "spool_full_resynchronize"),
        ([HOLD], 15, "spool_full_hold"),
        ([HOLD, "protection.spool_limit=1MiB", "stream.messages=20/s"], 5, "spool_full_hold"),
    ],
    ids=["resynchronize", "hold", "hold, heavy load"],
)
def test_no_plan_ends_otherwise_than_it_must(
    overrides: list[str], plans: int, mark: str, times: int
) -> None:
    scenario = load_scenario(CAMPAIGN, overrides)
    space, prepared = space_of(scenario), prepare(scenario)
    marks: set[str] = set()
    for number in range(plans * times):
        outcome = run_plan(prepared, plan_number(1, number, space), number, number % 50 == 0)
        assert outcome.verdict in (Verdict.PASS, Verdict.UNRECOVERABLE), (number, outcome.reasons)
        marks |= set(outcome.marks)
    assert mark in marks, "the spool was never full"


@pytest.mark.parametrize("plans", [20, pytest.param(600, marks=pytest.mark.full)])
def test_nor_does_a_harsh_one(plans: int) -> None:
    scenario = load_scenario(CAMPAIGN)
    space, prepared = space_of(scenario, harsh=True), prepare(scenario)
    kinds: set[str] = set()
    for number in range(plans):
        plan = plan_number(2, number, space)
        outcome = run_plan(prepared, plan, number, number % 50 == 0)
        assert outcome.verdict in (Verdict.PASS, Verdict.UNRECOVERABLE), (number, outcome.reasons)
        kinds.update(fault.kind for fault in plan.faults)
    assert kinds >= {"lost_flush", "misdirected_write", "second_source"}, "they were harsh"
