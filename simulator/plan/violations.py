"""What RPO a line gives, and when it is exceeded: by share of the time, by date, by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import numpy as np
import pandas as pd

from simulator.plan.change import ChangeCurve
from simulator.plan.grid import DAY_SECONDS, Floats
from simulator.plan.protection import Course, Protection

SHARES_OF_TIME: Final = (1.0, 0.99, 0.95, 0.90)
_SAME_SHARE: Final = 1e-9


def shares_of_time(promised: float) -> tuple[float, ...]:
    """:data:`SHARES_OF_TIME` and the one that is promised, the largest first."""
    if any(abs(each - promised) < _SAME_SHARE for each in SHARES_OF_TIME):
        return SHARES_OF_TIME
    return tuple(sorted((*SHARES_OF_TIME, promised), reverse=True))


def lags_of_link(
    protection: Protection,
    change: ChangeCurve,
    capacity_bytes: Floats,
    shares_of_time: Sequence[float] = SHARES_OF_TIME,
) -> pd.DataFrame:
    """The reverse: what RPO a link gives.  A row for each share: ``share_of_time``,
    ``rpo_seconds``."""
    course = protection.course(change, capacity_bytes)
    lags = np.quantile(course.lag_seconds, shares_of_time)
    return pd.DataFrame({"share_of_time": list(shares_of_time), "rpo_seconds": lags})


def violations(course: Course, rpo_seconds: float) -> pd.DataFrame:
    """Times at which the lag exceeds an RPO.

    A row for each: ``begins_at`` (local time), ``length_seconds``, ``largest_lag_seconds``; whole
    steps.
    """
    over = np.concatenate(([False], course.lag_seconds > rpo_seconds, [False]))
    begin = np.flatnonzero(over[1:] & ~over[:-1])
    end = np.flatnonzero(over[:-1] & ~over[1:])
    grid = course.grid
    largest = np.zeros(len(begin))
    if len(begin):
        # Between two violations the lag is within the objective, so it is never the largest.
        largest = np.maximum.reduceat(course.lag_seconds, begin)
    return pd.DataFrame(
        {
            "begins_at": pd.DatetimeIndex(grid.times()[begin]),
            "length_seconds": (end - begin) * grid.step_seconds,
            "largest_lag_seconds": largest,
        }
    )


def days(course: Course, rpo_seconds: float) -> pd.DataFrame:
    """The largest lag of each day.

    A row for each calendar day: ``date``, ``largest_lag_seconds``, ``violated_seconds`` (time
    during which the lag exceeds the RPO).
    """
    grid = course.grid
    midnight = grid.begins_at.replace(hour=0, minute=0, second=0, microsecond=0)
    offset = (grid.begins_at - midnight).total_seconds()
    day = ((grid.seconds() + offset) // DAY_SECONDS).astype(np.int64)
    first = np.flatnonzero(np.diff(day, prepend=-1))
    over = (course.lag_seconds > rpo_seconds) * grid.step_seconds
    dates = [(midnight + timedelta(days=int(number))).date() for number in day[first]]
    return pd.DataFrame(
        {
            "date": dates,
            "largest_lag_seconds": np.maximum.reduceat(course.lag_seconds, first),
            "violated_seconds": np.add.reduceat(over, first),
        }
    )
