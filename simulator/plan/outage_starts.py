"""When outages begin that are tried: on the hour, and at the worst step of each hour.

Theory
------
An outage from s to e leaves ``R[e] - D[s]`` waiting: R is what has become ready, D what had been
sent.  From then on departures are ``D[s] + S[t] - S[e]``, S being what the line could carry; so of
two outages the one with the larger ``S[e] - D[s]`` is behind the other at each later time: more
waits, it is older, and it is caught up later.  Two sums thus tell, without following any outage,
which begin of an hour is the worst: where the first is largest, the most waits at the return; where
the second is, the most waits afterwards, and catching up ends last.  Both are computed for every
step, so a burst of minutes is met wherever it lies.  (What grows between two returns of one hour
may differ by that hour's arrivals; the begin on the hour is tried besides.)

How old the oldest byte is at the return is known for every step as well, where that is asked: the
lag without the outage, an outage later.

For protections by runs the first sum is what the copy lacks at the return, and there is no second.

An hour of a table is all steps that lie in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np

from simulator.plan.fluid import EMPTY_BYTES
from simulator.plan.grid import HOUR_SECONDS, Floats, Indices, TimeGrid, whole_steps

Hours = Literal["day", "week"]


class Gauged(Protocol):
    """A model of outages that tells how bad each begin is."""

    @property
    def grid(self) -> TimeGrid:
        """The steps."""

    def start_gauges(
        self, length_steps: int, count: int, with_lag: bool = False
    ) -> Sequence[Floats]:
        """Figures for outages of a length that begin at the first so many steps, which must end
        within the grid: the larger, the worse.  ``with_lag``: with the age of the oldest, too."""


@lru_cache(maxsize=16)
def hour_starts(grid: TimeGrid, hours: Hours = "day") -> tuple[Indices, Indices]:
    """The step with which each hour begins, all through a grid, and what hour of the day (0 to 23)
    or of the week (0 to 167) it is; the first may be the rest of an hour, and of hours that begin
    with the same step there is the first.  Both arrays are not to be written to."""
    of_week = grid.begin_of_week_seconds
    begins = np.arange(-of_week % HOUR_SECONDS, grid.span_seconds, HOUR_SECONDS)
    number = np.rint((begins + of_week) / HOUR_SECONDS).astype(np.int64)
    steps = np.rint(begins / grid.step_seconds).astype(np.int64)
    if not len(steps) or steps[0] > 0:
        steps = np.concatenate(([0], steps))
        number = np.concatenate(([int(of_week // HOUR_SECONDS)], number))
    steps, first = np.unique(steps, return_index=True)
    within = steps < grid.steps
    found = steps[within], number[first][within] % (24 if hours == "day" else 168)
    for each in found:
        each.flags.writeable = False
    return found


def every_start(
    grid: TimeGrid, hours: Hours = "day", within_seconds: float | None = None
) -> tuple[Floats, Indices]:
    """Each step as a start in seconds, and its hour; arguments as :func:`worst_starts`."""
    begins, number = hour_starts(grid, hours)
    steps = np.arange(_count(grid, 0, within_seconds))
    of = np.searchsorted(begins, steps, side="right") - 1
    seconds: Floats = steps * np.float64(grid.step_seconds)
    return seconds, number[of]


def worst_starts(
    model: Gauged,
    length_seconds: float,
    hours: Hours = "day",
    within_seconds: float | None = None,
    *,
    with_lag: bool = False,
    of_all: bool = False,
) -> tuple[Floats, Indices]:
    """Starts in seconds at which an outage is tried, in rising order, and the hour of each.

    Arguments
    ---------
    length_seconds: of the outage; only starts are given from which it ends within the grid.
    hours: whether hours are those of the day (0 to 23) or of the week (0 to 167).
    within_seconds: only starts before this time; what lies behind it is there for catching up.
    with_lag: also those that leave the oldest byte at the return.
    of_all: the worst of all hours is looked for, not that of each: where the next hour begins as
        badly as the last step of one, that step is left out.

    Raises ValueError for a length that is negative, or fits nowhere.
    """
    grid = model.grid
    length = whole_steps(length_seconds, grid.step_seconds) if length_seconds < np.inf else -1
    count = _count(grid, length, within_seconds)
    if length < 0 or count < 1:
        raise ValueError(f"an outage of {length_seconds:,.0f} s does not fit the curve")
    begins, number = hour_starts(grid, hours)
    begins = begins[begins < count]
    tried = np.zeros(count, dtype=np.bool_)
    tried[begins] = True
    for gauge in model.start_gauges(length, count, with_lag):
        worst = _first_largest(gauge, begins)
        if of_all:
            last = np.flatnonzero(worst[:-1] + 1 == begins[1:])
            as_bad = gauge[begins[last + 1]] >= gauge[worst[last]] - EMPTY_BYTES
            worst = np.delete(worst, last[as_bad])
        tried[worst] = True
    starts = np.flatnonzero(tried)
    of = np.searchsorted(begins, starts, side="right") - 1
    seconds: Floats = starts * np.float64(grid.step_seconds)
    return seconds, number[of]


def _count(grid: TimeGrid, length: int, within_seconds: float | None) -> int:
    """So many first steps are starts."""
    fits = min(grid.steps, grid.steps - length + 1)
    if within_seconds is None:
        return fits
    return min(fits, int(np.ceil(within_seconds / grid.step_seconds)))


def _first_largest(gauge: Floats, begins: Indices) -> Indices:
    """Of each hour the first step whose gauge is its largest, less than rounding aside."""
    largest = np.maximum.reduceat(gauge, begins)
    lengths = np.diff(begins, append=len(gauge))
    near = np.flatnonzero(gauge >= np.repeat(largest - EMPTY_BYTES, lengths))
    first: Indices = near[np.searchsorted(near, begins)]
    return first
