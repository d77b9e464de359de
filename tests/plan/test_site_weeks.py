"""Days made as long as a plan, laid onto its dates; days that no week fits."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from simulator.plan.change import ChangeCurve
from simulator.plan.grid import DAY_SECONDS, TimeGrid
from simulator.plan.site_weeks import NoWeek, data_warnings, extended, fitted_week

WEDNESDAY = datetime(2026, 11, 18, 9)
JANUARY = datetime(2027, 1, 4)  # a Monday
HOUR = 3_600.0


def numbered(days: float, begins_at: datetime = WEDNESDAY) -> ChangeCurve:
    """Each hour writes its number in the file."""
    grid = TimeGrid.of_days(days, begins_at, HOUR)
    logs = np.arange(1.0, grid.steps + 1)
    return ChangeCurve(grid, logs, 2 * logs, logs / 2, origin="numbered")


def measured(days: dict[int, float], begins_at: datetime) -> ChangeCurve:
    """Days, by their number from the begin, that write so much in each hour."""
    grid = TimeGrid.of_days(len(days), begins_at, HOUR)
    logs = np.repeat([days[day] for day in range(len(days))], 24).astype(float)
    return ChangeCurve(grid, logs, logs, logs, origin="measured")


@pytest.mark.parametrize("begin", [JANUARY, JANUARY + timedelta(days=3), datetime(2026, 1, 1)])
def test_weeks_are_laid_onto_other_dates_weekday_to_weekday(begin: datetime) -> None:
    curve = numbered(14.5)
    found = extended(curve, 28, begins_at=begin)
    assert found.grid.begins_at == begin and found.grid.steps == 28 * 24
    for step in (0, 5, 200, 28 * 24 - 1):
        at = found.grid.time_at(step)
        of_file = curve.grid.time_at(float(found.log_bytes[step]) - 1)
        assert (at.weekday(), at.hour) == (of_file.weekday(), of_file.hour)
    assert any("2026-11-18 09:00 on, and laid onto the plan from" in each for each in found.remarks)


def test_within_the_file_each_date_keeps_what_was_measured_on_it() -> None:
    curve = numbered(21)
    begin = WEDNESDAY + timedelta(days=6, hours=15)
    within = extended(curve, 7, begins_at=begin)
    assert within.log_bytes[0] == 6 * 24 + 15 + 1 and within.grid.begins_at == begin
    assert within.remarks == ()
    # From the midnight before the file on: its first hours come from a later week.
    longer = extended(curve, 28, begins_at=datetime(2026, 11, 18))
    assert longer.log_bytes[9 : 9 + 24].tolist() == curve.log_bytes[:24].tolist()
    assert longer.log_bytes[:9].tolist() == curve.log_bytes[-9:].tolist()


def test_without_a_begin_it_is_that_of_the_file() -> None:
    curve = numbered(9)
    assert extended(curve, 20).grid.begins_at == WEDNESDAY
    assert extended(curve, 20).log_bytes[:168].tolist() == curve.log_bytes[:168].tolist()


def test_a_fit_is_of_the_plan_s_weekdays() -> None:
    tuesday = datetime(2026, 11, 17)
    found = extended(measured({0: 5.0, 1: 5.0}, tuesday), 7, weekend_share=0.1, begins_at=JANUARY)
    days = found.log_bytes.reshape(7, 24).sum(axis=1)
    assert days == pytest.approx([120.0] * 5 + [12.0] * 2)
    saturday = extended(measured({0: 5.0, 1: 5.0}, tuesday), 2, begins_at=datetime(2027, 1, 9))
    assert saturday.log_bytes.sum() == pytest.approx(24.0)


def test_less_than_a_day_begins_with_the_plan() -> None:
    found = extended(numbered(0.25), 2, begins_at=JANUARY)
    assert found.log_bytes[:6].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


@pytest.mark.parametrize("friday", [0.0, 1e-6])
def test_idle_working_days_beside_a_busy_weekend_are_repeated(friday: float) -> None:
    curve = measured({0: friday, 1: 50.0}, datetime(2026, 11, 27))
    with pytest.raises(NoWeek):  # what was an internal error
        fitted_week(curve)
    found = extended(curve, 14)
    assert found.log_bytes.sum() == pytest.approx(7 * (50.0 + friday) * 24)
    assert found.measured_seconds == 2 * DAY_SECONDS
    [warning] = [str(each) for each in data_warnings(found)]
    assert "2 days are known, but nothing, or next to nothing, was written" in warning
    assert "2 days are known: whole days" in found.remarks[-1]
    monday = extended(curve, 14, begins_at=JANUARY)
    assert monday.grid.begins_at == JANUARY
    assert monday.log_bytes.sum() == found.log_bytes.sum()
