"""Sizes of spools and of the log volume, against trying each start, and a walk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.plan.answers import size_to_buy
from simulator.plan.capacity import PlannedLink
from simulator.plan.outages import OutageModel
from simulator.plan.protection import ByteLevel
from simulator.plan.volumes import (
    NOT_APPLIED,
    log_volume,
    replica_spool,
    spool_lasts,
    spool_size,
    spool_surface,
)
from tests.plan.curves import flat, mail

HOUR = 3_600.0
PLAIN = ByteLevel(saving=0.0, overhead=0.0)


def peak_of(amounts: np.ndarray, could: float, begin: int, length: int) -> float:
    """The most that waits, by walking; from the begin of the outage until nothing does."""
    waiting = 0.0
    for came in amounts[:begin]:
        waiting = max(0.0, waiting + came - could)
    peak = waiting
    for step in range(begin, len(amounts)):
        down = step < begin + length
        if not down and waiting <= 0.5:
            break
        waiting = max(0.0, waiting + amounts[step] - (0.0 if down else could))
        peak = max(peak, waiting)
    return peak


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 9), min_size=72, max_size=72), st.integers(1, 12), st.integers(0, 20)
)
def test_the_surface_is_the_worst_of_each_hour(amounts: list[int], could: int, hours: int) -> None:
    change = flat(amounts, step_seconds=HOUR)
    model = OutageModel(PLAIN.queue(change), np.full(72, float(could)))
    table = spool_surface(model, [hours * HOUR])
    for row in table.itertuples():
        starts = [begin for begin in range(row.hour, 72, 24) if begin + hours <= 72]
        peaks = [peak_of(np.array(amounts), could, begin, hours) for begin in starts]
        assert row.starts == len(starts)
        assert row.spool_bytes == pytest.approx(max(peaks))
        assert peaks[starts.index(int(row.worst_begin_seconds / HOUR))] == pytest.approx(max(peaks))
    size = spool_size(model, hours * HOUR, data_set_bytes=500.0, margin=0.5)
    assert size.needed_bytes == table["spool_bytes"].max()
    assert size.recommended_bytes == size_to_buy(size.needed_bytes, 0.5)
    assert size.rule_of_thumb_bytes == 50.0
    assert ("not caught up" in size.remark) == bool(table["not_caught_up"].sum())


def test_the_worst_start_of_mail_is_before_the_peak_hours() -> None:
    change = mail(7.0)
    quiet = ByteLevel(overhead=0.0).queue(change)
    logs = flat(change.log_bytes)
    model = OutageModel(PLAIN.queue(logs), PlannedLink(100e6).capacity_bytes(logs.grid))
    size = spool_size(model, 4 * HOUR)
    # 8, 10, 10, 9 % of the day's 96,000 logs of 1 MiB, from 8 to 12 o'clock.
    assert size.worst_hour == 8
    assert size.needed_bytes == pytest.approx(0.37 * 96_000 * 2**20, rel=1e-6)
    week = spool_surface(model, [4 * HOUR], "week")
    assert len(week) == 7 * 24 - 3
    saturday = week.loc[week["hour"] == 5 * 24 + 8, "spool_bytes"].iloc[0]
    assert saturday == pytest.approx(size.needed_bytes / 10, rel=1e-6)
    assert quiet.ready[-1] > PLAIN.queue(logs).ready[-1]


def test_longer_outages_need_no_smaller_spool_at_the_same_start() -> None:
    change = mail(7.0)
    model = OutageModel(ByteLevel().queue(change), PlannedLink(100e6).capacity_bytes(change.grid))
    starts = np.arange(0.0, change.grid.span_seconds, HOUR)
    before = np.zeros(120)
    for length in (0.0, HOUR, 3 * HOUR, 9 * HOUR, 27 * HOUR):
        peaks = model.effects(starts[:120], length, with_lag=False).spool_peak_bytes
        assert (peaks >= before - 1e-3).all()
        before = peaks


def test_how_long_a_spool_lasts() -> None:
    amounts = np.tile(np.arange(24.0), 3)
    model = OutageModel(PLAIN.queue(flat(amounts, HOUR)), np.full(72, 1e6))
    table = spool_lasts(model, 100.0).set_index("hour")
    for hour in (0, 9, 20):
        expected = []
        for begin in range(hour, 72, 24):
            full = np.flatnonzero(np.cumsum(amounts[begin:]) > 100.0)
            sums = np.concatenate(([0.0], np.cumsum(amounts[begin:])))
            within = (100.0 - sums[full[0]]) / amounts[begin + full[0]] if len(full) else 0.0
            expected.append((full[0] + within) * HOUR if len(full) else None)
        known = [each for each in expected if each is not None]
        assert table.loc[hour, "shortest_seconds"] == pytest.approx(min(known))
        assert table.loc[hour, "never"] == expected.count(None)
    # Of three starts at 20 o'clock the last is never full: the middle one is.
    assert table.loc[20, "never"] == 1
    assert table.loc[20, "median_seconds"] is not None
    large = spool_lasts(model, 1e9)
    assert large["shortest_seconds"].tolist() == [None] * 24


@settings(max_examples=30)
@given(st.lists(st.integers(0, 9), min_size=48, max_size=48), st.integers(5, 12), st.integers(1, 9))
def test_what_waits_at_the_replica(amounts: list[int], could: int, hours: int) -> None:
    change = flat(amounts, step_seconds=HOUR)
    table = replica_spool(change, {"integrity test": hours * HOUR}, could / HOUR).set_index("cause")
    if sum(amounts) >= could * 48:
        assert table["spool_bytes"].tolist() == [None, None]
        assert "never caught up" in table.loc["slow disk", "reason"]
        return
    for cause, standing in (("integrity test", hours), ("slow disk", 0)):
        peaks = [
            peak_of(np.array(amounts), could, begin, standing) for begin in range(49 - standing)
        ]
        size = table.loc[cause, "spool_bytes"]
        worst = [begin for begin, peak in enumerate(peaks) if peak == max(peaks)]
        ends = {caught_up(amounts, could, begin, standing) for begin in worst}
        if size is None:
            # What waits at the end of the curve is no size.
            assert table.loc[cause, "reason"] == NOT_APPLIED
            assert False in ends
        else:
            assert size == pytest.approx(max(peaks))
            assert True in ends


def caught_up(amounts: list[int], could: int, begin: int, hours: int) -> bool:
    """Whether nothing waits at some time after an interruption."""
    waits = 0.0
    for hour, amount in enumerate(amounts):
        waits = waits + amount - (0 if begin <= hour < begin + hours else could)
        waits = max(waits, 0.0)
        if hour >= begin + hours and waits <= 0:
            return True
    return begin + hours >= len(amounts) and waits <= 0


def test_why_so_much_is_needed() -> None:
    """What waits before an outage, at its end, and what comes only while it catches up."""
    amounts, could = np.zeros(20), np.full(20, 5.0)
    amounts[1:6], could[1] = [5.0, 9.0, 9.0, 6.0, 6.0], 2.0
    model = OutageModel(PLAIN.queue(flat(amounts, HOUR)), could)
    size = spool_size(model, 2 * HOUR, within_seconds=3 * HOUR)
    assert size.worst_begins_at.endswith("02:00:00")
    assert (size.waiting_before_bytes, size.at_return_bytes) == (3.0, 21.0)
    assert size.needed_bytes == 23.0 and size.remark == ""


def test_an_outage_that_is_never_caught_up_has_a_remark() -> None:
    model = OutageModel(PLAIN.queue(flat([5.0] * 20, HOUR)), np.full(20, 5.0))
    assert spool_size(model, HOUR).remark.startswith("no spool is enough: begun at")
    faster = OutageModel(PLAIN.queue(flat([5.0] * 20, HOUR)), np.full(20, 50.0))
    assert spool_size(faster, HOUR, within_seconds=10 * HOUR).remark == ""


def test_when_the_log_volume_is_full() -> None:
    change = flat(np.tile([4.0, 0.0, 2.0], 30), step_seconds=8 * HOUR)  # 6 a day
    found = log_volume(change, 16.0)
    assert found.shortest_days == pytest.approx(2 + 1 / 3)
    assert found.worst_begins_at == "2007-01-01T00:00:00"
    # From the third step of a day on, not from its midnight: that would be three days.
    assert log_volume(change, 17.0).shortest_days == pytest.approx(2 + 2 / 3)
    assert log_volume(change, 0.0).shortest_days == 0.0
    # Only starts of the first day: those of later ones are as bad.
    assert log_volume(change, 17.0, within_seconds=24 * HOUR).shortest_days == pytest.approx(
        2 + 2 / 3
    )
    late = log_volume(flat([1.0, 1.0, 9.0, 9.0], 24 * HOUR), 9.0, within_seconds=24 * HOUR)
    assert (late.shortest_days, late.worst_begins_at) == (3.0, "2007-01-01T00:00:00")
    never = log_volume(change, 1e6)
    assert (never.shortest_days, never.median_days, never.worst_begins_at) == (None, None, None)
    assert "30.0 days" in never.reason


def test_what_is_refused() -> None:
    change = flat([1.0] * 48, HOUR)
    model = OutageModel(PLAIN.queue(change), np.ones(48))
    with pytest.raises(ValueError, match="does not fit the curve"):
        spool_surface(model, [49 * HOUR])
    with pytest.raises(ValueError, match="margin"):
        spool_size(model, HOUR, margin=-0.1)
    with pytest.raises(ValueError, match="negative size"):
        spool_lasts(model, -1.0)
    with pytest.raises(ValueError, match="some bytes each second"):
        replica_spool(change, {}, 0.0)
    with pytest.raises(ValueError, match="delayed copy: a time cannot be"):
        replica_spool(change, {"delayed copy": np.inf}, 1.0)
    with pytest.raises(ValueError, match="free space"):
        log_volume(change, np.nan)
    assert replica_spool(change, {"delayed copy": 49 * HOUR}, 1.0)["reason"].iloc[0] == (
        "longer than the curve"
    )
