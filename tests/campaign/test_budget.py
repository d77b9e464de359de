"""Budgets of faults: what is beyond is refused or left out; within one nothing is lost for good."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.campaign.job import BatchJob, must_recover, run_batch, run_plan
from simulator.measures import Verdict
from simulator.plans.budget import Budget, excesses, within
from simulator.plans.draw import DEFAULT_WEIGHTS, draw_plan
from simulator.plans.plan import BadPlan, parse_plan
from simulator.prepared import prepare
from tests.campaign.commands import TINY, run
from tests.campaign.test_plans import SCENARIO, SPACE

DAMAGING = replace(
    SPACE,
    weights={**DEFAULT_WEIGHTS, "bit_rot": 20, "replica_restored": 20},
    lose_the_source=0.5,
    swarm=False,
)

PLAN = """format = 1
[budget]
weakest = "{weakest}"
damaged_sites = {sites}
repair = "{repair}"

[[faults]]
kind = "replica_restored"
at = "1s"
age = "500ms"

[[faults]]
kind = "loss"
at = "3s"
host = "source"
"""


def plan_of(weakest: str = "detected", sites: int = 1, repair: str = "1s") -> str:
    return PLAN.format(weakest=weakest, sites=sites, repair=repair)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (plan_of(repair="10s"), 12, "the source while the replica is not repaired yet"),
        (plan_of(sites=0), 7, "no site may be damaged"),
        (plan_of(weakest="holds"), 7, "durable means durable is detected under it"),
    ],
)
def test_what_is_beyond_its_budget_is_refused_with_its_place(
    text: str, line: int, words: str
) -> None:
    with pytest.raises(BadPlan, match=words) as caught:
        parse_plan(text, SCENARIO, origin="plan.toml")
    first = caught.value.errors[0]
    assert (first.path, first.line) == ("plan.toml", line)


def test_what_is_within_is_taken_and_comes_back_from_its_text() -> None:
    from simulator.plans.plan import plan_json, plan_text

    for text in (plan_of(), plan_of(sites=2, repair="10s"), plan_of(weakest="by design")):
        plan = parse_plan(text, SCENARIO)
        assert (
            parse_plan(plan_text(plan), SCENARIO) == plan == parse_plan(plan_json(plan), SCENARIO)
        )


@given(
    st.text(max_size=12),
    st.builds(
        Budget,
        weakest=st.sampled_from(["holds", "detected", "by design"]),
        damaged_sites=st.integers(0, 2),
        repair=st.sampled_from(["0s", "500ms", "30s"]),
    ),
)
def test_what_is_left_of_a_plan_is_within_and_nothing_else_is_taken(
    name: str, budget: Budget
) -> None:
    faults = draw_plan(name, DAMAGING).faults
    left = within(faults, budget)
    assert not list(excesses(left, budget))
    assert within(left, budget) == left
    beyond = {each.index for each in excesses(faults, budget)}
    assert len(left) + len(beyond) == len(faults)
    # The first excess is one indeed: with what came before it, it does not fit.
    if beyond:
        first = min(beyond, key=lambda index: faults[index].at_ns)
        kept = [
            f for n, f in enumerate(faults) if n not in beyond and f.at_ns <= faults[first].at_ns
        ]
        assert list(excesses((*kept, faults[first]), budget))


def test_within_the_budget_nothing_is_ever_lost_for_good() -> None:
    prepared = prepare(SCENARIO)
    space = replace(DAMAGING, budget=Budget())
    assert must_recover(space)
    kinds: set[str] = set()
    for number in range(15):
        plan = draw_plan(f"within {number}", space)
        outcome = run_plan(prepared, plan, number, False, strict=True)
        assert outcome.verdict is Verdict.PASS, (number, outcome.reasons)
        kinds |= set(outcome.happened)
    assert {"bit_rot", "replica_restored", "loss"} <= kinds


def test_beyond_it_something_may_be_lost_and_is_named() -> None:
    plan = parse_plan(
        'format = 1\n[[faults]]\nkind = "bit_rot"\nat = "1s"\nhost = "replica"\nwhere = "home"\n'
        'count = 200\n[[faults]]\nkind = "loss"\nat = "2.15s"\nhost = "source"\n',
        SCENARIO,
    )
    assert list(excesses(plan.faults, Budget()))
    prepared = prepare(SCENARIO)
    free = run_plan(prepared, plan, 0, False)
    assert free.verdict is Verdict.UNRECOVERABLE and not free.failed
    assert "/replica/image/" in free.reasons[0]
    # The same verdict is a failure when the plan is said to lie within a budget.
    strict = run_plan(prepared, plan, 0, False, strict=True)
    assert strict.verdict is Verdict.UNRECOVERABLE and strict.failed


def test_a_campaign_stays_within_its_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    budget = tmp_path / "budget.toml"
    budget.write_text('format = 1\n[budget]\nweakest = "holds"\ndamaged_sites = 0\n')
    done = run(capsys, "campaign", TINY, "--plans", 12, "--workers", 1, "--budget", budget)
    assert done.code == 0
    drawn = run(capsys, "draw", TINY, "--number", 3, "--results", "enumeration.campaign.db")
    assert drawn.out == run(capsys, "draw", TINY, "--number", 3, "--budget", budget).out
    for text, words in (
        ("format = 1\n", "no [budget]"),
        ('format = 1\n[budget]\n[[faults]]\nkind = "link_reset"\nat = "1ms"\n', "no faults of"),
        ("format = 1\n[budget]\ndamaged_sites = 3\n", "budget.toml:3"),
    ):
        budget.write_text(text)
        refused = run(capsys, "campaign", TINY, "--plans", 3, "--budget", budget)
        assert refused.code == 64 and words in refused.errors


def test_a_batch_of_a_budget_holds_its_runs_to_it() -> None:
    from replicator.toml_writer import toml_text

    job = BatchJob(toml_text(SCENARIO), 1, replace(DAMAGING, budget=Budget()), 0, 4)
    assert all(not outcome.failed for outcome in run_batch(job))
