"""Intervals of confidence cover what they say, and "never" stays never."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.plan.quantiles import of_groups, of_independent


def test_the_interval_covers_the_quantile_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    covered = narrow = 0
    for _ in range(400):
        found = of_independent(random.exponential(1.0, 120), 0.9, 0.9)
        assert found.low is not None and found.high is not None and found.estimate is not None
        covered += found.low <= np.log(10) <= found.high
        narrow += found.low <= found.estimate <= found.high
    assert narrow == 400
    assert 0.88 <= covered / 400 <= 0.98


def test_groups_that_share_an_input_need_wider_intervals() -> None:
    random = np.random.default_rng(2)
    covered_by_groups = covered_alone = 0
    for _ in range(100):
        group = np.repeat(np.arange(60), 10)
        values = np.repeat(random.normal(0, 1, 60), 10) + random.normal(0, 0.1, 600)
        grouped = of_groups(values, group, 0.5, random, 0.9, resamples=200)
        alone = of_independent(values, 0.5, 0.9)
        covered_by_groups += grouped.low <= 0 <= grouped.high
        covered_alone += alone.low <= 0 <= alone.high
    assert covered_by_groups >= 82
    assert covered_alone < 60  # ten draws of a group are no ten draws


def test_few_draws_leave_a_side_open() -> None:
    found = of_independent(np.arange(10.0), 0.99)
    assert (found.estimate, found.high) == (9.0, None)
    assert found.low is not None
    assert of_independent(np.array([]), 0.5).reason == "no draws"
    assert of_groups(np.array([]), np.array([], int), 0.5, np.random.default_rng(1)).draws == 0
    alone = of_groups(np.arange(5.0), np.zeros(5, int), 0.5, np.random.default_rng(1))
    assert (alone.estimate, alone.low, alone.high) == (2.0, None, None)


def test_never_is_larger_than_any_figure_and_has_its_reason() -> None:
    values = np.array([*np.arange(95.0), *[np.inf] * 5])
    assert of_independent(values, 0.5).reason == ""
    found = of_independent(values, 0.97, never="not caught up")
    assert (found.estimate, found.high, found.reason) == (None, None, "not caught up")
    grouped = of_groups(values, np.arange(100), 0.97, np.random.default_rng(1))
    assert (grouped.estimate, grouped.high) == (None, None)


@pytest.mark.parametrize(("share", "confidence"), [(0.0, 0.9), (1.0, 0.9), (0.5, 1.0)])
def test_what_is_refused(share: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        of_independent(np.ones(3), share, confidence)
    with pytest.raises(ValueError, match="between 0 and 1"):
        of_groups(np.ones(3), np.arange(3), share, np.random.default_rng(1), confidence)
