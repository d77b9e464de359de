"""Bounds of stretches: never passed by a value, and exact where stretches fill whole blocks."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.plan.extremes import Extremes
from simulator.plan.outages import OutageModel
from simulator.plan.protection import ByteLevel
from tests.plan.curves import flat


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1_000, 4_096])
def test_no_value_passes_the_bounds(size: int) -> None:
    random = np.random.default_rng(size)
    values = random.normal(0, 1, size)
    found = Extremes(values)
    begin = random.integers(0, size, 300)
    end = np.array([random.integers(b + 1, size + 1) for b in begin])
    low, high = found.at_least(begin, end), found.at_most(begin, end)
    for b, e, least, most in zip(begin, end, low, high, strict=True):
        whole = values[b // 64 * 64 : -(-e // 64) * 64]
        assert (least, most) == (whole.min(), whole.max())
        assert least <= values[b:e].min() and values[b:e].max() <= most


def test_even_curves_are_not_searched_through() -> None:
    """A load that is just the link's: each step is as good as the others."""
    amounts = np.full(300_000, 1e9)
    model = OutageModel(ByteLevel(saving=0.0, overhead=0.0).queue(flat(amounts)), amounts)
    looked = 0
    had = type(model.queue).arrived_whole

    def counted(queue: object, sent: np.ndarray) -> np.ndarray:
        nonlocal looked
        looked += len(sent)
        return had(queue, sent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.queue), "arrived_whole", counted)
        effects = model.effects(np.arange(10) * 6e5, 36_000.0)
    assert looked < 20_000  # of three million
    assert not effects.caught_up.any()
    assert effects.lag_peak_seconds == pytest.approx(36_000.0)
    assert effects.spool_peak_bytes == pytest.approx(600e9)
