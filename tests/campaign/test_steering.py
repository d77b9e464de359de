"""Steering: gaps of coverage give weight, and plan n stays plan n whoever runs it and how."""

from __future__ import annotations

import random
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from simulator.campaign import campaign as campaign_module
from simulator.campaign import steering
from simulator.campaign.campaign import Campaign, Limits
from simulator.campaign.coverage import coverage_of
from simulator.campaign.executors import dask_cluster, process_pool
from simulator.campaign.job import plan_number
from simulator.campaign.results import Results
from simulator.campaign.steering import looks_back_on, steered
from tests.campaign.test_campaign import KEY, InLine, campaign, opened, rows

STEERED = replace(KEY, steering=True)


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of six plans instead of five hundred."""
    monkeypatch.setattr(steering, "ROUND_PLANS", 6)
    monkeypatch.setattr(campaign_module, "ROUND_PLANS", 6)


class LastFirst(Executor):
    """Ends batches in another order than they came: the newest first, or any."""

    def __init__(self, seed: int) -> None:
        self._choose = random.Random(seed).randrange
        self._waiting: list[tuple[Future[Any], Any, Any]] = []

    def submit(self, fn: Any, job: Any) -> Future[Any]:  # type: ignore[override]
        future: Future[Any] = Future()
        self._waiting.append((future, fn, job))
        if len(self._waiting) >= 4:
            self.end_one()
        return future

    def end_one(self) -> None:
        future, fn, job = self._waiting.pop(self._choose(len(self._waiting)))
        future.set_result(fn(job))


def weights(results: Results) -> dict[int, dict[str, float]]:
    return results.rounds()


def test_kinds_with_gaps_come_more_often_and_those_without_stay() -> None:
    space = KEY.space
    full = {kind: "3" for kind in space.weights if kind != "pause"}
    cell = " ".join(f"{kind}:{bits}" for kind, bits in full.items())
    found = steered(space, coverage_of([cell] * 5))
    assert found["pause"] == 4 * space.weights["pause"]
    assert all(found[kind] == space.weights[kind] for kind in full)
    # Four runs are one too few to be no gap; no run at all says nothing.
    assert steered(space, coverage_of([cell] * 4))["link_reset"] == 4 * space.weights["link_reset"]
    assert steered(space, coverage_of([])) == space.weights
    assert list(found) == list(space.weights)


def test_a_round_looks_back_past_the_one_before_it() -> None:
    assert [looks_back_on(number) for number in range(4)] == [0, 0, 6, 12]


def test_processes_give_the_plans_of_one_process(tmp_path: Path) -> None:
    one, expected = campaign(tmp_path / "one.db", Limits(plans=30), key=STEERED, batch_plans=2)
    one.run()
    kept = weights(expected)
    assert list(kept) == [0, 1, 2, 3, 4]
    assert kept[0] == kept[1] == dict(STEERED.space.weights)
    assert kept[2] != kept[0]
    assert list(kept[2]) == list(STEERED.space.weights)
    others = Results(tmp_path / "two.db", STEERED)
    pool = partial(process_pool, 2)
    Campaign(STEERED, others, pool, 2, Limits(plans=30), batch_plans=4).run()
    assert weights(others) == kept
    assert rows(others) == rows(expected)
    # And a plan is drawn again from its number and what the file says.
    for number in (0, 7, 13, 29):
        outcome = others.outcome(number)
        assert outcome is not None
        plan = plan_number(others.seed, number, others.space(number))
        assert tuple(sorted({fault.kind for fault in plan.faults})) == outcome.kinds
    others.close()
    expected.close()


@pytest.mark.full
def test_an_interrupted_campaign_goes_on_with_the_same_plans(tmp_path: Path) -> None:
    whole, expected = campaign(tmp_path / "whole.db", Limits(plans=24), key=STEERED, batch_plans=2)
    whole.run()
    path = tmp_path / "parts.db"
    for plans in (5, 15, 24):
        part, results = campaign(path, Limits(plans=plans), key=STEERED, resume=True, batch_plans=3)
        part.run()
        results.close()
    again = Results(path)
    assert weights(again) == weights(expected)
    assert rows(again) == rows(expected)
    again.close()


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in (1, 2))]
)
def test_the_order_in_which_batches_end_changes_nothing(tmp_path: Path, seed: int) -> None:
    one, expected = campaign(tmp_path / "one.db", Limits(plans=24), key=STEERED, batch_plans=2)
    one.run()
    executor = LastFirst(seed)
    wait = campaign_module.wait

    def end_and_wait(futures: Any, **more: Any) -> Any:
        while executor._waiting and not any(each.done() for each in futures):
            executor.end_one()
        return wait(futures, **more)

    results = Results(tmp_path / "other.db", STEERED)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(campaign_module, "wait", end_and_wait)
        other = Campaign(STEERED, results, partial(opened, executor), 3, Limits(plans=24))
        other._batch_plans = 2
        other.run()
    assert weights(results) == weights(expected)
    assert rows(results) == rows(expected)


@pytest.mark.full
def test_a_cluster_gives_the_plans_of_one_process(tmp_path: Path) -> None:
    from distributed import LocalCluster

    one, expected = campaign(tmp_path / "one.db", Limits(plans=18), key=STEERED, batch_plans=2)
    one.run()
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        results = Results(tmp_path / "cluster.db", STEERED)
        pool = partial(dask_cluster, cluster.scheduler_address)
        Campaign(STEERED, results, pool, 2, Limits(plans=18), batch_plans=2).run()
    assert weights(results) == weights(expected)
    assert rows(results) == rows(expected)


def test_without_steering_all_rounds_have_the_weights_of_the_space(tmp_path: Path) -> None:
    executor = InLine()
    plain, results = campaign(tmp_path / "r.db", Limits(plans=20), executor, batch_plans=5)
    plain.run()
    assert not weights(results)
    assert all(job.space == KEY.space for job in executor.jobs)
