"""The fluid queue against a walk step by step, and the tree of a path against a plain search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.plan.fluid import PathTree, backlog, cumulative, lag_seconds

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
