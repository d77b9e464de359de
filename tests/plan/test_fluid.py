"""The fluid queue against a walk step by step, and the tree of a path against a plain search."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.plan import fluid
from simulator.plan.fluid import (
    EMPTY_BYTES,
    PathTree,
    backlog,
    cumulative,
    lag_seconds,
    oldest_place,
)
from simulator.plan.grid import Floats

AMOUNTS = st.lists(st.integers(0, 20), min_size=1, max_size=40)


def walked(arrivals: list[int], service: list[int], initial: float) -> list[float]:
    waiting, found = initial, []
    for came, could in zip(arrivals, service, strict=True):
        waiting = max(0.0, waiting + came - could)
        found.append(waiting)
    return found


@given(AMOUNTS, st.randoms(use_true_random=False), st.integers(0, 30))
def test_the_backlog_is_that_of_a_walk(arrivals: list[int], random: object, initial: int) -> None:
    service = [random.randint(0, 20) for _ in arrivals]
    found = backlog(np.array(arrivals, float), np.array(service, float), float(initial))
    assert found.tolist() == walked(arrivals, service, float(initial))


def oldest(arrivals: list[int], left: float, step: int) -> float:
    """The age of the oldest byte, by looking through the steps."""
    total = 0.0
    for number, came in enumerate(arrivals[:step]):
        if total + came > left:
            return step - number - (left - total) / came
        total += came
    return 0.0


@given(AMOUNTS, st.randoms(use_true_random=False))
def test_the_lag_is_the_age_of_the_oldest_byte(arrivals: list[int], random: object) -> None:
    service = [float(random.randint(0, 20)) for _ in arrivals]
    came = cumulative(np.array(arrivals, float))
    waiting = backlog(np.diff(came), np.array(service))
    found = lag_seconds(came, came[1:] - waiting, 1.0)
    for step, (lag, left) in enumerate(zip(found, came[1:] - waiting, strict=True), 1):
        assert lag == pytest.approx(oldest(arrivals, left, step), abs=1e-9)


def test_the_lag_of_bytes_that_came_before_a_pause() -> None:
    came = cumulative(np.array([10.0, 0.0, 0.0, 10.0]))
    assert lag_seconds(came, np.array([0.0, 5.0, 10.0, 10.0]), 60.0).tolist() == [
        60.0,
        90.0,  # half of the first step's are on their way still
        0.0,
        60.0,
    ]


def exact_waiting(arrivals: Floats, service: Floats) -> list[Fraction]:
    """The backlog at the end of each step, in fractions."""
    waiting, found = Fraction(0), []
    for came, could in zip(arrivals, service, strict=True):
        waiting = max(Fraction(0), waiting + Fraction(came) - Fraction(could))
        found.append(waiting)
    return found


def exact_ages(arrivals: Floats, service: Floats, besides: Fraction) -> list[Fraction | None]:
    """The age in steps, at the end of each step, of the oldest byte but so many; None where no more
    wait."""
    sums = [Fraction(0)]
    for each in arrivals:
        sums.append(sums[-1] + Fraction(each))
    ages: list[Fraction | None] = []
    for end, waiting in enumerate(exact_waiting(arrivals, service), 1):
        left = sums[end] - waiting + besides
        if left >= sums[end]:
            ages.append(None)
            continue
        step = next(at for at in range(end) if sums[at + 1] > left)
        ages.append(end - step - (left - sums[step]) / (sums[step + 1] - sums[step]))
    return ages


def busy_and_idle(seed: int, places: int = 60) -> tuple[Floats, Floats]:
    """Some GB in steps of any size, with idle stretches, on a line that comes and goes."""
    random = np.random.default_rng(seed)
    busy = np.repeat(random.integers(0, 2, places // 4), 4)
    arrivals = random.uniform(1.0, 1e9, places) / 7.0 * busy
    service = random.uniform(0.0, 2e9, places) / 3.0
    service[random.random(places) < 0.3] = 0.0
    return arrivals, service


def found_lags(arrivals: Floats, service: Floats) -> Floats:
    came = cumulative(arrivals)
    return lag_seconds(came, came[1:] - backlog(arrivals, service), 1.0)


@given(st.integers(0, 2**32 - 1))
def test_no_lag_is_longer_than_that_of_an_exact_walk(seed: int) -> None:
    arrivals, service = busy_and_idle(seed)
    found = found_lags(arrivals, service)
    at_most = exact_ages(arrivals, service, Fraction(0))
    # And none is shorter than of what surely waits: more than an empty queue may have.
    at_least = exact_ages(arrivals, service, Fraction(2 * EMPTY_BYTES))
    for lag, most, least in zip(found, at_most, at_least, strict=True):
        assert lag <= (most or 0) + 1
        assert lag >= (least or 0) - 1


def test_rounding_before_an_idle_stretch_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The safeguard: all has left but a millionth of a byte of what came before a night."""
    came = cumulative(np.array([1e9 / 3.0, *[0.0] * 8, 1e9, 1e9]))
    left = came[1] - 1e-6
    assert oldest_place(came, np.array([left])).tolist() == [9.0]
    assert lag_seconds(came, np.array([left]), 1.0, np.array([11])).tolist() == [2.0]
    monkeypatch.setattr(fluid, "EMPTY_BYTES", 0.0)
    assert lag_seconds(came, np.array([left]), 1.0, np.array([11]))[0] == pytest.approx(10.0)


def test_a_byte_of_the_last_step_is_not_looked_for_behind_it() -> None:
    came = cumulative(np.array([0.25, 0.25, 10.0, 0.0]))
    assert oldest_place(came, np.array([10.4, 10.5])).max() <= 4.0


@settings(max_examples=200)
@given(
    st.lists(st.integers(-9, 9), min_size=1, max_size=70),
    st.lists(st.tuples(st.integers(0, 70), st.integers(-10, 10)), min_size=1, max_size=20),
)
def test_the_tree_finds_what_a_search_finds(
    values: list[int], questions: list[tuple[int, int]]
) -> None:
    path, tree = np.array(values, float), PathTree(np.array(values, float))
    begin = np.array([min(begin, len(values)) for begin, _limit in questions])
    limit = np.array([float(limit) for _begin, limit in questions])

    def first(meets: object) -> list[int]:
        return [
            next((at for at in range(b, len(values)) if meets(path[at], x)), len(values))
            for b, x in zip(begin, limit, strict=True)
        ]

    assert tree.first_at_most(begin, limit).tolist() == first(lambda value, x: value <= x)
    assert tree.first_above(begin, limit).tolist() == first(lambda value, x: value > x)
    end = np.minimum(begin + np.arange(len(begin)), len(values))
    assert tree.highest(begin, end).tolist() == [
        max(values[b:e], default=-np.inf) for b, e in zip(begin, end, strict=True)
    ]
