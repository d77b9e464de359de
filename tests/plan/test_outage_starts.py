"""The starts that are tried, against trying each step."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.plan.grid import Floats, TimeGrid
from simulator.plan.outage_starts import every_start, hour_starts, worst_starts
from simulator.plan.outages import OutageModel
from simulator.plan.protection import ByteLevel, ChangedBlocks
from simulator.plan.run_outages import RunOutages
from simulator.plan.volumes import replica_spool, spool_lasts, spool_size, spool_surface
from tests.plan.curves import flat

HOUR = 3_600.0
STEP = 300.0
PLAIN = ByteLevel(saving=0.0, overhead=0.0)


def model_of(seed: int) -> OutageModel:
    """Two days in steps of five minutes: bursts, noise, and a line that changes each other hour."""
    random = np.random.default_rng(seed)
    amounts = 1e6 * (random.integers(0, 9, 576) + np.where(random.random(576) < 0.02, 90, 0))
    capacity = np.repeat(random.uniform(0.5, 2.5, 24), 24) * amounts.mean()
    return OutageModel(PLAIN.queue(flat(amounts, STEP)), capacity)


def of_each_hour(starts: Floats, values: Floats) -> list[float]:
    hours = (starts // HOUR).astype(int)
    return [float(values[hours == hour].max()) for hour in np.unique(hours)]


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_the_worst_start_of_each_hour_is_among_them(seed: int, steps: int) -> None:
    model, length = model_of(seed), steps * STEP
    tried, _hours = worst_starts(model, length, with_lag=True)
    every = np.arange(0.0, model.grid.span_seconds - length + 1, STEP)
    found, exact = (model.effects(each, length) for each in (tried, every))

    def waits(begin: Floats) -> Floats:
        return model.waiting_bytes(begin) + model.ready_bytes(begin, begin + length)

    assert of_each_hour(tried, waits(tried)) == pytest.approx(of_each_hour(every, waits(every)))
    never = model.grid.span_seconds + HOUR
    ends = [
        of_each_hour(
            each.begin_seconds,
            each.begin_seconds + length + np.nan_to_num(each.catch_up_seconds, nan=never),
        )
        for each in (found, exact)
    ]
    # Where it is never caught up the later begin of an hour ends later, and neither ends.
    assert np.minimum(ends[0], never).tolist() == np.minimum(ends[1], never).tolist()
    # What grows between two returns of one hour is the rest of the difference.
    most = float(np.convolve(np.diff(model.queue.ready), np.ones(12)).max())
    assert found.spool_peak_bytes.max() >= exact.spool_peak_bytes.max() - most
    assert found.spool_peak_bytes.max() <= exact.spool_peak_bytes.max()
    assert found.lag_at_return_seconds.max() >= exact.lag_at_return_seconds.max() - HOUR


def bursts(begin_minute: int, minutes: int) -> OutageModel:
    """Three days of 1 byte a minute, and a burst of 100 a minute in each night."""
    day = np.ones(1_440)
    day[begin_minute : begin_minute + minutes] = 100.0
    return OutageModel(PLAIN.queue(flat(np.tile(day, 3))), np.full(3 * 1_440, 120.0))


def test_a_short_outage_over_a_burst_that_is_not_on_the_hour() -> None:
    model = bursts(4 * 60 + 15, 30)
    size = spool_size(model, 1_800.0)
    every = model.effects(np.arange(0.0, 2 * 86_400.0, 60.0), 1_800.0, with_lag=False)
    assert size.needed_bytes == every.spool_peak_bytes.max() == 3_000.0
    assert (size.worst_begins_at, size.worst_hour) == ("2007-01-01T04:15:00", 4)
    surface = spool_surface(model, [1_800.0])
    assert surface["hour"].tolist() == list(range(24))
    # The breach that was: on the hour half of the burst is missed.
    starts, _hours = every_start(model.grid, within_seconds=2 * 86_400.0)
    on_the_hour = starts[starts % HOUR == 0]
    least = model.effects(on_the_hour, 1_800.0, with_lag=False).spool_peak_bytes.max()
    assert least < 0.6 * size.needed_bytes
    # It lasts shortest from the begin of the burst on, not from four o'clock.
    lasts = spool_lasts(model, 1_000.0).set_index("hour")
    assert lasts.loc[4, "shortest_seconds"] == 10 * 60.0
    assert lasts.loc[4, "starts"] == 3 * 60


def test_a_line_that_is_slow_for_minutes_is_met() -> None:
    """What could not be carried counts, not only what comes."""
    capacity = np.full(3 * 1_440, 2.0)
    fast = (np.arange(3 * 1_440) % 1_440 >= 250) & (np.arange(3 * 1_440) % 1_440 < 280)
    capacity[fast] = 200.0
    model = OutageModel(PLAIN.queue(flat(np.tile([1.9] * 1_440, 3))), capacity)
    tried, _hours = worst_starts(model, 600.0)
    every = np.arange(0.0, 3 * 86_400.0 - 600.0, 60.0)
    found, exact = (model.effects(each, 600.0, with_lag=False) for each in (tried, every))
    known = np.isfinite(exact.catch_up_seconds).all()
    assert known == np.isfinite(found.catch_up_seconds).all()
    assert np.nanmax(found.catch_up_seconds) == np.nanmax(exact.catch_up_seconds)


def test_runs_are_cut_off_just_before_they_arrive() -> None:
    change = flat([1.0] * 2_880)
    kind = ChangedBlocks(interval_seconds=14_400.0, rewritten_share=0.0, saving=0.0)
    model = RunOutages(kind.runs(change), np.full(2_880, 10.0))
    tried, _hours = worst_starts(model, HOUR, within_seconds=86_400.0, with_lag=True)
    every = np.arange(0.0, 86_400.0, 60.0)
    found, exact = (model.effects(each, HOUR) for each in (tried, every))
    for name in ("spool_peak_bytes", "lag_peak_seconds", "lag_at_return_seconds"):
        assert getattr(found, name).max() == getattr(exact, name).max(), name
    assert len(tried) < 100


def test_what_waits_at_the_replica_is_tried_likewise() -> None:
    day = np.ones(1_440)
    day[255:285] = 100.0
    change = flat(np.tile(day, 3))
    table = replica_spool(change, {"check": 1_800.0}, 2.0).set_index("cause")
    assert table.loc["check", "spool_bytes"] == pytest.approx(3_000.0, rel=1e-3)


def test_hours_of_a_curve_that_does_not_begin_on_one() -> None:
    grid = TimeGrid(200, datetime(2007, 1, 2, 22, 40))
    steps, hours = hour_starts(grid)
    assert steps.tolist() == [0, 20, 80, 140]
    assert hours.tolist() == [22, 23, 0, 1]
    assert hour_starts(grid, "week")[1].tolist() == [46, 47, 48, 49]
    # Steps that fit no hour begin at the nearest; steps of hours have several in one.
    coarse = TimeGrid(10, datetime(2007, 1, 1), 2 * HOUR)
    assert hour_starts(coarse)[0].tolist() == list(range(10))
    every, of = every_start(replace(grid, steps=30))
    assert every.tolist() == [60.0 * step for step in range(30)]
    assert of.tolist() == [22] * 20 + [23] * 10


def test_what_fits_nowhere_is_refused() -> None:
    model = bursts(0, 1)
    for length in (-60.0, 4 * 86_400.0, np.inf):
        with pytest.raises(ValueError, match="does not fit the curve"):
            worst_starts(model, length)
    with pytest.raises(ValueError, match="does not fit the curve"):
        worst_starts(model, 60.0, within_seconds=0.0)
    starts, _hours = worst_starts(model, 3 * 86_400.0)
    assert starts.tolist() == [0.0]


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_of_all_hours_the_worst_stays(seed: int, steps: int) -> None:
    model, length = model_of(seed), steps * STEP
    each, all_ = (worst_starts(model, length, of_all=of_all)[0] for of_all in (False, True))
    assert set(all_) <= set(each) and len(all_) >= 48 - length // HOUR - 1
    many, few = (model.effects(starts, length, with_lag=False) for starts in (each, all_))
    assert few.spool_peak_bytes.max() == pytest.approx(many.spool_peak_bytes.max())
    assert few.caught_up.all() == many.caught_up.all()
    if many.caught_up.all():
        # That of a step later may end as late, and began to catch up a step later.
        assert few.catch_up_seconds.max() >= many.catch_up_seconds.max() - STEP
