"""The search by bounds against looking at each place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.plan import bounded_search
from simulator.plan.bounded_search import first_at_most, largest

RISES = st.lists(st.integers(0, 6), min_size=1, max_size=300)


@given(RISES, st.randoms(use_true_random=False), st.sampled_from([16, 64, 100_000]))
def test_it_finds_what_a_search_finds(rises: list[int], random: object, at_once: int) -> None:
    up = np.cumsum([0, *rises]).astype(float)
    down = np.cumsum([0, *(random.randint(0, 6) for _ in rises)]).astype(float)
    asked = 8
    factor = np.array([random.choice([0.5, 1.0, 1.7]) for _ in range(asked)])
    begin = np.array([random.randrange(len(up)) for _ in range(asked)])
    end = np.array([random.randrange(int(b), len(up)) for b in begin])
    limit = np.array([float(random.randint(-60, 60)) for _ in range(asked)])

    def value(question: np.ndarray, place: np.ndarray) -> np.ndarray:
        return up[place] - factor[question] * down[place]

    def at_most(question: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return up[high] - factor[question] * down[low]

    def at_least(question: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return up[low] - factor[question] * down[high]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_search, "_PIECES_AT_ONCE", at_once)
        highest = largest(begin, end, value, at_most)
        first = first_at_most(begin, end, limit, value, at_least)
    for number, (b, e) in enumerate(zip(begin, end, strict=True)):
        values = up[b : e + 1] - factor[number] * down[b : e + 1]
        assert highest[number] == values.max()
        low = np.flatnonzero(values <= limit[number])
        assert first[number] == (b + low[0] if len(low) else e + 1)


def test_a_bound_that_is_none_misses_the_peak() -> None:
    """Why bounds must hold: with the value at one end in their place, a peak within is lost."""
    curve = np.zeros(1_000)
    curve[517] = 1.0
    begin, end = np.array([0]), np.array([999])

    def value(_question: np.ndarray, place: np.ndarray) -> np.ndarray:
        return curve[place]

    def holds(question: np.ndarray, _low: np.ndarray, _high: np.ndarray) -> np.ndarray:
        return np.ones(len(question))

    def wrong(_question: np.ndarray, _low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return curve[high]

    assert largest(begin, end, value, holds).tolist() == [1.0]
    assert largest(begin, end, value, wrong).tolist() == [0.0]
