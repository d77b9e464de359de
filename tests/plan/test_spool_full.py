"""Outages that fill the spool, walked through minute by minute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.plan.outages import OutageModel
from simulator.plan.protection import ByteLevel, LogShipping
from simulator.plan.spool_full import Spool, with_spool
from tests.plan.curves import flat

STEPS = 300
PLAIN = ByteLevel(saving=0.0, overhead=0.0)


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(6, 15),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 200),
    st.sampled_from(["resynchronize", "hold"]),
)
def test_a_full_spool_step_by_step(
    seed: int, could: int, begin: int, length: int, limit: int, policy: str
) -> None:
    amounts = np.random.default_rng(seed).integers(0, 10, STEPS).astype(float)
    model = OutageModel(PLAIN.queue(flat(amounts)), np.full(STEPS, float(could)))
    spool = Spool(
        limit_bytes=float(limit),
        policy=policy,
        data_set_bytes=90.0,
        compare_bytes_per_second=0.25,  # six minutes for all
        rewritten_share=0.5,
    )
    found = with_spool(model, spool, begin * 60.0, length * 60.0).frame().iloc[0]

    waiting = 0.0
    for came in amounts[:begin]:
        waiting = max(0.0, waiting + came - could)
    waited, end = waiting, begin + length
    full_at = float(begin) if waiting > limit else None
    for step in range(begin, end):
        if waiting + amounts[step] > limit and full_at is None:
            full_at = step + (limit - waiting) / amounts[step]  # bytes of a step come evenly
        waiting += amounts[step]
    if full_at is None:
        late = waiting
        for step in range(end, STEPS):
            if late <= 0.5:
                break
            late = max(0.0, late + amounts[step] - could)
            if late > limit + 0.5:
                full_at = float(end)
                break
    if full_at is None:
        assert found["full_after_seconds"] is None
        start = end
    else:
        assert found["full_after_seconds"] == pytest.approx((full_at - begin) * 60.0)
    if full_at is None:
        assert found["stands_still_seconds"] == 0.0
    elif policy == "hold":
        # What is above the limit is not written: so much of a step the store stands still.
        waiting, start, still = min(waiting, float(limit)), end, end - full_at
        while waiting > 0.5 and start < STEPS:
            waiting = max(0.0, waiting + amounts[start] - could)
            if waiting > limit:
                still += (waiting - limit) / amounts[start]
                waiting = float(limit)
            start += 1
        assert found["stands_still_seconds"] == pytest.approx(still * 60.0)
    else:
        assert found["compared_bytes"] == 90.0
        differs = min(90.0, waited + 0.5 * amounts[begin:end].sum())
        assert found["differing_bytes"] == pytest.approx(differs)
        start = end + 6
        waiting = differs + amounts[end:start].sum()
    step = start
    while waiting > 0.5 and step < STEPS:
        waiting = max(0.0, waiting + amounts[step] - could)
        step += 1
    behind = (step - begin) * 60.0 if waiting <= 0.5 else None
    assert found["behind_seconds"] == behind
    if full_at is not None and policy == "resynchronize":
        unprotected = None if behind is None else pytest.approx((step - full_at) * 60.0)
        assert found["unprotected_seconds"] == unprotected
    else:
        assert found["unprotected_seconds"] == 0.0


def walked_hold(amounts: np.ndarray, could: np.ndarray, limit: float) -> tuple[float, float]:
    """Steps that the store stands still, and what was not written, byte level."""
    waiting = still = lost = 0.0
    for came, most in zip(amounts, could, strict=True):
        now = max(0.0, waiting + came - most)
        waiting = min(now, limit)
        still += (now - waiting) / came if came else 0.0
        lost += now - waiting
    return still, lost


def test_a_spool_that_is_full_while_it_catches_up_holds_the_writers() -> None:
    """A night's burst after the return: the outage alone leaves half of the limit."""
    amounts = np.concatenate(([5.0] * 10, [1.0] * 10, [40.0] * 5, [1.0] * 275))
    capacity = np.full(STEPS, 8.0)
    model = OutageModel(PLAIN.queue(flat(amounts)), capacity)
    spool = Spool(limit_bytes=100.0, policy="hold", data_set_bytes=None)
    [row] = with_spool(model, spool, 0.0, 900.0).frame().itertuples()
    could = np.concatenate((np.zeros(15), capacity[15:]))
    still, lost = walked_hold(amounts, could, 100.0)
    # 55 wait at the return, 20 after five minutes; the burst of 200 meets 40 of the line.
    assert lost == 20 + 200 - 40 - 100
    assert row.stands_still_seconds == pytest.approx(still * 60.0)
    assert row.full_after_seconds == 900.0
    # A spool without a bound would hold all of it, and be empty later.
    assert row.behind_seconds < model.effects(0.0, 900.0).catch_up_seconds[0] + 900.0
    wide = Spool(limit_bytes=181.0, policy="hold", data_set_bytes=None)
    assert with_spool(model, wide, 0.0, 900.0).stands_still_seconds.tolist() == [0.0]


def test_logs_that_are_not_written_took_as_long_as_they_were_open() -> None:
    """Closed logs come all at once; the store stood still for the time in which they grew."""
    change = flat([1.0] * STEPS, log_file_bytes=10)
    kind = LogShipping(saving=0.0, idle_logs_per_day=0.0)
    capacity = np.where(np.arange(STEPS) < 100, 0.5, 5.0)
    model = OutageModel(kind.queue(change), capacity)
    spool = Spool(limit_bytes=20.0, policy="hold", data_set_bytes=None)
    found = with_spool(model, spool, 0.0, 1_200.0)
    # From minute 20 to 100 half of 80 bytes is not taken, at a byte a minute.
    assert found.stands_still_seconds[0] == pytest.approx(40 * 60.0, abs=10 * 60.0)


def test_loads_are_those_of_another_site() -> None:
    amounts = np.random.default_rng(2).integers(0, 10, STEPS) * 1e6
    model = OutageModel(PLAIN.queue(flat(amounts)), np.full(STEPS, 8e6))
    spool = Spool(limit_bytes=4e7, data_set_bytes=9e7, compare_bytes_per_second=1e5)
    begin, length = np.arange(0.0, 6_000.0, 600.0), np.arange(0.0, 3_000.0, 300.0)
    found = with_spool(model, spool, begin, length, load=1.3, service=1.4)
    other = OutageModel(PLAIN.queue(flat(amounts * 1.3)), np.full(STEPS, 8e6 * 1.4))
    expected = with_spool(other, spool, begin, length)
    for name in found.__dataclass_fields__:
        assert np.allclose(getattr(found, name), getattr(expected, name), equal_nan=True), name
    assert 0 < np.isfinite(found.full_after_seconds).sum() < len(begin)
    hold = replace(spool, policy="hold")
    found = with_spool(model, hold, begin, length, load=1.3, service=1.4)
    expected = with_spool(other, hold, begin, length)
    assert np.allclose(found.stands_still_seconds, expected.stands_still_seconds)
    assert found.stands_still_seconds.max() > 0


def test_what_does_not_end_within_the_curve_is_none() -> None:
    model = OutageModel(PLAIN.queue(flat([5.0] * 30)), np.full(30, 4.0))
    spool = Spool(limit_bytes=10.0, data_set_bytes=1e6, compare_bytes_per_second=1.0)
    [row] = with_spool(model, spool, 0.0, 600.0).frame().itertuples()
    assert row.full_after_seconds == 120.0  # just full; there is no third minute in it
    assert row.unprotected_seconds is None
    assert row.behind_seconds is None


@pytest.mark.parametrize(
    "wrong",
    [{"limit_bytes": 0.0}, {"data_set_bytes": np.inf}, {"rewritten_share": 1.5}],
)
def test_what_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"positive numbers|within 0 and 1"):
        Spool(**{"limit_bytes": 1.0, "data_set_bytes": 1.0, **wrong})


def test_a_data_set_of_unknown_size_has_no_figures_of_a_resynchronization() -> None:
    model = OutageModel(PLAIN.queue(flat([10.0] * STEPS)), np.full(STEPS, 20.0))
    given = {"limit_bytes": 100.0, "compare_bytes_per_second": 1.0}
    unknown = with_spool(model, Spool(**given, data_set_bytes=None), 0.0, [300.0, 1_200.0])
    known = with_spool(model, Spool(**given, data_set_bytes=90.0), 0.0, [300.0, 1_200.0])
    assert unknown.full_after_seconds.tolist()[1] == known.full_after_seconds.tolist()[1]
    for name in ("compared_bytes", "differing_bytes", "unprotected_seconds"):
        held, full = getattr(unknown, name)
        assert held == 0.0 and np.isnan(full), name
        assert getattr(known, name)[1] > 0.0
    assert unknown.behind_seconds[0] == known.behind_seconds[0]
    assert np.isnan(unknown.behind_seconds[1])
