"""The map between time and traffic, and arrivals drawn with it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from simulator.exchange.diurnal import DAY_NS, HOUR_NS, UNITS_PER_DAY, WEEK_NS, WeekCurve, week_of

weights = st.one_of(st.just(0.0), st.floats(0.001, 1000))


@st.composite
def curves(draw):
    hours = draw(st.lists(weights, min_size=24, max_size=24).filter(lambda each: sum(each) > 0))
    days = draw(st.lists(weights, min_size=7, max_size=7).filter(lambda each: sum(each) > 0.1))
    return WeekCurve(tuple(hours), tuple(days))


@given(curves(), st.lists(st.integers(0, 5 * WEEK_NS), min_size=1, max_size=20))
def test_time_and_traffic_are_each_others_inverse(curve, times) -> None:
    for time_ns in times:
        units = curve.units_at(time_ns)
        begin_ns = curve.time_ns(units)
        # Not later than the time itself, except where nothing happens until then.
        if begin_ns > time_ns:
            assert curve.units_at(begin_ns) - units <= 1
        assert curve.time_ns(units + 1) >= time_ns or curve.units_at(time_ns) == units
    ordered = np.sort(np.array([curve.units_at(time_ns) for time_ns in times]))
    assert (np.diff(curve.times_ns(ordered)) >= 0).all()


@given(curves(), st.lists(st.integers(0, 3 * WEEK_NS), min_size=2, max_size=8))
def test_what_is_expected_of_parts_adds_up(curve, cuts) -> None:
    cuts.sort()
    parts = [curve.expected(100, begin, end) for begin, end in pairwise(cuts)]
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(curve.expected(100, cuts[0], cuts[-1]), abs=1e-6)


def test_a_working_day_has_the_days_rate_and_an_hour_its_share() -> None:
    curve = WeekCurve()
    assert curve.expected(80, 0, DAY_NS) == pytest.approx(80)
    assert curve.expected(80, 5 * DAY_NS, 6 * DAY_NS) == pytest.approx(8)
    assert curve.expected(80, 9 * HOUR_NS, 10 * HOUR_NS) == pytest.approx(8)
    assert curve.expected(80, 9 * HOUR_NS, 9 * HOUR_NS + HOUR_NS // 4) == pytest.approx(2)
    assert curve.peak_to_mean == pytest.approx(2.4)
    assert curve.units_per_week == round(5.2 * UNITS_PER_DAY)


@given(curves(), st.integers(0, WEEK_NS), st.integers(1, WEEK_NS), st.integers(0, 99))
def test_arrivals_are_sorted_within_the_interval_and_never_in_an_idle_hour(
    curve, from_ns, length_ns, seed
) -> None:
    until_ns = from_ns + length_ns
    parts = list(curve.arrivals(30, from_ns, until_ns, np.random.default_rng(seed)))
    times = np.concatenate([*parts, np.empty(0, dtype=np.int64)])
    assert times.dtype == np.int64
    assert (np.diff(times) >= 0).all()
    assert ((times >= from_ns) & (times < until_ns)).all()
    for time_ns in times.tolist():
        hour_ns = time_ns // HOUR_NS * HOUR_NS
        assert curve.expected(1, hour_ns, hour_ns + HOUR_NS) > 0


def test_arrivals_follow_the_curve() -> None:
    curve = WeekCurve()
    drawn = curve.arrivals(100_000, 0, WEEK_NS, np.random.default_rng(1))
    times = np.concatenate(list(drawn))
    counted = np.bincount(times // HOUR_NS, minlength=7 * 24)
    expected = [
        curve.expected(100_000, hour * HOUR_NS, (hour + 1) * HOUR_NS) for hour in range(7 * 24)
    ]
    assert abs(len(times) - 520_000) < 4 * 520_000**0.5
    expected = np.array(expected) * len(times) / sum(expected)
    assert chisquare(counted, expected).pvalue > 0.001
    # The same test sees a curve that is a little different.
    other = np.array(expected)
    other[9], other[10] = other[9] * 1.1, other[10] - other[9] * 0.1
    assert chisquare(counted, other).pvalue < 0.001
    # Within an hour they are spread evenly, as in a Poisson process.
    within = times[times // HOUR_NS == 10] % HOUR_NS
    assert kstest(within / HOUR_NS, "uniform").pvalue > 0.001


def test_arrivals_come_in_arrays_of_bounded_size_and_repeat() -> None:
    curve = WeekCurve()
    first = list(curve.arrivals(3e6, 0, DAY_NS, np.random.default_rng(5)))
    again = list(curve.arrivals(3e6, 0, DAY_NS, np.random.default_rng(5)))
    assert len(first) > 40 and max(map(len, first)) < 70_000
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    ("hours", "days"),
    [
        ((1.0,) * 23, (1.0,) * 7),
        ((1.0,) * 24, (1.0,) * 6),
        ((0.0,) * 24, (1.0,) * 7),
        ((1.0,) * 24, (0.0,) * 7),
        ((1.0,) * 23 + (-1.0,), (1.0,) * 7),
        ((1.0,) * 23 + (float("nan"),), (1.0,) * 7),
        ((1.0,) * 23 + (float("inf"),), (1.0,) * 7),
        ((1.0,) * 24, (1.0,) * 6 + (1e6,)),
    ],
)
def test_a_curve_that_cannot_be_is_refused(hours, days) -> None:
    with pytest.raises(ValueError, match=r"weight|traffic"):
        WeekCurve(hours, days)


def test_a_week_of_equal_days() -> None:
    curve = week_of([1.0] * 24, weekend_share=0.5)
    assert curve.peak_to_mean == pytest.approx(1)
    assert curve.expected(1, 0, WEEK_NS) == pytest.approx(6)
