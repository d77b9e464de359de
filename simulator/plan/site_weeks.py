"""A curve that was measured for days, made as long as a plan needs.

Theory
------
Whole weeks are repeated as they are: every burst stays.  Of fewer days a week is fitted
(:class:`~simulator.exchange.diurnal.WeekCurve`): the mean of each hour of the day, and of each
day that was seen relative to a working day; a day that was not seen is a working day, or of the
weekend a share of one.  A fit levels bursts within an hour, and says so.  Days whose working days
are idle have no week either: they are repeated, and whoever plans is told.  Less than a day
has no rhythm to fit, and is repeated from end to end.

A plan of next January is made of files from last November: a curve is laid onto the plan's own
dates (``begins_at``), weekday to weekday and hour to hour.  Where the plan lies within the file,
each date keeps what was measured on it.

A day that is the mean of all days of the week already has the quiet weekend in it.  Its working
days are then scaled up, so that a whole week has seven times as much as the mean day: with a share
w of the weekend by 7 / (5 + 2 w).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final, Literal

import numpy as np

from replicator.errors import BadInput
from simulator.exchange.diurnal import DEFAULT_DAYS, WeekCurve
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import DAY_SECONDS, HOUR_SECONDS, Floats, TimeGrid
from simulator.plan.mail_change import working_days
from simulator.units import format_duration

Extension = Literal["auto", "repeat", "fit"]
WEEKEND_SHARE: Final = DEFAULT_DAYS[5]
"""Traffic of a Saturday or Sunday that was not seen, in working days [A]."""
_WEEK_DAYS: Final = 7
_WORKING_DAYS: Final = 5
_SEEN_HOURS: Final = 12
"""Of a day of the week; with less the day counts as not seen [A]."""
LEAST_WEEK_SECONDS: Final = 6 * DAY_SECONDS + _SEEN_HOURS * HOUR_SECONDS
"""From here on each day of the week was seen; a listing ends with its last log, not at midnight."""
_BY_WEEKDAY: Final = ", weekday to weekday"
_BY_HOUR: Final = ", hour to hour of the day"


class NoWeek(ValueError):
    """A curve that no week can be fitted to: its working days are idle beside the others."""


def fitted_week(
    curve: ChangeCurve, weekend_share: float = WEEKEND_SHARE
) -> tuple[WeekCurve, float]:
    """The week that fits a curve, and how many bytes (logs and pages) its working day has.

    Arguments
    ---------
    weekend_share: of a working day, for a Saturday or Sunday that the curve does not hold.

    Raises ValueError for a curve shorter than a day and steps longer than an hour, NoWeek for a
    curve whose working days are idle, or nearly so beside its weekend.
    """
    grid = curve.grid
    if grid.span_seconds < DAY_SECONDS or grid.step_seconds > HOUR_SECONDS:
        raise ValueError("a week is fitted to a day or more, in steps of an hour at most")
    hours, days = grid.hours_of_day(), grid.weekdays()
    written = curve.written_bytes
    place = days * 24 + hours
    sums = np.bincount(place, written, _WEEK_DAYS * 24).reshape(_WEEK_DAYS, 24)
    counts = np.bincount(place, minlength=_WEEK_DAYS * 24).reshape(_WEEK_DAYS, 24)
    working = days < _WORKING_DAYS
    chosen = working if len(np.unique(hours[working])) == 24 else np.ones(grid.steps, bool)
    by_hour = np.bincount(hours[chosen], written[chosen], 24) / np.bincount(
        hours[chosen], minlength=24
    )
    if not by_hour.sum() > 0:
        raise NoWeek("on the working days of the curve nothing was written: no week fits it")
    working_day_bytes = float(by_hour.sum()) * HOUR_SECONDS / grid.step_seconds
    hourly = tuple(float(each) / float(by_hour.max()) for each in by_hour)
    if curve.is_mean_day:
        traffic = [1.0] * _WORKING_DAYS + [weekend_share] * (_WEEK_DAYS - _WORKING_DAYS)
        return WeekCurve(hourly, tuple(traffic)), working_day_bytes * _WEEK_DAYS / sum(traffic)
    traffic = []
    for day in range(_WEEK_DAYS):
        seen = counts[day] > 0
        expected = float((counts[day] * by_hour).sum())
        if seen.sum() >= _SEEN_HOURS and expected > 0:
            traffic.append(float(sums[day].sum()) / expected)
        else:
            traffic.append(1.0 if day < _WORKING_DAYS else weekend_share)
    try:
        return WeekCurve(hourly, tuple(traffic)), working_day_bytes
    except ValueError as error:
        raise NoWeek(f"no week fits the curve: {error}") from error


def extended(
    curve: ChangeCurve,
    days: float,
    how: Extension = "auto",
    weekend_share: float = WEEKEND_SHARE,
    begins_at: datetime | None = None,
) -> ChangeCurve:
    """A curve of so many days; cut when the one given is longer.

    Arguments
    ---------
    how: "repeat" whole weeks, else whole days, else all there is; "fit" a week; "auto" repeats
        whole weeks, fits a week to whole days, and repeats what is shorter.
    weekend_share: of a working day, for days of the weekend that a fit has not seen.
    begins_at: local time from which on; None: where the one given begins.  To the nearest step.

    The curve knows of how many seconds it was made (``measured_seconds``).

    Raises ValueError for a fit that cannot be (:func:`fitted_week`); "auto" repeats days then.
    """
    given = curve.grid
    begin = given.begins_at if begins_at is None else begins_at
    if curve.measured_seconds is None:
        curve = replace(curve, measured_seconds=given.span_seconds)
    steps = TimeGrid.of_days(days, begin, given.step_seconds).steps
    first = round((begin - given.begins_at).total_seconds() / given.step_seconds)
    if first >= 0 and first + steps <= given.steps:
        return _part(curve, first, steps, begin)
    per_day = DAY_SECONDS / given.step_seconds
    whole_days = int(given.steps / per_day + 1e-9)
    if how == "auto":
        how = "repeat" if whole_days == 0 or whole_days >= _WEEK_DAYS else "fit"
        if how == "fit":
            try:
                fitted_week(curve, weekend_share)
            except NoWeek:
                how = "repeat"
                told = (
                    f"{_known(curve)}, but nothing, or next to nothing, was written on the working "
                    "days among them: no week can be fitted"
                )
                curve = replace(
                    curve,
                    remarks=(*curve.remarks, told),
                    warnings=(*curve.warnings, f"{curve.origin}: {told}, so they are repeated"),
                )
    if how == "fit":
        curve = replace(curve, remarks=(*curve.remarks, *_moved(given, begin, _BY_WEEKDAY)))
        return _fitted(curve, replace(given, begins_at=begin, steps=steps), weekend_share)
    if whole_days >= _WEEK_DAYS:
        unit, word, laid = whole_days - whole_days % _WEEK_DAYS, "whole weeks", _BY_WEEKDAY
    else:
        unit, word, laid = whole_days, "whole days, whatever the day of the week,", _BY_HOUR
    exact = round(unit * per_day)
    if unit == 0 or abs(exact - unit * per_day) > 1e-6:
        # No rhythm of days is in it: it begins when the plan does.
        exact, first, laid = given.steps, 0, ""
        word = "the whole of it, whatever the time of day,"
    remark = f"{_known(curve)}: {word} repeated to {days:g} days"
    longer = _rotated(_part(curve, 0, exact, begin), first).repeated(steps)
    return replace(longer, remarks=(*longer.remarks, *_moved(given, begin, laid), remark))


def _moved(given: TimeGrid, begin: datetime, laid: str) -> tuple[str, ...]:
    """That a curve was laid onto other dates, where it was."""
    if begin == given.begins_at:
        return ()
    return (
        f"measured from {given.begins_at:%a %Y-%m-%d %H:%M} on, and laid onto the plan from "
        f"{begin:%a %Y-%m-%d %H:%M} on{laid}",
    )


def _known(curve: ChangeCurve) -> str:
    if curve.days < 1:
        return f"{curve.grid.span_seconds / HOUR_SECONDS:.3g} h are known"
    days = f"{curve.days:.3g}"
    return "1 day is known" if days == "1" else f"{days} days are known"


def _part(curve: ChangeCurve, first: int, steps: int, begins_at: datetime) -> ChangeCurve:
    """So many steps of a curve, which begin then."""
    part = slice(first, first + steps)
    return replace(
        curve,
        grid=replace(curve.grid, begins_at=begins_at, steps=steps),
        log_bytes=curve.log_bytes[part],
        database_bytes=curve.database_bytes[part],
        message_bytes=curve.message_bytes[part],
    )


def _rotated(curve: ChangeCurve, steps: int) -> ChangeCurve:
    """A curve that comes again and again, from so many steps later on; they may be below 0."""
    return replace(
        curve,
        log_bytes=np.roll(curve.log_bytes, -steps),
        database_bytes=np.roll(curve.database_bytes, -steps),
        message_bytes=np.roll(curve.message_bytes, -steps),
    )


def _fitted(curve: ChangeCurve, grid: TimeGrid, weekend_share: float) -> ChangeCurve:
    """A week that fits the curve, laid over a grid."""
    week, working_day_bytes = fitted_week(curve, weekend_share)
    rhythm = working_days(grid, week) * working_day_bytes
    total = float(curve.written_bytes.sum())

    def part(amounts: Floats) -> Floats:
        of_total: Floats = rhythm * (float(amounts.sum()) / total)
        return of_total

    days = grid.span_seconds / DAY_SECONDS
    scaled = ""
    if curve.is_mean_day:
        times = working_day_bytes / total
        scaled = (
            f"; it is the mean of all days of the week, so working days have {times:.3g} times as "
            f"much, and days of the weekend {times * weekend_share:.3g} times"
        )
    return replace(
        curve,
        grid=grid,
        is_mean_day=False,
        log_bytes=part(curve.log_bytes),
        database_bytes=part(curve.database_bytes),
        message_bytes=part(curve.message_bytes),
        remarks=(
            *curve.remarks,
            f"{_known(curve)}: a week was fitted to them and laid over {days:.3g} "
            f"days, without bursts shorter than an hour{scaled}",
        ),
    )


def data_warnings(change: ChangeCurve) -> list[BadInput]:
    """What whoever asked for a plan has to be told at once about the data that it was made of."""
    found = [
        BadInput(warning, remedy="Look at the file, and gather anew where it matters.")
        for warning in change.warnings
    ]
    known = change.measured_seconds
    if known is not None and known < DAY_SECONDS:
        found.append(
            BadInput(
                f"{format_duration(known)} were measured, less than a day: which hours are busy is "
                "not known, and the plan repeats what there is",
                path=change.origin,
                remedy="Measure a week, a day at least.",
            )
        )
    return found
