"""Outages answered by the tree of the path, against the same outage walked through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.plan.capacity import without
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import TimeGrid
from simulator.plan.outages import OutageModel
from simulator.plan.protection import ByteLevel, LogShipping, ObjectLevel, Queued

STEPS = 60


def curve(logs: list[int], log_file_bytes: int = 7, log_sets: int = 1) -> ChangeCurve:
    amounts = np.array(logs, float)
    grid = TimeGrid(len(logs), step_seconds=60.0)
    return ChangeCurve(
        grid,
        amounts,
        amounts * 2,
        amounts / 2,
        log_file_bytes=log_file_bytes,
        log_sets=log_sets,
    )


KINDS: dict[str, Queued] = {
    "bytes": ByteLevel(saving=0.5, overhead=0.0, delay_seconds=2.0),
    "logs": LogShipping(saving=0.0, idle_logs_per_day=0.0),
    "objects": ObjectLevel(overhead=0.0, saving=0.0),
}


@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(st.integers(0, 9), min_size=STEPS, max_size=STEPS),
    st.integers(1, 30),
    st.integers(0, STEPS - 1),
    st.integers(0, STEPS),
)
def test_an_outage_is_what_it_is_step_by_step(
    kind: str, logs: list[int], could: int, begin: int, length: int
) -> None:
    length = min(length, STEPS - begin)
    queue = KINDS[kind].queue(curve(logs))
    grid = queue.grid
    capacity = np.full(STEPS, float(could))
    model = OutageModel(queue, capacity)
    found = model.effects(np.array([begin * 60.0]), np.array([length * 60.0]))

    hole = without(capacity, grid, [(begin * 60.0, length * 60.0)])
    waiting, service, ready = model._waiting[begin], queue.service(hole), np.diff(queue.ready)
    peak, lag = waiting, 0.0
    caught_up = None
    course = queue.course(hole)
    for step in range(begin, STEPS):
        if step >= begin + length and waiting <= 0.5:
            caught_up = (step - begin - length) * 60.0
            break
        waiting = max(0.0, waiting + ready[step] - service[step])
        peak = max(peak, waiting)
        if step + 1 >= begin + length:
            lag = max(lag, course.lag_seconds[step])
    else:
        if waiting <= 0.5:
            caught_up = (STEPS - begin - length) * 60.0
    assert found.spool_peak_bytes[0] == pytest.approx(peak)
    assert found.caught_up[0] == (caught_up is not None)
    if caught_up is not None:
        assert found.catch_up_seconds[0] == caught_up
    if length:
        assert found.lag_peak_seconds[0] == pytest.approx(
            max(lag, found.lag_at_return_seconds[0]), abs=1e-6
        )
        assert found.lag_at_return_seconds[0] == pytest.approx(
            course.lag_seconds[begin + length - 1], abs=1e-6
        )


@given(
    st.lists(st.integers(0, 9), min_size=STEPS, max_size=STEPS),
    st.integers(0, STEPS - 1),
    st.integers(1, 100),
)
def test_a_spool_is_full_when_more_has_come_than_it_holds(
    logs: list[int], begin: int, limit: int
) -> None:
    model = OutageModel(KINDS["bytes"].queue(curve(logs)), np.full(STEPS, 1e9))
    [found] = model.seconds_until_full(np.array([begin * 60.0]), float(limit))
    sums = np.cumsum(3 * np.array(logs[begin:]))
    full = np.flatnonzero(sums > limit)
    if len(full):
        place = full[0]
        before = float(sums[place - 1]) if place else 0.0
        within = (limit - before) / (sums[place] - before)  # bytes of a step come evenly
        assert found == pytest.approx((place + within) * 60.0)
    else:
        assert np.isnan(found)


def test_many_outages_at_once_are_those_one_by_one() -> None:
    random = np.random.default_rng(7)
    logs = random.integers(0, 9, 2_000).tolist()
    model = OutageModel(KINDS["logs"].queue(curve(logs)), np.full(2_000, 6.0))
    begin = random.integers(0, 1_000, 300) * 60.0
    length = random.integers(0, 500, 300) * 60.0
    together = model.effects(begin, length).frame()
    for number in range(0, 300, 17):
        alone = model.effects(begin[[number]], length[[number]]).frame()
        assert alone.iloc[0].equals(together.iloc[number])


@pytest.mark.parametrize("kind", ["bytes", "objects"])
def test_loads_and_services_are_those_of_another_site_and_link(kind: str) -> None:
    random = np.random.default_rng(11)
    change = curve((random.integers(0, 9, 2_000) * 1_000_000).tolist())
    capacity = random.integers(0, 13, 2_000) * (1e6 if kind == "bytes" else 0.3e6)
    begin = random.integers(0, 1_000, 60) * 60.0
    length = random.integers(0, 500, 60) * 60.0
    load, service = random.uniform(0.2, 3.0, 60), random.uniform(0.5, 2.0, 60)
    found = OutageModel(KINDS[kind].queue(change), capacity).effects(begin, length, load, service)
    assert 10 < found.caught_up.sum() < 60
    for each in range(60):
        queue = KINDS[kind].queue(change.scaled(float(load[each])))
        other = OutageModel(queue, capacity * service[each]).effects(begin[[each]], length[[each]])
        alone, together = other.frame().iloc[0], found.frame().iloc[each]
        assert alone["caught_up"] == together["caught_up"]
        assert np.allclose(
            alone.astype(float), together.astype(float), rtol=1e-6, atol=1e-2, equal_nan=True
        )


def test_a_longer_outage_fills_no_smaller_spool_and_ages_no_less() -> None:
    random = np.random.default_rng(5)
    model = OutageModel(
        KINDS["bytes"].queue(curve(random.integers(0, 9, 3_000).tolist())), np.full(3_000, 8.0)
    )
    begin = np.repeat(random.integers(0, 1_000, 50) * 60.0, 40)
    length = np.tile(np.arange(40) * 600.0, 50)
    found = model.effects(begin, length)
    for each in (found.spool_peak_bytes, found.lag_peak_seconds):
        assert (np.diff(each.reshape(50, 40)) >= -1e-6).all()


def test_a_queue_that_holds_something_is_empty_when_a_walk_says_so() -> None:
    random = np.random.default_rng(6)
    logs, could = random.integers(0, 9, 200), random.integers(0, 30, 200).astype(float)
    model = OutageModel(KINDS["objects"].queue(curve(logs.tolist())), could)
    taken = model.drained(np.array([600.0, 3_000.0, 11_940.0]), np.array([50.0, 0.0, 1e6]))
    for number, (start, held) in enumerate(((10, 50.0), (50, 0.0))):
        waiting, step = held, start
        while waiting > 0.5:
            waiting = max(0.0, waiting + logs[step] / 2 - could[step])
            step += 1
        assert taken[number] == (step - start) * 60.0
    assert np.isnan(taken[2])
    assert model.ready_bytes(np.array([0.0]), np.array([600.0])) == logs[:10].sum() / 2


def test_an_outage_outside_of_the_curve_is_refused() -> None:
    model = OutageModel(KINDS["bytes"].queue(curve([1] * STEPS)), np.full(STEPS, 5.0))
    with pytest.raises(ValueError, match="within the grid"):
        model.effects(np.array([0.0]), np.array([61 * 60.0]))
    with pytest.raises(ValueError, match="positive"):
        model.effects(0.0, 60.0, service=-1.0)
    with pytest.raises(ValueError, match="within the grid"):
        model.drained(np.array([-60.0]), np.array([1.0]))
