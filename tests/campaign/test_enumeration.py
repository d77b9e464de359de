"""All plans of a small scope: each once, by number, and all of one fault are run."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import BadInput
from replicator.toml_writer import toml_text
from simulator.campaign.campaign import Campaign, Limits
from simulator.campaign.executors import process_pool
from simulator.campaign.job import run_plan
from simulator.campaign.results import CampaignKey, Results
from simulator.measures import Verdict
from simulator.plans.budget import Budget, excesses
from simulator.plans.draw import DEFAULT_WEIGHTS
from simulator.plans.enumeration import Enumeration, combination, enumeration_of
from simulator.plans.plan import parse_plan, plan_text
from simulator.prepared import prepare
from simulator.scenario import load_scenario
from tests.campaign.commands import TINY, run
from tests.campaign.test_campaign import campaign, rows
from tests.strides import strided

SCENARIO = load_scenario(TINY)
ONE = Enumeration(SCENARIO.duration_ns, 1)
TWO = Enumeration(SCENARIO.duration_ns, 2)


@given(st.integers(0, 7), st.integers(0, 3))
def test_combinations_are_those_of_the_library_in_its_order(items: int, most: int) -> None:
    expected = [each for size in range(most + 1) for each in combinations(range(items), size)]
    assert [combination(items, number) for number in range(len(expected))] == expected
    with pytest.raises(ValueError, match="no combination number"):
        combination(items, 2**items)


@given(st.integers(0, TWO.plans - 1))
def test_each_plan_fits_the_scenario_and_comes_back_from_its_text(number: int) -> None:
    plan = TWO.plan(number)
    assert parse_plan(plan_text(plan), SCENARIO) == plan
    assert len(plan.faults) <= 2


def test_plans_of_one_fault_are_all_different_and_have_every_kind() -> None:
    plans = [ONE.plan(number) for number in range(ONE.plans)]
    assert len({plan.faults for plan in plans}) == len(plans) == 257
    assert not plans[0].faults
    kinds = {fault.kind for plan in plans for fault in plan.faults}
    drawn = {kind.removesuffix("_within").removesuffix("_in_a_call") for kind in DEFAULT_WEIGHTS}
    assert kinds == {*drawn, "loss"}


def test_nothing_happens_to_a_source_that_is_gone() -> None:
    for number in range(ONE.plans, TWO.plans, 7):
        faults = TWO.plan(number).faults
        lost = [fault.at_ns for fault in faults if fault.kind == "loss"]
        after = [f for f in faults if getattr(f, "host", "") == "source" and f.kind != "loss"]
        assert len(lost) <= 1
        assert all(fault.at_ns < lost[0] for fault in after if lost)


@strided(5)
def test_every_plan_of_one_fault_passes(stride: int) -> None:
    prepared = prepare(SCENARIO)
    ended = [run_plan(prepared, ONE.plan(n), n, False) for n in range(0, ONE.plans, stride)]
    assert {each.number: each.reasons for each in ended if each.verdict is not Verdict.PASS} == {}
    marks = {mark for each in ended for mark in each.marks}
    assert {"resynchronized", "taken_over", "power_loss_in_apply", "apply_stood_still"} <= marks


@pytest.mark.full
def test_processes_enumerate_what_one_process_does_and_then_end(tmp_path: Path) -> None:
    space = Enumeration(SCENARIO.duration_ns, 1, instants=1)
    key = CampaignKey("tiny", toml_text(SCENARIO), 1, space)
    one, expected = campaign(tmp_path / "one.db", Limits(), key=key, batch_plans=4)
    assert one.run().done == space.plans == 33
    others = Results(tmp_path / "two.db", key)
    Campaign(key, others, partial(process_pool, 2), 2, Limits(), batch_plans=5).run()
    assert rows(others) == rows(expected)
    numbers = range(space.plans)
    assert [others.space(0).plan(n) for n in numbers] == [space.plan(n) for n in numbers]


def test_too_many_plans_are_refused_with_a_way_out() -> None:
    with pytest.raises(BadInput, match="plans, more than anybody waits for") as caught:
        enumeration_of(SCENARIO, 3, 100)
    remedy = str(caught.value.remedy)
    assert "--enumerate 1 " in remedy and "--instants" in remedy  # two are too many as well
    fitting = int(remedy.partition("--instants ")[2].split()[0])
    assert enumeration_of(SCENARIO, 3, fitting).most == 3
    with pytest.raises(BadInput):
        enumeration_of(SCENARIO, 3, fitting + 1)


@pytest.mark.parametrize(("most", "instants"), [(3, 1000), (2, 1000), (2, 500)])
def test_no_way_out_leads_to_the_next_refusal(most: int, instants: int) -> None:
    with pytest.raises(BadInput, match="plans, more than anybody waits for") as caught:
        enumeration_of(SCENARIO, most, instants)
    remedy = str(caught.value.remedy)
    fewer = int(remedy.partition("--enumerate ")[2].split()[0])
    assert enumeration_of(SCENARIO, fewer, instants).most == fewer


def test_enumerated_plans_stay_within_a_budget() -> None:
    budget = Budget()
    space = replace(TWO, budget=budget)
    cut = 0
    for number in range(0, space.plans, 11):
        faults = space.plan(number).faults
        assert not list(excesses(faults, budget))
        cut += faults != TWO.plan(number).faults
    assert cut


def test_the_command_says_how_many_and_refuses_nonsense(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("campaign", TINY, "--enumerate", 1, "--instants", 1, "--workers", 1)
    done = run(capsys, *arguments)
    assert done.code == 0
    assert "all plans of up to 1 faults: 33" in done.out
    assert run(capsys, *arguments, "--resume").code == 0
    for more, words in (
        (("--steer",), "nothing to steer"),
        (("--enumerate", 3, "--instants", 900), "more than anybody waits for"),
    ):
        refused = run(capsys, *arguments, *more, "--results", "x.db")
        assert refused.code == 64 and words in refused.errors
    refused = run(capsys, "campaign", TINY, "--plans", 3, "--instants", 2)
    assert refused.code == 64 and "--instants" in refused.errors
    assert not (tmp_path / "x.db").exists()
