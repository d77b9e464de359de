"""Outages of protections that take snapshots, against their course on a link with the hole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.plan.capacity import without
from simulator.plan.change import ChangeCurve
from simulator.plan.fluid import EMPTY_BYTES
from simulator.plan.grid import TimeGrid
from simulator.plan.protection import ChangedBlocks, NightlyBackup, Protection
from simulator.plan.run_outages import RunOutages, outages_of
from tests.plan.curves import flat

STEPS = 60


def curve(logs: list[int], step_seconds: float = 60.0) -> ChangeCurve:
    amounts = np.array(logs, float)
    grid = TimeGrid(len(logs), step_seconds=step_seconds)
    return ChangeCurve(grid, amounts, amounts * 2, amounts / 2, stored_bytes=40.0)


KINDS: dict[str, ChangedBlocks | NightlyBackup] = {
    "blocks": ChangedBlocks(interval_seconds=300.0, rewritten_share=0.5, saving=0.0),
    "late blocks": ChangedBlocks(interval_seconds=60.0, rewritten_share=0.0, saving=0.0),
    "full": NightlyBackup(at_seconds=7_200.0, full=True, saving=0.5),
    "logs": NightlyBackup(at_seconds=0.0, saving=0.0),
}


@settings(max_examples=100)
@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(st.integers(0, 9), min_size=STEPS, max_size=STEPS),
    st.integers(1, 40),
    st.integers(0, STEPS - 1),
    st.integers(0, STEPS),
)
def test_an_outage_is_what_the_course_shows(
    name: str, logs: list[int], could: int, begin: int, length: int
) -> None:
    kind, length = KINDS[name], min(length, STEPS - begin)
    step = 3_600.0 if isinstance(kind, NightlyBackup) else 60.0
    change, capacity = curve(logs, step), np.full(STEPS, float(could))
    runs = kind.runs(change)
    effects = RunOutages(runs, capacity).effects(begin * step, length * step)

    hole = without(capacity, change.grid, [(begin * step, length * step)])
    with_hole, base = kind.course(change, hole), kind.course(change, capacity)
    lacks = np.concatenate(([0.0], with_hole.waiting_bytes))
    lags = np.concatenate(([0.0], with_hole.lag_seconds))
    usual = np.concatenate(([0.0], base.waiting_bytes))
    end, until = begin + length, None
    for place in range(end, STEPS + 1):
        if lacks[place] <= usual[place] + EMPTY_BYTES:
            until = place
            break
    last = STEPS if until is None else max(end, until - 1)
    assert effects.caught_up[0] == (until is not None)
    if until is not None:
        assert effects.catch_up_seconds[0] == (until - end) * step
    assert effects.lag_at_return_seconds[0] == pytest.approx(lags[end], abs=1e-6)
    assert effects.spool_peak_bytes[0] == pytest.approx(max(lacks[end : last + 1]))
    assert effects.lag_peak_seconds[0] == pytest.approx(max(lags[end : last + 1]), abs=1e-6)


def test_loads_are_those_of_a_site_that_writes_so_much() -> None:
    random = np.random.default_rng(3)
    change = curve(random.integers(0, 9, 600).tolist())
    capacity = np.full(600, 20.0)
    kind = ChangedBlocks(interval_seconds=600.0, rewritten_share=0.3, saving=0.3)
    begin, length = random.integers(0, 300, 40) * 60.0, random.integers(1, 90, 40) * 60.0
    load = 1.02**17
    found = outages_of(kind, change, capacity).effects(begin, length, load=load).frame()
    other = outages_of(kind, change.scaled(load), capacity).effects(begin, length).frame()
    assert np.allclose(found.astype(float), other.astype(float), equal_nan=True)


def test_what_is_refused() -> None:
    model = outages_of(ChangedBlocks(), curve([1] * STEPS), np.full(STEPS, 5.0))
    with pytest.raises(ValueError, match="within the grid"):
        model.effects(0.0, 61 * 60.0)
    with pytest.raises(ValueError, match="positive"):
        model.effects(0.0, 60.0, load=0.0)

    class Other:
        name = "other"

        def course(self, change: ChangeCurve, capacity_bytes: object) -> None:
            raise NotImplementedError

    other: Protection = Other()
    with pytest.raises(TypeError, match="'other'"):
        outages_of(other, curve([1]), np.ones(1))


def test_no_more_than_one_run_begins_in_a_step() -> None:
    change = flat([1.0] * 60)
    for interval in (1e-6, 1.0, 60.0):
        runs = ChangedBlocks(interval_seconds=interval).runs(change)
        assert runs.due_seconds.tolist() == [60.0 * step for step in range(60)]
    assert len(ChangedBlocks(interval_seconds=90.0).runs(change).due_seconds) == 40
    for wrong in (0.0, -60.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="runs cannot be"):
            ChangedBlocks(interval_seconds=wrong)
