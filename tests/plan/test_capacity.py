"""The capacity of a planned link: published tables of TCP and of lines, weekly windows, outages."""

from __future__ import annotations

import tomllib
from datetime import datetime
from math import inf
from pathlib import Path

import numpy as np
import pytest

from simulator.plan.capacity import (
    PlannedLink,
    RateWindow,
    carried_until,
    share_in_window,
    without,
)
from simulator.plan.grid import TimeGrid

MIB = 1 << 20
TABLES = tomllib.loads(
    (Path(__file__).parents[1] / "network" / "tcp_tables.toml").read_text(encoding="utf-8")
)
HOUR = TimeGrid(60)
WINDOWS = [
    (int(window), rtt_ms, published)
    for window, row in TABLES["window"].items()
    if window != "rtt_ms"
    for rtt_ms, published in zip(TABLES["window"]["rtt_ms"], row, strict=True)
]
LOSSES = [
    (float(percent) / 100, rtt_ms, published)
    for percent, row in TABLES["loss"].items()
    if percent != "rtt_ms"
    for rtt_ms, published in zip(TABLES["loss"]["rtt_ms"], row, strict=True)
]
COLD = [
    (int(initial), window, published)
    for initial in ("2", "10")
    for window, published in zip((17_520, 65_535, inf), TABLES["cold"][initial], strict=False)
]


def per_second(link: PlannedLink, unit_bytes: float = 0.0) -> float:
    return float(link.capacity_bytes(HOUR, unit_bytes).sum()) / 3_600


@pytest.mark.parametrize(("window", "rtt_ms", "published"), WINDOWS)
def test_the_table_of_windows(window: int, rtt_ms: float, published: float | str) -> None:
    """2.8: logs of 1 MiB a second; the cells that say link-bound are held against the line."""
    line = 1e9 if published == "link-bound" else 1e10
    link = PlannedLink(line, rtt_ms / 1e3, tcp_window_bytes=window, payload_share=1.0)
    wanted = line / 8 / MIB if isinstance(published, str) else published
    assert per_second(link) / MIB == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize(("loss", "rtt_ms", "published"), LOSSES)
def test_the_table_of_losses(loss: float, rtt_ms: float, published: float) -> None:
    link = PlannedLink(1e10, rtt_ms / 1e3, loss=loss, tcp_window_bytes=1 << 30, payload_share=1.0)
    assert per_second(link) * 8 / 1e6 == pytest.approx(published, rel=0.05)


@pytest.mark.parametrize(("initial", "window", "published"), COLD)
def test_the_table_of_cold_logs(initial: int, window: float, published: float) -> None:
    """2.8: round trips of a cold log of 1 MiB."""
    link = PlannedLink(
        1e12,
        0.1,
        tcp_window_bytes=int(min(window, 1 << 40)),
        payload_share=1.0,
        initial_window_segments=initial,
    )
    assert MIB / per_second(link, MIB) / 0.1 == pytest.approx(published, rel=0.05)


@pytest.mark.parametrize("name", sorted(TABLES["links"]))
def test_the_table_of_lines(name: str) -> None:
    megabits, log_seconds, logs_per_hour, gigabytes_per_day = TABLES["links"][name]
    day = PlannedLink(megabits * 1e6, payload_share=1.0).capacity_bytes(TimeGrid(1440))
    assert MIB / (day[0] / 60) == pytest.approx(log_seconds, rel=0.05)
    assert day[:60].sum() / MIB == pytest.approx(logs_per_hour, rel=0.05)
    assert day.sum() / 1e9 == pytest.approx(gigabytes_per_day, rel=0.05)


def test_several_streams_carry_several_times_as_much_up_to_the_line() -> None:
    slow = PlannedLink(1e8, 0.1, tcp_window_bytes=65_536, payload_share=1.0)
    assert per_second(slow) == pytest.approx(655_360)
    assert per_second(PlannedLink(1e8, 0.1, 0, 65_536, 4, 1.0)) == pytest.approx(4 * 655_360)
    assert per_second(PlannedLink(1e8, 0.1, 0, 65_536, 99, 1.0)) == pytest.approx(1e8 / 8)


def test_windows_of_the_week_run_past_midnight_and_the_first_counts() -> None:
    grid = TimeGrid(7 * 24, datetime(2007, 1, 3), 3_600.0)  # a Wednesday
    link = PlannedLink(
        8.0,
        payload_share=1.0,
        windows=(
            RateWindow(22 * 3_600.0, 6 * 3_600.0, 80.0, (4,)),  # Friday night
            RateWindow(0.0, 24 * 3_600.0, 16.0, (4, 5, 6)),
        ),
    )
    found = (link.capacity_bytes(grid) / 3_600).tolist()
    assert found[: 2 * 24] == [1.0] * 48  # Wednesday, Thursday
    assert found[2 * 24 : 3 * 24] == [2.0] * 22 + [10.0] * 2
    assert found[3 * 24 : 4 * 24] == [10.0] * 6 + [2.0] * 18
    assert found[4 * 24 : 5 * 24] == [2.0] * 24
    assert found[5 * 24 :] == [1.0] * 48


def test_what_others_take_is_the_same_on_any_line() -> None:
    """20 Mbit/s of which 12 are taken leave 8, 58 leave 46, 10 leave nothing."""
    day = RateWindow(8 * 3_600.0, 18 * 3_600.0, taken_bits_per_second=12e6)
    own = RateWindow(20 * 3_600.0, 22 * 3_600.0, 10e6)
    planned = PlannedLink(20e6, payload_share=1.0, windows=(day, own))

    def at(megabits: float, hour: int) -> float:
        grid = TimeGrid(24, datetime(2007, 1, 1), 3_600.0)
        capacity = planned.at_rate(megabits * 1e6).capacity_bytes(grid)
        return float(capacity[hour]) * 8 / 3_600 / 1e6

    assert [at(20, hour) for hour in (7, 8, 17, 18, 20)] == [20.0, 8.0, 8.0, 20.0, 10.0]
    assert [at(58, hour) for hour in (7, 8, 20)] == [58.0, 46.0, 29.0]
    assert [at(10, hour) for hour in (7, 8, 20)] == [10.0, 0.0, 5.0]  # never below 0
    assert planned.at_rate(58e6).windows[0] == day
    assert planned.highest_bits_per_second == 20e6


def test_without_the_bound_a_line_would_carry_less_than_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the test above would find."""
    monkeypatch.setattr(RateWindow, "rate_on", lambda self, line: line - self.taken_bits_per_second)
    day = RateWindow(0.0, 3_600.0, taken_bits_per_second=12e6)
    assert PlannedLink(10e6, windows=(day,)).capacity_bytes(HOUR).min() < 0


@pytest.mark.parametrize("given", [{}, {"bits_per_second": 1.0, "taken_bits_per_second": 1.0}])
def test_a_window_has_a_rate_or_what_is_taken(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a rate of its own, or says what is taken"):
        RateWindow(0.0, 3_600.0, **given)


def test_a_window_that_begins_within_a_step_counts_by_its_part() -> None:
    link = PlannedLink(8.0, payload_share=1.0, windows=(RateWindow(90.0, 120.0, 16.0),))
    assert link.capacity_bytes(TimeGrid(3)).tolist() == [60.0, 90.0, 60.0]


def test_outages_take_their_part_of_the_steps() -> None:
    left = without(np.full(5, 60.0), TimeGrid(5), [(30.0, 60.0), (200.0, 20.0), (290.0, 99.0)])
    assert left == pytest.approx([30.0, 30.0, 60.0, 40.0, 50.0])


@pytest.mark.parametrize("begin", [-30.0, 300.0])
def test_an_outage_that_does_not_begin_within_the_grid_is_refused(begin: float) -> None:
    with pytest.raises(ValueError, match="an outage begins"):
        without(np.full(5, 60.0), TimeGrid(5), [(begin, 60.0)])


def test_when_an_amount_has_been_carried() -> None:
    grid, capacity = TimeGrid(4), np.array([60.0, 0.0, 120.0, 60.0])
    assert carried_until(capacity, grid, 0.0, 60.0) == 60.0
    assert carried_until(capacity, grid, 30.0, 90.0) == pytest.approx(150.0)
    assert carried_until(capacity, grid, 30.0, 0.0) == 30.0
    assert carried_until(capacity, grid, 30.0, 211.0) is None


def test_a_week_comes_again_as_if_each_was_looked_at() -> None:
    """Long plans repeat one week of the schedule: against all steps looked at."""
    windows = (
        RateWindow(22 * 3_600.0, 6 * 3_600.0 + 30.0, 3e6, (4, 6)),
        RateWindow(8 * 3_600.0, 18 * 3_600.0, 5e6, (0, 1, 2, 3, 4)),
    )
    link = PlannedLink(10e6, windows=windows, payload_share=1.0)
    grid = TimeGrid.of_days(24, datetime(2007, 1, 4, 7, 30))
    expected = np.full(grid.steps, 10e6)
    for window in reversed(windows):
        expected += share_in_window(grid, window) * (window.rate_on(10e6) - expected)
    assert link.capacity_bytes(grid) == pytest.approx(expected / 8 * 60)
    odd = TimeGrid(5_000, grid.begins_at, 7_000.0)  # a week has no whole number of these
    assert len(link.capacity_bytes(odd)) == 5_000
