"""The time axis of a plan: equal steps from a local date and time on.

All curves of a plan are arrays with one element for each step; a figure of a step is a sum over
it (bytes), unless its name says something else.  Cumulative curves have one element more: the
value at the begin of the first step is 0.  Time is that of the site's own clock: a day has 24
hours and there is no change of the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

MINUTE_SECONDS: Final = 60.0
HOUR_SECONDS: Final = 3_600.0
DAY_SECONDS: Final = 86_400.0
DEFAULT_BEGIN: Final = datetime(2007, 1, 1)
"""A Monday, midnight: where a plan without dates of its own begins."""
_MOST_STEPS: Final = 10_000_000
_ROUNDING_STEPS: Final = 1e-6
"""Of a step, by which sums of seconds may be wrong."""


def whole_steps(seconds: float, step_seconds: float) -> int:
    """A time in whole steps, upwards: what is to be survived, or covered, is so in full."""
    return ceil(seconds / step_seconds - _ROUNDING_STEPS)


def whole_steps_of(seconds: Floats, step_seconds: float) -> Indices:
    """As :func:`whole_steps`, of many times."""
    return np.ceil(seconds / step_seconds - _ROUNDING_STEPS).astype(np.int64)


@dataclass(frozen=True)
class TimeGrid:
    """Equal steps.

    Arguments
    ---------
    begins_at: local time of the begin of the first step.
    step_seconds: length of a step; a minute by default.
    steps: how many.

    Raises ValueError for no steps, or more than ten million.
    """

    steps: int
    begins_at: datetime = DEFAULT_BEGIN
    step_seconds: float = MINUTE_SECONDS

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= _MOST_STEPS:
            raise ValueError(f"a plan has 1 to {_MOST_STEPS:,} steps, not {self.steps:,}")
        if not 1e-6 <= self.step_seconds <= DAY_SECONDS:
            raise ValueError("a step lasts from a microsecond to a day")

    @classmethod
    def of_days(
        cls,
        days: float,
        begins_at: datetime = DEFAULT_BEGIN,
        step_seconds: float = MINUTE_SECONDS,
    ) -> TimeGrid:
        """So many days; a step that has begun counts, so that nothing of them is behind the end."""
        steps = whole_steps(days * DAY_SECONDS, step_seconds)
        return cls(max(1, steps), begins_at, step_seconds)

    @property
    def span_seconds(self) -> float:
        """Length of all steps."""
        return self.steps * self.step_seconds

    @property
    def ends_at(self) -> datetime:
        """Local time of the end of the last step."""
        return self.time_at(self.steps)

    def time_at(self, step: float) -> datetime:
        """Local time at the begin of a step, or within it."""
        return self.begins_at + timedelta(seconds=step * self.step_seconds)

    def step_at(self, time: datetime) -> int:
        """The step that holds a local time; the nearest one for a time outside."""
        step = int((time - self.begins_at).total_seconds() // self.step_seconds)
        return min(max(step, 0), self.steps - 1)

    def seconds(self) -> Floats:
        """Begins of the steps, in seconds from the first one."""
        return np.arange(self.steps, dtype=np.float64) * self.step_seconds

    @property
    def begin_of_week_seconds(self) -> float:
        """Begin of the first step, in seconds from the last Monday, midnight."""
        begin = self.begins_at
        since_monday = timedelta(
            days=begin.weekday(),
            hours=begin.hour,
            minutes=begin.minute,
            seconds=begin.second,
            microseconds=begin.microsecond,
        )
        return since_monday.total_seconds()

    def seconds_of_week(self) -> Floats:
        """Begins of the steps, in seconds from the last Monday, midnight."""
        seconds: Floats = (self.seconds() + self.begin_of_week_seconds) % (7 * DAY_SECONDS)
        return seconds

    def hours_of_day(self) -> Indices:
        """Hour of the day, 0 to 23, at the begin of each step."""
        return (self.seconds_of_week() % DAY_SECONDS // HOUR_SECONDS).astype(np.int64)

    def weekdays(self) -> Indices:
        """Day of the week, Monday 0 to Sunday 6, at the begin of each step."""
        return (self.seconds_of_week() // DAY_SECONDS).astype(np.int64)

    def times(self) -> NDArray[np.datetime64]:
        """Local times of the begins of the steps."""
        offsets = np.round(self.seconds() * 1e6).astype("timedelta64[us]")
        times: NDArray[np.datetime64] = np.datetime64(self.begins_at, "us") + offsets
        return times
