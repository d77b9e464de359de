"""Line rates against a walk step by step, the worked numbers, and what streams cannot carry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.units import format_bits_per_second
from simulator.plan.answers import round_up
from simulator.plan.bandwidth import RequiredRate, required_rates, required_rates_frame
from simulator.plan.capacity import PlannedLink, RateWindow
from simulator.plan.link_use import link_use, offered_bytes, unlimited_capacity
from simulator.plan.protection import (
    ByteLevel,
    ChangedBlocks,
    LogShipping,
    NightlyBackup,
    ObjectLevel,
)
from simulator.plan.violations import days, lags_of_link, violations
from tests.plan.curves import flat, mail

PLAIN = ByteLevel(saving=0.0, overhead=0.0)
LINE = PlannedLink(1e6, payload_share=1.0)
AMOUNTS = st.lists(st.integers(0, 9), min_size=20, max_size=40)


def walked_lags(amounts: list[int], per_step: float) -> list[float]:
    """Ages of the oldest unit after each step: a list of what came, sent from its front."""
    queue: list[list[float]] = []  # amount left, share of it already gone, step
    lags = []
    for step, came in enumerate(amounts):
        queue.append([float(came), float(came), step])
        could = per_step
        while queue and could >= queue[0][0]:
            could -= queue.pop(0)[0]
        if queue:
            queue[0][0] -= could
        waiting = sum(each[0] for each in queue)
        left = next((each for each in queue if each[0] > 0), None)
        if waiting <= 0.5 or left is None:
            lags.append(0.0)
        else:
            lags.append((step + 1 - left[2] - (1 - left[0] / left[1])) * 60.0)
    return lags


@settings(max_examples=40)
@given(AMOUNTS, st.integers(0, 600), st.sampled_from([1.0, 0.9, 0.5]))
def test_a_rate_holds_and_a_little_less_does_not(
    amounts: list[int], rpo: int, share: float
) -> None:
    amounts = [each * 1_000_000 for each in amounts]
    [found] = required_rates(PLAIN, flat(amounts), LINE, float(rpo), [share])
    assert found.bits_per_second is not None
    per_step = found.bits_per_second / 8 * 60
    assert np.quantile(walked_lags(amounts, per_step), share) <= rpo + 1e-3
    if found.bits_per_second > 2:
        assert np.quantile(walked_lags(amounts, per_step * 0.998), share) > rpo - 1e-3


@given(AMOUNTS, st.integers(1, 20), st.integers(1, 20))
def test_more_bandwidth_is_never_more_lag(amounts: list[int], could: int, more: int) -> None:
    change = flat(amounts, log_file_bytes=3)
    for kind in (PLAIN, ObjectLevel(), LogShipping(idle_logs_per_day=0.0)):
        less = kind.course(change, np.full(len(amounts), float(could)))
        best = kind.course(change, np.full(len(amounts), float(could + more)))
        assert (best.lag_seconds <= less.lag_seconds + 1e-6).all()


def test_the_worked_numbers_of_four_thousand_users() -> None:
    # 4,000 users x 24 logs: 2.67 logs/s in the peak hours, 22.4 Mbit/s raw, 15.7 with 30 % saved.
    # Their last two hours may pile up the RPO's 60 of 7,200 s: 15.6.
    change = mail(log_sets=1)
    for saving, mbit in ((0.0, 22.4), (0.3, 15.7)):
        found = required_rates(LogShipping(saving=saving), change, LINE, 60.0)
        by_share = {each.share_of_time: each.bits_per_second / 1e6 for each in found}
        assert by_share[1.0] == pytest.approx(mbit * (1 - 60 / 7_200), rel=0.005)
        assert by_share[1.0] >= by_share[0.99] >= by_share[0.95] >= by_share[0.90]
    offered = offered_bytes(LogShipping(saving=0.0), change)
    assert offered[: 24 * 60].sum() / 2**20 == pytest.approx(96_000, rel=1e-3)


def test_the_reverse_gives_back_the_objective() -> None:
    change = mail(log_sets=1)
    found = required_rates(ByteLevel(), change, LINE, 1_800.0)
    for each in found:
        capacity = LINE.at_rate(each.bits_per_second).capacity_bytes(change.grid)
        lags = lags_of_link(ByteLevel(), change, capacity).set_index("share_of_time")
        assert lags.loc[each.share_of_time, "rpo_seconds"] <= 1_800.0
        assert lags.loc[each.share_of_time, "rpo_seconds"] > 1_700.0


def test_windows_keep_their_ratio() -> None:
    change = mail(2.0, log_sets=1)
    half = RateWindow(8 * 3_600.0, 18 * 3_600.0, LINE.bits_per_second / 2)
    shaped = replace(LINE, windows=(half,))
    for share in (1.0, 0.9):
        [plain] = required_rates(ObjectLevel(), change, LINE, 60.0, [share])
        [found] = required_rates(ObjectLevel(), change, shaped, 60.0, [share])
        assert found.bits_per_second == pytest.approx(2 * plain.bits_per_second, rel=0.01)


def test_what_others_take_comes_on_top() -> None:
    """All day taken: the line that is needed has that much more, whatever line was planned."""
    change = mail(2.0, log_sets=1)
    taken = RateWindow(0.0, 24 * 3_600.0, taken_bits_per_second=12e6)
    shared = replace(LINE, windows=(taken,))
    for share in (1.0, 0.9):
        [plain] = required_rates(ObjectLevel(), change, LINE, 60.0, [share])
        for planned in (shared, shared.at_rate(50e6)):
            [found] = required_rates(ObjectLevel(), change, planned, 60.0, [share])
            assert found.bits_per_second == pytest.approx(plain.bits_per_second + 12e6, rel=0.002)


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        (
            {"tcp_window_bytes": 17_520, "rtt_seconds": 0.05},
            "window of 17.5 kB over 50 ms",
        ),
        ({"loss": 0.001, "rtt_seconds": 0.1}, "loss of 0.1 % over 100 ms"),
    ],
)
def test_what_streams_cannot_carry_names_the_bound_and_what_would_do(
    bound: dict[str, float], said: str
) -> None:
    change = mail(2.0, log_sets=1)
    link = replace(LINE, **bound)
    [free] = required_rates(LogShipping(), change, LINE, 300.0, [1.0])
    [found] = required_rates(LogShipping(), change, link, 300.0, [1.0])
    assert found.bits_per_second is None
    assert said in found.reason
    assert found.without_bound_bits_per_second == free.bits_per_second
    assert found.streams is not None
    # Streams alone are no remedy: the line as planned may be too slow for them.
    line = format_bits_per_second(round_up(free.bits_per_second))
    assert f" {found.streams} streams" in found.reason
    assert found.reason.endswith(f" and a line of {line} would do")
    assert "bounds 1 stream to" in found.reason
    enough = replace(link, streams=found.streams)
    [with_streams] = required_rates(LogShipping(), change, enough, 300.0, [1.0])
    assert with_streams.bits_per_second == pytest.approx(free.bits_per_second, rel=2e-3)
    fewer = replace(link, streams=found.streams - 1)
    [one_less] = required_rates(LogShipping(), change, fewer, 300.0, [1.0])
    assert (one_less.bits_per_second or np.inf) > with_streams.bits_per_second
    if "window" in said:
        wider = replace(link, tcp_window_bytes=found.window_bytes)
        [with_window] = required_rates(LogShipping(), change, wider, 300.0, [1.0])
        assert with_window.bits_per_second == pytest.approx(free.bits_per_second, rel=2e-3)
    else:
        assert found.window_bytes is None
    frame = required_rates_frame([found, with_streams])
    assert frame["bits_per_second"].tolist() == [None, with_streams.bits_per_second]


def test_what_no_link_does_says_so() -> None:
    change = mail(2.0)
    [blocks] = required_rates(ChangedBlocks(), change, LINE, 900.0, [1.0])
    assert blocks.bits_per_second is None
    assert "changed blocks does no better than 1 h" in blocks.reason
    assert "for 100 % of the time even over an unlimited link" in blocks.reason
    assert blocks.streams is None
    delayed = ByteLevel(delay_seconds=100.0)
    [late] = required_rates(delayed, flat([8e6] * 40), LINE, 0.0, [1.0])
    assert late.bits_per_second is not None  # nothing waits: no lag
    closed = replace(LINE, windows=(RateWindow(0.0, 12 * 3_600.0, 0.0),))
    [down] = required_rates(PLAIN, change, closed, 900.0, [1.0])
    assert down == RequiredRate(1.0, None, "the link is down for too long by its windows")


@pytest.mark.parametrize(
    ("rpo", "shares", "tolerance"),
    [(-1.0, [1.0], 0.1), (np.nan, [1.0], 0.1), (1.0, [0.0], 0.1), (1.0, [], 0.1), (1.0, [1.0], 0)],
)
def test_what_is_refused(rpo: float, shares: list[float], tolerance: float) -> None:
    with pytest.raises(ValueError, match=r"RPO|share|tolerance"):
        required_rates(PLAIN, flat([1]), LINE, rpo, shares, tolerance)
    with pytest.raises(ValueError, match="positive line rate"):
        PlannedLink(0.0).at_rate(1.0)
    with pytest.raises(ValueError, match="leave something"):
        required_rates(ByteLevel(saving=1.0), flat([1]), LINE, 1.0)


@given(AMOUNTS, st.integers(1, 9), st.integers(0, 300))
def test_violations_are_those_of_the_curve(amounts: list[int], could: int, rpo: int) -> None:
    course = PLAIN.course(flat(amounts), np.full(len(amounts), float(could)))
    expected, now = [], None
    for step, lag in enumerate(course.lag_seconds):
        if lag <= rpo:
            now = None
        elif now is None:
            now = [step, 60.0, lag]
            expected.append(now)
        else:
            now[1:] = [now[1] + 60.0, max(now[2], lag)]
    found = violations(course, float(rpo))
    begins = [course.grid.step_at(time.to_pydatetime()) for time in found["begins_at"]]
    assert begins == [each[0] for each in expected]
    assert found["length_seconds"].tolist() == [each[1] for each in expected]
    assert found["largest_lag_seconds"].tolist() == [each[2] for each in expected]


def test_each_day_has_its_peak() -> None:
    change = mail(3.0)
    course = ByteLevel().course(change, PlannedLink(40e6).capacity_bytes(change.grid))
    table = days(course, 900.0)
    by_day = course.lag_seconds.reshape(3, -1)
    assert table["largest_lag_seconds"].tolist() == by_day.max(axis=1).tolist()
    assert table["violated_seconds"].tolist() == ((by_day > 900).sum(axis=1) * 60.0).tolist()
    assert [str(each) for each in table["date"]] == ["2007-01-01", "2007-01-02", "2007-01-03"]


def test_how_busy_a_link_is() -> None:
    amounts = np.full(48 * 60, 10.0)
    amounts[600:660] = 28.0
    change = flat(amounts)
    use = link_use(PLAIN, change, np.full(48 * 60, 20.0))
    assert use.mean_utilisation == pytest.approx(amounts.mean() / 20)
    assert use.peak_hour_utilisation == pytest.approx(1.4)
    assert use.peak_hour_begins_at == "2007-01-01T10:00:00"
    assert use.catches_up
    slow = link_use(PLAIN, flat(np.full(600, 14.0)), np.full(600, 10.0))
    assert not slow.catches_up
    assert "never catch up: the mean load is 1.4 times its capacity" in slow.reason
    none = link_use(PLAIN, change, np.zeros(48 * 60))
    assert (none.mean_utilisation, none.reason) == (None, "the link carries nothing")
    full = link_use(
        NightlyBackup(full=True, saving=0.0),
        flat(np.zeros(48 * 60), stored_bytes=600.0),
        np.full(48 * 60, 1.0),
    )
    assert full.mean_utilisation == pytest.approx(2 * 600 / (48 * 60))


def test_what_is_offered_is_what_an_unlimited_link_carries() -> None:
    """The short way of queues against the course itself."""
    change = mail(2.0, log_sets=3)
    for kind in (ByteLevel(), LogShipping(), ObjectLevel(), ChangedBlocks()):
        carried = kind.course(change, unlimited_capacity(change)).carried_bytes
        assert offered_bytes(kind, change) == pytest.approx(carried)
